//! What arrives when: the calls as events, with customers, and with what goes wrong on the way.
//!
//! Every event is a line of JSON, and from here on only bytes. Each call is drawn on its own, so
//! that one can be late and twice and corrected.

use serde_json::json;
use trueup_model::catalog::CatalogChange;
use trueup_model::grain::Micros;

use super::calls::{self, Call};
use super::dice::Dice;

const SECOND: Micros = 1_000_000;
const MINUTE: Micros = 60 * SECOND;

/// A line that arrives.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When.
    pub arrives_at: Micros,
    /// A CloudEvent, or what should have been one.
    pub line: String,
}

/// How often what went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mishaps {
    /// Lines that came again.
    pub duplicates: usize,
    /// Calls that were stated anew.
    pub corrections: usize,
    /// Calls that were taken back.
    pub retractions: usize,
    /// Calls that came minutes late.
    pub late: usize,
    /// Calls that came weeks late.
    pub very_late: usize,
    /// Lines that are no usage at all.
    pub broken: usize,
}

/// Everything that arrives.
#[derive(Debug, Default)]
pub struct Stream {
    /// How many calls there are.
    pub calls: usize,
    /// What arrives on the same day, in order.
    pub same_day: Vec<Delivery>,
    /// What arrives when the invoices are out.
    pub after_issue: Vec<Delivery>,
    /// What went wrong.
    pub mishaps: Mishaps,
}

/// Draws everything that arrives.
pub fn draw(seed: u64, catalog: &[CatalogChange]) -> Stream {
    let mut dice = Dice::new(seed);
    let subjects = calls::subjects(catalog);
    let mut stream = Stream::default();
    for call in calls::recorded() {
        let rank = dice.zipf(subjects.len());
        let whose = &subjects[rank];
        let subject = &whose[dice.below(whose.len() as u64) as usize];
        let event = Event::of(&call, subject, &mut dice);
        stream.calls += 1;
        stream.send(&call, &event, CUT_OFF.contains(&rank), &mut dice);
    }
    for line in BROKEN {
        let minute = dice.below(55) as Micros;
        stream.mishaps.broken += 1;
        stream.arrive(stream.same_day[0].arrives_at + minute * MINUTE, line.to_owned());
    }
    // Stable: what arrives at the same time stays in the order in which it was sent.
    stream.same_day.sort_by_key(|delivery| delivery.arrives_at);
    stream
}

/// The ranks of two customers whose line to the vendor broke: of their late calls most come only
/// when the invoices are out.
const CUT_OFF: [usize; 2] = [1, 3];

/// What no sender meant to send.
const BROKEN: [&str; 4] = [
    r#"{"specversion":"1.0","id":"azure-code-x1","source":"azure/code","type":"llm.call","subject":"harbor","#,
    r#"{"specversion":"1.0","id":"azure-code-x2","source":"azure/code","type":"llm.call","subject":"harbor","time":"2023-11-16T18:40:00Z","data":{"input_tokens":17.5,"output_tokens":3}}"#,
    r#"{"specversion":"1.0","id":"azure-conv-x3","source":"azure/conv","type":"llm.call","subject":"quill","time":"2023-11-16T18:40:00Z","data":{"input_tokens":170}}"#,
    r#"{"specversion":"1.0","id":"azure-conv-x4","source":"azure/conv","type":"llm.cal","subject":"quill","time":"2023-11-16T18:40:00Z","data":{}}"#,
];

impl Stream {
    /// A call with all that happens to it.
    fn send(&mut self, call: &Call, event: &Event, is_cut_off: bool, dice: &mut Dice) {
        let line = event.line(0, event.output);
        let after_issue = self.first(call, &line, is_cut_off, dice);
        if let Some(cached) = event.cache_line() {
            self.arrive(call.at + SECOND, cached);
        }
        if dice.happens(20) {
            self.mishaps.duplicates += 1;
            self.arrive(call.at + minutes(dice, 0, 10), line);
        }
        if dice.happens(10) {
            self.mishaps.corrections += 1;
            let output = event.output + 1 + dice.below(event.output + 1);
            let at = call.at + minutes(dice, 1, 20);
            self.arrive_or_wait(at, event.line(1, output), after_issue);
        }
        if dice.happens(2) {
            self.mishaps.retractions += 1;
            let at = call.at + minutes(dice, 1, 30);
            self.arrive_or_wait(at, event.retraction(2), after_issue);
        }
    }

    /// The first statement of a call; tells whether it only comes when the invoices are out.
    fn first(&mut self, call: &Call, line: &str, is_cut_off: bool, dice: &mut Dice) -> bool {
        let is_late = dice.happens(50);
        let is_very_late = is_late && is_cut_off && dice.happens(800);
        if is_very_late {
            self.mishaps.very_late += 1;
        } else if is_late {
            self.mishaps.late += 1;
        }
        let arrives_at = if is_late { call.at + minutes(dice, 5, 40) } else { call.at };
        self.arrive_or_wait(arrives_at, line.to_owned(), is_very_late);
        is_very_late
    }

    fn arrive_or_wait(&mut self, arrives_at: Micros, line: String, after_issue: bool) {
        match after_issue {
            true => self.after_issue.push(Delivery { arrives_at, line }),
            false => self.arrive(arrives_at, line),
        }
    }

    fn arrive(&mut self, arrives_at: Micros, line: String) {
        self.same_day.push(Delivery { arrives_at, line });
    }
}

fn minutes(dice: &mut Dice, from: u64, to: u64) -> Micros {
    (from + dice.below(to - from)) as Micros * MINUTE
}

/// A call as its sender states it.
struct Event<'a> {
    call: &'a Call,
    subject: &'a str,
    model: String,
    cached: u64,
    output: u64,
}

impl<'a> Event<'a> {
    fn of(call: &'a Call, subject: &'a str, dice: &mut Dice) -> Event<'a> {
        let size = if dice.happens(250) { "large" } else { "small" };
        // Of every fifth context half was in the cache.
        let cached = if dice.happens(200) { call.context / 2 } else { 0 };
        Event { call, subject, model: format!("{}-{size}", call.family), cached, output: call.generated }
    }

    fn line(&self, revision: u32, output: u64) -> String {
        let data = json!({
            "input_tokens": self.call.context - self.cached,
            "output_tokens": output,
            "model": self.model,
        });
        let mut event = self.head(&self.call.id, self.call.source, "llm.call");
        event["data"] = data;
        if revision > 0 {
            event["revision"] = revision.into();
        }
        event.to_string()
    }

    fn retraction(&self, revision: u32) -> String {
        let mut event = self.head(&self.call.id, self.call.source, "llm.call");
        event["revision"] = revision.into();
        event["retract"] = true.into();
        event.to_string()
    }

    /// What the cache reports by itself, if it had something.
    fn cache_line(&self) -> Option<String> {
        let source = format!("{}/cache", self.call.source);
        let mut event = self.head(&self.call.id, &source, "llm.cache_read");
        event["data"] = json!({"tokens": self.cached, "model": self.model});
        (self.cached > 0).then(|| event.to_string())
    }

    fn head(&self, id: &str, source: &str, event_type: &str) -> serde_json::Value {
        json!({"specversion": "1.0", "id": id, "source": source, "type": event_type,
               "subject": self.subject, "time": self.call.time})
    }
}
