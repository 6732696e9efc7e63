//! Writes answers to stdout, and ends quietly when nobody reads on, as in `trueup ... | head`.

use std::io::{self, ErrorKind, IsTerminal, Write};

/// Writes a line.
pub fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
        Ok(()) => {}
        // Whoever closed the pipe has what it wanted.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("trueup: the answer cannot be written to stdout: {error}");
            std::process::exit(3);
        }
    }
}

/// Writes an empty line.
pub fn gap() {
    line("");
}

/// How a text stands out on a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Ink {
    /// A heading.
    Bold,
    /// An aside.
    Dim,
    /// All is well.
    Green,
    /// Look at this.
    Yellow,
    /// This is over the limit, or wrong.
    Red,
}

/// The text in this ink, if stdout is a terminal that wants colors.
pub fn ink(ink: Ink, text: &str) -> String {
    let is_colored = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let code = match ink {
        Ink::Bold => "1",
        Ink::Dim => "2",
        Ink::Green => "32",
        Ink::Yellow => "33",
        Ink::Red => "31",
    };
    if is_colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
