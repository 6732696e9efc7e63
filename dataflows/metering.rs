//! Events in, usage out: by subject, series and grain, and by what it is charged as.
//!
//! ```text
//!  intake ── deduplicate ── contribute ─┬─ usage ─────────────────────────────────┐
//!                                       ├─ values ── by group ── who stands, how many ├── targets
//!                                       └─ texts ─── by group ── how many different ──┘
//! ```
//! Usage is kept under one of three names, as its meter needs: what adds up as a total by usage
//! key, extremes as values, unique counts as texts. The latter two are kept once more by what
//! they are charged as, since what stands in a month does not follow from its hours when one of
//! them is taken back. Each grows with the different keys in it, not with the events.

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::{Books, Turn};
use trueup_model::charge::Group;
use trueup_model::fact::Epoch;
use trueup_model::grain::Grain;
use trueup_model::identity::{customer_place, stable_hash};
use trueup_model::lookup::{Lookup, Target};
use trueup_model::metering::UsageKey;
use trueup_model::terms::Terms;
use trueup_operators::accounts::Account;
use trueup_operators::arrange::{Arrangement, Before, Keyed, Records, arrange_by_key};
use trueup_operators::contribute::{Kept, contribute};
use trueup_operators::deduplicate::{self, Intake, deduplicate};
use trueup_operators::map_through::map_through;
use trueup_operators::reduce_through::{Reduction, Which, reduce_through};
use trueup_operators::tally::Tally;
use trueup_operators::total::Total;
use trueup_operators::touched::Leads;
use trueup_operators::unsettled::Contradiction;

/// The turns of the books, epoch by epoch.
pub type Turns<'scope> = StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>;

/// What metering gives.
pub struct Metered<'scope> {
    /// Usage of additive meters, by subject, series and grain: sums and numbers of events.
    pub usage: Arrangement<'scope, UsageKey, (), Total>,
    /// The values of extremes, by subject, series and grain.
    pub values: Arrangement<'scope, UsageKey, Kept, i64>,
    /// The texts of unique counts, by subject, series and grain.
    pub texts: Arrangement<'scope, UsageKey, u32, i64>,
    /// The values by what they are charged as.
    pub values_by_group: Arrangement<'scope, Target, Kept, i64>,
    /// The texts by what they are charged as.
    pub texts_by_group: Arrangement<'scope, TextInGroup, (), i64>,
    /// Usage by what it is charged as, a whole for each service period.
    pub targets: Vec<Records<'scope, Target, Total>>,
    /// How many events are in which state.
    pub accounts: Keyed<'scope, Account, (), i64>,
    /// Contradictions between events that came, and those that were settled.
    pub conflicts: StreamVec<'scope, Epoch, (Epoch, Contradiction, i64)>,
}

/// What metering begins with.
#[derive(Default)]
pub struct Start {
    /// Which events are known.
    pub known: deduplicate::Start,
    /// What it has arranged, in the order of `Metered`.
    pub usage: Before<UsageKey, (), Total>,
    /// Likewise.
    pub values: Before<UsageKey, Kept, i64>,
    /// Likewise.
    pub texts: Before<UsageKey, u32, i64>,
    /// Likewise.
    pub values_by_group: Before<Target, Kept, i64>,
    /// Likewise.
    pub texts_by_group: Before<TextInGroup, (), i64>,
}

