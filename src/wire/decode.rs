//! From messages to events, or to dead letters: nothing that came in is lost.

use chrono::{DateTime, TimeDelta, Utc};

use super::attributes::Attributes;
use super::batch::TooManyEvents;
use super::headers::{Headers, Pairs, is_plain_encoding};
use super::structured::utf8;
use super::{BATCH, Decoder, STRUCTURED};
use crate::domain::Event;
use crate::domain::id::clip;
use crate::domain::time::rfc3339;
use crate::store::DeadLetter;

/// A message as a transport hands it over.
#[derive(Debug)]
pub struct Message<'a, H: ?Sized> {
    /// Where it came from: `amqp:tenure.events.0`, `http`, `file:events.ndjson:17` …
    pub origin: &'a str,
    pub content_type: Option<&'a str>,
    pub headers: &'a H,
    pub body: &'a [u8],
}

/// Why an event is too far ahead of the clock, and until when: its clock is ahead, or this one is behind.
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
    pub fn dead(&self, reason: impl Into<String>) -> DeadLetter {
        DeadLetter {
            origin: self.origin.to_owned(),
            content_type: self.content_type.map(|text| storable(text.to_owned())),
            headers: self
                .headers
                .stored_headers()
                .into_iter()
                .map(|(name, value)| (storable(name), storable(value)))
                .collect(),
            body: self.body.to_vec(),
            reason: plain(&reason.into()),
            retry_at: None,
        }
    }

    pub(super) fn is(&self, content_type: &str) -> bool {
        let bare = |text: &'_ str| text.split(';').next().unwrap_or_default().trim().len();
        self.content_type
            .is_some_and(|text| text.trim_start()[..bare(text)].eq_ignore_ascii_case(content_type))
    }
}

impl Decoder {
    /// Reads one event, in structured or in binary mode.
    ///
    /// # Errors
    /// The dead letter that the message is instead.
    pub fn event<H: Headers + ?Sized>(&self, message: Message<'_, H>) -> Result<Event, DeadLetter> {
        let event = self.one(message).map_err(|reason| message.dead(reason))?;
        match self.ahead(&event) {
            None => Ok(event),
            Some(ahead) => Err(DeadLetter {
                retry_at: Some(ahead.retry_at),
                ..message.dead(ahead.reason)
            }),
        }
    }

    /// Whether an event is too far ahead of the clock. Clocks differ, and most such events are right a little later.
    fn ahead(&self, event: &Event) -> Option<Ahead> {
        let skew = TimeDelta::from_std(self.limits.max_clock_skew).unwrap_or(TimeDelta::MAX);
        let ripe = event.time.checked_sub_signed(skew)?;
        if ripe <= self.now {
            return None;
        }
        Some(Ahead {
            // It does not contain the present: the same message again must give the same dead letter.
            reason: format!(
                "the attribute `time` is {}, more than {} ahead of this worker's clock; it is ingested when that time comes",
                rfc3339(event.time),
                humantime::format_duration(self.limits.max_clock_skew)
            ),
            retry_at: ripe,
        })
    }

    /// Reads what HTTP brings: one event, or a batch. A broken member of a batch is a dead letter of its own;
    /// what is no JSON array at all is one.
    ///
    /// # Errors
    /// When a batch has more events than [`Decoder::with_max_events`] allows. It is read up to there and no further.
    pub fn events<H: Headers + ?Sized>(
        &self,
        message: Message<'_, H>,
    ) -> Result<Vec<Result<Event, DeadLetter>>, TooManyEvents> {
        let members = self.members(message)?;
        Ok((0..members.count())
            .map(|member| members.decode(member))
            .collect())
    }

    /// Reads a line of a file of events, one structured event a line. None: the line is blank.
    pub fn line(&self, origin: &str, line: &[u8]) -> Option<Result<Event, DeadLetter>> {
        let line = line.trim_ascii();
        (!line.is_empty()).then(|| self.alone(origin, line))
    }

    /// What becomes of a line that is so long that only its beginning was read.
    #[must_use]
    pub fn overlong(&self, origin: &str, beginning: &[u8], length: u64) -> DeadLetter {
        let limit = self.limits.max_event_bytes;
        let message = Message {
            origin,
            content_type: Some(STRUCTURED),
            headers: &Pairs::default(),
            body: &beginning[..beginning.len().min(limit)],
        };
        message.dead(format!(
            "the event is {length} bytes long; {limit} are allowed, and only these are kept here"
        ))
    }

    /// Reads a dead letter once more: the rules, or the clock, may be others by now.
    #[must_use]
    pub fn again(&self, dead_letter: &DeadLetter) -> Vec<Result<Event, DeadLetter>> {
        let headers = Pairs::from(dead_letter.headers.clone());
        let message = Message {
            origin: &dead_letter.origin,
            content_type: dead_letter.content_type.as_deref(),
            headers: &headers,
            body: &dead_letter.body,
        };
        self.events(message)
            .unwrap_or_else(|error| vec![Err(message.dead(error.to_string()))])
    }

    /// A structured event without a message of its own.
    pub(super) fn alone(&self, origin: &str, json: &[u8]) -> Result<Event, DeadLetter> {
        self.event(Message {
            origin,
            content_type: Some(STRUCTURED),
            headers: &Pairs::default(),
            body: json,
        })
    }

    fn one<H: Headers + ?Sized>(&self, message: Message<'_, H>) -> Result<Event, String> {
        check_encoding(message.headers)?;
        if message.is(STRUCTURED) {
            return self.structured(message.body);
        }
        if message.is(BATCH) {
            return Err("a batch of events came where one event is expected; send them one by one".into());
        }
        if message.headers.attribute("specversion")?.is_none() {
            return Err(no_event(message.content_type));
        }
        self.check_size(message.body)?;
        let data = utf8("the data", message.body)?;
        Attributes::of_headers(message.headers, message.content_type)?
            .event((!data.trim_ascii().is_empty()).then_some(data))
    }
}

pub(super) fn check_encoding<H: Headers + ?Sized>(headers: &H) -> Result<(), String> {
    match headers.content_encoding() {
        Some(encoding) if !is_plain_encoding(encoding) => Err(format!(
            "the body has the content encoding `{}`, which Tenure does not decode; send it without one",
            clip(encoding)
        )),
        _ => Ok(()),
    }
}

fn no_event(content_type: Option<&str>) -> String {
    let found = content_type.map_or_else(
        || "has no content type".to_owned(),
        |text| format!("has the content type `{}`", clip(text)),
    );
    format!(
        "the message {found} and no header for `specversion`: an event has the content type {STRUCTURED}, or \
         its attributes in headers (cloudEvents_id … or ce-id …)"
    )
}

/// A reason as it may be shown on a terminal and kept in a database: foreign control characters in it are
/// written out.
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

/// PostgreSQL cannot keep a NUL in text; the body, which is bytes, stays as it came.
fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\\u0000")
    } else {
        text
    }
}
