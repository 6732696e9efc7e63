#![doc = include_str!("README.md")]

pub mod accounts;
pub mod agenda;
pub mod aggregate;
pub mod arrange;
pub mod cold;
pub mod contribute;
pub mod deduplicate;
pub mod event_index;
mod in_order;
#[cfg(test)]
mod laws;
pub mod map_through;
pub mod read;
pub mod reduce_through;
pub mod run;
pub mod scratch;
pub mod spilled_rows;
pub mod tally;
pub mod total;
pub mod touched;
pub mod unsettled;
