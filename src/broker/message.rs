//! Messages as RabbitMQ delivers them, adapted to the wire decoder.

use std::borrow::Cow;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::metrics;
use super::properties::RawProperties;
use super::topology::DEAD;
use crate::domain::id::clip;
use crate::engine::Incoming;
use crate::store::{DeadLetter, body_digest, hex};
use crate::wire::{
    CONTENT_ENCODING, Decoded, Decoder, EventError, Headers, Message, find, is_plain_encoding, stored_value,
};

/// The metadata of a message: its AMQP headers, if any, and its content encoding.
pub(super) struct AmqpHeaders<'a> {
    table: Option<&'a FieldTable>,
    content_encoding: Option<&'a str>,
}

/// Headers that RabbitMQ adds when it dead-letters a message; the reason of the dead letter has the same facts as
/// text.
const DEATH_HEADERS: [&str; 3] = ["x-death", "x-first-death-", "x-last-death-"];

/// How often a message of the dead queue is tried as an event. More than once, because a worker may stop at any moment;
/// not often, because the message may be the cause of worker crashes.
const RETRIES: i64 = 3;

impl<'a> AmqpHeaders<'a> {
    fn of(properties: &'a BasicProperties) -> Self {
        let table = properties.headers().as_ref();
        let encoding = properties.content_encoding().as_ref().map(ShortString::as_str);
        Self {
            table,
            content_encoding: encoding.filter(|encoding| !is_plain_encoding(encoding)),
        }
    }

    fn get(&self, name: &str) -> Option<&'a AMQPValue> {
        self.table?.inner().get(name)
    }

    /// Headers with a value, and their values as bytes.
    fn values(&self) -> impl Iterator<Item = (&'a str, Cow<'a, [u8]>)> {
        let table = self.table.into_iter().flatten();
        table.filter_map(|(name, value)| Some((name.as_str(), bytes(value)?)))
    }
}

impl Headers for AmqpHeaders<'_> {
    fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, EventError> {
        find(name, self.values())
    }

    fn content_encoding(&self) -> Option<&str> {
        self.content_encoding
            .or_else(|| match self.get(CONTENT_ENCODING)? {
                AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
                _ => None,
            })
    }

    fn stored_headers(&self) -> Vec<(String, String)> {
        let property = self
            .content_encoding
            .map(|encoding| (CONTENT_ENCODING.to_owned(), encoding.to_owned()));
        let headers = self
            .values()
            .filter(|(name, _)| !DEATH_HEADERS.iter().any(|death| name.starts_with(death)))
            .map(|(name, value)| (name.to_owned(), stored_value(name, &value)));
        property.into_iter().chain(headers).collect()
    }
}

/// A header's value as bytes. None: the header has no value and counts as absent.
fn bytes(value: &AMQPValue) -> Option<Cow<'_, [u8]>> {
    match value {
        AMQPValue::LongString(text) => Some(Cow::Borrowed(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => Some(Cow::Borrowed(bytes.as_slice())),
        AMQPValue::Void => None,
        value => Some(Cow::Owned(shown(value).into_bytes())),
    }
}

/// The queue of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub queue: String,
    origin: String,
}

