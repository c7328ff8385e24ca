//! The feed: changes after a place for readers outside of Tenure, and the states that a reader starts from.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Engine;
use super::read::present;
use crate::domain::view::ClientView;
use crate::domain::{ChangeKind, ClientKey};
use crate::store::{ClientState, FeedCursor, FeedFilter, FeedGap, FeedPage, StoreError};
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

/// A page of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPage {
    pub lines: Vec<SnapshotLine>,
    /// After which client the next page begins. None: this is the last one.
    pub next: Option<ClientKey>,
    /// Why the feed does not continue this snapshot: the store was restored meanwhile, or retention has removed changes after
    /// its cursor. None: it does.
    pub gap: Option<FeedGap>,
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

    /// Clients in key order, after `after`, at most `limit`, as the journal describes them, for a reader that continues with the feed
    /// after `cursor`.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn snapshot(
        &self,
        cursor: &FeedCursor,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<SnapshotPage, StoreError> {
        let policies = self.policies().await?;
        let now = self.now();
        let states = self.store.states(after, limit).await?;
        let is_full = states.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = states
            .last()
            .filter(|_| is_full)
            .map(|last| last.stored.key.clone());
        // After the clients: a store that was restored before they were read shows it.
        let feed = self.store.feed(cursor, &FeedFilter::default(), 1, 1).await?;
        let is_other = feed.epoch != cursor.0.epoch;
        let gap = feed.gap.or_else(|| is_other.then_some(FeedGap::Restored));
        let line = |state: ClientState| {
            let client = state.stored.client(&policies);
            let moment = present(&client, now);
            let (key, version) = (&state.stored.key, state.stored.version);
            SnapshotLine {
                client: ClientView::of(key, &client, version, moment, &policies),
                last_change: wire::id_of_change(state.epoch, state.sequence),
            }
        };
        Ok(SnapshotPage {
            lines: states.into_iter().map(line).collect(),
            next,
            gap,
        })
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

/// The types of changes that any of several patterns stands for, each once. Empty: all types. None: a pattern stands for none.
#[must_use]
pub fn kinds_of_any<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Option<Vec<ChangeKind>> {
    let kinds: Option<BTreeSet<ChangeKind>> =
        patterns
            .into_iter()
            .try_fold(BTreeSet::new(), |mut kinds, pattern| {
                kinds.extend(kinds_of(pattern)?);
                Some(kinds)
            });
    kinds.map(Vec::from_iter)
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
        let overlapping = kinds_of_any(["access.*", "access.expired", "access.*"]).unwrap();
        assert_eq!(Some(&overlapping), kinds_of("access.*").as_ref());
        assert_eq!(kinds_of_any([]), Some(Vec::new()));
        assert_eq!(kinds_of_any(["access.*", "access"]), None);
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
