//! The feed: changes after a place for readers outside of Tenure, and the states that a reader starts from.

use serde::Serialize;

use super::Engine;
use super::read::present;
use crate::domain::view::ClientView;
use crate::domain::{ChangeKind, ClientKey};
use crate::store::{ClientState, FeedCursor, FeedFilter, FeedPage, StoreError};
use crate::wire;

/// The number of lines of the journal that one call examines at most.
const WALK: u32 = 5_000;

/// Where a reader of the feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// Before the first change that was ever recorded.
    Beginning,
    /// After the last change that can be read now.
    Latest,
    After(FeedCursor),
}

/// A client as the journal describes it, and the last change that this includes.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotLine {
    /// Without timers that no sweep has fired yet: a later change would report them, and a late event may prevent them.
    pub client: ClientView,
    /// The `id` of that change. Changes of the client whose id is not greater are included.
    pub last_change: String,
}

impl Engine {
    /// The place in the feed where a reader begins.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn feed_place(&self, start: FeedStart) -> Result<FeedCursor, StoreError> {
        match start {
            FeedStart::Beginning => Ok(FeedCursor::beginning(0)),
            FeedStart::Latest => self.store.feed_end().await,
            FeedStart::After(cursor) => Ok(cursor),
        }
    }

    /// The changes after a place that match, at most `limit`, in the order in which the relay publishes them. Examines a bounded
    /// number of changes, so a page may be empty although others follow.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn feed(
        &self,
        after: &FeedCursor,
        filter: &FeedFilter,
        limit: u32,
    ) -> Result<FeedPage, StoreError> {
        self.store.feed(after, filter, WALK, limit).await
    }

    /// Clients in key order, after `after`, at most `limit`, as the journal describes them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn snapshot(
        &self,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<SnapshotLine>, StoreError> {
        let policies = self.policies().await?;
        let now = self.now();
        let states = self.store.states(after, limit).await?;
        let line = |state: ClientState| {
            let client = state.stored.client(&policies);
            let moment = present(&client, now);
            let (key, version) = (&state.stored.key, state.stored.version);
            SnapshotLine {
                client: ClientView::of(key, &client, version, moment, &policies),
                last_change: wire::id_of_change(state.epoch, state.sequence),
            }
        };
        Ok(states.into_iter().map(line).collect())
    }
}

/// The types of changes that a pattern stands for: one type, or the first word of several and `.*`, as in the routing keys of
/// RabbitMQ. None: there are no such types.
#[must_use]
pub fn kinds_of(pattern: &str) -> Option<Vec<ChangeKind>> {
    let prefix = pattern.strip_suffix('*').filter(|prefix| prefix.ends_with('.'));
    let matches = |kind: &ChangeKind| match prefix {
        Some(prefix) => kind.as_str().starts_with(prefix),
        None => kind.as_str() == pattern,
    };
    let kinds: Vec<ChangeKind> = ChangeKind::ALL.iter().copied().filter(matches).collect();
    Some(kinds).filter(|kinds| !kinds.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_type_or_its_first_word() {
        for (pattern, types) in [
            ("access.expired", &["access.expired"][..]),
            (
                "service.*",
                &[
                    "service.pending_assigning",
                    "service.active",
                    "service.terminated",
                ],
            ),
            (
                "status_credit.*",
                &["status_credit.granted", "status_credit.withdrawn"],
            ),
        ] {
            let kinds = kinds_of(pattern).unwrap();
            let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            assert_eq!(names, types);
        }
        for pattern in [
            "",
            "*",
            ".*",
            "access",
            "access.",
            "acc.*",
            "access*",
            "access.exp*",
            "no.*",
        ] {
            assert_eq!(kinds_of(pattern), None, "{pattern}");
        }
    }
}
