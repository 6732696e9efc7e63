#![doc = include_str!("README.md")]

pub mod engine;
pub mod entitlements;
pub mod invoicing;
pub mod metering;
pub mod oracle;
pub mod rating;
pub mod retelling;
