//! What the commands tell whoever calls them: exit codes, and where the words go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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

/// Runs a server until it says that it serves, and ends it.
fn serve_once(folder: &PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let mut server = command.current_dir(folder).arg("serve").stdout(Stdio::piped()).spawn().expect("a server starts");
    let mut said = String::new();
    let out = server.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut said).expect("it says that it serves");
    assert!(said.contains("Serving on grpc://"), "{said}");
    // Not gently: what it has said that it has read is in the journal.
    server.kill().expect("it runs");
    server.wait().expect("it ends");
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
    write("catalog/sold.toml", &SOLD.replace("0.25", "0.20"));
    serve_once(&folder);
    let (code, correction) = answer(&["issue", "2026-06", "--json"]);
    assert_eq!(code, Some(0));
    assert!(correction.contains(r#""amount":"-0.05","corrects":"INV-000001""#), "{correction}");
    let (code, verified) = answer(&["verify", "--journal", "kept", "--json"]);
    assert_eq!(code, Some(0), "{verified}");
    assert!(verified.contains(r#""holds":true"#), "{verified}");
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
    let output = trueup(&folder("full", &[GOOD]), &INGEST, full());
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}
