//! Lists over all partners: clients by name and id, partners, refusals. Each query reads a bounded part of an index, in the order
//! of that index.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::clients::{ClientFilter, LoggedRow, Stored};
use super::columns::{Both, Moment, RowId, earliest, key, latest, row};
use super::event_position::EventPosition;
use super::verification::FacetsRow;
use super::{RecordedOutcome, Result};
use crate::domain::{Event, Name, Refusal};

/// Reads lists, as last committed.
#[async_trait]
pub trait Lists: Send + Sync + 'static {
    /// The position `rows` rows after another, in the order of a search. None: there are fewer.
    async fn end_of_walk(
        &self,
        search: &ClientSearch,
        after: Option<&ListPosition>,
        rows: u32,
    ) -> Result<Option<ListPosition>>;

    /// Clients after one position, up to another, at most `limit`, without ghosts. Statuses are those of the last write.
    async fn search(
        &self,
        search: &ClientSearch,
        after: Option<&ListPosition>,
        upto: Option<&ListPosition>,
        limit: u32,
    ) -> Result<Vec<Stored>>;

    /// The partners that have clients, in order, after `after`, at most `limit`.
    async fn partners(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>>;

    /// The number of a partner's clients by facet and status, as last written.
    async fn facets(&self, partner: &str) -> Result<Facets>;

    /// Refused events, the newest first, before `before`. Reads at most `rows` refusals, and returns at most `limit` of them.
    async fn refusals(
        &self,
        filter: &RefusalFilter,
        before: Option<&EventPosition>,
        rows: u32,
        limit: u32,
    ) -> Result<RefusalsPage>;
}

/// Selects clients by their columns. Clients come in the order of their keys, or with `name_part` in the order of their
/// partners and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSearch {
    pub filter: ClientFilter,
    /// The beginning of the client's id. Empty: any.
    pub id_prefix: String,
    /// A part of the key of the name that the client holds ([`Name::key`]).
    pub name_part: Option<String>,
}

impl ClientSearch {
    /// The position of a client in the order of this search.
    #[must_use]
    pub fn position(&self, stored: &Stored) -> ListPosition {
        let name = stored.document.held_name().filter(|_| self.name_part.is_some());
        ListPosition {
            partner: stored.key.partner.to_string(),
            place: name.map_or_else(|| stored.key.client.to_string(), Name::key),
        }
    }
}

/// A position in a list of clients: a partner, and the id of a client or the key of its name. As text, a slash separates them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPosition {
    pub partner: String,
    pub place: String,
}

impl Display for ListPosition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partner, self.place)
    }
}

/// Both ends of a part of a list. Both are always bound, so that the index answers the query whichever of them is given.
pub(super) struct ListRange<'a> {
    pub after: (&'a str, &'a str),
    pub upto: (String, &'a str),
}

impl<'a> ListRange<'a> {
    pub(super) fn of(
        partner: Option<&'a str>,
        after: Option<&'a ListPosition>,
        upto: Option<&'a ListPosition>,
    ) -> Self {
        // No id and no name is empty. Ids consist of characters between these two.
        let start = (partner.unwrap_or_default(), "");
        let end = partner.map_or_else(|| "\u{7f}".to_owned(), |partner| format!("{partner}\u{1}"));
        let after = after.map_or(start, |after| {
            start.max((after.partner.as_str(), after.place.as_str()))
        });
        let upto = upto.map_or((end, ""), |upto| (upto.partner.clone(), upto.place.as_str()));
        Self { after, upto }
    }
}

/// The number of clients by facet and status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facets {
    pub clients: i64,
    pub link: BTreeMap<String, i64>,
    pub service: BTreeMap<String, i64>,
    pub access: BTreeMap<String, i64>,
}

impl Facets {
    pub(super) fn of(rows: Vec<FacetsRow>) -> Self {
        let mut facets = Self::default();
        for row in rows {
            facets.clients += row.clients;
            *facets.link.entry(row.link).or_default() += row.clients;
            *facets.service.entry(row.service).or_default() += row.clients;
            *facets.access.entry(row.access).or_default() += row.clients;
        }
        facets
    }
}

/// Selects refused events. An event must match every field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalFilter {
    pub code: Option<Refusal>,
    pub source: Option<String>,
    /// At or after this moment.
    pub from: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

impl RefusalFilter {
    /// After every refusal of the filter that is before a position.
    pub(super) fn start(&self, before: Option<&EventPosition>) -> EventPosition {
        let until = EventPosition::at(self.until.unwrap_or_else(latest));
        match before {
            Some(before) if before.time < until.time => before.clone(),
            _ => until,
        }
    }

    /// Before every refusal of the filter.
    pub(super) fn end(&self) -> EventPosition {
        EventPosition::at(self.from.unwrap_or_else(earliest))
    }
}

/// A refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub event: Event,
    pub refusal: Refusal,
    pub received_at: DateTime<Utc>,
    pub(super) position: EventPosition,
}

/// A page of refused events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalsPage {
    pub refused: Vec<Refused>,
    /// Where the next page begins. None: this is the last one.
    pub next: Option<EventPosition>,
}

impl RefusalsPage {
    /// A page of rows that were read one more than `limit`, of a walk that ended at `end`.
    pub(super) fn of(mut refused: Vec<Refused>, limit: u32, end: Option<EventPosition>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_full = refused.len() > limit;
        refused.truncate(limit);
        let last = refused.last().map(|refused| refused.position.clone());
        Self {
            next: if is_full { last } else { end },
            refused,
        }
    }
}

row! {
    /// What a refusal has besides its event.
    RefusedRow<T> {
        partner: String,
        client: String,
        client_number: i64,
        source_number: i64,
        received_at: T,
    }
}

/// Reads a refused event.
pub(super) fn read_refused<T: Moment>(
    Both(refused, event): Both<RefusedRow<T>, LoggedRow<T>>,
) -> Result<Refused> {
    let key = key(&refused.partner, &refused.client);
    let row = RowId {
        table: "events",
        key: &key,
    };
    let received_at = row.moment("received_at", refused.received_at)?;
    let logged = event.read(&key)?;
    let RecordedOutcome::Refused(refusal) = logged.outcome else {
        return Err(row.unreadable("reason", "the event was applied"));
    };
    Ok(Refused {
        position: EventPosition {
            time: logged.event.time,
            client: refused.client_number,
            source: refused.source_number,
            id: logged.event.id.to_string(),
        },
        event: logged.event,
        refusal,
        received_at,
    })
}

row! {
    /// The end of a walk.
    PlaceRow {
        partner: String,
        place: String,
    }
}

impl PlaceRow {
    pub(super) fn read(self) -> ListPosition {
        ListPosition {
            partner: self.partner,
            place: self.place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_all_places_of_its_partner_and_no_other() {
        let range = ListRange::of(Some("acme"), None, None);
        let end = (range.upto.0.as_str(), range.upto.1);
        for (partner, place, is_in) in [
            ("acme", "a", true),
            ("acme", "\u{10ffff}", true),
            ("acm", "z", false),
            ("acme-", "a", false),
            ("acme1", "a", false),
        ] {
            let position = (partner, place);
            assert_eq!(range.after < position && position <= end, is_in, "{position:?}");
        }
        let after = ListPosition {
            partner: "acme".into(),
            place: "b".into(),
        };
        assert_eq!(
            ListRange::of(Some("acme"), Some(&after), None).after,
            ("acme", "b")
        );
        // A position of an earlier partner does not widen the range.
        assert_eq!(
            ListRange::of(Some("best"), Some(&after), None).after,
            ("best", "")
        );
    }
}
