//! What the house asks of its files, as far as a machine can see it.
//!
//! Each rule is a test and says, where it is broken, in which line, and why it is a rule. An
//! exception is a line of a list with its reason. Nothing here reads the meaning of code: the
//! borders between packages are kept by Cargo, these rules keep those inside of them.

mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use source::{Source, names};

/// The widest a line may be, without what stands in quotes.
const WIDTH: usize = 120;

/// The longest a file may be, in lines.
const LENGTH: usize = 600;

/// Files longer than that, with the length they must not exceed: they only shrink.
const LONG: [(&str, usize); 1] = [
    // Half of it checks the half that computes.
    ("operators/model/pricing.rs", 786),
];

/// The longest a decision may be, in lines.
const DECISION_LENGTH: usize = 60;

/// Who may ask how much time passed, and for what. Nobody here learns what time it is.
const TIMERS: [(&str, &str); 9] = [
    ("connectors/http/pace.rs", "a body has to come fast enough"),
    ("connectors/http/places.rs", "a connection that is waited for the longest makes room"),
    ("connectors/kafka/reading.rs", "a batch waits for a moment and no longer"),
    ("dataflows/cli/progress.rs", "how fast a journal is computed again is told now and then"),
    ("sinks/flight/seal.rs", "tickets grow old"),
    ("sinks/moments.rs", "moments are held for a while"),
    ("sinks/server/lines.rs", "connections that are idle the longest make room"),
    ("sinks/sql/running.rs", "a statement runs so long and no longer"),
    ("sinks/subscribe/follow.rs", "marks come at intervals"),
];

/// Where a name may not stand, and why.
struct Border {
    within: &'static str,
    except: &'static [&'static str],
    strangers: &'static [&'static str],
    because: &'static str,
}

/// The parts of `dataflows` that meet the outside.
const OUTER: &[&str] =
    &["dataflows/engine", "dataflows/cli", "dataflows/main", "dataflows/config", "dataflows/build", "dataflows/tests"];

const OUTSIDE: &[&str] = &["std::fs", "std::net", "std::thread", "std::process", "std::env", "tokio"];

const BORDERS: [Border; 8] = [
    Border {
        within: "operators/model",
        except: &[],
        strangers: &[
            "timely",
            "differential_dataflow",
            "arrow",
            "arrow_flight",
            "datafusion",
            "tonic",
            "async",
            "await",
        ],
        because: "the model says what things are, whoever computes or shows them",
    },
    Border {
        within: "operators",
        except: &[],
        strangers: &["arrow", "arrow_flight", "datafusion", "tonic", "async", "await"],
        because: "an operator is a function of collections and knows nothing of how they are shown",
    },
    Border {
        within: "operators",
        except: &["operators/tests"],
        strangers: OUTSIDE,
        because: "what has no files, threads or network gives the same result in every run",
    },
    Border {
        within: "connectors",
        except: &[],
        strangers: &["timely", "differential_dataflow", "arrow_flight", "trueup_operators", "trueup_sinks", "trueup"],
        because: "a connector turns bytes into facts and leaves it to others what follows from them",
    },
    Border {
        within: "sinks",
        except: &[],
        strangers: &["timely", "differential_dataflow", "trueup_operators", "trueup_connectors", "trueup"],
        because: "a sink shows what it is handed and cannot reach into the computation",
    },
    Border {
        within: "dataflows",
        except: OUTER,
        strangers: &["trueup_connectors", "trueup_sinks", "arrow", "arrow_flight", "tonic"],
        because: "only the engine and the command line meet the outside",
    },
    Border {
        within: "dataflows",
        except: OUTER,
        strangers: OUTSIDE,
        because: "only the engine and the command line start threads and touch the machine",
    },
    Border {
        within: "dataflows/oracle",
        except: &[],
        strangers: ORACLE_STRANGERS,
        because: "one mistake must not hide in the engine and in what it is held against",
    },
];

