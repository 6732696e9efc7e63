//! Whose records to work out again when the books change.
//!
//! Records sort by their lead first, the subject or the customer they belong to, so that the
//! records of a lead lie together and are found by one seek.

use std::collections::BTreeSet;

use differential_dataflow::difference::Semigroup;

use trueup_model::books::Turn;
use trueup_model::charge::Group;
use trueup_model::grain::Grain;
use trueup_model::metering::UsageKey;

use crate::read::Reader;
use crate::run::Run;

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

/// Calls `each` with what lies under the leads, in order; it must pass what it is handed.
pub fn walk<'a, K, V, R>(
    runs: &'a [Run<K, V, R>],
    leads: &Leads,
    mut each: impl FnMut(&mut Reader<'a, K, V, R>, &'a K, &'a V),
) where
    K: Lead,
    V: Ord,
    R: Semigroup,
{
    let mut reader = Reader::new(runs.iter());
    match leads {
        Leads::All => {
            while let Some((key, value)) = reader.next() {
                each(&mut reader, key, value);
            }
        }
        Leads::Some(leads) => {
            for &lead in leads {
                reader.seek(&K::first(lead));
                while let Some((key, value)) = reader.next().filter(|(key, _)| key.lead() == lead) {
                    each(&mut reader, key, value);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that what is first of a lead comes before all else of it, and after all that leads less.
    fn check_first<K: Lead>(records: impl Fn(u32) -> K) {
        for lead in [1, 5, 1_000] {
            assert_eq!((K::first(lead).lead(), records(lead).lead()), (lead, lead));
            assert!(K::first(lead) <= records(lead) && records(lead - 1) < K::first(lead), "{lead}");
        }
    }

    #[test]
    fn the_first_of_a_lead_is_the_least() {
        let last = u32::MAX;
        let group = |customer| Group { customer, subscription: last, period: Grain(last), feature: last };
        check_first(|subject| UsageKey { subject, series: last, grain: Grain(last) });
        check_first(group);
        check_first(|customer| (group(customer), Grain(last)));
        check_first(|customer| (group(customer), Grain(last), last));
    }

    #[test]
    fn nobody_is_not_everybody() {
        assert!(Leads::none().is_empty());
        assert!(!Leads::All.is_empty());
        assert!(!Leads::Some(BTreeSet::from([7])).is_empty());
    }
}
