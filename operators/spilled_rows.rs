//! Rows of which memory holds only those that were put last; the others lie in a file.
//!
//! Law: a row that is read is the row that was put at that address, or the engine stops.
//!
//! ```text
//!   record:  60 bytes of the row | checksum | 16 bytes for each wide value
//!   lane:    records of a 256th of all identities, in chunks: the last in memory, the others in the file
//! ```
//! An address counts sixteens of bytes from the beginning of the file. Records of one lane lie together in
//! chunks, so that whoever needs all rows in the order of their identities reads lane by lane, and holds
//! a few of them at a time, which the cache of the processor takes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use trueup_model::arrival::{Origin, OriginPlaces};
use trueup_model::identity::Identity;
use trueup_model::kept_row::{KeptRow, VALUE_BYTES};
use trueup_model::packed_row::PackedRow;
use trueup_model::usage::UsageBatch;
use twox_hash::XxHash3_64;

use crate::scratch::Scratch;

/// How many lanes there are: so many that of some millions of rows a lane fits into the cache of a processor, where
/// it is read out of order at little cost.
pub const LANES: usize = 256;
/// Bytes that an address counts.
const UNIT: usize = 16;
/// Bytes of a record before its wide values.
const HEAD: usize = PackedRow::BYTES + 4;

/// Rows in a file.
pub struct SpilledRows {
    scratch: Box<dyn Scratch>,
    lanes: Vec<Lane>,
    /// Chunks that the file did not take, by their address.
    held: BTreeMap<u32, Vec<u8>>,
    /// The address behind all chunks.
    end: u32,
    origins: OriginPlaces,
    count: usize,
}

/// Chunks of one lane.
#[derive(Default)]
struct Lane {
    /// Those that are full: where they begin, and how many bytes they have.
    full: Vec<(u32, u32)>,
    /// Where the last begins, what is in it, and how much it may be.
    begin: u32,
    open: Vec<u8>,
    room: usize,
}

impl SpilledRows {
    /// No rows yet.
    pub fn new(scratch: Box<dyn Scratch>) -> SpilledRows {
        let lanes = (0..LANES).map(|_| Lane::default()).collect();
        SpilledRows { scratch, lanes, held: BTreeMap::new(), end: 0, origins: OriginPlaces::default(), count: 0 }
    }

    /// How many rows were put.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether half of all addresses are given.
    pub fn is_long(&self) -> bool {
        self.end > u32::MAX / 2
    }

    /// Puts the row at this place of a batch; gives its address.
    pub fn put(&mut self, batch: &UsageBatch, place: u32) -> u32 {
        let row = &batch.rows[place as usize];
        let origin = self.origins.place(&batch.origin);
        let lane = lane_of(&row.identity);
        let address = self.reserve(lane, HEAD + usize::from(row.wide) * VALUE_BYTES);
        let packed = PackedRow::of(row, batch.received_at, origin);
        let wide: Vec<u8> = batch.wide_values(row).iter().flat_map(|value| value.to_le_bytes()).collect();
        // Before it is stored: to read again what was stored just now waits for memory.
        let sum = checksum(address, packed.bytes(), &wide);
        let open = &mut self.lanes[lane].open;
        open.extend_from_slice(packed.bytes());
        open.extend_from_slice(&sum.to_le_bytes());
        open.extend_from_slice(&wide);
        if open.len() + HEAD > self.lanes[lane].room {
            self.spill(lane);
        }
        self.count += 1;
        address
    }

    /// Makes room for so many bytes at the end of a lane; gives the address of the first.
    fn reserve(&mut self, lane: usize, bytes: usize) -> u32 {
        if self.lanes[lane].open.len() + bytes > self.lanes[lane].room {
            self.spill(lane);
            let room = bytes.max(self.scratch.chunk_bytes());
            let Lane { begin, room: its, .. } = &mut self.lanes[lane];
            (*begin, *its) = (self.end, room);
            let end = room.div_ceil(UNIT) as u64 + u64::from(self.end);
            // Addresses stay below the greatest, which would look like an empty slot of the index.
            self.end = u32::try_from(end).expect("rows that are not put away have 64 GiB together at most");
        }
        let Lane { begin, open, .. } = &self.lanes[lane];
        begin + (open.len() / UNIT) as u32
    }

