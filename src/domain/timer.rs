//! Timers: moments at which a client changes without an event, and the sweeps that find them.

use chrono::{DateTime, Utc};

use super::access::RequestEnd;
use super::client::Client;
use super::policy::{Policies, Policy, later};
use super::service::Service;
use super::text_enum::text_enum;

text_enum! {
    /// The timers. Those that are due at the same moment fire in the order of declaration.
    pub enum Timer {
        AccessExpiry = "access_expiry",
        AccessWarning = "access_warning",
        SubscriptionEnd = "subscription_end",
        TerminatedCleanup = "terminated_cleanup",
        StalledInvitation = "stalled_invitation",
        RequestLapse = "request_lapse",
    }
}

text_enum! {
    /// The sweeps. Each runs on a cron schedule of its own.
    pub enum Sweep {
        AccessExpiry = "access-expiry",
        SubscriptionEnd = "subscription-end",
        TerminatedCleanup = "terminated-cleanup",
        StalledInvitations = "stalled-invitations",
        RequestLapse = "request-lapse",
    }
}

impl Timer {
    /// The sweep that finds clients with this timer due.
    #[must_use]
    pub fn sweep(self) -> Sweep {
        match self {
            Self::AccessExpiry | Self::AccessWarning => Sweep::AccessExpiry,
            Self::SubscriptionEnd => Sweep::SubscriptionEnd,
            Self::TerminatedCleanup => Sweep::TerminatedCleanup,
            Self::StalledInvitation => Sweep::StalledInvitations,
            Self::RequestLapse => Sweep::RequestLapse,
        }
    }
}

/// A timer, and the moment at which it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub at: DateTime<Utc>,
    pub timer: Timer,
}

impl Client {
    /// The timers that are running under a policy, each with its next due time. They are not sorted by time.
    pub fn due(&self, policy: &Policy) -> impl Iterator<Item = Due> {
        Timer::ALL
            .into_iter()
            .filter_map(move |timer| self.due_at(timer, policy).map(|at| Due { at, timer }))
    }

    fn due_at(&self, timer: Timer, policy: &Policy) -> Option<DateTime<Utc>> {
        match timer {
            Timer::AccessExpiry => self.expires_at(policy),
            Timer::AccessWarning => self.next_warning(policy).map(|(at, _)| at),
            Timer::SubscriptionEnd => self.subscriptions.next_end(policy),
            Timer::TerminatedCleanup => match self.service {
                Service::Terminated { at } if !self.is_clean() => Some(later(at, policy.cleanup_grace)),
                _ => None,
            },
            Timer::StalledInvitation => self
                .link
                .invitation()
                .filter(|invitation| !invitation.stalled)
                .map(|invitation| later(invitation.sent_at, policy.stalled_after)),
            Timer::RequestLapse => self.request_lapses_at(policy),
        }
    }

    /// The next timer that fires at or before a moment. A timer fires under the policy in force at its due time. A timer
    /// that a new policy makes overdue fires when that policy takes effect. No timer fires before the last event or timer
    /// that the client has seen.
    #[must_use]
    pub fn next_due(&self, until: DateTime<Utc>, policies: &Policies) -> Option<Due> {
        self.next_due_of(until, policies, |_| true)
    }

    /// As [`Client::next_due`], among the timers that `counts` selects.
    #[must_use]
    pub fn next_due_of(
        &self,
        until: DateTime<Utc>,
        policies: &Policies,
        counts: impl Fn(Timer) -> bool,
    ) -> Option<Due> {
        let as_of = self.as_of()?;
        policies
            .eras_from(as_of)
            .take_while(|era| era.start <= until)
            .find_map(|era| {
                let floor = era.start.max(as_of);
                self.due(era.policy)
                    .filter(|due| counts(due.timer))
                    .map(|due| Due {
                        at: due.at.max(floor),
                        ..due
                    })
                    .min()
                    .filter(|due| due.at < era.end && due.at <= until)
            })
    }

    /// Fires a timer that [`Client::next_due`] returned.
    pub fn fire(&mut self, due: Due, policies: &Policies) {
        let policy = policies.at(due.at);
        match due.timer {
            Timer::AccessExpiry => {
                if let Some(access) = self.access_mut() {
                    *access = super::access::Access::Expired { request: None };
                }
            }
            Timer::AccessWarning => self.warn(due.at, policy),
            Timer::SubscriptionEnd => self.subscriptions.end_due(due.at, policy),
            Timer::TerminatedCleanup => self.clean_up(),
            Timer::StalledInvitation => {
                if let super::link::Link::Invited(invitation) = &mut self.link {
                    invitation.stalled = true;
                }
            }
            Timer::RequestLapse => self.close_request(RequestEnd::Lapsed),
        }
        self.fired = Some(due.at);
    }

    /// Fires every timer that is due at or before a moment, in order of due time.
    pub fn advance(&mut self, until: DateTime<Utc>, policies: &Policies) {
        while let Some(due) = self.next_due(until, policies) {
            self.fire(due, policies);
        }
    }

    /// When the client's view next becomes different without an event, at the earliest: the next timer fires, or a policy takes
    /// effect under which access expires at another moment. Every timer that is due at or before `moment` must have fired.
    #[must_use]
    pub fn holds_until(&self, moment: DateTime<Utc>, policies: &Policies) -> Option<DateTime<Utc>> {
        let timer = self
            .next_due(DateTime::<Utc>::MAX_UTC, policies)
            .map(|due| due.at);
        let policy = self.expiry_moves_at(moment, policies);
        timer.into_iter().chain(policy).min()
    }

    /// The deadline of this client for a sweep, once every due timer has fired: when the sweep next has something to do.
    /// Policies that are recorded but not yet in force count too.
    #[must_use]
    pub fn deadline(&self, sweep: Sweep, policies: &Policies) -> Option<DateTime<Utc>> {
        let as_of = self.as_of()?;
        policies.eras_from(as_of).find_map(|era| {
            let floor = era.start.max(as_of);
            self.due(era.policy)
                .filter(|due| due.timer.sweep() == sweep)
                .map(|due| due.at.max(floor))
                .min()
                .filter(|at| *at < era.end)
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::access::Access;
    use crate::domain::event::Position;
    use crate::domain::link::{Connection, Link};

    #[test]
    fn a_deadline_at_the_moment_of_a_new_policy_follows_the_new_policy() {
        let day = |n| DateTime::UNIX_EPOCH + TimeDelta::days(n);
        let idle = |span| Policy {
            access_idle: TimeDelta::days(span),
            warn_before: Vec::new(),
            ..Policy::default()
        };
        let client = Client {
            link: Link::Active(Connection {
                commission_eligible: false,
                access: Access::enabled(day(0)),
            }),
            seen: Some(Position {
                time: day(0),
                sequence: None,
                rank: 0,
                source: "app".into(),
                id: "1".into(),
            }),
            ..Client::default()
        };
        for (change, expected) in [(59, 90), (60, 90), (61, 60)] {
            let policies = Policies::recorded(vec![(day(0), idle(60)), (day(change), idle(90))]).unwrap();
            let deadline = client.deadline(Sweep::AccessExpiry, &policies);
            assert_eq!(deadline, Some(day(expected)), "a new policy on day {change}");
        }
    }
}
