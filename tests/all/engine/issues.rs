//! What the overview calls an issue: which part it is about, how bad it is, what it says, and what it advises.

use chrono::{DateTime, TimeDelta, Utc};
use tenure::domain::Sweep;
use tenure::engine::{
    Check, DeadLetterGroups, EndpointView, HeldBack, Issue, LowWatermark, Overview, Part, SilentSource,
    SourceStatus, SweepState, Unpublished, WorkerStatus,
};
use tenure::store::{
    EndpointOrigin, EndpointStatus, Halt, HaltKind, LaneProgress, RunCounts, RunStatus, SweepRun,
};

const LANE: &str = "tenure.events.0";
const SOURCE: &str = "/accounts";
const SWEEP: Sweep = Sweep::AccessExpiry;

fn now() -> DateTime<Utc> {
    "2026-03-10T12:00:00Z".parse().expect("a moment")
}

fn ago(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(seconds)
}

/// Lags are as long as they may be.
fn well() -> Overview {
    Overview {
        now: now(),
        workers: vec![worker()],
        sweeps: vec![sweep()],
        lanes: vec![LaneProgress {
            lane: LANE.into(),
            watermark: Some(ago(300)),
            recorded_at: now(),
            partition_key: None,
        }],
        sources: vec![SourceStatus {
            source: SOURCE.into(),
            every_seconds: 3_600,
            expected_since: ago(864_000),
            last_heard: Some(now()),
            events_per_hour: 1,
            silent_since: None,
        }],
        low_watermark: LowWatermark {
            until: Some(now()),
            behind: None,
        },
        endpoints: vec![endpoint()],
        dead_letters: DeadLetterGroups::default(),
        relay: Some(Unpublished {
            changes: 2,
            oldest: Some(ago(60)),
        }),
    }
}

fn worker() -> WorkerStatus {
    WorkerStatus {
        name: "tenure-1-5f0c2a9e".into(),
        host: "tenure-1".into(),
        version: "0.1.0".into(),
        started_at: ago(86_400),
        seen_at: now(),
        gone: false,
        lanes: vec![LANE.into()],
        leads_relay: true,
        leads_webhooks: true,
    }
}

fn sweep() -> SweepState {
    SweepState {
        sweep: SWEEP,
        cron: "0 0 3 * * *".into(),
        enabled: true,
        halts: Vec::new(),
        last_run: Some(run(RunStatus::Done, None)),
        last_done: None,
        next: None,
        held_back: None,
    }
}

fn run(status: RunStatus, error: Option<&str>) -> SweepRun {
    SweepRun {
        id: 7,
        sweep: SWEEP,
        scheduled_at: ago(32_400),
        started_at: ago(32_400),
        finished_at: Some(ago(32_390)),
        upto: None,
        status,
        counts: RunCounts::default(),
        error: error.map(str::to_owned),
        worker: "tenure-1".into(),
    }
}

fn endpoint() -> EndpointView {
    EndpointView {
        name: "crm".into(),
        origin: EndpointOrigin::Command,
        url: "https://crm.example.com/hooks/tenure".into(),
        partner: None,
        client: None,
        types: Vec::new(),
        status: EndpointStatus::Active,
        why: None,
        cursor: String::new(),
        lag_seconds: Some(0),
        failing_since: None,
        last_attempt_at: None,
        last_outcome: None,
        last_delivered_at: None,
        created_at: ago(864_000),
        old_secret_until: None,
    }
}

/// Asserts that a change of what is well is one issue.
#[track_caller]
fn assert_issue(change: impl FnOnce(&mut Overview), part: Part, tone: &str, what: &str, then: &str) {
    let mut overview = well();
    change(&mut overview);
    assert_is(&overview.issues(&[]), part, tone, what, then);
}

#[track_caller]
fn assert_is(issues: &[Issue], part: Part, tone: &str, what: &str, then: &str) {
    let issues: Vec<_> = issues.iter().map(fields).collect();
    assert_eq!(issues, [(part, tone, what, then)]);
}

fn fields(issue: &Issue) -> (Part, &str, &str, &str) {
    (
        issue.part.clone(),
        issue.tone.class(),
        issue.what.as_str(),
        issue.then.as_str(),
    )
}

