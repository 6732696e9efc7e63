//! What became of a backfill, in a sentence and in JSON.

use serde::{Deserialize, Serialize};
use trueup_model::backfill::Applied;
use trueup_model::fact::Epoch;

use crate::cli::words;

/// How many digits of a digest are shown where there is little room, and tell it from others.
pub const DIGITS: usize = 12;

/// What was done, or, where there are no epochs, what would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    name: String,
    digest: String,
    /// At which epoch it was applied.
    epoch: Option<Epoch>,
    events: u64,
    displaced: u64,
    set_aside: u64,
    reverted: Option<Reverted>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reverted {
    epoch: Option<Epoch>,
    retracted: u64,
    restored: u64,
    left: u64,
    /// Inputs of it that were left in the quarantine.
    #[serde(default)]
    dropped: u64,
}

impl Told {
    /// What was done, so many inputs being set aside.
    pub fn of(name: &str, applied: &Applied, set_aside: u64) -> Told {
        let reverted = applied.reverted.as_ref().map(|(epoch, undone)| Reverted {
            epoch: Some(*epoch),
            retracted: undone.retracted,
            restored: undone.restored,
            left: undone.left,
            dropped: undone.dropped,
        });
        Told {
            name: name.to_owned(),
            digest: applied.batch.digest.clone(),
            epoch: Some(applied.epoch),
            events: applied.batch.events,
            displaced: applied.batch.displaced,
            set_aside,
            reverted,
        }
    }

    /// The same as a preview: nobody knows the epoch of what was not done.
    pub fn into_preview(mut self) -> Told {
        match &mut self.reverted {
            Some(reverted) => reverted.epoch = None,
            None => self.epoch = None,
        }
        self
    }

    /// How just this is applied, once its preview was read.
    pub fn how_to_apply(&self) -> String {
        let command = format!("trueup backfill apply {} --digest {}", self.name, self.digest);
        match self.set_aside {
            0 => format!("Apply just this: {command}"),
            _ => format!("It is refused, unless what cannot be counted may be set aside: {command} --set-aside"),
        }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("it has nothing that JSON lacks")
    }

    /// For people.
    pub fn sentence(&self) -> String {
        let counted = |number: u64, thing| words::counted(usize::try_from(number).unwrap_or(usize::MAX), thing);
        let when = |what: &str, epoch: Option<Epoch>| match epoch {
            Some(epoch) => format!("was {what} as epoch {}", words::count(epoch)),
            None => format!("would be {what}"),
        };
        let name = &self.name;
        if let Some(Reverted { epoch, retracted, restored, left, dropped }) = &self.reverted {
            let set_aside = match dropped {
                0 => String::new(),
                _ => format!(" {} that it left in the quarantine will never count.", counted(*dropped, "input")),
            };
            let became = [
                (*retracted, format!("{} not counted any more", counted(*retracted, "event"))),
                (*restored, format!("{} as others say", counted(*restored, "event"))),
                (*left, format!("{} left, since others changed them after it", counted(*left, "event"))),
            ];
            let became: Vec<String> =
                became.into_iter().filter(|(events, _)| *events > 0).map(|(_, said)| said).collect();
            let became = if became.is_empty() { "no event stands otherwise".to_owned() } else { became.join(", ") };
            return format!("Backfill `{name}` {}: {became}.{set_aside}", when("taken back", *epoch));
        }
        format!(
            "Backfill `{name}` {}: {}, {} others of its scope retracted, {} set aside.",
            when("applied", self.epoch),
            counted(self.events, "event"),
            words::count(self.displaced),
            counted(self.set_aside, "input"),
        )
    }
}
