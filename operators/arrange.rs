//! Arrangements by our own placement.
//!
//! Usage lives with its subject and series, everything that is billed lives with its customer.
//! Placement is by `stable_hash`, never by a library's hash function, so that it is the same in
//! every version and process. Each arrangement is named; the console shows the name. A record
//! that is its own key is arranged with the value `()`.

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use trueup_model::fact::Epoch;
use trueup_model::identity::route;

use crate::run::{Gather, Run, Runs, Update};

/// Updates of values under keys.
pub type Keyed<'scope, K, V, R> = StreamVec<'scope, Epoch, Update<K, V, R>>;
/// Updates of records.
pub type Records<'scope, K, R> = StreamVec<'scope, Epoch, (K, Epoch, R)>;
/// A trace, as an operator or a reader holds it.
pub type Trace<K, V, R> = TraceAgent<Runs<K, V, R>>;
/// An arrangement.
pub type Arrangement<'scope, K, V, R> = Arranged<'scope, Trace<K, V, R>>;

/// Arranges by key, each key where `place` says.
pub fn arrange_by_key<'scope, K, V, R>(
    updates: Keyed<'scope, K, V, R>,
    name: &str,
    place: impl Fn(&K) -> u64 + 'static,
) -> Arrangement<'scope, K, V, R>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let workers = updates.scope().peers();
    // Timely takes the remainder of what it is given by the number of workers.
    let pact = Exchange::new(move |update: &Update<K, V, R>| route(place(&update.0.0), workers) as u64);
    arrange_core(updates, pact, name, |_, _| Gather::default())
}

/// Arranges by key, each key where it is.
pub fn arrange_here<'scope, K, V, R>(updates: Keyed<'scope, K, V, R>, name: &str) -> Arrangement<'scope, K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    arrange_core(updates, Pipeline, name, |_, _| Gather::default())
}

/// The updates of a run at one epoch.
pub fn at_epoch<K, V, R>(run: &Run<K, V, R>, epoch: Epoch) -> impl Iterator<Item = &Update<K, V, R>> {
    run.updates().iter().filter(move |update| update.1 == epoch)
}

/// The different epochs of a run's updates.
pub fn epochs<K, V, R>(run: &Run<K, V, R>) -> Vec<Epoch> {
    let mut epochs: Vec<Epoch> = run.updates().iter().map(|(_, epoch, _)| *epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    epochs
}
