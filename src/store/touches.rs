//! Touches: a partner's entries into an account, by far the most frequent event. They only renew access, so they are
//! stored as bare times, packed into one narrow row for each client, and rewrite neither a document nor a deadline.
//! None is ever dropped: a late event can make any of them matter.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::clients::Logged;
use super::columns::{Moment, RowId, row};
use super::commit::RecordedOutcome;
use crate::domain::event::{AccessedBy, NameVerdict};
use crate::domain::{Actor, ClientKey, Event, EventKind, Position, Sequence};

/// The number of touches of a full run.
pub const RUN_LENGTH: usize = 128;

/// The source of unpacked touches: packing drops the real one. It is reserved, and the decoder refuses events with it.
pub const PACKED_SOURCE: &str = "tenure:touch";

/// One touch: the fields that determine its position in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "TouchText", into = "TouchText")]
pub struct Touch {
    pub time: DateTime<Utc>,
    pub sequence: Option<Sequence>,
}

/// A touch in JSON: its time, or its time and its sequence.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum TouchText {
    Time(DateTime<Utc>),
    Sequenced(DateTime<Utc>, Sequence),
}

impl From<TouchText> for Touch {
    fn from(text: TouchText) -> Self {
        let (time, sequence) = match text {
            TouchText::Time(time) => (time, None),
            TouchText::Sequenced(time, sequence) => (time, Some(sequence)),
        };
        Self { time, sequence }
    }
}

impl From<Touch> for TouchText {
    fn from(touch: Touch) -> Self {
        match touch.sequence {
            None => Self::Time(touch.time),
            Some(sequence) => Self::Sequenced(touch.time, sequence),
        }
    }
}

impl Touch {
    /// The touch of an event, if the event can be packed.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        // Packing drops the actor, by which a touch may be refused.
        let packable = event.is_touch()
            && event.actor.may_cause(&event.kind)
            && event.sequence.as_ref().is_none_or(|s| s.len() < 255);
        packable.then(|| Self {
            time: event.time,
            sequence: event.sequence.clone(),
        })
    }

    /// Whether an event of a history was unpacked from a run. It has no row in the event log.
    #[must_use]
    pub fn is_packed(event: &Event) -> bool {
        &*event.source == PACKED_SOURCE
    }

    /// The touch as an event. Packing drops source and id; placeholders replace them.
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
            actor: Actor::default(),
            name_verdict: NameVerdict::default(),
        }
    }

    #[must_use]
    pub fn position(&self, key: &ClientKey) -> Position {
        self.to_event(key).position()
    }
}

/// A window of time in which a touch only renews the client's access, so that it is stored without reading the client:
/// access is enabled, the client has seen no later event, and no timer is due. Any other write of the client ends the
/// window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewOnlyWindow {
    /// The last touch. The next one must be later.
    pub after: DateTime<Utc>,
    /// When the next timer is due if no touch comes. The next touch must be earlier.
    pub before: DateTime<Utc>,
    /// The number of recorded policies when the window was computed. It is invalid under any other number.
    pub policies: i64,
}

/// Touches of one client to store without reading it.
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

/// The longest packed run, in bytes, to which touches are added without reading the client. Only a write of the client
/// closes a run, so it must not be full before.
pub(super) const LONGEST_OPEN_RUN: i64 = 9 * 127;
const _: () = assert!(
    RUN_LENGTH == 128,
    "the longest open run is one touch short of a full one"
);

