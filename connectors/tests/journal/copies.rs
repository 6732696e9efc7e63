//! Segments go away and come back: what is brought back is what was there, or nothing.
//!
//! The laws are for any place; here it is a folder, and in `buckets.rs` a bucket.

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use trueup_connectors::journal::{Copies, CopyError, FileJournal, Journal, JournalError, Settings};
use trueup_model::fact::Entry;
use url::Url;

use crate::entries;
use crate::samples::small;

const ENTRIES: u64 = 40;

/// A place for copies, whose contents can be changed behind everybody's back.
pub struct Place {
    at: String,
    store: Box<dyn ObjectStore>,
    below: Path,
}

impl Place {
    /// An address, as `Copies` takes it.
    pub fn at(url: &Url) -> Place {
        let settings = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
        let settings = settings.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, below) = object_store::parse_url_opts(url, settings).expect("it is an address");
        Place { at: url.to_string(), store, below }
    }

    fn in_folder(folder: &FilePath) -> Place {
        fs::create_dir_all(folder).expect("a folder can be made");
        Place::at(&Url::from_directory_path(folder).expect("its path is whole"))
    }

    pub fn copies(&self) -> Copies {
        Copies::at(&self.at).expect("it is a place")
    }

    /// The copies in a folder below.
    fn copies_below(&self) -> Copies {
        Copies::at(&format!("{}/below/", self.at.trim_end_matches('/'))).expect("it is a place")
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let at = self.below.clone().join(name);
        let read = async { self.store.get(&at).await.expect("it is there").bytes().await };
        block_on(read).expect("it comes whole").to_vec()
    }

    fn write(&self, name: &str, contents: Vec<u8>) {
        let at = self.below.clone().join(name);
        block_on(self.store.put(&at, contents.into())).expect("it can be written");
    }

    fn remove(&self, name: &str) {
        let at = self.below.clone().join(name);
        block_on(self.store.delete(&at)).expect("it can be removed");
    }
}

/// Empty folders: of a journal, of another, of copies, and for what is brought back.
pub fn folders(test: &str) -> [PathBuf; 4] {
    let folder = FilePath::new(env!("CARGO_TARGET_TMPDIR")).join("copies").join(test);
    drop(fs::remove_dir_all(&folder));
    ["journal", "other", "copies", "back"].map(|name| folder.join(name))
}

pub fn journal_in(folder: &FilePath, values: u64) -> FileJournal {
    journal_of(folder, |epoch| small(epoch, values))
}

fn journal_of(folder: &FilePath, entry: impl Fn(u64) -> Arc<Entry>) -> FileJournal {
    let settings = Settings { segment_bytes: 3_000, ..Settings::default() };
    let (mut journal, opened) = FileJournal::open(folder, settings).expect("nothing fails");
    for epoch in opened.last + 1..=opened.last + ENTRIES {
        journal.append(entry(epoch)).expect("it follows");
    }
    journal.sync().expect("nothing fails");
    journal
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread is there").block_on(work)
}

pub fn goes_on_where_the_copies_end(place: &Place, [journal, _, _, back]: &[PathBuf; 4]) {
    let (mut kept, copies) = (journal_in(journal, 1), place.copies());
    let sealed = kept.sealed();
    assert_eq!(block_on(copies.add(journal, &sealed)).expect("nothing fails"), sealed.len());
    assert_eq!(block_on(copies.add(journal, &sealed)).expect("nothing fails"), 0, "each is copied once");
    kept.append(small(ENTRIES + 1, 1)).expect("the journal goes on");
    let restored = block_on(copies.restore(back)).expect("all are there");
    let last = sealed.last().expect("there are sealed segments").last;
    assert_eq!((restored.segments, restored.last), (sealed.len(), last));
    let settings = Settings { accept_rollback: true, ..Settings::default() };
    let (again, opened) = FileJournal::open(back, settings).expect("they are whole");
    assert_eq!(opened.last, last);
    let all = entries(&kept).expect("nothing fails");
    assert_eq!(entries(&again).expect("nothing fails"), all[..last as usize]);
    // Where there is a journal nothing is brought back.
    assert!(matches!(block_on(copies.restore(back)), Err(CopyError::NotEmpty { .. })));
}

