//! Which columns of a CSV file make which parts of an event.
//!
//! ```
//! # use trueup_connectors::CsvMapping;
//! let mapping: CsvMapping = toml::from_str(r#"
//!     event_type = { constant = "llm.call" }
//!     id = { numbered = "azure-code" }          # azure-code-000001, azure-code-000002, ...
//!     source = "azure/code"
//!     subject = { constant = "acme" }           # or { column = "customer" }
//!     time = { column = "TIMESTAMP", format = "utc" }
//!
//!     [data]                                    # property = column
//!     input_tokens = "ContextTokens"
//!     output_tokens = "GeneratedTokens"
//! "#)?;
//! assert_eq!(mapping.data["input_tokens"], "ContextTokens");
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

/// How a row of a CSV file becomes an event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvMapping {
    /// CloudEvents `type`.
    pub event_type: Field,
    /// CloudEvents `id`.
    pub id: IdField,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Field,
    /// CloudEvents `time`.
    pub time: TimeField,
    /// The column of the revision, if there is one; an empty cell means 0.
    #[serde(default)]
    pub revision: Option<String>,
    /// The column that says `true` for a retraction, if there is one.
    #[serde(default)]
    pub retract: Option<String>,
    /// For each property of `data`, its column; an empty cell means that it is absent.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// What stands between cells.
    #[serde(default)]
    pub delimiter: Delimiter,
}

/// What stands between cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delimiter {
    /// `,`
    #[default]
    Comma,
    /// `;`
    Semicolon,
    /// A tab.
    Tab,
}

impl CsvMapping {
    /// Refuses a mapping for several files whose rows would have the same ids.
    pub fn for_several(&self) -> Result<(), String> {
        match &self.id {
            IdField::Column(_) => Ok(()),
            IdField::Numbered(prefix) => Err(format!(
                "it numbers the rows of each file, so those of two files would both be {prefix}-000001 and so on: name a \
                 column that has the id"
            )),
        }
    }
}

impl Delimiter {
    /// Its byte.
    pub fn byte(self) -> u8 {
        match self {
            Delimiter::Comma => b',',
            Delimiter::Semicolon => b';',
            Delimiter::Tab => b'\t',
        }
    }
}

/// A text of an event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The cell of this column.
    Column(String),
    /// The same for every row.
    Constant(String),
}

/// The id of an event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdField {
    /// The cell of this column.
    Column(String),
    /// This text, a dash, and the number of the row in six digits or more. The line below the
    /// header is row 1. Stable as long as rows are only added at the end of the file.
    Numbered(String),
}

/// The time of an event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeField {
    /// The column.
    pub column: String,
    /// How it is written there.
    #[serde(default)]
    pub format: TimeFormat,
}

/// How an instant is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// As RFC 3339 has it, with its offset: `2026-06-01T08:30:00Z`.
    #[default]
    Iso,
    /// Without an offset, in UTC: `2026-06-01 08:30:00.1234567`.
    Utc,
}
