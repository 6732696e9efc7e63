//! The catalog's files.
//!
//! An input is up to four texts, with lines of four dashes between them; the second is a schema. Law: either there are
//! problems, each with a sentence and a place in one of the files, or every change has such a place,
//! and the model takes it or refuses it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trueup_connectors::Place;
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_fuzz::check_place;
use trueup_model::catalog::Catalog;
use trueup_model::dictionary::Dictionary;

const NAMES: [&str; 4] = ["a.toml", "call.schema.json", "b.toml", "c.toml"];

fuzz_target!(|text: &str| {
    let files: Vec<(&str, &str)> = NAMES.into_iter().zip(text.splitn(NAMES.len(), "\n----\n")).collect();
    let check = |place: &Place| {
        let file = files.iter().find(|(name, _)| *name == place.file).expect("a place names one of the files");
        check_place(place, file.0, file.1);
    };
    let mut catalog = Catalog::default();
    match read_catalog_texts(&files, &catalog) {
        Err(problems) => {
            assert!(!problems.0.is_empty(), "an error says something");
            for problem in &problems.0 {
                check(&problem.place);
                assert!(!problem.message.trim().is_empty() && problem.message.len() <= 4096 + 12 * text.len());
            }
        }
        Ok(changes) => {
            let mut dictionary = Dictionary::default();
            for (change, place) in changes {
                check(&place);
                if let Err(error) = catalog.apply(change, &mut dictionary) {
                    assert!(!error.to_string().is_empty(), "a refusal says something");
                }
            }
        }
    }
});
