//! What to follow, from when, and until when: `SUBSCRIBE` as written, understood.
//!
//! ```text
//! SUBSCRIBE [TO] view | (query)
//!     [AS OF epoch] [UP TO NOW | epoch] [WITH (SNAPSHOT [= bool], PROGRESS [= bool])]
//! ```
//! The clauses may come in any order, each at most once.

use crate::error::Error;
use crate::quoting;
use crate::reading::Epoch;
use crate::view::View;

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A view, by the changes the engine publishes.
    View(View),
    /// A query, run again for each new epoch and compared with its last result.
    Query(String),
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Never.
    Never,
    /// With the epoch that is newest when the stream is asked for.
    Now,
    /// With this epoch.
    At(Epoch),
}

/// A subscription as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is followed.
    pub target: Target,
    /// The epoch of the snapshot, or after which changes begin; none is the newest.
    pub as_of: Option<Epoch>,
    /// Where it ends.
    pub up_to: End,
    /// Whether the contents as of the first epoch come before the changes.
    pub snapshot: bool,
    /// Whether progress marks are rows of their own.
    pub progress: bool,
}

impl Request {
    /// A subscription to `target` from its newest contents on.
    pub fn of(target: Target) -> Request {
        Request { target, as_of: None, up_to: End::Never, snapshot: true, progress: true }
    }

    /// The subscription that `text` asks for, or nothing if it does not begin with SUBSCRIBE.
    ///
    /// ```
    /// use trueup_sinks::subscribe::{End, Request};
    ///
    /// let text = "SUBSCRIBE quotas AS OF 41 UP TO NOW WITH (SNAPSHOT = false)";
    /// let request = Request::parse(text)?.expect("it begins with SUBSCRIBE");
    /// assert_eq!((request.as_of, request.up_to, request.snapshot), (Some(41), End::Now, false));
    /// assert_eq!(Request::parse("SELECT 1")?, None);
    /// # Ok::<(), trueup_sinks::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Option<Request>, Error> {
        let mut words = Words::of(text);
        if !words.take("SUBSCRIBE") {
            return Ok(None);
        }
        words.take("TO");
        let mut request = Request::of(words.target()?);
        let mut seen = Vec::new();
        while let Some(clause) = words.clause()? {
            if seen.contains(&clause) {
                return Err(odd(&format!("{clause} is said twice")));
            }
            seen.push(clause);
            words.read(clause, &mut request)?;
        }
        match (request.as_of, request.up_to) {
            (Some(first), End::At(last)) if last < first => Err(odd("it would end before it begins")),
            _ => Ok(Some(request)),
        }
    }
}

/// The words and signs of a text; a bracketed or quoted part is one word.
struct Words {
    words: Vec<String>,
    next: usize,
}

impl Words {
    fn of(text: &str) -> Words {
        Words { words: words(text), next: 0 }
    }

    fn peek(&self) -> Option<&str> {
        self.words.get(self.next).map(String::as_str)
    }

    fn any(&mut self) -> Option<String> {
        let word = self.words.get(self.next).cloned();
        self.next += 1;
        word
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        self.next += usize::from(found);
        found
    }

    fn target(&mut self) -> Result<Target, Error> {
        let word = self.any().ok_or_else(|| odd("it does not say what to follow"))?;
        match bracketed(&word) {
            Some(query) => Ok(Target::Query(query.trim().to_owned())),
            None => view_named(&word).map(Target::View),
        }
    }

