//! Whose records to work out again when the books change.
//!
//! Records sort by their lead first, the subject or the customer they belong to, so that the
//! records of a lead lie together and are found by one seek.

use std::collections::BTreeSet;

use trueup_model::books::Turn;
use trueup_model::charge::Group;
use trueup_model::grain::Grain;
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

    /// The customers whom a turn touches: whom a change of the catalog concerns, and for whom
    /// something was issued.
    pub fn customers(turn: &Turn) -> Leads {
        if turn.touched.all {
            return Leads::All;
        }
        let billed = turn.invoices.iter().map(|key| key.customer);
        Leads::Some(turn.touched.customers.iter().copied().chain(billed).collect())
    }

    /// The subjects whom a turn touches, by themselves or through their customer.
    pub fn subjects(turn: &Turn) -> Leads {
        let Turn { books, touched, .. } = turn;
        if touched.all {
            return Leads::All;
        }
        let owned = touched.customers.iter().flat_map(|&customer| books.catalog.subjects_of(customer));
        Leads::Some(touched.subjects.iter().copied().chain(owned).collect())
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

impl Lead for (Group, Grain) {
    fn lead(&self) -> u32 {
        self.0.customer
    }

    fn first(lead: u32) -> Self {
        (Group::first(lead), Grain(0))
    }
}
