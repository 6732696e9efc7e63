//! Mistakes made on purpose: a checker that finds none of them would prove nothing.
//!
//! Each is the oracle with something done to it that an engine might do by mistake.

use std::collections::BTreeMap;

use trueup::oracle::Cell;
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::backfill::Scope;
use trueup_model::catalog::CatalogChange;
use trueup_model::event::UsageEvent;
use trueup_model::fact::{Declaration, Document};
use trueup_model::money::RoundingScope;
use trueup_model::price::Price;
use trueup_model::usage::Reason;

use crate::subject::{OracleSubject, Rows, Subject};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    LosesTheLastEventOfAnEpoch,
    CountsARepeatedEventTwice,
    ForgetsRetractions,
    TakesTheLatestToArrive,
    LetsTheLaterOfAConflictStand,
    ShowsEventsAnEpochLate,
    ForgetsPricesSetBack,
    EndsPeriodsInclusively,
    PutsTierBoundsInTheTierAbove,
    RoundsEachLine,
    CutsValuesToWholeNumbers,
    HidesNegativeQuantities,
    ForgetsToCorrectQuantities,
    IssuesWithoutCorrections,
    ForgetsThatClocksGoOn,
    IgnoresPartitions,
    AddsUpDeclarations,
    IgnoresScopes,
    ForgetsToTakeBack,
    AppliesWhatCannotBeCounted,
    TakesHeldDraftsForWhole,
}

impl Mistake {
    pub const ALL: [Mistake; 21] = [
        Mistake::LosesTheLastEventOfAnEpoch,
        Mistake::CountsARepeatedEventTwice,
        Mistake::ForgetsRetractions,
        Mistake::TakesTheLatestToArrive,
        Mistake::LetsTheLaterOfAConflictStand,
        Mistake::ShowsEventsAnEpochLate,
        Mistake::ForgetsPricesSetBack,
        Mistake::EndsPeriodsInclusively,
        Mistake::PutsTierBoundsInTheTierAbove,
        Mistake::RoundsEachLine,
        Mistake::CutsValuesToWholeNumbers,
        Mistake::HidesNegativeQuantities,
        Mistake::ForgetsToCorrectQuantities,
        Mistake::IssuesWithoutCorrections,
        Mistake::ForgetsThatClocksGoOn,
        Mistake::IgnoresPartitions,
        Mistake::AddsUpDeclarations,
        Mistake::IgnoresScopes,
        Mistake::ForgetsToTakeBack,
        Mistake::AppliesWhatCannotBeCounted,
        Mistake::TakesHeldDraftsForWhole,
    ];
}

/// The oracle, making one mistake.
pub struct Mistaken {
    mistake: Mistake,
    oracle: OracleSubject,
    clock: Option<i64>,
    events: Vec<UsageEvent>,
    late: Vec<UsageEvent>,
    sent: u32,
    declared: BTreeMap<Arrival, u64>,
}

impl Mistaken {
    pub fn with(mistake: Mistake) -> Mistaken {
        let (events, late, declared) = (Vec::new(), Vec::new(), BTreeMap::new());
        Mistaken { mistake, oracle: OracleSubject::new(), clock: None, events, late, sent: 0, declared }
    }

    /// Hands on the events of this epoch, in their place before a change of the catalog.
    fn flush(&mut self) {
        for mut event in std::mem::take(&mut self.events) {
            self.sent += 1;
            match self.mistake {
                Mistake::CountsARepeatedEventTwice => event.id = format!("{} {}", event.id, self.sent),
                Mistake::ForgetsRetractions if event.retract => continue,
                Mistake::TakesTheLatestToArrive => event.revision = self.sent,
                Mistake::LetsTheLaterOfAConflictStand => {
                    event.revision = event.revision.saturating_mul(100_000).saturating_add(self.sent)
                }
                Mistake::EndsPeriodsInclusively => event.occurred_at -= 1,
                Mistake::CutsValuesToWholeNumbers => {
                    let whole = event.data.get("value").and_then(|value| value.split('.').next()).map(str::to_owned);
                    event.data.extend(whole.map(|whole| ("value".to_owned(), whole)));
                }
                _ => {}
            }
            self.oracle.event(event);
        }
    }
}

