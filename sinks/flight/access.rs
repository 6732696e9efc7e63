//! Who may ask: anybody, or whoever knows the token.
//!
//! The token is checked on every call. A handshake takes it as a bearer token or as the password
//! of any user, and hands it back as a bearer token, which is how drivers log in.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tonic::metadata::MetadataMap;

use super::seal::Seal;
use crate::error::Error;

/// What is given back for credentials where none are needed.
const ANYBODY: &str = "anybody";

/// The rule for who may ask.
pub struct Access {
    token: Option<String>,
    seal: Seal,
}

impl Access {
    /// Only who knows `token`, or anybody if there is none.
    pub fn new(token: Option<String>) -> Access {
        Access { token, seal: Seal::new() }
    }

    /// Checks the credentials of a call.
    pub fn check(&self, headers: &MetadataMap) -> Result<(), Error> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = header(headers).and_then(|value| after(value, "Bearer "));
        self.compare(token, given.map(str::as_bytes))
    }

    /// Checks the credentials of a handshake; gives the bearer token to use from then on.
    pub fn login(&self, headers: &MetadataMap) -> Result<&str, Error> {
        let Some(token) = &self.token else { return Ok(ANYBODY) };
        let value = header(headers).unwrap_or_default();
        let given = match after(value, "Basic ") {
            Some(basic) => password(basic),
            None => after(value, "Bearer ").map(|token| token.as_bytes().to_vec()),
        };
        self.compare(token, given.as_deref())?;
        Ok(token)
    }

    fn compare(&self, token: &str, given: Option<&[u8]>) -> Result<(), Error> {
        match given {
            None => Err(Error::Credentials("a token is needed: send the header \"authorization: Bearer TOKEN\"")),
            Some(given) if self.seal.same(token.as_bytes(), given) => Ok(()),
            Some(_) => Err(Error::Credentials("the token or password is wrong")),
        }
    }
}

fn header(headers: &MetadataMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()
}

fn after<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.split_at_checked(scheme.len())?;
    given.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The password of a Basic header. Go clients leave out the padding, others do not.
fn password(basic: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&STANDARD, lenient).decode(basic.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &'static str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", value.parse().unwrap());
        headers
    }

    #[test]
    fn bearer_and_basic_log_in_with_and_without_padding() {
        let access = Access::new(Some("s3cret".into()));
        // "a:s3cret" needs one sign of padding.
        for value in ["Bearer s3cret", "bearer s3cret", "Basic YTpzM2NyZXQ=", "Basic YTpzM2NyZXQ"] {
            assert_eq!(access.login(&with(value)).unwrap(), "s3cret", "{value}");
        }
        for value in ["Bearer other", "Basic YTpvdGhlcg==", "Basic !", "s3cret"] {
            assert!(access.login(&with(value)).is_err(), "{value}");
        }
        assert!(access.check(&with("Bearer s3cret")).is_ok());
        assert!(access.check(&MetadataMap::new()).is_err());
        assert!(Access::new(None).check(&MetadataMap::new()).is_ok());
    }
}
