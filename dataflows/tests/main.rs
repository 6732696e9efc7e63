//! The tests of the whole: one binary, because each one links the engine.

mod aborts;
mod acts;
mod at_once;
mod backfills;
mod checkpoints;
mod commands;
mod evidence;
mod examples;
mod follower;
mod histories;
mod history;
mod intake;
#[cfg(feature = "kafka")]
mod kafka;
mod kills;
mod laws;
mod ledger;
mod planted;
mod proof;
mod puts;
mod recovering;
mod scenarios;
mod steps;
mod stops;
mod story;
mod subject;
mod subject_engine;
mod tidy;
mod trouble;
mod views;
mod watching;
mod ways;
