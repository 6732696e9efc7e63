//! What a feature costs, as `price = { model = "per_unit", unit = "0.002" }`.

use trueup_model::catalog::PriceVersion;
use trueup_model::money::PLACES;
use trueup_model::price::{Price, Tier};
use trueup_model::pricing;

use super::moment::moment;
use super::place::Problem;
use super::section::Section;

#[derive(Clone, Copy)]
enum Model {
    PerUnit,
    Graduated,
    Volume,
    Package,
    Flat,
}

const MODELS: [(&str, Model); 5] = [
    ("per_unit", Model::PerUnit),
    ("graduated", Model::Graduated),
    ("volume", Model::Volume),
    ("package", Model::Package),
    ("flat", Model::Flat),
];

/// A price, and from when on it holds; dates are in UTC.
pub(super) fn price_version(section: &mut Section<'_>) -> Result<PriceVersion, Problem> {
    let key = "effective_from";
    let effective_from = match section.datetime(key)? {
        None => None,
        Some(written) => {
            Some(moment(written, "UTC").map_err(|error| section.problem_with(key, format!("`{key}`: {error}")))?)
        }
    };
    Ok(PriceVersion { effective_from, price: price(section)? })
}

fn price(section: &mut Section<'_>) -> Result<Price, Problem> {
    let model = section.word("model", &MODELS)?;
    let model = section.need("model", model, "write per_unit, graduated, volume, package or flat")?;
    let price = match model {
        Model::PerUnit => Price::PerUnit { unit: amount(section, "unit", "write the price of one unit")? },
        Model::Graduated => Price::Graduated { tiers: tiers(section)? },
        Model::Volume => Price::Volume { tiers: tiers(section)? },
        Model::Package => Price::Package {
            size: amount(section, "size", "write how many units are in a package")?,
            price: amount(section, "price", "write the price of one package")?,
        },
        Model::Flat => Price::Flat { amount: amount(section, "amount", "write the amount of one billing period")? },
    };
    pricing::validate(&price).map_err(|error| section.problem(error.to_string()))?;
    Ok(price)
}

fn tiers(section: &mut Section<'_>) -> Result<Vec<Tier>, Problem> {
    let tiers = section.sections("tiers")?;
    (1..).zip(tiers).map(|(number, tier)| self::tier(section, number, tier)).collect()
}

fn tier(outer: &Section<'_>, number: usize, mut section: Section<'_>) -> Result<Tier, Problem> {
    section.within(outer, &format!("tier {number}"));
    let tier = Tier {
        up_to: section.decimal("up_to", PLACES)?,
        unit: section.decimal("unit", PLACES)?.unwrap_or(0),
        flat: section.decimal("flat", PLACES)?.unwrap_or(0),
    };
    if !section.has("unit") && !section.has("flat") {
        return Err(section.problem("it has no price; write `unit`, `flat` or both, \"0\" where it is free"));
    }
    section.finish()?;
    Ok(tier)
}

fn amount(section: &mut Section<'_>, key: &'static str, remedy: &str) -> Result<i128, Problem> {
    let amount = section.decimal(key, PLACES)?;
    section.need(key, amount, remedy)
}
