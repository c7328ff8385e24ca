//! The workers that share a store, and which of them are gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tenure::engine::{Issue, Part, ThisWorker};

use super::policies::{day, idle};
use super::setup::{Setup, on_both_stores};
use crate::store::Fresh;

on_both_stores![
    a_worker_that_was_not_seen_for_a_minute_is_gone_for_a_day,
    a_worker_replaces_the_one_that_ran_on_its_host,
    a_worker_lists_the_lanes_that_it_consumes_and_what_it_leads,
    different_versions_need_attention_after_an_hour,
];

const HEARTBEAT: Duration = Duration::from_secs(5);

async fn setup(fresh: Fresh) -> Setup {
    Setup::start(fresh, day(0), &idle(60)).await
}

impl Setup {
    fn later(&self, by: TimeDelta) {
        self.clock.set(self.engine.now() + by);
    }

    async fn record(&self, worker: &ThisWorker) {
        self.engine.record_worker(worker).await.expect("recorded");
    }

    /// The workers by name, each with whether it is gone.
    async fn workers(&self) -> Vec<(String, bool)> {
        let workers = self.engine.workers().await.expect("workers").into_iter();
        workers.map(|worker| (worker.name, worker.gone)).collect()
    }

    async fn issues(&self) -> Vec<Issue> {
        let overview = self.engine.overview(&BTreeMap::new(), false).await;
        let issues = overview.expect("an overview").issues(&[]).into_iter();
        let is_about_workers = |issue: &Issue| matches!(issue.part, Part::Worker(_) | Part::Workers);
        issues.filter(is_about_workers).collect()
    }
}

async fn a_worker_that_was_not_seen_for_a_minute_is_gone_for_a_day(fresh: Fresh) {
    let setup = setup(fresh).await;
    let (a, b) = (
        setup.engine.new_worker("a", HEARTBEAT),
        setup.engine.new_worker("b", HEARTBEAT),
    );
    assert!(a.name.starts_with("a-") && a.name != setup.engine.new_worker("a", HEARTBEAT).name);
    setup.record(&a).await;
    setup.later(TimeDelta::seconds(60));
    setup.record(&b).await;
    let both = |is_gone| vec![(a.name.clone(), is_gone), (b.name.clone(), false)];
    // Both started at the same time, so they are in the order of their names.
    assert_eq!(setup.workers().await, both(false));
    assert_eq!(setup.issues().await, []);

    setup.later(TimeDelta::seconds(1));
    assert_eq!(setup.workers().await, both(true));
    setup.later(TimeDelta::seconds(59));
    let issues = setup.issues().await;
    assert_eq!(issues.len(), 1);
    assert_eq!(json!(issues[0].tone), "attention");
    assert_eq!(
        issues[0].what,
        format!("Worker {} was last seen 2 min ago", a.name)
    );
    assert!(issues[0].then.contains("see its log on a."), "{issues:?}");

    // It was away from the store.
    setup.record(&a).await;
    assert_eq!(setup.issues().await, []);

    setup.later(TimeDelta::hours(24));
    setup.record(&b).await;
    assert_eq!(setup.workers().await, both(true));
    setup.later(TimeDelta::seconds(1));
    setup.record(&b).await;
    assert_eq!(setup.workers().await, [(b.name.clone(), false)]);

    setup.later(TimeDelta::minutes(2));
    let issues = setup.issues().await;
    assert_eq!(json!(issues[0].tone), "bad");
    assert!(issues[0].then.contains("No other worker runs"), "{issues:?}");
}

async fn a_worker_replaces_the_one_that_ran_on_its_host(fresh: Fresh) {
    let setup = setup(fresh).await;
    let (killed, neighbour) = (
        setup.engine.new_worker("a", HEARTBEAT),
        setup.engine.new_worker("a", HEARTBEAT),
    );
    setup.record(&killed).await;
    setup.later(TimeDelta::seconds(10));
    let restarted = setup.engine.new_worker("a", HEARTBEAT);
    setup.record(&restarted).await;
    setup.record(&neighbour).await;
    assert_eq!(setup.workers().await.len(), 3, "a minute has not passed");
    setup.later(TimeDelta::seconds(55));
    setup.record(&restarted).await;
    let names: Vec<String> = setup.workers().await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [neighbour.name, restarted.name.clone()]);

    // The neighbour was seen after the start of the restarted worker, which does not replace it.
    setup.later(TimeDelta::seconds(10));
    setup.record(&restarted).await;
    assert_eq!(
        setup.workers().await.iter().filter(|(_, gone)| *gone).count(),
        1,
        "the neighbour is gone"
    );
}

async fn a_worker_lists_the_lanes_that_it_consumes_and_what_it_leads(fresh: Fresh) {
    let setup = setup(fresh).await;
    let lanes = ["tenure.events.0".to_owned(), "tenure.events.1".to_owned()];
    setup.engine.set_lanes(&lanes).await.expect("lanes");
    let worker = setup.engine.new_worker("a", HEARTBEAT);
    let listed = async || {
        setup.record(&worker).await;
        let worker = setup.engine.workers().await.expect("workers").remove(0);
        let leads = worker.leads().join(" ");
        (worker.lanes, leads)
    };
    assert_eq!(listed().await, (vec![], String::new()));
    let now = Instant::now();
    setup.engine.vitals().succeeded("tenure.events.1", now);
    // Not a lane.
    setup.engine.vitals().succeeded("tenure.dead", now);
    setup.engine.duties().lead_relay(true);
    assert_eq!(
        listed().await,
        (vec!["tenure.events.1".to_owned()], "relay".to_owned())
    );
    setup.engine.duties().lead_webhooks(true);
    let long_ago = now.checked_sub(Duration::from_mins(1)).expect("an instant");
    setup.engine.vitals().succeeded("tenure.events.1", long_ago);
    assert_eq!(listed().await, (vec![], "relay webhooks".to_owned()));
}

async fn different_versions_need_attention_after_an_hour(fresh: Fresh) {
    let setup = setup(fresh).await;
    let current = setup.engine.new_worker("a", HEARTBEAT);
    let older = tenure::store::WorkerRecord {
        name: "b-1".into(),
        host: "b".into(),
        version: "0.0.1".into(),
        started_at: day(0) - TimeDelta::days(9),
        seen_at: day(0),
        lanes: Vec::new(),
        leads_relay: false,
        leads_webhooks: false,
    };
    let beat = async |at: DateTime<Utc>| {
        setup.clock.set(at);
        setup.record(&current).await;
        let older = tenure::store::WorkerRecord {
            seen_at: at,
            ..older.clone()
        };
        let never = DateTime::UNIX_EPOCH;
        let store = &setup.fresh.store;
        store.record_worker(&older, never, never).await.expect("recorded");
        setup.issues().await
    };
    assert_eq!(beat(day(0) + TimeDelta::minutes(60)).await, []);
    let issues = beat(day(0) + TimeDelta::minutes(180)).await;
    assert_eq!(issues.len(), 1);
    let expected = format!(
        "Workers have run different versions for 3 h: 0.0.1, {}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(issues[0].what, expected);
    assert_eq!(json!(issues[0].tone), "attention");
    // The older one stopped.
    setup.fresh.store.remove_worker("b-1").await.expect("removed");
    assert_eq!(setup.issues().await, []);
}
