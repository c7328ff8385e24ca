//! The sentences of an explanation, in plain English. Moments are in UTC.

use chrono::{DateTime, TimeDelta, Timelike, Utc};

use super::answer::{Answer, Value};
use super::course::{By, Course};
use super::phrases::{Tense, clause};
use super::settings::SettingCause;
use super::turns::{ByEvents, ByItself};
use crate::domain::event::{Step, is_reserved_source};
use crate::domain::policy::later;
use crate::domain::{ActorKind, Due, Event, Policy, Timer};

/// A moment: "3 March 2026 at 09:12 UTC".
pub(super) fn moment(at: DateTime<Utc>) -> String {
    let time = match (at.second(), at.nanosecond()) {
        (0, 0) => "%H:%M",
        (_, 0) => "%H:%M:%S",
        _ => "%H:%M:%S%.6f",
    };
    at.format(&format!("%-d %B %Y at {time} UTC")).to_string()
}

/// A duration: "60 days", "1 day 12 hours".
pub(super) fn span(span: TimeDelta) -> String {
    let parts = [
        (span.num_days(), "day"),
        (span.num_hours() % 24, "hour"),
        (span.num_minutes() % 60, "minute"),
        (span.num_seconds() % 60, "second"),
        (i64::from(span.subsec_nanos() / 1_000), "microsecond"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number != 0)
        .map(|(number, unit)| format!("{number} {unit}{}", if number == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() {
        return "0 seconds".to_owned();
    }
    parts.join(" ")
}

impl Course<'_> {
    /// What the answer is, and since when.
    pub(super) fn headline(&self) -> String {
        let Some(since) = self.since else {
            return format!("{}.", self.answer.never());
        };
        let state = self.answer.has_been(self.value.status);
        let by = match since.by {
            By::Event(place) => format!(", when {}", clause(&self.events[place].kind, Tense::Past)),
            By::Timer(timer) => self
                .idle_since(Due { at: since.at, timer })
                .unwrap_or_else(|| ", because the link had ended".to_owned()),
        };
        let more = self.details();
        format!("{state} since {}{by}.{more}", moment(since.at))
    }

    /// The rest of the answer, without its status: a sentence for each part, after a space.
    fn details(&self) -> String {
        let value = &self.value;
        let missing = value
            .missing
            .as_ref()
            .map(|missing| format!(" The invitation still needs: {}.", steps(missing)));
        let expiry = (self.answer == &Answer::Access && value.status == "enabled").then(|| self.expiry());
        let request = value
            .access_request
            .map(|opened| format!(" A request for access has been open since {}.", moment(opened)));
        let paid = value
            .paid_until
            .map(|paid_until| format!(" It is paid until {}.", moment(paid_until)));
        [missing, expiry, request, paid].into_iter().flatten().collect()
    }

    fn expiry(&self) -> String {
        let policy = self.policies.at(self.at);
        let account = &self.client.account;
        let Some(expires_at) = self.value.expires_at else {
            let jobs = (account.jobs_total.is_some() && account.mature_at.is_none())
                .then(|| format!("has {} jobs", policy.mature_after_jobs));
            let rules = (policy.from_account_update && account.updated_at.is_none())
                .then(|| "gets the new access rules".to_owned());
            let awaited: Vec<String> = jobs.into_iter().chain(rules).collect();
            return format!(
                " It does not expire before the account {}.",
                awaited.join(" and ")
            );
        };
        let idle = self.idle_after(expires_at, policy).unwrap_or_default();
        format!(" It expires on {}{idle}.", moment(expires_at))
    }

    /// After what a timer fired, of a kind that waits for a time without events.
    fn idle_since(&self, due: Due) -> Option<String> {
        (due.timer == Timer::AccessExpiry).then(|| {
            self.idle_after(due.at, self.policies.at(due.at))
                .unwrap_or_default()
        })
    }

    /// "60 days after the partner entered the account", if that event is the reason for an expiry.
    fn idle_after(&self, expires_at: DateTime<Utc>, policy: &Policy) -> Option<String> {
        let from = expires_at.checked_sub_signed(policy.access_idle)?;
        let place = self
            .events
            .partition_point(|event| event.time <= from)
            .checked_sub(1)?;
        let event = (0..=place)
            .rev()
            .take_while(|place| self.events[*place].time == from)
            .find(|place| self.has_effect[*place])?;
        let clause = clause(&self.events[event].kind, Tense::Past);
        Some(format!(", {} after {clause}", span(policy.access_idle)))
    }

    pub(super) fn of_timer(&self, due: Due, runs_from: DateTime<Utc>) -> String {
        let at = moment(due.at);
        match due.timer {
            Timer::AccessExpiry => {
                let idle = self.idle_since(due).unwrap_or_default();
                format!("On {at}, access expired{idle}.")
            }
            Timer::RequestLapse => {
                let waited = span(due.at - runs_from);
                format!(
                    "On {at}, the request for access lapsed: the customer had not answered it for {waited}."
                )
            }
            Timer::TerminatedCleanup => {
                format!("On {at}, the clean-up removed the assignments of the terminated client.")
            }
            _ => format!("On {at}, the subscription ended with the link."),
        }
    }

    pub(super) fn of_turn_by_itself(&self, turn: &ByItself) -> String {
        let becomes = self.becomes(&turn.to);
        let why = match turn.timer {
            Some(_) => ", unless an event comes before",
            None => ", under the policy that takes effect then",
        };
        format!("On {}, {becomes}{why}.", moment(turn.at))
    }

    pub(super) fn of_turn_by_events(&self, turn: &ByEvents) -> String {
        let clauses: Vec<String> = turn
            .events
            .iter()
            .map(|event| {
                let clause = clause(&event.kind, Tense::Present);
                format!("{clause} ({})", event.kind.type_name())
            })
            .collect();
        let clauses = match clauses.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{}, and {last}", before.join(", ")),
            _ => clauses.concat(),
        };
        format!("If {clauses}, {}.", self.becomes(&turn.to))
    }

    /// What another value means in comparison with this one.
    fn becomes(&self, to: &Value) -> String {
        if to.status == self.value.status {
            return self.becomes_in_part(to);
        }
        self.answer.becomes(to.status)
    }

    fn becomes_in_part(&self, to: &Value) -> String {
        let from = &self.value;
        let policy = self.policies.at(self.at);
        if to.expires_at != from.expires_at {
            return match to.expires_at {
                None => "access no longer expires".to_owned(),
                Some(at) if at == later(self.at, policy.access_idle) => {
                    format!("access expires {} after that", span(policy.access_idle))
                }
                Some(at) => format!("access expires on {}", moment(at)),
            };
        }
        if to.access_request != from.access_request {
            return match to.access_request {
                Some(_) => "a request for access is open".to_owned(),
                None => "the request for access is closed".to_owned(),
            };
        }
        if to.sent_at != from.sent_at {
            return "the invitation starts again".to_owned();
        }
        if let Some(missing) = &to.missing {
            return format!("the invitation still needs: {}", steps(missing));
        }
        if let (Answer::Subscription(id), true) = (self.answer, to.paid_until != from.paid_until) {
            return format!(
                "the date until which subscription {} is paid changes",
                id.as_str()
            );
        }
        "the answer changes".to_owned()
    }
}

fn steps(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|step| step.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// What an event that the answer rests on was.
pub(super) fn of_event(event: &Event) -> String {
    format!(
        "On {}, {} ({}).",
        moment(event.time),
        clause(&event.kind, Tense::Past),
        origin(event)
    )
}

/// A supporting event, or several consecutive ones of one type.
pub(super) fn of_supporting(first: &Event, last: &Event, count: u64) -> String {
    let clause = clause(&first.kind, Tense::Past);
    if count == 1 {
        return format!(
            "On {}, {clause} ({}). Without it, other events lead to the same answer.",
            moment(first.time),
            origin(first)
        );
    }
    format!(
        "From {} to {}, {clause} {count} times ({}). Without any one of them, other events lead to the same answer.",
        moment(first.time),
        moment(last.time),
        first.kind.type_name()
    )
}

/// The type of an event, its name, and what its sender says about it. The log does not have the names of touches.
fn origin(event: &Event) -> String {
    let mut parts = vec![event.kind.type_name().to_owned()];
    if !is_reserved_source(&event.source) {
        parts.push(format!("event {} of {}", event.id, event.source));
    }
    let actor = [event.actor.kind.map(ActorKind::as_str), event.actor.id.as_deref()];
    let actor: Vec<&str> = actor.into_iter().flatten().collect();
    if !actor.is_empty() {
        parts.push(format!("by {}", actor.join(" ")));
    }
    if let Some(reason) = event.kind.reason() {
        parts.push(format!("reason: {reason}"));
    }
    parts.join(", ")
}

pub(super) fn of_setting(cause: &SettingCause) -> String {
    let from = cause
        .from
        .map_or_else(String::new, |from| format!(", effective from {}", moment(from)));
    format!(
        "The policy has {} = {}{from}. With {}, the answer would be different.",
        cause.setting, cause.value, cause.other
    )
}
