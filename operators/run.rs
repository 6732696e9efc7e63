//! The batches of our arrangements: sorted runs of updates, which threads may share.
//!
//! A run holds updates in the order of record and epoch, each (record, epoch) once and none of
//! them zero. It never changes once it is made, so a reader on any thread may hold it and holds
//! nothing up. Our time is totally ordered, which lets a run be one plain vector, without layers
//! and offsets, and makes merging two of them one pass. When to merge is up to differential's
//! spine.

use std::sync::Arc;

use differential_dataflow::batcher::{Batcher, Extract};
use differential_dataflow::difference::Semigroup;
use differential_dataflow::trace::implementations::spine_fueled::{Merger, Spine, SpineBatch};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use trueup_model::fact::Epoch;

/// An update of a value under a key.
pub type Update<K, V, R> = ((K, V), Epoch, R);

/// A trace made of runs.
pub type Runs<K, V, R> = Spine<Run<K, V, R>>;

/// Updates between one fence and the next.
pub const FENCED: usize = 16;

/// Updates that are sorted, added up and shared.
pub struct Run<K, V, R>(Arc<Sorted<K, V, R>>);

struct Sorted<K, V, R> {
    updates: Vec<Update<K, V, R>>,
    /// The keys of every so many updates, beside each other: a key that is far off is found by
    /// these, at the cost of a few cache lines instead of one for each doubling of the distance.
    fences: Vec<K>,
}

impl<K, V, R> Clone for Run<K, V, R> {
    fn clone(&self) -> Self {
        Run(Arc::clone(&self.0))
    }
}

impl<K, V, R> Run<K, V, R> {
    /// The updates.
    pub fn updates(&self) -> &[Update<K, V, R>] {
        &self.0.updates
    }

    /// The keys of the first update and of each `FENCED`th after it.
    pub fn fences(&self) -> &[K] {
        &self.0.fences
    }

    /// The run of these updates, which are sorted and added up; none if there are none.
    fn of(mut updates: Vec<Update<K, V, R>>) -> Option<Run<K, V, R>>
    where
        K: Clone,
    {
        // Room is made for updates that may have cancelled. It would be kept for long.
        if updates.len() < updates.capacity() / 8 * 7 {
            updates.shrink_to_fit();
        }
        let fences = updates.iter().step_by(FENCED).map(|((key, _), _, _)| key.clone()).collect();
        (!updates.is_empty()).then(|| Run(Arc::new(Sorted { updates, fences })))
    }
}

/// Adds an update to sorted ones; it comes after all of them or equals the last.
fn push<K: Ord, V: Ord, R: Semigroup>(sorted: &mut Vec<Update<K, V, R>>, update: Update<K, V, R>) {
    if let Some((record, epoch, sum)) = sorted.last_mut() {
        if *epoch == update.1 && *record == update.0 {
            sum.plus_equals(&update.2);
            return;
        }
        if sum.is_zero() {
            sorted.pop();
        }
    }
    sorted.push(update);
}

/// Leaves out the last update if it is zero, as `push` would have.
fn trim<K, V, R: Semigroup>(sorted: &mut Vec<Update<K, V, R>>) {
    if sorted.last().is_some_and(|(_, _, sum)| sum.is_zero()) {
        sorted.pop();
    }
}

impl<K, V, R> SpineBatch for Run<K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    type Time = Epoch;
    type Merger = RunMerger<K, V, R>;

    fn len(&self) -> usize {
        self.0.updates.len()
    }
}

/// Merges two runs, some updates at a time.
pub struct RunMerger<K, V, R> {
    merged: Vec<Update<K, V, R>>,
    /// How many updates of each run are merged.
    done: [usize; 2],
    /// Epochs before this one need not be told apart any more.
    since: Epoch,
}

