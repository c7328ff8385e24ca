//! Positions in lists of events in order of time.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, row};
use super::event_id::EventId;

/// The position of an event in a list in order of time. The numbers are those of one store, so only the store can read them: for
/// everybody else, a position is a text that they return unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPosition {
    pub(super) time: DateTime<Utc>,
    pub(super) client: i64,
    pub(super) source: i64,
    pub(super) id: String,
}

impl EventPosition {
    /// Before every event of this moment: no client and no source has this number, and no id is empty.
    pub(super) fn at(time: DateTime<Utc>) -> Self {
        Self {
            time,
            client: 0,
            source: 0,
            id: String::new(),
        }
    }
}

/// The time in microseconds since 1970, the two numbers, and the id.
impl Display for EventPosition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let micros = self.time.timestamp_micros();
        write!(f, "{micros}.{}.{}.{}", self.client, self.source, self.id)
    }
}

/// Why a text is no position in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `next` of the previous page")]
pub struct NoPosition;

impl FromStr for EventPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut parts = text.splitn(4, '.');
        let mut number = || {
            let part = parts.next().filter(|part| part.len() <= 18)?;
            part.parse::<i64>().ok()
        };
        let time = number().and_then(DateTime::from_timestamp_micros);
        let mut of_store = || number().filter(|number| *number >= 0).ok_or(NoPosition);
        let (client, source) = (of_store()?, of_store()?);
        let id = parts.next().filter(|id| !id.is_empty()).ok_or(NoPosition)?;
        Ok(Self {
            time: time.ok_or(NoPosition)?,
            client,
            source,
            id: id.to_owned(),
        })
    }
}

row! {
    /// The position of an event.
    PositionRow<T> {
        time: T,
        client_number: i64,
        source_number: i64,
        id: EventId,
    }
}

impl<T: Moment> PositionRow<T> {
    /// The position, from a row of this table.
    pub(super) fn read(self, table: &'static str) -> Result<EventPosition> {
        let row = RowId {
            table,
            key: &self.id.0,
        };
        Ok(EventPosition {
            time: row.moment("time", self.time)?,
            client: self.client_number,
            source: self.source_number,
            id: self.id.0.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let position = EventPosition {
            time: DateTime::from_timestamp_micros(-7_000_001).unwrap(),
            client: 12,
            source: 3,
            id: "a.b/c".into(),
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in [
            "",
            "1.2.3",
            "1.2.3.",
            "x.2.3.e",
            "1.x.3.e",
            "1.-2.3.e",
            "1.2.-3.e",
            "9999999999999999999.1.1.e",
        ] {
            assert_eq!(wrong.parse::<EventPosition>(), Err(NoPosition), "{wrong}");
        }
    }
}
