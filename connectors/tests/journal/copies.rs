//! Segments go away and come back: what is brought back is what was there, or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trueup_connectors::journal::{Copies, CopyError, FileJournal, Journal, JournalError, Settings};

use crate::entries;
use trueup_model::fact::Entry;

use crate::samples::small;

const ENTRIES: u64 = 40;

/// Empty folders: of a journal, of its copies, and for what is brought back.
fn folders(test: &str) -> [PathBuf; 3] {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("copies").join(test);
    drop(fs::remove_dir_all(&folder));
    ["journal", "copies", "back"].map(|name| folder.join(name))
}

fn journal_in(folder: &Path, values: u64) -> FileJournal {
    journal_of(folder, |epoch| small(epoch, values))
}

fn journal_of(folder: &Path, entry: impl Fn(u64) -> Arc<Entry>) -> FileJournal {
    let settings = Settings { segment_bytes: 3_000, ..Settings::default() };
    let (mut journal, opened) = FileJournal::open(folder, settings).expect("nothing fails");
    for epoch in opened.last + 1..=opened.last + ENTRIES {
        journal.append(entry(epoch)).expect("it follows");
    }
    journal.sync().expect("nothing fails");
    journal
}

fn copies_in(folder: &Path) -> Copies {
    Copies::at(folder.to_str().expect("the path is a text")).expect("it is a folder")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a thread is there").block_on(work)
}

#[test]
fn what_is_brought_back_goes_on_where_the_copies_end() {
    let [journal, copies, back] = folders("round");
    let (mut kept, copies) = (journal_in(&journal, 1), copies_in(&copies));
    let sealed = kept.sealed();
    assert_eq!(block_on(copies.add(&journal, &sealed)).expect("nothing fails"), sealed.len());
    assert_eq!(block_on(copies.add(&journal, &sealed)).expect("nothing fails"), 0, "each is copied once");
    kept.append(small(ENTRIES + 1, 1)).expect("the journal goes on");
    let restored = block_on(copies.restore(&back)).expect("all are there");
    let last = sealed.last().expect("there are sealed segments").last;
    assert_eq!((restored.segments, restored.last), (sealed.len(), last));
    let settings = Settings { accept_rollback: true, ..Settings::default() };
    let (again, opened) = FileJournal::open(&back, settings).expect("they are whole");
    assert_eq!(opened.last, last);
    let all = entries(&kept).expect("nothing fails");
    assert_eq!(entries(&again).expect("nothing fails"), all[..last as usize]);
    // Where there is a journal nothing is brought back.
    assert!(matches!(block_on(copies.restore(&back)), Err(CopyError::NotEmpty { .. })));
}

#[test]
fn a_copy_that_is_damaged_or_missing_brings_nothing_back() {
    let [journal, copies, back] = folders("damage");
    let kept = journal_in(&journal, 1);
    let sealed = kept.sealed();
    block_on(copies_in(&copies).add(&journal, &sealed)).expect("nothing fails");
    let middle = copies.join(&sealed[sealed.len() / 2].name);
    let whole = fs::read(&middle).expect("it is there");
    for offset in [0, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[offset] ^= 1;
        fs::write(&middle, changed).expect("it can be written");
        let error = block_on(copies_in(&copies).restore(&back)).expect_err("a bit has changed");
        assert!(matches!(error, CopyError::Journal(JournalError::Damaged { .. })), "{error}");
        assert_eq!(fs::read_dir(&back).expect("it is there").count(), 0, "half a journal is none");
    }
    fs::remove_file(&middle).expect("it can be removed");
    let error = block_on(copies_in(&copies).restore(&back)).expect_err("a segment is missing");
    assert!(matches!(error, CopyError::Missing { .. }), "{error}");
    fs::write(&middle, whole).expect("it can be written");
    block_on(copies_in(&copies).restore(&back)).expect("all are there again");
}

#[test]
fn the_copies_of_another_journal_are_left_alone() {
    let [journal, copies, other] = folders("others");
    let kept = journal_in(&journal, 1);
    block_on(copies_in(&copies).add(&journal, &kept.sealed())).expect("nothing fails");
    let others = journal_in(&other, 7);
    let error = block_on(copies_in(&copies).add(&other, &others.sealed())).expect_err("they have the same names");
    assert!(matches!(error, CopyError::Other { .. } | CopyError::Foreign { .. }), "{error}");
    // Of one that has the same names and lengths, too.
    let [alike, ..] = folders("alike");
    let later = |epoch| Arc::new(Entry { clock: 2_000 + epoch as i64, ..(*small(epoch, 1)).clone() });
    let kept_alike = journal_of(&alike, later);
    assert!(
        kept_alike
            .sealed()
            .iter()
            .zip(kept.sealed())
            .all(|(one, two)| (&one.name, one.bytes) == (&two.name, two.bytes))
    );
    let error = block_on(copies_in(&copies).add(&alike, &kept_alike.sealed())).expect_err("it is another journal");
    assert!(matches!(error, CopyError::Foreign { .. }), "{error}");
    // What lies in a folder below is another's, and nothing is not a journal.
    let [_, above, back] = folders("above");
    block_on(copies_in(&above.join("below")).add(&journal, &kept.sealed())).expect("nothing fails");
    let error = block_on(copies_in(&above).restore(&back)).expect_err("there is none");
    assert!(matches!(error, CopyError::Nothing { .. }), "{error}");
    assert!(matches!(Copies::at("nowhere://x/y"), Err(CopyError::Place { .. })));
}
