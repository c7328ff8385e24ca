//! A client as a subscriber computes it from changes alone: the proof that the journal is complete.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{AccessStatus, RequestEnd};
use super::change::{Change, Flag, Holding};
use super::client::Client;
use super::holdings::SubscriptionStatus;
use super::id::Id;
use super::link::LinkStatus;
use super::service::ServiceStatus;

/// A copy of a client's facets and holdings, built by applying its changes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    pub link: Option<LinkStatus>,
    pub service: Option<ServiceStatus>,
    pub access: AccessStatus,
    pub access_requested: bool,
    pub subscriptions: BTreeMap<Id, SubscriptionStatus>,
    pub holdings: BTreeSet<(Holding, Id)>,
    pub on: BTreeSet<Flag>,
}

impl Replica {
    /// The replica that a complete journal of this client leads to.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        let sets = [
            (Holding::ReportSchedule, &client.report_schedules),
            (Holding::MarginRule, &client.margin_rules),
            (Holding::User, &client.users),
            (Holding::Integration, &client.integrations),
        ];
        Self {
            link: client.link_status(),
            service: client.service_status(),
            access: client.access_status(),
            access_requested: client.access_request().is_some(),
            subscriptions: client
                .subscriptions
                .iter()
                .map(|(id, subscription)| (id.clone(), subscription.state.status()))
                .collect(),
            holdings: sets
                .into_iter()
                .flat_map(|(holding, ids)| ids.keys().map(move |id| (holding, id.clone())))
                .chain(
                    client
                        .assignments
                        .keys()
                        .map(|id| (Holding::Assignment, id.clone())),
                )
                .collect(),
            on: Flag::ALL.into_iter().filter(|flag| client.flag(*flag)).collect(),
        }
    }

    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Link { to, .. } => self.link = Some(*to),
            Change::Service { to, .. } => self.service = Some(*to),
            Change::Access { to, .. } => self.access = *to,
            Change::AccessRequested => self.access_requested = true,
            Change::AccessRequestClosed { .. } => self.access_requested = false,
            Change::Subscription { id, to, .. } => drop(self.subscriptions.insert(id.clone(), *to)),
            Change::SubscriptionRemoved { id, .. } => drop(self.subscriptions.remove(id)),
            Change::Added { holding, id } => drop(self.holdings.insert((*holding, id.clone()))),
            Change::Removed { holding, id } => drop(self.holdings.remove(&(*holding, id.clone()))),
            Change::Started(flag) => drop(self.on.insert(*flag)),
            Change::Stopped(flag) => drop(self.on.remove(flag)),
            // Notices: no facet and no holding is different afterwards.
            Change::AccessExpiring { .. }
            | Change::ClientRenamed { .. }
            | Change::InvitationSent
            | Change::InvitationStalled
            | Change::InvitationStepCompleted(_)
            | Change::InvitationBypassed
            | Change::InvitationBounced
            | Change::AccountCreated { .. }
            | Change::AccountHandedOver
            | Change::SubscriptionRenewed { .. }
            | Change::EventRefused(_) => {}
        }
    }

    /// The changes that lead from this replica to the expected one. No change can take back a link or a service that was
    /// published and never existed.
    #[must_use]
    pub fn changes_to(&self, expected: &Self) -> Vec<Change> {
        let mut out = Vec::new();
        if let (true, Some(to)) = (self.link != expected.link, expected.link) {
            out.push(Change::Link { from: self.link, to });
        }
        if let (true, Some(to)) = (self.service != expected.service, expected.service) {
            out.push(Change::Service {
                from: self.service,
                to,
            });
        }
        if self.access != expected.access {
            out.push(Change::Access {
                from: self.access,
                to: expected.access,
            });
        }
        match (self.access_requested, expected.access_requested) {
            (false, true) => out.push(Change::AccessRequested),
            (true, false) => {
                let is_connected = expected.access != AccessStatus::None;
                let to = (!is_connected).then_some(RequestEnd::Disconnected);
                out.push(Change::AccessRequestClosed { to });
            }
            _ => {}
        }
        self.subscriptions_to(expected, &mut out);
        let added = expected.holdings.difference(&self.holdings).cloned();
        out.extend(added.map(|(holding, id)| Change::Added { holding, id }));
        let removed = self.holdings.difference(&expected.holdings).cloned();
        out.extend(removed.map(|(holding, id)| Change::Removed { holding, id }));
        for flag in expected.on.symmetric_difference(&self.on) {
            out.push(if expected.on.contains(flag) {
                Change::Started(*flag)
            } else {
                Change::Stopped(*flag)
            });
        }
        out
    }

    fn subscriptions_to(&self, expected: &Self, out: &mut Vec<Change>) {
        for (id, to) in &expected.subscriptions {
            let from = self.subscriptions.get(id).copied();
            if from != Some(*to) {
                out.push(Change::Subscription {
                    id: id.clone(),
                    from,
                    to: *to,
                });
            }
        }
        for (id, from) in &self.subscriptions {
            if !expected.subscriptions.contains_key(id) {
                out.push(Change::SubscriptionRemoved {
                    id: id.clone(),
                    from: *from,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_request_that_was_never_made_is_closed() {
        let closed = Replica {
            access: AccessStatus::Disabled,
            ..Replica::default()
        };
        let open = Replica {
            access_requested: true,
            ..closed.clone()
        };
        assert_eq!(
            open.changes_to(&closed),
            [Change::AccessRequestClosed { to: None }]
        );
        assert_eq!(closed.changes_to(&open), [Change::AccessRequested]);
    }
}
