//! Writes a run, row by row in their order.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use trueup_model::arrival::{Origin, OriginPlaces};
use trueup_model::kept_row::{KeptRow, VALUE_BYTES};
use trueup_model::packed_row::PackedRow;

use super::super::filter::{BLOCK_BYTES, Filter};
use super::super::pages::{PAGE, PageWriter, seed};
use super::{MAGIC, ROWS, VALUES};
use crate::journal::disk::Disk;

/// A run that is being written; none until it is finished.
pub struct RunWriter {
    pages: PageWriter,
    filter: Filter,
    /// What is resident of the first rows of the pages.
    firsts: Vec<u8>,
    wide: Vec<u8>,
    page: Vec<u8>,
    origins: OriginPlaces,
    count: u64,
    last: Option<(u64, u64)>,
}

impl RunWriter {
    /// Begins a run in a new file. The filter is made for about so many rows.
    pub fn create(disk: &dyn Disk, name: &str, rows_about: u64) -> io::Result<RunWriter> {
        Ok(RunWriter {
            pages: PageWriter::new(disk.create(name)?, seed(name)),
            filter: Filter::with_room(rows_about),
            firsts: Vec::new(),
            wide: Vec::new(),
            page: Vec::with_capacity(PAGE),
            origins: OriginPlaces::default(),
            count: 0,
            last: None,
        })
    }

    /// Writes a row, whose origin has this place here, and the bytes of its wide values. It is an error if
    /// rows come out of order, or one comes twice: nobody would find them again.
    pub fn put(&mut self, packed: PackedRow, origin: u32, wide: &[u8]) -> io::Result<()> {
        let first_value = self.next_value();
        self.wide.extend_from_slice(wide);
        self.append(packed.identity().order(), packed.moved(origin, first_value))
    }

    /// Writes a row that is not packed yet.
    pub fn put_kept(&mut self, kept: &KeptRow) -> io::Result<()> {
        let KeptRow { row, received_at, origin, wide } = kept;
        let wide: Vec<u8> = wide.iter().flat_map(|value| value.to_le_bytes()).collect();
        let origin = self.origin(origin);
        self.put(PackedRow::of(row, *received_at, origin), origin, &wide)
    }

    /// The place of an origin among those of this run.
    pub fn origin(&mut self, origin: &Arc<Origin>) -> u32 {
        self.origins.place(origin)
    }

    fn next_value(&self) -> u64 {
        (self.wide.len() / VALUE_BYTES) as u64
    }

    fn append(&mut self, this: (u64, u64), packed: PackedRow) -> io::Result<()> {
        if self.last.replace(this).is_some_and(|last| last >= this) {
            return Err(io::Error::new(ErrorKind::InvalidData, "rows of a run are out of order"));
        }
        if self.count.is_multiple_of(ROWS) {
            if self.count > 0 {
                self.pages.put(&self.page)?;
                self.page.clear();
            }
            self.firsts.extend_from_slice(&this.0.to_le_bytes());
        }
        self.filter.put(&packed.identity());
        self.page.extend_from_slice(packed.bytes());
        self.count += 1;
        Ok(())
    }

    /// Writes what belongs to the end. Returns how many rows there are. Durable it becomes when a checkpoint
    /// names it: most runs are merged before.
    pub fn finish(mut self) -> io::Result<u64> {
        self.pages.put_all(&self.page)?;
        let values = self.next_value();
        self.wide.chunks(VALUES as usize * VALUE_BYTES).try_for_each(|contents| self.pages.put(contents))?;
        let mut resident: Vec<u8> = self.filter.bytes().flatten().collect();
        let blocks = (resident.len() / BLOCK_BYTES) as u64;
        resident.append(&mut self.firsts);
        let mut origins = serde_json::to_vec(self.origins.in_order())?;
        let origin_bytes = origins.len() as u64;
        resident.append(&mut origins);
        self.pages.put_all(&resident)?;
        let mut footer = MAGIC.to_vec();
        let counts = [self.count, values, blocks, origin_bytes, self.pages.next()];
        counts.iter().for_each(|count| footer.extend_from_slice(&count.to_le_bytes()));
        self.pages.put(&footer)?;
        self.pages.finish()?;
        Ok(self.count)
    }
}

/// Where the origins of other rows are in a run that is being written, as far as that was asked for: to
/// compare names for each row would cost more than the row.
#[derive(Default)]
pub struct Places(Vec<Option<u32>>);

impl Places {
    /// Where the origin is that has this place among the others; `here` finds it the first time.
    pub fn place(&mut self, other: u32, here: impl FnOnce() -> io::Result<u32>) -> io::Result<u32> {
        let other = other as usize;
        if let Some(&Some(known)) = self.0.get(other) {
            return Ok(known);
        }
        let here = here()?;
        self.0.resize(self.0.len().max(other + 1), None);
        self.0[other] = Some(here);
        Ok(here)
    }
}
