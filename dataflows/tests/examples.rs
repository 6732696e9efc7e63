//! The examples give what they say: `trueup replay` of each writes the tables in its `expected/`.
//!
//! With TRUEUP_REWRITE=1 the tables are written anew, to be read before they are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The views whose tables are kept; the others follow from them or are too long to read.
const KEPT: [&str; 7] = ["usage_by_period", "quotas", "charges", "invoices", "issued_lines", "corrections", "ledger"];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Runs `trueup replay` with these arguments in the folder of an example.
fn replay(name: &str, arguments: &[&str]) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("example-{name}"));
    let ran = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .current_dir(example(name))
        .args(["replay", "--catalog", "catalog", "--format", "csv", "--out"])
        .arg(&out)
        .args(arguments)
        .output()
        .expect("the binary is there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    out
}

fn compare(name: &str, out: &Path) {
    let expected = example(name).join("expected");
    for view in KEPT {
        let file = format!("{view}.csv");
        let shown = fs::read_to_string(out.join(&file)).expect("every view is written");
        if std::env::var_os("TRUEUP_REWRITE").is_some() {
            fs::create_dir_all(&expected).expect("the folder can be made");
            fs::write(expected.join(&file), shown).expect("the table can be written");
            continue;
        }
        let right = fs::read_to_string(expected.join(&file)).unwrap_or_default();
        assert!(
            shown == right,
            "{name}: {file} is not as expected; TRUEUP_REWRITE=1 shows by `git diff` how it differs"
        );
    }
}

#[test]
fn an_hour_of_recorded_calls_is_billed_by_the_day() {
    let csv = ["events/azure_llm_2023_code.csv", "events/azure_llm_2023_conv.csv"];
    let mappings = ["events/azure_code.toml", "events/azure_conv.toml"];
    let mut arguments = vec!["--as-of", "2023-11-18", "--issue", "2023-11-16", "--events"];
    arguments.extend(csv);
    arguments.push("--mapping");
    arguments.extend(mappings);
    compare("llm_vendor", &replay("llm_vendor", &arguments));
}

#[test]
fn a_month_of_an_r_and_d_cloud_is_billed_and_corrected() {
    let arguments = [
        "--events",
        "events/2025_03.ndjson",
        "--as-of",
        "2025-04-02",
        "--issue",
        "2025-03",
        "--late",
        "events/2025_03_late.ndjson",
    ];
    compare("rnd_cloud", &replay("rnd_cloud", &arguments));
}
