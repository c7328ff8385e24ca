//! The horizon: nothing is fired on the strength of events that may still wait in a lane of the broker.

use chrono::{DateTime, Utc};
use tenure::domain::Sweep;
use tenure::domain::time::rfc3339;
use tenure::engine::{Engine, Incoming, SweepOptions, SweepReport};
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
    let taken = engine.ingest_from_lane(Vec::new(), Some(watermark)).await;
    assert_eq!(taken.expect("taken"), []);
}

async fn sweep(engine: &Engine, options: SweepOptions) -> SweepReport {
    engine
        .sweep(Sweep::AccessExpiry, options, |_| {})
        .await
        .expect("a sweep")
}

async fn told(world: &World) -> Vec<&'static str> {
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

    // Nothing is known of the lanes: nothing is swept.
    let report = sweep(&engine, SweepOptions::default()).await;
    assert_eq!((report.until, report.counts.examined), (None, 0));
    let why = report.held_back.expect("it says so").to_string();
    assert!(why.contains("nothing has come through tenure.events.0"), "{why}");

    beat(&engine, LANES[0], day(100)).await;
    beat(&engine, LANES[1], day(59)).await;
    let report = sweep(&engine, SweepOptions::default()).await;
    assert_eq!(report.until, Some(day(59)));
    let why = report.held_back.expect("it says so").to_string();
    let expected = format!(
        "events from after {} may still wait in tenure.events.1",
        rfc3339(day(59))
    );
    assert_eq!(why, expected);
    assert!(
        told(&world).await.contains(&"access.expiring"),
        "what is due before is fired"
    );
    assert!(!told(&world).await.contains(&"access.expired"));
    let run = world
        .store
        .runs(Some(Sweep::AccessExpiry), 1)
        .await
        .expect("runs");
    assert_eq!(run[0].upto, Some(day(59)), "the record says how far");

    // What waited put it off.
    ingest(&engine, [accessed(day(58))]).await;
    beat(&engine, LANES[1], day(99)).await;
    let report = sweep(&engine, SweepOptions::default()).await;
    assert_eq!((report.until, report.held_back), (Some(day(99)), None));
    assert!(!told(&world).await.contains(&"access.expired"));
}

#[tokio::test]
async fn an_event_fires_no_timer_beyond_the_horizon() {
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
        !told(&world).await.contains(&"access.expired"),
        "{:?}",
        told(&world).await
    );
    // The decision does not wait: what it knows, it goes by.
    assert!(!engine.decide(&key(), None).await.expect("a decision").allowed);

    ingest(&engine, [accessed(day(50))]).await;
    assert!(engine.decide(&key(), None).await.expect("a decision").allowed);
    assert!(
        !told(&world).await.contains(&"access.expired"),
        "and never was told of"
    );
    let lines = world.store.journal(&key(), 0, 1_000).await.expect("a journal");
    assert!(
        lines.iter().all(|line| !line.entry.correction),
        "nothing to correct"
    );
}

#[tokio::test]
async fn no_other_sweep_fires_what_waits() {
    // Its report schedules go, which is due, and its access stays, which may not be.
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    world.clock.set(day(100));
    for lane in LANES {
        beat(&engine, lane, day(59)).await;
    }
    for sweep in Sweep::ALL {
        engine
            .sweep(sweep, SweepOptions::default(), |_| {})
            .await
            .expect("a sweep");
    }
    assert!(!told(&world).await.contains(&"access.expired"));
}

#[tokio::test]
async fn a_question_about_a_moment_is_not_held_back() {
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    let question = SweepOptions {
        dry_run: true,
        now: Some(day(90)),
        ..SweepOptions::default()
    };
    let report = sweep(&engine, question.clone()).await;
    assert_eq!((report.counts.changed, report.held_back), (1, None));
    // An order is.
    let order = SweepOptions {
        dry_run: false,
        ..question
    };
    let report = sweep(&engine, order).await;
    assert_eq!((report.counts.changed, report.until), (0, None));
}

#[tokio::test]
async fn without_lanes_the_horizon_is_now() {
    let world = World::new().await;
    let engine = with_lanes(&world).await;
    ingest(&engine, active()).await;
    engine.set_lanes(&[]).await.expect("no lanes");
    world.clock.set(day(61));
    let report = sweep(&engine, SweepOptions::default()).await;
    assert_eq!((report.until, report.counts.changed), (Some(day(61)), 1));
}

#[tokio::test]
async fn a_watermark_counts_when_all_before_it_is_committed() {
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
        .expect("taken");
    let lanes = world.store.lanes().await.expect("lanes");
    assert_eq!(lanes[0].watermark, Some(day(9)));
    assert_eq!(world.store.history(&key()).await.expect("a history").len(), 2_500);
}
