//! Definitions of one kind, found by id and by name.
//!
//! An id is a place, given once and never to another name; so whatever belongs to a definition
//! can be kept in a vector by its id. Tables are persistent: a copy shares what did not change.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

/// Definitions of one kind, found by id and by name.
#[derive(Clone, Debug)]
pub struct Table<D> {
    rows: Vector<Arc<D>>,
    ids: OrdMap<Arc<str>, u32>,
}

impl<D> Default for Table<D> {
    fn default() -> Self {
        Table { rows: Vector::new(), ids: OrdMap::new() }
    }
}

impl<D> Table<D> {
    /// The definition with this id, which must have been given.
    pub fn get(&self, id: u32) -> &Arc<D> {
        &self.rows[id as usize]
    }

    /// The id that stands for this name now.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// The definition that stands for this name now.
    pub fn named(&self, name: &str) -> Option<&Arc<D>> {
        self.id(name).map(|id| self.get(id))
    }

    /// Names with their ids and definitions, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u32, &Arc<D>)> {
        self.ids.iter().map(|(name, &id)| (name, id, self.get(id)))
    }

    /// Puts a definition in the place of the one of this name, or at the end.
    pub(crate) fn put(&mut self, name: &str, definition: D) -> u32 {
        match self.id(name) {
            Some(id) => {
                self.rows.set(id as usize, Arc::new(definition));
                id
            }
            None => self.append(name, definition),
        }
    }

    /// Puts a definition at the end, even where the name stood for another; that one keeps its
    /// id and is found by it alone.
    pub(crate) fn append(&mut self, name: &str, definition: D) -> u32 {
        let id = self.rows.len() as u32;
        self.rows.push_back(Arc::new(definition));
        self.ids.insert(name.into(), id);
        id
    }
}

/// The entry of an id, with empty ones before it if there was none.
pub(crate) fn entry<T: Clone + Default>(entries: &mut Vector<T>, id: u32) -> &mut T {
    let id = id as usize;
    while entries.len() <= id {
        entries.push_back(T::default());
    }
    &mut entries[id]
}
