//! What is not well, and what to do, in sentences: for the console and for `tenure top`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::overview::Overview;
use super::{EndpointView, HeldBack, SweepState, WorkerStatus};
use crate::domain::Sweep;
use crate::phrases::{self, ago, duration, title, words};
use crate::store::{EndpointStatus, Halt, HaltKind, RunStatus};
use crate::tone::Tone;

/// From this lag on, the relay needs attention.
const RELAY_LAG: TimeDelta = TimeDelta::minutes(1);
/// From this lag on, a lane needs attention.
const LANE_LAG: TimeDelta = TimeDelta::minutes(5);
/// How long an upgrade may take, one worker after the other.
const UPGRADE: TimeDelta = TimeDelta::hours(1);

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Attention or bad.
    pub tone: Tone,
    pub what: String,
    /// What follows from it, or what to do.
    pub then: String,
    /// What it is about, for links.
    #[serde(skip)]
    pub part: Part,
}

/// A part of Tenure that an issue is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Source(String),
    Lane(String),
    Relay,
    /// A check of the worker that fails.
    Check(String),
    /// A warning of a check of the worker, and the first word of it, which names what it is about.
    Warning(String, String),
    /// A worker that shares the store.
    Worker(String),
    /// The workers that share the store.
    Workers,
    DeadLetters,
    Sweep(Sweep),
    /// A run of a sweep.
    Run(i64),
    /// An endpoint of webhooks.
    Endpoint(String),
}

/// The result of a check of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// For people.
    pub detail: String,
    /// Problems that need attention but do not affect readiness.
    pub warnings: Vec<String>,
}

impl Overview {
    /// What is not well, the worst first. `checks`: those of a worker, if they are known.
    #[must_use]
    pub fn issues(&self, checks: &[Check]) -> Vec<Issue> {
        let mut issues: Vec<Issue> = checks.iter().flat_map(of_check).collect();
        issues.extend(self.sweeps.iter().flat_map(|state| of_sweep(state, self.now)));
        self.add_flow(&mut issues);
        issues.extend(of_workers(&self.workers, self.now));
        let open = self.dead_letters.total;
        if open > 0 {
            issues.push(Issue {
                tone: Tone::Attention,
                what: format!("{} open", counted(open, "dead letter")),
                then: "Find the cause of each group, then redrive or discard them.".into(),
                part: Part::DeadLetters,
            });
        }
        issues.sort_by_key(|issue| std::cmp::Reverse(issue.tone));
        issues
    }

    fn add_flow(&self, issues: &mut Vec<Issue>) {
        let mut add = |tone, part, what, then: &str| {
            issues.push(Issue {
                tone,
                what,
                then: then.into(),
                part,
            });
        };
        for source in &self.sources {
            if let Some(since) = source.silent_since {
                add(
                    Tone::Bad,
                    Part::Source(source.source.clone()),
                    format!("{} is silent, last heard {}", source.source, ago(self.now, since)),
                    "Timers that came due since then wait. Check the app and its connection to the broker.",
                );
            }
        }
        for lane in &self.lanes {
            let lag = lane.watermark.map(|watermark| self.now - watermark);
            if let Some(lag) = lag.filter(|lag| *lag > LANE_LAG) {
                add(
                    Tone::Attention,
                    Part::Lane(lane.lane.clone()),
                    format!("Lane {} is {} behind", lane.lane, duration(lag)),
                    "Events wait in its queue. Check that a worker consumes it.",
                );
            }
        }
        if let Some(relay) = self.relay
            && let Some(oldest) = relay.oldest
            && self.now - oldest > RELAY_LAG
        {
            add(
                Tone::Attention,
                Part::Relay,
                format!(
                    "{} not published, the oldest from {}",
                    counted(relay.changes, "change"),
                    ago(self.now, oldest)
                ),
                "Subscribers have not received them yet. Check the connection to the broker.",
            );
        }
        issues.extend(self.endpoints.iter().filter_map(of_endpoint));
    }
}

/// A number and its noun, for programs too: with a plain space.
fn counted(count: impl TryInto<i64>, noun: &str) -> String {
    phrases::counted(count, noun).replace('\u{a0}', " ")
}

