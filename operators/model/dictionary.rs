//! Small numbers for the texts that usage is full of: subjects, property sets, series.
//!
//! Only the door gives ids, in the order of the journal, so that a replay gives the same ones.
//! `Names` is what readers get: a cheap copy, in which every id given so far can be looked up.

use std::collections::HashMap;
use std::sync::Arc;

use imbl::Vector;

use crate::catalog::MeterId;
use crate::layout::EventLayout;

/// A subject of a tenant.
pub type SubjectId = u32;
/// A type of event with values for its dimensions.
pub type PropertySetId = u32;
/// A meter with values for its dimensions.
pub type SeriesId = u32;

/// A type of event, as it was read, with values for its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Properties {
    /// The layout by which its events were read.
    pub layout: Arc<EventLayout>,
    /// A value for each dimension of the layout.
    pub dimensions: Box<[Option<Box<str>>]>,
}

/// Names that were first given an id in one journal entry, each kind in the order of its ids.
///
/// Ids have no gaps, so the names of all entries, one after another, give every id again. Series
/// are not among them: they follow from the catalog and the property sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewNames {
    /// Subjects.
    pub subjects: Vec<Arc<str>>,
    /// Property sets, each with the layout by which it was read.
    pub property_sets: Vec<Arc<Properties>>,
    /// Texts of text columns.
    pub texts: Vec<Arc<str>>,
}

impl NewNames {
    /// How many names there are, of all kinds.
    pub fn len(&self) -> usize {
        self.subjects.len() + self.property_sets.len() + self.texts.len()
    }

    /// Whether nothing was given an id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A meter with values for its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// The meter.
    pub meter: MeterId,
    /// A value for each of the meter's dimensions, in its order.
    pub dimensions: Box<[Option<Box<str>>]>,
}

/// Every id given so far, to look up.
#[derive(Clone, Debug, Default)]
pub struct Names {
    subjects: Vector<Arc<str>>,
    properties: Vector<Arc<Properties>>,
    series: Vector<Arc<Series>>,
    texts: Vector<Arc<str>>,
}

impl Names {
    /// The subject with this id.
    pub fn subject(&self, id: SubjectId) -> &str {
        &self.subjects[id as usize]
    }

    /// The property set with this id.
    pub fn properties(&self, id: PropertySetId) -> &Arc<Properties> {
        &self.properties[id as usize]
    }

    /// How many property sets there are.
    pub fn property_sets(&self) -> usize {
        self.properties.len()
    }

    /// The series with this id.
    pub fn series(&self, id: SeriesId) -> &Arc<Series> {
        &self.series[id as usize]
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// The text with this id.
    pub fn text(&self, id: u32) -> &str {
        &self.texts[id as usize]
    }
}

/// Gives ids.
#[derive(Debug, Default)]
pub struct Dictionary {
    names: Names,
    subjects: HashMap<Arc<str>, SubjectId>,
    properties: HashMap<Arc<Properties>, PropertySetId>,
    series: HashMap<Arc<Series>, SeriesId>,
    texts: HashMap<Arc<str>, u32>,
}

impl Dictionary {
    /// All ids given so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The id of a subject, given now if it is new.
    pub fn subject(&mut self, subject: &str) -> SubjectId {
        intern_text(&mut self.subjects, &mut self.names.subjects, subject)
    }

    /// The id of a text, given now if it is new.
    pub fn text(&mut self, text: &str) -> u32 {
        intern_text(&mut self.texts, &mut self.names.texts, text)
    }

    /// The id of a property set, given now if it is new.
    pub fn property_set(&mut self, properties: Properties) -> PropertySetId {
        if let Some(&id) = self.properties.get(&properties) {
            return id;
        }
        let id = self.names.properties.len() as u32;
        let properties = Arc::new(properties);
        self.names.properties.push_back(properties.clone());
        self.properties.insert(properties, id);
        id
    }

    /// The id of a series, given now if it is new.
    pub fn series(&mut self, series: Series) -> SeriesId {
        if let Some(&id) = self.series.get(&series) {
            return id;
        }
        let id = self.names.series.len() as u32;
        let series = Arc::new(series);
        self.names.series.push_back(series.clone());
        self.series.insert(series, id);
        id
    }
}

fn intern_text(ids: &mut HashMap<Arc<str>, u32>, names: &mut Vector<Arc<str>>, text: &str) -> u32 {
    if let Some(&id) = ids.get(text) {
        return id;
    }
    let id = names.len() as u32;
    let text: Arc<str> = text.into();
    names.push_back(text.clone());
    ids.insert(text, id);
    id
}
