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

/// How many ids of each kind were given, up to a moment; series aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    subjects: usize,
    property_sets: usize,
    texts: usize,
}

impl Dictionary {
    /// A mark of this moment.
    pub fn mark(&self) -> Mark {
        let Names { subjects, properties, texts, .. } = &self.names;
        Mark { subjects: subjects.len(), property_sets: properties.len(), texts: texts.len() }
    }

    /// What was given an id since.
    pub fn since(&self, mark: Mark) -> NewNames {
        let Names { subjects, properties, texts, .. } = &self.names;
        NewNames {
            subjects: names_from(subjects, mark.subjects),
            property_sets: names_from(properties, mark.property_sets),
            texts: names_from(texts, mark.texts),
        }
    }

    /// Takes back the ids given since, as if they had never been given; nobody may have them.
    pub fn rewind(&mut self, mark: Mark) {
        let since = self.since(mark);
        since.subjects.iter().for_each(|subject| {
            self.subjects.remove(subject);
        });
        since.property_sets.iter().for_each(|properties| {
            self.properties.remove(properties);
        });
        since.texts.iter().for_each(|text| {
            self.texts.remove(text);
        });
        self.names.subjects.truncate(mark.subjects);
        self.names.properties.truncate(mark.property_sets);
        self.names.texts.truncate(mark.texts);
    }

    /// Gives the ids of a journal entry again.
    pub fn learn(&mut self, names: &NewNames) {
        names.subjects.iter().for_each(|subject| {
            self.subject(subject);
        });
        names.property_sets.iter().for_each(|properties| {
            self.property_set((**properties).clone());
        });
        names.texts.iter().for_each(|text| {
            self.text(text);
        });
    }

    /// All ids given so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The id of a subject that has one.
    pub fn known_subject(&self, subject: &str) -> Option<SubjectId> {
        self.subjects.get(subject).copied()
    }

    /// The id of a subject, given now if it is new.
    pub fn subject(&mut self, subject: &str) -> SubjectId {
        intern_text(&mut self.subjects, &mut self.names.subjects, subject)
    }

    /// The id of a text, given now if it is new.
    pub fn text(&mut self, text: &str) -> u32 {
        intern_text(&mut self.texts, &mut self.names.texts, text)
    }

    /// Whether a property set has an id.
    pub fn knows(&self, properties: &Properties) -> bool {
        self.properties.contains_key(properties)
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

/// The names from this id on. An iterator would step over all those before.
fn names_from<N: Clone>(names: &Vector<N>, id: usize) -> Vec<N> {
    (id..names.len()).map(|id| names[id].clone()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_was_never_given() {
        let mut dictionary = Dictionary::default();
        assert_eq!((dictionary.subject("acme"), dictionary.text("ann")), (0, 0));
        let mark = dictionary.mark();
        assert_eq!((dictionary.subject("bolt"), dictionary.subject("acme"), dictionary.text("bob")), (1, 0, 1));
        let since = dictionary.since(mark);
        assert_eq!((since.subjects, since.texts), (vec!["bolt".into()], vec!["bob".into()]));
        dictionary.rewind(mark);
        assert_eq!(dictionary.mark(), mark);
        assert_eq!((dictionary.subject("cask"), dictionary.subject("bolt")), (1, 2));
    }

    #[test]
    fn ids_are_learnt_as_they_were_given() {
        let (mut one, mut other) = (Dictionary::default(), Dictionary::default());
        for subject in ["acme", "bolt", "acme", "cask"] {
            let mark = one.mark();
            one.subject(subject);
            other.learn(&one.since(mark));
        }
        assert_eq!(["cask", "bolt", "acme"].map(|subject| other.subject(subject)), [2, 1, 0]);
    }
}
