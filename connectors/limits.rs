//! How large an input may be. Whatever is larger is refused with its length and the limit, so
//! that no sender decides how much memory we need.

use crate::fault::Fault;

/// The most bytes of one event, and of one line.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of one CloudEvents batch that comes as a whole.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most events of one body that may be set aside, each with its reason; a line cannot hold so
/// many.
pub const REFUSED_MAX: usize = 40_000;
/// The most bytes of an event's `id` and of its `subject`.
pub const ID_BYTES_MAX: usize = 128;
/// The most bytes of an event's `source`.
pub const SOURCE_BYTES_MAX: usize = 256;
/// The most bytes of a dimension, or of another text that is kept.
pub const TEXT_BYTES_MAX: usize = 1024;
/// The greatest quantity of one event, up or down, in whole units. A hundred thousand million
/// of them add up to 10^26, which an `i128` still holds with twelve decimal places: no sender
/// can make a sum overflow.
pub const QUANTITY_MAX: i128 = 1_000_000_000_000_000;
/// The most bytes that are kept of an input that was set aside and cannot be read again: of one that
/// can, and is no larger than an event may be, all are kept.
pub const PAYLOAD_BYTES_MAX: usize = 1024;
/// The most bytes of a value that are repeated in a sentence.
const SHOWN_BYTES_MAX: usize = 64;

/// Refuses an event of more bytes than one may have.
pub(crate) fn check_event(bytes: &[u8]) -> Result<(), Fault> {
    match bytes.len() {
        0..=EVENT_BYTES_MAX => Ok(()),
        _ => Err(Fault::unreadable(format!(
            "the event has more than {EVENT_BYTES_MAX} bytes; send its properties without attachments, \
             and batches with one event to a line"
        ))),
    }
}

/// Refuses a name that is empty, too long, or has characters nobody can see.
pub(crate) fn check_name(attribute: &str, name: &str, bytes_max: usize) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault::missing(format!("`{attribute}` is empty; give 1 to {bytes_max} bytes")));
    }
    if name.len() > bytes_max {
        let length = name.len();
        return Err(Fault::out_of_range(format!(
            "`{attribute}` has {length} bytes; use at most {bytes_max}, such as a UUID or a short path"
        )));
    }
    if has_control_characters(name) {
        let shown = shown(name);
        return Err(Fault::out_of_range(format!(
            "`{attribute}` is {shown}, which has control characters; leave them out"
        )));
    }
    Ok(())
}

/// Refuses a text that is too long to be kept.
pub(crate) fn check_text(property: &str, text: &str) -> Result<(), Fault> {
    match text.len() {
        0..=TEXT_BYTES_MAX => Ok(()),
        length => Err(Fault::out_of_range(format!(
            "`data.{property}` has {length} bytes; texts have at most {TEXT_BYTES_MAX}, shorten it or send its digest"
        ))),
    }
}

/// Refuses a quantity, in units of 10^-`scale`, that could make sums overflow.
pub(crate) fn check_quantity(property: &str, quantity: i128, scale: u32) -> Result<(), Fault> {
    // Beyond the scales that meters have, nothing fits, and that is safe too.
    let quantity_max = 10i128.checked_pow(scale).and_then(|one| QUANTITY_MAX.checked_mul(one));
    match quantity_max {
        Some(quantity_max) if quantity.abs() <= quantity_max => Ok(()),
        _ => Err(Fault::out_of_range(format!(
            "`data.{property}` is beyond {QUANTITY_MAX}, the most of one event; check its unit"
        ))),
    }
}

/// The start of a text, at most so many bytes of it, ending at a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// A text within a sentence: quoted, cut if it is long, control characters made visible.
pub(crate) fn shown(text: &str) -> String {
    let start = cut(text, SHOWN_BYTES_MAX);
    let mut shown = String::from("`");
    for character in start.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_debug()),
            false => shown.push(character),
        }
    }
    shown.push_str(if start.len() < text.len() { "…`" } else { "`" });
    shown
}

fn has_control_characters(text: &str) -> bool {
    // One pass without branches settles nearly every name.
    let is_odd = text.bytes().fold(false, |odd, byte| odd | !(b' '..0x7f).contains(&byte));
    is_odd && text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_their_limit() {
        assert!(check_name("id", &"x".repeat(ID_BYTES_MAX - 1), ID_BYTES_MAX).is_ok());
        assert!(check_name("id", &"x".repeat(ID_BYTES_MAX), ID_BYTES_MAX).is_ok());
        assert!(check_name("id", &"x".repeat(ID_BYTES_MAX + 1), ID_BYTES_MAX).is_err());
        assert!(check_name("id", "", ID_BYTES_MAX).is_err());
    }

    #[test]
    fn quantities_are_checked_at_their_limit() {
        for scale in [0, 3, 12] {
            let quantity_max = QUANTITY_MAX * 10i128.pow(scale);
            for quantity in [quantity_max - 1, quantity_max, -quantity_max] {
                assert!(check_quantity("bytes", quantity, scale).is_ok());
            }
            assert!(check_quantity("bytes", quantity_max + 1, scale).is_err());
            assert!(check_quantity("bytes", -quantity_max - 1, scale).is_err());
        }
    }

    #[test]
    fn control_characters_are_found_in_any_script() {
        assert!(has_control_characters("a\u{0}"));
        assert!(has_control_characters("é\u{85}"));
        assert!(!has_control_characters("Zoë 用户"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(shown("short\n"), "`short\\n`");
        assert!(shown(&"é".repeat(60)).ends_with("…`"));
    }
}
