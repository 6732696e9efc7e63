//! Reads an arrangement: its runs as if they were one.
//!
//! A reader goes forward by key, and under a key by value; what lies before its place is passed.
//! It gives what a value adds up to as of any epochs that are still told apart. Seeking costs
//! the logarithm of what is passed, in each run.

use differential_dataflow::difference::Semigroup;

use trueup_model::fact::Epoch;

use crate::run::{FENCED, Run, Update};

/// How many updates of one run are passed at once at most: as many as stay in the cache.
const STRETCH: usize = 64;

/// The runs of an arrangement as of one frontier, to be read on any thread.
pub struct Snapshot<K, V, R>(Vec<(Epoch, Run<K, V, R>)>);

impl<K, V, R> Clone for Snapshot<K, V, R> {
    fn clone(&self) -> Self {
        Snapshot(self.0.clone())
    }
}

impl<K, V, R> Snapshot<K, V, R> {
    /// The arrangement made up of these runs, each with the last epoch it may have updates at.
    pub fn new(runs: Vec<(Epoch, Run<K, V, R>)>) -> Snapshot<K, V, R> {
        Snapshot(runs)
    }

    /// How many updates it holds; at least the number of its records.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, run)| run.updates().len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its updates, in no order.
    pub fn updates(&self) -> impl Iterator<Item = &Update<K, V, R>> {
        self.0.iter().flat_map(|(_, run)| run.updates())
    }

    /// A reader at the first key.
    pub fn reader(&self) -> Reader<'_, K, V, R>
    where
        K: Ord,
        V: Ord,
        R: Semigroup,
    {
        Reader::new(self.0.iter().map(|(_, run)| run))
    }

    /// Shows each record that is not nothing through an epoch, in their order, with what it adds up to, until `show`
    /// fails.
    pub fn each_through<E>(&self, through: Epoch, mut show: impl FnMut(&K, &V, &R) -> Result<(), E>) -> Result<(), E>
    where
        K: Ord,
        V: Ord,
        R: Semigroup,
    {
        let mut reader = self.reader();
        loop {
            let lone = reader.lone();
            for ((key, value), _, diff) in lone.iter().filter(|(_, epoch, _)| *epoch <= through) {
                show(key, value, diff)?;
            }
            if lone.is_empty() {
                let Some((key, value)) = reader.next() else { return Ok(()) };
                if let [Some(sum)] = reader.sums(key, value, [through]) {
                    show(key, value, &sum)?;
                }
            }
        }
    }

    /// The updates at epochs after `after` up to `through`, in no order.
    pub fn recent(&self, [after, through]: [Epoch; 2]) -> impl Iterator<Item = &Update<K, V, R>> {
        let runs = self.0.iter().filter(move |(last, _)| *last > after);
        let updates = runs.flat_map(|(_, run)| run.updates());
        updates.filter(move |(_, epoch, _)| after < *epoch && *epoch <= through)
    }
}

/// A place in an arrangement.
pub struct Reader<'a, K, V, R> {
    /// What is not passed of each run; none of these is empty.
    rest: Vec<Rest<'a, K, V, R>>,
}

/// What is not passed of a run.
struct Rest<'a, K, V, R> {
    updates: &'a [Update<K, V, R>],
    run: &'a Run<K, V, R>,
}

impl<'a, K: Ord, V: Ord, R: Semigroup> Reader<'a, K, V, R> {
    /// A reader at the first key.
    pub fn new(runs: impl Iterator<Item = &'a Run<K, V, R>>) -> Self {
        let rest = runs.map(|run| Rest { updates: run.updates(), run });
        Reader { rest: rest.filter(|rest| !rest.updates.is_empty()).collect() }
    }

    /// The next key and value.
    pub fn next(&self) -> Option<(&'a K, &'a V)> {
        self.rest.iter().map(Rest::head).min().map(|(key, value)| (key, value))
    }

