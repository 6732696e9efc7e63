//! What a batch says, with texts in place of numbers: the same for the same events, whoever batched them.

use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, Refused, UsageRow};

/// An event, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who is meant, and when, and whether it still holds.
    pub head: (Identity, Micros, u32, bool),
    /// As sent.
    pub sent: Option<(String, String)>,
    /// Who used it.
    pub subject: String,
    /// Its type.
    pub event_type: String,
    /// Its dimensions.
    pub dimensions: Vec<Option<String>>,
    /// Its quantities.
    pub numbers: Vec<i128>,
    /// Its texts.
    pub texts: Vec<String>,
}

/// The events of a batch in their order, and its refusals in theirs, without their positions.
///
/// # Panics
/// If a row is of a type that these layouts do not have.
pub fn said(batch: &EventBatch, layouts: &Layouts) -> (Vec<Said>, Vec<Refused>) {
    let events = (0..batch.rows.len()).map(|row| event(batch, row, layouts)).collect();
    let refused = batch.refused.iter().map(|refused| Refused { position: String::new(), ..refused.clone() });
    (events, refused.collect())
}

fn event(batch: &EventBatch, place: usize, layouts: &Layouts) -> Said {
    let row = &batch.rows[place];
    let properties = &batch.properties[row.properties as usize];
    let layout = layouts.of(&properties.event_type).expect("a row is of a type with a layout");
    let values = if !row.asserts() { Vec::new() } else { values(batch, row, layout.columns()) };
    let (numbers, texts) = values.split_at(layout.numbers.len().min(values.len()));
    Said {
        head: (row.identity, row.occurred_at, row.revision, !row.asserts()),
        sent: batch.ids.get(place).map(|(source, id)| (source.to_owned(), id.to_owned())),
        subject: batch.subjects[row.subject as usize].to_string(),
        event_type: properties.event_type.to_string(),
        dimensions: properties.dimensions.iter().map(|value| value.as_deref().map(str::to_owned)).collect(),
        numbers: numbers.to_vec(),
        texts: texts.iter().map(|text| batch.texts[*text as usize].to_string()).collect(),
    }
}

/// The values of a row: one stands in the row itself if it fits.
fn values(batch: &EventBatch, row: &UsageRow, columns: usize) -> Vec<i128> {
    match (columns, usize::from(row.wide)) {
        (0, 0) => Vec::new(),
        (1, 0) => vec![i128::from(row.value)],
        (_, wide) => {
            assert_eq!(wide, columns, "a row has a value for each column");
            batch.wide[row.value as usize..][..wide].to_vec()
        }
    }
}
