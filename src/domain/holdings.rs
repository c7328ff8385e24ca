//! What a client holds beside its facets: subscriptions, users, integrations (000).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::event::{EventKind, ManagedBy};
use super::id::Id;
use super::link::Link;
use super::refusal::Refusal;
use super::service::Service;
use super::text_enum::text_enum;

/// A subscription; ended ones stay, so that their ids are not given out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub state: SubscriptionState,
    pub managed_by: ManagedBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_until: Option<DateTime<Utc>>,
    /// When the link was lost that this subscription ends with, while that can still be undone by
    /// a link that becomes active in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_lost_at: Option<DateTime<Utc>>,
}

/// The state of a subscription. A prepared one was added before the link became active, and starts when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum SubscriptionState {
    Prepared,
    Active,
    Ended { ended_at: DateTime<Utc> },
}

text_enum! {
    /// The status of a subscription: its state without the time at which it ended.
    pub enum SubscriptionStatus {
        Prepared = "prepared",
        Active = "active",
        Ended = "ended",
    }
}

impl SubscriptionState {
    #[must_use]
    pub fn status(self) -> SubscriptionStatus {
        match self {
            Self::Prepared => SubscriptionStatus::Prepared,
            Self::Active => SubscriptionStatus::Active,
            Self::Ended { .. } => SubscriptionStatus::Ended,
        }
    }
}

impl Subscription {
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, SubscriptionState::Ended { .. })
    }

    fn ends_with_the_link(&self) -> bool {
        self.managed_by == ManagedBy::Partner && !self.has_ended()
    }

    pub(super) fn end(&mut self, at: DateTime<Utc>) {
        self.state = SubscriptionState::Ended { ended_at: at };
        self.link_lost_at = None;
    }
}

impl Client {
    pub(super) fn apply_to_holdings(&mut self, kind: &EventKind, at: DateTime<Utc>) -> Result<(), Refusal> {
        match kind {
            EventKind::SubscriptionAdded {
                subscription_id,
                plan,
                managed_by,
                paid_until,
            } => self.subscribe(subscription_id, plan.as_deref(), *managed_by, *paid_until),
            EventKind::SubscriptionRenewed {
                subscription_id,
                paid_until,
            } => {
                self.running_subscription(subscription_id)?.paid_until = Some(*paid_until);
                Ok(())
            }
            EventKind::SubscriptionEnded { subscription_id } => {
                self.running_subscription(subscription_id)?.end(at);
                Ok(())
            }
            EventKind::UserAdded { user_id } => {
                self.may_add_people()?;
                insert(&mut self.users, user_id)
            }
            EventKind::UserRemoved { user_id } => remove(&mut self.users, user_id),
            EventKind::IntegrationAdded { integration_id } => {
                self.may_add_people()?;
                insert(&mut self.integrations, integration_id)
            }
            EventKind::IntegrationRemoved { integration_id } => {
                remove(&mut self.integrations, integration_id)
            }
            other => unreachable!("{} is no event of the holdings", other.type_name()),
        }
    }

    /// 000: a draft's setup can be prepared before it is invited.
    fn subscribe(
        &mut self,
        id: &Id,
        plan: Option<&str>,
        managed_by: ManagedBy,
        paid_until: Option<DateTime<Utc>>,
    ) -> Result<(), Refusal> {
        let state = match self.link {
            Link::Draft | Link::Invited(_) => SubscriptionState::Prepared,
            Link::Active(_) => SubscriptionState::Active,
            _ => return Err(Refusal::NotLinked),
        };
        if self.subscriptions.contains_key(id) {
            return Err(Refusal::DuplicateId);
        }
        let subscription = Subscription {
            state,
            managed_by,
            plan: plan.map(str::to_owned),
            paid_until,
            link_lost_at: None,
        };
        self.subscriptions.insert(id.clone(), subscription);
        Ok(())
    }

    fn running_subscription(&mut self, id: &Id) -> Result<&mut Subscription, Refusal> {
        match self.subscriptions.get_mut(id) {
            None => Err(Refusal::UnknownId),
            Some(subscription) if subscription.has_ended() => Err(Refusal::AlreadyEnded),
            Some(subscription) => Ok(subscription),
        }
    }

    fn may_add_people(&self) -> Result<(), Refusal> {
        if matches!(self.link, Link::Archived | Link::Lost) {
            return Err(Refusal::NotLinked);
        }
        if matches!(self.service, Service::Terminated { .. }) {
            return Err(Refusal::Terminated);
        }
        Ok(())
    }

    /// The link is active: what was prepared starts, and what was about to end goes on.
    pub(super) fn start_subscriptions(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            subscription.link_lost_at = None;
            if subscription.state == SubscriptionState::Prepared {
                subscription.state = SubscriptionState::Active;
            }
        }
    }

    /// A deleted client is added again, and may still hold subscriptions of its own. 000: "Clients in
    /// Draft status don't have an active subscription yet".
    pub(super) fn prepare_subscriptions(&mut self) {
        for subscription in self.subscriptions.values_mut().filter(|s| !s.has_ended()) {
            subscription.state = SubscriptionState::Prepared;
        }
    }

    /// The link is lost: the partner's subscriptions of this moment will end (000). One that is
    /// already about to end, from a link lost before, keeps its earlier moment.
    pub(super) fn mark_subscriptions_to_end(&mut self, at: DateTime<Utc>) {
        for subscription in self.subscriptions.values_mut() {
            if subscription.ends_with_the_link() {
                subscription.link_lost_at.get_or_insert(at);
            }
        }
    }

    pub(super) fn end_partner_subscriptions(&mut self, at: DateTime<Utc>) {
        for subscription in self.subscriptions.values_mut() {
            if subscription.ends_with_the_link() {
                subscription.end(at);
            }
        }
    }
}

pub(super) fn insert(set: &mut BTreeSet<Id>, id: &Id) -> Result<(), Refusal> {
    if set.insert(id.clone()) {
        Ok(())
    } else {
        Err(Refusal::DuplicateId)
    }
}

pub(super) fn remove(set: &mut BTreeSet<Id>, id: &Id) -> Result<(), Refusal> {
    if set.remove(id) {
        Ok(())
    } else {
        Err(Refusal::UnknownId)
    }
}
