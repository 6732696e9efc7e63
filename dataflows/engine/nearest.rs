//! The names most like one that nobody knows: whoever has mistyped it sees which one was meant.

/// How many are named.
const NAMED_MAX: usize = 3;

/// A hint for whoever gave a name that is not among those known; `else_` says where those are.
///
/// ```
/// use trueup::engine::nearest::hint;
/// let known = ["acme", "acme-eu", "bolt"];
/// assert_eq!(hint("amce", known, "look"), "did you mean 'acme'?");
/// assert_eq!(hint("acme-e", known, "look"), "did you mean 'acme-eu' or 'acme'?");
/// assert_eq!(hint("nobody", known, "look"), "look");
/// ```
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, else_: &str) -> String {
    // A third of the name may be wrong, and two letters that changed places in any.
    let wrong_max = (name.chars().count() / 3).max(2);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|other| other.len().abs_diff(name.len()) <= 4 * wrong_max)
        .map(|other| (distance(name, other), other))
        .filter(|(wrong, other)| *wrong <= wrong_max && *wrong < other.chars().count())
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(NAMED_MAX);
    let near: Vec<String> = near.iter().map(|(_, name)| format!("'{name}'")).collect();
    if near.is_empty() { else_.to_owned() } else { format!("did you mean {}?", near.join(" or ")) }
}

/// How many letters are to be put in, left out or replaced to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut above_left = std::mem::replace(&mut row[0], place + 1);
        for (column, there) in other.iter().enumerate() {
            let replaced = above_left + usize::from(letter != *there);
            above_left = row[column + 1];
            row[column + 1] = replaced.min(above_left + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
