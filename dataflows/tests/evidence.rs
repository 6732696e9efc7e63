//! The page of evidence says of each trial what its report says: how often, and of which commit.

use std::fs;

use crate::tidy::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The row of a trial that has a report.
fn row(of: &str) -> String {
    let page = read("dataflows/tests/evidence.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| {of}")) && line.contains("report.md"));
    row.unwrap_or_else(|| panic!("the page has no row that begins with `{of}`")).to_owned()
}

#[test]
fn each_trial_names_the_commit_of_its_report() {
    for (of, report) in [
        ("the real server killed", "dataflows/tests/kills/report.md"),
        ("power cuts of the journal", "connectors/tests/journal/report.md"),
        ("fuzzing", "connectors/fuzz/report.md"),
        ("mistakes planted", "dataflows/tests/planted/report.md"),
    ] {
        let row = row(of);
        let is_commit = |part: &&str| part.len() == 7 && part.chars().all(|digit| digit.is_ascii_hexdigit());
        let commit = row.split('`').find(is_commit).unwrap_or_else(|| panic!("no commit is named in: {row}"));
        assert!(read(report).contains(commit), "{report} is of another commit than {commit}");
    }
}

#[test]
fn fuzzing_ran_as_often_as_is_said() {
    let report = read("connectors/fuzz/report.md");
    let targets = report.lines().filter(|line| line.starts_with("| ") && line.ends_with(" none |"));
    let executions = |target: &str| target.split(" | ").nth(1).map(str::to_owned);
    let mut counts: Vec<String> = targets.filter_map(executions).collect();
    counts.sort_by_key(|count| count.replace(',', "").parse::<u64>().expect("executions are counted"));
    let (Some(least), Some(most)) = (counts.first(), counts.last()) else { panic!("there are no targets") };
    let said = format!("{} targets, {least} to {most} executions each", counts.len());
    assert!(row("fuzzing").contains(&said), "it is {said}");
}

#[test]
fn the_planted_mistakes_are_counted() {
    let files = fs::read_dir(root().join("dataflows/tests/planted")).expect("the folder is there");
    let patches =
        files.filter(|file| file.as_ref().is_ok_and(|file| file.path().extension() == Some("patch".as_ref())));
    let said = format!("of the {} that there are by now", patches.count());
    assert!(row("mistakes planted").contains(&said), "it is {said}");
}
