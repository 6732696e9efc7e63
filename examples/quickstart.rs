//! trueup as a library: a catalog in, three events in, an invoice out.
//!
//!     cargo run --example quickstart --no-default-features

use trueup::engine::clock::Clock;
use trueup::engine::door::Submission;
use trueup::engine::issue::Request;
use trueup::engine::{Engine, Setup};
use trueup_connectors::EventReader;
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_model::catalog::Catalog;
use trueup_model::decimal;
use trueup_model::money::PLACES;

const CATALOG: &str = r#"
meter = [{ name = "calls", event_type = "call", aggregation = "count" }]
feature = [{ name = "calls", meter = "calls" }]
customer = [{ id = "acme", zone = "Europe/Berlin" }]
subscription = [{ id = "acme-pro", customer = "acme", plan = "pro", starts_at = 2026-06-01 }]

[[plan]]
name = "pro"
currency = "EUR"
cadence = "month"
rate_card = [{ feature = "calls", price = { model = "per_unit", unit = "0.25" } }]
"#;

const EVENTS: [&str; 3] = [
    r#"{"id":"1","source":"/api","type":"call","subject":"acme","time":"2026-06-02T10:00:00Z"}"#,
    r#"{"id":"2","source":"/api","type":"call","subject":"acme","time":"2026-06-03T10:00:00Z"}"#,
    r#"{"id":"2","source":"/api","type":"call","subject":"acme","time":"2026-06-03T10:00:00Z"}"#,
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::start(Setup { clock: Clock::Told, ..Setup::default() });
    let at = |time: &str| time.parse::<jiff::Timestamp>().map(|time| time.as_microsecond());
    let [june, july] = [at("2026-06-15T00:00:00Z")?, at("2026-07-01T00:00:00Z")?];

    let changes = read_catalog_texts(&[("catalog.toml", CATALOG)], &Catalog::default())?;
    let changes = changes.into_iter().map(|(change, _place)| change).collect();
    engine.accept(vec![Submission::Clock(july), Submission::Catalog(changes)])?;

    let mut reader = EventReader::new(engine.layouts(), "default", "quickstart");
    let mut batch = reader.batch();
    for (number, event) in EVENTS.iter().enumerate() {
        reader.read_line(event.as_bytes(), number, &mut batch);
    }
    engine.accept(vec![Submission::Events(batch.finish())])?;

    let (invoice, _) = engine.issue(&Request { customer: "acme".into(), subscription: None, period: june })?;
    // The same event twice is one call: 2 at 0.25.
    println!(
        "{} for {}: {} {}",
        invoice.number,
        invoice.customer,
        invoice.currency,
        decimal::show_fixed(invoice.total(), PLACES, 2)
    );
    Ok(())
}
