#![doc = include_str!("README.md")]

pub mod error;
pub mod files;
pub mod flight;
pub mod limits;
pub mod moments;
pub mod reading;
pub mod receiving;
pub mod rows;
pub mod server;
#[cfg_attr(not(feature = "sql"), path = "sql/absent.rs")]
pub mod sql;
pub mod subscribe;
pub mod view;
pub mod wire;

mod gate;
mod multiset;
mod past;
mod quoting;
mod scans;

pub use error::Error;