impl Subject for Mistaken {
    fn catalog(&mut self, mut change: CatalogChange) -> Result<(), String> {
        self.flush();
        match (self.mistake, &mut change) {
            (Mistake::ForgetsPricesSetBack, CatalogChange::Price { version, .. }) => {
                version.effective_from =
                    version.effective_from.max(self.clock.map(|clock| clock - clock % 3_600_000_000));
            }
            (Mistake::PutsTierBoundsInTheTierAbove, CatalogChange::Plan(plan)) => {
                for version in plan.rate_cards.iter_mut().flat_map(|card| &mut card.prices) {
                    lower_bounds(&mut version.price);
                }
            }
            (Mistake::RoundsEachLine, CatalogChange::Plan(plan)) => plan.rounding.scope = RoundingScope::Line,
            _ => {}
        }
        self.oracle.catalog(change)
    }

    fn event(&mut self, event: UsageEvent) {
        self.events.push(event);
    }

    fn refused(&mut self, reason: Reason) {
        self.oracle.refused(reason);
    }

    fn way(&mut self, mut origin: Origin) {
        self.flush();
        if self.mistake == Mistake::IgnoresPartitions {
            origin.partition.clear();
        }
        self.oracle.way(origin);
    }

    fn declare(&mut self, mut declaration: Declaration) {
        let sum = self.declared.entry(declaration.arrival.clone()).or_default();
        *sum += declaration.events;
        if self.mistake == Mistake::AddsUpDeclarations {
            declaration.events = *sum;
        }
        self.oracle.declare(declaration);
    }

    fn clock(&mut self, micros: i64) {
        if self.mistake != Mistake::ForgetsThatClocksGoOn || self.clock.is_none() {
            self.clock = Some(micros);
            self.oracle.clock(micros);
        }
    }

    fn commit(&mut self) -> u64 {
        if self.mistake == Mistake::LosesTheLastEventOfAnEpoch {
            self.events.pop();
        }
        if self.mistake == Mistake::ShowsEventsAnEpochLate {
            std::mem::swap(&mut self.events, &mut self.late);
        }
        self.flush();
        self.oracle.commit()
    }

    fn backfill(&mut self, name: &str, scope: Option<Scope>, sets_aside: bool) -> Option<u64> {
        self.flush();
        let scope = scope.filter(|_| self.mistake != Mistake::IgnoresScopes);
        self.oracle.backfill(name, scope, sets_aside || self.mistake == Mistake::AppliesWhatCannotBeCounted)
    }

    fn revert(&mut self, name: &str) -> u64 {
        match self.mistake {
            Mistake::ForgetsToTakeBack => self.oracle.commit(),
            _ => self.oracle.revert(name),
        }
    }

    fn issue(&mut self, customer: &str, subscription: &str, period_start: i64) -> Option<Document> {
        self.oracle.issue(customer, subscription, period_start)
    }

    fn replay(&mut self) -> bool {
        self.oracle.replay()
    }

    fn rows(&mut self, view: &str) -> Rows {
        let rows = self.oracle.rows(view).into_iter();
        let is_negative = |cell: &Cell| matches!(cell, Cell::Decimal(units) if *units < 0);
        match (self.mistake, view) {
            (Mistake::HidesNegativeQuantities, "usage") => rows.filter(|row| !is_negative(&row[6])).collect(),
            (Mistake::ForgetsToCorrectQuantities, "corrections") => {
                rows.filter(|row| row[8] != Cell::Decimal(0)).collect()
            }
            (Mistake::IssuesWithoutCorrections, "corrections") => Rows::new(),
            (Mistake::TakesHeldDraftsForWhole, "invoices") => rows.map(as_drafts).collect(),
            _ => rows.collect(),
        }
    }
}

fn as_drafts(invoice: Vec<Cell>) -> Vec<Cell> {
    let is_held = |cell: &Cell| *cell == Cell::Text("held".into());
    invoice.into_iter().map(|cell| if is_held(&cell) { Cell::Text("draft".into()) } else { cell }).collect()
}

fn lower_bounds(price: &mut Price) {
    if let Price::Graduated { tiers } | Price::Volume { tiers } = price {
        for bound in tiers.iter_mut().filter_map(|tier| tier.up_to.as_mut()) {
            *bound -= 1;
        }
    }
}
