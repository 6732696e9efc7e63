//! A run: standing rows by identity in a file, found by one read.
//!
//! Law: a run never changes; it has each identity once. In memory are a filter and the first identity
//! of each page: together 1.9 bytes for each row.
//!
//! ```text
//!   page of rows | ... | page of wide values | ... | filter, first identities, origins | ... | last page
//! ```
//! A row takes 60 bytes and a page holds 68 of them. The last page says how much there is of each.

mod cursor;
mod merge;
mod values;
mod writer;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use trueup_model::arrival::Origin;
use trueup_model::identity::Identity;
use trueup_model::kept_row::{KeptRow, VALUE_BYTES};
use trueup_model::packed_row::PackedRow;

use self::cursor::Cursor;
pub use self::merge::merge;
use self::values::Values;
pub use self::writer::{Places, RunWriter};
use super::filter::{BLOCK_BYTES, Filter};
use super::pages::{self, CONTENTS, PAGE, seed, word};
use crate::journal::disk::{Disk, DiskFile, ReadAt};

const MAGIC: &[u8; 8] = b"trueup-R";
/// Rows of a page.
const ROWS: u64 = (CONTENTS / PackedRow::BYTES) as u64;
/// Wide values of a page.
const VALUES: u64 = (CONTENTS / VALUE_BYTES) as u64;
/// What the last page has: the mark, and how many rows, values, blocks, bytes of origins and pages before
/// it there are.
const FOOTER: usize = 8 + 5 * 8;

/// A run, open to be read on any thread.
pub struct RowRun {
    name: String,
    file: Mutex<Box<dyn ReadAt>>,
    /// The same file, to make it durable while others read; and whether it is, once that was tried. After an
    /// error nobody knows, and asking again does not tell.
    durable: Mutex<(Box<dyn DiskFile>, Option<bool>)>,
    seed: u32,
    rows: u64,
    values: u64,
    filter: Filter,
    /// The first half of what rows are sorted by, of the first row of each page.
    firsts: Vec<u64>,
    origins: Vec<Arc<Origin>>,
}

impl RowRun {
    /// Opens a run; reads what is resident of it.
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<RowRun> {
        let mut file: Box<dyn ReadAt> = disk.open(name)?;
        let seed = seed(name);
        let last = (file.length()? / PAGE as u64).checked_sub(1).ok_or(ErrorKind::UnexpectedEof)?;
        let footer = pages::read(&mut *file, seed, last, 1)?;
        let counts: Vec<u64> = footer[8..FOOTER].chunks_exact(8).map(word).collect();
        let [rows, values, blocks, origin_bytes, end] = counts[..] else { unreachable!("the footer has five counts") };
        let row_pages = rows.div_ceil(ROWS);
        let begin = row_pages + values.div_ceil(VALUES);
        let blocks_bytes = blocks.checked_mul(BLOCK_BYTES as u64);
        let resident_bytes = blocks_bytes.and_then(|bytes| bytes.checked_add(8 * row_pages)?.checked_add(origin_bytes));
        let is_there = |bytes: u64| bytes.div_ceil(CONTENTS as u64) == end - begin;
        // There is at least one block, and what is resident fills the pages that are left for it.
        let fits = end == last && begin <= end && blocks > 0 && resident_bytes.is_some_and(is_there);
        if !footer.starts_with(MAGIC) || !fits {
            return Err(io::Error::new(ErrorKind::InvalidData, "its last page is not that of a run"));
        }
        let resident = pages::read(&mut *file, seed, begin, (end - begin) as usize)?;
        let (blocks, behind) = resident.split_at(blocks as usize * BLOCK_BYTES);
        let (firsts, behind) = behind.split_at(row_pages as usize * 8);
        let firsts = firsts.chunks_exact(8).map(word).collect();
        let origins = serde_json::from_slice(&behind[..origin_bytes as usize])?;
        let filter = Filter::of(blocks);
        // Opened now, since an error of before is not told to one that is opened after it.
        let durable = Mutex::new((disk.open(name)?, None));
        let (name, file) = (name.to_owned(), Mutex::new(file));
        Ok(RowRun { name, file, durable, seed, rows, values, filter, firsts, origins })
    }

    /// Makes it durable, but for the name of its file.
    pub fn keep(&self) -> io::Result<()> {
        let (file, is_durable) = &mut *self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        match is_durable {
            Some(true) => Ok(()),
            Some(false) => Err(io::Error::other(format!("{} could not be made durable before", self.name))),
            None => {
                let synced = file.sync();
                *is_durable = Some(synced.is_ok());
                synced
            }
        }
    }

