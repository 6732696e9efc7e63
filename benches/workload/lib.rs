//! What trueup is measured with: the same month of events for every engine, the catalog that
//! prices them, and the totals that must come out, to the last unit.
//!
//! ```text
//!   events ─┬─ batches ──── feeding ── engine ── totals ─┐
//!           ├─ cloud_events ── file ── any reader        ├─ equal, or there is no figure
//!           └─ reference ────────────────────────────────┘
//! ```

pub mod batches;
pub mod catalog;
pub mod cloud_events;
pub mod events;
pub mod feeding;
pub mod machine;
pub mod reference;
pub mod totals;
