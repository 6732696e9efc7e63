//! Files and streams of Arrow.
//!
//! An input is a byte for the layouts and for how many rows were read before, and the file. Law: of
//! a file that is read to its end, whoever reads on behind some rows gets the others.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use trueup_connectors::files::Reading;
use trueup_connectors::files::arrow::read_arrow;
use trueup_fuzz::{choice, layouts, read_to_end};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let layouts = layouts(choice);
    let reading = Reading { layouts: &layouts, tenant: "default", file: "calls.arrow", threads: 1 };
    let read = |after| read_to_end(read_arrow(Cursor::new(bytes.to_vec()), after, &reading));
    let after = u64::from(choice >> 2);
    let (rows, error) = read(0);
    if error.is_none() && after > 0 {
        let (others, error) = read(after);
        assert!(error.is_none(), "it was read before");
        assert_eq!(others, rows.saturating_sub(after as usize));
    }
});
