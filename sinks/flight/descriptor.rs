//! What a path asks for.
//!
//! ```text
//! [view]                      the rows as of the newest epoch when they are read
//! ["snapshot", view]          the rows as of the epoch that is newest now
//! ["snapshot", view, epoch]   the rows as of that epoch
//! ["changes", view]           the rows as of now, then every change
//! ["changes", view, epoch]    every change after that epoch
//! ```

use super::ticket::view_named;
use crate::error::Error;
use crate::reading::Epoch;
use crate::subscribe::{Request, Target};
use crate::view::View;

/// A path, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Path {
    /// Rows of a view, whenever they are read.
    Newest(View),
    /// Rows of a view as of the epoch named, or of now.
    Snapshot(View, Option<Epoch>),
    /// Changes.
    Changes(Request),
}

impl Path {
    /// What `path` asks for.
    pub fn parse(path: &[String]) -> Result<Path, Error> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path[..] {
            [view] => Ok(Path::Newest(view_named(view)?)),
            ["snapshot", view] => Ok(Path::Snapshot(view_named(view)?, None)),
            ["snapshot", view, at] => Ok(Path::Snapshot(view_named(view)?, Some(epoch(at)?))),
            ["changes", view] => Ok(Path::Changes(Request::of(Target::View(view_named(view)?)))),
            ["changes", view, after] => Ok(Path::Changes(Request {
                as_of: Some(epoch(after)?),
                snapshot: false,
                ..Request::of(Target::View(view_named(view)?))
            })),
            _ => Err(Error::NotUnderstood(format!(
                "the path {path:?} is not understood: ask for [view], [\"snapshot\", view, epoch] or [\"changes\", view, epoch]"
            ))),
        }
    }
}

fn epoch(text: &str) -> Result<Epoch, Error> {
    let wrong = |_| Error::NotUnderstood(format!("\"{text}\" is not an epoch, which is a whole number"));
    text.parse().map_err(wrong)
}
