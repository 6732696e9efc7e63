//! Events in, usage out: by subject, series and grain, and by what it is charged as.
//!
//! ```text
//!  intake ── deduplicate ── contribute ─┬─ totals ───────────────┐
//!                                       ├─ values ── who stands ─┤── usage ── targets ─┐
//!                                       └─ texts ─── different ──┘      │              ├── totals by group
//!                                                      values, texts by group ─────────┘
//! ```
//! Three arrangements are as large as usage is: `usage`, and for the meters that keep values,
//! `values` and `texts`. Each grows with the different keys in it, not with the events.

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;

use trueup_model::books::{Target, Targets, Turn};
use trueup_model::charge::Group;
use trueup_model::fact::Epoch;
use trueup_model::grain::Grain;
use trueup_model::identity::stable_hash;
use trueup_model::metering::UsageKey;
use trueup_operators::arrange::{ArrangedByKey, ArrangedBySelf, Records, arrange_by_key, arrange_by_self};
use trueup_operators::contribute::{Kept, contribute};
use trueup_operators::deduplicate::{Conflict, Intake, State, deduplicate};
use trueup_operators::map_through::map_through;
use trueup_operators::reduce_through::{Next, Reduction, reduce_through};
use trueup_operators::total::Total;
use trueup_operators::touched::Leads;

/// The turns of the books, epoch by epoch.
pub type Turns<'scope> = StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>;

/// What metering gives.
pub struct Metered<'scope> {
    /// Usage by subject, series and grain: quantities and numbers of events.
    pub usage: ArrangedBySelf<'scope, UsageKey, Total>,
    /// The texts of unique counts.
    pub texts: ArrangedByKey<'scope, (UsageKey, u32), (), i64>,
    /// Usage by what it is charged as, a whole for each service period.
    pub targets: Records<'scope, Target, Total>,
    /// How many events are in which state.
    pub states: Records<'scope, State, i64>,
    /// Contradictions between events.
    pub conflicts: StreamVec<'scope, Epoch, (Epoch, Conflict)>,
}

/// Meters events; of `workers`, this is `worker`.
pub fn metering<'scope>(
    intake: StreamVec<'scope, Epoch, (Epoch, Intake)>,
    turns: Turns<'scope>,
    worker: usize,
    workers: usize,
) -> Metered<'scope> {
    let deduplicated = deduplicate(intake, worker, workers);
    let contributions = contribute(deduplicated.changes);
    let place = |key: &UsageKey| stable_hash(key.subject, key.series);

    let values = arrange_by_key(contributions.values, "Values: by usage key", place);
    let standing = reduce_through(values, turns.clone(), STANDING_VALUE);
    let value_sums = standing.clone().flat_map(|(found, epoch, diff)| found.usage().map(|key| (key, epoch, diff)));
    let value_targets = standing
        .flat_map(|(found, epoch, diff)| found.target().map(|(group, kept)| ((group, kept), epoch, diff.records)));

    let texts = contributions.texts.map(|(text, epoch, diff)| ((text, ()), epoch, diff));
    let texts = arrange_by_key(texts, "Texts: by usage key", move |(key, _): &(UsageKey, u32)| place(key));
    let different = reduce_through(texts.clone(), turns.clone(), DIFFERENT_TEXT);
    let text_sums = different.clone().flat_map(|(found, epoch, diff)| found.usage().map(|key| (key, epoch, diff)));
    let text_targets =
        different.flat_map(|(found, epoch, diff)| found.target().map(|target| ((target, ()), epoch, diff.records)));

    let scope = value_sums.scope();
    let usage = scope.concatenate([contributions.totals, value_sums, text_sums]);
    let usage = arrange_by_self(usage, "Usage: by subject, series and grain", place);
    let sums =
        map_through(usage.clone(), turns.clone(), "Targets: find what usage is charged as", usage_leads, usage_targets);

    let by_customer = |group: &Group| stable_hash(group.customer, 0);
    let values_by_group = arrange_by_key(value_targets, "Values: by group", by_customer);
    let values_by_group = reduce_through(values_by_group, turns.clone(), STANDING_IN_GROUP);
    let texts_by_group =
        arrange_by_key(text_targets, "Texts: by group", move |(group, _, _): &(Group, Grain, u32)| by_customer(group));
    let texts_by_group = reduce_through(texts_by_group, turns, DIFFERENT_IN_GROUP);

    Metered {
        usage,
        texts,
        targets: scope.concatenate([sums, values_by_group, texts_by_group]),
        states: deduplicated.states,
        conflicts: deduplicated.conflicts,
    }
}

