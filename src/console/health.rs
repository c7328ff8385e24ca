//! Whether all is well, in one sentence, and what to do if not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use super::Console;
use super::ui::{Tone, counted, distance, title, words};
use crate::engine::{DeadLetterGroups, EndpointView, Engine, MinuteCounts, SourceStatus, SweepState};
use crate::http::{Api, ApiError, Health};
use crate::store::{HaltKind, LaneProgress, RunStatus, StoreError};

/// How long a summary is reused: readers of live figures share it.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// From this lag on, the relay needs attention.
const RELAY_LAG: TimeDelta = TimeDelta::minutes(1);
/// From this lag on, a lane needs attention.
const LANE_LAG: TimeDelta = TimeDelta::minutes(5);

/// The state of everything, as of one moment.
pub struct Summary {
    pub now: DateTime<Utc>,
    pub checks: Vec<(&'static str, Health)>,
    pub sweeps: Vec<SweepState>,
    pub lanes: Vec<LaneProgress>,
    pub sources: Vec<SourceStatus>,
    pub endpoints: Vec<EndpointView>,
    pub dead_letters: DeadLetterGroups,
    /// When the oldest change was recorded that is not published, and how many there are. None: no relay publishes.
    pub relay: Option<(Option<DateTime<Utc>>, i64)>,
    /// The last hour, by minute.
    pub hour: Vec<(DateTime<Utc>, MinuteCounts)>,
}

/// Something that is not well.
pub struct Issue {
    pub tone: Tone,
    pub what: String,
    pub then: String,
    pub url: String,
}

/// The latest summary.
#[derive(Default)]
pub struct Latest {
    /// With the number of actions before it was read.
    read: Mutex<Option<(Instant, u64, Arc<Summary>)>>,
    actions: AtomicU64,
}

impl Latest {
    /// Lets the next page show what an action has changed.
    pub fn forget(&self) {
        self.actions.fetch_add(1, Ordering::Relaxed);
    }

