//! Tables for people, no wider than the terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement};

use super::page;

/// Columns of a terminal that does not say how wide it is.
const WIDTH: u16 = 100;

/// A table while it is being filled.
#[derive(Debug)]
pub struct Table {
    inner: comfy_table::Table,
    alignments: Vec<CellAlignment>,
}

impl Table {
    /// A table with these columns; a name that begins with `>` is that of a column of numbers.
    pub fn new(columns: &[&str]) -> Table {
        let alignment =
            |column: &&str| if column.starts_with('>') { CellAlignment::Right } else { CellAlignment::Left };
        let alignments: Vec<CellAlignment> = columns.iter().map(alignment).collect();
        let mut inner = comfy_table::Table::new();
        inner.load_style(UTF8_FULL_CONDENSED.with_rounded_corners());
        inner.set_content_arrangement(ContentArrangement::Dynamic).set_width(width());
        let names = columns.iter().zip(&alignments);
        inner.set_header(
            names.map(|(name, alignment)| Cell::new(name.trim_start_matches('>')).set_alignment(*alignment)),
        );
        Table { inner, alignments }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().zip(&self.alignments);
        self.inner.add_row(cells.map(|(text, alignment)| Cell::new(text).set_alignment(*alignment)));
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Writes it to stdout.
    pub fn print(&self) {
        page::line(self.inner.to_string());
    }
}

/// How wide a line may be: as COLUMNS says, or else the terminal.
pub fn width() -> u16 {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| columns);
    told.or(terminal).filter(|width| *width >= 40).unwrap_or(WIDTH)
}
