//! Catalogs with mistakes: each is found with its place, and the message says what to do.
//!
//! The cases are in `bad_catalogs/`. Their files are called `catalog.toml`. What the model
//! refuses when the changes are applied is shown by the place that came with the change; its
//! words are the model's own matter.

mod cases;

use std::fs;

use trueup_connectors::CsvMapping;
use trueup_connectors::catalog_files::{read_catalog, read_catalog_texts};
use trueup_model::catalog::{Catalog, CatalogChange, Customer, Quota};
use trueup_model::dictionary::Dictionary;
use trueup_model::price::{Price, Tier};

fn answer(text: &str) -> String {
    let mut catalog = Catalog::default();
    let mut dictionary = Dictionary::default();
    let changes = match read_catalog_texts(&[("catalog.toml", text), ("llm_call.schema.json", "{}")], &catalog) {
        Ok(changes) => changes,
        Err(problems) => return problems.to_string(),
    };
    let mut refused = Vec::new();
    for (change, place) in changes {
        if catalog.apply(change, &mut dictionary).is_err() {
            refused.push(format!("{place}: the model refuses it"));
        }
    }
    if refused.is_empty() { "it is good".to_owned() } else { refused.join("\n") }
}

#[test]
fn mistakes_get_the_answers_in_the_files() {
    let count = cases::check("bad_catalogs", answer);
    println!("{count} mistaken catalogs, each with its answer");
    assert!(count >= 80, "only {count} cases are left");
}

const WHO: &str = r#"
[[subscription]]
id = "acme-pro"
customer = "acme"
plan = "pro"
starts_at = 2026-07-01       # midnight in Berlin

[[customer]]
id = "acme"
name = "Acme GmbH"
zone = "Europe/Berlin"
subjects = ["acme", "acme-staging"]
"#;

const WHAT: &str = r#"
[[plan]]
name = "pro"
currency = "EUR"
cadence = "month"

[[plan.rate_card]]
feature = "api_calls"
price = { model = "graduated", tiers = [{ up_to = 1000, unit = "0.002" }, { unit = "0.001" }] }
quota = { limit = "1000000", warn_at_percent = 80 }

[[feature]]
name = "api_calls"
meter = "calls"

[[meter]]
name = "calls"
event_type = "call"
aggregation = "count"
"#;

const ONE: i128 = 1_000_000_000_000;

#[test]
fn changes_come_in_an_order_in_which_they_can_be_applied() {
    let changes =
        read_catalog_texts(&[("who.toml", WHO), ("what.toml", WHAT)], &Catalog::default()).expect("it is good");
    let places: Vec<String> = changes.iter().map(|(_, place)| place.to_string()).collect();
    assert_eq!(places, ["what.toml:16", "what.toml:12", "what.toml:2", "who.toml:8", "who.toml:2"]);
    let mut catalog = Catalog::default();
    for (change, _) in &changes {
        catalog.apply(change.clone(), &mut Dictionary::default()).expect("it fits together");
    }
    let (CatalogChange::Plan(plan), _) = &changes[2] else { panic!("plans come third") };
    let tier = |up_to, unit| Tier { up_to, unit, flat: 0 };
    let tiers = vec![tier(Some(1000 * ONE), ONE / 500), tier(None, ONE / 1000)];
    assert_eq!(plan.rate_cards[0].prices[0].price, Price::Graduated { tiers });
    let quota = Quota { limit: 1_000_000 * ONE, warning_at: 800_000 * ONE };
    assert_eq!(plan.rate_cards[0].quota, Some(quota));
    let (CatalogChange::Subscription(subscription), _) = &changes[4] else { panic!("subscriptions come last") };
    assert_eq!(subscription.starts_at, 1_782_856_800_000_000);
}

#[test]
fn a_customer_that_stands_already_lends_its_zone() {
    let mut standing = Catalog::default();
    let customer =
        Customer { id: "acme".into(), name: "Acme".into(), zone: "Asia/Kathmandu".into(), subjects: Vec::new() };
    standing.apply(CatalogChange::Customer(customer), &mut Dictionary::default()).expect("a customer can be alone");
    let text = "[[subscription]]\nid = 's'\ncustomer = 'acme'\nplan = 'pro'\nstarts_at = 2026-07-01";
    let changes = read_catalog_texts(&[("subscriptions.toml", text)], &standing).expect("the zone is known");
    let (CatalogChange::Subscription(subscription), _) = &changes[0] else { panic!("it is a subscription") };
    assert_eq!(subscription.starts_at, 1_782_864_000_000_000 - 345 * 60_000_000);
}

#[test]
fn a_folder_is_read_file_by_file() {
    let folder = std::env::temp_dir().join(format!("trueup-catalog-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let empty = read_catalog(&folder, &Catalog::default()).expect_err("nothing is there");
    fs::write(folder.join("b.toml"), WHO).expect("it can be written");
    fs::write(folder.join("a.toml"), WHAT).expect("it can be written");
    fs::write(folder.join("README.md"), "# not a catalog").expect("it can be written");
    let read = read_catalog(&folder, &Catalog::default());
    fs::remove_dir_all(&folder).expect("the folder can be removed");
    assert_eq!(read.expect("it is good").len(), 5);
    let gone = read_catalog(&folder, &Catalog::default()).expect_err("the folder is gone");
    assert!(empty.to_string().ends_with(": the folder has no .toml files; put the catalog's files there"), "{empty}");
    assert!(gone.to_string().contains("the catalog cannot be read: "), "{gone}");
}

/// The first example of TOML below a heading of the README.
fn example(heading: &str) -> &'static str {
    let (_, section) = include_str!("../README.md").split_once(heading).expect("the README has the section");
    let (_, rest) = section.split_once("```toml\n").expect("the section has an example");
    rest.split_once("```").expect("the example ends").0
}

#[test]
fn the_examples_of_the_readme_are_good() {
    assert_eq!(answer(example("## The catalog as files")), "it is good");
    let mapping: CsvMapping = toml::from_str(example("### A CSV file")).expect("the mapping is good");
    assert_eq!(mapping.data["input_tokens"], "ContextTokens");
}
