//! Tells people how a long command goes, or keeps quiet for programs.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::page::{self, Ink, ink};
use super::table::Table;

/// Who tells.
#[derive(Clone, Copy, Debug)]
pub struct Narrator {
    quiet: bool,
}

impl Narrator {
    /// One that tells, or one that does not.
    pub fn new(quiet: bool) -> Narrator {
        Narrator { quiet }
    }

    /// Begins an act.
    pub fn act(self, number: usize, title: &str) {
        self.line("");
        self.line(ink(Ink::Bold, &format!("{number}  {title}")));
        self.line("");
    }

    /// Says something.
    pub fn line(self, text: impl AsRef<str>) {
        if !self.quiet {
            page::line(text);
        }
    }

    /// Says something beside a bar that moves.
    pub fn beside(self, bar: &ProgressBar, text: impl AsRef<str>) {
        bar.suspend(|| self.line(text));
    }

    /// Shows a table.
    pub fn table(self, table: &Table) {
        if !self.quiet {
            table.print();
        }
    }

    /// A bar on stderr for work of so many steps; nothing where stderr is no terminal.
    pub fn bar(self, steps: usize, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("  {msg} [{bar:50}] {elapsed}").expect("the template is well formed");
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        bar.with_style(style.progress_chars("=> ")).with_message(what.to_owned())
    }
}
