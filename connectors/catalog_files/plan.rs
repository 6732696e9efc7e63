//! `[[plan]]` with its rate cards, and `[[price]]`, which changes one price of a plan.

use trueup_model::calendar::Cadence;
use trueup_model::catalog::{AnchorRule, CatalogChange, Plan, Quota, RateCard};
use trueup_model::money::{PLACES, Rounding, RoundingMode, RoundingScope};

use super::place::Problem;
use super::price::price_version;
use super::section::Section;

const CADENCES: [(&str, Cadence); 5] = [
    ("day", Cadence::Day),
    ("week", Cadence::Week),
    ("month", Cadence::Month),
    ("quarter", Cadence::Quarter),
    ("year", Cadence::Year),
];

const ANCHORS: [(&str, AnchorRule); 2] = [("calendar", AnchorRule::Calendar), ("anniversary", AnchorRule::Anniversary)];

const MODES: [(&str, RoundingMode); 4] = [
    ("half_up", RoundingMode::HalfUp),
    ("half_even", RoundingMode::HalfEven),
    ("up", RoundingMode::Up),
    ("down", RoundingMode::Down),
];

const SCOPES: [(&str, RoundingScope); 2] = [("cumulative", RoundingScope::Cumulative), ("line", RoundingScope::Line)];

pub(super) fn plan(section: &mut Section<'_>, name: String) -> Result<Plan, Problem> {
    let currency = section.text("currency")?;
    let currency = section.need("currency", currency, "write its code, such as USD")?;
    let currency = currency.parse().map_err(|error| section.problem_with("currency", format!("{error}")))?;
    let cadence = section.word("cadence", &CADENCES)?;
    Ok(Plan {
        name,
        currency,
        cadence: section.need("cadence", cadence, "write how often it is billed: month, or another of them")?,
        anchor: section.word("anchor", &ANCHORS)?.unwrap_or_default(),
        rounding: rounding(section)?,
        rate_cards: rate_cards(section)?,
    })
}

/// A price of a plan that is defined elsewhere, from a moment on.
pub(super) fn price_change(section: &mut Section<'_>) -> Result<CatalogChange, Problem> {
    section.call_it("a price".to_owned());
    let plan = section.text("plan")?;
    let plan = section.need("plan", plan, "name the plan")?.to_owned();
    let feature = section.text("feature")?;
    let feature = section.need("feature", feature, "name the feature of the plan")?.to_owned();
    section.call_it(format!("price of '{feature}' in plan '{plan}'"));
    Ok(CatalogChange::Price { plan, feature, version: price_version(section)? })
}

fn rounding(plan: &mut Section<'_>) -> Result<Rounding, Problem> {
    let Some(mut section) = only(plan, "rounding")? else {
        return Ok(Rounding::default());
    };
    let rounding = Rounding {
        places: section.whole("places", PLACES)?,
        mode: section.word("mode", &MODES)?.unwrap_or_default(),
        scope: section.word("scope", &SCOPES)?.unwrap_or_default(),
    };
    section.finish()?;
    Ok(rounding)
}

fn rate_cards(plan: &mut Section<'_>) -> Result<Vec<RateCard>, Problem> {
    let sections = plan.sections("rate_card")?;
    sections.into_iter().map(|section| rate_card(plan, section)).collect()
}

fn rate_card(plan: &Section<'_>, mut section: Section<'_>) -> Result<RateCard, Problem> {
    section.within(plan, "a rate card");
    let feature = section.text("feature")?;
    let feature = section.need("feature", feature, "name the feature that it prices")?;
    section.within(plan, &format!("rate card '{feature}'"));
    let mut prices = Vec::new();
    for mut price in section.sections("price")? {
        price.within(&section, "price");
        prices.push(price_version(&mut price)?);
        price.finish()?;
    }
    let quota = quota(&mut section)?;
    section.finish()?;
    Ok(RateCard { feature: feature.to_owned(), prices, quota })
}

fn quota(card: &mut Section<'_>) -> Result<Option<Quota>, Problem> {
    let Some(mut section) = only(card, "quota")? else {
        return Ok(None);
    };
    let limit = section.decimal("limit", PLACES)?;
    let limit = section.need("limit", limit, "write the greatest quantity of a billing period")?;
    let warning_at = section.decimal("warning_at", PLACES)?;
    let percent = section.whole("warn_at_percent", 100)?;
    let warning_at = match (warning_at, percent) {
        (Some(_), Some(_)) => {
            return Err(section.problem("it has both `warning_at` and `warn_at_percent`; keep one"));
        }
        (Some(quantity), None) => quantity,
        // A hundredth of a unit of 10^-12 is cut off: the warning comes no later for it.
        (None, Some(percent)) => limit * i128::from(percent) / 100,
        (None, None) => limit,
    };
    if warning_at > limit {
        return Err(section.problem_with("warning_at", "`warning_at` lies above `limit`; warn at the limit or before"));
    }
    section.finish()?;
    Ok(Some(Quota { limit, warning_at }))
}

/// The one table under a key, if it is there.
fn only<'f>(outer: &mut Section<'f>, key: &'static str) -> Result<Option<Section<'f>>, Problem> {
    let mut sections = outer.sections(key)?;
    let Some(mut section) = sections.pop() else {
        return Ok(None);
    };
    section.within(outer, key);
    match sections.is_empty() {
        true => Ok(Some(section)),
        false => Err(section.problem(format!("`{key}` is there more than once; keep one"))),
    }
}
