//! The arrangements of a worker, as files and back.

use std::io;

use differential_dataflow::difference::Semigroup;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trueup_connectors::checkpoint::records::{self, RecordWriter};
use trueup_connectors::checkpoint::{Part, Share};
use trueup_connectors::journal::disk::Disk;
use trueup_model::charge::Posting;
use trueup_model::fact::Epoch;
use trueup_model::identity::{customer_place, route};
use trueup_operators::arrange::Before;
use trueup_operators::read::Snapshot;

use super::ARRANGEMENT;
use crate::engine::graph::{Snapshots, Start};
use crate::engine::set_aside::{Origins, Quarantined};
use crate::invoicing::total_place;
use crate::metering::{target_place, text_place, usage_place};

/// Writes a worker's arrangements as of an epoch, each into a file of its own.
pub fn write(disk: &dyn Disk, worker: usize, epoch: Epoch, snapshots: &Snapshots) -> io::Result<Vec<Part>> {
    let mut writer = Writer { disk, worker, epoch, parts: Vec::new() };
    // Taken apart by name, so that the compiler asks for one that is added.
    let Snapshots { usage, values, texts, values_by_group, texts_by_group, totals, postings, accounts, quarantine } =
        snapshots;
    writer.put("usage", usage)?;
    writer.put("values", values)?;
    writer.put("texts", texts)?;
    writer.put("values-by-group", values_by_group)?;
    writer.put("texts-by-group", texts_by_group)?;
    writer.put("totals", totals)?;
    writer.put("postings", postings)?;
    writer.put("accounts", accounts)?;
    writer.put("quarantine", quarantine)?;
    Ok(writer.parts)
}

struct Writer<'a> {
    disk: &'a dyn Disk,
    worker: usize,
    epoch: Epoch,
    parts: Vec<Part>,
}

impl Writer<'_> {
    fn put<K, V, R>(&mut self, name: &str, snapshot: &Snapshot<K, V, R>) -> io::Result<()>
    where
        K: Ord + Clone + Serialize,
        V: Ord + Clone + Serialize,
        R: Semigroup + Serialize,
    {
        let file = format!("{ARRANGEMENT}{:020}-{:03}-{name}", self.epoch, self.worker);
        let mut writer = RecordWriter::create(self.disk, &file)?;
        snapshot.each_through(self.epoch, |key, value, sum| writer.put(&(key, value, sum)))?;
        self.parts.push(Part { file, records: writer.finish()? });
        Ok(())
    }
}

/// Reads a worker's arrangements into what it begins with, out of the shares of all that there were.
pub fn read(disk: &dyn Disk, shares: &[Share], worker: usize, workers: usize, start: &mut Start) -> io::Result<()> {
    let mut reader = Reader { disk, shares, worker, workers, epoch: start.epoch, place: 0 };
    let metering = &mut start.metering;
    metering.usage = reader.take(usage_place)?;
    metering.values = reader.take(usage_place)?;
    metering.texts = reader.take(usage_place)?;
    metering.values_by_group = reader.take(target_place)?;
    metering.texts_by_group = reader.take(text_place)?;
    start.totals = reader.take(total_place)?;
    start.postings = reader.take(posting_place)?;
    start.accounts = reader.take(|_| ANYWHERE)?;
    let mut origins = Origins::default();
    start.quarantine = reader.take_as(quarantine_place, |record: Quarantined| record.sharing(&mut origins))?;
    Ok(())
}

/// Where what nobody looks for by its place may live: with the first worker.
const ANYWHERE: u64 = 0;

/// Where what was set aside lives: a contradiction with its event, since there it is settled.
fn quarantine_place(record: &Quarantined) -> u64 {
    record.contradiction().map_or(ANYWHERE, |contradiction| contradiction.identity.place())
}

/// Where a posting lives: with its customer.
fn posting_place(posting: &Posting) -> u64 {
    customer_place(match posting {
        Posting::Invoice(invoice) => invoice.customer,
        Posting::Correction(group, _) | Posting::Alarm(group) => group.customer,
        Posting::Crossing(crossing) => crossing.group.customer,
    })
}

struct Reader<'a> {
    disk: &'a dyn Disk,
    shares: &'a [Share],
    worker: usize,
    workers: usize,
    epoch: Epoch,
    place: usize,
}

impl Reader<'_> {
    /// Takes the next arrangement. Where there are as many workers as there were, each has what it
    /// had; else what lives with it now.
    fn take<K, V, R>(&mut self, place: impl Fn(&K) -> u64) -> io::Result<Before<K, V, R>>
    where
        K: Ord + Clone + DeserializeOwned,
        V: Ord + DeserializeOwned,
        R: Semigroup + DeserializeOwned,
    {
        self.take_as(place, |key| key)
    }

    /// The same, with keys that are made of those that are read.
    fn take_as<K, V, R>(
        &mut self,
        place: impl Fn(&K) -> u64,
        mut made: impl FnMut(K) -> K,
    ) -> io::Result<Before<K, V, R>>
    where
        K: Ord + Clone + DeserializeOwned,
        V: Ord + DeserializeOwned,
        R: Semigroup + DeserializeOwned,
    {
        let mut records = Vec::new();
        let has_own = self.shares.len() == self.workers;
        let shares = if has_own { &self.shares[self.worker..=self.worker] } else { self.shares };
        for share in shares {
            let part = share.arrangements.get(self.place);
            let part = part.ok_or_else(|| io::Error::other("a checkpoint names too few arrangements"))?;
            for record in records::read::<(K, V, R)>(self.disk, &part.file)? {
                let (key, value, sum) = record?;
                if has_own || route(place(&key), self.workers) == self.worker {
                    records.push(((made(key), value), sum));
                }
            }
        }
        self.place += 1;
        Ok(Before::at(self.epoch, records))
    }
}
