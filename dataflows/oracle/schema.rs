//! Whether an event breaks a schema: of what schemas can say, what the tests say.

use serde_json::Value;
use trueup_model::catalog::EventSchema;
use trueup_model::event::UsageEvent;

/// Whether it lacks a property that is required, or one has a value that is not among those listed.
/// Values are texts. Panics at a schema that says anything else.
pub(super) fn breaks(schema: &EventSchema, event: &UsageEvent) -> bool {
    let schema: Value = serde_json::from_str(&schema.text).expect("a schema is JSON");
    schema.as_object().expect("a schema is an object").iter().any(|(keyword, said)| match keyword.as_str() {
        "required" => list(said).any(|property| !event.data.contains_key(property)),
        "properties" => said.as_object().expect("properties by name").iter().any(|(property, said)| {
            let allowed = || list(&said["enum"]);
            event.data.get(property).is_some_and(|value| allowed().all(|one| one != value))
        }),
        other => panic!("the oracle does not know what `{other}` asks of events"),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}
