//! How deep a statement may nest, told from its words before it is parsed.
//!
//! The parser takes stack for each level, and time too: for some forms it tries several meanings, and again on each
//! level above, so that a statement of a few hundred bytes could keep it busy for ever.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Error;

/// How deep brackets may lie in one another, in the statement and in a text of it, which may name a type. Deeper than
/// some fifty the parser gives up, and begins to look for other meanings.
const BRACKETS_DEEP_MAX: usize = 40;
/// How deep forms may lie in one another for which the parser tries several meanings: each level multiplies what it
/// tries by up to three if it finds none.
const FORMS_DEEP_MAX: usize = 12;

/// Refuses what nests too deeply to be parsed in time, or to be looked at with the stack there is.
pub fn admit(tokens: &[Token]) -> Result<(), Error> {
    let mut open = Open::default();
    let mut tokens = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    match tokens.any(|token| open.is_too_deep_with(token)) {
        true => Err(Error::Limit(format!(
            "the statement nests too deeply: at most {BRACKETS_DEEP_MAX} brackets, and {FORMS_DEEP_MAX} of CASE, CAST, \
             EXISTS and the like, may lie in one another; name parts of it by WITH"
        ))),
        false => Ok(()),
    }
}

/// What is open behind some words.
#[derive(Default)]
struct Open {
    /// For each bracket or CASE whether it belongs to a form.
    brackets: Vec<bool>,
    /// The word before, in capitals; empty where there was none.
    before: String,
    /// How many words stand one behind another that take what follows without brackets.
    prefixes: usize,
    /// How many times in a row a type is made an array.
    arrays: usize,
}

impl Open {
    fn is_too_deep_with(&mut self, token: &Token) -> bool {
        self.pass_bracket(token);
        self.pass_word(token);
        self.arrays = match token {
            Token::LBracket => self.arrays + 1,
            Token::RBracket => self.arrays,
            _ => 0,
        };
        let forms = self.brackets.iter().filter(|is_form| **is_form).count();
        let is_deep_text = matches!(token, Token::SingleQuotedString(text) if deep_in(text) > BRACKETS_DEEP_MAX);
        is_deep_text
            || self.brackets.len() > BRACKETS_DEEP_MAX
            || forms.max(self.prefixes).max(self.arrays) > FORMS_DEEP_MAX
    }

    fn pass_bracket(&mut self, token: &Token) {
        let is_form = FORMS.contains(&&*self.before);
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.brackets.push(is_form),
            // Of a type, as in ARRAY<INT>. Where two are compared it counts until another bracket is closed.
            Token::Lt if TYPES.contains(&&*self.before) => self.brackets.push(true),
            Token::RParen | Token::RBracket | Token::RBrace => drop(self.brackets.pop()),
            Token::Gt if self.brackets.last() == Some(&true) => drop(self.brackets.pop()),
            Token::ShiftRight => self.brackets.truncate(self.brackets.len().saturating_sub(2)),
            _ => {}
        }
    }

    fn pass_word(&mut self, token: &Token) {
        self.before = match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        };
        match &*self.before {
            "CASE" => self.brackets.push(true),
            "END" => drop(self.brackets.pop()),
            _ => {}
        }
        self.prefixes = if PREFIXES.contains(&&*self.before) { self.prefixes + 1 } else { 0 };
    }
}

/// Words that take what follows without brackets.
const PREFIXES: [&str; 3] = ["NOT", "INTERVAL", "PRIOR"];
/// Types that are made of others.
const TYPES: [&str; 3] = ["ARRAY", "STRUCT", "MAP"];
/// Words before a bracket for which the parser tries several meanings.
const FORMS: [&str; 22] = [
    "CAST",
    "TRY_CAST",
    "SAFE_CAST",
    "CONVERT",
    "EXISTS",
    "EXTRACT",
    "CEIL",
    "FLOOR",
    "POSITION",
    "SUBSTR",
    "SUBSTRING",
    "OVERLAY",
    "TRIM",
    "ARRAY",
    "STRUCT",
    "MAP",
    "MATCH",
    "NOT",
    "INTERVAL",
    "LATERAL",
    "UNNEST",
    "PRIOR",
];

/// How deep brackets lie in one another in a text.
fn deep_in(text: &str) -> usize {
    let (mut deep, mut deepest) = (0usize, 0);
    for letter in text.bytes() {
        match letter {
            b'(' | b'[' | b'{' | b'<' => deep += 1,
            b')' | b']' | b'}' | b'>' => deep = deep.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(deep);
    }
    deepest
}