impl<K, V, R> RunMerger<K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    fn copy(&mut self, ((record, epoch, diff), side): (&Update<K, V, R>, usize)) {
        self.done[side] += 1;
        push(&mut self.merged, (record.clone(), (*epoch).max(self.since), diff.clone()));
    }

    /// The update that comes next, and from which run.
    fn next<'a>(&self, runs: [&'a Run<K, V, R>; 2]) -> Option<(&'a Update<K, V, R>, usize)> {
        let [one, other] = [0, 1].map(|side| runs[side].updates().get(self.done[side]).map(|update| (update, side)));
        let order = |update: &Update<K, V, R>| update.1.max(self.since);
        match (one, other) {
            (Some(one), Some(other)) => {
                let is_one = (&one.0.0, order(one.0)) <= (&other.0.0, order(other.0));
                Some(if is_one { one } else { other })
            }
            (one, other) => one.or(other),
        }
    }
}

impl<K, V, R> Merger<Run<K, V, R>> for RunMerger<K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    fn new(one: &Run<K, V, R>, other: &Run<K, V, R>, since: AntichainRef<Epoch>) -> Self {
        RunMerger {
            merged: Vec::with_capacity(one.len() + other.len()),
            done: [0, 0],
            // Without a frontier nobody will read; then nothing need change.
            since: since.as_option().copied().unwrap_or_default(),
        }
    }

    fn work(&mut self, one: &Run<K, V, R>, other: &Run<K, V, R>, fuel: &mut isize) {
        while *fuel > 0
            && let Some(next) = self.next([one, other])
        {
            self.copy(next);
            *fuel -= 1;
        }
    }

    fn done(mut self) -> Option<Run<K, V, R>> {
        trim(&mut self.merged);
        Run::of(self.merged)
    }
}

/// Gathers the updates of an epoch and makes a run of them.
///
/// What comes from each worker is sorted already, or nearly, and one epoch is in flight at a
/// time: so they are sorted once, when the epoch is complete, by a sort that uses the order
/// which is there.
pub struct Gather<K, V, R> {
    updates: Vec<Update<K, V, R>>,
    earliest: Antichain<Epoch>,
}

impl<K, V, R> Default for Gather<K, V, R> {
    fn default() -> Self {
        Gather { updates: Vec::new(), earliest: Antichain::new() }
    }
}

impl<K, V, R> Batcher<Vec<Update<K, V, R>>> for Gather<K, V, R>
where
    K: Ord + Clone,
    V: Ord,
    R: Semigroup,
{
    fn insert(&mut self, updates: &mut Vec<Update<K, V, R>>) {
        self.updates.append(updates);
    }
}

