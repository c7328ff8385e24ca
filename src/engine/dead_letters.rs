//! Dead letters as the command line and HTTP show them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Engine;
use crate::domain::time::rfc3339;
use crate::store::{DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, DeadLetterSummary, StoreError};

/// Dead letters that are read at a time.
const PAGE: u32 = 1_000;
/// Open dead letters that are grouped at most.
const MOST: u64 = 20_000;

/// What people read in place of the source of a message that names none.
pub const NO_SOURCE: &str = "no source";

/// What the dead letters of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DeadLetterGroupKey {
    /// The reason, with `…` for what differs between messages: `…` replaces quoted text and numbers.
    pub reason: String,
    /// The `source` of their events. None: they name none that can be read.
    pub source: Option<String>,
    /// The origin without the number of a queue or of a line: `amqp:tenure.events`.
    pub origin: String,
}

/// Open dead letters with the same reason, source and origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterGroup {
    #[serde(flatten)]
    pub key: DeadLetterGroupKey,
    /// The reason, with `…` only for what differs between these messages.
    pub common: String,
    pub count: u64,
    /// The first of them, in the order of their ids, at most five.
    pub first: Vec<i64>,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

/// The open dead letters by reason, source and origin, the largest group first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterGroups {
    pub groups: Vec<DeadLetterGroup>,
    pub total: u64,
    /// Whether these are all. Otherwise there are more than 20,000.
    pub complete: bool,
}

/// A part of a reason: words, or a value in quotes or of digits, which may differ between messages of one kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Words(&'a str),
    Value(&'a str),
}

fn parts(reason: &str) -> Vec<Part<'_>> {
    const QUOTES: [char; 2] = ['"', '`'];
    let is_in_number = |char: char| char.is_ascii_digit() || matches!(char, '.' | ':' | '-' | 'T' | 'Z');
    let mut parts = Vec::new();
    let mut rest = reason;
    while let Some(begin) = rest.find(|char: char| char.is_ascii_digit() || QUOTES.contains(&char)) {
        let quote = rest[begin..].chars().next().filter(|char| QUOTES.contains(char));
        let (words, from_value) = rest.split_at(begin + usize::from(quote.is_some()));
        let length = if let Some(quote) = quote {
            from_value.find(quote).unwrap_or(from_value.len())
        } else {
            let end = from_value
                .find(|char| !is_in_number(char))
                .unwrap_or(from_value.len());
            // A number or a time ends before the punctuation of the sentence.
            from_value[..end].trim_end_matches(['.', ':', '-']).len()
        };
        let (value, after) = from_value.split_at(length);
        let (closing, after) = after.split_at(quote.map_or(0, |_| after.len().min(1)));
        parts.extend([Part::Words(words), Part::Value(value), Part::Words(closing)]);
        rest = after;
    }
    parts.push(Part::Words(rest));
    parts
}

/// What a reason says, without what differs between messages.
fn reason_kind(reason: &str) -> String {
    let texts = parts(reason).into_iter().map(|part| match part {
        Part::Words(words) => words,
        Part::Value(_) => "…",
    });
    texts.collect()
}

/// What the reasons of a group have in common.
struct Common {
    /// One of them.
    reason: String,
    /// Whether the reasons differ in its parts, in order.
    differs: Vec<bool>,
}

impl Common {
    fn of(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            differs: vec![false; parts(reason).len()],
        }
    }

    fn add(&mut self, reason: &str) {
        if self.reason == reason {
            return;
        }
        let (own, other) = (parts(&self.reason), parts(reason));
        let is_words = |part: &Part<'_>| matches!(part, Part::Words(_));
        // A reason may itself have a `…`: then reasons of one kind may have other parts.
        let is_alike = own.len() == other.len()
            && own
                .iter()
                .zip(&other)
                .all(|(own, other)| !is_words(own) || own == other);
        for (place, differs) in self.differs.iter_mut().enumerate() {
            *differs |= !is_alike || own[place] != other[place];
        }
    }

    fn text(&self) -> String {
        let parts = parts(&self.reason).into_iter().zip(&self.differs);
        let texts = parts.map(|(part, differs)| match part {
            Part::Value(_) if *differs => "…",
            Part::Words(text) | Part::Value(text) => text,
        });
        texts.collect()
    }
}

