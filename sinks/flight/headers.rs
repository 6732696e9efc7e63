//! What a request's headers ask for: an epoch to wait for, or an epoch to read as of.
//!
//! Each has a second and third name, because the Java driver makes headers of whatever stands
//! in its URL, in small letters.

use tonic::metadata::MetadataMap;

use crate::error::Error;
use crate::reading::Epoch;

/// Headers that ask to wait until an epoch is published.
pub const MIN_EPOCH: [&str; 3] = ["x-trueup-min-epoch", "min_epoch", "minepoch"];
/// Headers that ask to read as of an epoch.
pub const AS_OF: [&str; 3] = ["x-trueup-as-of", "as_of", "asof"];

/// The epoch that the first of `names` says, if any is there.
pub fn epoch(headers: &MetadataMap, names: [&str; 3]) -> Result<Option<Epoch>, Error> {
    let Some((name, value)) = names.iter().find_map(|name| headers.get(*name).map(|value| (name, value))) else {
        return Ok(None);
    };
    let epoch = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let wrong = || Error::NotUnderstood(format!("the header {name} must hold an epoch, which is a whole number"));
    epoch.map(Some).ok_or_else(wrong)
}
