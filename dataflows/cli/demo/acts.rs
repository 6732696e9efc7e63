//! The story, act by act.

use std::sync::Arc;

use jiff::Timestamp;
use trueup::engine::moment::Moment;
use trueup::engine::view_rows::Cell;
use trueup_model::catalog::{CatalogChange, PriceVersion};
use trueup_model::decimal;
use trueup_model::fact::{Document, DocumentLine};
use trueup_model::grain::Micros;
use trueup_model::money::PLACES;
use trueup_model::price::Price;
use trueup_sinks::view::View;

use super::invoices::{self, Invoice};
use super::stage::Stage;
use super::stream::{Delivery, Stream};
use super::{calls, stream, tables};
use crate::cli::failure::Failure;
use crate::cli::narrator::Narrator;
use crate::cli::page::{Ink, ink};
use crate::cli::words;

const MINUTE: Micros = 60_000_000;

/// When the story begins.
const OPENS_AT: &str = "2023-11-16T18:15:00Z";

/// An instant of the story.
fn at(text: &str) -> Micros {
    text.parse().map(Timestamp::as_microsecond).expect("the times of the story are good")
}

/// Plays every act.
pub fn play(stage: &mut Stage, seed: u64, quiet: bool) -> Result<(), Failure> {
    let narrator = Narrator::new(quiet);
    let catalog = calls::catalog();
    let drawn = stream::draw(seed, &catalog);
    opening(narrator, &catalog, &drawn, seed);
    stage.change(at(OPENS_AT), catalog)?;
    narrator.act(1, "The hour: 2023-11-16, 18:15 to 19:15 UTC, and what still comes in after it");
    the_hour(stage, narrator, &drawn)?;
    narrator.act(2, "The month ends, also in Los Angeles: the invoices are issued");
    let issued = the_invoices(stage, narrator)?;
    narrator.act(3, "Late events: calls of that hour that arrive when the invoices are out");
    late_events(stage, narrator, &drawn.after_issue, &issued)?;
    narrator.act(4, "A price is changed, back in time");
    a_price_back_in_time(stage, narrator)?;
    narrator.act(5, "What the books say now");
    the_books(&stage.engine().newest(), narrator);
    narrator.act(6, "Is all of it right? The same facts, computed anew from nothing");
    Ok(())
}

fn opening(narrator: Narrator, catalog: &[CatalogChange], drawn: &Stream, seed: u64) {
    let count = |is: fn(&CatalogChange) -> bool| catalog.iter().filter(|change| is(change)).count();
    let customers = count(|change| matches!(change, CatalogChange::Customer(_)));
    let plans = count(|change| matches!(change, CatalogChange::Plan(_)));
    let mishaps = drawn.mishaps;
    narrator.line(ink(Ink::Bold, "trueup: usage comes in, bills come out, and every number is always true"));
    narrator.line("");
    narrator.line(format!(
        "{} calls to two LLM services, as recorded in Azure, are given {customers} customers in as many time zones\n\
         on {plans} plans, by a draw with seed {seed}. A call that used the cache sends a second event. On their way\n\
         to the engine the draw has, of both",
        words::count(drawn.calls as i128)
    ));
    let told = [
        (mishaps.duplicates, "sent again, byte for byte", "counted once"),
        (mishaps.corrections, "stated anew with other tokens", "the later revision stands"),
        (mishaps.retractions, "taken back", "as if they had never been"),
        (mishaps.late, "minutes late", "counted when they were used"),
        (mishaps.very_late, "weeks late, after the invoices", "become corrections"),
        (mishaps.broken, "no usage at all", "set aside with the reason"),
    ];
    for (number, what, then) in told {
        narrator.line(format!("  {:>6} {what:<32} {}", words::count(number as i128), ink(Ink::Dim, then)));
    }
}

