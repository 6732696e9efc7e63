//! Tables as they stand in a story.

use trueup::oracle::Cell;

/// A cell as it stands in a table: times to the minute, and to the day where the minute is midnight.
pub fn show(cell: &Cell) -> String {
    let shown = cell.to_string();
    match (cell, shown.split_once('T')) {
        (Cell::Time(_), Some((day, "00:00:00Z"))) => day.to_owned(),
        (Cell::Time(_), Some((day, time))) => format!("{day} {}", time.trim_end_matches(":00Z").trim_end_matches('Z')),
        _ => shown,
    }
}

/// A table with its columns aligned: numbers to the right, all else to the left.
pub fn table(names: Vec<String>, rows: Vec<Vec<&Cell>>) -> String {
    let is_number = |column: usize| rows.iter().all(|row| matches!(row[column], Cell::Integer(_) | Cell::Decimal(_)));
    let is_number: Vec<bool> = (0..names.len()).map(|column| !rows.is_empty() && is_number(column)).collect();
    let shown = rows.iter().map(|row| row.iter().map(|cell| show(cell)).collect::<Vec<_>>());
    let lines: Vec<Vec<String>> = std::iter::once(names).chain(shown).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let pad = |(column, text): (usize, &String)| {
        let width = width(column);
        if is_number[column] { format!("{text:>width$}") } else { format!("{text:<width$}") }
    };
    let line = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().enumerate().map(pad).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

/// The columns of a view that tell the story, if it does not say which.
pub fn shown(view: &str) -> &'static [&'static str] {
    match view {
        "usage" | "usage_hourly" => &["subject", "meter", "dimensions", "window_start", "quantity", "events"],
        "usage_daily" => &["subject", "meter", "dimensions", "window_start", "window_end", "quantity", "events"],
        "usage_by_period" => &["feature", "period_start", "service_start", "service_end", "quantity", "events"],
        "quotas" => &["feature", "period_start", "used", "quota_limit", "state"],
        "quota_crossings" => &["feature", "period_start", "at", "from_state", "to_state", "used", "quota_limit"],
        "charges" => &["feature", "service_start", "service_end", "quantity", "amount", "billed"],
        "invoices" => {
            &["period_start", "period_end", "state", "invoice", "currency", "lines", "total", "issued", "correction"]
        }
        "issued_lines" => {
            &["invoice", "line", "corrects", "feature", "service_start", "service_end", "quantity", "billed"]
        }
        "corrections" => &["corrects", "feature", "service_start", "quantity", "billed"],
        "ledger" => &["state", "events"],
        "ingest_ledger" => &[
            "source",
            "partition",
            "hour",
            "received",
            "accepted",
            "standing",
            "superseded",
            "retracted",
            "duplicate",
            "quarantined",
            "difference",
        ],
        "quarantine" => &["reason", "which", "inputs"],
        _ => &[],
    }
}