    /// The name of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether it may have an identity.
    pub fn may_hold(&self, identity: &Identity) -> bool {
        self.filter.may_hold(identity)
    }

    /// Sets `bit` in the mask of each identity that it may have.
    pub fn mark(&self, identities: &[Identity], bit: u32, masks: &mut [u32]) {
        self.filter.mark(identities, bit, masks);
    }

    /// The row of an identity, if it has one. Costs a read of one page, or two if the row has wide
    /// values.
    pub fn find(&self, identity: &Identity) -> io::Result<Option<KeptRow>> {
        let sought = identity.0[1];
        // Identities with the same half may begin on the page before the first of those.
        let first = lower_bound(&self.firsts, sought).saturating_sub(1);
        let pages = self.firsts[first..].iter().take_while(|&&first| first <= sought).count();
        let mut contents = Vec::new();
        for page in first..first + pages {
            self.pages(page as u64, 1, &mut contents)?;
            let rows = contents.chunks_exact(PackedRow::BYTES).take(self.rows_of(page as u64)).map(PackedRow::first_of);
            if let Some(packed) = rows.into_iter().find(|packed| packed.identity() == *identity) {
                return self.kept(&packed).map(Some);
            }
        }
        Ok(None)
    }

    fn kept(&self, packed: &PackedRow) -> io::Result<KeptRow> {
        let mut values = Values::of(self);
        Ok(KeptRow::of(packed, self.origin(packed.origin())?, values.read(packed.first_value(), packed.wide())?))
    }

    /// All rows in their order; nothing more behind an error.
    pub fn scan(&self) -> impl Iterator<Item = io::Result<KeptRow>> + '_ {
        let mut next = Cursor::of(self).transpose();
        std::iter::from_fn(move || match next.take()? {
            Ok(mut cursor) => {
                let kept = cursor.kept();
                next = cursor.pass().map(|is_there| is_there.then_some(cursor)).transpose();
                Some(kept)
            }
            Err(error) => Some(Err(error)),
        })
    }

    fn origin(&self, place: u32) -> io::Result<Arc<Origin>> {
        let origin = self.origins.get(place as usize).cloned();
        origin.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a row names an origin that is not there"))
    }

    /// How many rows a page has.
    fn rows_of(&self, page: u64) -> usize {
        (self.rows - page * ROWS).min(ROWS) as usize
    }

    fn pages(&self, page: u64, count: usize, contents: &mut Vec<u8>) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        pages::read_into(&mut **file, self.seed, page, count, contents)
    }
}

/// How many of these numbers, which ascend, are less than `sought`. They are parts of hashes, so where it
/// must be is known but for a little, and the search begins there.
fn lower_bound(ascending: &[u64], sought: u64) -> usize {
    let guess = ((u128::from(sought) * ascending.len() as u128) >> 64) as usize;
    let (mut from, mut to, mut step) = (guess, guess, 1);
    while from > 0 && ascending[from - 1] >= sought {
        from = from.saturating_sub(step);
        step *= 2;
    }
    step = 1;
    while to < ascending.len() && ascending[to] < sought {
        to = (to + step).min(ascending.len());
        step *= 2;
    }
    from + ascending[from..to].partition_point(|&number| number < sought)
}

#[cfg(test)]
mod tests {
    use trueup_model::usage::{Says, UsageRow};

    use super::super::pages::PageWriter;
    use super::*;
    use crate::journal::simulated_disk::{Failure, SimulatedDisk};

    /// Rows in order; some share the first half of what they are sorted by, some have wide values.
    fn rows(count: u64, revision: u32) -> Vec<KeptRow> {
        let row = |number: u64| {
            let identity = Identity([number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number / 5 * 1_000]);
            let wide: Vec<i128> = (0..number % 11 % 4).map(|place| i128::from(number) << (10 * place)).collect();
            let value = if wide.is_empty() { number as i64 - 50 } else { 0 };
            let row = UsageRow {
                identity,
                occurred_at: 7 * number as i64,
                value,
                subject: number as u32,
                properties: 3,
                revision,
                says: match number % 13 {
                    0 => Says::Nothing,
                    1 => Says::Retraction,
                    _ => Says::Assertion,
                },
                wide: wide.len() as u16,
            };
            let origin = Origin { source: format!("way {}", number % 3), partition: String::new() };
            KeptRow { row, received_at: -1, origin: origin.into(), wide }
        };
        let mut rows: Vec<KeptRow> = (0..count).map(row).collect();
        rows.sort_by_key(|kept| kept.row.identity.order());
        rows
    }

