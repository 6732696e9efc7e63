//! Keeps understood statements by their text; drivers ask for the same one several times.
//!
//! A plan depends on the views' schemas only, which never change while a server runs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::Statement;

const PLANS_MAX: usize = 256;

/// The statements understood last.
#[derive(Default)]
pub struct Plans {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_text: HashMap<String, Arc<Statement>>,
    in_order: VecDeque<String>,
}

impl Plans {
    /// The statement of this text, if it is kept.
    pub fn get(&self, text: &str) -> Option<Arc<Statement>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).by_text.get(text).cloned()
    }

    /// Keeps a statement; the one kept longest makes room.
    pub fn put(&self, text: &str, statement: Arc<Statement>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_text.insert(text.to_owned(), statement).is_some() {
            return;
        }
        kept.in_order.push_back(text.to_owned());
        if kept.in_order.len() > PLANS_MAX {
            let oldest = kept.in_order.pop_front().expect("it was just found too long");
            kept.by_text.remove(&oldest);
        }
    }
}
