//! Every story in `scenarios` comes out as it is written, told to the oracle and to the engine.
//!
//! `TRUEUP_REWRITE=1` writes down the answers of the oracle instead; read the change before you
//! keep it. The language is described in `story.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::subject::{Beside, OracleSubject, Subject};
use crate::subject_engine::engine;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dataflows/tests/scenarios");

fn stories() -> Vec<PathBuf> {
    let entries = fs::read_dir(SCENARIOS).expect("the scenarios are there");
    let paths = entries.map(|entry| entry.expect("the scenarios can be listed").path());
    let mut stories: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    stories.sort();
    stories
}

/// Tells every story to a fresh subject and collects those that come out otherwise.
fn tell_all(mut fresh: impl FnMut() -> Box<dyn Subject>) {
    let stories = stories();
    assert!(!stories.is_empty(), "there are stories in {SCENARIOS}");
    let wrong: Vec<String> = stories.iter().filter_map(|path| tell(path, &mut *fresh())).collect();
    assert!(wrong.is_empty(), "{} of {} stories came out otherwise\n{}", wrong.len(), stories.len(), wrong.join("\n"));
}

fn tell(path: &Path, subject: &mut dyn Subject) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let written = fs::read_to_string(path).expect("a story can be read");
    println!("{name}");
    let told = crate::story::tell(&written, subject);
    (told != written).then(|| format!("{name}\n{}", changed_lines(&written, &told)))
}

/// The lines that differ, those of the file with `-` and those that came out with `+`.
fn changed_lines(written: &str, told: &str) -> String {
    let (written, told): (Vec<&str>, Vec<&str>) = (written.lines().collect(), told.lines().collect());
    let same = written.iter().zip(&told).take_while(|(one, two)| one == two).count();
    let (written, told) = (&written[same..], &told[same..]);
    let same_end = written.iter().rev().zip(told.iter().rev()).take_while(|(one, two)| one == two).count();
    let marked = |mark: &str, lines: &[&str]| -> String {
        lines[..lines.len() - same_end].iter().map(|line| format!("{mark} {line}\n")).collect()
    };
    format!("from line {}\n{}{}", same + 1, marked("-", written), marked("+", told))
}

#[test]
fn the_oracle_tells_every_story() {
    if std::env::var_os("TRUEUP_REWRITE").is_some() {
        for path in stories() {
            let written = fs::read_to_string(&path).expect("a story can be read");
            let told = crate::story::tell(&written, &mut OracleSubject::new());
            fs::write(&path, told).expect("a story can be written");
        }
    }
    tell_all(|| Box::new(OracleSubject::new()));
}

#[test]
fn the_engine_tells_every_story() {
    for workers in [1, 3] {
        tell_all(|| Box::new(Beside::oracle(Box::new(engine(workers, 1)))));
    }
}
