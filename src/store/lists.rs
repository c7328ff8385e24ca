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
use crate::domain::name::MAX_NAME_CHARS;
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

/// Selects clients by their columns. Clients come in the order of their keys, or with a name in the order of their partners and
/// names. Those of all partners with a prefix come in the order of their ids or names, then of their partners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSearch {
    pub filter: ClientFilter,
    /// The beginning of the client's id. Empty: any.
    pub id_prefix: String,
    /// A part of the key of the name that the client holds ([`Name::key`]).
    pub name_part: Option<String>,
    /// The beginning of the key of the name.
    pub name_prefix: Option<String>,
}

/// The order in which a search reads clients: that of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientOrder {
    /// Partners, then ids.
    Keys,
    /// Partners, then names. Clients without a name are left out.
    Names,
    /// Ids, then partners.
    Ids,
    /// Names, then partners. Clients without a name are left out.
    NamesOfAll,
}

impl ClientSearch {
    /// The order of its results, that of an index: of names for a search by name, also if it has a prefix of ids, which would select
    /// fewer.
    pub(super) fn order(&self) -> ClientOrder {
        let is_of_all = self.filter.partner.is_none();
        if is_of_all && self.name_prefix.is_some() {
            ClientOrder::NamesOfAll
        } else if self.name_prefix.is_some() || self.name_part.is_some() {
            ClientOrder::Names
        } else if is_of_all && !self.id_prefix.is_empty() {
            ClientOrder::Ids
        } else {
            ClientOrder::Keys
        }
    }

    /// The position of a client in the order of this search.
    #[must_use]
    pub fn position(&self, stored: &Stored) -> ListPosition {
        let is_by_name = matches!(self.order(), ClientOrder::Names | ClientOrder::NamesOfAll);
        let name = stored.document.held_name().filter(|_| is_by_name);
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

/// The last character. A name may consist of it, so that a place after all names has more of it than any name.
const PAST_ALL: &str = "\u{10ffff}";

/// Both ends of a part of a list, in the order of the columns of its index, inclusive. Both are always bound, so that the index
/// answers the query whichever of them is given.
pub(super) struct ListRange {
    pub from: (String, String),
    pub upto: (String, String),
}

impl ListRange {
    /// The clients of a search after one position, up to another.
    pub(super) fn of(
        search: &ClientSearch,
        after: Option<&ListPosition>,
        upto: Option<&ListPosition>,
    ) -> Self {
        let order = search.order();
        let prefix = match order {
            ClientOrder::Keys | ClientOrder::Ids => search.id_prefix.as_str(),
            ClientOrder::Names | ClientOrder::NamesOfAll => search.name_prefix.as_deref().unwrap_or_default(),
        };
        let last = format!("{prefix}{}", PAST_ALL.repeat(MAX_NAME_CHARS + 1));
        let is_of_all = matches!(order, ClientOrder::Ids | ClientOrder::NamesOfAll);
        let in_order = |position: &ListPosition| {
            let (partner, place) = (position.partner.clone(), position.place.clone());
            if is_of_all {
                (place, partner)
            } else {
                (partner, place)
            }
        };
        // Partners have no character after this one, and none is empty.
        let (start, end) = match &search.filter.partner {
            _ if is_of_all => ((prefix.to_owned(), String::new()), (last, String::new())),
            Some(partner) => ((partner.clone(), prefix.to_owned()), (partner.clone(), last)),
            None => (Default::default(), ("\u{7f}".to_owned(), String::new())),
        };
        // Neither ids nor names have control characters, so this is the next position.
        let next = after
            .map(in_order)
            .map(|(first, second)| (first, second + "\u{1}"));
        Self {
            from: next.map_or(start.clone(), |next| start.max(next)),
            upto: upto.map_or(end, in_order),
        }
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

    fn of_partner(partner: &str) -> ClientSearch {
        ClientSearch {
            filter: ClientFilter {
                partner: Some(partner.to_owned()),
                ..ClientFilter::default()
            },
            ..ClientSearch::default()
        }
    }

    fn is_in(range: &ListRange, first: &str, second: &str) -> bool {
        let position = (first.to_owned(), second.to_owned());
        range.from <= position && position <= range.upto
    }

    #[test]
    fn a_range_has_all_places_of_its_partner_and_no_other() {
        let range = ListRange::of(&of_partner("acme"), None, None);
        for (partner, place, expected) in [
            ("acme", "a", true),
            ("acme", "\u{10ffff}", true),
            ("acme", "\u{10ffff}x", true),
            ("acm", "z", false),
            ("acme-", "a", false),
            ("acme1", "a", false),
        ] {
            assert_eq!(is_in(&range, partner, place), expected, "{partner}/{place}");
        }
        let after = ListPosition {
            partner: "acme".into(),
            place: "b".into(),
        };
        let range = ListRange::of(&of_partner("acme"), Some(&after), None);
        assert!(!is_in(&range, "acme", "b") && is_in(&range, "acme", "b-"));
        // A position of an earlier partner does not widen the range.
        let range = ListRange::of(&of_partner("best"), Some(&after), None);
        assert!(!is_in(&range, "acme", "c") && is_in(&range, "best", "a"));
    }

    #[test]
    fn a_range_of_a_prefix_has_nothing_else() {
        let of_all = ClientSearch {
            id_prefix: "a-1".into(),
            ..ClientSearch::default()
        };
        let of_one = ClientSearch {
            id_prefix: "a-1".into(),
            ..of_partner("acme")
        };
        for (client, expected) in [("a-", false), ("a-1", true), ("a-19", true), ("a-2", false)] {
            let range = ListRange::of(&of_all, None, None);
            assert_eq!(is_in(&range, client, "zoo"), expected, "{client}");
            let range = ListRange::of(&of_one, None, None);
            assert_eq!(is_in(&range, "acme", client), expected, "{client}");
        }
        let after = ListPosition {
            partner: "acme".into(),
            place: "a-1".into(),
        };
        let range = ListRange::of(&of_all, Some(&after), None);
        assert!(!is_in(&range, "a-1", "acme") && is_in(&range, "a-1", "acme1"));
    }
}