/// The worst tone of issues, of which the worst is first.
#[must_use]
pub fn tone_of(issues: &[Issue]) -> Tone {
    issues.first().map_or(Tone::Good, |issue| issue.tone)
}

/// Whether all is well, in a sentence. The worst issue is first.
#[must_use]
pub fn verdict(issues: &[Issue]) -> String {
    let count = issues.len();
    match tone_of(issues) {
        Tone::Good | Tone::Neutral => "All is well.".to_owned(),
        Tone::Attention if count == 1 => "Tenure works. One thing needs attention.".to_owned(),
        Tone::Attention => format!("Tenure works. {count} things need attention."),
        Tone::Bad => {
            let bad = issues.iter().filter(|issue| issue.tone == Tone::Bad).count();
            let wrong = match bad {
                1 => "Something is wrong".to_owned(),
                bad => format!("{bad} things are wrong"),
            };
            match count - bad {
                0 => format!("{wrong}."),
                1 => format!("{wrong}, and one more thing needs attention."),
                rest => format!("{wrong}, and {rest} more things need attention."),
            }
        }
    }
}

fn of_check(check: &Check) -> Vec<Issue> {
    let name = title(&check.name);
    let issue = |tone, part, text: &str, then: &str| Issue {
        tone,
        what: format!("{name}: {text}"),
        then: then.into(),
        part,
    };
    let failure = (!check.ok).then(|| {
        let then = "This worker is not ready. Its log and /readyz say more.";
        issue(Tone::Bad, Part::Check(check.name.clone()), &check.detail, then)
    });
    let warnings = check.warnings.iter().map(|warning| {
        let about = warning.split(' ').next().unwrap_or_default();
        let part = Part::Warning(check.name.clone(), about.to_owned());
        issue(Tone::Attention, part, warning, "The worker continues.")
    });
    failure.into_iter().chain(warnings).collect()
}

fn of_workers(workers: &[WorkerStatus], now: DateTime<Utc>) -> Vec<Issue> {
    let (gone, running): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.gone);
    let (tone, others) = if running.is_empty() {
        (Tone::Bad, "No other worker runs: start it again.")
    } else {
        (
            Tone::Attention,
            "Other workers do its work. Start it again if it is missed.",
        )
    };
    let mut issues: Vec<Issue> = gone
        .into_iter()
        .map(|worker| Issue {
            tone,
            what: format!(
                "Worker {} was last seen {}",
                worker.name,
                ago(now, worker.seen_at)
            ),
            then: format!(
                "It ended without stopping, or cannot reach the store: see its log on {}. {others}",
                worker.host
            ),
            part: Part::Worker(worker.name.clone()),
        })
        .collect();
    // When each version began to run.
    let mut versions: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    for worker in running {
        let since = versions.entry(&worker.version).or_insert(worker.started_at);
        *since = worker.started_at.min(*since);
    }
    if let Some(since) = versions.values().max()
        && versions.len() > 1
        && now - *since > UPGRADE
    {
        let names: Vec<&str> = versions.keys().copied().collect();
        issues.push(Issue {
            tone: Tone::Attention,
            what: format!(
                "Workers have run different versions for {}: {}",
                duration(now - *since),
                names.join(", ")
            ),
            then: "Finish the upgrade: replace the older program and restart its workers.".into(),
            part: Part::Workers,
        });
    }
    issues
}

fn of_endpoint(endpoint: &EndpointView) -> Option<Issue> {
    let (tone, state, then) = match endpoint.status {
        EndpointStatus::Disabled => (
            Tone::Bad,
            "disabled",
            "Its subscriber receives nothing. Find out why, repair that, then resume the endpoint.",
        ),
        EndpointStatus::Active if endpoint.failing_since.is_some() => (
            Tone::Attention,
            "failing",
            "Its subscriber does not receive the latest changes. See its last response, and ask its owner to repair it.",
        ),
        EndpointStatus::Paused => (
            Tone::Attention,
            "paused",
            "Its subscriber receives nothing. Resume the endpoint when the subscriber is ready.",
        ),
        EndpointStatus::Active => return None,
    };
    Some(Issue {
        tone,
        what: format!("The endpoint {} is {state}", endpoint.name),
        then: then.into(),
        part: Part::Endpoint(endpoint.name.clone()),
    })
}