    /// A summary that is at most two seconds old, and not from before the last action.
    ///
    /// # Errors
    /// The store is not open or fails.
    pub async fn get(&self, api: &Arc<Api>, console: &Arc<Console>) -> Result<Arc<Summary>, ApiError> {
        let mut latest = self.read.lock().await;
        let actions = self.actions.load(Ordering::Relaxed);
        if let Some((at, after, summary)) = &*latest
            && at.elapsed() < FRESH_FOR
            && *after == actions
        {
            return Ok(summary.clone());
        }
        let checks = crate::http::checks(api).await.into_iter().collect();
        let reading = console.clone();
        let summary = api
            .run_detached(move |engine| async move { read(&engine, &reading, checks).await })
            .await?;
        let summary = Arc::new(summary);
        *latest = Some((Instant::now(), actions, summary.clone()));
        Ok(summary)
    }
}

async fn read(
    engine: &Engine,
    console: &Console,
    checks: Vec<(&'static str, Health)>,
) -> Result<Summary, StoreError> {
    let store = engine.store();
    let relay = if console.is_relayed {
        let oldest = store.oldest_unpublished().await?.map(|(_, at)| at);
        Some((oldest, store.count_unpublished().await?))
    } else {
        None
    };
    Ok(Summary {
        now: engine.now(),
        checks,
        sweeps: engine.sweep_states(&console.schedules).await?,
        lanes: store.lanes().await?,
        sources: engine.sources().await?,
        endpoints: engine.endpoints().await?,
        dead_letters: engine.dead_letter_groups().await?,
        relay,
        hour: engine.activity(60, 1),
    })
}

impl Summary {
    /// What is not well, the worst first.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        self.check_issues(&mut issues);
        for state in &self.sweeps {
            sweep_issues(state, self.now, &mut issues);
        }
        self.flow_issues(&mut issues);
        let open = self.dead_letters.total;
        if open > 0 {
            issues.push(Issue {
                tone: Tone::Attention,
                what: format!("{} open", counted(open, "dead letter")),
                then: "Find the cause by its group, then redrive or discard them.".into(),
                url: "/dead-letters".into(),
            });
        }
        issues.sort_by_key(|issue| std::cmp::Reverse(issue.tone));
        issues
    }

    fn check_issues(&self, issues: &mut Vec<Issue>) {
        for (name, health) in &self.checks {
            if !health.ok {
                issues.push(Issue {
                    tone: Tone::Bad,
                    what: format!("{}: {}", title(name), health.detail),
                    then: "This worker is not ready. Its log and /readyz say more.".into(),
                    url: "/sources".into(),
                });
            }
            issues.extend(health.warnings.iter().map(|warning| Issue {
                tone: Tone::Attention,
                what: format!("{}: {warning}", title(name)),
                then: "The worker goes on.".into(),
                url: "/sources".into(),
            }));
        }
    }

    fn flow_issues(&self, issues: &mut Vec<Issue>) {
        for source in &self.sources {
            if let Some(since) = source.silent_since {
                issues.push(Issue {
                    tone: Tone::Bad,
                    what: format!("{} is silent, {}", source.source, last_heard(self.now, since)),
                    then:
                        "Timers that are due since then wait. Check the app and its connection to the broker."
                            .into(),
                    url: "/sources".into(),
                });
            }
        }
        for endpoint in &self.endpoints {
            if let Some((tone, what)) = super::webhooks::trouble(endpoint) {
                issues.push(Issue {
                    tone,
                    what,
                    then: "Its subscriber does not know of the latest changes.".into(),
                    url: format!("/webhooks#{}", endpoint.name),
                });
            }
        }
        for lane in &self.lanes {
            let lag = lane.watermark.map(|watermark| self.now - watermark);
            if lag.is_some_and(|lag| lag > LANE_LAG) {
                issues.push(Issue {
                    tone: Tone::Attention,
                    what: format!(
                        "Lane {} is {} behind",
                        lane.lane,
                        super::ui::duration(lag.unwrap_or_default())
                    ),
                    then: "Events wait in its queue. See whether a worker consumes it.".into(),
                    url: "/sources".into(),
                });
            }
        }
        if let Some((Some(oldest), waiting)) = self.relay
            && self.now - oldest > RELAY_LAG
        {
            issues.push(Issue {
                tone: Tone::Attention,
                what: format!(
                    "{} not published, the oldest from {}",
                    counted(waiting, "change"),
                    distance(self.now, oldest)
                ),
                then: "Subscribers do not know of these changes yet. Check the connection to the broker."
                    .into(),
                url: "/sources".into(),
            });
        }
    }

    /// The worst tone of the issues.
    #[must_use]
    pub fn tone(&self) -> Tone {
        tone_of(&self.issues())
    }

    /// The sum of the last hour.
    #[must_use]
    pub fn last_hour(&self) -> MinuteCounts {
        let mut sum = MinuteCounts::default();
        for (_, counts) in &self.hour {
            sum += *counts;
        }
        sum
    }
}

/// The worst tone of issues, of which the worst is first.
#[must_use]
pub fn tone_of(issues: &[Issue]) -> Tone {
    issues.first().map_or(Tone::Good, |issue| issue.tone)
}

fn last_heard(now: DateTime<Utc>, since: DateTime<Utc>) -> String {
    format!("last heard {}", distance(now, since))
}

fn sweep_issues(state: &SweepState, now: DateTime<Utc>, issues: &mut Vec<Issue>) {
    let name = title(state.sweep.as_str());
    for halt in &state.halts {
        let since = distance(now, halt.at);
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
        issues.push(Issue {
            tone,
            what,
            then: match halt.kind {
                HaltKind::Paused if !halt.why.is_empty() => format!("“{}” {then}", halt.why),
                _ => then.into(),
            },
            url: format!("/sweeps#{}", state.sweep),
        });
    }
    if let Some(held_back) = &state.held_back {
        issues.push(Issue {
            tone: Tone::Attention,
            what: format!("{name} is held back: {held_back}"),
            then: "Timers wait until the events from before have arrived.".into(),
            url: format!("/sweeps#{}", state.sweep),
        });
    }
    if let Some(run) = state
        .last_run
        .as_ref()
        .filter(|run| run.status == RunStatus::Failed)
    {
        issues.push(Issue {
            tone: Tone::Bad,
            what: format!("{name}: the last run {}", words(run.status.as_str())),
            then: run.error.clone().unwrap_or_else(|| "The log says why.".into()),
            url: format!("/sweeps/runs/{}", run.id),
        });
    }
}
