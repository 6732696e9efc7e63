//! Whose records to work out again when the books change.
//!
//! Records sort by their lead first, the subject or the customer they belong to, so that the
//! records of a lead lie together and are found by one seek.

use std::collections::BTreeSet;

use trueup_model::books::Books;
use trueup_model::catalog::Touched;
use trueup_model::charge::{Charge, Group, InvoiceKey};
use trueup_model::grain::{Grain, Interval};
use trueup_model::metering::UsageKey;

/// A record that belongs to somebody.
pub trait Lead: Ord {
    /// To whom.
    fn lead(&self) -> u32;

    /// The least record of a lead.
    fn first(lead: u32) -> Self;
}

/// Whose records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Everybody's.
    All,
    /// Only these.
    Some(BTreeSet<u32>),
}

impl Leads {
    /// Nobody's.
    pub fn none() -> Leads {
        Leads::Some(BTreeSet::new())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Leads::Some(leads) if leads.is_empty())
    }

    /// The customers whom a change touches.
    pub fn customers(touched: &Touched) -> Leads {
        if touched.all { Leads::All } else { Leads::Some(touched.customers.clone()) }
    }

    /// The subjects whom a change touches, by themselves or through their customer.
    pub fn subjects(touched: &Touched, books: &Books) -> Leads {
        if touched.all {
            return Leads::All;
        }
        let owned = touched.customers.iter().flat_map(|&customer| books.catalog.subjects_of(customer));
        Leads::Some(touched.subjects.iter().copied().chain(owned).collect())
    }
}

impl Lead for u32 {
    fn lead(&self) -> u32 {
        *self
    }

    fn first(lead: u32) -> Self {
        lead
    }
}

impl Lead for UsageKey {
    fn lead(&self) -> u32 {
        self.subject
    }

    fn first(lead: u32) -> Self {
        UsageKey { subject: lead, ..UsageKey::default() }
    }
}

impl Lead for (UsageKey, u32) {
    fn lead(&self) -> u32 {
        self.0.subject
    }

    fn first(lead: u32) -> Self {
        (UsageKey::first(lead), 0)
    }
}

impl Lead for Group {
    fn lead(&self) -> u32 {
        self.customer
    }

    fn first(lead: u32) -> Self {
        Group { customer: lead, ..Group::default() }
    }
}

impl Lead for (Group, Grain, u32) {
    fn lead(&self) -> u32 {
        self.0.customer
    }

    fn first(lead: u32) -> Self {
        (Group::first(lead), Grain(0), 0)
    }
}

impl Lead for InvoiceKey {
    fn lead(&self) -> u32 {
        self.customer
    }

    fn first(lead: u32) -> Self {
        InvoiceKey { customer: lead, ..InvoiceKey::default() }
    }
}

impl Lead for Charge {
    fn lead(&self) -> u32 {
        self.group.customer
    }

    fn first(lead: u32) -> Self {
        Charge {
            group: Group::first(lead),
            service: Interval::default(),
            quantity: i128::MIN,
            amount: i128::MIN,
            billed: i128::MIN,
        }
    }
}