/// A run of touches, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Touch>")]
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

    /// Inserts a touch in order. False: the run has it already.
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

    /// The most touches that this many bytes can hold.
    pub(super) fn most_in(packed: &[u8]) -> usize {
        packed.len() / 9
    }

    /// # Errors
    /// When [`Touches::pack`] did not produce the bytes.
    pub fn unpack(mut bytes: &[u8]) -> Result<Self, RunError> {
        let mut touches = Vec::with_capacity(Self::most_in(bytes));
        while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
            let [micros @ .., length] = head;
            let time = DateTime::from_timestamp_micros(i64::from_le_bytes(*micros)).ok_or(RunError::Time)?;
            let (sequence, rest) = match usize::from(*length) {
                0 => (None, rest),
                n => {
                    let (text, rest) = rest.split_at_checked(n - 1).ok_or(RunError::SequenceCutOff)?;
                    let text = std::str::from_utf8(text)?;
                    (Some(text.into()), rest)
                }
            };
            touches.push(Touch { time, sequence });
            bytes = rest;
        }
        if bytes.is_empty() {
            // Earlier versions compared sequences as text, and sorted touches of one moment that way.
            if !touches.is_sorted() {
                touches.sort_unstable();
            }
            Ok(Self(touches))
        } else {
            Err(RunError::TouchCutOff)
        }
    }
}

/// Why bytes are not a packed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("a time is out of range")]
    Time,
    #[error("a sequence is truncated")]
    SequenceCutOff,
    #[error(transparent)]
    NotUtf8(#[from] std::str::Utf8Error),
    #[error("a touch is truncated")]
    TouchCutOff,
}

impl Extend<Touch> for Touches {
    fn extend<I: IntoIterator<Item = Touch>>(&mut self, touches: I) {
        for touch in touches {
            self.insert(touch);
        }
    }
}

impl From<Vec<Touch>> for Touches {
    fn from(touches: Vec<Touch>) -> Self {
        touches.into_iter().collect()
    }
}

impl FromIterator<Touch> for Touches {
    fn from_iter<I: IntoIterator<Item = Touch>>(touches: I) -> Self {
        let mut run = Self::default();
        run.extend(touches);
        run
    }
}

row! {
    /// The touches of a client, and the window in its `renew_…` columns.
    TouchesRow<T> {
        open_run: Vec<u8>,
        renew_after: Option<T>,
        renew_before: Option<T>,
        renew_policies: Option<i64>,
    }
}

/// Reads a client's touches, and its window, if all parts of it are present.
pub(super) fn read_touches<T: Moment>(
    key: &ClientKey,
    row: TouchesRow<T>,
) -> Result<(Touches, Option<RenewOnlyWindow>)> {
    let id = RowId {
        table: "touches",
        key,
    };
    let after = id.optional_moment("renew_after", row.renew_after)?;
    let before = id.optional_moment("renew_before", row.renew_before)?;
    let renew_only = after
        .zip(before)
        .zip(row.renew_policies)
        .map(|((after, before), policies)| RenewOnlyWindow {
            after,
            before,
            policies,
        });
    Ok((open_run(key, &row.open_run)?, renew_only))
}

/// Reads the open run of a client.
pub(super) fn open_run(key: &ClientKey, bytes: &[u8]) -> Result<Touches> {
    let id = RowId {
        table: "touches",
        key,
    };
    Touches::unpack(bytes).map_err(|error| id.unreadable("open_run", error))
}

/// Reads the touches of a run as events.
pub(super) fn read_run(key: &ClientKey, run: &[u8]) -> Result<Vec<Logged>> {
    let id = RowId {
        table: "touch_runs",
        key,
    };
    let touches = Touches::unpack(run).map_err(|error| id.unreadable("run", error))?;
    Ok(logged(&touches, key).collect())
}

/// As [`read_run`], but only the touches after a moment.
pub(super) fn read_run_after(
    key: &ClientKey,
    run: &[u8],
    after: Option<DateTime<Utc>>,
) -> Result<Vec<Logged>> {
    let mut touches = read_run(key, run)?;
    touches.retain(|logged| after.is_none_or(|after| logged.event.time > after));
    Ok(touches)
}

/// Touches as events of a history.
pub(super) fn logged(touches: &Touches, key: &ClientKey) -> impl Iterator<Item = Logged> {
    touches.iter().map(|touch| Logged {
        event: touch.to_event(key),
        outcome: RecordedOutcome::Applied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_restores_a_packed_run() {
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
    fn unpacking_sorts_a_run_of_an_earlier_version() {
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
