//! Subscriptions, users and integrations of a client (000).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::event::ManagedBy;
use super::id::Id;
use super::link::Link;
use super::refusal::Refusal;
use super::service::Service;
use super::text_enum::text_enum;

/// A subscription. Ended ones stay, so that their ids cannot be used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub state: SubscriptionState,
    pub managed_by: ManagedBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_until: Option<DateTime<Utc>>,
    /// When the link ended that this subscription ends with. A link that becomes active in time clears it.
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
    /// 000: the setup of a draft can be prepared before it is invited.
    pub(super) fn add_subscription(
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
        let subscription = Subscription {
            state,
            managed_by,
            plan: plan.map(str::to_owned),
            paid_until,
            link_lost_at: None,
        };
        self.subscriptions.add(id, subscription)
    }

    pub(super) fn renew_subscription(&mut self, id: &Id, paid_until: DateTime<Utc>) -> Result<(), Refusal> {
        self.must_run(id)?;
        self.subscriptions
            .update(id, |subscription| subscription.paid_until = Some(paid_until));
        Ok(())
    }

    pub(super) fn end_subscription(&mut self, id: &Id, at: DateTime<Utc>) -> Result<(), Refusal> {
        self.must_run(id)?;
        self.subscriptions.update(id, |subscription| subscription.end(at));
        Ok(())
    }

    pub(super) fn add_user(&mut self, id: &Id) -> Result<(), Refusal> {
        self.must_accept_people()?;
        self.users.add(id, ())
    }

    pub(super) fn add_integration(&mut self, id: &Id) -> Result<(), Refusal> {
        self.must_accept_people()?;
        self.integrations.add(id, ())
    }

    pub(super) fn remove_user(&mut self, id: &Id) -> Result<(), Refusal> {
        self.users.remove(id)
    }

    pub(super) fn remove_integration(&mut self, id: &Id) -> Result<(), Refusal> {
        self.integrations.remove(id)
    }

    /// The subscription exists and has not ended.
    fn must_run(&self, id: &Id) -> Result<(), Refusal> {
        match self.subscriptions.get(id) {
            None => Err(Refusal::UnknownId),
            Some(subscription) if subscription.has_ended() => Err(Refusal::AlreadyEnded),
            Some(_) => Ok(()),
        }
    }

    /// 000: neither an archived or lost client nor a terminated one gets users and integrations.
    fn must_accept_people(&self) -> Result<(), Refusal> {
        if matches!(self.link, Link::Archived | Link::Lost) {
            return Err(Refusal::NotLinked);
        }
        if matches!(self.service, Service::Terminated { .. }) {
            return Err(Refusal::Terminated);
        }
        Ok(())
    }

    /// The link became active: prepared subscriptions start, and those that were about to end continue.
    pub(super) fn start_subscriptions(&mut self) {
        let is_prepared = |subscription: &Subscription| subscription.state == SubscriptionState::Prepared;
        self.subscriptions.update_where(
            |subscription| subscription.link_lost_at.is_some() || is_prepared(subscription),
            |subscription| {
                subscription.link_lost_at = None;
                if is_prepared(subscription) {
                    subscription.state = SubscriptionState::Active;
                }
            },
        );
    }

    /// The link ended: the subscriptions that the partner manages now will end (000). One that is already about to end,
    /// because an earlier link ended, keeps the earlier time.
    pub(super) fn mark_subscriptions_to_end(&mut self, at: DateTime<Utc>) {
        self.subscriptions.update_where(
            |subscription| subscription.ends_with_the_link() && subscription.link_lost_at.is_none(),
            |subscription| subscription.link_lost_at = Some(at),
        );
    }

    /// The client is deleted: the subscriptions that the partner manages end, and those that the client manages are none of
    /// the partner's any more.
    pub(super) fn let_go_of_subscriptions(&mut self, at: DateTime<Utc>) {
        self.subscriptions
            .remove_where(|subscription| subscription.managed_by == ManagedBy::Client);
        self.subscriptions
            .update_where(Subscription::ends_with_the_link, |subscription| {
                subscription.end(at);
            });
    }
}
