//! Writes a run, row by row in their order.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::usage::UsageRow;

use super::super::filter::{BLOCK_BYTES, Filter};
use super::super::pages::{PAGE, PageWriter, seed};
use super::packed::Packed;
use super::{MAGIC, ROWS, VALUE, VALUES, order};
use crate::journal::disk::Disk;

/// Origins that are known by their address.
const RECENT: usize = 16;

/// A run that is being written; none until it is finished.
pub struct RunWriter {
    pages: PageWriter,
    filter: Filter,
    /// What is resident of the first rows of the pages.
    firsts: Vec<u8>,
    wide: Vec<u8>,
    page: Vec<u8>,
    origins: Origins,
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
            origins: Origins::default(),
            count: 0,
            last: None,
        })
    }

    /// Writes a row with its wide values. It is an error if rows come out of order, or one comes twice:
    /// nobody would find them again.
    pub fn put(&mut self, row: &UsageRow, received_at: Micros, origin: &Arc<Origin>, wide: &[i128]) -> io::Result<()> {
        let packed = Packed::of(row, received_at, self.origins.place(origin));
        let wide = wide.iter().flat_map(|value| value.to_le_bytes());
        let first_value = self.next_value();
        self.wide.extend(wide);
        self.append(&row.identity, packed.moved(packed.origin(), first_value))
    }

    /// Writes a row of another run, whose wide values are `wide` and whose origin is here at `origin`.
    pub(super) fn copy(&mut self, packed: Packed, origin: u32, wide: &[u8]) -> io::Result<()> {
        let first_value = self.next_value();
        self.wide.extend_from_slice(wide);
        self.append(&packed.identity(), packed.moved(origin, first_value))
    }

    /// The place of an origin among those of this run.
    pub(super) fn origin(&mut self, origin: &Arc<Origin>) -> u32 {
        self.origins.place(origin)
    }

    fn next_value(&self) -> u64 {
        (self.wide.len() / VALUE) as u64
    }

    fn append(&mut self, identity: &Identity, packed: Packed) -> io::Result<()> {
        let this = order(identity);
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
        self.filter.put(identity);
        self.page.extend_from_slice(packed.bytes());
        self.count += 1;
        Ok(())
    }

    /// Writes what belongs to the end, and makes it all durable; the file's name is for the caller to
    /// make so. Returns how many rows there are.
    pub fn finish(mut self) -> io::Result<u64> {
        self.pages.put_all(&self.page)?;
        let values = self.next_value();
        self.wide.chunks(VALUES as usize * VALUE).try_for_each(|contents| self.pages.put(contents))?;
        let mut resident: Vec<u8> = self.filter.bytes().flatten().collect();
        let blocks = (resident.len() / BLOCK_BYTES) as u64;
        resident.append(&mut self.firsts);
        let mut origins = serde_json::to_vec(&self.origins.in_order)?;
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
