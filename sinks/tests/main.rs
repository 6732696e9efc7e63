//! What the sinks promise, checked over a real connection against an engine made up of a script.

mod catalogs;
mod clients;
mod connections;
mod fake;
mod files;
mod limits;
mod moments;
mod queries;
mod subscriptions;
mod support;
mod tickets;
