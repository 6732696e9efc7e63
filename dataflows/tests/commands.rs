//! What the commands tell whoever calls them: exit codes, and where the words go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const CATALOG: &str = r#"
[[meter]]
name = "calls"
event_type = "call"
aggregation = "count"
"#;

const GOOD: &str = r#"{"id":"1","source":"/s","type":"call","subject":"acme","time":"2026-06-02T09:00:00Z"}"#;
const BAD: &str = r#"{"id":"2","source":"/s","type":"call","subject":"acme","time":"yesterday"}"#;

/// A folder with a catalog and a file of these events.
fn folder(name: &str, events: &[&str]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("commands").join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("catalog")).expect("a folder can be made");
    fs::write(folder.join("catalog/all.toml"), CATALOG).expect("a file can be written");
    fs::write(folder.join("events.ndjson"), events.join("\n")).expect("a file can be written");
    folder
}

fn trueup(folder: &PathBuf, arguments: &[&str], out: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.current_dir(folder).args(arguments).stdout(out).stderr(Stdio::piped());
    command.output().expect("the command runs")
}

/// The exit code and what was said to stderr.
fn ended(name: &str, events: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let output = trueup(&folder(name, events), arguments, Stdio::null());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const INGEST: [&str; 6] = ["ingest", "events.ndjson", "--catalog", "catalog", "--as-of", "2026-07-01"];
const REPLAY: [&str; 9] =
    ["replay", "--catalog", "catalog", "--events", "events.ndjson", "--as-of", "2026-07-01", "--out", "out"];

#[test]
fn a_trial_says_no_if_anything_was_set_aside() {
    assert_eq!(ended("trial_good", &[GOOD], &INGEST), (Some(0), String::new()));
    assert_eq!(ended("trial_bad", &[GOOD, BAD], &INGEST), (Some(1), "trueup: 1 input was set aside\n".to_owned()));
    let tried = trueup(&folder("trial_told", &[GOOD, BAD]), &[&INGEST[..], &["--json"]].concat(), Stdio::piped());
    let told = String::from_utf8_lossy(&tried.stdout).into_owned();
    let [_, refused] = &objects(&told)[..] else { panic!("{told}") };
    let told = ["source", "position", "reason"].map(|key| refused[key].as_str().unwrap_or_default());
    assert_eq!(told, ["events.ndjson", "line 2", "out_of_range"]);
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("yesterday")), "{refused}");
}

#[test]
fn a_replay_goes_on_with_what_is_good_unless_told_otherwise() {
    let said = "trueup: 1 input was set aside: the quarantine view says which and why\n".to_owned();
    assert_eq!(ended("replay_good", &[GOOD], &REPLAY), (Some(0), String::new()));
    assert_eq!(ended("replay_mixed", &[GOOD, BAD], &REPLAY), (Some(0), said.clone()));
    assert_eq!(ended("replay_strict", &[GOOD, BAD], &[&REPLAY[..], &["--strict"]].concat()), (Some(1), said.clone()));
    assert_eq!(ended("replay_bad", &[BAD], &REPLAY), (Some(1), said));
}

#[test]
fn what_cannot_be_used_is_told_from_what_failed() {
    let no_catalog = ["ingest", "events.ndjson", "--catalog", "nowhere"];
    assert_eq!(ended("no_catalog", &[GOOD], &no_catalog).0, Some(2));
    assert_eq!(ended("no_workers", &[GOOD], &[&REPLAY[..], &["--workers", "1000000"]].concat()).0, Some(2));
    assert_eq!(ended("no_server", &[GOOD], &["watch", "quotas", "--address", "127.0.0.1:1"]).0, Some(3));
}

#[test]
fn there_must_be_a_journal_to_verify() {
    assert_eq!(ended("no_journal", &[GOOD], &["verify", "--journal", "nowhere"]).0, Some(2));
    assert_eq!(ended("empty_journal", &[GOOD], &["verify", "--journal", "catalog"]).0, Some(2));
}

const SOLD: &str = r#"
feature = [{ name = "calls", meter = "calls" }]
customer = [{ id = "acme" }]
subscription = [{ id = "acme-pro", customer = "acme", plan = "pro", starts_at = 2026-06-01 }]