/// What the reasons of dead letters of one group have in common, with `…` for what differs. Empty if there are none.
#[must_use]
pub fn common_reason(dead_letters: &[DeadLetterSummary]) -> String {
    let mut reasons = dead_letters.iter().map(|dead_letter| dead_letter.reason.as_str());
    let Some(mut common) = reasons.next().map(Common::of) else {
        return String::new();
    };
    reasons.for_each(|reason| common.add(reason));
    common.text()
}

/// The origin of a group of dead letters: `amqp:tenure.events` for `amqp:tenure.events.0`, and `file:events.ndjson` for
/// `file:events.ndjson:17`.
fn origin_kind(origin: &str) -> &str {
    origin
        .trim_end_matches(|char: char| char.is_ascii_digit())
        .strip_suffix(['.', ':'])
        .unwrap_or(origin)
}

impl DeadLetterGroupKey {
    /// The group of a dead letter.
    #[must_use]
    pub fn of(reason: &str, source: Option<&str>, origin: &str) -> Self {
        Self {
            reason: reason_kind(reason),
            source: source.map(str::to_owned),
            origin: origin_kind(origin).to_owned(),
        }
    }

    fn of_summary(dead_letter: &DeadLetterSummary) -> Self {
        Self::of(
            &dead_letter.reason,
            dead_letter.source.as_deref(),
            &dead_letter.origin,
        )
    }

    /// The source in words.
    #[must_use]
    pub fn source_name(&self) -> &str {
        self.source.as_deref().unwrap_or(NO_SOURCE)
    }
}