pub fn damage_brings_nothing_back(place: &Place, [journal, _, _, back]: &[PathBuf; 4]) {
    let kept = journal_in(journal, 1);
    let sealed = kept.sealed();
    block_on(place.copies().add(journal, &sealed)).expect("nothing fails");
    let middle = &sealed[sealed.len() / 2].name;
    let whole = place.read(middle);
    for offset in [0, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[offset] ^= 1;
        place.write(middle, changed);
        let error = block_on(place.copies().restore(back)).expect_err("a bit has changed");
        assert!(matches!(error, CopyError::Journal(JournalError::Damaged { .. })), "{error}");
        assert_eq!(fs::read_dir(back).expect("it is there").count(), 0, "half a journal is none");
    }
    place.remove(middle);
    let error = block_on(place.copies().restore(back)).expect_err("a segment is missing");
    assert!(matches!(error, CopyError::Missing { .. }), "{error}");
    place.write(middle, whole);
    block_on(place.copies().restore(back)).expect("all are there again");
}

pub fn another_journal_is_left_alone(place: &Place, [journal, other, ..]: &[PathBuf; 4]) {
    let kept = journal_in(journal, 1);
    block_on(place.copies().add(journal, &kept.sealed())).expect("nothing fails");
    let others = journal_in(other, 7);
    let error = block_on(place.copies().add(other, &others.sealed())).expect_err("they have the same names");
    assert!(matches!(error, CopyError::Other { .. } | CopyError::Foreign { .. }), "{error}");
}

pub fn one_that_is_as_long_is_left_alone(place: &Place, [journal, alike, ..]: &[PathBuf; 4]) {
    let kept = journal_in(journal, 1);
    block_on(place.copies().add(journal, &kept.sealed())).expect("nothing fails");
    let later = |epoch| Arc::new(Entry { clock: 2_000 + epoch as i64, ..(*small(epoch, 1)).clone() });
    let kept_alike = journal_of(alike, later);
    let (ours, theirs) = (kept.sealed(), kept_alike.sealed());
    assert!(ours.iter().zip(&theirs).all(|(one, two)| (&one.name, one.bytes) == (&two.name, two.bytes)));
    let error = block_on(place.copies().add(alike, &theirs)).expect_err("it is another journal");
    assert!(matches!(error, CopyError::Foreign { .. }), "{error}");
}

pub fn what_lies_below_is_anothers(place: &Place, [journal, _, _, back]: &[PathBuf; 4]) {
    let kept = journal_in(journal, 1);
    block_on(place.copies_below().add(journal, &kept.sealed())).expect("nothing fails");
    let error = block_on(place.copies().restore(back)).expect_err("there is none");
    assert!(matches!(error, CopyError::Nothing { .. }), "{error}");
}

/// A law, for a place and folders that are empty.
pub type Law = fn(&Place, &[PathBuf; 4]);

pub const LAWS: [(&str, Law); 5] = [
    ("what is brought back goes on where the copies end", goes_on_where_the_copies_end),
    ("a copy that is damaged or missing brings nothing back", damage_brings_nothing_back),
    ("the copies of another journal are left alone", another_journal_is_left_alone),
    ("so are those of one with the same names and lengths", one_that_is_as_long_is_left_alone),
    ("what lies in a folder below is another's, and nothing is not a journal", what_lies_below_is_anothers),
];

#[test]
fn the_laws_of_copies_hold_in_a_folder() {
    for (name, law) in LAWS {
        println!("{name}");
        let folders = folders("folder");
        law(&Place::in_folder(&folders[2]), &folders);
    }
    assert!(matches!(Copies::at("nowhere://x/y"), Err(CopyError::Place { .. })));
}
