//! Follows a view or a query: its contents at one epoch, then every change, in order.
//!
//! Law: at every progress mark, the rows received so far, each counted by its `_diff`, are
//! exactly the view as of that epoch: no gap, no overlap, whatever the engine and the network
//! did meanwhile. The stream asks for changes only when its reader is ready for them, so nothing
//! queues up and the engine never waits; a reader too slow for the history that is kept gets
//! one consolidated difference instead.
//!
//! ```text
//!   snapshot at S        changes after S                 nothing new for 5 s
//!  +------+------+      +--------+--------+              +----------+
//!  | rows | rows | mark | rows   | rows   | mark  ...    | mark     |
//!  +------+------+      +--------+--------+              +----------+
//! ```

pub mod columns;
pub mod follow;
pub mod metadata;
pub mod request;

mod source;

pub use follow::{Piece, follow};
pub use metadata::Progress;
pub use request::{End, Request, Target};