    fn written(disk: &SimulatedDisk, name: &str, rows: &[KeptRow]) -> Arc<RowRun> {
        let mut writer = RunWriter::create(disk, name, rows.len() as u64).expect("the disk is good");
        rows.iter().for_each(|kept| writer.put_kept(kept).expect("the disk is good"));
        assert_eq!(writer.finish().expect("the disk is good"), rows.len() as u64);
        Arc::new(RowRun::open(disk, name).expect("it is whole"))
    }

    /// A row as it was written: where its values lay is not part of it.
    fn plain(kept: KeptRow) -> KeptRow {
        let value = if kept.row.wide > 0 { 0 } else { kept.row.value };
        KeptRow { row: UsageRow { value, ..kept.row }, ..kept }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for count in [0, 1, 67, 68, 69, 136, 20_000] {
            let rows = rows(count, 1);
            let run = written(&SimulatedDisk::new(1), "run", &rows);
            let scanned: Vec<KeptRow> = run.scan().map(|kept| plain(kept.expect("it can be read"))).collect();
            assert!(scanned == rows, "{count} rows");
            for kept in rows.iter().step_by(1 + count as usize / 500) {
                assert!(run.may_hold(&kept.row.identity));
                let found = run.find(&kept.row.identity).expect("it can be read").map(plain);
                assert_eq!(found.as_ref(), Some(kept));
                let Identity([low, high]) = kept.row.identity;
                for other in [Identity([low ^ 1, high]), Identity([low, high + 1])] {
                    assert_eq!(run.find(&other).expect("it can be read"), None);
                }
            }
        }
    }

    #[test]
    fn a_bound_is_found_wherever_the_search_begins() {
        let spread: Vec<u64> = (0..1_000).map(|number: u64| number.wrapping_mul(u64::MAX / 1_000)).collect();
        let low: Vec<u64> = (0..1_000).collect();
        let high: Vec<u64> = (0..1_000).map(|number| u64::MAX - 3_000 + number * 3).collect();
        let same = vec![u64::MAX / 2; 1_000];
        for ascending in [spread, low, high, same, vec![7], Vec::new()] {
            let near =
                ascending.iter().flat_map(|&number| [number.saturating_sub(1), number, number.saturating_add(1)]);
            for sought in near.chain([0, 1, u64::MAX / 2, u64::MAX]) {
                let expected = ascending.partition_point(|&number| number < sought);
                assert_eq!(lower_bound(&ascending, sought), expected, "{sought}");
            }
        }
    }

    fn merged(disk: &SimulatedDisk, runs: &[Arc<RowRun>], is_wanted: impl Fn(Identity) -> bool) -> Vec<KeptRow> {
        let count = merge(disk, "merged", 100, runs, is_wanted).expect("the disk is good");
        let run = RowRun::open(disk, "merged").expect("it is whole");
        let rows: Vec<KeptRow> = run.scan().map(|kept| plain(kept.expect("it can be read"))).collect();
        assert_eq!(count, rows.len() as u64);
        assert!(rows.iter().all(|kept| run.may_hold(&kept.row.identity)));
        rows
    }

    #[test]
    fn of_each_identity_the_newest_row_is_kept() {
        let disk = SimulatedDisk::new(1);
        let (old, new) = (rows(900, 1), rows(2_000, 2));
        let newer: Vec<KeptRow> = new.into_iter().filter(|kept| kept.row.subject % 3 == 0).collect();
        let runs = [written(&disk, "newer", &newer), written(&disk, "older", &old)];
        let is_wanted = |identity: Identity| !identity.0[0].is_multiple_of(5);
        let found = merged(&disk, &runs, is_wanted);
        let mut expected: Vec<KeptRow> =
            old.into_iter().filter(|kept| kept.row.subject % 3 != 0).chain(newer).collect();
        expected.sort_by_key(|kept| kept.row.identity.order());
        expected.retain(|kept| is_wanted(kept.row.identity));
        assert!(!expected.is_empty() && found == expected);
    }