/// Each minute of the hour is an epoch, and each ten minutes of what comes after it: what arrived
/// enters, and all views follow.
fn the_hour(stage: &mut Stage, narrator: Narrator, drawn: &Stream) -> Result<(), Failure> {
    let last = at("2023-11-16T19:20:00Z");
    let closes_at = |delivery: &Delivery| {
        let length = if delivery.arrives_at < last { MINUTE } else { 10 * MINUTE };
        (delivery.arrives_at.div_euclid(length) + 1) * length
    };
    let epochs: Vec<&[Delivery]> = drawn.same_day.chunk_by(|a, b| closes_at(a) == closes_at(b)).collect();
    let bar = narrator.bar(epochs.len(), "events come in");
    narrator.beside(&bar, running(&stage.engine().newest(), at(OPENS_AT), 0));
    let mut arrived = 0;
    for deliveries in &epochs {
        let now = closes_at(&deliveries[0]);
        let moment = stage.deliver(now, deliveries)?;
        arrived += deliveries.len();
        tell_crossings(narrator, &bar, &moment, now);
        if (now / MINUTE) % 10 == 0 {
            narrator.beside(&bar, running(&moment, now, arrived));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn tell_crossings(narrator: Narrator, bar: &indicatif::ProgressBar, moment: &Moment, now: Micros) {
    for row in moment.rows(View::QuotaCrossings) {
        let is_new = row[4] == Cell::Integer(moment.epoch() as i64);
        if let (true, Some((state, sentence))) = (is_new, tables::crossing(&row)) {
            let color = if state == "over" { Ink::Red } else { Ink::Yellow };
            narrator.beside(bar, format!("  {}    {}", words::time_of_day(now), ink(color, &sentence)));
        }
    }
}

/// What the drafts add up to so far.
fn running(moment: &Moment, now: Micros, arrived: usize) -> String {
    let drafts = invoices::all(moment);
    let totals = invoices::totals(&drafts).into_iter();
    let totals: Vec<String> =
        totals.map(|(currency, total)| format!("{currency} {:>9}", words::amount(total, &currency))).collect();
    let (arrived, time) = (words::count(arrived as i128), words::time_of_day(now));
    let (drafts, totals) = (drafts.len(), totals.join("   "));
    format!("  {}  {arrived:>7} events   {drafts:>2} drafts   {totals}", ink(Ink::Bold, &time))
}

fn the_invoices(stage: &mut Stage, narrator: Narrator) -> Result<Vec<Document>, Failure> {
    let now = at("2023-12-01T08:00:00Z");
    let moment = stage.change(now, Vec::new())?;
    let (due, begun): (Vec<Invoice>, Vec<Invoice>) =
        invoices::all(&moment).into_iter().partition(|invoice| invoice.to <= now);
    let issued = due.iter().map(|invoice| stage.issue(&invoice.request())).collect::<Result<Vec<_>, _>>()?;
    let moment = stage.engine().newest();
    narrator.table(&tables::invoices(&invoices::all(&moment)));
    narrator.line(format!(
        "It is {} UTC. The daily plan made an invoice for each day of its customer:\n\
         in Karachi and Kolkata midnight fell into the hour. December has begun, and {} hold its fees.",
        words::instant(now),
        words::counted(begun.len(), "draft")
    ));
    explain(&moment, &issued[0], narrator);
    Ok(issued)
}

/// Shows a document line by line, and how to ask for the tiers behind a line.
fn explain(moment: &Moment, document: &Document, narrator: Narrator) {
    let catalog = &moment.books().catalog;
    let plan = catalog.subscriptions.named(&document.subscription).map(|subscription| subscription.plan.clone());
    let is_used = |line: &&DocumentLine| catalog.features.named(&line.feature).is_some_and(|sold| sold.meter.is_some());
    let used = document.lines.iter().filter(is_used);
    let usage: Vec<String> =
        used.map(|line| format!("--usage {}={}", line.feature, decimal::show(line.quantity, PLACES))).collect();
    narrator.line(format!("\nThe invoice of {}, line by line:", document.customer));
    narrator.table(&tables::lines(document));
    narrator.line(format!(
        "Tier by tier: trueup quote --catalog examples/llm_vendor/catalog --plan {} {}",
        plan.unwrap_or_default(),
        usage.join(" ")
    ));
}

fn late_events(stage: &mut Stage, narrator: Narrator, late: &[Delivery], issued: &[Document]) -> Result<(), Failure> {
    let before = stage.engine().newest();
    let after = stage.deliver(at("2023-12-02T09:00:00Z"), late)?;
    let moved = invoices::moved(&before, &after);
    narrator.table(&tables::moved(&moved));
    let outstanding: Vec<Invoice> =
        invoices::all(&after).into_iter().filter(|invoice| invoice.correction != 0).collect();
    let untouched = issued.len() - moved.iter().filter(|(_, invoice)| invoice.number.is_some()).count();
    let corrections =
        outstanding.iter().map(|invoice| stage.issue(&invoice.request())).collect::<Result<Vec<_>, _>>()?;
    narrator.line(format!(
        "{} events of customers whose line was down moved these invoices and left {untouched} alone.\n\
         An issued invoice never changes. What differs is issued as {}, each\n\
         naming the invoice that it corrects: {}.",
        words::count(late.len() as i128),
        words::counted(corrections.len(), "correction"),
        corrections.iter().map(|document| document.number.as_str()).collect::<Vec<_>>().join(", "),
    ));
    Ok(())
}

fn a_price_back_in_time(stage: &mut Stage, narrator: Narrator) -> Result<(), Failure> {
    let unit = decimal::parse("0.000001", PLACES).expect("the new price is a number");
    let from = at("2023-11-16T19:00:00Z");
    let version = PriceVersion { effective_from: Some(from), price: Price::PerUnit { unit } };
    let change = CatalogChange::Price { plan: "scale".into(), feature: "code_input".into(), version };
    let before = stage.engine().newest();
    let after: Arc<Moment> = stage.change(at("2023-12-03T10:00:00Z"), vec![change])?;
    narrator.line(format!(
        "On 2023-12-03 it is agreed that code_input on plan `scale` costs a flat 0.000001 instead of tiers,\n\
         from {} UTC on: in the middle of the hour, and of the invoices for it.",
        words::instant(from)
    ));
    narrator.table(&tables::moved(&invoices::moved(&before, &after)));
    narrator.line(
        "Three customers are on that plan, and nobody else moved. No event was read again. The service period\n\
         of each is cut in two at that moment; the corrections below are still to be issued.",
    );
    Ok(())
}

fn the_books(moment: &Moment, narrator: Narrator) {
    narrator.line("Usage");
    narrator.table(&tables::usage(moment));
    narrator.line("Quotas");
    narrator.table(&tables::quotas(moment));
    narrator.line("Invoices, with their corrections");
    narrator.table(&tables::invoices(&invoices::all(moment)));
    narrator.line("Corrections outstanding");
    narrator.table(&tables::corrections(moment));
    narrator.line(format!("Ledger: {}", tables::ledger(moment)));
}
