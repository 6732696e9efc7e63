//! What the meters of a catalog ask for, and what is read on of what they asked for once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Catalog;
use super::check::{CatalogError, contradiction};
use crate::layout::{EventLayout, Layouts, NumberColumn};
use crate::meter::Meter;

impl Catalog {
    /// Whether other meters read the same number at the same scale: nobody would know at which to send it.
    pub(super) fn check_scale(&self, meter: &Meter) -> Result<(), CatalogError> {
        let asked = EventLayout::asked_by(meter);
        let differs = |other: &NumberColumn| {
            asked.numbers.iter().any(|column| column.property == other.property && column.scale != other.scale)
        };
        let others = self.meters.iter().map(|(.., other)| other);
        let others = others.filter(|other| other.name != meter.name && other.event_type == meter.event_type);
        let mut numbers = others.flat_map(|other| EventLayout::asked_by(other).numbers);
        let Some(NumberColumn { property, scale }) = numbers.find(differs) else { return Ok(()) };
        let event_type = &meter.event_type;
        let why =
            format!("another meter reads '{property}' of '{event_type}' at scale {scale}: give both the same scale");
        Err(contradiction(format!("meter '{}'", meter.name), why))
    }

    /// Derives the layouts from the meters that stand, and from what those before them asked for.
    pub(super) fn lay_out(&mut self) {
        let asked = self.asked();
        for (event_type, layout) in &asked {
            let before = self.remembered.get(event_type).map(|before| (**before).clone()).unwrap_or_default();
            let remembered = layout.with(&before.without(&self.forgotten(event_type)));
            self.remembered.insert(event_type.clone(), Arc::new(remembered));
        }
        let by_type = asked.keys().map(|name| (name.clone(), self.remembered[name].clone())).collect();
        let asked = asked.into_iter().map(|(name, layout)| (name, Arc::new(layout))).collect();
        let schemas = self.schemas.iter().map(|(name, _, schema)| (name.to_string(), schema.clone())).collect();
        let generation = self.layouts.generation;
        let layouts = Layouts { generation, by_type, asked, schemas };
        if layouts != *self.layouts {
            self.layouts = Arc::new(Layouts { generation: generation + 1, ..layouts });
        }
    }

    /// What meters ask for of each type.
    fn asked(&self) -> BTreeMap<String, EventLayout> {
        let mut by_type = BTreeMap::<String, EventLayout>::new();
        for (.., meter) in self.meters.iter() {
            let asked = EventLayout::asked_by(meter);
            let layout = by_type.get(&meter.event_type).map_or(asked.clone(), |others| others.with(&asked));
            by_type.insert(meter.event_type.clone(), layout);
        }
        by_type
    }

    /// The properties of a type that meters do without from now on.
    fn forgotten(&self, event_type: &str) -> BTreeSet<&str> {
        let meters = self.meters.iter().map(|(.., meter)| meter).filter(|meter| meter.event_type == event_type);
        meters.flat_map(|meter| &meter.forget).map(String::as_str).collect()
    }
}