/// Everything that computes: the oracle takes definitions and the reader of numbers alone.
const ORACLE_STRANGERS: &[&str] = &[
    "trueup_operators",
    "timely",
    "differential_dataflow",
    "crate::engine",
    "trueup_model::books",
    "trueup_model::charge",
    "trueup_model::lookup",
    "trueup_model::terms",
    "trueup_model::pricing",
    "trueup_model::metering",
    "trueup_model::grain",
    "trueup_model::identity",
    "trueup_model::dictionary",
    "calendar::Calendar",
    "Calendar::new",
];

/// Every file of Rust and every page of the house, in the order of their paths.
static HOUSE: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for place in ["README.md", "benches", "connectors", "dataflows", "examples", "operators", "sinks"] {
        collect(&root().join(place), &mut files);
    }
    files.sort();
    files.iter().map(|file| read(file)).collect()
});

fn rust() -> impl Iterator<Item = &'static Source> {
    HOUSE.iter().filter(|file| file.path.ends_with(".rs"))
}

fn pages() -> impl Iterator<Item = &'static Source> {
    HOUSE.iter().filter(|file| file.path.ends_with(".md"))
}

/// The page with this path.
fn page(path: &str) -> &'static Source {
    pages().find(|page| page.path == path).unwrap_or_else(|| panic!("{path} is missing: write it"))
}

pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataflows/tests/tidy.rs");
    let here = here.canonicalize().expect("this file is where it was built from");
    here.ancestors().nth(3).expect("three folders up").to_path_buf()
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    if place.is_dir() && name != "target" && !name.starts_with('.') {
        for entry in fs::read_dir(place).expect("a folder of the house can be listed") {
            collect(&entry.expect("its entries too").path(), files);
        }
    } else if place.is_file() && (name.ends_with(".rs") || name.ends_with(".md")) {
        files.push(place.to_path_buf());
    }
}

fn read(file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let path = file.strip_prefix(root()).expect("it lies in the house");
    Source::read(path.to_string_lossy().replace('\\', "/"), &text)
}

/// Fails with every place where a rule is broken.
fn hold(rule: &str, because: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}, since {because}; it is not so here:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_opens_with_what_it_is() {
    let opens = |file: &Source| {
        let first = file.lines.first().map_or("", String::as_str);
        ["//! ", "#![doc = include_str!", "#!/"].iter().any(|opening| first.starts_with(opening))
    };
    let broken = rust().filter(|file| !opens(file)).map(|file| format!("{}:1", file.path));
    hold("a file opens with `//!`", "a reader must know what it is before reading how", broken.collect());
}

#[test]
fn every_page_has_one_title() {
    let mut broken = Vec::new();
    for page in pages() {
        let titles: Vec<usize> =
            prose(page).filter(|(_, line)| line.starts_with("# ")).map(|(number, _)| number).collect();
        if titles != [1] {
            broken.push(format!("{}:{}", page.path, titles.get(1).unwrap_or(&1)));
        }
    }
    hold("a page has one title, in its first line", "it is found and shown by it", broken);
}

