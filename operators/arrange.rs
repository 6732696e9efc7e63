//! Arrangements by our own placement.
//!
//! Usage lives with its subject and series, everything that is billed lives with its customer.
//! Placement is by `stable_hash`, never by a library's hash function, so that it is the same in
//! every version and process. Each arrangement is named; the console shows the name.

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::vec::Map;

use trueup_model::fact::Epoch;

use crate::shared::{ByKey, BySelf, KeyTrace, ValTrace};

/// Updates of records under keys.
pub type Keyed<'scope, K, V, R> = StreamVec<'scope, Epoch, ((K, V), Epoch, R)>;
/// Updates of records.
pub type Records<'scope, K, R> = StreamVec<'scope, Epoch, (K, Epoch, R)>;
/// An arrangement by key.
pub type ArrangedByKey<'scope, K, V, R> = Arranged<'scope, TraceAgent<ValTrace<K, V, R>>>;
/// An arrangement of records.
pub type ArrangedBySelf<'scope, K, R> = Arranged<'scope, TraceAgent<KeyTrace<K, R>>>;

/// Arranges by key, each key where `place` says.
pub fn arrange_by_key<'scope, K, V, R>(
    updates: Keyed<'scope, K, V, R>,
    name: &str,
    place: impl Fn(&K) -> u64 + 'static,
) -> ArrangedByKey<'scope, K, V, R>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let pact = Exchange::new(move |update: &((K, V), Epoch, R)| place(&update.0.0));
    arrange_core(updates, pact, name, ByKey::new)
}

/// Arranges records, each where `place` says.
pub fn arrange_by_self<'scope, K, R>(
    updates: Records<'scope, K, R>,
    name: &str,
    place: impl Fn(&K) -> u64 + 'static,
) -> ArrangedBySelf<'scope, K, R>
where
    K: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let updates = updates.map(|(record, epoch, diff)| ((record, ()), epoch, diff));
    let pact = Exchange::new(move |update: &((K, ()), Epoch, R)| place(&update.0.0));
    arrange_core(updates, pact, name, BySelf::new)
}

/// Arranges records where they are.
pub fn arrange_here<'scope, K, R>(updates: Records<'scope, K, R>, name: &str) -> ArrangedBySelf<'scope, K, R>
where
    K: Ord + Clone + std::fmt::Debug + 'static,
    R: ExchangeData + Semigroup,
{
    let updates = updates.map(|(record, epoch, diff)| ((record, ()), epoch, diff));
    arrange_core(updates, Pipeline, name, BySelf::new)
}
