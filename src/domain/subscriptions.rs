//! The subscriptions of a client, with an index of those that end because the link ended: every event looks up the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::holding_map::{HoldingMap, Writes};
use super::holdings::Subscription;
use super::id::Id;
use super::policy::{Policy, SubscriptionsEnd, later};
use super::refusal::Refusal;

/// Subscriptions by id. They are read as a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<Id, Subscription>")]
pub struct Subscriptions {
    held: HoldingMap<Subscription>,
    /// By the moment at which the link ended: the subscriptions that end with it, by the time up to which they are paid.
    ending: BTreeMap<DateTime<Utc>, BTreeSet<PaidUntil>>,
}

type PaidUntil = (Option<DateTime<Utc>>, Id);

impl Subscriptions {
    /// # Errors
    /// If there is a subscription with this id.
    pub(super) fn add(&mut self, id: &Id, subscription: Subscription) -> Result<(), Refusal> {
        let place = place(&subscription);
        self.held.add(id, subscription)?;
        self.index(id, place);
        Ok(())
    }

    /// Changes the subscription with this id, if there is one.
    pub(super) fn update(&mut self, id: &Id, act: impl FnOnce(&mut Subscription)) {
        let places = self.held.update(id, |subscription| {
            let before = place(subscription);
            act(subscription);
            (before, place(subscription))
        });
        if let Some((before, after)) = places
            && before != after
        {
            self.remove_from_index(id, before);
            self.index(id, after);
        }
    }

    /// Changes the subscriptions that fulfil a condition.
    pub(super) fn update_where(
        &mut self,
        condition: impl Fn(&Subscription) -> bool,
        act: impl Fn(&mut Subscription),
    ) {
        let matching = self
            .held
            .iter()
            .filter(|(_, subscription)| condition(subscription));
        let ids: Vec<Id> = matching.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.update(&id, &act);
        }
    }

    /// Removes the subscriptions that fulfil a condition.
    pub(super) fn remove_where(&mut self, condition: impl Fn(&Subscription) -> bool) {
        let matching = self
            .held
            .iter()
            .filter(|(_, subscription)| condition(subscription));
        let removed: Vec<(Id, Place)> = matching
            .map(|(id, subscription)| (id.clone(), place(subscription)))
            .collect();
        for (id, place) in removed {
            self.remove_from_index(&id, place);
            // It is there.
            let _ = self.held.remove(&id);
        }
    }

    /// When the next subscription ends because the link ended.
    pub(super) fn next_end(&self, policy: &Policy) -> Option<DateTime<Utc>> {
        let mut next = None;
        for (ended, subscriptions) in &self.ending {
            let grace_over = later(*ended, policy.subscriptions_grace);
            if next.is_some_and(|next| next <= grace_over) {
                break;
            }
            let paid_until = subscriptions.first().and_then(|(paid_until, _)| *paid_until);
            let ends = ends_at(grace_over, paid_until, policy);
            next = next.map_or(Some(ends), |next| Some(ends.min(next)));
        }
        next
    }

    /// Ends the subscriptions that end by a moment because the link ended.
    pub(super) fn end_due(&mut self, at: DateTime<Utc>, policy: &Policy) {
        let mut due = Vec::new();
        for (ended, subscriptions) in &self.ending {
            let grace_over = later(*ended, policy.subscriptions_grace);
            if grace_over > at {
                break;
            }
            let ending = subscriptions
                .iter()
                .take_while(|(paid_until, _)| ends_at(grace_over, *paid_until, policy) <= at);
            due.extend(ending.map(|(_, id)| id.clone()));
        }
        for id in due {
            self.update(&id, |subscription| subscription.end(at));
        }
    }

    pub(super) fn start_recording(&mut self) {
        self.held.start_recording();
    }

    pub(super) fn stop_recording(&mut self) -> Writes<Subscription> {
        self.held.stop_recording()
    }

    fn index(&mut self, id: &Id, place: Place) {
        if let Some((ended, paid_until)) = place {
            let subscriptions = self.ending.entry(ended).or_default();
            subscriptions.insert((paid_until, id.clone()));
        }
    }

    fn remove_from_index(&mut self, id: &Id, place: Place) {
        if let Some((ended, paid_until)) = place
            && let Some(subscriptions) = self.ending.get_mut(&ended)
        {
            subscriptions.remove(&(paid_until, id.clone()));
            if subscriptions.is_empty() {
                self.ending.remove(&ended);
            }
        }
    }
}

/// The place of a subscription in the index. None: it does not end because the link ended.
type Place = Option<(DateTime<Utc>, Option<DateTime<Utc>>)>;

fn place(subscription: &Subscription) -> Place {
    Some((subscription.link_lost_at?, subscription.paid_until))
}

