//! Copies in a bucket: the laws that hold for those in a folder, and what a stranger is told.
//!
//! `with_s3` beside this file has a server of S3, and tells of it in the environment. Where it is not run by
//! that, this is skipped and says so, unless `TRUEUP_S3` is `needed`: then it fails.

use std::env;
use std::io::Write;
use std::process::Command;

use trueup_connectors::journal::{CopyError, Journal};
use url::Url;

use crate::copies::{LAWS, Place, block_on, folders, journal_in};

/// Whether there is a server; says plainly on stderr, past the harness, that a test is skipped.
fn is_there(test: &str) -> bool {
    if env::var_os("AWS_ENDPOINT").is_some() {
        return true;
    }
    let why = "run it by `connectors/tests/journal/with_s3`";
    assert!(env::var("TRUEUP_S3").as_deref() != Ok("needed"), "a server of S3 is needed, and there is none: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: it needs a server of S3; {why}");
    false
}

fn bucket(folder: &str) -> Place {
    Place::at(&Url::parse(&format!("s3://copies/{folder}")).expect("it is an address"))
}

#[test]
fn the_laws_of_copies_hold_in_a_bucket() {
    if is_there("the laws of copies in a bucket") {
        for (number, (name, law)) in LAWS.into_iter().enumerate() {
            println!("{name}");
            law(&bucket(&format!("law-{number}")), &folders("bucket"));
        }
    }
}

/// What the process with the wrong secret has in its environment.
const STRANGER: &str = "TRUEUP_STRANGER";

#[test]
fn whoever_has_the_wrong_secret_is_told_so_and_copies_nothing() {
    if env::var_os(STRANGER).is_some() {
        return knock();
    }
    if is_there("copies with the wrong secret") {
        let mut again = Command::new(env::current_exe().expect("a test knows where it is"));
        let test = "buckets::whoever_has_the_wrong_secret_is_told_so_and_copies_nothing";
        again.args([test, "--exact", "--nocapture"]).env(STRANGER, "yes").env("AWS_SECRET_ACCESS_KEY", "wrong");
        let knocked = again.output().expect("it can be run");
        assert!(knocked.status.success(), "{}", String::from_utf8_lossy(&knocked.stderr));
        // Nobody has copied anything.
        let [_, _, _, back] = folders("owner");
        let error = block_on(bucket("stranger").copies().restore(&back)).expect_err("there is none");
        assert!(matches!(error, CopyError::Nothing { .. }), "{error}");
    }
}

/// Copies and brings back, without being let in.
fn knock() {
    let [journal, _, _, back] = folders("stranger");
    let (kept, copies) = (journal_in(&journal, 1), bucket("stranger").copies());
    let refusals = [
        block_on(copies.add(&journal, &kept.sealed())).map(|_| ()).expect_err("nobody is let in"),
        block_on(copies.restore(&back)).map(|_| ()).expect_err("nobody is let in"),
    ];
    for refused in refusals {
        assert!(matches!(refused, CopyError::Store { .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("s3://copies/stranger") && said.contains("SignatureDoesNotMatch"), "{said}");
    }
}
