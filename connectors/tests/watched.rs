//! Watched folders as somebody sees them who puts files there, and starts again in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
use trueup_connectors::board::Board;
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::watched::{MAPPING_FILE, Options, Watch, start};
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::EventBatch;

/// Takes everything, and remembers it as a journal would.
#[derive(Default)]
struct Fake(Mutex<Journal>);

#[derive(Default)]
struct Journal {
    generation: u64,
    ids: Vec<String>,
    refused: Vec<String>,
    positions: BTreeMap<String, String>,
    /// How many batches are still taken before there is no room.
    room: Option<usize>,
}

impl Intake for Fake {
    fn layouts(&self) -> Arc<Layouts> {
        let numbers = vec![NumberColumn { property: "tokens".into(), scale: 0 }];
        let layout = EventLayout { event_type: "call".into(), numbers, texts: vec![], dimensions: vec![] };
        let generation = self.0.lock().unwrap().generation;
        Arc::new(Layouts { generation, by_type: [("call".to_owned(), Arc::new(layout))].into(), ..Layouts::default() })
    }

    fn read_to(&self, source: &str) -> Option<String> {
        self.0.lock().unwrap().positions.get(source).cloned()
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        let [batch] = <[EventBatch; 1]>::try_from(parts).expect("this way in has no parts");
        let mut journal = self.0.lock().unwrap();
        let outcome = journal.take(batch, read_to);
        async move { outcome }.boxed()
    }
}

impl Journal {
    fn take(&mut self, batch: EventBatch, read_to: Vec<Position>) -> Result<Taken, HandInError> {
        if batch.is_stale(self.generation) {
            return Err(HandInError::Stale);
        }
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(1).ok_or_else(|| HandInError::Unable("the disk is full: make room".to_owned()))?;
        }
        let ids = (0..batch.rows.len()).filter_map(|row| Some(batch.ids.get(row)?.1.to_owned()));
        self.ids.extend(ids);
        self.refused.extend(batch.refused.iter().map(|refused| format!("{}: {}", refused.position, refused.detail)));
        self.positions.extend(read_to.into_iter().map(|Position { source, at }| (source, at)));
        Ok(Taken { epoch: 1, events: batch.rows.len() as u64, refused: Vec::new() })
    }
}

/// A folder of its own that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("trueup-watched-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }

    /// Puts a file there by a rename, as one should.
    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let unfinished = self.0.join(format!(".{name}.part"));
        fs::write(&unfinished, bytes).expect("a file can be written");
        fs::rename(unfinished, self.0.join(name)).expect("a file can be renamed");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PAUSE: Duration = Duration::from_millis(20);

fn watch(intake: &Arc<Fake>, folder: &Path) -> Watch {
    start(intake.clone(), Options { folders: vec![folder.to_owned()], pause: PAUSE, threads: 1, ..Options::default() })
}

