//! Arrangements whose batches other threads may read.
//!
//! A batch never changes once it is made, so sharing it is safe; differential counts references
//! with `Rc`, which would keep it on its worker's thread. `Shared` counts with `Arc` instead and
//! is otherwise the same batch. A `Snapshot` is the list of batches that make up an arrangement
//! as of one frontier: it can be read for as long as it is held, and holds nothing up.

use std::sync::Arc;

use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::trace::cursor::CursorList;
use differential_dataflow::trace::implementations::ord_neu::{OrdKeyBatch, OrdValBatch};
use differential_dataflow::trace::implementations::spine_fueled::{Merger, Spine, SpineBatch};
use differential_dataflow::trace::implementations::{KeyBatcher, ValBatcher, Vector};
use differential_dataflow::trace::{Cursor, Navigable, Span, cursor};
use timely::progress::frontier::AntichainRef;

use trueup_model::fact::Epoch;

/// A batch that threads may share.
pub struct Shared<B>(Arc<B>);

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Shared(Arc::clone(&self.0))
    }
}

impl<B> From<B> for Shared<B> {
    fn from(batch: B) -> Self {
        Shared(Arc::new(batch))
    }
}

impl<B: SpineBatch> SpineBatch for Shared<B> {
    type Time = B::Time;
    type Merger = SharedMerger<B>;

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Merges shared batches by merging what they share.
pub struct SharedMerger<B: SpineBatch>(B::Merger);

impl<B: SpineBatch> Merger<Shared<B>> for SharedMerger<B> {
    fn new(first: &Shared<B>, second: &Shared<B>, since: AntichainRef<B::Time>) -> Self {
        SharedMerger(B::Merger::new(&first.0, &second.0, since))
    }

    fn work(&mut self, first: &Shared<B>, second: &Shared<B>, fuel: &mut isize) {
        self.0.work(&first.0, &second.0, fuel);
    }

    fn done(self) -> Option<Shared<B>> {
        self.0.done().map(Shared::from)
    }
}

impl<B: Navigable> Navigable for Shared<B> {
    type Cursor = SharedCursor<B::Cursor>;

    fn cursor(&self) -> Self::Cursor {
        SharedCursor(self.0.cursor())
    }
}

/// A cursor over a shared batch.
pub struct SharedCursor<C>(C);

impl<C: Cursor> Cursor for SharedCursor<C> {
    type Storage = Shared<C::Storage>;
    type Key<'a> = C::Key<'a>;
    type ValOwn = C::ValOwn;
    type Val<'a> = C::Val<'a>;
    type Time = C::Time;
    type TimeGat<'a> = C::TimeGat<'a>;
    type Diff = C::Diff;
    type DiffGat<'a> = C::DiffGat<'a>;
    type KeyContainer = C::KeyContainer;
    type ValContainer = C::ValContainer;
    type TimeContainer = C::TimeContainer;
    type DiffContainer = C::DiffContainer;

    #[inline]
    fn key_valid(&self, storage: &Self::Storage) -> bool {
        self.0.key_valid(&storage.0)
    }

    #[inline]
    fn val_valid(&self, storage: &Self::Storage) -> bool {
        self.0.val_valid(&storage.0)
    }

