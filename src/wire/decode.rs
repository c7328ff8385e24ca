//! Decodes messages into events or dead letters: no input is lost.

use std::fmt::Display;

use chrono::{DateTime, TimeDelta, Utc};

use super::attributes::Attributes;
use super::batch::TooManyEvents;
use super::described::source_of;
use super::headers::{Headers, Pairs, is_plain_encoding};
use super::members::Members;
use super::structured::utf8;
use super::{BATCH, Decoded, Decoder, EventError, STRUCTURED};
use crate::domain::Event;
use crate::domain::id::clip;
use crate::domain::time::rfc3339;
use crate::store::DeadLetter;

/// A message from a transport.
#[derive(Debug)]
pub struct Message<'a, H: ?Sized> {
    /// The origin of the message: `amqp:tenure.events.0`, `http`, `file:events.ndjson:17` …
    pub origin: &'a str,
    pub content_type: Option<&'a str>,
    pub headers: &'a H,
    pub body: &'a [u8],
}

/// Why an event is too far ahead of the clock, and until when: its clock is ahead, or the local clock is behind.
struct Ahead {
    reason: String,
    retry_at: DateTime<Utc>,
}

impl<H: ?Sized> Clone for Message<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: ?Sized> Copy for Message<'_, H> {}

impl<H: Headers + ?Sized> Message<'_, H> {
    /// The message as a dead letter.
    #[must_use]
    pub fn dead(&self, reason: impl Display) -> DeadLetter {
        let dead_letter = DeadLetter {
            origin: self.origin.to_owned(),
            source: None,
            content_type: self.content_type.map(|text| storable(text.to_owned())),
            headers: self
                .headers
                .stored_headers()
                .into_iter()
                .map(|(name, value)| (storable(name), storable(value)))
                .collect(),
            body: self.body.to_vec(),
            reason: plain(&reason.to_string()),
            retry_at: None,
        };
        DeadLetter {
            source: source_of(&dead_letter),
            ..dead_letter
        }
    }

    pub(super) fn is(&self, content_type: &str) -> bool {
        let bare = |text: &'_ str| text.split(';').next().unwrap_or_default().trim().len();
        self.content_type
            .is_some_and(|text| text.trim_start()[..bare(text)].eq_ignore_ascii_case(content_type))
    }
}

impl Decoder {
    /// Decodes one event, in structured or in binary mode.
    ///
    /// # Errors
    /// The dead letter for a message that is not a valid event.
    pub fn event<H: Headers + ?Sized>(&self, message: Message<'_, H>) -> Result<Decoded, DeadLetter> {
        let decoded = self.one(message).map_err(|reason| message.dead(reason))?;
        match self.ahead(&decoded.event) {
            None => Ok(decoded),
            Some(ahead) => Err(DeadLetter {
                retry_at: Some(ahead.retry_at),
                ..message.dead(ahead.reason)
            }),
        }
    }

    /// Whether an event is too far ahead of the clock. Clocks differ, and most early events become valid a little
    /// later.
    fn ahead(&self, event: &Event) -> Option<Ahead> {
        let skew = TimeDelta::from_std(self.limits.max_clock_skew).unwrap_or(TimeDelta::MAX);
        let ripe = event.time.checked_sub_signed(skew)?;
        if ripe <= self.now {
            return None;
        }
        Some(Ahead {
            // The reason omits the current time: the same message must always give the same dead letter.
            reason: format!(
                "the attribute `time` is {}, more than {} ahead of this worker's clock; it is ingested when that time comes",
                rfc3339(event.time),
                humantime::format_duration(self.limits.max_clock_skew)
            ),
            retry_at: ripe,
        })
    }

    /// Decodes an HTTP body: one event, or a batch. An invalid member of a batch becomes a dead letter of its own; a
    /// body that is not a JSON array becomes a single dead letter.
    ///
    /// # Errors
    /// When a batch has more events than [`Decoder::with_max_events`] allows. The rest is not read.
    pub fn events<H: Headers + ?Sized>(
        &self,
        message: Message<'_, H>,
    ) -> Result<Vec<Result<Decoded, DeadLetter>>, TooManyEvents> {
        Ok(self.members(message)?.decode_all())
    }