/// Meters events under these books and those that follow; of `workers`, this is `worker`.
pub fn metering<'scope>(
    intake: StreamVec<'scope, Epoch, (Epoch, Intake)>,
    turns: Turns<'scope>,
    books: &Arc<Books>,
    start: Start,
    worker: usize,
    workers: usize,
) -> Metered<'scope> {
    let deduplicated = deduplicate(intake, start.known, worker, workers);
    let contributions = contribute(deduplicated.changes);

    let usage = arrange_by_key(contributions.totals, "Usage: by subject, series and grain", start.usage, usage_place);
    let sums = map_through(
        usage.clone(),
        turns.clone(),
        books,
        "Usage: find what it is charged as",
        Leads::subjects,
        target_sums,
    );

    let values =
        arrange_by_key(contributions.values, "Values: by subject, series and grain", start.values, usage_place);
    let groups =
        map_through(values.clone(), turns.clone(), books, "Values: find their group", Leads::subjects, target_values);
    let values_by_group = arrange_by_key(groups, "Values: by group", start.values_by_group, target_place);
    let counts = count_values(&values_by_group);
    let standing = reduce_through(values_by_group.clone(), turns.clone(), books, STANDING_IN_GROUP);

    let texts = arrange_by_key(contributions.texts, "Texts: by subject, series and grain", start.texts, usage_place);
    let groups =
        map_through(texts.clone(), turns.clone(), books, "Texts: find their group", Leads::subjects, target_texts);
    let texts_by_group = arrange_by_key(groups, "Texts: by group", start.texts_by_group, text_place);
    let different = reduce_through(texts_by_group.clone(), turns, books, DIFFERENT_IN_GROUP);

    Metered {
        usage,
        values,
        texts,
        values_by_group,
        texts_by_group,
        targets: vec![sums, counts, standing, different],
        accounts: deduplicated.accounts,
        conflicts: deduplicated.conflicts,
    }
}

/// Where usage lives.
pub fn usage_place(key: &UsageKey) -> u64 {
    stable_hash(key.subject, key.series)
}

/// Where what is charged lives.
pub fn target_place((group, _): &Target) -> u64 {
    customer_place(group.customer)
}

/// Where the texts of a group live.
pub fn text_place((group, _, _): &TextInGroup) -> u64 {
    customer_place(group.customer)
}

fn target_sums(lookup: &mut Lookup, key: &UsageKey, (): &(), total: &Total, put: &mut Tally<Target, Total>) {
    lookup.targets(*key, |target| put.put(target, *total));
}

fn target_values(lookup: &mut Lookup, key: &UsageKey, kept: &Kept, events: &i64, put: &mut Tally<(Target, Kept), i64>) {
    lookup.targets(*key, |target| put.put((target, *kept), *events));
}

fn target_texts(
    lookup: &mut Lookup,
    key: &UsageKey,
    text: &u32,
    events: &i64,
    put: &mut Tally<(TextInGroup, ()), i64>,
) {
    lookup.targets(*key, |(group, service)| put.put(((group, service, *text), ()), *events));
}

/// How many events the values of each group come from.
fn count_values<'scope>(values: &Arrangement<'scope, Target, Kept, i64>) -> Records<'scope, Target, Total> {
    values.stream.clone().unary(Pipeline, "Values: count events", |_, _| {
        |input, output| {
            input.for_each(|cap, spans| {
                let mut session = output.session(&cap);
                for run in spans.drain(..).filter_map(|span| span.inner) {
                    let counts = run.updates().iter();
                    session.give_iterator(
                        counts.map(|((target, _), epoch, events)| (*target, *epoch, Total::new(*events, 0))),
                    );
                }
            });
        }
    })
}

/// The value that stands in each service period of a group.
const STANDING_IN_GROUP: Reduction<Target, Kept, i64, Target, Total> = Reduction {
    name: "Values: find the one that stands in the group",
    leads: Leads::customers,
    which: Which::First,
    change: |books, change, results| {
        books.difference(change, results, |lookup, target, values, results| {
            // Books of before the group had values may not know its feature.
            let Some((kept, _)) = values.first() else { return };
            let meter = lookup.terms(&target.0).and_then(Terms::meter);
            results.extend(meter.map(|(aggregation, _)| (*target, Total::new(0, kept.value(aggregation)))));
        });
    },
};

/// A text in a service period of a group.
pub type TextInGroup = (Group, Grain, u32);

/// How many different texts each service period of a group has, and from how many events.
const DIFFERENT_IN_GROUP: Reduction<TextInGroup, (), i64, Target, Total> = Reduction {
    name: "Texts: count the different ones in the group",
    leads: |_| Leads::none(),
    which: Which::First,
    change: |books, change, results| {
        books.difference(change, results, |_, (group, service, _), values, results| {
            results.extend(values.first().map(|((), events)| ((*group, *service), Total::new(*events, 1))));
        });
    },
};