#[test]
fn nothing_is_an_issue_while_all_is_well() {
    let checks = [Check {
        name: "store".into(),
        ok: true,
        detail: "reached".into(),
        warnings: Vec::new(),
    }];
    assert_eq!(well().issues(&checks), []);
    let mut unknown = well();
    unknown.lanes[0].watermark = None;
    unknown.relay = None;
    assert_eq!(unknown.issues(&[]), []);
}

#[test]
fn what_is_late_names_where_events_or_changes_wait() {
    assert_issue(
        |overview| overview.sources[0].silent_since = Some(ago(10_800)),
        Part::Source(SOURCE.into()),
        "bad",
        "/accounts is silent, last heard 3 h ago",
        "Timers that came due since then wait. Check the app and its connection to the broker.",
    );
    assert_issue(
        |overview| overview.lanes[0].watermark = Some(ago(301)),
        Part::Lane(LANE.into()),
        "attention",
        "Lane tenure.events.0 is 5 min behind",
        "Events wait in its queue. Check that a worker consumes it.",
    );
    for (changes, what) in [
        (1, "1 change not published, the oldest from 61 s ago"),
        (2, "2 changes not published, the oldest from 61 s ago"),
    ] {
        let oldest = Some(ago(61));
        assert_issue(
            |overview| overview.relay = Some(Unpublished { changes, oldest }),
            Part::Relay,
            "attention",
            what,
            "Subscribers have not received them yet. Check the connection to the broker.",
        );
    }
}

#[test]
fn an_endpoint_that_receives_nothing_says_whether_it_is_disabled_failing_or_paused() {
    for (status, failing_since, tone, what, then) in [
        (
            EndpointStatus::Disabled,
            Some(ago(432_000)),
            "bad",
            "The endpoint crm is disabled",
            "Its subscriber receives nothing. Find out why, repair that, then resume the endpoint.",
        ),
        (
            EndpointStatus::Active,
            Some(ago(600)),
            "attention",
            "The endpoint crm is failing",
            "Its subscriber does not receive the latest changes. See its last response, and ask its owner to repair it.",
        ),
        (
            EndpointStatus::Paused,
            Some(ago(600)),
            "attention",
            "The endpoint crm is paused",
            "Its subscriber receives nothing. Resume the endpoint when the subscriber is ready.",
        ),
    ] {
        let change = |overview: &mut Overview| {
            overview.endpoints[0].status = status;
            overview.endpoints[0].failing_since = failing_since;
        };
        assert_issue(change, Part::Endpoint("crm".into()), tone, what, then);
    }
}

#[test]
fn a_halted_sweep_says_what_ends_the_halt() {
    for (kind, why, tone, what, then) in [
        (
            HaltKind::Tripped,
            "it would change 150 of 150 clients",
            "bad",
            "Access expiry: the breaker stopped the sweep 9 h ago",
            "See which clients it would change. If that is right, confirm it.",
        ),
        (
            HaltKind::Paused,
            "the books are closed.",
            "attention",
            "Access expiry was paused 9 h ago",
            "“the books are closed”. Its timers wait until somebody resumes it.",
        ),
        (
            HaltKind::Paused,
            "",
            "attention",
            "Access expiry was paused 9 h ago",
            "Its timers wait until somebody resumes it.",
        ),
    ] {
        let halt = Halt {
            sweep: SWEEP,
            kind,
            at: ago(32_400),
            why: why.into(),
        };
        let change = |overview: &mut Overview| overview.sweeps[0].halts.push(halt);
        assert_issue(change, Part::Sweep(SWEEP), tone, what, then);
    }
}

#[test]
fn a_sweep_that_is_held_back_says_by_what() {
    let lane = |watermark| HeldBack::Lane {
        lane: LANE.into(),
        watermark,
    };
    let wait_for_the_lane =
        "Its timers wait for earlier events. Check that the broker runs and that a worker consumes the lane.";
    for (held_back, what, then) in [
        (
            lane(Some(ago(1_800))),
            "Access expiry is held back: events from after 2026-03-10T11:30:00Z may still wait in tenure.events.0",
            wait_for_the_lane,
        ),
        (
            lane(None),
            "Access expiry is held back: no heartbeat has arrived through tenure.events.0 yet",
            wait_for_the_lane,
        ),
        (
            HeldBack::Source(SilentSource {
                source: SOURCE.into(),
                silent_since: ago(10_800),
                every_seconds: 5_400,
            }),
            "Access expiry is held back: /accounts is silent: no event from after 2026-03-10T09:00:00Z has arrived from it, and \
             one is expected every 1h 30m",
            "Its timers wait for earlier events. Check that the app runs and that it reaches the broker.",
        ),
        (
            HeldBack::Clock {
                clock: "the clock is 5 min ahead of the clock of the database".into(),
            },
            "Access expiry is held back: the clock is 5 min ahead of the clock of the database",
            "Its timers wait until the clocks agree. Check the time synchronization of both machines.",
        ),
    ] {
        let change = |overview: &mut Overview| overview.sweeps[0].held_back = Some(held_back);
        assert_issue(change, Part::Sweep(SWEEP), "attention", what, then);
    }
}