    /// Writes the chunk that a lane ends with.
    fn spill(&mut self, lane: usize) {
        let Lane { full, begin, open, room } = &mut self.lanes[lane];
        *room = 0;
        if open.is_empty() {
            return;
        }
        full.push((*begin, open.len() as u32));
        if self.scratch.write(offset(*begin), open) {
            open.clear();
        } else {
            self.held.insert(*begin, std::mem::take(open));
        }
    }

    /// The row of an identity, alone in a batch, at its address; none if that is the row of another.
    pub fn find(&self, identity: &Identity, address: u32) -> Option<Arc<UsageBatch>> {
        let record = self.record(lane_of(identity), address);
        let row = SpilledRow { record: &record, origins: self.origins.in_order() };
        (row.packed().identity() == *identity).then(|| row.kept().alone())
    }

    fn record(&self, lane: usize, address: u32) -> Cow<'_, [u8]> {
        let record = match self.in_memory(lane, address) {
            Some(from) => Cow::Borrowed(&from[..length(from)]),
            None => Cow::Owned(self.scratch_record(address)),
        };
        self.check(address, &record);
        record
    }

    /// What there is in memory from an address on.
    fn in_memory(&self, lane: usize, address: u32) -> Option<&[u8]> {
        let open = (&self.lanes[lane].begin, &self.lanes[lane].open);
        let held = self.held.range(..=address).next_back();
        [Some(open), held].into_iter().flatten().find_map(|(begin, chunk)| {
            let start = address.checked_sub(*begin)? as usize * UNIT;
            chunk.get(start..).filter(|from| !from.is_empty())
        })
    }

    fn scratch_record(&self, address: u32) -> Vec<u8> {
        let mut record = vec![0; HEAD];
        self.read(address, &mut record);
        let length = length(&record);
        if length > HEAD {
            record.resize(length, 0);
            self.read(address, &mut record);
        }
        record
    }

    fn read(&self, address: u32, bytes: &mut [u8]) {
        if let Err(error) = self.scratch.read(offset(address), bytes) {
            self.scratch.lost(&error);
        }
    }

    /// Stops the engine if a record is not what was put at this address.
    fn check(&self, address: u32, record: &[u8]) {
        let sum = checksum(address, &record[..PackedRow::BYTES], &record[HEAD..]);
        if record[PackedRow::BYTES..HEAD] != sum.to_le_bytes() {
            self.scratch.lost(&io::Error::new(ErrorKind::InvalidData, "what is there is not what was written"));
        }
    }

    /// All records of a lane, read into memory.
    pub fn lane(&self, lane: usize) -> Records<'_> {
        let Lane { full, begin, open, .. } = &self.lanes[lane];
        let length = full.iter().map(|(_, length)| *length as usize).sum::<usize>() + open.len();
        let (chunks, bytes) = (Vec::with_capacity(full.len() + 1), Vec::with_capacity(length));
        let mut records = Records { rows: self, chunks, bytes };
        for &(begin, length) in full {
            let start = records.begin(begin);
            match self.held.get(&begin) {
                Some(held) => records.bytes.extend_from_slice(held),
                None => {
                    records.bytes.resize(start + length as usize, 0);
                    self.read(begin, &mut records.bytes[start..]);
                }
            }
        }
        if !open.is_empty() {
            records.begin(*begin);
            records.bytes.extend_from_slice(open);
        }
        records
    }
}

/// The records of a lane.
pub struct Records<'a> {
    rows: &'a SpilledRows,
    /// The address of each chunk, ascending, and where in `bytes` it begins.
    chunks: Vec<(u32, usize)>,
    bytes: Vec<u8>,
}

