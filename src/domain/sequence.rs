//! The `sequence` of an event, which orders events of the same time.

use std::cmp::Ordering;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Digits alone are a number of any length. Numbers come first, ordered by value: `9` before `10`. All other sequences
/// follow, ordered as text. Numbers of the same value (`7`, `07`) are ordered as text, so that only identical sequences
/// are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(Box<str>);

impl Sequence {
    /// The digits of a number, without leading zeros.
    fn digits(&self) -> Option<&str> {
        let is_number = !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| self.0.trim_start_matches('0'))
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_kind = match (self.digits(), other.digits()) {
            (Some(own), Some(others)) => own.len().cmp(&others.len()).then_with(|| own.cmp(others)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        by_kind.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Deref for Sequence {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Sequence {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Sequence {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_sort_by_value_and_before_all_other_text() {
        let long = format!("1{}", "0".repeat(100));
        let sorted = [
            "0", "00", "001", "01", "1", "2", "9", "10", "99", "100", &long, "", "-1", "1.5", "10a", "9a",
            "a", "a10", "a9", "b", "٣",
        ];
        for pair in sorted.windows(2) {
            assert!(Sequence::from(pair[0]) < Sequence::from(pair[1]), "{pair:?}");
        }
    }

    /// Numbers with and without leading zeros, numbers beyond 64 bits, and text that resembles both.
    fn sequences() -> impl Strategy<Value = String> {
        prop_oneof![
            "0{0,3}[0-9]{1,3}",
            "0{0,2}[0-9]{18,40}",
            "[0-9a+-]{0,3}",
            "\\PC{0,3}"
        ]
    }

    /// The definition, written another way: numbers of one length compare as text.
    fn rank(text: &str) -> (bool, String, &str) {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let padded = if is_number {
            format!("{text:0>64}")
        } else {
            String::new()
        };
        (!is_number, padded, text)
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_the_defined_one(texts in prop::collection::vec(sequences(), 3)) {
            let [a, b, c] = [&texts[0], &texts[1], &texts[2]].map(|text| Sequence::from(text.as_str()));
            prop_assert_eq!(a.cmp(&b), rank(&texts[0]).cmp(&rank(&texts[1])));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b, "only identical sequences are equal");
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
