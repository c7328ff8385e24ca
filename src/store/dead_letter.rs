//! The identity of a dead letter: a redelivery of the same message is not a second row.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::columns::text;
use super::dead_letters::DeadLetter;

/// The longest body that is stored whole, in bytes. `events.max_bytes` cannot exceed it, so that every possible event
/// can be redriven.
pub const LONGEST_BODY: usize = 16 << 20;

/// A dead letter with its digest, and how often it occurs in this commit.
pub(super) struct Sighting<'a> {
    pub digest: [u8; 32],
    /// The last occurrence.
    pub dead_letter: &'a DeadLetter,
    pub times: i64,
}

impl Sighting<'_> {
    /// The stored part of the body.
    pub fn body(&self) -> &[u8] {
        let body = &self.dead_letter.body;
        &body[..body.len().min(LONGEST_BODY)]
    }

    /// Length of the body as received.
    pub fn bytes(&self) -> i64 {
        i64::try_from(self.dead_letter.body.len()).unwrap_or(i64::MAX)
    }

    pub fn reason(&self) -> String {
        let (reason, body) = (text(&self.dead_letter.reason), &self.dead_letter.body);
        if body.len() <= LONGEST_BODY {
            return reason;
        }
        format!(
            "{reason}; only the first {LONGEST_BODY} of {} bytes (SHA-256 {}) are stored",
            body.len(),
            body_digest(body)
        )
    }
}

/// SHA-256 of a body in hexadecimal. Identifies a message that cannot be stored whole.
#[must_use]
pub fn body_digest(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The latest credible end of another claim: a claim that ends later was made by a wrong clock. Clocks may differ by
/// the length of a claim.
pub(super) fn believable(now: DateTime<Utc>, until: DateTime<Utc>) -> DateTime<Utc> {
    until + (until - now).max(TimeDelta::zero())
}

/// Each dead letter once, in the order of first occurrence.
pub(super) fn sightings(dead_letters: &[DeadLetter]) -> Vec<Sighting<'_>> {
    let mut places = HashMap::new();
    let mut sightings: Vec<Sighting<'_>> = Vec::new();
    for dead_letter in dead_letters {
        let digest = digest(dead_letter);
        let place = *places.entry(digest).or_insert(sightings.len());
        if let Some(sighting) = sightings.get_mut(place) {
            sighting.dead_letter = dead_letter;
            sighting.times += 1;
        } else {
            sightings.push(Sighting {
                digest,
                dead_letter,
                times: 1,
            });
        }
    }
    sightings
}

/// Covers the kind of origin, the content type, the attributes of an event in binary mode, and the body. It leaves out
/// other headers, which count deliveries; the reason, which a newer version may word differently; and the lane or line,
/// which may change.
fn digest(dead_letter: &DeadLetter) -> [u8; 32] {
    let kind = dead_letter.origin.split(':').next().unwrap_or_default();
    let content_type = dead_letter.content_type.as_deref().unwrap_or_default();
    let mut attributes: Vec<&(String, String)> = dead_letter
        .headers
        .iter()
        .filter(|(name, _)| is_attribute(name))
        .collect();
    attributes.sort();
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        // The length comes first, so that parts cannot be confused.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(kind.as_bytes());
    add(content_type.as_bytes());
    for (name, value) in attributes {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    add(&dead_letter.body);
    hash.finalize().into()
}

/// `ce-id`, `cloudEvents:id`, `cloudEvents_id`.
fn is_attribute(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("ce-") || name.starts_with("cloudevents")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter(origin: &str, headers: &[(&str, &str)]) -> DeadLetter {
        DeadLetter {
            origin: origin.into(),
            source: None,
            content_type: None,
            headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            body: Vec::new(),
            reason: "for a test".into(),
            retry_at: None,
        }
    }

    #[test]
    fn the_digest_depends_on_content_and_not_on_the_route() {
        let first = dead_letter(
            "amqp:tenure.events.0",
            &[("cloudEvents_id", "1"), ("x-delivery-count", "0")],
        );
        let again = dead_letter(
            "amqp:tenure.events.3",
            &[("x-delivery-count", "7"), ("cloudEvents_id", "1")],
        );
        let other = dead_letter("amqp:tenure.events.0", &[("cloudEvents_id", "2")]);
        let elsewhere = dead_letter("http", &[("cloudEvents_id", "1")]);
        assert_eq!(digest(&first), digest(&again));
        assert_ne!(digest(&first), digest(&other));
        assert_ne!(digest(&first), digest(&elsewhere));
    }
}