[[plan]]
name = "pro"
currency = "USD"
cadence = "month"
rate_card = [{ feature = "calls", price = { model = "per_unit", unit = "0.25" } }]
"#;

/// An address that nobody listens at.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("there is a port")
}

/// Runs a server until it says that it serves, and ends it.
fn serve_once(folder: &PathBuf) {
    drop(serve(folder));
}

/// A server, for as long as it is held.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // Not gently: what it has said that it has read is in the journal.
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

/// A server that says that it serves.
fn serve(folder: &PathBuf) -> Serving {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let server = command.current_dir(folder).arg("serve").stdout(Stdio::piped()).spawn().expect("a server starts");
    let mut server = Serving(server);
    let mut said = String::new();
    let out = server.0.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut said).expect("it says that it serves");
    assert!(said.contains("Serving on grpc://"), "{said}");
    server
}

#[test]
fn a_journal_can_be_issued_from_and_verified() {
    let folder = folder("journal", &[GOOD]);
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file can be written");
    write("catalog/sold.toml", SOLD);
    write("trueup.toml", "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'\naddress = '127.0.0.1:0'");
    let answer = |arguments: &[&str]| {
        let output = trueup(&folder, arguments, Stdio::piped());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    serve_once(&folder);
    let (code, invoice) = answer(&["issue", "2026-06", "--json"]);
    assert_eq!(code, Some(0));
    assert!(invoice.contains(r#""amount":"0.25","corrects":null"#), "{invoice}");
    assert_eq!(answer(&["issue", "2026-06"]).0, Some(1), "nothing has changed since");
    // No server has read this yet.
    write("catalog/sold.toml", &SOLD.replace("0.25", "0.20"));
    let (code, correction) = answer(&["issue", "2026-06", "--json"]);
    assert_eq!(code, Some(0));
    assert!(correction.contains(r#""amount":"-0.05","corrects":"INV-000001""#), "{correction}");
    let (code, verified) = answer(&["verify", "--journal", "kept", "--json"]);
    assert_eq!(code, Some(0), "{verified}");
    assert!(verified.contains(r#""holds":true"#), "{verified}");
}

#[test]
fn a_file_is_read_again_by_a_mapping_that_was_mended() {
    let folder = folder("mended", &[]);
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file can be written");
    let mapping = "event_type = { constant = 'call' }\nid = { column = 'call' }\nsource = '/s'\n\
                   subject = { column = 'who' }\ntime = { column = 'when', format = 'utc' }";
    let config = format!(
        "catalog = 'catalog'\nevents = ['events.csv']\nmappings = ['columns.toml']\njournal = 'kept'\naddress = '{}'",
        free_address()
    );
    write("events.csv", "call,who,when\n1,acme,2026-06-02T09:00:00Z\n");
    write("columns.toml", mapping);
    write("trueup.toml", &config);
    let ledger = || {
        let _server = serve(&folder);
        let select = "SELECT state, events FROM ledger WHERE state <> 'received' ORDER BY state";
        let asked = trueup(&folder, &["sql", select, "--json"], Stdio::piped());
        String::from_utf8_lossy(&asked.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = r#"{"state":"quarantined","events":1}"#;
    assert_eq!(ledger(), [refused]);
    assert_eq!(ledger(), [refused], "it was read before");
    write("columns.toml", &mapping.replace("utc", "iso"));
    let waiting = r#"{"state":"waiting","events":1}"#;
    assert_eq!(ledger(), [refused, waiting]);
    assert_eq!(ledger(), [refused, waiting], "it was read before");
}

/// The JSON objects of an answer, one a line.
fn objects(answer: &str) -> Vec<serde_json::Value> {
    answer.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn a_backfill_goes_into_the_journal_of_a_server_that_has_stopped() {
    let folder = folder("backfill", &[GOOD]);
    fs::write(
        folder.join("trueup.toml"),
        "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'\naddress = '127.0.0.1:0'",
    )
    .expect("a file can be written");
    fs::write(folder.join("catalog/sold.toml"), SOLD).expect("a file can be written");
    serve_once(&folder);
    check_backfills(&folder);
}

#[test]
fn a_running_server_is_asked_for_a_backfill() {
    let folder = folder("backfill_served", &[GOOD]);
    fs::write(
        folder.join("trueup.toml"),
        format!(
            "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'\naddress = '127.0.0.1:0'\nhttp = '{}'",
            free_address()
        ),
    )
    .expect("a file can be written");
    fs::write(folder.join("catalog/sold.toml"), SOLD).expect("a file can be written");
    let _server = serve(&folder);
    check_backfills(&folder);
}

/// Stages, previews, applies and takes back; whatever answers, the answers are the same.
fn check_backfills(folder: &PathBuf) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file can be written");
    let answer = |arguments: &[&str]| {
        let arguments = [&["--json", "backfill"], arguments].concat();
        let output = trueup(folder, &arguments, Stdio::piped());
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), out, err)
    };
    let late = |id: &str| GOOD.replace(r#""id":"1""#, &format!(r#""id":"{id}""#));
    write("late.csv", "id,at\n7,2026-06-03T10:00:00Z\n8,2026-06-04T10:00:00Z\n");
    write(
        "mapping.toml",
        "event_type = { constant = 'call' }\nid = { column = 'id' }\nsource = '/s'\n\
         subject = { constant = 'acme' }\ntime = { column = 'at' }",
    );
    let stage = ["stage", "june", "late.csv", "--mapping", "mapping.toml"];
    assert_eq!(answer(&stage).0, Some(0));
    let (code, _, why) = answer(&stage);
    assert_eq!((code, why.contains("staged already")), (Some(2), true), "{why}");
    // What happens to the file now is of no importance.
    write("late.csv", "");
    let (code, previewed, why) = answer(&["preview", "june"]);
    assert_eq!(code, Some(0), "{why}");
    assert_eq!(answer(&["preview", "june"]).1, previewed, "a preview leaves no trace");
    let previewed = objects(&previewed);
    assert_eq!(previewed[0]["money"][0]["total"], "0.5", "{previewed:?}");
    assert_eq!(previewed[0]["usage"][0]["events"], 2);
    let digest = previewed[0]["digest"].as_str().expect("it has a digest").to_owned();
    let (code, _, why) = answer(&["apply", "june", "--digest", "00"]);
    assert_eq!((code, why.contains("preview it again")), (Some(2), true), "{why}");
    let (code, _, why) = answer(&["apply", "juen"]);
    assert!(code == Some(2) && why.contains("did you mean 'june'?"), "{why}");
    let (code, applied, why) = answer(&["apply", "june", "--digest", &digest[..12]]);
    assert_eq!(code, Some(0), "{why}");
    let applied = &objects(&applied)[0];
    assert_eq!(applied["events"], 2);
    let (code, _, why) = answer(&["apply", "june"]);
    assert_eq!((code, why.contains("was applied at epoch")), (Some(2), true), "{why}");

    // In place of all there is, with an event that cannot be read.
    write("again.ndjson", &[late("1").as_str(), &late("9"), BAD].join("\n"));
    let scope = ["--replace", "--customer", "acme", "--meter", "calls", "--from", "2026-06-01", "--to", "2026-06-04"];
    assert_eq!(answer(&[&["stage", "again", "again.ndjson"], &scope[..]].concat()).0, Some(0));
    let (code, _, why) = answer(&["apply", "again"]);
    assert_eq!((code, why.contains("brings 1 event that cannot be counted")), (Some(2), true), "{why}");
    let (code, applied, why) = answer(&["apply", "again", "--set-aside"]);
    assert_eq!(code, Some(0), "{why}");
    let applied = &objects(&applied)[0];
    // Of the three that stood, one is named and one lies behind the end.
    assert_eq!((&applied["events"], &applied["displaced"]), (&2.into(), &1.into()), "{applied}");

    let (_, previewed, _) = answer(&["preview", "again", "--revert"]);
    assert_eq!(objects(&previewed)[0]["money"].as_array().map(Vec::len), Some(0), "one comes and one goes");
    for name in ["again", "june"] {
        let (code, _, why) = answer(&["revert", name]);
        assert_eq!(code, Some(0), "{why}");
    }
    let (_, listed, _) = answer(&["list"]);
    let listed = objects(&listed);
    assert_eq!((&listed[0]["reverted"]["retracted"], &listed[0]["reverted"]["restored"]), (&1.into(), &1.into()));
    // Both that it brought, also the one that had been displaced and stood again.
    assert_eq!((&listed[1]["reverted"]["retracted"], &listed[1]["reverted"]["left"]), (&2.into(), &0.into()));

    // What a scope names is there, or it is told at once.
    let scope = ["--replace", "--meter", "calls", "--from", "2026-06-01", "--to", "2026-06-04"];
    let stage = |whose: &[&str], name: &str| answer(&[&["stage", name], &scope[..], whose].concat());
    let (code, _, why) = stage(&["--customer", "amce"], "mistyped");
    assert_eq!((code, &*why), (Some(2), "trueup: there is no customer 'amce': did you mean 'acme'?\n"));
    let (code, _, why) = stage(&["--subject", "amce"], "doubtful");
    let doubt =
        "trueup: nothing is known of subject 'amce', so nothing of it would be displaced: did you mean 'acme'?\n";
    assert_eq!((code, &*why), (Some(0), doubt));
    let (code, _, why) = answer(&["preview", "doubtful"]);
    assert_eq!((code, why.contains(doubt)), (Some(0), true), "{why}");

    // What was staged is what is applied, or nothing is.
    write("more.ndjson", &late("10"));
    assert_eq!(answer(&["stage", "more", "more.ndjson"]).0, Some(0));
    let staged = fs::read_dir(folder.join("kept/backfills")).expect("there is a shelf");
    let mut staged = staged.map(|entry| entry.expect("it can be listed").path());
    let copy = staged.find(|path| path.display().to_string().contains("more~0001-")).expect("there is a copy");
    fs::write(copy, late("11")).expect("a file can be written");
    let (code, _, why) = answer(&["apply", "more"]);
    assert_eq!((code, why.contains("is not as it was")), (Some(2), true), "{why}");
    let verified = trueup(folder, &["verify", "--journal", "kept", "--json"], Stdio::piped());
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!((verified.status.code(), said.contains(r#""holds":true"#)), (Some(0), true), "{said}");
}

#[test]
fn a_file_that_was_read_in_part_is_read_on_where_it_was_left() {
    let others: Vec<String> = (0..30_000).map(|id| GOOD.replace(r#""id":"1""#, &format!(r#""id":"{id}""#))).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let folder = folder("in_part", &[&[BAD, BAD], &others[..], &[BAD, BAD, BAD]].concat());
    let address = free_address();
    let config = "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'";
    let room_for = |inputs: u32| {
        let config = format!("{config}\naddress = '{address}'\nquarantine_inputs = {inputs}");
        fs::write(folder.join("trueup.toml"), config).expect("a file can be written");
    };
    room_for(4);
    serve_once(&folder);
    room_for(5);
    let _server = serve(&folder);
    let asked = ["sql", "select state, events from ledger order by state", "--json"];
    let told = String::from_utf8_lossy(&trueup(&folder, &asked, Stdio::piped()).stdout).into_owned();
    let events =
        |row: &serde_json::Value| (row["state"].as_str().unwrap_or_default().to_owned(), row["events"].as_u64());
    let told: Vec<(String, Option<u64>)> = objects(&told).iter().map(events).collect();
    let expected = [("quarantined", 5), ("received", 30_005), ("waiting", 30_000)];
    assert_eq!(told, expected.map(|(state, events)| (state.to_owned(), Some(events))), "no line is read twice");
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_before_anything_is_begun() {
    let folder = folder("wrong", &[GOOD]);
    let config = "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'\naddress = '127.0.0.1:0'";
    let wrong = |more: &str| {
        fs::write(folder.join("trueup.toml"), format!("{config}\n{more}")).expect("a file can be written");
        let output = trueup(&folder, &["serve"], Stdio::null());
        assert!(!folder.join("kept").exists(), "{more}");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = wrong("copies = 'ftp://somewhere'");
    assert!(code == Some(2) && said.contains("`ftp://somewhere` is no place for copies"), "{said}");
    if cfg!(feature = "kafka") {
        let source = "[[kafka]]\nbrokers = ['127.0.0.1:1']";
        for (more, what) in [
            ("topics = ['a b']", "'a b' cannot be the name"),
            ("topics = []", "has no topics"),
            ("topics = ['a']\nsettings = { group.protocol = 'x' }", "passes `group.protocol` through"),
            ("topics = ['a']\nsettings = { fetch.wait.min = 1 }", "cannot use its settings"),
        ] {
            let (code, said) = wrong(&format!("{source}\n{more}"));
            assert!(code == Some(2) && said.contains(what), "{more}: {said}");
        }
    }
}

#[test]
fn what_was_sent_is_declared_to_a_journal() {
    let folder = folder("declared", &[GOOD]);
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file can be written");
    write("trueup.toml", "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'\naddress = '127.0.0.1:0'");
    write("said.json", r#"[{"source": "events.ndjson", "hour": "2026-06-02T09:00:00Z", "events": 2}]"#);
    write("wrong.json", r#"{"source": "events.ndjson", "hour": "2026-06-02T09:30:00Z", "events": 2}"#);
    serve_once(&folder);
    let code = |arguments: &[&str]| trueup(&folder, arguments, Stdio::null()).status.code();
    assert_eq!(code(&["declare", "said.json"]), Some(0));
    assert_eq!(code(&["declare", "wrong.json"]), Some(2));
    assert_eq!(code(&["declare", "nowhere.json"]), Some(2));
    assert_eq!(code(&["verify", "--journal", "kept"]), Some(0));
}

#[test]
fn what_was_set_aside_is_read_again_after_a_fix() {
    const OTHER: &str = r#"{"id":"3","source":"/s","type":"image","subject":"acme","time":"2026-06-02T09:00:00Z"}"#;
    let folder = folder("quarantine", &[GOOD, BAD, OTHER]);
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file can be written");
    let (views, http) = (free_address(), free_address());
    let config = "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'kept'\n";
    write("trueup.toml", &format!("{config}address = '{views}'\nhttp = '{http}'"));
    let answer = |arguments: &[&str]| {
        let output = trueup(&folder, arguments, Stdio::piped());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    serve_once(&folder);
    let (code, listed) = answer(&["quarantine", "list", "--json"]);
    assert_eq!((code, listed.lines().count()), (Some(0), 2), "{listed}");
    let (code, shown) = answer(&["quarantine", "show", "2/1"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("unknown_type") && shown.contains(OTHER), "{shown}");
    assert_eq!(answer(&["quarantine", "show", "2/9"]).0, Some(2));
    // The catalog is mended while the server is stopped.
    write("catalog/more.toml", &CATALOG.replace("calls", "images").replace("\"call\"", "\"image\""));
    let (code, replayed) = answer(&["quarantine", "replay", "--reason", "unknown_type", "--json"]);
    assert_eq!(code, Some(0));
    assert!(replayed.contains(r#""accepted":1"#), "{replayed}");
    // A running server is asked.
    let server = serve(&folder);
    let (code, listed) = answer(&["quarantine", "list", "2/0", "2/1", "--json"]);
    assert_eq!((code, listed.lines().count()), (Some(0), 1), "{listed}");
    assert!(answer(&["quarantine", "list", "--all"]).1.contains("replayed"));
    assert!(answer(&["quarantine", "show", "2/0"]).1.contains(BAD));
    let (code, replayed) = answer(&["quarantine", "replay", "2/0"]);
    assert_eq!(code, Some(1));
    assert!(replayed.contains("1 input still set aside"), "{replayed}");
    assert_eq!(answer(&["quarantine", "replay", "9/9"]).0, Some(1), "there is no such input");
    assert_eq!(answer(&["quarantine", "replay", "--source", "nobody"]).0, Some(1), "nothing is of it");
    drop(server);
    let (code, verified) = answer(&["verify", "--journal", "kept", "--json"]);
    assert_eq!(code, Some(0), "{verified}");
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
    let output = trueup(&folder("full", &[GOOD]), &INGEST, full());
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}
