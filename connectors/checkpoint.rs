#![doc = include_str!("checkpoint/README.md")]

mod filter;
mod manifest;
pub mod outline;
mod pages;
pub mod records;
pub mod row_run;

pub use manifest::{Manifest, Part, Share};
