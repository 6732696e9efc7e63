//! CSV, by mappings at hand or by one that is part of the input.
//!
//! An input is a byte for mapping and layouts, and the file; or, where it has a line of four dashes,
//! a mapping above it and the file below. Law: rows and refusals are as many as the lines below the
//! header that are not blank.

#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trueup_connectors::{CsvMapping, read_csv};
use trueup_fuzz::samples::MAPPINGS;
use trueup_fuzz::{choice, layouts, read_to_end};

static READ: LazyLock<Vec<CsvMapping>> =
    LazyLock::new(|| MAPPINGS.iter().map(|text| toml::from_str(text).expect("the mapping is good")).collect());

const BORDER: &[u8] = b"\n----\n";

/// The mapping and the file; none if the mapping is none.
fn parts(choice: u8, bytes: &[u8]) -> Option<(CsvMapping, &[u8])> {
    match bytes.windows(BORDER.len()).position(|window| window == BORDER) {
        None => Some((READ[usize::from(choice >> 2) % READ.len()].clone(), bytes)),
        Some(border) => {
            let mapping = std::str::from_utf8(&bytes[..border]).ok()?;
            Some((toml::from_str(mapping).ok()?, &bytes[border + BORDER.len()..]))
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let Some((mapping, bytes)) = parts(choice, bytes) else { return };
    let input = Cursor::new(bytes.to_vec());
    let Ok(batches) = read_csv(input, &mapping, &layouts(choice), "default", "calls.csv", 1) else { return };
    let (records, error) = read_to_end(batches);
    assert!(error.is_none(), "memory can be read");
    let lines = bytes.split(|byte| *byte == b'\n').skip(1);
    assert_eq!(records, lines.filter(|line| !line.trim_ascii().is_empty()).count());
});
