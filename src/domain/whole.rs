//! Whole numbers in every spelling that JSON allows.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// Their name in error messages.
pub(crate) const WHOLE: &str = "a whole number, 0 or more";

/// Up to this value, a number that is written with a fraction or an exponent (`100.0`, `1e2`) is read exactly. A larger one
/// may have been rounded.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number, even one that is written with a fraction of zero or an exponent: some languages have only floating
/// point numbers, and write them like this.
pub(crate) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Whole)
}

/// The whole number that equals a floating point number.
pub(crate) fn of_float(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
    // `abs`, because `format!` writes minus zero as `-0`.
    is_whole
        .then(|| format!("{:.0}", number.abs()).parse().ok())
        .flatten()
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WHOLE)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
        of_float(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_accepted_in_every_notation() {
        for (text, expected) in [
            ("100", Some(100)),
            ("100.0", Some(100)),
            ("1e2", Some(100)),
            ("1E+2", Some(100)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-0.0", Some(0)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("9007199254740992.0", Some(9_007_199_254_740_992)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("9007199254740994.0", None),
            ("100.5", None),
            ("-1", None),
            ("-1.0", None),
            ("\"100\"", None),
            ("true", None),
            ("null", None),
            ("[1]", None),
        ] {
            let mut json = serde_json::Deserializer::from_str(text);
            assert_eq!(whole(&mut json).ok(), expected, "{text}");
        }
    }
}
