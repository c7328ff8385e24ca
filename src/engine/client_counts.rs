//! How many clients match a search, by facet and status. A call counts a bounded part of the list.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use serde::Serialize;

use super::Engine;
use super::lists::{MOST_WALKS, SearchRequest, WALK};
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::{ClientView, Tab, tab};
use crate::store::{Facets, ListPosition, StoreError};

/// The number of walks in which one call counts the clients that match a search.
const COUNTING_WALKS: u32 = 2;

/// The number of clients that match a search, by facet and status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientCounts {
    #[serde(flatten)]
    pub facets: Facets,
    /// Whether these are all. Otherwise others may follow.
    pub complete: bool,
}

impl Engine {
    /// Counts the clients that match, after a position, as they are now. The second value: where to continue counting.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn count(
        &self,
        request: &SearchRequest,
        after: Option<&ListPosition>,
    ) -> Result<(ClientCounts, Option<ListPosition>), StoreError> {
        let mut counts = ClientCounts::default();
        if request.list.contradicts_itself() {
            counts.complete = true;
            return Ok((counts, None));
        }
        let next = self
            .walk(request, after, COUNTING_WALKS * WALK, |view, _| {
                counts.add(&view);
                ControlFlow::Continue(())
            })
            .await?;
        counts.complete = next.is_none();
        Ok((counts, next))
    }

    /// Counts the clients that match at least one of several searches, each client once. It reads at most `rows` rows for each
    /// search. None: as many as [`Engine::count`].
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn count_any(
        &self,
        requests: &[SearchRequest],
        rows: Option<u32>,
    ) -> Result<ClientCounts, StoreError> {
        let rows = rows.unwrap_or(COUNTING_WALKS * WALK);
        let mut counts = ClientCounts {
            complete: requests.len() <= MOST_WALKS,
            ..ClientCounts::default()
        };
        let mut seen = HashSet::new();
        let requests = requests.iter().take(MOST_WALKS);
        for request in requests.filter(|request| !request.list.contradicts_itself()) {
            let next = self
                .walk(request, None, rows, |view, _| {
                    if seen.insert((view.partner.clone(), view.client.clone())) {
                        counts.add(&view);
                    }
                    ControlFlow::Continue(())
                })
                .await?;
            counts.complete &= next.is_none();
        }
        Ok(counts)
    }
}

impl ClientCounts {
    /// The number of clients on a tab.
    #[must_use]
    pub fn on_tab(&self, wanted: Tab) -> i64 {
        let statuses = LinkStatus::ALL.into_iter();
        let of_tab = statuses.filter(|status| tab(*status) == Some(wanted));
        of_tab
            .filter_map(|status| self.facets.link.get(status.as_str()))
            .sum()
    }

    /// The number of clients whose service is not terminated (001, "All Active").
    #[must_use]
    pub fn all_active(&self) -> i64 {
        let statuses = ServiceStatus::ALL.into_iter();
        let active = statuses.filter(|status| *status != ServiceStatus::Terminated);
        active
            .filter_map(|status| self.facets.service.get(status.as_str()))
            .sum()
    }

    fn add(&mut self, view: &ClientView) {
        let count = |counts: &mut BTreeMap<String, i64>, status: Option<&str>| {
            if let Some(status) = status {
                *counts.entry(status.to_owned()).or_default() += 1;
            }
        };
        let facets = &mut self.facets;
        facets.clients += 1;
        count(&mut facets.link, view.link.map(LinkStatus::as_str));
        count(&mut facets.service, view.service.map(ServiceStatus::as_str));
        count(&mut facets.access, Some(view.access.as_str()));
    }

    /// Adds the counts of the clients that follow.
    pub fn extend(&mut self, next: Self) {
        let facets = &mut self.facets;
        facets.clients += next.facets.clients;
        for (counts, next) in [
            (&mut facets.link, next.facets.link),
            (&mut facets.service, next.facets.service),
            (&mut facets.access, next.facets.access),
        ] {
            for (status, clients) in next {
                *counts.entry(status).or_default() += clients;
            }
        }
        self.complete = next.complete;
    }
}
