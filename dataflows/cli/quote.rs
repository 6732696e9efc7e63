//! `trueup quote`: what usage would cost on a plan, tier by tier.
//!
//! The amounts are those of the engine: the same prices, the same rounding, no other arithmetic.

use std::path::PathBuf;

use serde_json::json;
use trueup_model::catalog::{Catalog, Plan, RateCard};
use trueup_model::decimal;
use trueup_model::dictionary::Dictionary;
use trueup_model::grain::Micros;
use trueup_model::money::{Amount, PLACES};
use trueup_model::price::Price;
use trueup_model::pricing::{self, Step};

use super::failure::{Failure, Outcome};
use super::loading::read_changes;
use super::table::Table;
use super::{page, words};

/// Price usage by a plan, tier by tier.
///
/// What the plan charges for a period whatever is used is in the total; features that are not
/// named are not used.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the catalog
    #[arg(long, value_name = "DIR")]
    catalog: PathBuf,
    /// The plan
    #[arg(long, value_name = "PLAN")]
    plan: String,
    /// Only this feature; then --usage may be the quantity alone
    #[arg(long, value_name = "FEATURE")]
    feature: Option<String>,
    /// How much is used: FEATURE=QUANTITY, any number of times
    #[arg(long, value_name = "FEATURE=QUANTITY", num_args = 1.., required = true)]
    usage: Vec<String>,
    /// The prices of this date or time; else the last ones
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// A feature's part of the quote.
struct Part<'a> {
    card: &'a RateCard,
    quantity: i128,
    steps: Vec<Step>,
    model: &'static str,
    amount: Amount,
    billed: Amount,
}

/// Quotes.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let catalog = catalog(arguments)?;
    let plan = plan(&catalog, &arguments.plan)?;
    let at = arguments.at.as_deref().map_or(Ok(Micros::MAX), words::parse_instant)?;
    let usage = arguments.usage.iter().map(|text| usage(arguments, plan, text)).collect::<Result<Vec<_>, _>>()?;
    let cards =
        plan.rate_cards.iter().filter(|card| arguments.feature.as_ref().is_none_or(|only| *only == card.feature));
    let mut parts = Vec::new();
    for card in cards {
        let used = usage.iter().filter(|(feature, _)| *feature == card.feature).map(|(_, quantity)| quantity).sum();
        parts.extend(part(plan, card, used, at)?);
    }
    match json {
        true => print_json(plan, &parts),
        false => print(plan, &parts),
    }
    Ok(())
}

fn catalog(arguments: &Arguments) -> Result<Catalog, Failure> {
    let (mut catalog, mut dictionary) = (Catalog::default(), Dictionary::default());
    for (change, place) in read_changes(&arguments.catalog)? {
        catalog.apply(change, &mut dictionary).map_err(|error| Failure::Input(format!("{place}: {error}")))?;
    }
    Ok(catalog)
}

fn plan<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Plan, Failure> {
    catalog.plans.named(name).map(|plan| &**plan).ok_or_else(|| {
        let plans: Vec<&str> = catalog.plans.iter().map(|(name, _, _)| &**name).collect();
        Failure::Input(format!("there is no plan '{name}', there are {}", plans.join(", ")))
    })
}

/// Reads `feature=quantity`, or a quantity alone where the feature is given.
fn usage(arguments: &Arguments, plan: &Plan, text: &str) -> Result<(String, i128), Failure> {
    let (feature, quantity) = match (text.split_once('='), &arguments.feature) {
        (Some((feature, quantity)), _) => (feature.to_owned(), quantity),
        (None, Some(feature)) => (feature.clone(), text),
        (None, None) => {
            return Err(Failure::Input(format!("`--usage {text}` names no feature: write FEATURE={text}")));
        }
    };
    if !plan.rate_cards.iter().any(|card| card.feature == feature) {
        let features: Vec<&str> = plan.rate_cards.iter().map(|card| card.feature.as_str()).collect();
        let message = format!("plan '{}' has no feature '{feature}', it has {}", plan.name, features.join(", "));
        return Err(Failure::Input(message));
    }
    let digits = quantity.replace('_', "");
    let quantity = decimal::parse(&digits, PLACES);
    let quantity = quantity.map_err(|error| Failure::Input(format!("`--usage {text}`: {error}")))?;
    Ok((feature, quantity))
}

/// What a rate card adds to the quote; none if it has no price then, or nothing is used of it.
fn part<'a>(plan: &Plan, card: &'a RateCard, quantity: i128, at: Micros) -> Result<Option<Part<'a>>, Failure> {
    let holds = |from: Option<Micros>| from.is_none_or(|from| from <= at);
    let Some(version) = card.prices.iter().rev().find(|version| holds(version.effective_from)) else { return Ok(None) };
    let too_large = |error| Failure::Input(format!("{}: {error}", card.feature));
    let steps = pricing::steps(&version.price, quantity).map_err(too_large)?;
    if steps.is_empty() {
        return Ok(None);
    }
    let amount = pricing::rate(&version.price, quantity).map_err(too_large)?;
    let billed = pricing::biller(plan.rounding, plan.currency.minor_places())(amount);
    let model = match version.price {
        Price::PerUnit { .. } => "per unit",
        Price::Graduated { .. } => "graduated",
        Price::Volume { .. } => "volume",
        Price::Package { .. } => "package",
        Price::Flat { .. } => "flat",
    };
    Ok(Some(Part { card, quantity, steps, model, amount, billed }))
}

fn print(plan: &Plan, parts: &[Part<'_>]) {
    let currency = plan.currency.code();
    let mut table = Table::new(&["feature", "price", ">tier", ">quantity", ">unit price", ">fixed", ">amount"]);
    for part in parts {
        for step in &part.steps {
            table.row([
                part.card.feature.clone(),
                part.model.to_owned(),
                step.tier.to_string(),
                words::quantity(step.quantity),
                words::quantity(step.unit),
                words::quantity(step.flat),
                words::amount(step.amount, currency),
            ]);
        }
    }
    table.print();
    for part in parts.iter().filter(|part| part.billed != part.amount) {
        let (exact, billed) = (words::amount(part.amount, currency), words::amount(part.billed, currency));
        page::line(format!("{}: {exact} is billed as {billed}", part.card.feature));
    }
    let total: Amount = parts.iter().map(|part| part.billed).sum();
    page::line(page::ink(page::Ink::Bold, &format!("total: {currency} {}", words::amount(total, currency))));
}

fn print_json(plan: &Plan, parts: &[Part<'_>]) {
    let show = |units| decimal::show(units, PLACES);
    for part in parts {
        let steps = part.steps.iter().map(|step| {
            json!({"tier": step.tier, "quantity": show(step.quantity), "unit": show(step.unit),
                   "flat": show(step.flat), "amount": show(step.amount)})
        });
        let steps: Vec<_> = steps.collect();
        let line = json!({"feature": part.card.feature, "currency": plan.currency.code(),
            "quantity": show(part.quantity), "steps": steps, "amount": show(part.amount), "billed": show(part.billed)});
        page::line(line.to_string());
    }
    let total: Amount = parts.iter().map(|part| part.billed).sum();
    page::line(json!({"plan": plan.name, "currency": plan.currency.code(), "total": show(total)}).to_string());
}
