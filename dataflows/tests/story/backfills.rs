//! Backfills in a story.

use trueup_model::backfill::{Scope, Whose};

use super::{Teller, Words};

impl Teller<'_> {
    /// Applies what the sentences say as a backfill.
    pub(super) fn backfill(&mut self, text: &str, sentences: &[&str]) {
        self.commit();
        let (name, place) = text.split_once(' ').unwrap_or((text, ""));
        let scope = (!place.is_empty()).then(|| self.scope(place));
        sentences.iter().for_each(|sentence| self.say(sentence, &[]));
        self.pending = false;
        if self.subject.backfill(name, scope, true).is_none() {
            self.fail("it is refused");
        }
    }

    fn scope(&self, text: &str) -> Scope {
        let text = text.strip_prefix("in place of ").unwrap_or_else(|| self.fail("in place of what?"));
        let mut words = Words::of(text);
        let meter = words.first().to_owned();
        let mut after = |word, question| words.after(word).unwrap_or_else(|| self.fail(question)).to_owned();
        let [customer, from, until] = [("of", "whose?"), ("from", "from when?"), ("until", "until when?")]
            .map(|(word, question)| after(word, question));
        self.done(&words);
        let zone = self.zone_of(&customer);
        let [from, to] = [from, until].map(|time| self.time(&time, &zone));
        Scope { whose: Whose::Customer(customer), meter, from, to }
    }

    /// Takes a backfill back.
    pub(super) fn take_back(&mut self, text: &str) {
        self.commit();
        let Some(name) = text.strip_prefix("back ") else { self.fail("take back what?") };
        self.subject.revert(name);
    }
}