/// Waits until the journal is as it should be; fails with what it is if that takes too long.
async fn until(intake: &Fake, is_so: impl Fn(&Journal) -> bool) {
    for _ in 0..1_000 {
        if is_so(&intake.0.lock().unwrap()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let journal = intake.0.lock().unwrap();
    panic!(
        "{} ids, the last {:?}; {:?}; {:?}",
        journal.ids.len(),
        journal.ids.last(),
        journal.refused,
        journal.positions
    );
}

/// Long enough for several looks.
async fn some_looks() {
    tokio::time::sleep(10 * PAUSE).await;
}

fn event(id: usize) -> String {
    format!(
        r#"{{"id":"{id}","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":1}}}}"#
    )
}

fn lines(ids: std::ops::Range<usize>) -> String {
    ids.map(|id| event(id) + "\n").collect()
}

/// How many files were read to their end.
fn ends(journal: &Journal) -> usize {
    journal.positions.values().filter(|at| at.starts_with("read to end")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_in_the_order_of_their_names_and_once() {
    let (folder, intake) = (Folder::new("names"), Arc::new(Fake::default()));
    folder.put("b.ndjson", lines(2..4));
    folder.put("a.ndjson", lines(0..2));
    folder.put("c.txt", "no events");
    fs::create_dir(folder.0.join("d.ndjson")).expect("a folder can be made");
    let watch = watch(&intake, &folder.0);
    until(&intake, |journal| ends(journal) == 2).await;
    folder.put("0.csv", "id,type,who,at,n\n4,call,acme,2026-06-01T00:00:00Z,1\n5,call,acme,never,1\n");
    some_looks().await;
    assert_eq!(intake.0.lock().unwrap().ids, ["0", "1", "2", "3"]);
    // Only now it is known which column is what.
    let mapping = "event_type = { column = 'type' }\nid = { column = 'id' }\nsource = '/a'\n\
                   subject = { column = 'who' }\ntime = { column = 'at', format = 'iso' }\n[data]\ntokens = 'n'\n";
    folder.put(MAPPING_FILE, mapping);
    until(&intake, |journal| ends(journal) == 3).await;
    watch.stop().await;
    let journal = intake.0.lock().unwrap();
    assert_eq!(journal.ids, ["0", "1", "2", "3", "4"]);
    assert!(journal.refused[0].starts_with("line 3: `time` is `never`"), "{:?}", journal.refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_goes_on_in_the_middle_of_a_file() {
    const EVENTS: usize = 40_000;
    let (folder, intake) = (Folder::new("middle"), Arc::new(Fake::default()));
    folder.put("calls.ndjson", lines(0..EVENTS));
    intake.0.lock().unwrap().room = Some(2);
    let first = watch(&intake, &folder.0);
    until(&intake, |journal| journal.room == Some(0)).await;
    some_looks().await;
    first.stop().await;
    let read = intake.0.lock().unwrap().ids.len();
    assert!(0 < read && read < EVENTS, "{read}");
    let position = intake.0.lock().unwrap().positions.values().next().cloned().expect("there is a position");
    assert!(position.starts_with(&format!("read to {read}, ")), "{position}");

    intake.0.lock().unwrap().room = None;
    let second = watch(&intake, &folder.0);
    until(&intake, |journal| ends(journal) == 1).await;
    some_looks().await;
    second.stop().await;
    let third = watch(&intake, &folder.0);
    some_looks().await;
    third.stop().await;
    // Each event once: what was read before the stop is not read again, nor is the whole file.
    let journal = intake.0.lock().unwrap();
    assert!(journal.ids.iter().cloned().eq((0..EVENTS).map(|id| id.to_string())), "{} ids", journal.ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_again_is_read_again() {
    let (folder, intake) = (Folder::new("again"), Arc::new(Fake::default()));
    folder.put("calls.ndjson", lines(0..2));
    let watch = watch(&intake, &folder.0);
    until(&intake, |journal| ends(journal) == 1).await;
    folder.put("calls.ndjson", lines(0..3));
    until(&intake, |journal| journal.ids.len() == 5).await;
    // A new meter may read what nobody read before.
    intake.0.lock().unwrap().generation = 1;
    until(&intake, |journal| journal.ids.len() == 8).await;
    watch.stop().await;
    assert_eq!(intake.0.lock().unwrap().ids, ["0", "1", "0", "1", "2", "0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_is_read_when_it_has_grown() {
    let (folder, intake) = (Folder::new("grows"), Arc::new(Fake::default()));
    let options = Options { folders: vec![folder.0.clone()], pause: Duration::from_millis(300), ..Options::default() };
    let watch = start(intake.clone(), options);
    for end in 1..=6 {
        fs::write(folder.0.join("calls.ndjson"), lines(0..end)).expect("a file can be written");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until(&intake, |journal| ends(journal) == 1).await;
    watch.stop().await;
    assert_eq!(intake.0.lock().unwrap().ids.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_events_goes_to_the_quarantine_once() {
    let (folder, intake) = (Folder::new("damaged"), Arc::new(Fake::default()));
    folder.put("calls.parquet", "PAR1 and no more PAR1");
    folder.put("calls.arrow", "");
    folder.put("calls.ndjson", format!("{}\n?\n{}", event(1), event(2)));
    let watch = watch(&intake, &folder.0);
    until(&intake, |journal| ends(journal) == 3).await;
    some_looks().await;
    watch.stop().await;
    let journal = intake.0.lock().unwrap();
    assert_eq!((journal.ids.len(), journal.refused.len()), (2, 3), "{:?}", journal.refused);
    assert!(journal.refused[0].starts_with("behind row 0: `"), "{:?}", journal.refused);
    assert!(journal.refused[0].contains("there is nothing in it"), "{:?}", journal.refused);
    assert!(journal.refused[1].starts_with("line 2: not a CloudEvent in JSON"), "{:?}", journal.refused);
    assert!(journal.refused[2].contains("calls.parquet` cannot be read beyond row 0"), "{:?}", journal.refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_vanishes_is_watched_when_it_is_back() {
    let (folder, intake) = (Folder::new("vanishes"), Arc::new(Fake::default()));
    let (inside, board) = (folder.0.join("incoming"), Board::default());
    let options =
        Options { folders: vec![inside.clone()], pause: PAUSE, threads: 1, board: board.clone(), ..Options::default() };
    let watch = start(intake.clone(), options);
    let stands = || board.told()["sources"][0].clone();
    some_looks().await;
    let told = stands();
    assert_eq!((&told["source"], &told["state"]), (&inside.display().to_string().into(), &"waiting".into()));
    assert!(told["why"].as_str().is_some_and(|why| why.contains("check that it is there")), "{told}");
    fs::create_dir(&inside).expect("a folder can be made");
    fs::write(inside.join("a.ndjson"), lines(0..1)).expect("a file can be written");
    until(&intake, |journal| ends(journal) == 1).await;
    some_looks().await;
    assert_eq!((&stands()["state"], &stands()["why"]), (&"reading".into(), &serde_json::Value::Null));
    // A file that waits for its mapping is told of as long as it is there.
    fs::write(inside.join("a.csv"), "id\n1\n").expect("a file can be written");
    some_looks().await;
    let told = stands();
    assert!(told["why"].as_str().is_some_and(|why| why.contains("a.csv: it is CSV and needs")), "{told}");
    fs::remove_file(inside.join("a.csv")).expect("a file can be removed");
    some_looks().await;
    assert_eq!(stands()["state"], "reading");
    fs::remove_dir_all(&inside).expect("a folder can be removed");
    some_looks().await;
    fs::create_dir(&inside).expect("a folder can be made");
    fs::write(inside.join("b.ndjson"), lines(1..2)).expect("a file can be written");
    until(&intake, |journal| ends(journal) == 2).await;
    watch.stop().await;
    assert_eq!(intake.0.lock().unwrap().ids, ["0", "1"]);
}

#[cfg(unix)]
#[tokio::test]
async fn two_files_whose_names_are_shown_alike_are_not_taken_for_one() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::new("names");
    let event = |id: &str| {
        format!(
            r#"{{"id":"{id}","source":"/s","type":"call","subject":"a","time":"2026-06-01T00:00:00Z","data":{{"tokens":1}}}}"#
        )
    };
    for (name, id) in [(&b"june-\xff.ndjson"[..], "1"), (&b"june-\xfe.ndjson"[..], "2")] {
        fs::write(folder.0.join(OsStr::from_bytes(name)), event(id)).expect("the system allows such names");
    }
    folder.put("june.ndjson", event("3"));
    let (intake, board) = (Arc::new(Fake::default()), Board::default());
    let options = Options { folders: vec![folder.0.clone()], pause: PAUSE, threads: 1, ..Options::default() };
    let watch = start(intake.clone(), Options { board: board.clone(), ..options });
    until(&intake, |journal| journal.ids == ["3"]).await;
    let is_told = || board.told().to_string().matches("rename it").count() == 2;
    for _ in 0..1_000 {
        if is_told() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_told(), "both wait, and the board says why: {}", board.told());
    watch.stop().await;
    assert_eq!(intake.0.lock().unwrap().ids, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_of_the_same_length_and_time_is_read_too() {
    let (folder, intake) = (Folder::new("same-time"), Arc::new(Fake::default()));
    let put = |id: usize| {
        let unfinished = folder.0.join(".part");
        fs::write(&unfinished, event(id)).expect("a file can be written");
        let file = fs::File::options().write(true).open(&unfinished).expect("it is there");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).expect("it can be set");
        fs::rename(&unfinished, folder.0.join("x.ndjson")).expect("a file can be renamed");
    };
    let watch = watch(&intake, &folder.0);
    put(1);
    until(&intake, |journal| journal.ids.len() == 1).await;
    put(2);
    until(&intake, |journal| journal.ids.len() == 2).await;
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_would_be_numbered_alike_in_each_file_are_not_read() {
    let (folder, intake, board) = (Folder::new("numbered"), Arc::new(Fake::default()), Board::default());
    let options = Options { folders: vec![folder.0.clone()], pause: PAUSE, board: board.clone(), ..Options::default() };
    folder.put(
        MAPPING_FILE,
        "event_type = { constant = 'call' }\nid = { numbered = 'june' }\nsource = '/s'\n\
         subject = { column = 'who' }\ntime = { column = 'at', format = 'iso' }\n[data]\ntokens = 'tokens'",
    );
    folder.put("a.csv", "who,at,tokens\nacme,2026-06-01T00:00:00Z,1\n");
    let watch = start(intake.clone(), options);
    while !board.told().to_string().contains("june-000001") {
        tokio::time::sleep(PAUSE).await;
    }
    watch.stop().await;
    assert!(intake.0.lock().unwrap().ids.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_holds_up_nobody_who_stops() {
    let (folder, intake, board) = (Folder::new("endless"), Arc::new(Fake::default()), Board::default());
    let options = Options { folders: vec![folder.0.clone()], pause: PAUSE, board: board.clone(), ..Options::default() };
    let file = fs::File::create(folder.0.join("a.ndjson")).expect("a file can be made");
    file.set_len(1 << 40).expect("it takes no room");
    let watch = start(intake.clone(), options);
    while !board.told().to_string().contains("a.ndjson is being read") {
        tokio::time::sleep(PAUSE).await;
    }
    tokio::time::timeout(Duration::from_secs(30), watch.stop()).await.expect("it is not waited for");
}
