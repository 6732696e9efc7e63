//! A run: standing rows by identity in a file, found by one read.
//!
//! Law: a run never changes; it has each identity once. In memory are a filter and the first identity
//! of each page: together 1.6 bytes for each row.
//!
//! ```text
//!   page of rows | ... | page of wide values | ... | filter, first identities, ways in | ... | last page
//! ```
//! A row takes 60 bytes and a page holds 68 of them. The last page says how much there is of each.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use trueup_model::arrival::Origin;
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::usage::{UsageBatch, UsageRow};

use super::filter::{BLOCK_BYTES, Filter};
use super::pages::{self, CONTENTS, PAGE, PageWriter, seed, word};
use crate::journal::disk::{Disk, ReadAt};

const MAGIC: &[u8; 8] = b"trueup-R";
const ROW: usize = 60;
const VALUE: usize = 16;
/// Rows of a page.
const ROWS: u64 = (CONTENTS / ROW) as u64;
/// Wide values of a page.
const VALUES: u64 = (CONTENTS / VALUE) as u64;
/// Pages that are read at once when all are.
const SCANNED: u64 = 128;
/// Origins that are known by their address.
const RECENT: usize = 16;
/// What the last page has: the mark, and how many rows, values, blocks, bytes of origins and pages before
/// it there are.
const FOOTER: usize = 8 + 5 * 8;

/// A row with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRow {
    /// The row. Its `value` means nothing where it has wide values.
    pub row: UsageRow,
    /// When it was received, by the billing clock.
    pub received_at: Micros,
    /// By which way.
    pub origin: Arc<Origin>,
    /// Its wide values.
    pub wide: Vec<i128>,
}

impl KeptRow {
    /// The row at a place of a batch.
    pub fn of(batch: &UsageBatch, place: u32) -> KeptRow {
        let row = batch.rows[place as usize];
        let (received_at, origin) = (batch.received_at, batch.origin.clone());
        KeptRow { row, received_at, origin, wide: batch.wide_values(&row).to_vec() }
    }

    /// It alone in a batch. What was sent as its source and id is not kept.
    pub fn alone(mut self) -> Arc<UsageBatch> {
        if self.row.wide > 0 {
            self.row.value = 0;
        }
        let KeptRow { row, received_at, origin, wide } = self;
        Arc::new(UsageBatch { received_at, origin, rows: vec![row], wide, ..UsageBatch::default() })
    }
}

/// What rows are sorted by.
pub fn order(identity: &Identity) -> (u64, u64) {
    (identity.0[1], identity.0[0])
}

/// Writes a run of rows in their order. Returns how many there were.
pub fn write(
    disk: &dyn Disk,
    name: &str,
    rows_about: u64,
    rows: impl Iterator<Item = io::Result<KeptRow>>,
) -> io::Result<u64> {
    let mut pages = PageWriter::new(disk.create(name)?, seed(name));
    let mut filter = Filter::with_room(rows_about);
    let (mut firsts, mut wide, mut page) = (Vec::new(), Vec::new(), Vec::with_capacity(PAGE));
    let mut origins = Origins::default();
    let mut count = 0;
    for kept in rows {
        let kept = kept?;
        if count % ROWS == 0 {
            if count > 0 {
                pages.put(&page)?;
                page.clear();
            }
            firsts.extend_from_slice(&kept.row.identity.0[1].to_le_bytes());
        }
        filter.put(&kept.row.identity);
        write_row(&kept, wide.len() / VALUE, origins.place(&kept.origin), &mut page);
        kept.wide.iter().for_each(|value| wide.extend_from_slice(&value.to_le_bytes()));
        count += 1;
    }
    pages.put_all(&page)?;
    let values = (wide.len() / VALUE) as u64;
    wide.chunks(VALUES as usize * VALUE).try_for_each(|contents| pages.put(contents))?;
    let mut resident: Vec<u8> = filter.bytes().flatten().collect();
    let blocks = (resident.len() / BLOCK_BYTES) as u64;
    resident.append(&mut firsts);
    let mut origins = serde_json::to_vec(&origins.in_order)?;
    let origin_bytes = origins.len() as u64;
    resident.append(&mut origins);
    pages.put_all(&resident)?;
    let mut footer = MAGIC.to_vec();
    let counts = [count, values, blocks, origin_bytes, pages.next()];
    counts.iter().for_each(|count| footer.extend_from_slice(&count.to_le_bytes()));
    pages.put(&footer)?;
    pages.finish()?;
    Ok(count)
}

/// The different origins of the rows of a run, each with its place.
#[derive(Default)]
struct Origins {
    in_order: Vec<Arc<Origin>>,
    places: BTreeMap<Arc<Origin>, u32>,
    /// Those that were asked for last. Rows share theirs, so most are found here by their address.
    recent: Vec<(Arc<Origin>, u32)>,
}

impl Origins {
    fn place(&mut self, origin: &Arc<Origin>) -> u32 {
        if let Some((_, place)) = self.recent.iter().find(|(recent, _)| Arc::ptr_eq(recent, origin)) {
            return *place;
        }
        let next = self.in_order.len() as u32;
        let place = *self.places.entry(origin.clone()).or_insert(next);
        if place == next {
            self.in_order.push(origin.clone());
        }
        self.recent.truncate(RECENT - 1);
        self.recent.insert(0, (origin.clone(), place));
        place
    }
}