    #[test]
    fn a_run_that_could_not_be_made_durable_is_not_said_to_be() {
        let disk = SimulatedDisk::new(1);
        let rows = rows(300, 1);
        let run = written(&disk, "run", &rows);
        disk.fail_after(0, Failure::Broken);
        assert!(run.keep().is_err());
        assert!(run.keep().is_err(), "asking again does not tell");
        // What can be read of it can be written again.
        assert_eq!(merge(&disk, "again", 300, &[run], |_| true).expect("it failed once"), 300);
        let again = RowRun::open(&disk, "again").expect("it is whole");
        assert!(again.keep().is_ok() && again.keep().is_ok());
        disk.sync_folder().expect("the disk is good");
        let cut = disk.after_power_cut();
        assert_eq!(RowRun::open(&cut, "again").expect("it is durable").scan().count(), 300);
    }

    #[test]
    fn a_bit_that_changed_shows() {
        let disk = SimulatedDisk::new(1);
        let rows = rows(300, 1);
        written(&disk, "run", &rows);
        let whole = disk.contents("run").expect("it was written");
        for offset in (0..whole.len()).step_by(37) {
            disk.tamper("run", |bytes| bytes[offset] ^= 4);
            let read = RowRun::open(&disk, "run").and_then(|run| run.scan().collect::<io::Result<Vec<_>>>());
            assert!(read.is_err(), "offset {offset}");
            disk.tamper("run", |bytes| bytes.clone_from(&whole));
        }
        // A page of another file, and a file that ends too soon.
        written(&disk, "other", &rows);
        disk.tamper("run", |bytes| bytes.clone_from(&whole));
        disk.tamper("other", |bytes| bytes[..PAGE].copy_from_slice(&whole[..PAGE]));
        let read = RowRun::open(&disk, "other").and_then(|run| run.scan().collect::<io::Result<Vec<_>>>());
        assert!(read.is_err());
        disk.tamper("run", |bytes| bytes.truncate(whole.len() - PAGE));
        assert!(RowRun::open(&disk, "run").is_err());
    }

    /// A file whose pages are sound, whoever wrote them.
    fn forged(disk: &SimulatedDisk, name: &str, contents: &[&[u8]], counts: [u64; 5]) {
        let mut pages = PageWriter::new(disk.create(name).expect("it is new"), seed(name));
        contents.iter().for_each(|contents| pages.put(contents).expect("the disk is good"));
        let footer = [MAGIC.to_vec(), counts.map(u64::to_le_bytes).concat()].concat();
        pages.put(&footer).and_then(|()| pages.finish()).expect("the disk is good");
    }

    #[test]
    fn a_last_page_that_says_more_than_there_is_stops_the_opening() {
        let disk = SimulatedDisk::new(1);
        let pages: [&[u8]; 2] = [&[0; CONTENTS]; 2];
        let counts = [
            // Rows, wide values, blocks of the filter, bytes of origins, pages.
            [1, 0, 200, 2, 2],
            [1, 0, u64::MAX, 2, 2],
            [1, 0, 0, 2, 2],
            [1, 0, 1, u64::MAX, 2],
            [1, 0, 1, 6_000, 2],
            [0, 0, 0, 2, 0],
            [u64::MAX, 0, 1, 2, 2],
            [u64::MAX, u64::MAX, 1, 2, 2],
            [0, 0, 1, 2, 2],
        ];
        for (number, counts) in counts.into_iter().enumerate() {
            let name = number.to_string();
            forged(&disk, &name, &pages[..counts[4] as usize], counts);
            assert!(RowRun::open(&disk, &name).is_err(), "{counts:?}");
        }
    }

    #[test]
    fn a_row_whose_values_lie_nowhere_is_an_error() {
        let disk = SimulatedDisk::new(1);
        let identity = Identity([3, 5]);
        let sought = UsageRow { identity, value: -1, wide: 2, ..rows(1, 1)[0].row };
        let mut filter = Filter::with_room(1);
        let origins = serde_json::to_vec(&[Origin::default()]).expect("it is plain");
        filter.put(&identity);
        let resident = [filter.bytes().flatten().collect(), 5_u64.to_le_bytes().to_vec(), origins.clone()].concat();
        let packed = PackedRow::of(&sought, 0, 0);
        forged(&disk, "run", &[packed.bytes(), &resident], [1, 0, 1, origins.len() as u64, 2]);
        let run = RowRun::open(&disk, "run").expect("its last page is sound");
        assert!(run.may_hold(&identity) && run.find(&identity).is_err());
        assert!(run.scan().all(|kept| kept.is_err()));
    }
}
