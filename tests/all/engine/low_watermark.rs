//! The low watermark: no timer fires that an event in a lane of the broker may still cancel.

use chrono::{DateTime, Utc};
use tenure::domain::Sweep;
use tenure::domain::time::rfc3339;
use tenure::engine::{Engine, Incoming, SweepMode, SweepOptions, SweepReport};
use tenure::store::{Clients, Lanes, Sweeps, Watermark};

use super::policies::{World, accessed, active, day, event, idle, ingest, key};

const LANES: [&str; 2] = ["tenure.events.0", "tenure.events.1"];

async fn with_lanes(world: &World) -> Engine {
    let engine = world.engine(&idle(60)).await;
    engine.set_lanes(&LANES.map(str::to_owned)).await.expect("lanes");
    engine
}

async fn beat(engine: &Engine, lane: &str, at: DateTime<Utc>) {
    let watermark = Watermark {
        lane: lane.into(),
        at,
        partition_key: None,
    };
    let outcomes = engine.ingest_from_lane(Vec::new(), Some(watermark)).await;
    assert_eq!(outcomes.expect("ingested"), []);
}

async fn sweep(engine: &Engine, options: SweepOptions) -> SweepReport {
    engine
        .sweep(Sweep::AccessExpiry, options, |_| {})
        .await
        .expect("a sweep")
}

async fn published(world: &World) -> Vec<&'static str> {
    let lines = world.store.journal(&key(), 0, 1_000).await.expect("a journal");
    lines
        .iter()
        .map(|line| line.entry.change.kind().as_str())
        .collect()
}

#[tokio::test]
async fn a_sweep_goes_up_to_the_slowest_lane() {
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    world.clock.set(day(100));

    // The lanes have no watermark yet, so no client is swept.
    let report = sweep(&engine, SweepOptions::new(SweepMode::Confirmed)).await;
    assert_eq!((report.until, report.counts.examined), (None, 0));
    let why = report.held_back.expect("it says so").to_string();
    assert!(
        why.contains("no heartbeat has arrived through tenure.events.0"),
        "{why}"
    );

    beat(&engine, LANES[0], day(100)).await;
    beat(&engine, LANES[1], day(59)).await;
    let report = sweep(&engine, SweepOptions::new(SweepMode::Confirmed)).await;
    assert_eq!(report.until, Some(day(59)));
    let why = report.held_back.expect("it says so").to_string();
    let expected = format!(
        "events from after {} may still wait in tenure.events.1",
        rfc3339(day(59))
    );
    assert_eq!(why, expected);
    assert!(
        published(&world).await.contains(&"access.expiring"),
        "timers that are due before it fire"
    );
    assert!(!published(&world).await.contains(&"access.expired"));
    let run = world
        .store
        .runs(Some(Sweep::AccessExpiry), 1)
        .await
        .expect("runs");
    assert_eq!(run[0].upto, Some(day(59)), "the record says how far");

    // The event that waited delays the expiry.
    ingest(&engine, [accessed(day(58))]).await;
    beat(&engine, LANES[1], day(99)).await;
    let report = sweep(&engine, SweepOptions::new(SweepMode::Confirmed)).await;
    assert_eq!((report.until, report.held_back), (Some(day(99)), None));
    assert!(!published(&world).await.contains(&"access.expired"));
}

#[tokio::test]
async fn an_event_fires_no_timer_beyond_the_low_watermark() {
    // After an outage of the broker: a touch of day 50 waits behind another event of the client.
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    for lane in LANES {
        beat(&engine, lane, day(1)).await;
    }
    ingest(&engine, active()).await;
    world.clock.set(day(70));
    let renamed = tenure::domain::EventKind::ClientRenamed {
        name: tenure::domain::Name::try_from("Bakery & Sons".to_owned()).expect("a name"),
    };
    ingest(&engine, [event(day(2), renamed)]).await;
    assert!(
        !published(&world).await.contains(&"access.expired"),
        "{:?}",
        published(&world).await
    );
    // The access decision does not wait for other events.
    assert!(
        !engine
            .decide(&key(), None, None)
            .await
            .expect("a decision")
            .allowed
    );

    ingest(&engine, [accessed(day(50))]).await;
    assert!(
        engine
            .decide(&key(), None, None)
            .await
            .expect("a decision")
            .allowed
    );
    assert!(
        !published(&world).await.contains(&"access.expired"),
        "it was never published"
    );
    let lines = world.store.journal(&key(), 0, 1_000).await.expect("a journal");
    assert!(
        lines.iter().all(|line| !line.entry.is_correction()),
        "nothing to correct"
    );
}

#[tokio::test]
async fn no_sweep_fires_a_timer_of_another_beyond_the_low_watermark() {
    // Its report schedules are removed, which is due; its access stays, because an event may still renew it.
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    world.clock.set(day(100));
    for lane in LANES {
        beat(&engine, lane, day(59)).await;
    }
    for sweep in Sweep::ALL {
        engine
            .sweep(sweep, SweepOptions::new(SweepMode::Confirmed), |_| {})
            .await
            .expect("a sweep");
    }
    assert!(!published(&world).await.contains(&"access.expired"));
}

#[tokio::test]
async fn a_dry_run_as_of_a_moment_ignores_the_low_watermark() {
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    let as_of = |mode| SweepOptions {
        as_of: Some(day(90)),
        ..SweepOptions::new(mode)
    };
    let report = sweep(&engine, as_of(SweepMode::DryRun)).await;
    assert_eq!((report.counts.changed, report.held_back), (1, None));
    let report = sweep(&engine, as_of(SweepMode::Confirmed)).await;
    assert_eq!((report.counts.changed, report.until), (0, None));
}

#[tokio::test]
async fn without_lanes_the_low_watermark_is_now() {
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    engine.set_lanes(&[]).await.expect("no lanes");
    world.clock.set(day(61));
    let report = sweep(&engine, SweepOptions::new(SweepMode::Confirmed)).await;
    assert_eq!((report.until, report.counts.changed), (Some(day(61)), 1));
}

#[tokio::test]
async fn a_watermark_is_committed_with_the_last_event_before_it() {
    // A batch is several transactions; the watermark is of the last.
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    let incoming: Vec<Incoming> = (0..2_500)
        .map(|minute| Incoming::Event(accessed(day(0) + chrono::TimeDelta::minutes(minute))))
        .collect();
    let watermark = Watermark {
        lane: LANES[0].into(),
        at: day(9),
        partition_key: None,
    };
    engine
        .ingest_from_lane(incoming, Some(watermark))
        .await
        .expect("ingested");
    let lanes = world.store.lanes().await.expect("lanes");
    assert_eq!(lanes[0].watermark, Some(day(9)));
    assert_eq!(world.store.history(&key()).await.expect("a history").len(), 2_500);
}
