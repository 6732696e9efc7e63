//! A watched folder over a real engine and its journal on disk: a start goes on where the last one ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::ipc::writer::FileWriter;
use trueup::engine::clock::Clock;
use trueup::engine::door::Submission;
use trueup::engine::intake::Gatherer;
use trueup::engine::{Engine, Setup};
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_connectors::journal::{FileJournal, Settings};
use trueup_connectors::watched::{Options, start};
use trueup_model::catalog::Catalog;

use crate::ledger::ledger;

const CATALOG: &str =
    "[[meter]]\nname = 'tokens'\nevent_type = 'call'\naggregation = 'sum'\nproperty = 'tokens'\nscale = 0\n";
const NOW: i64 = 1_782_864_000_000_000; // 2026-07-01T00:00:00Z
const PAUSE: Duration = Duration::from_millis(20);

/// Folders for the journal and for the files, removed in the end.
struct Folders(PathBuf);

impl Folders {
    fn new() -> Folders {
        let path = std::env::temp_dir().join(format!("trueup-watching-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("incoming")).expect("a folder can be made");
        Folders(path)
    }

    fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }

    /// Starts an engine on the journal, and watches.
    async fn watched_until(&self, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (journal, _) = FileJournal::open(&self.0.join("journal"), Settings::default()).expect("the journal opens");
        let setup = Setup { workers: 2, clock: Clock::Told, journal: Box::new(journal), ..Setup::default() };
        let engine = Arc::new(Engine::resume(setup, |_| {}).expect("the journal is whole"));
        if engine.layouts().by_type.is_empty() {
            let changes = read_catalog_texts(&[("catalog.toml", CATALOG)], &Catalog::default()).expect("it is good");
            let changes = changes.into_iter().map(|(change, _)| change).collect();
            engine.accept(vec![Submission::Clock(NOW), Submission::Catalog(changes)]).expect("the catalog is good");
        }
        let options = Options { folders: vec![self.incoming()], pause: PAUSE, ..Options::default() };
        let watch = start(Arc::new(Gatherer::start(engine.clone())), options);
        let mut ledger = ledger(&engine);
        for _ in 0..1_000 {
            if is_so(&ledger) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            ledger = crate::ledger::ledger(&engine);
        }
        // Whatever would be read twice would be by now.
        tokio::time::sleep(10 * PAUSE).await;
        ledger = crate::ledger::ledger(&engine);
        watch.stop().await;
        engine.stop();
        ledger
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(path: &Path, ids: std::ops::Range<usize>) {
    let event = |id: usize| {
        format!(
            r#"{{"id":"{id}","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":1}}}}"#
        )
    };
    fs::write(path, ids.map(|id| event(id) + "\n").collect::<String>()).expect("a file can be written");
}

fn columns(path: &Path, ids: std::ops::Range<usize>) {
    let same = |text: &str| Arc::new(StringArray::from(vec![text; ids.len()])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(ids.clone().map(|id| Some(id.to_string())).collect::<StringArray>()) as ArrayRef),
        ("source", same("/a")),
        ("type", same("call")),
        ("subject", same("acme")),
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from(vec![1_780_272_000_000_000; ids.len()]).with_timezone("UTC")),
        ),
        ("tokens", Arc::new(Int64Array::from(vec![1; ids.len()]))),
    ])
    .expect("the columns are of one length");
    let file = fs::File::create(path).expect("a file can be made");
    let mut writer = FileWriter::try_new(file, batch.schema_ref()).expect("a file can be written");
    writer.write(&batch).and_then(|()| writer.finish()).expect("a file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_before_a_start_is_not_read_after_it() {
    let folders = Folders::new();
    lines(&folders.incoming().join("a.ndjson"), 0..20_000);
    columns(&folders.incoming().join("b.arrow"), 20_000..40_000);
    let ledger = folders.watched_until(|ledger| ledger.contains(&"received 40000".to_owned())).await;
    assert_eq!(ledger, ["received 40000", "waiting 40000"]);
    lines(&folders.incoming().join("c.ndjson"), 39_999..40_001);
    let ledger = folders.watched_until(|ledger| ledger.contains(&"received 40002".to_owned())).await;
    assert_eq!(ledger, ["duplicate 1", "received 40002", "waiting 40001"]);
}