impl Source {
    pub fn of_queue(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            origin: format!("amqp:{queue}"),
        }
    }

    /// Whether this is the queue for the messages that RabbitMQ dead-letters.
    pub fn is_dead(&self) -> bool {
        self.queue == DEAD
    }

    /// Decodes a delivery. A `flaw` of its properties makes it a dead letter, whatever its content.
    pub fn read(
        &self,
        decoder: &Decoder,
        delivery: &Delivery,
        flaw: Option<&str>,
    ) -> Result<Decoded, DeadLetter> {
        match flaw {
            Some(flaw) => Err(self.dead(delivery, flaw.to_owned())),
            None => self.read_parts(decoder, &delivery.properties, &delivery.data),
        }
    }

    fn read_parts(
        &self,
        decoder: &Decoder,
        properties: &BasicProperties,
        body: &[u8],
    ) -> Result<Decoded, DeadLetter> {
        let headers = AmqpHeaders::of(properties);
        let message = self.message(properties, &headers, body);
        if self.is_dead() && !is_to_be_retried(&headers) {
            return Err(message.dead(death(&headers)));
        }
        let read = decoder.event(message);
        if self.is_dead() {
            return read.map_err(|_| message.dead(death(&headers)));
        }
        read
    }

    pub fn dead(&self, delivery: &Delivery, reason: String) -> DeadLetter {
        let headers = AmqpHeaders::of(&delivery.properties);
        self.message(&delivery.properties, &headers, &delivery.data)
            .dead(reason)
    }

    /// A dead letter for a message that cannot be stored as it is: up to `most` of its bytes in hexadecimal, and no
    /// headers.
    pub fn hex(&self, delivery: &Delivery, most: usize, reason: &str) -> DeadLetter {
        let body = &delivery.data[..delivery.data.len().min(most)];
        let shown = crate::wire::plain(reason);
        DeadLetter {
            origin: self.origin.clone(),
            // The store may have rejected the message because of it.
            source: None,
            content_type: None,
            headers: Vec::new(),
            body: hex(body).into_bytes(),
            reason: format!(
                "{shown}; {} of its {} bytes (SHA-256 {}) are stored in hexadecimal (`xxd -r -p` decodes it)",
                body.len(),
                delivery.data.len(),
                body_digest(&delivery.data)
            ),
            retry_at: None,
        }
    }

    fn message<'a>(
        &'a self,
        properties: &'a BasicProperties,
        headers: &'a AmqpHeaders<'a>,
        body: &'a [u8],
    ) -> Message<'a, AmqpHeaders<'a>> {
        Message {
            origin: &self.origin,
            content_type: properties.content_type().as_ref().map(ShortString::as_str),
            headers,
            body,
        }
    }
}

/// Decodes a message as the queue's lane does.
#[must_use]
pub fn read(queue: &str, decoder: &Decoder, properties: &BasicProperties, body: &[u8]) -> Incoming {
    Source::of_queue(queue)
        .read_parts(decoder, properties, body)
        .into()
}

/// Decodes the properties of a delivery that the client library delivered without them. Returns what is wrong with
/// them, if anything.
pub(super) fn salvage(source: &Source, properties: RawProperties, delivery: &mut Delivery) -> Option<String> {
    let salvaged = properties.salvage();
    delivery.properties = salvaged.properties;
    let flaw = salvaged.flaw?;
    let queue = source.queue.as_str();
    ::metrics::counter!(metrics::UNREADABLE, "queue" => queue.to_owned()).increment(1);
    Some(flaw)
}

/// Whether a message of the dead queue is ingested if it is a valid event: RabbitMQ dead-lettered it for a reason that
/// is unrelated to its content (too many worker restarts, a full queue, a policy), and the dead queue has not delivered
/// it too often.
fn is_to_be_retried(headers: &AmqpHeaders<'_>) -> bool {
    let deliveries = match headers.get("x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => (*count).into(),
        _ => 0,
    };
    headers.get("x-death").is_some() && deliveries < RETRIES
}

/// Why RabbitMQ dead-lettered a message. The newest entry of `x-death` is first.
fn death(headers: &AmqpHeaders<'_>) -> String {
    let last = match headers.get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice().first(),
        _ => None,
    };
    // Publishers can send these headers too.
    let brief = |value: &AMQPValue| clip(&shown(value));
    let field = |name: &str| match last {
        Some(AMQPValue::FieldTable(death)) => death.inner().get(name).map(brief),
        _ => None,
    };
    let reason = field("reason").or_else(|| headers.get("x-first-death-reason").map(brief));
    let queue = field("queue").or_else(|| headers.get("x-first-death-queue").map(brief));
    let queue = queue.as_deref().unwrap_or("its queue");
    match reason.as_deref() {
        Some("delivery_limit") => format!(
            "RabbitMQ dead-lettered it: {queue} delivered it repeatedly, and no worker acknowledged it; look for \
             workers that crashed or lost their connection"
        ),
        Some("rejected") => {
            format!("a worker rejected it from {queue} because the store refused it; its log has the reason")
        }
        Some("expired") => format!("it waited in {queue} for longer than its time to live"),
        Some("maxlen") => format!("{queue} was full"),
        Some(other) => format!("RabbitMQ moved it from {queue} to {DEAD}: {other}"),
        None => format!("it was found in {DEAD} without a record of the reason"),
    }
}