    fn clause(&mut self) -> Result<Option<&'static str>, Error> {
        if self.take(";") && self.peek().is_none() {
            return Ok(None);
        }
        let Some(word) = self.any() else { return Ok(None) };
        match word.to_ascii_uppercase().as_str() {
            "AS" if self.take("OF") => Ok(Some("AS OF")),
            "UP" if self.take("TO") => Ok(Some("UP TO")),
            "WITH" => Ok(Some("WITH")),
            _ => Err(odd(&format!("\"{word}\" was not expected"))),
        }
    }

    fn read(&mut self, clause: &str, request: &mut Request) -> Result<(), Error> {
        match clause {
            "AS OF" => request.as_of = Some(self.epoch()?),
            "UP TO" if self.take("NOW") => request.up_to = End::Now,
            "UP TO" => request.up_to = End::At(self.epoch()?),
            _ => self.options(request)?,
        }
        Ok(())
    }

    fn epoch(&mut self) -> Result<Epoch, Error> {
        let word = self.any().unwrap_or_default();
        word.parse().map_err(|_| odd(&format!("\"{word}\" is not an epoch, which is a whole number")))
    }

    fn options(&mut self, request: &mut Request) -> Result<(), Error> {
        let word = self.any().unwrap_or_default();
        let options = bracketed(&word).ok_or_else(|| odd("WITH takes options in brackets"))?;
        for option in options.split(',') {
            let (name, value) = option.split_once('=').unwrap_or((option, "true"));
            let value = boolean(value.trim())?;
            match name.trim().to_ascii_uppercase().as_str() {
                "SNAPSHOT" => request.snapshot = value,
                "PROGRESS" => request.progress = value,
                other => return Err(odd(&format!("there is no option {other}, there are SNAPSHOT and PROGRESS"))),
            }
        }
        Ok(())
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut depth = 0_usize;
    for (part, quoted) in quoting::parts(text) {
        let comment = quoted && (part.starts_with("--") || part.starts_with("/*"));
        match (quoted, comment && depth == 0) {
            (true, true) => finish(&mut words, &mut word),
            (true, false) => word.push_str(part),
            (false, _) => part.chars().for_each(|sign| step(sign, &mut depth, &mut word, &mut words)),
        }
    }
    finish(&mut words, &mut word);
    words
}

fn step(sign: char, depth: &mut usize, word: &mut String, words: &mut Vec<String>) {
    match (sign, *depth) {
        ('(', 0) => {
            finish(words, word);
            word.push(sign);
            *depth = 1;
        }
        ('(', _) => {
            word.push(sign);
            *depth += 1;
        }
        (')', 1) => {
            word.push(sign);
            finish(words, word);
            *depth = 0;
        }
        (')', 2..) => {
            word.push(sign);
            *depth -= 1;
        }
        (';', 0) => {
            finish(words, word);
            words.push(";".into());
        }
        (sign, 0) if sign.is_whitespace() => finish(words, word),
        (sign, _) => word.push(sign),
    }
}

fn finish(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn bracketed(word: &str) -> Option<&str> {
    word.strip_prefix('(')?.strip_suffix(')')
}

/// The view of a name that may be quoted, and may say the catalog and schema.
fn view_named(word: &str) -> Result<View, Error> {
    let unquoted = word.replace('"', "");
    let name = unquoted.rsplit('.').next().unwrap_or(&unquoted);
    let known = View::named(name).or_else(|| View::named(&name.to_ascii_lowercase()));
    known.ok_or_else(|| Error::NoSuchView { name: unquoted.clone() })
}

fn boolean(value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        other => Err(odd(&format!("\"{other}\" is neither true nor false"))),
    }
}

fn odd(what: &str) -> Error {
    let form = "SUBSCRIBE view|(query) [AS OF epoch] [UP TO NOW|epoch] [WITH (SNAPSHOT = bool, PROGRESS = bool)]";
    Error::NotUnderstood(format!("this subscription is not understood, {what}; the form is {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Request {
        Request::parse(text).unwrap().unwrap()
    }

    #[test]
    fn views_and_queries_can_be_followed() {
        assert_eq!(parsed("subscribe usage").target, Target::View(View::Usage));
        assert_eq!(parsed("SUBSCRIBE TO trueup.public.\"usage\";").target, Target::View(View::Usage));
        let query = parsed("SUBSCRIBE (SELECT ')' , (1) FROM usage) WITH (PROGRESS = false) AS OF 7");
        assert_eq!(query.target, Target::Query("SELECT ')' , (1) FROM usage".into()));
        assert_eq!((query.as_of, query.progress, query.snapshot), (Some(7), false, true));
        assert_eq!(parsed("-- mine\nSUBSCRIBE usage UP TO 9").up_to, End::At(9));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_form() {
        for text in [
            "SUBSCRIBE",
            "SUBSCRIBE nothing",
            "SUBSCRIBE usage AS OF x",
            "SUBSCRIBE usage AS OF 1 AS OF 2",
            "SUBSCRIBE usage AS OF 5 UP TO 4",
            "SUBSCRIBE usage WITH SNAPSHOT",
            "SUBSCRIBE usage WITH (ENVELOPE)",
            "SUBSCRIBE usage; SELECT 1",
        ] {
            assert!(Request::parse(text).is_err(), "{text}");
        }
    }
}
