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
        let (event_type, Some(asked)) = (&meter.event_type, NumberColumn::read_by(meter)) else { return Ok(()) };
        let others = self.meters.iter().map(|(.., other)| other);
        let others = others.filter(|other| other.name != meter.name && other.event_type == *event_type);
        let differs = |other: &NumberColumn| other.property == asked.property && other.scale != asked.scale;
        let Some(other) = others.filter_map(|other| NumberColumn::read_by(other)).find(differs) else { return Ok(()) };
        let NumberColumn { property, scale } = other;
        let why =
            format!("another meter reads '{property}' of '{event_type}' at scale {scale}: give both the same scale");
        Err(contradiction(format!("meter '{}'", meter.name), why))
    }

    /// Derives the layouts from the meters that stand, and from what those before them asked for.
    pub(super) fn lay_out(&mut self) {
        self.lay_out_without(|_, _| BTreeSet::new());
    }

    /// Forgets what meters are to forget. Only when all changes that belong together are made: between them some may
    /// not ask yet for what others still forget.
    pub fn forget(&mut self) {
        self.lay_out_without(Catalog::forgotten);
    }

    fn lay_out_without(&mut self, forgotten: for<'c> fn(&'c Catalog, &str) -> BTreeSet<&'c str>) {
        let asked = self.asked();
        for (event_type, layout) in &asked {
            let before = self.remembered.get(event_type).map(|before| (**before).clone()).unwrap_or_default();
            let remembered = layout.with(&before.without(&forgotten(self, event_type)));
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

    /// Whether meters ask for a property of a type, or asked for it once and none forgot it.
    pub fn has_asked_for(&self, event_type: &str, property: &str) -> bool {
        self.remembered.get(event_type).is_some_and(|layout| layout.reads(property))
    }

    /// What meters ask for of each type.
    fn asked(&self) -> BTreeMap<String, EventLayout> {
        let mut by_type = BTreeMap::<&str, Vec<&Meter>>::new();
        for (.., meter) in self.meters.iter() {
            by_type.entry(&meter.event_type).or_default().push(meter);
        }
        let asked = |(name, meters): (&str, Vec<&Meter>)| (name.to_owned(), EventLayout::asked_by(name, meters));
        by_type.into_iter().map(asked).collect()
    }

    /// The properties of a type that meters do without from now on.
    fn forgotten(&self, event_type: &str) -> BTreeSet<&str> {
        let meters = self.meters.iter().map(|(.., meter)| meter).filter(|meter| meter.event_type == event_type);
        meters.flat_map(|meter| &meter.forget).map(String::as_str).collect()
    }
}
