//! Cases as text: a name, an input, and the answer below it.
//!
//! ```text
//! == a name that says what is special
//! the input
//! ----
//! the answer
//! ```
//!
//! Lines before the first case are for the reader. With `TRUEUP_REWRITE=1` in the environment the
//! answers in the files become what was answered; read the change before you keep it.

use std::fs;
use std::path::Path;

/// Checks every case of the `.txt` files in a folder beside this crate's tests, and says how
/// many there are.
pub fn check(folder: &str, answer: impl Fn(&str) -> String) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of cases is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths.iter().map(|path| check_file(path, &answer)).sum()
}

fn check_file(path: &Path, answer: &impl Fn(&str) -> String) -> usize {
    let text = fs::read_to_string(path).expect("a case file can be read");
    let (preface, cases) = text.split_once("\n== ").expect("a case file has cases");
    let mut answered = preface.to_owned();
    let mut count = 0;
    for case in cases.split("\n== ") {
        let (name, rest) = case.split_once('\n').expect("a case has a name and an input");
        let input = rest.split_once("\n----").map_or(rest.trim_end(), |(input, _)| input);
        let answer = answer(input);
        answered.push_str(&format!("\n== {name}\n{input}\n----\n{}\n", answer.trim_end()));
        count += 1;
    }
    if std::env::var_os("TRUEUP_REWRITE").is_some() {
        fs::write(path, answered).expect("a case file can be written");
    } else {
        expect_same(path, &text, &answered);
    }
    count
}

/// Fails with the first line that differs.
fn expect_same(path: &Path, expected: &str, answered: &str) {
    let lines = expected.lines().zip(answered.lines()).zip(1..);
    for ((expected, answered), number) in lines {
        assert_eq!(expected, answered, "\n{}:{number} expects the left, and got the right", path.display());
    }
    assert_eq!(expected.lines().count(), answered.lines().count(), "{}: some lines are missing", path.display());
}
