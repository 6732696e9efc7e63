//! What an older program kept is read, and gone on from.
//!
//! `version_1` is the folder of a server of before ways in were kept: a catalog, a file of six lines of
//! which two were set aside, and how far it was read.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use trueup_connectors::journal::{FileJournal, Journal, Settings};
use trueup_model::arrival::Origin;
use trueup_model::fact::{Entry, Fact};

use crate::entries;
use crate::folder::Scratch;

#[test]
fn a_journal_of_version_1_is_gone_on_from() {
    let scratch = Scratch::new("version-1");
    fs::create_dir_all(&scratch.0).expect("there is room");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/version_1");
    for file in fs::read_dir(kept).expect("the journal is kept") {
        let file = file.expect("it can be listed");
        fs::copy(file.path(), scratch.0.join(file.file_name())).expect("there is room");
    }
    let (mut journal, opened) = FileJournal::open(&scratch.0, Settings::default()).expect("an old journal opens");
    assert_eq!((opened.generation, opened.last, opened.cut), (2, 4, None));
    let read = entries(&journal).expect("it is whole");
    let facts: Vec<&Fact> = read.iter().flat_map(|entry| &entry.facts).collect();
    let usage = facts.iter().find_map(|fact| if let Fact::Usage(batch) = fact { Some(batch) } else { None });
    let usage = usage.expect("events were taken");
    assert_eq!((usage.rows.len(), usage.origin.as_ref()), (4, &Origin::default()), "nobody knows how they came");
    let refused = facts.iter().find_map(|fact| if let Fact::Refused(refused) = fact { Some(refused) } else { None });
    let refused = refused.expect("some were set aside");
    assert_eq!((refused.len(), &*refused[0].source, &*refused[0].partition), (2, "events.ndjson", ""));
    assert!(refused.iter().all(|refused| refused.payload.is_some()));
    // What is written behind it is of this version, and both are read.
    let clock = read.last().expect("there are entries").clock;
    journal.append(Arc::new(Entry { epoch: 5, clock, ..Entry::default() })).expect("it follows");
    journal.sync().expect("nothing fails");
    drop(journal);
    let (journal, opened) = FileJournal::open(&scratch.0, Settings::default()).expect("both are read");
    assert_eq!((opened.last, entries(&journal).expect("it is whole")[..4].to_vec()), (5, read));
}