    /// Passes some of the next updates, as far as each is the only one of its record, and gives them: of one run,
    /// so that most records of a large one are neither sought in the others nor added up.
    fn lone(&mut self) -> &'a [Update<K, V, R>] {
        let Some(lead) = (0..self.rest.len()).min_by_key(|&place| self.rest[place].head()) else { return &[] };
        let others = self.rest.iter().enumerate().filter(|(place, _)| *place != lead);
        let updates = self.rest[lead].updates;
        let next = &updates[..updates.len().min(STRETCH)];
        let before = match others.map(|(_, other)| other.head()).min() {
            Some(other) => passed(next, |(record, _, _)| record < other),
            None => next.len(),
        };
        // The one behind may be of the same record as the last.
        let mut pairs = updates[..updates.len().min(before + 1)].windows(2);
        let lone = pairs.position(|pair| pair[0].0 == pair[1].0).unwrap_or(before);
        self.rest[lead].updates = &updates[lone..];
        self.rest.retain(|rest| !rest.updates.is_empty());
        &updates[..lone]
    }

    /// The next value, if it is under `key`, to which the reader was brought.
    pub fn value(&self, key: &K) -> Option<&'a V> {
        self.rest.iter().map(Rest::head).filter(|(head, _)| head == key).map(|(_, value)| value).min()
    }

    /// Passes all keys that are less.
    pub fn seek(&mut self, key: &K) {
        self.pass(|rest| rest.seek(key));
    }

    /// Passes this key and all that are less.
    pub fn pass_key(&mut self, key: &K) {
        self.pass(|rest| {
            rest.seek(key);
            rest.pass(|(other, _)| other == key);
        });
    }

    /// Passes the next value, and tells what it adds up to through each of these epochs; none
    /// where nothing is left of it.
    pub fn sums<const N: usize>(&mut self, key: &K, value: &V, through: [Epoch; N]) -> [Option<R>; N] {
        let mut sums = [const { None::<R> }; N];
        self.pass(|rest| {
            while let Some(((record, epoch, diff), updates)) = rest.updates.split_first()
                && record.0 == *key
                && record.1 == *value
            {
                for (sum, through) in sums.iter_mut().zip(through) {
                    if *epoch <= through {
                        match sum {
                            Some(sum) => sum.plus_equals(diff),
                            None => *sum = Some(diff.clone()),
                        }
                    }
                }
                rest.updates = updates;
            }
        });
        sums.map(|sum| sum.filter(|sum| !sum.is_zero()))
    }

    fn pass(&mut self, mut pass: impl FnMut(&mut Rest<'a, K, V, R>)) {
        let mut is_some_run_passed = false;
        for rest in &mut self.rest {
            pass(rest);
            is_some_run_passed |= rest.updates.is_empty();
        }
        if is_some_run_passed {
            self.rest.retain(|rest| !rest.updates.is_empty());
        }
    }
}

impl<'a, K: Ord, V, R> Rest<'a, K, V, R> {
    fn head(&self) -> &'a (K, V) {
        &self.updates[0].0
    }

    /// Passes all keys that are less.
    fn seek(&mut self, key: &K) {
        // Most runs are at their place already: those that hold few of the keys sought.
        if self.updates[0].0.0 >= *key {
            return;
        }
        let all = self.run.updates();
        let place = all.len() - self.updates.len();
        let next = place / FENCED + 1;
        let fences = &self.run.fences()[next..];
        let passed = passed(fences, |fence| fence < key);
        let from = if passed == 0 { place } else { (next + passed - 1) * FENCED };
        let to = all.len().min((next + passed) * FENCED);
        self.updates = &all[from + all[from..to].partition_point(|(record, _, _)| record.0 < *key)..];
    }

    fn pass(&mut self, is_passed: impl Fn(&(K, V)) -> bool) {
        self.updates = &self.updates[passed(self.updates, |(record, _, _)| is_passed(record))..];
    }
}

