//! The currencies that money can be in.
//!
//! A currency is a code of ISO 4217 with a minor unit, such as USD with its cents. Codes without
//! one (gold, the code for tests) are refused: a line amount could not be rounded to them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A currency with a minor unit, by its code. Ordered by code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Why a text is no currency.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CurrencyError {
    /// Not a code of the list.
    #[error("`{0}` is not a currency code of ISO 4217; write three letters, such as USD")]
    Unknown(String),
    /// A code of the list, but written otherwise.
    #[error("the currency `{written}` is written {code}")]
    Spelling {
        /// What was written.
        written: String,
        /// The code that was meant.
        code: Currency,
    },
    /// A code that nobody can be billed in.
    #[error("`{0}` has no minor unit to bill in; choose a currency in circulation, such as USD")]
    NoMinorUnit(String),
}

impl Currency {
    /// The code, three capital letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is only made from an ASCII code")
    }

    /// The decimal places of the minor unit: 2 for USD, 0 for JPY, 3 for KWD.
    pub fn minor_places(self) -> u32 {
        minor_places(self.code()).expect("a currency is only made from a code with a minor unit")
    }
}

/// The places of a code's minor unit, if the code exists and has one.
fn minor_places(code: &str) -> Option<u32> {
    let known = iso_currency::Currency::from_code(code)?;
    known.exponent().map(u32::from)
}

impl FromStr for Currency {
    type Err = CurrencyError;

    /// Reads a code exactly as ISO 4217 writes it.
    fn from_str(text: &str) -> Result<Currency, CurrencyError> {
        let Some(known) = iso_currency::Currency::from_code(text) else {
            return Err(unknown(text));
        };
        match (known.exponent(), text.as_bytes()) {
            (Some(_), &[a, b, c]) => Ok(Currency([a, b, c])),
            _ => Err(CurrencyError::NoMinorUnit(text.to_owned())),
        }
    }
}

/// What to say of a text that is no code: whether another spelling would be one.
fn unknown(text: &str) -> CurrencyError {
    // Only a short text is worth the guess, and worth repeating.
    let written: String = text.chars().take(16).collect();
    let capitals = written.trim().to_ascii_uppercase();
    match (capitals != written).then(|| capitals.parse()) {
        Some(Ok(code)) => CurrencyError::Spelling { written, code },
        _ => CurrencyError::Unknown(written),
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(text: String) -> Result<Currency, CurrencyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    fn refused(text: &str) -> String {
        text.parse::<Currency>().expect_err("no currency").to_string()
    }

    #[test]
    fn minor_units_are_those_of_the_list() {
        for (code, places) in [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("XOF", 0)] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.minor_places(), currency.code()), (places, code));
        }
    }

    #[test]
    fn refusals_say_what_to_write() {
        assert_eq!(refused("usd"), "the currency `usd` is written USD");
        assert_eq!(refused(" EUR"), "the currency ` EUR` is written EUR");
        assert!(refused("").starts_with("`` is not a currency code"));
        assert!(refused("dollars").starts_with("`dollars` is not a currency code"));
        assert!(refused("XAU").starts_with("`XAU` has no minor unit"));
        assert!(refused("xts").starts_with("`xts` is not a currency code"));
        assert!(refused(&"A".repeat(1_000_000)).len() < 200);
    }

    #[test]
    fn a_currency_is_read_from_text_and_shown_as_text() {
        let text: StrDeserializer<Error> = "EUR".into_deserializer();
        let euro = Currency::deserialize(text).unwrap();
        assert_eq!(format!("{euro}|{euro:?}|{euro:>5}|{}", String::from(euro)), "EUR|EUR|  EUR|EUR");
        let text: StrDeserializer<Error> = "eur".into_deserializer();
        assert_eq!(Currency::deserialize(text).unwrap_err().to_string(), refused("eur"));
    }
}
