//! The timers: when each is due under a given policy, when it fires while policies change, and its effect.

use chrono::{DateTime, TimeDelta, Utc};
use tenure::domain::Policy;
use tenure::domain::policy::SubscriptionsEnd;

use super::client_state::{ClientState, Subscription};
use super::eras::Eras;

/// In the order in which timers that are due at the same moment fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    AccessExpiry,
    AccessWarning,
    SubscriptionEnd,
    TerminatedCleanup,
    StalledInvitation,
    RequestLapse,
}

use Timer::{
    AccessExpiry, AccessWarning, RequestLapse, StalledInvitation, SubscriptionEnd, TerminatedCleanup,
};

pub const TIMERS: [Timer; 6] = [
    AccessExpiry,
    AccessWarning,
    SubscriptionEnd,
    TerminatedCleanup,
    StalledInvitation,
    RequestLapse,
];

impl Timer {
    /// As the cause of a change.
    pub fn name(self) -> &'static str {
        match self {
            AccessExpiry => "access_expiry",
            AccessWarning => "access_warning",
            SubscriptionEnd => "subscription_end",
            TerminatedCleanup => "terminated_cleanup",
            StalledInvitation => "stalled_invitation",
            RequestLapse => "request_lapse",
        }
    }

    /// The sweep that finds it.
    pub fn sweep(self) -> &'static str {
        match self {
            AccessExpiry | AccessWarning => "access-expiry",
            SubscriptionEnd => "subscription-end",
            TerminatedCleanup => "terminated-cleanup",
            StalledInvitation => "stalled-invitations",
            RequestLapse => "request-lapse",
        }
    }
}

impl ClientState {
    /// When access expires under this policy.
    pub fn expires_at(&self, policy: &Policy) -> Option<DateTime<Utc>> {
        if self.access != "enabled" {
            return None;
        }
        let mut latest = self.renewed?;
        if self.jobs_total.is_some() {
            latest = latest.max(self.matured_at?);
        }
        if policy.from_account_update {
            latest = latest.max(self.updated_at?);
        }
        Some(latest + policy.access_idle)
    }

    fn due(&self, timer: Timer, policy: &Policy) -> Option<DateTime<Utc>> {
        match timer {
            AccessExpiry => self.expires_at(policy),
            AccessWarning => {
                let nearer = |span: &&TimeDelta| self.warned.is_none_or(|warned| **span < warned);
                let open = policy.warn_before.iter().filter(nearer);
                Some(self.expires_at(policy)? - *open.max()?)
            }
            SubscriptionEnd => {
                let ends = self.subscriptions.values().filter_map(|held| held.ends(policy));
                ends.min()
            }
            TerminatedCleanup => {
                let left = [&self.report_schedules, &self.margin_rules, &self.assignments];
                let since = self.to_clean_since?;
                left.iter()
                    .any(|held| !held.is_empty())
                    .then(|| since + policy.cleanup_grace)
            }
            StalledInvitation => {
                let invitation = self.invitation.as_ref()?;
                let waiting = self.link == Some("invited") && !invitation.stalled;
                waiting.then(|| invitation.at + policy.stalled_after)
            }
            RequestLapse => {
                let never = policy.request_lapses.is_zero();
                (!never).then_some(self.request? + policy.request_lapses)
            }
        }
    }

    /// When a timer fires that has not fired up to `now`: at its due time under the policy in force then. An overdue timer
    /// fires at once, or when the policy that makes it overdue takes effect.
    fn fires_at(&self, timer: Timer, now: DateTime<Utc>, eras: &Eras) -> Option<DateTime<Utc>> {
        eras.all().iter().filter(|era| era.end > now).find_map(|era| {
            let at = self.due(timer, &era.policy)?.max(era.start).max(now);
            (at < era.end).then_some(at)
        })
    }

    /// The next timer that fires after `now`: of one sweep, or of all.
    pub fn next(
        &self,
        sweep: Option<&str>,
        now: DateTime<Utc>,
        eras: &Eras,
    ) -> Option<(DateTime<Utc>, Timer)> {
        let asked = TIMERS
            .into_iter()
            .filter(|timer| sweep.is_none_or(|sweep| timer.sweep() == sweep));
        let firing = asked.filter_map(|timer| Some((self.fires_at(timer, now, eras)?, timer)));
        // `min_by_key` returns the first of equal elements, which gives the order of the table.
        firing.min_by_key(|(at, _)| *at)
    }

    pub fn fire(&mut self, timer: Timer, at: DateTime<Utc>, policy: &Policy) {
        match timer {
            AccessExpiry => self.access = "expired",
            AccessWarning => {
                let expiry = self.expires_at(policy).expect("the warning is due");
                let due = policy.warn_before.iter().filter(|span| expiry - **span <= at);
                self.warned = due.min().copied();
            }
            SubscriptionEnd => {
                for held in self.subscriptions.values_mut() {
                    if held.ends(policy).is_some_and(|due| due <= at) {
                        held.end(at);
                    }
                }
            }
            TerminatedCleanup => self.clean_up(),
            StalledInvitation => {
                let invitation = self.invitation.as_mut().expect("the invitation is stalled");
                invitation.stalled = true;
            }
            RequestLapse => self.request = None,
        }
    }
}

impl Subscription {
    fn ends(&self, policy: &Policy) -> Option<DateTime<Utc>> {
        let due = self.link_ended_at? + policy.subscriptions_grace;
        let paid_until = self
            .paid_until
            .filter(|_| policy.subscriptions_end == SubscriptionsEnd::PaidUntil);
        Some(paid_until.map_or(due, |paid| paid.max(due)))
    }
}
