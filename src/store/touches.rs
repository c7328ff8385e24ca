//! Touches: a partner's entries into an account, the hottest event. They renew access and do nothing
//! else, so they are kept as bare moments, packed into one narrow row a client, and rewrite neither
//! a document nor a deadline. None is ever dropped: a late event may still make any of them matter.

use chrono::{DateTime, Utc};

use crate::domain::event::{AccessedBy, NameVerdict};
use crate::domain::{ClientKey, Event, EventKind, Position, Sequence};

/// How many touches a run holds before it is put away.
pub const RUN_LENGTH: usize = 128;

/// The source that stands for the one that a packed touch no longer has. It is reserved: the decoder refuses events
/// with it.
pub const PACKED_SOURCE: &str = "tenure:touch";

/// One entry: all that its place in the history depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touch {
    pub time: DateTime<Utc>,
    pub sequence: Option<Sequence>,
}

impl Touch {
    /// The touch that an event is, if it is one that can be packed.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let packable = event.is_touch() && event.sequence.as_ref().is_none_or(|s| s.len() < 255);
        packable.then(|| Self {
            time: event.time,
            sequence: event.sequence.clone(),
        })
    }

    /// Whether an event of a history came out of a run: it has no row of its own in the log.
    #[must_use]
    pub fn is_packed(event: &Event) -> bool {
        &*event.source == PACKED_SOURCE
    }

    /// The touch as an event again. Its source and id are not kept; these stand for them.
    #[must_use]
    pub fn to_event(&self, key: &ClientKey) -> Event {
        let sequence = self.sequence.as_deref().unwrap_or_default();
        Event {
            source: PACKED_SOURCE.into(),
            id: format!("{}/{sequence}", self.time.timestamp_micros()).into(),
            key: key.clone(),
            time: self.time,
            sequence: self.sequence.clone(),
            kind: EventKind::AccountAccessed {
                by: AccessedBy::Partner,
                user: None,
            },
            name_verdict: NameVerdict::default(),
        }
    }

    #[must_use]
    pub fn position(&self, key: &ClientKey) -> Position {
        self.to_event(key).position()
    }
}

/// A stretch of time in which a touch of a client renews its access and does nothing else, so that the client need not be
/// read for it: its access is enabled, it has seen nothing later, and no timer is due. Whatever else is written of the
/// client ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewOnlyWindow {
    /// The last touch: one must be later.
    pub after: DateTime<Utc>,
    /// When the next timer is due, had there been no more touches: one must be earlier.
    pub before: DateTime<Utc>,
    /// How many policies were recorded when this was computed; under others it does not count.
    pub policies: i64,
}

/// Touches of one client, to be kept without reading it.
#[derive(Clone, Debug)]
pub struct Renewal {
    pub key: ClientKey,
    /// Not empty.
    pub touches: Touches,
}

impl Renewal {
    /// The times of the first touch and the last.
    pub(super) fn span(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let touches = &self.touches.0;
        Some((touches.first()?.time, touches.last()?.time))
    }
}

/// Bytes of a packed run up to which touches are added to it without reading the client: it is put away when the client is
/// read, and must not be full before.
pub(super) const LONGEST_OPEN_RUN: i64 = 9 * 127;
const _: () = assert!(
    RUN_LENGTH == 128,
    "the longest open run is one touch short of a full one"
);

/// A run of touches, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touches(Vec<Touch>);

impl Touches {
    #[must_use]
    pub fn last(&self) -> Option<&Touch> {
        self.0.last()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Touch> {
        self.0.iter()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= RUN_LENGTH
    }

    /// Puts a touch in its place. False: it is there already.
    pub fn insert(&mut self, touch: Touch) -> bool {
        match self.0.binary_search(&touch) {
            Ok(_) => false,
            Err(place) => {
                self.0.insert(place, touch);
                true
            }
        }
    }

    /// Packs the run: for each touch its time (microseconds since 1970, 8 bytes, little endian), the
    /// length of its sequence plus one (1 byte; 0: it has none), and the sequence.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 9);
        for touch in &self.0 {
            bytes.extend_from_slice(&touch.time.timestamp_micros().to_le_bytes());
            let sequence = touch.sequence.as_deref();
            bytes.push(sequence.map_or(0, |s| u8::try_from(s.len() + 1).unwrap_or(u8::MAX)));
            bytes.extend_from_slice(sequence.unwrap_or_default().as_bytes());
        }
        bytes
    }

    /// # Errors
    /// In words, when the bytes were not made by [`Touches::pack`].
    pub fn unpack(mut bytes: &[u8]) -> Result<Self, String> {
        let mut touches = Vec::with_capacity(bytes.len() / 9);
        while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
            let [micros @ .., length] = head;
            let time = DateTime::from_timestamp_micros(i64::from_le_bytes(*micros))
                .ok_or("a time is out of range")?;
            let (sequence, rest) = match usize::from(*length) {
                0 => (None, rest),
                n => {
                    let (text, rest) = rest.split_at_checked(n - 1).ok_or("a sequence is cut off")?;
                    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
                    (Some(text.into()), rest)
                }
            };
            touches.push(Touch { time, sequence });
            bytes = rest;
        }
        if bytes.is_empty() {
            // Earlier versions compared sequences as text, and packed touches of one moment in that order.
            if !touches.is_sorted() {
                touches.sort_unstable();
            }
            Ok(Self(touches))
        } else {
            Err("a touch is cut off".into())
        }
    }
}

impl Extend<Touch> for Touches {
    fn extend<I: IntoIterator<Item = Touch>>(&mut self, touches: I) {
        for touch in touches {
            self.insert(touch);
        }
    }
}

impl FromIterator<Touch> for Touches {
    fn from_iter<I: IntoIterator<Item = Touch>>(touches: I) -> Self {
        let mut run = Self::default();
        run.extend(touches);
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_survives_packing() {
        let touch = |micros, sequence: Option<&str>| Touch {
            time: DateTime::from_timestamp_micros(micros).unwrap(),
            sequence: sequence.map(Into::into),
        };
        let run: Touches = [
            touch(5, None),
            touch(-1, Some("ü")),
            touch(5, Some("")),
            touch(5, None),
        ]
        .into_iter()
        .collect();
        assert_eq!(run.0.len(), 3);
        assert_eq!(Touches::unpack(&run.pack()), Ok(run.clone()));
        assert_eq!(Touches::unpack(&[]), Ok(Touches::default()));
        assert!(Touches::unpack(&run.pack()[1..]).is_err());
    }

    #[test]
    fn a_run_that_was_packed_in_another_order_is_sorted() {
        let at = |sequence: &str| Touch {
            time: DateTime::from_timestamp_micros(5).unwrap(),
            sequence: Some(sequence.into()),
        };
        let packed = Touches(vec![at("10"), at("9")]).pack();
        let mut run = Touches::unpack(&packed).unwrap();
        assert_eq!(run.last(), Some(&at("10")));
        assert!(!run.insert(at("10")) && !run.insert(at("9")));
    }
}
