//! A client as a subscriber computes it from changes alone: the proof that the journal is complete.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::change::{Change, Holding, Holdings, Observation, between, presence};
use super::client::Client;
use super::event::ManagedBy;
use super::holding_map::{HoldingMap, HoldingSet};
use super::holdings::{Subscription, SubscriptionState, SubscriptionStatus};
use super::link::{Invitation, LinkStatus};

/// A copy of everything in a client's JSON that changes report, built by applying its changes in order. Without the expiry of
/// access, which every renewal moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    state: Observation,
    subscriptions: HoldingMap<Subscription>,
    /// In the order of [`Holding::ALL`].
    sets: [HoldingSet; Holding::ALL.len()],
}

impl Replica {
    /// The replica that a complete journal of this client leads to.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        let mut state = Observation {
            warned: None,
            closed_request: None,
            ..Observation::of(client)
        };
        match &mut state.invitation {
            Some(invitation) => invitation.stalled = false,
            None => state.invitations = 0,
        }
        let published = |subscription: &Subscription| Subscription {
            link_lost_at: None,
            ..subscription.clone()
        };
        let subscriptions = client.subscriptions.iter();
        Self {
            state,
            subscriptions: subscriptions
                .map(|(id, subscription)| (id.clone(), published(subscription)))
                .collect(),
            sets: [
                client.assignments.keys().map(|id| (id.clone(), ())).collect(),
                client.former_assignments.clone(),
                client.report_schedules.clone(),
                client.margin_rules.clone(),
                client.users.clone(),
                client.integrations.clone(),
            ],
        }
    }

    /// Applies a change that took effect at this time. One that contradicts the state is applied as far as possible.
    pub fn apply(&mut self, change: &Change, time: DateTime<Utc>) {
        match change {
            Change::Link { to, .. } => self.link(*to),
            Change::Service { to, .. } => self.state.service = Some(*to),
            Change::Access { to, .. } => self.state.access = *to,
            Change::AccessRequested => self.state.request = Some(time),
            Change::AccessRequestClosed { .. } => self.state.request = None,
            Change::ClientNamed { name, origin } => {
                self.state.name = Some(name.clone());
                self.state.origin = *origin;
            }
            Change::ClientRenamed { to, .. } => self.state.name = Some(to.clone()),
            Change::InvitationSent(_)
            | Change::InvitationStepCompleted(_)
            | Change::InvitationBypassed
            | Change::InvitationBounced
            | Change::CommissionEligibilityChanged { .. } => self.invitation(change, time),
            Change::Subscription { .. }
            | Change::SubscriptionRemoved { .. }
            | Change::SubscriptionRenewed { .. } => self.subscription(change, time),
            Change::AccountCreated { .. } | Change::AccountHandedOver | Change::AccountJobsCounted { .. } => {
                self.account(change);
            }
            Change::Added { holding, id } => {
                // It may be there already.
                let _ = self.set(*holding).add(id, ());
            }
            Change::Removed { holding, id } => {
                let _ = self.set(*holding).remove(id);
            }
            Change::Started(flag) => self.state.flags[*flag as usize] = true,
            Change::Stopped(flag) => self.state.flags[*flag as usize] = false,
            // Notices: the client's JSON is the same afterwards.
            Change::AccessExpiring { .. }
            | Change::InvitationStalled
            | Change::EventRefused { .. }
            | Change::EventAccepted(_) => {}
        }
    }

    fn set(&mut self, holding: Holding) -> &mut HoldingSet {
        &mut self.sets[holding as usize]
    }

    fn link(&mut self, to: LinkStatus) {
        self.state.link = Some(to);
        if to != LinkStatus::Invited {
            self.state.invitation = None;
            self.state.invitations = 0;
        }
        if to == LinkStatus::Deleted {
            self.state.account = Observation::default().account;
        }
    }

    fn invitation(&mut self, change: &Change, time: DateTime<Utc>) {
        if let Change::InvitationSent(Some(terms)) = change
            && self.state.link == Some(LinkStatus::Invited)
        {
            self.state.invitations = terms.count;
            self.state.invitation = Some(Invitation {
                sent_at: time,
                channel: terms.channel,
                steps: terms.steps.clone(),
                done: BTreeSet::new(),
                commission_eligible: terms.commission_eligible,
                onboarded_independently: false,
                stalled: false,
                bounced: false,
            });
        }
        let Some(invitation) = &mut self.state.invitation else {
            return;
        };
        match change {
            Change::InvitationStepCompleted(step) => drop(invitation.done.insert(*step)),
            Change::InvitationBypassed => invitation.onboarded_independently = true,
            Change::InvitationBounced => invitation.bounced = true,
            Change::CommissionEligibilityChanged { eligible } => invitation.commission_eligible = *eligible,
            _ => {}
        }
    }

    fn subscription(&mut self, change: &Change, time: DateTime<Utc>) {
        match change {
            Change::Subscription { id, to, terms, .. } => {
                let state = match to {
                    SubscriptionStatus::Prepared => SubscriptionState::Prepared,
                    SubscriptionStatus::Active => SubscriptionState::Active,
                    SubscriptionStatus::Ended => SubscriptionState::Ended { ended_at: time },
                };
                // It may be there already.
                let _ = self.subscriptions.add(id, unknown(state));
                self.subscriptions.update(id, |subscription| {
                    subscription.state = state;
                    if let Some(terms) = terms {
                        subscription.managed_by = terms.managed_by;
                        subscription.plan.clone_from(&terms.plan);
                        subscription.paid_until = terms.paid_until;
                    }
                });
            }
            Change::SubscriptionRenewed { id, to, .. } => {
                self.subscriptions
                    .update(id, |subscription| subscription.paid_until = *to);
            }
            Change::SubscriptionRemoved { id, .. } => {
                let _ = self.subscriptions.remove(id);
            }
            _ => {}
        }
    }

    fn account(&mut self, change: &Change) {
        let account = &mut self.state.account;
        match change {
            Change::AccountCreated { id, from, to } => {
                // With the same creator, only the id is new.
                account.has_owner &= from == to;
                account.created_by = *to;
                account.id.clone_from(id);
            }
            Change::AccountHandedOver => account.has_owner = true,
            Change::AccountJobsCounted { to, .. } => account.jobs_total = *to,
            _ => {}
        }
    }

    /// The changes that lead from this replica to the expected one. No change can take back a link, a service or a name that was
    /// published and never existed.
    #[must_use]
    pub fn changes_to(&self, expected: &Self) -> Vec<Change> {
        let subscriptions = expected.subscriptions.differences_from(&self.subscriptions);
        let mut sets = expected.sets.iter().zip(&self.sets);
        let holdings = Holdings {
            subscriptions,
            sets: std::array::from_fn(|_| {
                sets.next()
                    .map(|(after, before)| presence(after.differences_from(before)))
                    .unwrap_or_default()
            }),
        };
        between(&self.state, &expected.state, &holdings)
    }
}

/// A subscription whose terms were not published.
fn unknown(state: SubscriptionState) -> Subscription {
    Subscription {
        state,
        managed_by: ManagedBy::default(),
        plan: None,
        paid_until: None,
        link_lost_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::AccessStatus;
    use crate::domain::change::Flag;

    #[test]
    fn a_published_request_that_was_never_made_is_closed() {
        let closed = Replica {
            state: Observation {
                access: AccessStatus::Disabled,
                ..Observation::default()
            },
            ..Replica::default()
        };
        let mut open = closed.clone();
        open.apply(&Change::AccessRequested, DateTime::UNIX_EPOCH);
        assert_eq!(
            open.changes_to(&closed),
            [Change::AccessRequestClosed { to: None }]
        );
        assert_eq!(closed.changes_to(&open), [Change::AccessRequested]);
    }

    #[test]
    fn holdings_and_flags_have_places_of_their_own() {
        for (place, holding) in Holding::ALL.into_iter().enumerate() {
            assert_eq!(holding as usize, place);
        }
        for (place, flag) in Flag::ALL.into_iter().enumerate() {
            assert_eq!(flag as usize, place);
        }
    }
}
