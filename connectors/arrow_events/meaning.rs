//! What a column means, by its name.
//!
//! Law: each name means one thing, and each property of an event has a name. An attribute's name
//! means the attribute; `data.` in front means the property behind it, whatever that is called; any
//! other name means the property of that name. So `tokens` and `data.tokens` mean the same property,
//! the property `time` is `data.time`, and a property `data.x` is `data.data.x`. A column `data` of
//! structs stands for the columns `data.` and the names of its fields.

use crate::cloud_events::attributes::named;

/// In front of a name it says that the rest is a property, also where it is called as an attribute.
const DATA: &str = "data.";

/// The column whose fields are columns.
pub(super) const NEST: &str = "data";

/// What a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// An attribute, by its place.
    Attribute(usize),
    /// A property of `data`.
    Property(&'a str),
}

impl<'a> Meaning<'a> {
    /// What a column of this name means.
    pub fn of(column: &'a str) -> Meaning<'a> {
        match (column.strip_prefix(DATA), named(column)) {
            (Some(property), _) => Meaning::Property(property),
            (None, Some(attribute)) => Meaning::Attribute(attribute),
            (None, None) => Meaning::Property(column),
        }
    }
}

/// The name of the column that a field of the column `data` stands for.
pub(super) fn nested(field: &str) -> String {
    format!("{DATA}{field}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud_events::attributes::{TIME, TYPE};

    #[test]
    fn each_name_means_one_thing() {
        for (column, meaning) in [
            ("time", Meaning::Attribute(TIME)),
            ("type", Meaning::Attribute(TYPE)),
            ("Type", Meaning::Property("Type")),
            ("tokens", Meaning::Property("tokens")),
            ("data.tokens", Meaning::Property("tokens")),
            ("data.time", Meaning::Property("time")),
            ("data.data.time", Meaning::Property("data.time")),
            ("usage.tokens", Meaning::Property("usage.tokens")),
            ("data", Meaning::Property("data")),
            ("data.", Meaning::Property("")),
        ] {
            assert_eq!(Meaning::of(column), meaning, "{column}");
        }
        assert_eq!(Meaning::of(&nested("time")), Meaning::Property("time"));
    }
}