impl<K, V, R> Extract for Gather<K, V, R>
where
    K: Ord + Clone,
    V: Ord,
    R: Semigroup,
{
    type Time = Epoch;
    type Output = Run<K, V, R>;

    fn extract(&mut self, upper: AntichainRef<'_, Epoch>) -> (Option<Run<K, V, R>>, AntichainRef<'_, Epoch>) {
        let mut ready = std::mem::take(&mut self.updates);
        if let Some(&upper) = upper.as_option() {
            self.updates.extend(ready.extract_if(.., |(_, epoch, _)| *epoch >= upper));
        }
        self.earliest = self.updates.iter().map(|(_, epoch, _)| *epoch).collect();
        ready.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        ready.dedup_by(|update, sum| {
            let is_same = update.0 == sum.0 && update.1 == sum.1;
            if is_same {
                sum.2.plus_equals(&update.2);
            }
            is_same
        });
        ready.retain(|(_, _, diff)| !diff.is_zero());
        (Run::of(ready), self.earliest.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Text = Run<u32, (), i64>;

    fn run(updates: &[(u32, Epoch, i64)]) -> Option<Text> {
        let mut gather = Gather::default();
        gather.insert(&mut updates.iter().map(|&(key, epoch, diff)| ((key, ()), epoch, diff)).collect());
        gather.extract(Antichain::new().borrow()).0
    }

    fn shown(run: Option<Text>) -> Vec<(u32, Epoch, i64)> {
        run.iter().flat_map(|run| run.updates()).map(|&((key, ()), epoch, diff)| (key, epoch, diff)).collect()
    }

    fn merged(one: &[(u32, Epoch, i64)], other: &[(u32, Epoch, i64)], since: Epoch) -> Vec<(u32, Epoch, i64)> {
        let runs = [one, other].map(|updates| run(updates).expect("there are updates"));
        let mut merger = RunMerger::new(&runs[0], &runs[1], Antichain::from_elem(since).borrow());
        loop {
            // One update at a time, so that each stop is tried.
            let mut fuel = 1;
            merger.work(&runs[0], &runs[1], &mut fuel);
            if fuel > 0 {
                return shown(merger.done());
            }
        }
    }

    #[test]
    fn a_run_is_sorted_added_up_and_without_zeros() {
        assert_eq!(shown(run(&[(2, 1, 5), (1, 2, 1), (2, 1, -5), (1, 1, 3), (1, 2, 1)])), [(1, 1, 3), (1, 2, 2)]);
        assert_eq!(shown(run(&[(1, 1, 1), (1, 1, -1)])), []);
    }

    #[test]
    fn what_is_not_complete_stays() {
        let mut gather = Gather::default();
        gather.insert(&mut vec![((1, ()), 4, 1), ((2, ()), 3, 1), ((3, ()), 5, 1)]);
        let (run, earliest) = gather.extract(Antichain::from_elem(4).borrow());
        assert_eq!((shown(run), earliest.to_owned()), (vec![(2, 3, 1)], Antichain::from_elem(4)));
        let (run, earliest) = gather.extract(Antichain::new().borrow());
        assert_eq!((shown(run), earliest.to_owned()), (vec![(1, 4, 1), (3, 5, 1)], Antichain::new()));
    }

    #[test]
    fn merging_adds_up_what_need_not_be_told_apart() {
        // What cancels does so in the middle, and at the end.
        let one = [(1, 1, 1), (2, 1, 1), (2, 4, 1), (3, 2, -1), (5, 2, 1)];
        let other = [(2, 3, 1), (3, 3, 1), (4, 5, 7), (5, 3, -1)];
        let apart =
            [(1, 1, 1), (2, 1, 1), (2, 3, 1), (2, 4, 1), (3, 2, -1), (3, 3, 1), (4, 5, 7), (5, 2, 1), (5, 3, -1)];
        assert_eq!(merged(&one, &other, 0), apart);
        assert_eq!(merged(&one, &other, 3), [(1, 3, 1), (2, 3, 2), (2, 4, 1), (4, 5, 7)]);
        assert_eq!(merged(&other, &one, 4), [(1, 4, 1), (2, 4, 3), (4, 5, 7)]);
    }

    #[test]
    fn a_run_keeps_no_more_room_than_an_eighth() {
        let room = |length: u32| {
            let mut updates = Vec::with_capacity(80);
            updates.extend((0..length).map(|key| ((key, ()), 1, 1_i64)));
            Run::of(updates).map(|run| run.0.updates.capacity())
        };
        assert_eq!(room(69), Some(69));
        // To copy a run costs more than so little room.
        assert_eq!(room(70), Some(80));
        assert_eq!(room(0), None);
    }

    #[test]
    fn merging_does_as_much_as_it_is_given() {
        let runs = [1, 2].map(|epoch| run(&[(1, epoch, 1), (2, epoch, 1), (3, epoch, 1)]).expect("there are updates"));
        assert_eq!(runs[0].len(), 3);
        let mut merger = RunMerger::new(&runs[0], &runs[1], Antichain::from_elem(0).borrow());
        for (given, left, done) in [(2, 0, 2), (0, 0, 2), (3, 0, 5), (7, 6, 6)] {
            let mut fuel = given;
            merger.work(&runs[0], &runs[1], &mut fuel);
            assert_eq!((fuel, merger.done.iter().sum()), (left, done), "of {given}");
        }
    }
}
