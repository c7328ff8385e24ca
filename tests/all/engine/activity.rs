//! Events and changes by minute, as all workers have counted them.

use chrono::TimeDelta;
use tenure::engine::Engine;
use tenure::store::MinuteCounts;

use super::policies::{accessed, active, day, idle, ingest};
use super::setup::{Setup, on_both_stores};
use crate::store::Fresh;

on_both_stores![every_worker_shows_what_all_have_counted];

/// The last `steps` steps of `minutes` minutes.
async fn steps(engine: &Engine, steps: u32, minutes: u32) -> Vec<MinuteCounts> {
    let counts = engine.activity(steps, minutes).await.expect("counts");
    counts.into_iter().map(|(_, counts)| counts).collect()
}

async fn every_worker_shows_what_all_have_counted(fresh: Fresh) {
    let setup = Setup::start(fresh, day(5), &idle(60)).await;
    let (one, store) = (&setup.engine, &setup.fresh.store);
    let policy = idle(60);
    let start = || Engine::start(store.clone(), setup.clock.clone(), &policy);
    let other = start().await.expect("an engine");
    let events = active();
    let number = u64::try_from(events.len()).expect("a number");
    ingest(one, events.clone()).await;
    let counted = steps(one, 2, 1).await;
    assert_eq!(
        (counted[0], counted[1].applied),
        (MinuteCounts::default(), number)
    );
    assert_eq!(counted[1].changes.by_event, counted[1].changes.total());
    assert!(counted[1].changes.total() > 0);
    assert_eq!(steps(&other, 1, 1).await[0].events(), 0, "not yet recorded");
    // Recording twice counts once.
    for _ in 0..2 {
        one.record_activity().await.expect("recorded");
    }
    assert_eq!(steps(&other, 2, 1).await, counted);
    // Both count in the same minute.
    ingest(&other, events.clone()).await;
    other.record_activity().await.expect("recorded");
    for engine in [one, &other] {
        let counts = steps(engine, 1, 1).await[0];
        assert_eq!((counts.applied, counts.duplicate), (number, number));
    }
    // A worker that starts later knows the counts of those before it, for a day.
    setup.clock.set(day(5) + TimeDelta::minutes(10));
    let later = start().await.expect("an engine");
    let quarters = steps(&later, 2, 15).await;
    assert_eq!(quarters[0].events() + quarters[1].events(), 2 * number);
    setup.clock.set(day(6) + TimeDelta::minutes(1));
    ingest(&later, [accessed(day(6))]).await;
    later.record_activity().await.expect("recorded");
    let left = store.activity(day(0), day(9), 0).await.expect("counts");
    assert_eq!(left.len(), 1, "the others are removed");
}
