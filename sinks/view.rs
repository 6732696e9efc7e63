//! The views: what each is called, which columns it has, and which of them are its key.
//!
//! A view is a collection that is exact at every published epoch. Its rows are sets: no row
//! appears twice. Quantities and amounts are decimals with twelve places, times are UTC
//! microseconds, and every interval is half-open.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Decimal places of every quantity and amount on the wire.
pub const DECIMAL_PLACES: i8 = 12;

/// What a column holds; each kind is one Arrow type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A signed 64-bit integer: counts, epochs.
    Integer,
    /// A quantity or an amount: 38 digits, twelve of them after the point.
    Decimal,
    /// An instant: microseconds since 1970, UTC.
    Time,
}

impl Kind {
    /// The Arrow type that carries this kind.
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int64,
            Kind::Decimal => DataType::Decimal128(38, DECIMAL_PLACES),
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// One column of a view.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name, the same on every wire.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be empty.
    pub nullable: bool,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, nullable: false }
}
const fn integer(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer, nullable: false }
}
const fn decimal(name: &'static str) -> Column {
    Column { name, kind: Kind::Decimal, nullable: false }
}
const fn time(name: &'static str) -> Column {
    Column { name, kind: Kind::Time, nullable: false }
}
const fn optional(column: Column) -> Column {
    Column { nullable: true, ..column }
}

/// The views, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// Usage by subject, meter, dimensions and grain.
    Usage,
    /// Usage by subject, meter, dimensions and hour.
    UsageHourly,
    /// Usage by subject, meter, dimensions and day of the customer's calendar.
    UsageDaily,
    /// Usage by subscription, feature and service period: what is charged.
    UsageByPeriod,
    /// What each metered quota stands at.
    Quotas,
    /// Every change of a quota's state, in order.
    QuotaCrossings,
    /// What is charged, exactly and as billed, whether drafted or issued.
    Charges,
    /// One row per invoice, drafted or issued.
    Invoices,
    /// The lines of issued documents, as issued.
    IssuedLines,
    /// What the books say now less what was issued, where they differ.
    Corrections,
    /// Input that could not be counted, and why.
    Quarantine,
    /// How many inputs are in which state.
    Ledger,
    /// The same by way in and hour, beside what producers declared.
    IngestLedger,
    /// The customers of the catalog.
    Customers,
    /// The subscriptions of the catalog.
    Subscriptions,
    /// The meters of the catalog.
    Meters,
    /// The prices of the catalog, one row per rate card and effective time.
    Prices,
}

/// What is said once about each view.
struct Definition {
    name: &'static str,
    description: &'static str,
    /// How many leading columns identify a row.
    key: usize,
    columns: &'static [Column],
}

impl View {
    /// Every view.
    pub const ALL: [View; 17] = [
        View::Usage,
        View::UsageHourly,
        View::UsageDaily,
        View::UsageByPeriod,
        View::Quotas,
        View::QuotaCrossings,
        View::Charges,
        View::Invoices,
        View::IssuedLines,
        View::Corrections,
        View::Quarantine,
        View::Ledger,
        View::IngestLedger,
        View::Customers,
        View::Subscriptions,
        View::Meters,
        View::Prices,
    ];

    /// The view of this name.
    pub fn named(name: &str) -> Option<View> {
        View::ALL.into_iter().find(|view| view.name() == name)
    }

    /// The name by which SQL, paths and files know it.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// One sentence on what a row says.
    pub fn description(self) -> &'static str {
        self.definition().description
    }

    /// Its columns, in order.
    pub fn columns(self) -> &'static [Column] {
        self.definition().columns
    }

    /// Where its column of this name is.
    pub fn place(self, column: &str) -> Option<usize> {
        self.columns().iter().position(|other| other.name == column)
    }

    /// The leading columns that identify a row.
    pub fn key(self) -> &'static [Column] {
        &self.columns()[..self.definition().key]
    }

    /// Its Arrow schema.
    pub fn schema(self) -> SchemaRef {
        let field = |c: &Column| Field::new(c.name, c.kind.arrow(), c.nullable);
        Arc::new(Schema::new(self.columns().iter().map(field).collect::<Vec<_>>()))
    }

    fn definition(self) -> &'static Definition {
        &DEFINITIONS[self as usize]
    }
}