fn write_row(kept: &KeptRow, first_value: usize, origin: u32, page: &mut Vec<u8>) {
    let row = &kept.row;
    let value = if row.wide > 0 { first_value as i64 } else { row.value };
    page.extend_from_slice(&row.identity.0[1].to_le_bytes());
    page.extend_from_slice(&row.identity.0[0].to_le_bytes());
    [row.occurred_at, value, kept.received_at].iter().for_each(|word| page.extend_from_slice(&word.to_le_bytes()));
    [row.subject, row.properties, row.revision, origin]
        .iter()
        .for_each(|word| page.extend_from_slice(&word.to_le_bytes()));
    page.extend_from_slice(&row.wide.to_le_bytes());
    page.extend_from_slice(&[u8::from(row.retract), 0]);
}

/// A row as it is in a page, when it was received, and the place of its origin; the place of its wide
/// values is its `value`.
fn read_row(bytes: &[u8]) -> (UsageRow, Micros, u32) {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let mut word = [0; 8];
        let (taken, left) = rest.split_at(length);
        word[..length].copy_from_slice(taken);
        rest = left;
        u64::from_le_bytes(word)
    };
    let identity = [take(8), take(8)];
    let [occurred_at, value, received_at] = [take(8) as i64, take(8) as i64, take(8) as i64];
    let [subject, properties, revision, origin] = [take(4) as u32, take(4) as u32, take(4) as u32, take(4) as u32];
    let (wide, retract) = (take(2) as u16, take(1) != 0);
    let identity = Identity([identity[1], identity[0]]);
    (UsageRow { identity, occurred_at, value, subject, properties, revision, retract, wide }, received_at, origin)
}

/// A run, open to be read on any thread.
pub struct RowRun {
    name: String,
    file: Mutex<Box<dyn ReadAt>>,
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
        let mut file = disk.open(name)?;
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
        Ok(RowRun { name: name.to_owned(), file: Mutex::new(file), seed, rows, values, filter, firsts, origins })
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

    /// The row of an identity, if it has one. Costs a read of one page, or two if the row has wide
    /// values.
    pub fn find(&self, identity: &Identity) -> io::Result<Option<KeptRow>> {
        let sought = identity.0[1];
        // Identities with the same half may begin on the page before the first of those.
        let first = self.firsts.partition_point(|&first| first < sought).saturating_sub(1);
        let pages = self.firsts[first..].iter().take_while(|&&first| first <= sought).count();
        for page in first..first + pages {
            let contents = self.pages(page as u64, 1)?;
            let rows = self.rows_of(page as u64);
            let is_it = |bytes: &&[u8]| read_row(bytes).0.identity == *identity;
            if let Some(bytes) = contents.chunks_exact(ROW).take(rows).find(is_it) {
                let (row, received_at, origin) = read_row(bytes);
                let wide = self.values(row.value as u64, row.wide)?;
                return Ok(Some(KeptRow { row, received_at, origin: self.origin(origin)?, wide }));
            }
        }
        Ok(None)
    }

    /// All rows in their order.
    pub fn scan(&self) -> impl Iterator<Item = io::Result<KeptRow>> + '_ {
        let pages = self.rows.div_ceil(ROWS);
        (0..pages).step_by(SCANNED as usize).flat_map(move |page| {
            let some = self.some_rows(page, SCANNED.min(pages - page));
            let (rows, error) = some.map_or_else(|error| (Vec::new(), Some(error)), |rows| (rows, None));
            rows.into_iter().map(Ok).chain(error.map(Err))
        })
    }

    fn some_rows(&self, page: u64, count: u64) -> io::Result<Vec<KeptRow>> {
        let contents = self.pages(page, count as usize)?;
        let mut rows = Vec::with_capacity((count * ROWS) as usize);
        for (place, contents) in contents.chunks_exact(CONTENTS).enumerate() {
            let here = self.rows_of(page + place as u64);
            rows.extend(contents.chunks_exact(ROW).take(here).map(read_row));
        }
        let mut values = Values { run: self, page: u64::MAX, contents: Vec::new() };
        let kept = |(row, received_at, origin): (UsageRow, Micros, u32)| {
            Ok(KeptRow { row, received_at, origin: self.origin(origin)?, wide: values.of(&row)? })
        };
        rows.into_iter().map(kept).collect()
    }

    fn origin(&self, place: u32) -> io::Result<Arc<Origin>> {
        let origin = self.origins.get(place as usize).cloned();
        origin.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a row names an origin that is not there"))
    }

    /// How many rows a page has.
    fn rows_of(&self, page: u64) -> usize {
        (self.rows - page * ROWS).min(ROWS) as usize
    }

    fn values(&self, first: u64, count: u16) -> io::Result<Vec<i128>> {
        let mut values = Values { run: self, page: u64::MAX, contents: Vec::new() };
        values.from(first, count)
    }

    fn pages(&self, page: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        pages::read(&mut **file, self.seed, page, count)
    }
}