impl Records<'_> {
    fn begin(&mut self, address: u32) -> usize {
        let start = self.bytes.len();
        self.chunks.push((address, start));
        start
    }

    /// Reads the rows at some addresses into `rows`, in their order. They lie anywhere, and reads that do not wait
    /// for one another cost a fraction of those that do: so all records are touched before one is looked into.
    pub fn read<'a>(&'a self, addresses: impl Iterator<Item = u32> + Clone, rows: &mut Vec<SpilledRow<'a>>) {
        let origins = self.rows.origins.in_order();
        let begun = rows.len();
        rows.extend(addresses.clone().map(|address| SpilledRow { record: self.from(address), origins }));
        let seen = rows[begun..].iter().fold(0, |seen, row| seen ^ row.record[0] ^ row.record[HEAD - 1]);
        // Lest the reads be optimized away.
        std::hint::black_box(seen);
        for (row, address) in rows[begun..].iter_mut().zip(addresses) {
            row.record = &row.record[..length(row.record).min(row.record.len())];
            self.rows.check(address, row.record);
        }
    }

    /// What there is from an address on.
    fn from(&self, address: u32) -> &[u8] {
        let chunk = self.chunks.partition_point(|(begin, _)| *begin <= address) - 1;
        let (begin, start) = self.chunks[chunk];
        &self.bytes[start + (address - begin) as usize * UNIT..]
    }
}

/// A row as it lies in its record.
#[derive(Clone, Copy)]
pub struct SpilledRow<'a> {
    record: &'a [u8],
    origins: &'a [Arc<Origin>],
}

impl<'a> SpilledRow<'a> {
    /// The row. The place of its origin is one among those of all rows that were put with it.
    pub fn packed(&self) -> PackedRow {
        PackedRow::first_of(self.record)
    }

    /// Its origin.
    pub fn origin(&self) -> &'a Arc<Origin> {
        &self.origins[self.packed().origin() as usize]
    }

    /// The bytes of its wide values.
    pub fn wide(&self) -> &'a [u8] {
        &self.record[HEAD..]
    }

    /// The row with all that belongs to it.
    pub fn kept(&self) -> KeptRow {
        KeptRow::of(&self.packed(), self.origin().clone(), self.wide())
    }
}

/// The lane of an identity: lanes follow one another in the order of identities.
fn lane_of(identity: &Identity) -> usize {
    (identity.order().0 >> (u64::BITS - LANES.ilog2())) as usize
}

fn offset(address: u32) -> u64 {
    u64::from(address) * UNIT as u64
}

/// How long the record is that begins here.
fn length(from: &[u8]) -> usize {
    HEAD + usize::from(PackedRow::first_of(from).wide()) * VALUE_BYTES
}