#[test]
fn a_failed_run_says_why_it_failed() {
    for (error, then) in [
        (
            Some("3 clients could not be swept"),
            "3 clients could not be swept",
        ),
        (None, "The log says why."),
    ] {
        assert_issue(
            |overview| overview.sweeps[0].last_run = Some(run(RunStatus::Failed, error)),
            Part::Run(7),
            "bad",
            "Access expiry: the last run failed",
            then,
        );
    }
}

#[test]
fn a_worker_that_is_gone_is_worse_without_another() {
    let gone = || WorkerStatus {
        name: "tenure-2-0b7e41d3".into(),
        host: "tenure-2".into(),
        seen_at: ago(600),
        gone: true,
        ..worker()
    };
    let part = || Part::Worker("tenure-2-0b7e41d3".into());
    let what = "Worker tenure-2-0b7e41d3 was last seen 10 min ago";
    assert_issue(
        |overview| overview.workers.push(gone()),
        part(),
        "attention",
        what,
        "It ended without stopping, or cannot reach the store: see its log on tenure-2. Other workers do its work. Start it again \
         if it is missed.",
    );
    assert_issue(
        |overview| overview.workers = vec![gone()],
        part(),
        "bad",
        what,
        "It ended without stopping, or cannot reach the store: see its log on tenure-2. No other worker runs: start it again.",
    );
}

#[test]
fn an_upgrade_that_is_not_finished_names_the_versions() {
    let older = |seconds| WorkerStatus {
        version: "0.0.9".into(),
        started_at: ago(seconds),
        ..worker()
    };
    let mut upgrading = well();
    upgrading.workers.push(older(3_600));
    assert_eq!(upgrading.issues(&[]), [], "an upgrade may take an hour");
    assert_issue(
        |overview| overview.workers.push(older(7_200)),
        Part::Workers,
        "attention",
        "Workers have run different versions for 2 h: 0.0.9, 0.1.0",
        "Finish the upgrade: replace the older program and restart its workers.",
    );
}

#[test]
fn open_dead_letters_are_counted() {
    for (total, what) in [(1, "1 dead letter open"), (12, "12 dead letters open")] {
        assert_issue(
            |overview| overview.dead_letters.total = total,
            Part::DeadLetters,
            "attention",
            what,
            "Find the cause of each group, then redrive or discard them.",
        );
    }
}

#[test]
fn a_failing_check_is_bad_and_a_warning_needs_attention() {
    let check = |ok, warnings: &[&str]| Check {
        name: "broker".into(),
        ok,
        detail: "no connection for 3 s".into(),
        warnings: warnings.iter().map(|&warning| warning.to_owned()).collect(),
    };
    assert_is(
        &well().issues(&[check(false, &[])]),
        Part::Check("broker".into()),
        "bad",
        "Broker: no connection for 3 s",
        "This worker is not ready. Its log and /readyz say more.",
    );
    assert_is(
        &well().issues(&[check(true, &["/accounts sends unknown types"])]),
        Part::Warning("broker".into(), "/accounts".into()),
        "attention",
        "Broker: /accounts sends unknown types",
        "The worker continues.",
    );
}

#[test]
fn the_worst_issue_comes_first() {
    let mut overview = well();
    overview.dead_letters.total = 1;
    overview.endpoints[0].status = EndpointStatus::Disabled;
    overview.lanes[0].watermark = Some(ago(600));
    overview.sources[0].silent_since = Some(ago(10_800));
    let tones: Vec<_> = overview
        .issues(&[])
        .iter()
        .map(|issue| issue.tone.class())
        .collect();
    assert_eq!(tones, ["bad", "bad", "attention", "attention"]);
}