    #[inline]
    fn key<'a>(&self, storage: &'a Self::Storage) -> Self::Key<'a> {
        self.0.key(&storage.0)
    }

    #[inline]
    fn val<'a>(&self, storage: &'a Self::Storage) -> Self::Val<'a> {
        self.0.val(&storage.0)
    }

    #[inline]
    fn get_key<'a>(&self, storage: &'a Self::Storage) -> Option<Self::Key<'a>> {
        self.0.get_key(&storage.0)
    }

    #[inline]
    fn get_val<'a>(&self, storage: &'a Self::Storage) -> Option<Self::Val<'a>> {
        self.0.get_val(&storage.0)
    }

    #[inline]
    fn map_times<L: FnMut(Self::TimeGat<'_>, Self::DiffGat<'_>)>(&mut self, storage: &Self::Storage, logic: L) {
        self.0.map_times(&storage.0, logic);
    }

    #[inline]
    fn step_key(&mut self, storage: &Self::Storage) {
        self.0.step_key(&storage.0);
    }

    #[inline]
    fn seek_key(&mut self, storage: &Self::Storage, key: Self::Key<'_>) {
        self.0.seek_key(&storage.0, key);
    }

    #[inline]
    fn step_val(&mut self, storage: &Self::Storage) {
        self.0.step_val(&storage.0);
    }

    #[inline]
    fn seek_val(&mut self, storage: &Self::Storage, val: Self::Val<'_>) {
        // A list of cursors asks this of all its members, also of those that have no key left.
        if self.0.key_valid(&storage.0) {
            self.0.seek_val(&storage.0, val);
        }
    }

    #[inline]
    fn rewind_keys(&mut self, storage: &Self::Storage) {
        self.0.rewind_keys(&storage.0);
    }

    #[inline]
    fn rewind_vals(&mut self, storage: &Self::Storage) {
        self.0.rewind_vals(&storage.0);
    }
}

/// A batch of an arrangement by key, with values.
pub type ValBatch<K, V, R> = Shared<OrdValBatch<Vector<((K, V), Epoch, R)>>>;
/// A batch of an arrangement of records, each its own key.
pub type KeyBatch<K, R> = Shared<OrdKeyBatch<Vector<((K, ()), Epoch, R)>>>;
/// A trace by key, with values.
pub type ValTrace<K, V, R> = Spine<ValBatch<K, V, R>>;
/// A trace of records, each its own key.
pub type KeyTrace<K, R> = Spine<KeyBatch<K, R>>;
/// Sorts updates into batches by key, with values.
pub type ByKey<K, V, R> = ValBatcher<K, V, Epoch, R>;
/// Sorts updates into batches of records.
pub type BySelf<K, R> = KeyBatcher<K, Epoch, R>;

/// The batches of an arrangement as of one frontier.
pub struct Snapshot<B>(Vec<(Epoch, B)>);

impl<B: Clone> Clone for Snapshot<B> {
    fn clone(&self) -> Self {
        Snapshot(self.0.clone())
    }
}

impl<B: Clone> Snapshot<B> {
    /// The arrangement made up of these spans.
    pub fn new(spans: Vec<Span<Epoch, B>>) -> Snapshot<B> {
        let last = |span: &Span<Epoch, B>| span.upper().as_option().map_or(Epoch::MAX, |upper| upper.saturating_sub(1));
        Snapshot(spans.into_iter().filter_map(|span| Some((last(&span), span.inner?))).collect())
    }

    /// Only the batches that may hold updates after `epoch`.
    pub fn after(&self, epoch: Epoch) -> Snapshot<B> {
        Snapshot(self.0.iter().filter(|(last, _)| *last > epoch).cloned().collect())
    }
}

impl<B: SpineBatch> Snapshot<B> {
    /// How many updates it holds; at least the number of its records.
    pub fn updates(&self) -> usize {
        self.0.iter().map(|(_, batch)| batch.len()).sum()
    }
}

impl<B> Snapshot<B>
where
    B: Navigable + Clone,
    B::Cursor: Cursor<Time = Epoch>,
{
    /// A cursor over it, with the batches it reads.
    pub fn cursor(&self) -> (CursorList<B::Cursor>, Vec<B>) {
        cursor::cursor_list(self.0.iter().map(|(_, batch)| batch.clone()).collect())
    }
}

/// The accumulation of the cursor's present key and value over the times up to `as_of`; none if
/// nothing is left.
#[inline]
pub fn accumulate<C>(cursor: &mut C, storage: &C::Storage, as_of: Epoch) -> Option<C::Diff>
where
    C: Cursor<Time = Epoch>,
    C::Diff: for<'a> Semigroup<C::DiffGat<'a>>,
{
    let mut sum: Option<C::Diff> = None;
    cursor.map_times(storage, |time, diff| {
        if C::owned_time(time) <= as_of {
            match &mut sum {
                Some(sum) => sum.plus_equals(&diff),
                None => sum = Some(C::owned_diff(diff)),
            }
        }
    });
    sum.filter(|sum| !sum.is_zero())
}
