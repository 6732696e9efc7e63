//! Finds in the books where usage is charged, and on what terms.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::books::Books;
use crate::catalog::{CustomerId, FeatureId, PlanId};
use crate::charge::Group;
use crate::dictionary::{SeriesId, SubjectId};
use crate::grain::{Grain, Interval};
use crate::metering::UsageKey;
use crate::terms::{Card, Terms};

/// Where a slice of usage is charged: its group, and the first grain of its service period, or
/// `WHOLE`.
pub type Target = (Group, Grain);

/// In place of a service period: the whole billing period. Quotas are measured by it; only what
/// is counted uniquely cannot be put together from its service periods, and has this target.
pub const WHOLE: Grain = Grain::MAX;

/// In place of a service period: nothing was used yet, but the billing period runs, so that its
/// quota stands somewhere.
pub const RUNNING: Grain = Grain(Grain::MAX.0 - 1);

/// The books, with a memory for what operators ask of them again and again.
///
/// Usage keys and groups come sorted, so what was worked out for one mostly serves the next. The
/// memory is forgotten when the catalog changes.
#[derive(Debug, Default)]
pub struct Lookup {
    books: Arc<Books>,
    cards: HashMap<(PlanId, FeatureId), Option<Arc<Card>>>,
    series: HashMap<(PlanId, SeriesId), Arc<[Card]>>,
    owner: Option<(SubjectId, Option<CustomerId>)>,
    stretch: Option<Stretch>,
    terms: Option<(Group, Option<Terms>)>,
}

/// Grains of a subject's series that all have the same targets.
#[derive(Debug)]
struct Stretch {
    subject: SubjectId,
    series: SeriesId,
    grains: Interval,
    targets: Vec<Target>,
}

impl Lookup {
    /// These books, with nothing remembered.
    pub fn under(books: Arc<Books>) -> Lookup {
        Lookup { books, ..Lookup::default() }
    }

    /// The books.
    pub fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// Goes on to newer books; forgets only if the catalog changed.
    pub fn turn(&mut self, books: Arc<Books>) {
        if Arc::ptr_eq(&self.books.catalog, &books.catalog) {
            self.books = books;
        } else {
            *self = Lookup::under(books);
        }
    }

    /// Calls `each` with every target of the usage kept under `key`.
    pub fn targets(&mut self, key: UsageKey, each: impl FnMut(Target)) {
        let is_same = |stretch: &Stretch| {
            stretch.subject == key.subject && stretch.series == key.series && stretch.grains.contains(key.grain)
        };
        if !self.stretch.as_ref().is_some_and(is_same) {
            self.stretch = Some(self.stretch_of(key));
        }
        self.stretch.iter().flat_map(|stretch| stretch.targets.iter().copied()).for_each(each);
    }

    /// On what terms a group is billed, if these books bill it at all.
    pub fn terms(&mut self, group: &Group) -> Option<&Terms> {
        if self.terms.as_ref().is_none_or(|(last, _)| last != group) {
            self.terms = Some((*group, self.terms_of(group)));
        }
        self.terms.as_ref().and_then(|(_, terms)| terms.as_ref())
    }

    fn terms_of(&mut self, group: &Group) -> Option<Terms> {
        // Borrowed, not counted: references to what all workers share would be counted by all.
        let books = &self.books;
        let tenure = books.catalog.tenure(group.customer, group.subscription)?;
        let period = tenure.calendar.period_containing(group.period)?;
        let look_up = || books.card(tenure.plan, group.feature).map(Arc::new);
        let card = self.cards.entry((tenure.plan, group.feature)).or_insert_with(look_up).clone()?;
        Some(Terms { card, term: tenure.term, period })
    }

    fn owner(&mut self, subject: SubjectId) -> Option<CustomerId> {
        if self.owner.is_none_or(|(last, _)| last != subject) {
            self.owner = Some((subject, self.books.catalog.owner(subject)));
        }
        self.owner.and_then(|(_, owner)| owner)
    }

    /// The targets of a key, and for which grains around it they are the same.
    fn stretch_of(&mut self, key: UsageKey) -> Stretch {
        let mut targets = self.stretch.take().map_or_else(Vec::new, |stretch| stretch.targets);
        targets.clear();
        let nowhere = Interval { from: key.grain, to: Grain(key.grain.0 + 1) };
        let grains = self.find_targets(key, &mut targets).unwrap_or(nowhere);
        Stretch { subject: key.subject, series: key.series, grains, targets }
    }

    /// Puts down the targets of a key; gives the grains around it that have the same.
    fn find_targets(&mut self, key: UsageKey, targets: &mut Vec<Target>) -> Option<Interval> {
        let customer = self.owner(key.subject)?;
        // Borrowed, not counted: references to what all workers share would be counted by all.
        let books = &self.books;
        let tenure = books.catalog.tenures(customer).iter().find(|tenure| tenure.term.contains(key.grain))?;
        let period = tenure.period(key.grain)?;
        let mut grains = intersection(period, tenure.term);
        let look_up = || books.cards_of_series(tenure.plan, key.series);
        let cards = self.series.entry((tenure.plan, key.series)).or_insert_with(look_up);
        for card in cards.iter() {
            let price = card.price_interval(key.grain);
            grains = intersection(grains, price);
            let service = price.from.max(period.from).max(tenure.term.from);
            let (subscription, feature) = (tenure.subscription, card.feature);
            let group = Group { customer, subscription, period: period.from, feature };
            targets.push((group, service));
            if card.quota.is_some() && card.is_unique_count() {
                targets.push((group, WHOLE));
            }
        }
        Some(grains)
    }
}

fn intersection(one: Interval, other: Interval) -> Interval {
    Interval { from: one.from.max(other.from), to: one.to.min(other.to) }
}