/// The lines of a page that are not in a block of code, with their numbers.
fn prose(page: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(page.lines.iter().map(String::as_str)).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

#[test]
fn nothing_is_left_for_later() {
    let macros = [concat!("to", "do!"), concat!("unimpl", "emented!"), concat!("db", "g!")];
    let words = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO"), concat!("for ", "now")];
    let mut broken = Vec::new();
    for file in &*HOUSE {
        broken.extend(
            file.code_where(|line| macros.iter().any(|word| line.contains(word))).map(|line| (file.path.clone(), line)),
        );
        let lines = (1..).zip(&file.lines).filter(|(_, line)| words.iter().any(|word| names(line, word)));
        broken.extend(lines.map(|(number, _)| (file.path.clone(), number)));
    }
    let broken = broken.into_iter().map(|(path, line)| format!("{path}:{line}")).collect();
    hold("no reminders are left", "what is not done is said in an issue or is not needed", broken);
}

#[test]
fn no_number_is_a_float() {
    let mut broken = Vec::new();
    for file in rust().filter(|file| (file.is_in("operators") || file.is_in("dataflows")) && !file.is_test()) {
        let floats = file.code_where(|line| names(line, "f64") || names(line, "f32"));
        broken.extend(floats.map(|line| format!("{}:{line}", file.path)));
    }
    hold("what computes has no `f32` and no `f64`", "quantities and amounts are exact", broken);
}

#[test]
fn parts_know_only_what_they_may() {
    for border in &BORDERS {
        let mut broken = Vec::new();
        for file in
            rust().filter(|file| file.is_in(border.within) && !border.except.iter().any(|place| file.is_in(place)))
        {
            for stranger in border.strangers {
                let lines = file.code_where(|line| names(line, stranger) || names_in_list(line, stranger));
                broken.extend(lines.map(|line| format!("{}:{line}: {stranger}", file.path)));
            }
        }
        hold(&format!("`{}` does not name these", border.within), border.because, broken);
    }
}

/// Whether a line takes the last name of a path from a list, as in `use std::{fs, io}`.
fn names_in_list(line: &str, path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once("::") else { return false };
    line.split_once(&format!("{folder}::{{")).is_some_and(|(_, list)| names(list, name))
}

#[test]
fn only_the_clock_reads_the_time() {
    let tells_time = ["SystemTime", "UNIX_EPOCH", "Timestamp::now", "Zoned::now"];
    let mut broken = Vec::new();
    for file in rust().filter(|file| !file.is_test() && file.path != "dataflows/engine/clock.rs") {
        let may_measure = TIMERS.iter().any(|(place, _)| file.path == *place);
        let asks = |line: &str| {
            tells_time.iter().any(|word| names(line, word)) || (!may_measure && names(line, "Instant::now"))
        };
        broken.extend(file.code_where(asks).map(|line| format!("{}:{line}", file.path)));
    }
    let because = "what it says must be in the journal, or a replay would differ";
    hold("only `engine/clock.rs` asks what time it is", because, broken);
    let measures = |path: &str| {
        rust().any(|file| file.path == path && file.code_where(|line| names(line, "Instant::now")).count() > 0)
    };
    let idle = TIMERS.iter().filter(|(path, _)| !measures(path)).map(|(path, why)| format!("{path}: {why}"));
    hold("who is listed here measures time", "a list that is longer than needed hides what is new", idle.collect());
}

#[test]
fn every_arrangement_has_a_name_and_a_place() {
    let theirs = ["arrange_core", ".arrange(", ".arrange_by_key(", ".arrange_by_self(", ".arrange_named("];
    let mut broken = Vec::new();
    let computes = |file: &Source| file.is_in("operators") || file.is_in("dataflows");
    for file in rust().filter(|file| computes(file) && file.path != "operators/arrange.rs") {
        let lines = file.code_where(|line| theirs.iter().any(|call| line.contains(call)));
        broken.extend(lines.map(|line| format!("{}:{line}", file.path)));
    }
    hold("arrangements are made by `operators/arrange.rs`", "there each is named and placed by our own hash", broken);
}

#[test]
fn every_operator_and_dataflow_is_in_its_readme() {
    let folders = [
        ("operators/model", "operators/model/README.md"),
        ("operators", "operators/README.md"),
        ("dataflows", "dataflows/README.md"),
        ("dataflows/engine", "dataflows/README.md"),
    ];
    let mut broken = Vec::new();
    for file in rust() {
        let Some((folder, name)) = file.path.rsplit_once('/') else { continue };
        let Some((_, readme)) = folders.iter().find(|(place, _)| *place == folder) else { continue };
        let module = format!("[`{}`]", name.trim_end_matches(".rs"));
        let is_named = page(readme).lines.iter().any(|line| names(line, name) || line.contains(&module));
        if !["lib.rs", "main.rs"].contains(&name) && !is_named {
            broken.push(format!("{}:1 is not in {readme}", file.path));
        }
    }
    hold("a file is named in its folder's page", "a newcomer looks there first", broken);
}

#[test]
fn every_folder_says_what_it_is() {
    let mut folders: BTreeMap<String, &str> = BTreeMap::new();
    for file in rust() {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        folders.entry(folder).or_insert(&file.path);
    }
    let is_there = |path: String| root().join(path).is_file();
    let explains = |folder: &str| {
        let has = |name: &str| is_there(format!("{folder}/{name}"));
        // A folder of modules is explained by the module, a program by its first file.
        has("README.md") || is_there(format!("{folder}.rs")) || ["main.rs", "lib.rs", "mod.rs"].into_iter().any(has)
    };
    let is_of_tests = |folder: &str| folder.ends_with("/tests");
    let silent = folders.iter().filter(|(folder, _)| !explains(folder) && !is_of_tests(folder));
    let broken = silent.map(|(folder, file)| format!("{file}:1: {folder} has no README.md")).collect();
    hold("a folder with code says what it is", "folders are how a reader finds the way", broken);
}

#[test]
fn every_decision_is_listed_and_short() {
    const PARTS: [&str; 4] = ["## Context", "## Decision", "## Alternatives", "## Consequences"];
    let list = page("dataflows/decisions/README.md");
    let mut broken = Vec::new();
    let decisions = pages().filter(|page| page.is_in("dataflows/decisions") && page.path != list.path);
    for (number, page) in (1..).zip(decisions) {
        let name = page.path.rsplit_once('/').map_or("", |(_, name)| name);
        if !name.starts_with(&format!("{number:04}-")) {
            broken.push(format!("{}:1: it is number {number}", page.path));
        }
        if !list.lines.iter().any(|line| line.contains(&format!("({name})"))) {
            broken.push(format!("{}:1: it is not in {}", page.path, list.path));
        }
        if page.lines.len() > DECISION_LENGTH {
            broken.push(format!("{}:{}: it is longer than {DECISION_LENGTH} lines", page.path, page.lines.len()));
        }
        let headings: Vec<&str> =
            page.lines.iter().map(String::as_str).filter(|line| line.starts_with("## ")).collect();
        if headings != PARTS {
            broken.push(format!("{}:1: its parts are {headings:?}", page.path));
        }
    }
    hold("decisions are numbered, listed, short and of one form", "they are read years later, one at a time", broken);
}

#[test]
fn lines_are_not_wide() {
    let mut broken = Vec::new();
    for file in rust() {
        let wide = (1..).zip(&file.widths).filter(|(_, width)| **width > WIDTH);
        broken.extend(wide.map(|(number, width)| format!("{}:{number}: {width}", file.path)));
    }
    for page in pages() {
        // What a program writes is as wide as it happens to be.
        if page.path.starts_with("dataflows/tests/planted/") {
            continue;
        }
        let is_wide = |line: &str| line.chars().count() > WIDTH && !line.starts_with('|') && !line.contains("](http");
        let wide = prose(page).filter(|(_, line)| is_wide(line));
        broken.extend(wide.map(|(number, line)| format!("{}:{number}: {}", page.path, line.chars().count())));
    }
    let rule = format!("a line has at most {WIDTH} characters; texts, tables and links may be longer");
    hold(&rule, "two files must fit beside each other", broken);
}

#[test]
fn files_are_not_long() {
    let mut broken = Vec::new();
    for file in rust() {
        let listed = LONG.iter().find(|(path, _)| file.path == *path).map(|(_, length)| *length);
        let (length, longest) = (file.lines.len(), listed.unwrap_or(LENGTH));
        if length > longest {
            broken.push(format!("{}:{length}: at most {longest}; what else does it do?", file.path));
        }
        if listed.is_some() && length <= LENGTH {
            broken.push(format!("{}:1: it may go from the list", file.path));
        }
    }
    hold("a file holds one idea", "beyond some hundred lines nobody holds it in the head", broken);
}
