//! A file of the house, its lines told apart into code, comments and texts.
//!
//! Enough of the language is known for that and no more: quotes of every kind, nested comments,
//! lifetimes that are no quotes.

/// What a character belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Text,
}

/// A file by its path from the root, with its lines.
pub struct Source {
    /// The path, with `/` between folders.
    pub path: String,
    /// The lines as they are.
    pub lines: Vec<String>,
    /// The same lines with comments and what stands in quotes left out.
    pub code: Vec<String>,
    /// How wide each line is without what stands in quotes.
    pub widths: Vec<usize>,
}

impl Source {
    /// Reads Rust, or a page of Markdown, which has no code.
    pub fn read(path: String, text: &str) -> Source {
        let is_rust = path.ends_with(".rs");
        let kinds = if is_rust { kinds(text) } else { vec![Kind::Comment; text.chars().count()] };
        let lines = text.lines().map(str::to_owned).collect();
        let mut code = vec![String::new()];
        let mut widths = vec![0];
        for (char, kind) in text.chars().zip(kinds) {
            if char == '\n' {
                code.push(String::new());
                widths.push(0);
                continue;
            }
            *widths.last_mut().expect("there is a line") += usize::from(kind != Kind::Text);
            if kind == Kind::Code {
                code.last_mut().expect("there is a line").push(char);
            }
        }
        Source { path, lines, code, widths }
    }

    /// Lines of code, with their numbers from 1, for which `is_so` holds.
    pub fn code_where(&self, is_so: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
        (1..).zip(&self.code).filter(move |(_, line)| is_so(line)).map(|(number, _)| number)
    }

    /// Whether it belongs to this module: is its file, or lies in its folder.
    pub fn is_in(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Whether it is about the program rather than of it.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.is_in("benches") || self.is_in("examples")
    }
}

/// Whether `word`, a name or a path of names, stands in a line of code by itself.
pub fn names(line: &str, word: &str) -> bool {
    let is_apart = |char: Option<char>| !char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    line.match_indices(word)
        .any(|(at, _)| is_apart(line[..at].chars().next_back()) && is_apart(line[at + word.len()..].chars().next()))
}

/// What each character belongs to.
fn kinds(text: &str) -> Vec<Kind> {
    let chars: Vec<char> = text.chars().collect();
    let mut kinds = Vec::with_capacity(chars.len());
    while kinds.len() < chars.len() {
        let at = kinds.len();
        let (kind, length) = next(&chars, at);
        kinds.resize((at + length.max(1)).min(chars.len()), kind);
    }
    kinds
}

/// What begins at `at`, and how long it is.
fn next(chars: &[char], at: usize) -> (Kind, usize) {
    let rest = &chars[at..];
    let is_in_name = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => (Kind::Comment, rest.iter().take_while(|char| **char != '\n').count()),
        ['/', '*', ..] => (Kind::Comment, block_comment(rest)),
        ['r' | 'b', ..] if !is_in_name => raw_text(rest).map_or((Kind::Code, 1), |length| (Kind::Text, length)),
        ['"', ..] => (Kind::Text, quoted(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => (Kind::Text, quoted(rest, '\'')),
        _ => (Kind::Code, 1),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// The length of a text in quotes that begins here.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of a text that begins here with `r`, `b` or both; none if a name does.
fn raw_text(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|char| matches!(char, 'r' | 'b')).count();
    let is_raw = rest[..prefix].contains(&'r');
    let hashes = rest[prefix..].iter().take_while(|char| **char == '#').count();
    if prefix > 2 || rest.get(prefix + hashes) != Some(&'"') || (hashes > 0 && !is_raw) {
        return None;
    }
    let begin = prefix + hashes;
    if !is_raw {
        return Some(begin + quoted(&rest[begin..], '"'));
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = rest[begin + 1..].windows(end.len()).position(|window| window == end);
    length.map(|length| begin + 1 + length + end.len())
}

#[test]
fn code_comments_and_texts_are_told_apart() {
    let text = "let a = \"// f64 \\\" \"; // f64\nfn b<'s>(c: &'s str) -> char { 'f' } /* f64 /* */ f64 */ d\n\
                r#\"f64 \"quoted\" f64\"#; r#type; b\"f64\"; '\\''; e";
    let source = Source::read("a.rs".to_owned(), text);
    assert_eq!(source.code, ["let a = ; ", "fn b<'s>(c: &'s str) -> char {  }  d", "; r#type; ; ; e"]);
    assert_eq!(source.widths[0], "let a = ; // f64".len());
    assert!(names("use std::fs;", "std::fs") && !names("let std_fs;", "fs") && !names("fsync()", "fs"));
}