impl Engine {
    /// Groups the open dead letters, at most 20,000 of them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn dead_letter_groups(&self) -> Result<DeadLetterGroups, StoreError> {
        let mut found = DeadLetterGroups {
            complete: true,
            ..DeadLetterGroups::default()
        };
        let mut groups: BTreeMap<DeadLetterGroupKey, (DeadLetterGroup, Common)> = BTreeMap::new();
        self.visit_open(|dead_letter| {
            let key = DeadLetterGroupKey::of_summary(&dead_letter);
            let (group, common) = groups.entry(key.clone()).or_insert_with(|| {
                let group = DeadLetterGroup {
                    key,
                    common: String::new(),
                    count: 0,
                    first: Vec::new(),
                    first_seen: dead_letter.first_seen_at,
                    last_seen: dead_letter.last_seen_at,
                };
                (group, Common::of(&dead_letter.reason))
            });
            common.add(&dead_letter.reason);
            group.count += 1;
            if group.first.len() < 5 {
                group.first.push(dead_letter.id);
            }
            group.first_seen = group.first_seen.min(dead_letter.first_seen_at);
            group.last_seen = group.last_seen.max(dead_letter.last_seen_at);
            found.total += 1;
            found.complete = found.total < MOST;
            found.complete
        })
        .await?;
        let groups = groups.into_values().map(|(group, common)| DeadLetterGroup {
            common: common.text(),
            ..group
        });
        found.groups = groups.collect();
        found.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        Ok(found)
    }

    /// The open dead letters of a group, in the order of their ids, after an id, at most `limit`. Reads at most 20,000 dead
    /// letters.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn dead_letters_of_group(
        &self,
        key: &DeadLetterGroupKey,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetterSummary>, StoreError> {
        let (mut found, mut read) = (Vec::new(), 0);
        self.visit_open(|dead_letter| {
            read += 1;
            if dead_letter.id > after && DeadLetterGroupKey::of_summary(&dead_letter) == *key {
                found.push(dead_letter);
            }
            found.len() < limit && read < MOST
        })
        .await?;
        Ok(found)
    }

    /// Passes open dead letters to `visit` in the order of their ids, until it returns false.
    async fn visit_open(
        &self,
        mut visit: impl FnMut(DeadLetterSummary) -> bool + Send,
    ) -> Result<(), StoreError> {
        let filter = DeadLetterFilter {
            status: Some(DeadLetterStatus::Open),
        };
        let mut after = 0;
        loop {
            let page = self.store.dead_letters(&filter, after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for dead_letter in page {
                after = dead_letter.id;
                if !visit(dead_letter) {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// A dead letter without headers and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct DeadLetterView {
    pub id: i64,
    pub status: DeadLetterStatus,
    /// Where the message came from.
    #[schema(example = "amqp:tenure.events.0")]
    pub origin: String,
    /// The `source` of its event. Null: the message names none that can be read.
    #[schema(required, example = "/account-app")]
    pub source: Option<String>,
    /// Why it is a dead letter.
    pub reason: String,
    #[schema(required)]
    pub content_type: Option<String>,
    /// Length of the body as received, in bytes.
    pub bytes: i64,
    /// How many times the same message was received.
    pub times_seen: i64,
    #[schema(format = DateTime)]
    pub first_seen_at: String,
    #[schema(format = DateTime)]
    pub last_seen_at: String,
    /// When it was redriven successfully or discarded.
    #[schema(required, format = DateTime)]
    pub resolved_at: Option<String>,
    /// When it was last redriven.
    #[schema(required, format = DateTime)]
    pub redriven_at: Option<String>,
    /// The outcome of the last redrive.
    #[schema(required)]
    pub redrive_outcome: Option<String>,
    /// When it is redriven automatically, while it is open: its event is ahead of the clock.
    #[schema(required, format = DateTime)]
    pub retry_at: Option<String>,
}

/// A dead letter with headers and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterDetails {
    #[serde(flatten)]
    pub summary: DeadLetterView,
    /// A list, because two headers may have the same name.
    pub headers: Vec<HeaderView>,
    /// The body as text; invalid UTF-8 is replaced.
    pub body: String,
}

/// A header of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderView {
    pub name: String,
    pub value: String,
}

impl From<DeadLetterSummary> for DeadLetterView {
    fn from(dead_letter: DeadLetterSummary) -> Self {
        Self {
            id: dead_letter.id,
            status: dead_letter.status,
            origin: dead_letter.origin,
            source: dead_letter.source,
            reason: dead_letter.reason,
            content_type: dead_letter.content_type,
            bytes: dead_letter.bytes,
            times_seen: dead_letter.times_seen,
            first_seen_at: rfc3339(dead_letter.first_seen_at),
            last_seen_at: rfc3339(dead_letter.last_seen_at),
            resolved_at: dead_letter.resolved_at.map(rfc3339),
            redriven_at: dead_letter.redriven_at.map(rfc3339),
            redrive_outcome: dead_letter.redrive_outcome,
            retry_at: dead_letter.retry_at.map(rfc3339),
        }
    }
}

impl From<DeadLetterRecord> for DeadLetterDetails {
    fn from(record: DeadLetterRecord) -> Self {
        let dead_letter = record.dead_letter;
        Self {
            headers: dead_letter
                .headers
                .into_iter()
                .map(|(name, value)| HeaderView { name, value })
                .collect(),
            body: String::from_utf8_lossy(&dead_letter.body).into_owned(),
            summary: DeadLetterView::from(DeadLetterSummary {
                id: record.id,
                origin: dead_letter.origin,
                source: dead_letter.source,
                content_type: dead_letter.content_type,
                reason: dead_letter.reason,
                status: record.status,
                bytes: record.bytes,
                times_seen: record.times_seen,
                first_seen_at: record.first_seen_at,
                last_seen_at: record.last_seen_at,
                resolved_at: record.resolved_at,
                redriven_at: record.redriven_at,
                redrive_outcome: record.redrive_outcome,
                retry_at: dead_letter.retry_at,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_what_messages_have_in_common() {
        for (reason, kind) in [
            ("unknown type `client.x`", "unknown type `…`"),
            (
                "line 3, column 17: expected \"a\"",
                "line …, column …: expected \"…\"",
            ),
            ("open `quote", "open `…"),
            ("later than 2026-03-05T09:00:00Z: 12", "later than …: …"),
            ("ends with a quote \"", "ends with a quote \"…"),
            ("", ""),
        ] {
            assert_eq!(reason_kind(reason), kind);
        }
        let mut common = Common::of("the subject `a` has 1 of `x/y`");
        assert_eq!(common.text(), "the subject `a` has 1 of `x/y`");
        common.add("the subject `b` has 1 of `x/y`");
        common.add("the subject `a` has 1 of `x/y`");
        assert_eq!(common.text(), "the subject `…` has 1 of `x/y`");
        let mut common = Common::of("a 5 b");
        common.add("a … b");
        assert_eq!(common.text(), "a … b");
        for (origin, kind) in [
            ("amqp:tenure.events.0", "amqp:tenure.events"),
            ("file:events.ndjson:17", "file:events.ndjson"),
            ("http", "http"),
        ] {
            assert_eq!(origin_kind(origin), kind);
        }
    }
}
