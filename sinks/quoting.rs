//! Cuts SQL text into plain parts and parts that stand for themselves: strings, names, comments.
//!
//! Law: the parts, put together, are the text; a mark or bracket counts only in a plain part.

/// The parts of `text` in order, each with whether it is quoted or a comment.
pub fn parts(text: &str) -> Vec<(&str, bool)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(['\'', '"', '-', '/']).map_or(rest.len(), |place| place);
        let length = quoted_length(&rest[start..]);
        // A lone dash or slash is plain; it is passed so that the search gets on.
        let plain = if length == 0 { (start + 1).min(rest.len()) } else { start };
        if plain > 0 {
            parts.push((&rest[..plain], false));
        }
        if length > 0 {
            parts.push((&rest[plain..plain + length], true));
        }
        rest = &rest[plain + length..];
    }
    parts
}

/// How long the string, name or comment is that `text` begins with; 0 if it begins with none.
fn quoted_length(text: &str) -> usize {
    let until = |mark: &str, opening: usize| {
        text[opening..].find(mark).map_or(text.len(), |place| opening + place + mark.len())
    };
    match text.as_bytes() {
        [b'\'', ..] => until("'", 1),
        [b'"', ..] => until("\"", 1),
        [b'-', b'-', ..] => until("\n", 2),
        [b'/', b'*', ..] => until("*/", 2),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_names_and_comments_are_told_from_the_rest() {
        let text = "a-b '(''?' \"(\" -- (\n/* ( */ c/d";
        let parts = parts(text);
        assert_eq!(parts.iter().map(|(part, _)| *part).collect::<String>(), text);
        let plain: String = parts.iter().filter(|(_, quoted)| !quoted).map(|(part, _)| *part).collect();
        assert_eq!(plain, "a-b    c/d");
    }

    #[test]
    fn what_is_never_closed_reaches_to_the_end() {
        assert_eq!(parts("a 'b"), [("a ", false), ("'b", true)]);
    }
}
