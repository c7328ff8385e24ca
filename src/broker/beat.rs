//! The content of a heartbeat: its send time and its routing key. It is signed because it travels with events:
//! permission to publish events must not include permission to move a watermark.

use chrono::{DateTime, SubsecRound, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::publisher::PERSISTENT;
use super::topology::HASHED_HEADER;
use crate::domain::time::rfc3339;
use crate::engine::ClockWatch;
use crate::store::{Watermark, hex};

const CONTENT_TYPE: &str = "application/vnd.tenure.heartbeat";

/// A heartbeat that arrived through a lane.
pub(super) struct Beat {
    /// The lane's watermark. None: the sender's clock is well ahead of the local clock, so the heartbeat's age is
    /// unknown.
    pub watermark: Option<Watermark>,
}

/// Writes heartbeats, and recognizes its own: those signed with the key in the store.
pub(super) struct Beats {
    key: String,
}

impl Beats {
    pub fn new(key: String) -> Self {
        Self { key }
    }

    /// A heartbeat for this moment. With a key, the broker routes it like the events of a client.
    pub fn write(&self, now: DateTime<Utc>, partition_key: Option<&str>) -> (BasicProperties, Vec<u8>) {
        let mut properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            // It survives a broker restart, like the messages before it in the queue.
            .with_delivery_mode(PERSISTENT)
            .with_app_id("tenure".into());
        if let Some(key) = partition_key {
            let mut headers = FieldTable::default();
            headers.insert(HASHED_HEADER.into(), AMQPValue::LongString(key.into()));
            properties = properties.with_headers(headers);
        }
        let at = rfc3339(now);
        let signature = self.signature(&at, partition_key.unwrap_or_default());
        (properties, format!("{at} {signature}").into_bytes())
    }

    /// Reads a heartbeat from a queue. None: the message is not a heartbeat, or is not signed with our key.
    pub fn read(
        &self,
        queue: &str,
        delivery: &Delivery,
        now: DateTime<Utc>,
        clock: &ClockWatch,
    ) -> Option<Beat> {
        let content_type = delivery.properties.content_type().as_ref();
        if content_type.map(ShortString::as_str) != Some(CONTENT_TYPE) {
            return None;
        }
        let headers = delivery.properties.headers().as_ref();
        let key = headers.and_then(|headers| match headers.inner().get(HASHED_HEADER) {
            Some(AMQPValue::LongString(key)) => Some(String::from_utf8_lossy(key.as_bytes()).into_owned()),
            _ => None,
        });
        let (at, signature) = std::str::from_utf8(&delivery.data).ok()?.split_once(' ')?;
        let expected = self.signature(at, key.as_deref().unwrap_or_default());
        if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
            return None;
        }
        let sent_at: DateTime<Utc> = at.parse().ok()?;
        let watermark = Watermark {
            lane: queue.to_owned(),
            at: sent_at.min(now).trunc_subsecs(6),
            partition_key: key,
        };
        Some(Beat {
            watermark: (!clock.is_in_the_future(sent_at)).then_some(watermark),
        })
    }

    /// The key is at both ends, which prevents length extension.
    fn signature(&self, at: &str, partition_key: &str) -> String {
        let key = &self.key;
        hex(&Sha256::digest(format!("{key}\n{at}\n{partition_key}\n{key}")))
    }
}