/// Nesting beyond this depth is not legitimate: deeper content is omitted.
const DEEPEST: u32 = 16;

/// A header's value as text.
fn shown(value: &AMQPValue) -> String {
    shown_to(value, DEEPEST)
}

fn shown_to(value: &AMQPValue, deeper: u32) -> String {
    match value {
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if deeper == 0 => "…".into(),
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        // The AMQP binding of CloudEvents allows it for `time`; AMQP 0.9.1 timestamps have whole seconds.
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .map_or_else(
                || seconds.to_string(),
                |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
            ),
        AMQPValue::DecimalValue(decimal) => format!("{}e-{}", decimal.value, decimal.scale),
        AMQPValue::FieldArray(values) => {
            let values: Vec<String> = values
                .as_slice()
                .iter()
                .map(|value| shown_to(value, deeper - 1))
                .collect();
            format!("[{}]", values.join(", "))
        }
        AMQPValue::FieldTable(table) => {
            let mut text = String::from("{");
            for (index, (name, value)) in table.into_iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                let _ = write!(text, "{comma}{name}: {}", shown_to(value, deeper - 1));
            }
            text + "}"
        }
        AMQPValue::Void => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Event;
    use crate::wire::Limits;

    fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn delivery(headers: FieldTable, body: &str) -> Delivery {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), false, body.into());
        delivery.properties = BasicProperties::default().with_headers(headers);
        delivery
    }

    fn read(queue: &str, delivery: &Delivery) -> Result<Event, DeadLetter> {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let read = Source::of_queue(queue).read(&Decoder::new(Limits::default(), now), delivery, None);
        read.map(|decoded| decoded.event)
    }

    #[test]
    fn binary_events_with_either_prefix_and_a_native_time() {
        for prefix in ["cloudEvents_", "cloudEvents:"] {
            let name = |name: &str| format!("{prefix}{name}");
            let mut headers = FieldTable::default();
            for (attribute, value) in [
                ("specversion", text("1.0")),
                ("id", AMQPValue::LongLongInt(7)),
                ("source", text("s")),
                ("type", text("consent.granted")),
                ("subject", text("acme/c")),
                ("time", AMQPValue::Timestamp(1_700_000_000)),
                ("sequence", AMQPValue::Void),
            ] {
                headers.insert(name(attribute).as_str().into(), value);
            }
            let event = read("tenure.events.0", &delivery(headers, "")).expect(prefix);
            assert_eq!(
                (&*event.id, event.time.timestamp(), event.sequence),
                ("7", 1_700_000_000, None)
            );
        }
    }

    #[test]
    fn an_attribute_that_is_not_text_is_named() {
        let headers = table(&[
            ("cloudEvents_specversion", text("1.0")),
            ("cloudEvents_id", AMQPValue::LongString(vec![0xff].into())),
        ]);
        let dead_letter = read("tenure.events.0", &delivery(headers, "")).unwrap_err();
        assert_eq!(dead_letter.reason, "the attribute `id` is not UTF-8");
        assert_eq!(dead_letter.origin, "amqp:tenure.events.0");
    }

    /// How the consumer decodes a message, and how a redrive decodes the dead letter that stores it.
    fn read_and_read_again(delivery: &Delivery) -> [Result<Event, DeadLetter>; 2] {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let decoder = Decoder::new(Limits::default(), now);
        let source = Source::of_queue("tenure.events.0");
        let dead_letter = source.dead(delivery, "by hand".into());
        [
            source.read(&decoder, delivery, None),
            decoder.again(&dead_letter).remove(0),
        ]
        .map(|read| read.map(|decoded| decoded.event))
    }

    #[test]
    fn a_redrive_reads_headers_as_the_consumer_does() {
        let good = |prefix: &str| {
            let mut headers = FieldTable::default();
            for (attribute, value) in [
                ("specversion", "1.0"),
                ("id", "a%20b"),
                ("source", "s"),
                ("type", "consent.granted"),
                ("subject", "acme/c"),
                ("time", "2026-03-01T11:00:00Z"),
            ] {
                headers.insert(format!("{prefix}{attribute}").as_str().into(), text(value));
            }
            headers
        };
        for (prefix, id) in [
            ("cloudEvents_", "a%20b"),
            ("cloudEvents:", "a%20b"),
            ("CloudEvents_", "a%20b"),
            ("ce-", "a b"),
        ] {
            let [read, again] = read_and_read_again(&delivery(good(prefix), ""));
            assert_eq!(&*read.as_ref().unwrap().id, id, "{prefix}");
            assert_eq!(read, again, "{prefix}");
        }
        let invalid = || AMQPValue::LongString(vec![b'a', 0xff].into());
        for (header, value, reason) in [
            ("cloudEvents_sequence", AMQPValue::Void, None),
            ("ce-id", text("x"), Some("`id` is given twice")),
            ("cloudEvents:id", text("x"), Some("`id` is given twice")),
            ("CLOUDEVENTS_ID", text("x"), Some("`id` is given twice")),
            ("cloudEvents_sequence", invalid(), Some("`sequence` is not UTF-8")),
            ("ce-sequence", invalid(), Some("`sequence` is not UTF-8")),
            (
                "ce-sequence",
                text("\"7"),
                Some("`sequence` is not a quoted string"),
            ),
            ("content-encoding", text("gzip"), Some("content encoding `gzip`")),
        ] {
            let mut headers = good("cloudEvents_");
            headers.insert(header.into(), value);
            let [read, again] = read_and_read_again(&delivery(headers, ""));
            assert_eq!(read, again, "{header}");
            match reason {
                None => assert!(read.is_ok(), "{read:?}"),
                Some(reason) => {
                    let dead_letter = read.unwrap_err();
                    assert!(dead_letter.reason.contains(reason), "{header}: {dead_letter:?}");
                }
            }
        }
    }

    #[test]
    fn an_encoded_body_is_a_dead_letter_also_on_redrive() {
        let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"consent.granted","subject":"a/c",
            "time":"2026-03-01T11:00:00Z"}"#;
        for (encoding, dead) in [
            ("gzip", true),
            ("Deflate", true),
            ("utf-8", false),
            ("identity", false),
        ] {
            let mut message = delivery(FieldTable::default(), event);
            message.properties = BasicProperties::default()
                .with_content_type("application/cloudevents+json".into())
                .with_content_encoding(encoding.into());
            let [read, again] = read_and_read_again(&message);
            assert_eq!(read, again);
            assert_eq!(read.is_err(), dead, "{encoding}");
            if let Err(dead_letter) = read {
                let words = format!("content encoding `{encoding}`");
                assert!(dead_letter.reason.contains(&words), "{dead_letter:?}");
            }
        }
    }

    #[test]
    fn a_dead_lettered_message_has_its_reason_and_its_original_content() {
        let death = table(&[
            ("reason", text("delivery_limit")),
            ("queue", text("tenure.events.3")),
        ]);
        let headers = table(&[
            ("partitionkey", text("acme/c")),
            (
                "x-death",
                AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()),
            ),
            ("x-first-death-reason", text("delivery_limit")),
        ]);
        let dead_letter = read(DEAD, &delivery(headers, "{}")).unwrap_err();
        assert!(
            dead_letter
                .reason
                .contains("tenure.events.3 delivered it repeatedly"),
            "{}",
            dead_letter.reason
        );
        assert_eq!(
            dead_letter.headers,
            [("partitionkey".to_owned(), "acme/c".to_owned())]
        );
        assert_eq!(dead_letter.body, b"{}");
    }

    #[test]
    fn values_are_shown_as_text() {
        let nested = table(&[("a", AMQPValue::Boolean(true)), ("b", text("x"))]);
        let array = vec![AMQPValue::FieldTable(nested), AMQPValue::LongInt(-1)];
        assert_eq!(
            shown(&AMQPValue::FieldArray(array.into())),
            "[{a: true, b: x}, -1]"
        );
        let mut deep = AMQPValue::Boolean(true);
        for _ in 0..100 {
            deep = AMQPValue::FieldArray(vec![deep].into());
        }
        assert_eq!(shown(&deep), "[".repeat(16) + "…" + &"]".repeat(16));
    }
}
