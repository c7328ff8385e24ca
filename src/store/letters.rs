//! What makes two dead letters the same letter: a redelivery must not fill the table.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::commit::DeadLetter;

/// A letter, how often it is in this commit, and the digest it is known by.
pub(super) struct Sighting<'a> {
    pub digest: [u8; 32],
    /// The last of those that are the same.
    pub letter: &'a DeadLetter,
    pub times: i64,
}

/// Each letter once, in the order of their first sighting.
pub(super) fn sightings(letters: &[DeadLetter]) -> Vec<Sighting<'_>> {
    let mut places = HashMap::new();
    let mut sightings: Vec<Sighting<'_>> = Vec::new();
    for letter in letters {
        let digest = digest(letter);
        let place = *places.entry(digest).or_insert(sightings.len());
        if let Some(sighting) = sightings.get_mut(place) {
            sighting.letter = letter;
            sighting.times += 1;
        } else {
            sightings.push(Sighting {
                digest,
                letter,
                times: 1,
            });
        }
    }
    sightings
}

/// By kind of origin, content type and body. Not by headers, which count deliveries, nor by the
/// reason, which a newer program may put better, nor by the lane or line, which may be another.
fn digest(letter: &DeadLetter) -> [u8; 32] {
    let kind = letter.origin.split(':').next().unwrap_or_default();
    let content_type = letter.content_type.as_deref().unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [kind.as_bytes(), content_type.as_bytes(), &letter.body] {
        // The length first, so that no part can pass for a piece of the next.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(origin: &str, content_type: Option<&str>, body: &str) -> DeadLetter {
        DeadLetter {
            origin: origin.into(),
            content_type: content_type.map(Into::into),
            headers: Vec::new(),
            body: body.into(),
            reason: "no JSON".into(),
        }
    }

    #[test]
    fn the_same_letter_from_another_lane_is_the_same() {
        let json = Some("application/json");
        let letters = [
            letter("amqp:tenure.events.0", json, "{"),
            letter("amqp:tenure.events.1", json, "{"),
            letter("http", json, "{"),
            letter("amqp:tenure.events.0", json, "{{"),
            letter("amqp:tenure.events.0", None, "{"),
        ];
        let sightings = sightings(&letters);
        let times: Vec<i64> = sightings.iter().map(|s| s.times).collect();
        assert_eq!(times, [2, 1, 1, 1]);
        assert_eq!(sightings[0].letter, &letters[1]);
    }
}
