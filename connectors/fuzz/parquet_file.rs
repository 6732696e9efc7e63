//! Files of Parquet.
//!
//! As `arrow_file.rs`. Where the library panics, which the reader takes for damage of the file, that is no
//! finding; where we do, it is.

#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trueup_connectors::files::Reading;
use trueup_connectors::files::parquet::read_parquet;
use trueup_fuzz::{choice, layouts, read_to_end};

/// A file without a name, written anew for each input.
static FILE: LazyLock<File> = LazyLock::new(|| {
    let folder = if cfg!(target_os = "linux") { "/dev/shm".into() } else { std::env::temp_dir() };
    let path = folder.join(format!("trueup-fuzz-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file can be made");
    std::fs::remove_file(&path).expect("a file can be removed");
    file
});

fn held(bytes: &[u8]) -> File {
    let mut file = FILE.try_clone().expect("a file can be opened twice");
    file.set_len(0).and_then(|()| file.rewind()).expect("a file can be emptied");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("a file can be written");
    file
}

/// Ends the process where one of our files panics; others are caught, or are found by what follows.
fn allow_panics_of_the_library() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |location| location.file());
        if !file.contains("/registry/src/") {
            told(panic);
            std::process::abort();
        }
    }));
}

fuzz_target!(init: allow_panics_of_the_library(), |input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let layouts = layouts(choice);
    let reading = Reading { layouts: &layouts, tenant: "default", file: "calls.parquet", threads: 1 };
    let after = u64::from(choice >> 2);
    let (rows, error) = read_to_end(read_parquet(held(bytes), 0, &reading));
    if error.is_none() && after > 0 {
        let (others, error) = read_to_end(read_parquet(held(bytes), after, &reading));
        assert!(error.is_none(), "it was read before");
        assert_eq!(others, rows.saturating_sub(after as usize));
    }
});