fn usage_leads(turn: &Turn) -> Leads {
    Leads::subjects(&turn.touched, &turn.books)
}

fn group_leads(turn: &Turn) -> Leads {
    Leads::customers(&turn.touched)
}

/// The targets of a usage record. Where a quantity does not add up over grains, only the number
/// of events goes along; the quantity comes from the values or texts of the group.
fn usage_targets(targets: &mut Targets, key: &UsageKey, total: &Total, put: &mut dyn FnMut(Target, Total)) {
    let total = if targets.aggregation(key.series).is_additive() { *total } else { Total::new(total.records, 0) };
    targets.of(*key, |target| put(target, total));
}

/// What is found under a usage key: its own quantity, or something for a target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Found<T> {
    Usage(UsageKey),
    Target(T),
}

impl<T> Found<T> {
    fn usage(self) -> Option<UsageKey> {
        if let Found::Usage(key) = self { Some(key) } else { None }
    }

    fn target(self) -> Option<T> {
        if let Found::Target(target) = self { Some(target) } else { None }
    }
}

/// A reduction of values or texts, whose results are counted.
type Finding<K, V, T> = Reduction<K, V, i64, Found<T>, Total>;

/// The value that stands among those of a usage key.
const STANDING_VALUE: Finding<UsageKey, Kept, (Group, (Grain, Kept))> = Reduction {
    name: "Values: find the one that stands",
    leads: usage_leads,
    keys: |_| Vec::new(),
    next: |_| Next::Stop,
    compute: |targets, key, values, results| {
        let Some((kept, _)) = values.first() else { return };
        let value = kept.value(targets.aggregation(key.series));
        results.push((Found::Usage(*key), Total::new(0, value)));
        targets.of(*key, |(group, service)| results.push((Found::Target((group, (service, *kept))), Total::new(1, 0))));
    },
};

/// Each different text of a usage key, once.
const DIFFERENT_TEXT: Finding<(UsageKey, u32), (), (Group, Grain, u32)> = Reduction {
    name: "Texts: keep the different ones",
    leads: usage_leads,
    keys: |_| Vec::new(),
    next: |_| Next::Step,
    compute: |targets, (key, text), values, results| {
        if values.is_empty() {
            return;
        }
        results.push((Found::Usage(*key), Total::new(0, 1)));
        targets.of(*key, |(group, service)| results.push((Found::Target((group, service, *text)), Total::new(1, 0))));
    },
};

/// The value that stands in each service period of a group.
const STANDING_IN_GROUP: Reduction<Group, (Grain, Kept), i64, Target, Total> = Reduction {
    name: "Values: find the one that stands in the group",
    leads: group_leads,
    keys: |_| Vec::new(),
    next: |(service, _)| service.0.checked_add(1).map_or(Next::Stop, |next| Next::Seek((Grain(next), Kept::FIRST))),
    compute: |targets, group, values, results| {
        // Books of before the group had values may not know its feature.
        if values.is_empty() {
            return;
        }
        let meter = targets.card(group).and_then(|(_, card)| card.meter());
        let Some((aggregation, _)) = meter else { return };
        let standing =
            |&((service, kept), _): &((Grain, Kept), i64)| ((*group, service), Total::new(0, kept.value(aggregation)));
        results.extend(values.iter().map(standing));
    },
};

/// Each different text in each service period of a group, once.
const DIFFERENT_IN_GROUP: Reduction<(Group, Grain, u32), (), i64, Target, Total> = Reduction {
    name: "Texts: count the different ones in the group",
    leads: |_| Leads::none(),
    keys: |_| Vec::new(),
    next: |_| Next::Step,
    compute: |_, (group, service, _), values, results| {
        if !values.is_empty() {
            results.push(((*group, *service), Total::new(0, 1)));
        }
    },
};