/// Of all but itself. Records that lie elsewhere have others. XXH3, since a cyclic checksum of so few bytes takes
/// longer than copying them.
fn checksum(address: u32, packed: &[u8], wide: &[u8]) -> u32 {
    let sum = XxHash3_64::oneshot_with_seed(address.into(), packed);
    (if wide.is_empty() { sum } else { XxHash3_64::oneshot_with_seed(sum, wide) }) as u32
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use trueup_model::usage::{Says, UsageRow};

    use super::*;
    use crate::scratch::NoScratch;
    use crate::scratch::memory::MemoryScratch;

    /// Batches of rows; some have wide values, a few of them more than a chunk takes.
    fn batches() -> Vec<UsageBatch> {
        let batch = |number: u64| {
            let origin = Origin { source: format!("way {}", number % 3), partition: String::new() };
            let mut batch = UsageBatch { received_at: number as i64, origin: origin.into(), ..UsageBatch::default() };
            for place in 0..50 {
                let number = number * 50 + place;
                let wide = if number.is_multiple_of(97) { 40 } else { number % 11 % 4 };
                batch.rows.push(UsageRow {
                    identity: Identity::of("t", "s", &number.to_string()),
                    occurred_at: 7 * number as i64,
                    value: if wide > 0 { batch.wide.len() as i64 } else { number as i64 - 50 },
                    subject: number as u32,
                    properties: 3,
                    revision: 1,
                    says: match number % 13 {
                        0 => Says::Nothing,
                        1 => Says::Retraction,
                        _ => Says::Assertion,
                    },
                    wide: wide as u16,
                });
                batch.wide.extend((0..wide).map(|place| i128::from(number) << (2 * place)));
            }
            batch
        };
        (0..30).map(batch).collect()
    }

    fn places(batches: &[UsageBatch]) -> impl Iterator<Item = (&UsageBatch, u32)> {
        batches.iter().flat_map(|batch| (0..batch.rows.len() as u32).map(move |place| (batch, place)))
    }

    fn is_same(found: &UsageBatch, (batch, place): (&UsageBatch, u32)) -> bool {
        let (row, expected) = (&found.rows[0], &batch.rows[place as usize]);
        let narrow = |row: &UsageRow| UsageRow { value: if row.wide > 0 { 0 } else { row.value }, ..*row };
        narrow(row) == narrow(expected)
            && found.wide_values(row) == batch.wide_values(expected)
            && (found.received_at, &found.origin) == (batch.received_at, &batch.origin)
    }

    #[test]
    fn a_row_is_read_as_it_was_put_wherever_it_lies() {
        let scratches: [fn() -> Box<dyn Scratch>; 5] = [
            || Box::new(NoScratch),
            || Box::new(MemoryScratch::new(64, false)),
            || Box::new(MemoryScratch::new(64, true)),
            || Box::new(MemoryScratch::new(512, true)),
            || Box::new(MemoryScratch::new(1 << 16, false)),
        ];
        let batches = batches();
        for (number, scratch) in scratches.into_iter().enumerate() {
            let mut rows = SpilledRows::new(scratch());
            let mut put: Vec<((&UsageBatch, u32), u32)> = Vec::new();
            for (batch, place) in places(&batches) {
                put.push(((batch, place), rows.put(batch, place)));
                // Those that were put last are read too, while their chunk is in memory.
                for ((batch, place), address) in put.iter().rev().take(3) {
                    let found = rows.find(&batch.rows[*place as usize].identity, *address).expect("it is there");
                    assert!(is_same(&found, (batch, *place)), "scratch {number}, address {address}");
                }
            }
            assert_eq!(rows.count(), put.len());
            for &(at, address) in &put {
                let identity = at.0.rows[at.1 as usize].identity;
                let found = rows.find(&identity, address).expect("it is there");
                assert!(is_same(&found, at), "scratch {number}, address {address}");
                let other = Identity([identity.0[0] ^ 1, identity.0[1]]);
                assert!(rows.find(&other, address).is_none(), "it is the row of another");
            }
            let lanes: Vec<Records<'_>> = (0..LANES).map(|lane| rows.lane(lane)).collect();
            for (number_of_lane, lane) in lanes.iter().enumerate() {
                let is_here = |at: &(&UsageBatch, u32)| lane_of(&at.0.rows[at.1 as usize].identity) == number_of_lane;
                let here: Vec<_> = put.iter().filter(|(at, _)| is_here(at)).collect();
                let mut rows = Vec::new();
                lane.read(here.iter().map(|(_, address)| *address), &mut rows);
                assert_eq!(rows.len(), here.len());
                for (row, (at, address)) in rows.iter().zip(here) {
                    assert!(is_same(&row.kept().alone(), *at), "scratch {number}, address {address}");
                }
            }
        }
    }

    #[test]
    fn memory_holds_only_the_last_of_each_lane() {
        let mut rows = SpilledRows::new(Box::new(MemoryScratch::new(128, false)));
        let batches = batches();
        places(&batches).for_each(|(batch, place)| {
            rows.put(batch, place);
        });
        assert!(rows.held.is_empty());
        assert!(rows.lanes.iter().all(|lane| lane.open.len() <= lane.room.max(128)));
        let in_the_file = rows.lanes.iter().filter(|lane| !lane.full.is_empty()).count();
        assert!(in_the_file > LANES / 8 * 7, "{in_the_file} lanes have more than one chunk");
    }

    #[test]
    fn a_byte_that_changed_stops_the_engine() {
        let batches = batches();
        let wide = places(&batches).find(|(batch, place)| batch.rows[*place as usize].wide == 2).expect("there is one");
        let identity = wide.0.rows[wide.1 as usize].identity;
        for offset in 0..HEAD + 2 * VALUE_BYTES {
            let scratch = MemoryScratch::new(64, false);
            let mut rows = SpilledRows::new(Box::new(scratch.clone()));
            let address = rows.put(wide.0, wide.1);
            assert!(rows.find(&identity, address).is_some());
            scratch.tamper(offset);
            let found = catch_unwind(AssertUnwindSafe(|| rows.find(&identity, address).is_some()));
            let records = catch_unwind(AssertUnwindSafe(|| {
                rows.lane(lane_of(&identity)).read([address].into_iter(), &mut Vec::new());
            }));
            assert!(found.is_err() && records.is_err(), "offset {offset}");
        }
    }
}