const DEFINITIONS: [Definition; View::ALL.len()] = [
    Definition {
        name: "usage",
        description: "Usage by subject, meter, dimensions and grain; the customer is empty while the subject is nobody's.",
        key: 5,
        columns: &[
            text("subject"),
            text("meter"),
            text("dimensions"),
            time("window_start"),
            time("window_end"),
            optional(text("customer")),
            decimal("quantity"),
            integer("events"),
        ],
    },
    Definition {
        name: "usage_hourly",
        description: "Usage by subject, meter, dimensions and hour.",
        key: 5,
        columns: &[
            text("subject"),
            text("meter"),
            text("dimensions"),
            time("window_start"),
            time("window_end"),
            optional(text("customer")),
            decimal("quantity"),
            integer("events"),
        ],
    },
    Definition {
        name: "usage_daily",
        description: "Usage by subject, meter, dimensions and day in the customer's time zone (UTC while it has no customer).",
        key: 5,
        columns: &[
            text("subject"),
            text("meter"),
            text("dimensions"),
            time("window_start"),
            time("window_end"),
            optional(text("customer")),
            decimal("quantity"),
            integer("events"),
        ],
    },
    Definition {
        name: "usage_by_period",
        description: "Usage by subscription, feature and service period: the quantities that are charged.",
        key: 6,
        columns: &[
            text("customer"),
            text("subscription"),
            text("feature"),
            time("period_start"),
            time("period_end"),
            time("service_start"),
            time("service_end"),
            decimal("quantity"),
            integer("events"),
        ],
    },
    Definition {
        name: "quotas",
        description: "What each metered quota stands at: state is ok, warning or over.",
        key: 4,
        columns: &[
            text("customer"),
            text("subscription"),
            text("feature"),
            time("period_start"),
            time("period_end"),
            decimal("used"),
            decimal("quota_limit"),
            decimal("warning_at"),
            text("state"),
        ],
    },
    Definition {
        name: "quota_crossings",
        description: "Every change of a quota's state, with the epoch that brought it.",
        key: 5,
        columns: &[
            text("customer"),
            text("subscription"),
            text("feature"),
            time("period_start"),
            integer("epoch"),
            time("at"),
            text("from_state"),
            text("to_state"),
            decimal("used"),
            decimal("quota_limit"),
        ],
    },
    Definition {
        name: "charges",
        description: "What is charged: the exact amount, and the amount as billed after rounding.",
        key: 5,
        columns: &[
            text("customer"),
            text("subscription"),
            text("feature"),
            time("period_start"),
            time("service_start"),
            time("period_end"),
            time("service_end"),
            text("plan"),
            text("currency"),
            decimal("quantity"),
            decimal("amount"),
            decimal("billed"),
        ],
    },
    Definition {
        name: "invoices",
        description: "One row per customer, subscription and billing period: the total the books say, what was issued, and the correction outstanding. A draft is held, and cannot be issued, while an amount that belongs to it is larger than can be kept.",
        key: 3,
        columns: &[
            text("customer"),
            text("subscription"),
            time("period_start"),
            time("period_end"),
            text("plan"),
            text("state"),
            optional(text("invoice")),
            text("currency"),
            integer("lines"),
            decimal("total"),
            decimal("issued"),
            decimal("correction"),
        ],
    },
    Definition {
        name: "issued_lines",
        description: "The lines of issued documents, exactly as issued; a correction document names what it corrects.",
        key: 2,
        columns: &[
            text("invoice"),
            integer("line"),
            optional(text("corrects")),
            text("customer"),
            text("subscription"),
            text("feature"),
            time("period_start"),
            time("service_start"),
            time("service_end"),
            text("currency"),
            decimal("quantity"),
            decimal("billed"),
            time("issued_at"),
        ],
    },
    Definition {
        name: "corrections",
        description: "What the books say now less what was issued, where they differ.",
        key: 5,
        columns: &[
            text("customer"),
            text("subscription"),
            text("feature"),
            time("period_start"),
            time("service_start"),
            text("corrects"),
            text("currency"),
            decimal("quantity"),
            decimal("billed"),
        ],
    },
    Definition {
        name: "quarantine",
        description: "Input that could not be counted: where it came from, why, and what to do; of its payload the first KiB. Its state is set_aside, or replayed once it was read again and accepted.",
        key: 2,
        columns: &[
            integer("epoch"),
            integer("place"),
            time("received_at"),
            text("source"),
            text("partition"),
            text("position"),
            optional(text("event_source")),
            optional(text("event_id")),
            text("reason"),
            text("detail"),
            optional(text("payload")),
            text("state"),
            optional(integer("replayed_at")),
        ],
    },
    Definition {
        name: "ledger",
        description: "How many inputs are in which state; the states add up to received.",
        key: 1,
        columns: &[text("state"), integer("events")],
    },
    Definition {
        name: "ingest_ledger",
        description: "What became of what came in by each way, partition and hour of receipt: received is accepted and quarantined; accepted is standing, superseded, retracted and duplicate; difference is received less declared.",
        key: 3,
        columns: &[
            text("source"),
            text("partition"),
            time("hour"),
            integer("received"),
            integer("accepted"),
            integer("standing"),
            integer("superseded"),
            integer("retracted"),
            integer("duplicate"),
            integer("quarantined"),
            optional(integer("declared")),
            optional(integer("difference")),
        ],
    },
    Definition {
        name: "customers",
        description: "The customers of the catalog.",
        key: 1,
        columns: &[text("customer"), text("name"), text("zone"), text("subjects")],
    },
    Definition {
        name: "subscriptions",
        description: "The subscriptions of the catalog.",
        key: 1,
        columns: &[text("subscription"), text("customer"), text("plan"), time("starts_at"), optional(time("ends_at"))],
    },
    Definition {
        name: "meters",
        description: "The meters of the catalog.",
        key: 1,
        columns: &[
            text("meter"),
            text("event_type"),
            text("aggregation"),
            optional(text("property")),
            integer("scale"),
            text("dimensions"),
            text("filter"),
            text("forget"),
        ],
    },
    Definition {
        name: "prices",
        description: "The prices of the catalog, one row per rate card and effective time; an empty time is since ever.",
        key: 3,
        columns: &[
            text("plan"),
            text("feature"),
            optional(time("effective_from")),
            text("currency"),
            text("model"),
            text("price"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_is_found_by_its_name_and_has_a_key() {
        for view in View::ALL {
            assert_eq!(View::named(view.name()), Some(view));
            assert!(!view.key()[0].nullable, "{}", view.name());
        }
    }
}
