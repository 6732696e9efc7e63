//! Entries to keep: any that the types allow, and small ones that follow from a seed.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::backfill::{Backfill, Batch, Scope, Undone, Whose};
use trueup_model::calendar::Cadence;
use trueup_model::catalog::Subscription;
use trueup_model::catalog::{AnchorRule, CatalogChange, Customer, Feature, Plan, PriceVersion, Quota, RateCard};
use trueup_model::dictionary::{NewNames, Properties};
use trueup_model::fact::{Declaration, Document, DocumentLine, Entry, Epoch, Fact, InputId, Replay};
use trueup_model::identity::Identity;
use trueup_model::layout::{EventLayout, NumberColumn};
use trueup_model::meter::{Aggregation, Meter};
use trueup_model::money::Rounding;
use trueup_model::price::{Price, Tier};
use trueup_model::usage::{Reason, Refused, Says, SentIds, UsageBatch, UsageRow};

/// A small entry; the same for the same seed.
pub fn small(epoch: Epoch, seed: u64) -> Arc<Entry> {
    let number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(epoch);
    let fact = match number % 4 {
        0 => None,
        1 => Some(Fact::Usage(Arc::new(small_usage(number)))),
        2 => Some(Fact::Refused(vec![refused(Reason::Conflict, "x".repeat((number >> 32) as usize % 900))])),
        _ => Some(Fact::Issued(document(i128::from(number) << 50))),
    };
    let offsets = [("calls.ndjson".to_owned(), number.to_string())].into();
    let names = NewNames { subjects: vec![format!("subject-{number}").into()], ..NewNames::default() };
    Arc::new(Entry { epoch, clock: 1_000 + epoch as i64, offsets, names, facts: fact.into_iter().collect() })
}

/// An entry of some thousand bytes.
pub fn larger(epoch: Epoch) -> Arc<Entry> {
    let fact = Fact::Refused(vec![refused(Reason::Conflict, "x".repeat(4_000))]);
    Arc::new(Entry { facts: vec![fact], ..(*small(epoch, 1)).clone() })
}

fn small_usage(number: u64) -> UsageBatch {
    let row = UsageRow {
        identity: Identity([number, !number]),
        occurred_at: number as i64 / 2,
        value: 0,
        subject: 1,
        properties: 2,
        revision: 3,
        says: Says::Assertion,
        wide: 2,
    };
    let mut ids = SentIds::default();
    ids.push("/gateway", &format!("call-{number}"));
    let (rows, wide) = (vec![row], vec![i128::MIN, i128::MAX]);
    UsageBatch { first_row: number, received_at: 5, origin: origin(number).into(), rows, wide, ids }
}

fn origin(number: u64) -> Origin {
    Origin { source: "calls".to_owned(), partition: (number % 5).to_string() }
}

fn refused(reason: Reason, payload: String) -> Refused {
    Refused {
        source: "calls.ndjson".to_owned(),
        partition: payload.chars().take(1).collect(),
        position: "line 1".to_owned(),
        event_source: None,
        event_id: Some("call-1".to_owned()),
        reason,
        detail: "it is not an object; send one".to_owned(),
        whole: payload.len().is_multiple_of(2),
        payload: Some(payload),
    }
}

fn document(amount: i128) -> Document {
    let line = |billed| DocumentLine {
        feature: "tokens".to_owned(),
        service_start: 0,
        service_end: i64::MAX,
        quantity: i128::MIN,
        billed,
    };
    Document {
        number: "INV-000001".to_owned(),
        corrects: None,
        customer: "acme".to_owned(),
        subscription: "acme-pro".to_owned(),
        period_start: i64::MIN,
        period_end: 7,
        issued_at: 8,
        currency: "USD".to_owned(),
        lines: vec![line(amount), line(-amount)],
    }
}

/// Any entry of epoch 1.
pub fn any_entry() -> impl Strategy<Value = Entry> {
    let offsets = btree_map(any::<String>(), any::<String>(), 0..4);
    let facts = vec(any_fact(), 0..5);
    (any::<i64>(), offsets, any_names(), facts).prop_map(|(clock, offsets, names, facts)| Entry {
        epoch: 1,
        clock,
        offsets,
        names,
        facts,
    })
}

fn any_names() -> impl Strategy<Value = NewNames> {
    let texts = || vec(any::<String>().prop_map(Arc::from), 0..6);
    let number = (any::<String>(), any::<u32>()).prop_map(|(property, scale)| NumberColumn { property, scale });
    let names = || vec(any::<String>(), 0..3);
    let layout = (any::<String>(), vec(number, 0..3), names(), names());
    let layout = layout.prop_map(|(event_type, numbers, texts, dimensions)| {
        Arc::new(EventLayout { event_type, numbers, texts, dimensions })
    });
    let value = option::of(any::<String>().prop_map(Box::from));
    let sets = vec(layout, 1..4).prop_flat_map(move |layouts| {
        vec((0..layouts.len(), vec(value.clone(), 0..4)), 0..6).prop_map(move |sets| {
            let set = |(layout, dimensions): (usize, Vec<_>)| {
                Arc::new(Properties { layout: layouts[layout].clone(), dimensions: dimensions.into() })
            };
            sets.into_iter().map(set).collect()
        })
    });
    (texts(), sets, texts()).prop_map(|(subjects, property_sets, texts)| NewNames { subjects, property_sets, texts })
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let refusal = (prop::sample::select(&Reason::ALL[..]), any::<String>());
    let refusals = vec(refusal.prop_map(|(reason, payload)| refused(reason, payload)), 0..4);
    prop_oneof![
        any_usage().prop_map(|batch| Fact::Usage(Arc::new(batch))),
        refusals.prop_map(Fact::Refused),
        any_change().prop_map(Fact::Catalog),
        any_replays().prop_map(Fact::Replayed),
        (any::<(u64, i64)>()).prop_map(|(events, hour)| Fact::Declared(Declaration {
            arrival: Arrival { hour, origin: origin(events).into() },
            events,
        })),
        any::<i128>().prop_filter("its negative is one", |n| *n > i128::MIN).prop_map(|n| Fact::Issued(document(n))),
        (any::<String>(), any::<u64>(), option::of(any::<i64>())).prop_map(|(name, n, at)| backfill(name, n, at)),
    ]
}

