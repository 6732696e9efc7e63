//! `trueup issue`: the invoices of a period, from what a journal holds.

use std::path::PathBuf;

use serde_json::json;
use trueup_model::fact::Document;

use super::failure::{Failure, Outcome};
use super::issuing::{Issued, check_period, issue_all, why_nothing};
use super::loading::load_catalog;
use super::page;
use super::resume::resume;
use super::table::Table;
use super::words;
use crate::config::Config;

/// Issue the invoices of a period, from what a server's journal holds.
///
/// Every invoice whose period begins in this year, month or day where the customer is, and is over,
/// is issued; of one that was issued before, what has changed since, as a correction. The catalog is read
/// first, as at a start. The server must have stopped, and shows the documents when it is back. The exit
/// code is 1 if there was nothing, or an invoice is held since an amount of it is larger than can be kept.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration of the server, which names the journal
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// A year, a month or a day, such as 2026-07
    period: String,
}

/// Issues.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    check_period(&arguments.period)?;
    let config = Config::read(&arguments.config).map_err(Failure::Input)?;
    if config.journal.is_none() {
        let shown = arguments.config.display();
        return Err(Failure::Input(format!(
            "`{shown}` names no journal, so nothing that is issued would stay: add one"
        )));
    }
    let engine = resume(&config)?;
    // What is issued follows the prices of now. Time has passed too, and with it perhaps the end of the period.
    load_catalog(&engine, &config.catalog, None)?;
    let Issued { documents, held } = issue_all(&engine, &arguments.period)?;
    match json {
        true => documents.iter().for_each(print_json),
        false => print(&documents),
    }
    match (documents.len(), held) {
        (0, 0) => Err(Failure::No(why_nothing(&engine, &arguments.period))),
        (_, 0) => Ok(()),
        (_, held) => Err(Failure::No(format!("not issued: {}, for the reason above", words::counted(held, "invoice")))),
    }
}

fn print(documents: &[Document]) {
    let mut table = Table::new(&["number", "corrects", "customer", ">lines", "", ">amount"]);
    for document in documents {
        table.row([
            document.number.clone(),
            document.corrects.clone().unwrap_or_default(),
            document.customer.clone(),
            document.lines.len().to_string(),
            document.currency.clone(),
            words::amount(document.total(), &document.currency),
        ]);
    }
    if !table.is_empty() {
        table.print();
    }
    page::line(format!("{} issued.", words::counted(documents.len(), "document")));
}

fn print_json(document: &Document) {
    let amount = words::amount(document.total(), &document.currency).replace(',', "");
    page::line(
        json!({
            "number": document.number,
            "corrects": document.corrects,
            "customer": document.customer,
            "subscription": document.subscription,
            "lines": document.lines.len(),
            "currency": document.currency,
            "amount": amount,
        })
        .to_string(),
    );
}
