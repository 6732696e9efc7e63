//! A row as bytes: 60 of them, numbers with the least significant byte first.
//!
//! ```text
//!   identity, its second half first | occurred_at | value | received_at | subject | properties | revision |
//!   origin | how many wide values | what it says | nothing
//! ```
//! The origin is a place in a list that lies beside the rows. Where there are wide values, they lie beside
//! the rows too, and `value` may say where.

use crate::grain::Micros;
use crate::identity::Identity;
use crate::usage::{Says, UsageRow};

/// A row as bytes.
#[derive(Clone, Copy)]
pub struct PackedRow([u8; PackedRow::BYTES]);

/// Where a number of it lies.
type Field = std::ops::Range<usize>;
const IDENTITY: [Field; 2] = [8..16, 0..8];
const OCCURRED_AT: Field = 16..24;
const VALUE: Field = 24..32;
const RECEIVED_AT: Field = 32..40;
const SUBJECT: Field = 40..44;
const PROPERTIES: Field = 44..48;
const REVISION: Field = 48..52;
const ORIGIN: Field = 52..56;
const WIDE: Field = 56..58;
const SAYS: usize = 58;

impl PackedRow {
    /// How many there are.
    pub const BYTES: usize = 60;

    /// The bytes of a row.
    pub fn of(row: &UsageRow, received_at: Micros, origin: u32) -> PackedRow {
        let mut packed = PackedRow([0; PackedRow::BYTES]);
        let mut put = |field: Field, bytes: &[u8]| packed.0[field].copy_from_slice(bytes);
        IDENTITY.into_iter().zip(row.identity.0).for_each(|(field, half)| put(field, &half.to_le_bytes()));
        put(OCCURRED_AT, &row.occurred_at.to_le_bytes());
        put(VALUE, &row.value.to_le_bytes());
        put(RECEIVED_AT, &received_at.to_le_bytes());
        put(SUBJECT, &row.subject.to_le_bytes());
        put(PROPERTIES, &row.properties.to_le_bytes());
        put(REVISION, &row.revision.to_le_bytes());
        put(ORIGIN, &origin.to_le_bytes());
        put(WIDE, &row.wide.to_le_bytes());
        packed.0[SAYS] = code(row.says);
        packed
    }

    /// A copy of the first row in these bytes, of which there are enough.
    pub fn first_of(bytes: &[u8]) -> PackedRow {
        let mut packed = PackedRow([0; PackedRow::BYTES]);
        packed.0.copy_from_slice(&bytes[..PackedRow::BYTES]);
        packed
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whose row it is.
    pub fn identity(&self) -> Identity {
        Identity(IDENTITY.map(|field| self.number(field)))
    }

    /// When it was received.
    pub fn received_at(&self) -> Micros {
        self.number(RECEIVED_AT) as i64
    }

    /// The place of its origin.
    pub fn origin(&self) -> u32 {
        self.number(ORIGIN) as u32
    }

    /// How many wide values it has.
    pub fn wide(&self) -> u16 {
        self.number(WIDE) as u16
    }

    /// Where the first of its wide values is, if it has any.
    pub fn first_value(&self) -> u64 {
        self.number(VALUE)
    }

    /// Says that its origin, and the first of its wide values if it has any, lie elsewhere.
    pub fn moved(mut self, origin: u32, first_value: u64) -> PackedRow {
        self.0[ORIGIN].copy_from_slice(&origin.to_le_bytes());
        if self.wide() > 0 {
            self.0[VALUE].copy_from_slice(&first_value.to_le_bytes());
        }
        self
    }

    /// The row.
    pub fn row(&self) -> UsageRow {
        UsageRow {
            identity: self.identity(),
            occurred_at: self.number(OCCURRED_AT) as i64,
            value: self.number(VALUE) as i64,
            subject: self.number(SUBJECT) as u32,
            properties: self.number(PROPERTIES) as u32,
            revision: self.number(REVISION) as u32,
            says: says(self.0[SAYS]),
            wide: self.wide(),
        }
    }

    fn number(&self, field: Field) -> u64 {
        let mut number = [0; 8];
        number[..field.len()].copy_from_slice(&self.0[field]);
        u64::from_le_bytes(number)
    }
}

fn code(says: Says) -> u8 {
    match says {
        Says::Assertion => 0,
        Says::Retraction => 1,
        Says::Nothing => 2,
    }
}

fn says(code: u8) -> Says {
    match code {
        0 => Says::Assertion,
        1 => Says::Retraction,
        _ => Says::Nothing,
    }
}
