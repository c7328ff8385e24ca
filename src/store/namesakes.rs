//! Events of the log that have the source and id of another event.

use super::Result;
use super::clients::event_kind;
use super::columns::{Moment, RowId, key, row};
use crate::domain::{Event, Namesake};

row! {
    NamesakeRow<T> {
        /// Of the event that was looked up, from 0.
        place: i64,
        /// None: no client has the number. So for the other two.
        partner: Option<String>,
        client: Option<String>,
        event_type: Option<String>,
        time: T,
        data: String,
    }
}

/// Reads the namesakes of events, each with the place of its event.
pub(super) fn read<T: Moment>(
    rows: Vec<NamesakeRow<T>>,
    events: &[&Event],
) -> Result<Vec<(usize, Namesake)>> {
    let with_event = |row: NamesakeRow<T>| {
        let place = usize::try_from(row.place).ok()?;
        Some((place, *events.get(place)?, row))
    };
    let rows = rows.into_iter().filter_map(with_event);
    rows.map(|(place, event, row)| Ok((place, row.read(event)?)))
        .collect()
}

impl<T: Moment> NamesakeRow<T> {
    fn read(self, event: &Event) -> Result<Namesake> {
        let id = RowId {
            table: "events",
            key: &format!("{} {}", event.source, event.id),
        };
        let (partner, client) = (
            id.known("client", self.partner)?,
            id.known("client", self.client)?,
        );
        Ok(Namesake {
            key: key(&partner, &client),
            time: id.moment("time", self.time)?,
            kind: event_kind(id, self.event_type, &self.data)?,
        })
    }
}