/// When a subscription ends after its link ended and the grace is over.
fn ends_at(grace_over: DateTime<Utc>, paid_until: Option<DateTime<Utc>>, policy: &Policy) -> DateTime<Utc> {
    match policy.subscriptions_end {
        SubscriptionsEnd::PaidUntil => paid_until.map_or(grace_over, |paid_until| grace_over.max(paid_until)),
        SubscriptionsEnd::AtOnce => grace_over,
    }
}

impl Deref for Subscriptions {
    type Target = HoldingMap<Subscription>;

    fn deref(&self) -> &Self::Target {
        &self.held
    }
}

impl From<BTreeMap<Id, Subscription>> for Subscriptions {
    fn from(held: BTreeMap<Id, Subscription>) -> Self {
        let held = HoldingMap::from(held);
        let mut subscriptions = Self::default();
        for (id, subscription) in held.iter() {
            subscriptions.index(id, place(subscription));
        }
        Self {
            held,
            ..subscriptions
        }
    }
}

impl Serialize for Subscriptions {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.held.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::event::ManagedBy;
    use crate::domain::holdings::SubscriptionState;

    fn day(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(n)
    }

    fn id(text: &str) -> Id {
        Id::try_from(text.to_owned()).unwrap()
    }

    fn subscription(link_lost_at: Option<i64>, paid_until: Option<i64>) -> Subscription {
        Subscription {
            state: SubscriptionState::Active,
            managed_by: ManagedBy::Partner,
            plan: None,
            paid_until: paid_until.map(day),
            link_lost_at: link_lost_at.map(day),
        }
    }

    /// When a subscription ends, without the index.
    fn ends(subscription: &Subscription, policy: &Policy) -> Option<DateTime<Utc>> {
        let grace_over = subscription.link_lost_at? + policy.subscriptions_grace;
        match (policy.subscriptions_end, subscription.paid_until) {
            (SubscriptionsEnd::PaidUntil, Some(paid_until)) => Some(grace_over.max(paid_until)),
            _ => Some(grace_over),
        }
    }

    /// Subscriptions whose link ended at one of these days, or did not end, each paid until one of several days.
    fn ended_at(days: &[i64]) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        let ended = days.iter().copied().map(Some).chain([None]);
        for (n, lost) in ended.enumerate() {
            for (m, paid) in [None, Some(0), Some(4), Some(20)].into_iter().enumerate() {
                let id = id(&format!("s-{n}-{m}"));
                subscriptions.add(&id, subscription(lost, paid)).unwrap();
            }
        }
        subscriptions
    }

    #[test]
    fn the_subscriptions_that_end_with_the_link_end_in_order() {
        for days in [&[][..], &[1], &[1, 2], &[1, 2, 10]] {
            for (grace, end) in [
                (0, SubscriptionsEnd::AtOnce),
                (5, SubscriptionsEnd::AtOnce),
                (0, SubscriptionsEnd::PaidUntil),
                (5, SubscriptionsEnd::PaidUntil),
            ] {
                let policy = Policy {
                    subscriptions_grace: TimeDelta::days(grace),
                    subscriptions_end: end,
                    ..Policy::default()
                };
                let mut subscriptions = ended_at(days);
                let mut ended = 0;
                while let Some(at) = subscriptions.next_end(&policy) {
                    let first = subscriptions
                        .values()
                        .filter_map(|held| ends(held, &policy))
                        .min();
                    assert_eq!(first, Some(at), "{days:?} {policy:?}");
                    let mut expected = BTreeMap::clone(&subscriptions);
                    for held in expected.values_mut() {
                        if ends(held, &policy) == Some(at) {
                            held.end(at);
                            ended += 1;
                        }
                    }
                    subscriptions.end_due(at, &policy);
                    assert_eq!(subscriptions, expected.into(), "{days:?} {policy:?}");
                }
                assert_eq!(ended, days.len() * 4, "{policy:?}");
            }
        }
    }

    #[test]
    fn the_index_follows_every_write() {
        let mut subscriptions = ended_at(&[1]);
        let paid = id("s-0-0");
        subscriptions.update(&paid, |held| held.paid_until = Some(day(7)));
        let rebuilt = Subscriptions::from(BTreeMap::clone(&subscriptions));
        assert_eq!(subscriptions, rebuilt);
        let json = serde_json::to_string(&subscriptions).unwrap();
        assert_eq!(
            serde_json::from_str::<Subscriptions>(&json).unwrap(),
            subscriptions
        );
        subscriptions.update_where(
            |held| held.link_lost_at.is_some(),
            |held| held.link_lost_at = None,
        );
        assert_eq!(subscriptions.next_end(&Policy::default()), None);
        assert!(subscriptions.ending.is_empty());
    }
}
