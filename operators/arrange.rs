//! Arrangements by our own placement.
//!
//! Usage lives with its subject and series, everything that is billed lives with its customer.
//! Placement is by `stable_hash`, never by a library's hash function, so that it is the same in
//! every version and process. Each arrangement is named; the console shows the name. A record
//! that is its own key is arranged with the value `()`.

use differential_dataflow::ExchangeData;
use differential_dataflow::batcher::{Batcher, Extract};
use differential_dataflow::difference::Semigroup;
use differential_dataflow::logging::DifferentialEventBuilder;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent, TraceWriter};
use differential_dataflow::trace::{Description, Span, Trace as _};
use timely::PartialOrder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::progress::{Antichain, Stamp};

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

/// What an arrangement holds before anything comes. Who follows it is not told of that: it has what
/// follows from it already.
#[derive(Clone)]
pub struct Before<K, V, R> {
    /// The epoch through which it is complete; 0: nothing has been.
    pub through: Epoch,
    /// Its updates, none of them later.
    pub run: Option<Run<K, V, R>>,
}

impl<K, V, R> Default for Before<K, V, R> {
    fn default() -> Self {
        Before { through: 0, run: None }
    }
}

impl<K, V, R> Before<K, V, R>
where
    K: Ord + Clone,
    V: Ord,
    R: Semigroup,
{
    /// What adds up to these records through an epoch, whatever their order.
    pub fn at(through: Epoch, records: Vec<((K, V), R)>) -> Before<K, V, R> {
        let mut gather = Gather::default();
        gather.insert(&mut records.into_iter().map(|(record, diff)| (record, through, diff)).collect());
        Before { through, run: gather.extract(Antichain::new().borrow()).0 }
    }
}

/// Arranges by key, each key where `place` says.
pub fn arrange_by_key<'scope, K, V, R>(
    updates: Keyed<'scope, K, V, R>,
    name: &str,
    before: Before<K, V, R>,
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
    arrange(updates, pact, name, before)
}

/// Arranges by key, each key where it is.
pub fn arrange_here<'scope, K, V, R>(
    updates: Keyed<'scope, K, V, R>,
    name: &str,
    before: Before<K, V, R>,
) -> Arrangement<'scope, K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    arrange(updates, Pipeline, name, before)
}

/// Differential's own operator, for a time that is totally ordered, and from a beginning that may be
/// later than the first epoch.
fn arrange<'scope, K, V, R>(
    updates: Keyed<'scope, K, V, R>,
    pact: impl ParallelizationContract<Epoch, Vec<Update<K, V, R>>>,
    name: &str,
    before: Before<K, V, R>,
) -> Arrangement<'scope, K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    let scope = updates.scope();
    let mut trace = None;
    let made = &mut trace;
    let stream = updates.unary_frontier(pact, name, move |_, info| {
        let logger = scope.worker().logger_for::<DifferentialEventBuilder>("differential/arrange").map(Into::into);
        let activator = scope.activator_for(info.address.clone());
        let spine = Runs::new(info.clone(), logger.clone(), Some(activator));
        let (reader, writer) = TraceAgent::new(spine, info, logger);
        *made = Some(reader);
        let mut arranging = Arranging::begin(writer, before);
        move |(input, frontier), output| {
            input.for_each(|cap, updates| {
                arranging.receive(cap.retain_least(0), updates);
            });
            if let Some((capability, span)) = arranging.seal(frontier.frontier().to_owned()) {
                output.session(&capability).give(span);
            }
        }
    });
    Arranged { stream, trace: trace.expect("the operator was built") }
}

/// Updates that have become complete, and the right to tell of them.
type Complete<K, V, R> = (Capability<Epoch>, Span<Epoch, Run<K, V, R>>);

/// The updates of epochs that are not complete, and where complete ones are kept.
struct Arranging<K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    gather: Gather<K, V, R>,
    /// The right to send at the earliest of them.
    capability: Option<Capability<Epoch>>,
    /// What is not complete.
    upper: Antichain<Epoch>,
    writer: TraceWriter<Runs<K, V, R>>,
}

impl<K, V, R> Arranging<K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    fn begin(mut writer: TraceWriter<Runs<K, V, R>>, before: Before<K, V, R>) -> Self {
        let mut upper = Antichain::from_elem(0);
        if before.through > 0 {
            let lower = std::mem::replace(&mut upper, Antichain::from_elem(before.through + 1));
            let span = Span::new(describe(lower, upper.clone()), before.run);
            writer.insert(span, Stamp::from_elem(0));
        }
        Arranging { gather: Gather::default(), capability: None, upper, writer }
    }

    fn receive(&mut self, capability: Option<Capability<Epoch>>, updates: &mut Vec<Update<K, V, R>>) {
        let earliest = self.capability.take().into_iter().chain(capability);
        self.capability = earliest.min_by_key(|capability| *capability.time());
        self.gather.insert(updates);
    }

    /// What has become complete, if there is somebody to tell.
    fn seal(&mut self, frontier: Antichain<Epoch>) -> Option<Complete<K, V, R>> {
        // An input that has not passed the beginning says nothing new.
        if !PartialOrder::less_than(&self.upper, &frontier) {
            return None;
        }
        let capability = self.capability.take_if(|capability| !frontier.less_equal(capability.time()));
        let Some(capability) = capability else {
            self.writer.seal(frontier.clone());
            self.upper = frontier;
            return None;
        };
        let lower = std::mem::replace(&mut self.upper, frontier);
        let (run, rest) = self.gather.extract(self.upper.borrow());
        self.capability = rest.iter().next().map(|epoch| capability.delayed(epoch));
        let span = Span::new(describe(lower, self.upper.clone()), run);
        self.writer.insert(span.clone(), Stamp::from_elem(*capability.time()));
        Some((capability, span))
    }
}

fn describe(lower: Antichain<Epoch>, upper: Antichain<Epoch>) -> Description<Epoch> {
    Description::new(lower, upper, Antichain::from_elem(0))
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