/// Reads wide values; those of rows that follow one another lie behind one another.
struct Values<'a> {
    run: &'a RowRun,
    page: u64,
    contents: Vec<u8>,
}

impl Values<'_> {
    fn of(&mut self, row: &UsageRow) -> io::Result<Vec<i128>> {
        self.from(row.value as u64, row.wide)
    }

    fn from(&mut self, first: u64, count: u16) -> io::Result<Vec<i128>> {
        (0..u64::from(count)).map(|place| self.value(first.saturating_add(place))).collect()
    }

    fn value(&mut self, place: u64) -> io::Result<i128> {
        if place >= self.run.values {
            return Err(io::Error::new(ErrorKind::InvalidData, "a row names values that are not there"));
        }
        let page = self.run.rows.div_ceil(ROWS) + place / VALUES;
        if page != self.page {
            self.contents = self.run.pages(page, 1)?;
            self.page = page;
        }
        let bytes = &self.contents[(place % VALUES) as usize * VALUE..][..VALUE];
        let mut value = [0; VALUE];
        value.copy_from_slice(bytes);
        Ok(i128::from_le_bytes(value))
    }
}

/// Brings runs together: of each identity the row of the first run that has it.
pub fn merged<'a>(runs: &'a [Arc<RowRun>]) -> impl Iterator<Item = io::Result<KeptRow>> + 'a {
    let mut heads: Vec<Head<_>> = runs.iter().map(|run| Head { next: None, rest: run.scan() }).collect();
    let mut is_begun = false;
    std::iter::from_fn(move || {
        if !is_begun {
            is_begun = true;
            if let Some(error) = heads.iter_mut().find_map(|head| head.pass().err()) {
                return Some(Err(error));
            }
        }
        let least = heads.iter().filter_map(|head| head.next.as_ref()).map(|(order, _)| *order).min()?;
        let mut newest = None;
        // Older rows of the same identity are passed with it.
        for head in heads.iter_mut().filter(|head| head.next.as_ref().is_some_and(|(order, _)| *order == least)) {
            match head.pass() {
                Ok(row) => newest = newest.or(row),
                Err(error) => return Some(Err(error)),
            }
        }
        newest.map(Ok)
    })
}

/// The next row of a run, with what it is sorted by, and those behind it.
struct Head<I> {
    next: Option<((u64, u64), KeptRow)>,
    rest: I,
}

impl<I: Iterator<Item = io::Result<KeptRow>>> Head<I> {
    /// Goes on to the next row; gives the one before.
    fn pass(&mut self) -> io::Result<Option<KeptRow>> {
        let next = self.rest.next().transpose()?.map(|kept| (order(&kept.row.identity), kept));
        Ok(std::mem::replace(&mut self.next, next).map(|(_, kept)| kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;

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
                retract: number.is_multiple_of(13),
                wide: wide.len() as u16,
            };
            let origin = Origin { source: format!("way {}", number % 3), partition: String::new() };
            KeptRow { row, received_at: -1, origin: origin.into(), wide }
        };
        let mut rows: Vec<KeptRow> = (0..count).map(row).collect();
        rows.sort_by_key(|kept| order(&kept.row.identity));
        rows
    }

    fn written(disk: &SimulatedDisk, name: &str, rows: &[KeptRow]) -> Arc<RowRun> {
        let count = write(disk, name, rows.len() as u64, rows.iter().cloned().map(Ok)).expect("the disk is good");
        assert_eq!(count, rows.len() as u64);
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
    fn of_each_identity_the_newest_row_is_kept() {
        let disk = SimulatedDisk::new(1);
        let (old, new) = (rows(900, 1), rows(2_000, 2));
        let newer: Vec<KeptRow> = new.into_iter().filter(|kept| kept.row.subject % 3 == 0).collect();
        let runs = [written(&disk, "newer", &newer), written(&disk, "older", &old)];
        let found: Vec<KeptRow> = merged(&runs).map(|kept| plain(kept.expect("it can be read"))).collect();
        let mut expected: Vec<KeptRow> =
            old.into_iter().filter(|kept| kept.row.subject % 3 != 0).chain(newer).collect();
        expected.sort_by_key(|kept| order(&kept.row.identity));
        assert!(found == expected);
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
        let (mut page, mut filter) = (Vec::new(), Filter::with_room(1));
        let origins = serde_json::to_vec(&[Origin::default()]).expect("it is plain");
        let origin = Arc::new(Origin::default());
        write_row(&KeptRow { row: sought, received_at: 0, origin, wide: Vec::new() }, usize::MAX, 0, &mut page);
        filter.put(&identity);
        let resident = [filter.bytes().flatten().collect(), 5_u64.to_le_bytes().to_vec(), origins.clone()].concat();
        forged(&disk, "run", &[&page, &resident], [1, 0, 1, origins.len() as u64, 2]);
        let run = RowRun::open(&disk, "run").expect("its last page is sound");
        assert!(run.may_hold(&identity) && run.find(&identity).is_err());
        assert!(run.scan().all(|kept| kept.is_err()));
    }
}
