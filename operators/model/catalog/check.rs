//! What a definition must keep to, whatever else the catalog holds; and how it is refused.

use super::definition::{Feature, PriceVersion};
use crate::grain::{Grain, GrainStep, Micros, QUARTER_MICROS, show_micros};
use crate::layout::EventLayout;
use crate::meter::{Aggregation, Meter};
use crate::price::Price;
use crate::{money, pricing};

/// Why a change of the catalog cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// It names something that is not there.
    #[error("{what} refers to {kind} '{name}', which is not defined: define it first or correct the name")]
    Unknown {
        /// What refers.
        what: String,
        /// The kind of thing referred to.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It contradicts itself or what is there.
    #[error("{what}: {why}")]
    Contradiction {
        /// What is wrong.
        what: String,
        /// Why, and what to do.
        why: String,
    },
}

pub(super) fn unknown(what: String, kind: &'static str, name: &str) -> CatalogError {
    CatalogError::Unknown { what, kind, name: name.to_owned() }
}

pub(super) fn contradiction(what: impl Into<String>, why: impl Into<String>) -> CatalogError {
    CatalogError::Contradiction { what: what.into(), why: why.into() }
}

/// A moment that must be a grain edge of the customer.
pub(super) fn edge(at: Micros, step: GrainStep, what: &dyn Fn() -> String) -> Result<Grain, CatalogError> {
    let grain = Grain::at_edge(at).filter(|grain| grain.0 % step.quarters() == 0);
    grain.ok_or_else(|| {
        let length = i64::from(step.quarters()) * QUARTER_MICROS;
        let nearest = (at + length / 2).div_euclid(length) * length;
        let nearest = show_micros(nearest);
        contradiction(
            what(),
            format!("it begins or ends between two edges of the usage grain: the nearest edge is {nearest}"),
        )
    })
}

pub(super) fn check_version(
    feature: &Feature,
    version: &PriceVersion,
    what: &dyn Fn() -> String,
) -> Result<(), CatalogError> {
    pricing::validate(&version.price).map_err(|error| contradiction(what(), error.to_string()))?;
    if let Some(at) = version.effective_from {
        // Hours are edges for every customer; a quarter-hour edge would split others' grains.
        edge(at, GrainStep::Hour, what)?;
    }
    let is_flat = matches!(version.price, Price::Flat { .. });
    if feature.meter.is_none() && !is_flat {
        return Err(contradiction(
            what(),
            format!("feature '{}' has no meter, so only a flat price fits", feature.name),
        ));
    }
    if feature.meter.is_some() && is_flat {
        return Err(contradiction(
            what(),
            format!("feature '{}' is metered: sell the flat amount as a feature of its own", feature.name),
        ));
    }
    Ok(())
}

pub(super) fn check_meter(meter: &Meter) -> Result<(), CatalogError> {
    let what = || format!("meter '{}'", meter.name);
    let needs_property = meter.aggregation != Aggregation::Count;
    if needs_property != meter.property.is_some() {
        let why =
            if needs_property { "this aggregation needs a property to read" } else { "a count reads no property" };
        return Err(contradiction(what(), why));
    }
    if meter.scale > money::PLACES {
        return Err(contradiction(what(), "a scale is at most 12 decimal places"));
    }
    if let Some(stranger) = meter.filter.keys().find(|key| !meter.dimensions.contains(key)) {
        return Err(contradiction(
            what(),
            format!("its filter names '{stranger}', which is not among its dimensions: add it there"),
        ));
    }
    if let Some(wanted) = meter.forget.iter().find(|property| EventLayout::asked_by("", [meter]).reads(property)) {
        return Err(contradiction(
            what(),
            format!("it is to forget '{wanted}', which it reads: leave one of them out"),
        ));
    }
    Ok(())
}