    /// Decodes a line of an event file, which has one structured event per line. None: the line is blank.
    pub fn line(&self, origin: &str, line: &[u8]) -> Option<Result<Decoded, DeadLetter>> {
        let line = line.trim_ascii();
        (!line.is_empty()).then(|| self.alone(origin, line))
    }

    /// The dead letter for a line that is too long, with only its beginning.
    #[must_use]
    pub fn overlong(&self, origin: &str, beginning: &[u8], length: u64) -> DeadLetter {
        let limit = self.limits.max_event_bytes;
        let reason = format!(
            "the event is {length} bytes long; {limit} are allowed, and only the first {limit} are stored"
        );
        alone(
            origin,
            &beginning[..beginning.len().min(limit)],
            &Pairs::default(),
        )
        .dead(reason)
    }

    /// Decodes a dead letter again: the rules, or the clock, may have changed since.
    #[must_use]
    pub fn again(&self, dead_letter: &DeadLetter) -> Vec<Result<Decoded, DeadLetter>> {
        let headers = Pairs::from(dead_letter.headers.clone());
        self.members_again(dead_letter, &headers).decode_all()
    }

    /// The event of a dead letter that is only ahead of the clock. None: the dead letter is no valid event.
    #[must_use]
    pub fn early(&self, dead_letter: &DeadLetter) -> Option<Decoded> {
        let now = dead_letter.retry_at?;
        Self { now, ..*self }.again(dead_letter).pop()?.ok()
    }

    /// Splits a dead letter, whose headers are given, into its members.
    #[must_use]
    pub fn members_again<'a>(&self, dead_letter: &'a DeadLetter, headers: &'a Pairs) -> Members<'a, Pairs> {
        self.bounded_members(Message {
            origin: &dead_letter.origin,
            content_type: dead_letter.content_type.as_deref(),
            headers,
            body: &dead_letter.body,
        })
    }

    /// Decodes a structured event that has no message of its own.
    pub(super) fn alone(&self, origin: &str, json: &[u8]) -> Result<Decoded, DeadLetter> {
        self.event(alone(origin, json, &Pairs::default()))
    }

    fn one<H: Headers + ?Sized>(&self, message: Message<'_, H>) -> Result<Decoded, EventError> {
        check_encoding(message.headers)?;
        if message.is(STRUCTURED) {
            return self.decode_structured(message.body);
        }
        if message.is(BATCH) {
            return Err(EventError::UnexpectedBatch);
        }
        if message.headers.attribute("specversion")?.is_none() {
            return Err(EventError::NoEvent {
                content_type: message.content_type.map(clip),
            });
        }
        self.check_size(message.body)?;
        let data = utf8("the data", message.body)?;
        Attributes::of_headers(message.headers, message.content_type)?
            .event((!data.trim_ascii().is_empty()).then_some(data))
    }
}

/// The dead letter for a structured event that has no message of its own: a line of an event file, or a member of a batch.
#[must_use]
pub fn dead_event(origin: &str, json: &[u8], reason: impl Display) -> DeadLetter {
    alone(origin, json.trim_ascii(), &Pairs::default()).dead(reason)
}

fn alone<'a>(origin: &'a str, json: &'a [u8], no_headers: &'a Pairs) -> Message<'a, Pairs> {
    Message {
        origin,
        content_type: Some(STRUCTURED),
        headers: no_headers,
        body: json,
    }
}

pub(super) fn check_encoding<H: Headers + ?Sized>(headers: &H) -> Result<(), EventError> {
    match headers.content_encoding() {
        Some(encoding) if !is_plain_encoding(encoding) => Err(EventError::ContentEncoding(clip(encoding))),
        _ => Ok(()),
    }
}

/// A reason that is safe to show on a terminal and to store in a database: foreign control characters in it are
/// escaped.
#[must_use]
pub fn plain(reason: &str) -> String {
    let mut shown = String::with_capacity(reason.len());
    for c in reason.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// PostgreSQL cannot store a NUL in text; the body, stored as bytes, is unchanged.
fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\\u0000")
    } else {
        text
    }
}