fn any_replays() -> impl Strategy<Value = Vec<Replay>> {
    let still = option::of((prop::sample::select(&Reason::ALL[..]), any::<String>()));
    let replay = (any::<(u64, u64, i64)>(), still).prop_map(|((epoch, place, hour), still)| Replay {
        input: InputId { epoch, place },
        arrival: Arrival { hour, origin: origin(place).into() },
        still,
    });
    vec(replay, 0..4)
}

fn backfill(name: String, number: u64, at: Option<i64>) -> Fact {
    let whose = if number.is_multiple_of(2) { Whose::Subject(name.clone()) } else { Whose::Customer(name.clone()) };
    let undone = Undone { retracted: number, restored: !number, left: 1, dropped: number / 2 };
    let reverted = Backfill::Reverted { name: name.clone(), undone };
    let scope = at.map(|at| Scope { whose, meter: name.clone(), from: at, to: i64::MAX });
    let batch = Batch { name, digest: "00ff".to_owned(), scope, events: number, displaced: !number };
    Fact::Backfill(if number.is_multiple_of(3) { reverted } else { Backfill::Applied(batch) })
}

fn any_usage() -> impl Strategy<Value = UsageBatch> {
    let says = prop_oneof![Just(Says::Nothing), Just(Says::Assertion), Just(Says::Retraction)];
    let numbers = (any::<(u64, u64, i64, i64, u32, u32, u32)>(), says);
    let row = (numbers, vec(any::<i128>(), 0..4), any::<(String, String)>());
    (any::<u64>(), any::<i64>(), any::<bool>(), vec(row, 0..12)).prop_map(|(first_row, received_at, has_ids, rows)| {
        let origin = Arc::new(origin(first_row));
        let mut batch = UsageBatch { first_row, received_at, origin, ..UsageBatch::default() };
        for (((high, low, occurred_at, value, subject, properties, revision), says), wide, sent) in rows {
            let value = if wide.is_empty() { value } else { batch.wide.len() as i64 };
            batch.rows.push(UsageRow {
                identity: Identity([high, low]),
                occurred_at,
                value,
                subject,
                properties,
                revision,
                says,
                wide: wide.len() as u16,
            });
            batch.wide.extend(wide);
            if has_ids {
                batch.ids.push(&sent.0, &sent.1);
            }
        }
        batch
    })
}

fn any_change() -> impl Strategy<Value = CatalogChange> {
    (0..6, any::<i128>(), any::<Option<i64>>(), any::<String>()).prop_map(|(kind, number, moment, name)| match kind {
        0 => CatalogChange::Meter(Meter {
            name,
            event_type: "call".to_owned(),
            aggregation: Aggregation::Average,
            property: Some("tokens".to_owned()),
            scale: 12,
            dimensions: vec!["model".to_owned()],
            filter: [("model".to_owned(), ["a".to_owned(), "b".to_owned()].into())].into(),
            forget: if number > 0 { ["prompts".to_owned()].into() } else { Default::default() },
        }),
        1 => CatalogChange::Feature(Feature { name, meter: None, filter: Default::default() }),
        2 => CatalogChange::Plan(plan(name, number, moment)),
        3 => CatalogChange::Price {
            plan: name,
            feature: "tokens".to_owned(),
            version: PriceVersion { effective_from: moment, price: Price::Package { size: number, price: !number } },
        },
        4 => CatalogChange::Customer(Customer {
            id: name.clone(),
            name,
            zone: "Asia/Kolkata".to_owned(),
            subjects: vec!["acme".to_owned()],
        }),
        _ => CatalogChange::Subscription(Subscription {
            id: name.clone(),
            customer: name,
            plan: "pro".to_owned(),
            starts_at: i64::MIN,
            ends_at: moment,
        }),
    })
}

fn plan(name: String, number: i128, effective_from: Option<i64>) -> Plan {
    let tiers = vec![
        Tier { up_to: Some(number), unit: i128::MAX, flat: i128::MIN },
        Tier { up_to: None, unit: number, flat: 0 },
    ];
    let prices = vec![
        PriceVersion { effective_from: None, price: Price::Graduated { tiers: tiers.clone() } },
        PriceVersion { effective_from, price: Price::Volume { tiers } },
    ];
    let quota = Some(Quota { limit: number, warning_at: number / 2 });
    Plan {
        name,
        currency: "USD".parse().expect("a currency"),
        cadence: Cadence::Month,
        anchor: AnchorRule::Anniversary,
        rounding: Rounding::default(),
        rate_cards: vec![RateCard { feature: "tokens".to_owned(), prices, quota }],
    }
}