/// How many items come first; looks near before it looks far.
fn passed<T>(items: &[T], comes_first: impl Fn(&T) -> bool) -> usize {
    let mut step = 1;
    while step <= items.len() && comes_first(&items[step - 1]) {
        step *= 2;
    }
    // The item before half a step comes first; the one before a step does not, or is not there.
    let (from, to) = (step / 2, items.len().min(step - 1));
    from + items[from..to].partition_point(comes_first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::run::Gather;
    use differential_dataflow::batcher::{Batcher, Extract};
    use timely::progress::Antichain;

    fn run(updates: impl Iterator<Item = (u32, u32, Epoch, i64)>) -> Run<u32, u32, i64> {
        let mut gather = Gather::default();
        gather.insert(&mut updates.map(|(key, value, epoch, diff)| ((key, value), epoch, diff)).collect());
        gather.extract(Antichain::new().borrow()).0.expect("there are updates")
    }

    #[test]
    fn any_number_may_come_first() {
        let items: Vec<usize> = (0..200).collect();
        for length in 0..items.len() {
            for first in 0..=length {
                assert_eq!(passed(&items[..length], |&item| item < first), first, "{first} of {length}");
            }
        }
    }

    #[test]
    fn every_key_is_found_from_every_place_before_it() {
        let runs = [run((0..150).map(|key| (2 * key, 0, 1, 1))), run((0..40).map(|key| (7 * key, 0, 1, 1)))];
        let has = |key: u32| (key < 300 && key.is_multiple_of(2)) || (key < 280 && key.is_multiple_of(7));
        for place in 0..300 {
            for sought in place..310 {
                let mut reader = Reader::new(runs.iter());
                reader.seek(&place);
                reader.seek(&sought);
                let found = reader.next().map(|(key, _)| *key);
                assert_eq!(found, (sought..300).find(|&key| has(key)), "{sought} from {place}");
            }
        }
    }

    #[test]
    fn a_value_adds_up_over_runs_and_epochs() {
        let runs = [run([(1, 5, 1, 2), (1, 6, 1, 1), (2, 5, 1, 9)].into_iter()), run([(1, 5, 3, -2)].into_iter())];
        let mut reader = Reader::new(runs.iter());
        assert_eq!(reader.sums(&1, &5, [0, 2, 3]), [None, Some(2), None]);
        assert_eq!(reader.value(&1), Some(&6));
        reader.pass_key(&1);
        assert_eq!(reader.next(), Some((&2, &5)));
        assert_eq!(reader.value(&1), None);
    }

    #[test]
    fn each_record_is_shown_with_what_it_adds_up_to() {
        // Records of one run alone, of several, of several epochs of one run, and such as add up to nothing.
        let alone = run((0..1_000).map(|key| (3 * key, 0, 1 + u64::from(key % 2), 1)));
        let epochs = run((0..400).flat_map(|key| [(5 * key, 0, 1, 2), (5 * key, 0, 3, -2), (5 * key, 0, 4, 7)]));
        let taken_back = run((0..100).map(|key| (15 * key, 0, 2, -3)));
        // The first of two updates of a record is the last that is passed at once.
        let first_of_two = (0..640).map(|key| (key, 1)).chain((63..640).step_by(STRETCH).map(|key| (key, 3)));
        let first_of_two = run(first_of_two.map(|(key, epoch)| (key, 0, epoch, 4)));
        let several = [vec![&alone, &epochs], vec![&taken_back, &epochs, &alone, &first_of_two], vec![]];
        let each = [&alone, &epochs, &taken_back, &first_of_two].map(|run| vec![run]);
        for runs in each.into_iter().chain(several) {
            let snapshot = Snapshot::new(runs.iter().map(|&run| (4, run.clone())).collect());
            for through in 0..=5 {
                let mut shown = Vec::new();
                let Ok(()) = snapshot.each_through(through, |key, _, sum| -> Result<(), Infallible> {
                    shown.push((*key, *sum));
                    Ok(())
                });
                let mut sums: BTreeMap<u32, i64> = BTreeMap::new();
                for ((key, _), epoch, diff) in snapshot.updates() {
                    *sums.entry(*key).or_default() += if *epoch <= through { *diff } else { 0 };
                }
                let expected: Vec<(u32, i64)> = sums.into_iter().filter(|(_, sum)| *sum != 0).collect();
                assert_eq!(shown, expected, "{} runs through {through}", runs.len());
            }
        }
    }

    #[test]
    fn what_is_recent_lies_between_two_epochs() {
        let runs = vec![
            (3, run([(1, 5, 1, 2), (2, 5, 3, 1)].into_iter())),
            (6, run([(1, 5, 4, -2), (3, 5, 6, 1)].into_iter())),
        ];
        assert!(!Snapshot::new(runs.clone()).is_empty());
        assert!(Snapshot::<u32, u32, i64>::new(Vec::new()).is_empty());
        let snapshot = Snapshot::new(runs);
        assert_eq!((snapshot.len(), snapshot.updates().count()), (4, 4));
        for (after, through) in (0..8).flat_map(|after| (0..8).map(move |through| (after, through))) {
            let recent: Vec<_> = snapshot.recent([after, through]).collect();
            let between = |update: &&Update<u32, u32, i64>| after < update.1 && update.1 <= through;
            let expected: Vec<_> = snapshot.updates().filter(between).collect();
            assert_eq!(recent, expected, "after {after} through {through}");
        }
    }
}
