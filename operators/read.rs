//! Reads an arrangement: its runs as if they were one.
//!
//! A reader goes forward by key, and under a key by value; what lies before its place is passed.
//! It gives what a value adds up to as of any epochs that are still told apart. Seeking costs
//! the logarithm of what is passed, in each run.

use differential_dataflow::difference::Semigroup;

use trueup_model::fact::Epoch;

use crate::run::{Run, Update};

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
    rest: Vec<&'a [Update<K, V, R>]>,
}

impl<'a, K: Ord, V: Ord, R: Semigroup> Reader<'a, K, V, R> {
    /// A reader at the first key.
    pub fn new(runs: impl Iterator<Item = &'a Run<K, V, R>>) -> Self
    where
        K: 'a,
        V: 'a,
        R: 'a,
    {
        Reader { rest: runs.map(Run::updates).filter(|updates| !updates.is_empty()).collect() }
    }

    /// The next key and value.
    pub fn next(&self) -> Option<(&'a K, &'a V)> {
        self.rest.iter().map(|updates| &updates[0].0).min().map(|(key, value)| (key, value))
    }

    /// The next value, if it is under `key`, to which the reader was brought.
    pub fn value(&self, key: &K) -> Option<&'a V> {
        let heads = self.rest.iter().map(|updates| &updates[0].0);
        heads.filter(|(head, _)| head == key).map(|(_, value)| value).min()
    }

    /// Passes all keys that are less.
    pub fn seek(&mut self, key: &K) {
        self.pass(|(other, _)| other < key);
    }

    /// Passes all keys that are less and, under the key itself, all values that are less.
    pub fn seek_value(&mut self, key: &K, value: &V) {
        self.pass(|(other, under)| (other, under) < (key, value));
    }

    /// Passes this key.
    pub fn pass_key(&mut self, key: &K) {
        self.pass(|(other, _)| other <= key);
    }

    /// Passes the next value, and tells what it adds up to through each of these epochs; none
    /// where nothing is left of it.
    pub fn sums<const N: usize>(&mut self, key: &K, value: &V, through: [Epoch; N]) -> [Option<R>; N] {
        let mut sums = [const { None::<R> }; N];
        let mut is_some_run_passed = false;
        for updates in &mut self.rest {
            while let Some(((record, epoch, diff), rest)) = updates.split_first()
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
                *updates = rest;
            }
            is_some_run_passed |= updates.is_empty();
        }
        if is_some_run_passed {
            self.rest.retain(|updates| !updates.is_empty());
        }
        sums.map(|sum| sum.filter(|sum| !sum.is_zero()))
    }

    fn pass(&mut self, is_before: impl Fn(&(K, V)) -> bool) {
        for updates in &mut self.rest {
            *updates = passed(updates, |(record, _, _)| is_before(record));
        }
        self.rest.retain(|updates| !updates.is_empty());
    }
}

/// What is left after those that come first; looks near before it looks far.
fn passed<T>(items: &[T], is_before: impl Fn(&T) -> bool) -> &[T] {
    let mut step = 1;
    while step < items.len() && is_before(&items[step]) {
        step *= 2;
    }
    let from = step / 2;
    let to = items.len().min(step + 1);
    &items[from + items[from..to].partition_point(is_before)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_may_be_passed() {
        let items: Vec<usize> = (0..200).collect();
        for length in 0..items.len() {
            for first in 0..=length + 1 {
                let left = passed(&items[..length], |&item| item < first);
                assert_eq!(left, &items[first.min(length)..length], "{first} of {length}");
            }
        }
    }
}
