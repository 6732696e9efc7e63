//! Signs what clients carry for us, so that the server keeps no table of tickets and handles.
//!
//! Law: `open` gives back exactly what `seal` was given for the same purpose, or refuses. The
//! key is made anew by every process, so nothing outlives the server that gave it out, and age
//! is told by its own uptime: no wall clock is read.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use prost::bytes::Bytes;
use sha2::Sha256;

use crate::error::Error;

const SIGNATURE_BYTES: usize = 32;

/// A key, and since when it is used.
pub struct Seal {
    key: [u8; 32],
    since: Instant,
}

impl Seal {
    /// A seal that nobody else can make.
    pub fn new() -> Seal {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system gives random bytes");
        Seal { key, since: Instant::now() }
    }

    /// The message, signed for `purpose`.
    pub fn seal(&self, purpose: &'static str, message: &impl Message) -> Bytes {
        let body = message.encode_to_vec();
        let mut sealed = self.signature(purpose, &body).finalize().into_bytes().to_vec();
        sealed.extend_from_slice(&body);
        sealed.into()
    }

    /// The message that was signed for `purpose`.
    pub fn open<M: Message + Default>(&self, purpose: &'static str, sealed: &[u8]) -> Result<M, Error> {
        let (signature, body) = sealed.split_at_checked(SIGNATURE_BYTES).ok_or(Error::Foreign(purpose))?;
        self.signature(purpose, body).verify_slice(signature).map_err(|_| Error::Foreign(purpose))?;
        M::decode(body).map_err(|_| Error::Foreign(purpose))
    }

    /// The time from now, as told to [`Seal::expired`] later.
    pub fn expiry(&self, age_max: Duration) -> u64 {
        (self.since.elapsed() + age_max).as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Whether a time told by [`Seal::expiry`] is over.
    pub fn expired(&self, expiry: u64) -> bool {
        self.since.elapsed() > Duration::from_millis(expiry)
    }

    /// Whether two secrets are equal, in a time that tells nothing about where they differ.
    pub fn same(&self, one: &[u8], other: &[u8]) -> bool {
        let signature = self.signature("secret", one).finalize().into_bytes();
        self.signature("secret", other).verify_slice(&signature).is_ok()
    }

    fn signature(&self, purpose: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut signature = Hmac::<Sha256>::new_from_slice(&self.key).expect("any key length is taken");
        signature.update(purpose.as_bytes());
        signature.update(&[0]);
        signature.update(body);
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_for_the_same_purpose_opens() {
        let seal = Seal::new();
        let sealed = seal.seal("ticket", &7_u64);
        assert_eq!(seal.open::<u64>("ticket", &sealed).unwrap(), 7);
        assert!(seal.open::<u64>("transaction", &sealed).is_err());
        assert!(Seal::new().open::<u64>("ticket", &sealed).is_err());
        for place in 0..sealed.len() {
            let mut altered = sealed.to_vec();
            altered[place] ^= 1;
            assert!(seal.open::<u64>("ticket", &altered).is_err(), "byte {place}");
        }
    }
}
