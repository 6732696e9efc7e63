//! Tables for people, no wider than the terminal.
//!
//! Only long texts are wrapped, and only between words: a number or a name stays in one piece. Rows
//! that would not fit so stand on end, a line for each cell.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Width};
use console::measure_text_width;

use super::page;

/// Columns of a terminal that does not say how wide it is.
const WIDTH: usize = 100;
/// What is no longer than this is not wrapped.
const SHORT: usize = 30;
/// Blanks beside each cell.
const PADDING: usize = 2;

/// A table while it is being filled.
#[derive(Debug)]
pub struct Table {
    names: Vec<String>,
    alignments: Vec<CellAlignment>,
    rows: Vec<Vec<String>>,
}

/// How wide a column is.
#[derive(Clone, Copy, Debug)]
struct Breadth {
    /// With each cell in one line.
    whole: usize,
    /// With long texts wrapped between words.
    least: usize,
}

impl Table {
    /// A table with these columns; a name that begins with `>` is that of a column of numbers.
    pub fn new(columns: &[&str]) -> Table {
        let alignment =
            |column: &&str| if column.starts_with('>') { CellAlignment::Right } else { CellAlignment::Left };
        Table {
            names: columns.iter().map(|column| column.trim_start_matches('>').to_owned()).collect(),
            alignments: columns.iter().map(alignment).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().take(self.names.len()).collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it to stdout.
    pub fn print(&self) {
        page::line(self.shown(width()));
    }

    /// What is printed where a line may be so wide.
    fn shown(&self, width: usize) -> String {
        let breadths: Vec<Breadth> = (0..self.names.len()).map(|column| self.breadth(column)).collect();
        let taken =
            |of: fn(&Breadth) -> usize| 1 + breadths.iter().map(|breadth| of(breadth) + PADDING + 1).sum::<usize>();
        if taken(|breadth| breadth.whole) <= width {
            return self.ruled(width, &[]);
        }
        match taken(|breadth| breadth.least) <= width {
            true => self.ruled(width, &breadths),
            false => self.on_end(),
        }
    }

    fn breadth(&self, column: usize) -> Breadth {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).chain([&self.names[column]]);
        let mut breadth = Breadth { whole: 0, least: 0 };
        for cell in cells {
            let whole = cell.lines().map(measure_text_width).max().unwrap_or(0);
            let word = cell.split_whitespace().map(measure_text_width).max().unwrap_or(0);
            breadth.whole = breadth.whole.max(whole);
            breadth.least = breadth.least.max(word.max(whole.min(SHORT)));
        }
        breadth
    }

    /// Rows between rules; columns of which breadths are given are at least as wide as those say.
    fn ruled(&self, width: usize, breadths: &[Breadth]) -> String {
        let mut inner = comfy_table::Table::new();
        inner.load_style(UTF8_FULL_CONDENSED.with_rounded_corners());
        inner.set_content_arrangement(ContentArrangement::Dynamic).set_width(narrow(width));
        let aligned = |cells: &[String]| -> Vec<Cell> {
            let cells = cells.iter().zip(&self.alignments);
            cells.map(|(text, alignment)| Cell::new(text).set_alignment(*alignment)).collect()
        };
        inner.set_header(aligned(&self.names));
        self.rows.iter().for_each(|row| {
            inner.add_row(aligned(row));
        });
        for (column, breadth) in inner.column_iter_mut().zip(breadths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(narrow(breadth.least + PADDING))));
        }
        inner.to_string()
    }

    /// A line for each cell that is not empty, behind the name of its column.
    fn on_end(&self) -> String {
        let indent = self.names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0) + PADDING;
        let line = |(name, cell): (&String, &String)| {
            let cell = cell.lines().collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(indent)));
            format!("{name}{}{cell}\n", " ".repeat(indent - measure_text_width(name)))
        };
        let row = |row: &Vec<String>| -> String {
            self.names.iter().zip(row).filter(|(_, cell)| !cell.is_empty()).map(line).collect()
        };
        self.rows.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

fn narrow(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

/// How wide a line may be: as COLUMNS says, or else the terminal.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    told.or(terminal).filter(|width| *width >= 40).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["customer", ">total", "what to do"]);
        table.row(["acme".into(), "1234567.89".into(), "send it again with a source and an id that are texts".into()]);
        table.row(["an-identifier-of-no-blanks".into(), "1".into(), String::new()]);
        table
    }

    #[test]
    fn words_and_numbers_stay_in_one_piece() {
        for width in 40..140 {
            let shown = table().shown(width);
            for whole in ["customer", "total", "1234567.89", "an-identifier-of-no-blanks"] {
                assert!(shown.contains(whole), "{width}: {shown}");
            }
            if shown.contains('│') {
                assert!(shown.lines().all(|line| measure_text_width(line) <= width), "{width}: {shown}");
            }
        }
    }

    #[test]
    fn what_is_long_is_wrapped_and_what_does_not_fit_stands_on_end() {
        assert_eq!(table().shown(110).lines().count(), 6, "{}", table().shown(110));
        assert_eq!(table().shown(90).lines().count(), 7, "{}", table().shown(90));
        let on_end = "customer    acme\n\
                      total       1234567.89\n\
                      what to do  send it again with a source and an id that are texts\n\
                      \n\
                      customer    an-identifier-of-no-blanks\n\
                      total       1\n";
        assert_eq!(table().shown(70), on_end);
    }
}
