//! What happens in a history, act by act, to whatever subject it is told to.

use std::fmt;

use trueup::oracle::Cell;
use trueup_model::arrival::Origin;
use trueup_model::backfill::{self, Scope};
use trueup_model::catalog::CatalogChange;
use trueup_model::event::UsageEvent;
use trueup_model::fact::Declaration;
use trueup_model::usage::Reason;

use crate::subject::Subject;

/// One thing that happens.
#[derive(Clone)]
pub enum Act {
    Catalog(CatalogChange),
    Event(UsageEvent),
    Refused(Reason),
    /// What follows comes in by this way.
    Way(Origin),
    Declare(Declaration),
    Clock(i64),
    /// Applies a backfill of these events, of which some may be set aside or none.
    Backfill(Vec<UsageEvent>, Option<Scope>, bool),
    /// Takes one of the backfills back that were applied.
    Revert(usize),
    /// Issues one of the invoices that there are then.
    Issue(usize),
    /// Reads again what is set aside.
    Replay,
    Commit,
}

/// What happens, in order.
pub type History = Vec<Act>;

/// Does what the history says. What the catalog refuses is left out, and so are epochs in which
/// nothing happens.
pub fn run(history: &[Act], subject: &mut dyn Subject, mut after_epoch: impl FnMut(&mut dyn Subject)) {
    let mut is_pending = false;
    let (mut applied, mut backfills, mut way) = (Vec::new(), 0, Origin::default());
    for act in history {
        match act {
            Act::Catalog(change) => is_pending |= subject.catalog(change.clone()).is_ok(),
            Act::Event(event) => subject.event(event.clone()),
            Act::Refused(reason) => subject.refused(*reason),
            Act::Way(origin) => {
                way = origin.clone();
                subject.way(way.clone());
            }
            Act::Declare(declaration) => subject.declare(declaration.clone()),
            Act::Clock(micros) => subject.clock(*micros),
            Act::Issue(_) | Act::Replay | Act::Backfill(..) | Act::Revert(_) | Act::Commit => {
                if std::mem::take(&mut is_pending) {
                    subject.commit();
                    after_epoch(subject);
                }
            }
        }
        is_pending |= matches!(act, Act::Event(_) | Act::Refused(_) | Act::Declare(_) | Act::Clock(_));
        let has_made_epoch = match act {
            Act::Issue(pick) => issue(subject, *pick),
            Act::Replay => subject.replay(),
            Act::Backfill(events, scope, sets_aside) => {
                backfills += 1;
                let name = format!("b{backfills}");
                subject.way((*backfill::origin(&name)).clone());
                events.iter().for_each(|event| subject.event(event.clone()));
                let is_applied = subject.backfill(&name, scope.clone(), *sets_aside).is_some();
                subject.way(way.clone());
                applied.extend(is_applied.then_some(name));
                is_applied
            }
            Act::Revert(pick) if !applied.is_empty() => {
                subject.revert(&applied.remove(pick % applied.len()));
                true
            }
            _ => false,
        };
        if has_made_epoch {
            after_epoch(subject);
        }
    }
}

/// Whether there was anything to issue.
fn issue(subject: &mut dyn Subject, pick: usize) -> bool {
    let invoices = subject.rows("invoices");
    let invoice = invoices.iter().nth(pick % invoices.len().max(1)).map(Vec::as_slice);
    let Some([Cell::Text(customer), Cell::Text(subscription), Cell::Time(period_start), ..]) = invoice else {
        return false;
    };
    subject.issue(customer, subscription, *period_start).is_some()
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Catalog(change) => write!(f, "{change:?}"),
            Act::Event(event) => write!(
                f,
                "{} {} r{} {} by {} at {} {:?}",
                if event.retract { "retract" } else { "event" },
                event.id,
                event.revision,
                event.event_type,
                event.subject,
                Cell::Time(event.occurred_at),
                event.data,
            ),
            Act::Way(origin) => write!(f, "by {} {}", origin.source, origin.partition),
            Act::Declare(declaration) => write!(f, "{declaration:?}"),
            Act::Refused(reason) => write!(f, "refused: {}", reason.name()),
            Act::Clock(micros) => write!(f, "clock {}", Cell::Time(*micros)),
            Act::Backfill(events, scope, sets_aside) => {
                let acts: Vec<Act> = events.iter().cloned().map(Act::Event).collect();
                let how = if *sets_aside { "with what must be set aside" } else { "all or nothing" };
                write!(f, "backfill {acts:?} in place of {scope:?}, {how}")
            }
            Act::Revert(pick) => write!(f, "take back the backfill number {pick}"),
            Act::Issue(pick) => write!(f, "issue the invoice number {pick}"),
            Act::Replay => write!(f, "replay"),
            Act::Commit => write!(f, "commit"),
        }
    }
}
