//! The rows of the views that show the books themselves.

use std::sync::Arc;

use trueup_model::books::Books;
use trueup_model::catalog::{Plan, RateCard};
use trueup_model::decimal;
use trueup_model::meter::Filter;
use trueup_model::money::PLACES;
use trueup_model::price::{Price, Tier};
use trueup_sinks::view::View;

use super::view_rows::{Cell, Row};

/// How many rows a view has, about.
pub fn rows_about(view: View, books: &Books) -> usize {
    match view {
        View::IssuedLines => books.documents.len() * 4,
        View::Customers => books.catalog.customers.iter().count(),
        View::Subscriptions => books.catalog.subscriptions.iter().count(),
        View::Meters => books.catalog.meters.iter().count(),
        _ => books.catalog.plans.iter().map(|(_, _, plan)| plan.rate_cards.len()).sum(),
    }
}

/// The rows of a view that shows the books.
pub fn rows(view: View, books: &Arc<Books>) -> Vec<Row> {
    match view {
        View::IssuedLines => issued_lines(books),
        View::Customers => customers(books),
        View::Subscriptions => subscriptions(books),
        View::Meters => meters(books),
        View::Prices => books.catalog.plans.iter().flat_map(|(_, _, plan)| prices(plan)).collect(),
        _ => Vec::new(),
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn optional(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, text)
}

fn issued_lines(books: &Books) -> Vec<Row> {
    let mut rows = Vec::new();
    for document in &books.documents {
        for (number, line) in document.lines.iter().enumerate() {
            rows.push(vec![
                text(&document.number),
                Cell::Integer(number as i64 + 1),
                optional(document.corrects.as_deref()),
                text(&document.customer),
                text(&document.subscription),
                text(&line.feature),
                Cell::Time(document.period_start),
                Cell::Time(line.service_start),
                Cell::Time(line.service_end),
                text(&document.currency),
                Cell::Decimal(line.quantity),
                Cell::Decimal(line.billed),
                Cell::Time(document.issued_at),
            ]);
        }
    }
    rows
}

fn customers(books: &Books) -> Vec<Row> {
    let row = |customer: &trueup_model::catalog::Customer| {
        vec![text(&customer.id), text(&customer.name), text(&customer.zone), text(&customer.subjects.join(", "))]
    };
    books.catalog.customers.iter().map(|(_, _, customer)| row(customer)).collect()
}

fn subscriptions(books: &Books) -> Vec<Row> {
    let row = |subscription: &trueup_model::catalog::Subscription| {
        vec![
            text(&subscription.id),
            text(&subscription.customer),
            text(&subscription.plan),
            Cell::Time(subscription.starts_at),
            subscription.ends_at.map_or(Cell::Null, Cell::Time),
        ]
    };
    books.catalog.subscriptions.iter().map(|(_, _, subscription)| row(subscription)).collect()
}

fn meters(books: &Books) -> Vec<Row> {
    let row = |meter: &trueup_model::meter::Meter| {
        vec![
            text(&meter.name),
            text(&meter.event_type),
            text(aggregation(meter.aggregation)),
            optional(meter.property.as_deref()),
            Cell::Integer(i64::from(meter.scale)),
            text(&meter.dimensions.join(", ")),
            text(&filter(&meter.filter)),
            text(&meter.forget.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        ]
    };
    books.catalog.meters.iter().map(|(_, _, meter)| row(meter)).collect()
}

fn aggregation(aggregation: trueup_model::meter::Aggregation) -> &'static str {
    use trueup_model::meter::Aggregation as A;
    match aggregation {
        A::Count => "count",
        A::Sum => "sum",
        A::Min => "min",
        A::Max => "max",
        A::Average => "average",
        A::Latest => "latest",
        A::UniqueCount => "unique_count",
    }
}

fn filter(filter: &Filter) -> String {
    let condition = |(name, values): (&String, &std::collections::BTreeSet<String>)| {
        format!("{name} is {}", values.iter().cloned().collect::<Vec<_>>().join(" or "))
    };
    filter.iter().map(condition).collect::<Vec<_>>().join(" and ")
}

fn prices(plan: &Plan) -> Vec<Row> {
    let row = |card: &RateCard, version: &trueup_model::catalog::PriceVersion| {
        let (model, price) = price(&version.price);
        vec![
            text(&plan.name),
            text(&card.feature),
            version.effective_from.map_or(Cell::Null, Cell::Time),
            text(plan.currency.code()),
            text(model),
            text(&price),
        ]
    };
    plan.rate_cards.iter().flat_map(|card| card.prices.iter().map(move |version| row(card, version))).collect()
}

fn show(units: i128) -> String {
    decimal::show(units, PLACES)
}

/// A price model's name, and the price in words.
pub fn price(price: &Price) -> (&'static str, String) {
    match price {
        Price::PerUnit { unit } => ("per_unit", format!("{} each", show(*unit))),
        Price::Graduated { tiers } => ("graduated", tiers_in_words(tiers)),
        Price::Volume { tiers } => ("volume", format!("all of it at {}", tiers_in_words(tiers))),
        Price::Package { size, price } => ("package", format!("{} for each {}", show(*price), show(*size))),
        Price::Flat { amount } => ("flat", format!("{} a period", show(*amount))),
    }
}

fn tiers_in_words(tiers: &[Tier]) -> String {
    let tier = |tier: &Tier| {
        let flat = if tier.flat == 0 { String::new() } else { format!(" plus {}", show(tier.flat)) };
        let reach = tier.up_to.map_or_else(|| "above".to_owned(), |up_to| format!("up to {}", show(up_to)));
        format!("{} each{flat} {reach}", show(tier.unit))
    };
    tiers.iter().map(tier).collect::<Vec<_>>().join(", ")
}
