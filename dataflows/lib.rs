//! trueup: usage metering and billing whose numbers are always true.

pub mod engine;
pub mod entitlements;
pub mod invoicing;
pub mod metering;
pub mod oracle;
pub mod rating;