fn of_sweep(state: &SweepState, now: DateTime<Utc>) -> Vec<Issue> {
    let name = title(state.sweep.as_str());
    let mut issues: Vec<Issue> = state.halts.iter().map(|halt| of_halt(&name, halt, now)).collect();
    if let Some(held_back) = &state.held_back {
        issues.push(Issue {
            tone: Tone::Attention,
            what: format!("{name} is held back: {held_back}"),
            then: of_hold(held_back).into(),
            part: Part::Sweep(state.sweep),
        });
    }
    let failed = state
        .last_run
        .as_ref()
        .filter(|run| run.status == RunStatus::Failed);
    if let Some(run) = failed {
        issues.push(Issue {
            tone: Tone::Bad,
            what: format!("{name}: the last run {}", words(run.status.as_str())),
            then: run.error.clone().unwrap_or_else(|| "The log says why.".into()),
            part: Part::Run(run.id),
        });
    }
    issues
}

/// What to do about what holds a sweep back.
fn of_hold(held_back: &HeldBack) -> &'static str {
    match held_back {
        HeldBack::Lane { .. } => {
            "Its timers wait for earlier events. Check that the broker runs and that a worker consumes the lane."
        }
        HeldBack::Source(_) => {
            "Its timers wait for earlier events. Check that the app runs and that it reaches the broker."
        }
        HeldBack::Clock { .. } => {
            "Its timers wait until the clocks agree. Check the time synchronization of both machines."
        }
    }
}

fn of_halt(name: &str, halt: &Halt, now: DateTime<Utc>) -> Issue {
    let since = ago(now, halt.at);
    let (tone, what, then) = match halt.kind {
        HaltKind::Tripped => (
            Tone::Bad,
            format!("{name}: the breaker stopped the sweep {since}"),
            "See which clients it would change. If that is right, confirm it.",
        ),
        HaltKind::Paused => (
            Tone::Attention,
            format!("{name} was paused {since}"),
            "Its timers wait until somebody resumes it.",
        ),
    };
    Issue {
        tone,
        what,
        then: match halt.kind {
            HaltKind::Paused if !halt.why.is_empty() => {
                // A reason is written with or without a full stop.
                format!("“{}”. {then}", halt.why.trim_end_matches('.'))
            }
            _ => then.into(),
        },
        part: Part::Sweep(halt.sweep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_what_is_wrong_and_what_needs_attention() {
        let issue = |tone| Issue {
            tone,
            what: String::new(),
            then: String::new(),
            part: Part::Relay,
        };
        let (bad, attention) = (Tone::Bad, Tone::Attention);
        for (tones, text) in [
            (&[][..], "All is well."),
            (&[attention], "Tenure works. One thing needs attention."),
            (&[attention, attention], "Tenure works. 2 things need attention."),
            (&[bad], "Something is wrong."),
            (&[bad, bad], "2 things are wrong."),
            (
                &[bad, attention],
                "Something is wrong, and one more thing needs attention.",
            ),
            (
                &[bad, attention, attention],
                "Something is wrong, and 2 more things need attention.",
            ),
        ] {
            let issues: Vec<Issue> = tones.iter().map(|tone| issue(*tone)).collect();
            assert_eq!(verdict(&issues), text);
        }
    }

    #[test]
    fn the_part_of_an_issue_says_which_thing_it_is_about_and_not_for_how_long() {
        let parts = |name: &str, detail: &str, warning: &str| -> Vec<Part> {
            let issues = of_check(&Check {
                name: name.into(),
                ok: false,
                detail: detail.into(),
                warnings: vec![warning.into()],
            });
            issues.into_iter().map(|issue| issue.part).collect()
        };
        let broker = parts("broker", "gone for 3 s", "relay: slow for 3 s");
        assert_eq!(parts("broker", "gone for 9 s", "relay: slow for 9 s"), broker);
        let others = [
            parts("store", "gone for 3 s", "relay: slow for 3 s"),
            parts("broker", "gone for 3 s", "heartbeat: slow for 3 s"),
        ];
        assert!(others.iter().all(|other| *other != broker), "{others:?}");
    }
}
