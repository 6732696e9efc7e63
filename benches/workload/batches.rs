//! Events as a connector would hand them over, without parsing any text: "from parsed events".

use trueup_model::identity::Identity;
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, PropertySet, Says, UsageRow};

use crate::catalog::{MONTH_START, customer_name};
use crate::events::{CELLS, CUSTOMERS, Event, MODELS, PLANS, REGIONS, TYPES, USERS};

/// Makes batches. What it remembers from one to the next are only places.
pub struct Batches {
    generation: u64,
    /// Which types have a user beside the quantity.
    has_user: [bool; TYPES.len()],
    subjects: Places,
    properties: Places,
    users: Places,
}

impl Batches {
    /// Makes batches to be read by `layouts`, which are those of the workload's catalog.
    pub fn new(layouts: &Layouts) -> Batches {
        Batches {
            generation: layouts.generation,
            has_user: TYPES.map(|name| layouts.of(name).is_some_and(|layout| !layout.texts.is_empty())),
            subjects: Places::new(CUSTOMERS as usize),
            properties: Places::new(TYPES.len() * CELLS),
            users: Places::new(USERS as usize),
        }
    }

    /// These events as a batch.
    pub fn batch(&mut self, events: impl Iterator<Item = Event>) -> EventBatch {
        let mut batch = EventBatch { generation: self.generation, ..EventBatch::default() };
        batch.rows.reserve_exact(events.size_hint().0);
        for event in events {
            self.push(&event, &mut batch);
        }
        batch.subjects = self.subjects.take(|customer| customer_name(customer).into());
        batch.properties = self.properties.take(|set| property_set(set as usize));
        batch.texts = self.users.take(|user| format!("u{user}").into());
        batch
    }

    fn push(&mut self, event: &Event, batch: &mut EventBatch) {
        let meter = usize::from(event.meter);
        let (mut value, mut wide) = (event.quantity, 0);
        if self.has_user[meter] {
            (value, wide) = (batch.wide.len() as i64, 2);
            let user = self.users.place(event.user as usize);
            batch.wide.extend([i128::from(event.quantity), i128::from(user)]);
        }
        batch.rows.push(UsageRow {
            identity: Identity(event.key),
            occurred_at: MONTH_START + i64::from(event.second) * 1_000_000,
            value,
            subject: self.subjects.place(event.customer as usize),
            properties: self.properties.place(meter * CELLS + event.cell()),
            revision: u32::from(event.revision),
            says: Says::of(event.retract),
            wide,
        });
    }
}

fn property_set(number: usize) -> PropertySet {
    let (meter, cell) = (number / CELLS, number % CELLS);
    let [region, plan, model] = [cell % 4, cell / 4 % 3, cell / 12];
    let dimensions = [REGIONS[region], PLANS[plan], MODELS[model]].map(|value| Some(value.into()));
    PropertySet { event_type: TYPES[meter].into(), dimensions: dimensions.into() }
}

/// The table of one batch: where each number stands in it, in the order of first use.
struct Places {
    places: Vec<u32>,
    used: Vec<u32>,
}

impl Places {
    const NONE: u32 = u32::MAX;

    fn new(numbers: usize) -> Places {
        Places { places: vec![Places::NONE; numbers], used: Vec::new() }
    }

    fn place(&mut self, number: usize) -> u32 {
        if self.places[number] == Places::NONE {
            self.places[number] = self.used.len() as u32;
            self.used.push(number as u32);
        }
        self.places[number]
    }

    /// The table; the next one begins empty.
    fn take<E>(&mut self, entry: impl Fn(u32) -> E) -> Vec<E> {
        let used = std::mem::take(&mut self.used);
        used.iter().for_each(|&number| self.places[number as usize] = Places::NONE);
        used.into_iter().map(entry).collect()
    }
}
