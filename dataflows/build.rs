//! Gives the code a fingerprint: a checkpoint holds results, and other code may have others.
//!
//! All that decides what an epoch comes to is in it, with the versions of what it is built with.

use std::fs;
use std::path::Path;

const SOURCES: [&str; 5] =
    ["Cargo.lock", "operators", "connectors/checkpoint", "connectors/journal", "dataflows/engine"];
const FILES: [&str; 4] =
    ["dataflows/metering.rs", "dataflows/rating.rs", "dataflows/entitlements.rs", "dataflows/invoicing.rs"];

fn main() {
    let mut fingerprint = Fingerprint(0xcbf2_9ce4_8422_2325);
    for source in SOURCES.iter().chain(&FILES) {
        println!("cargo::rerun-if-changed={source}");
        fingerprint.add(Path::new(source));
    }
    println!("cargo::rustc-env=TRUEUP_FINGERPRINT={:016x}", fingerprint.0);
}

/// FNV-1a, of 64 bits: it need not withstand anybody.
struct Fingerprint(u64);

impl Fingerprint {
    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            let inside = fs::read_dir(path).expect("a folder of the sources can be read");
            let mut inside: Vec<_> = inside.map(|entry| entry.expect("it can be listed").path()).collect();
            inside.sort();
            inside.iter().for_each(|path| self.add(path));
        } else if path.extension().is_none_or(|extension| extension == "rs" || extension == "lock") {
            self.hash(path.to_string_lossy().as_bytes());
            // A source that is not there, as in a package of its own, is nothing.
            self.hash(&fs::read(path).unwrap_or_default());
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
