//! Freshness: which sweeps are on time, and which runs prove it.

use tenure::domain::Sweep;
use tenure::scheduler::Scheduler;

use super::{HOURLY, done, engine_at, moment, runs_until, settings, start};

#[tokio::test]
async fn a_sweep_is_fresh_until_it_misses_two_ticks() {
    let (_folder, clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let scheduler = Scheduler::new(engine.clone(), &settings(HOURLY, 10), "test".into());
    let fresh = async || scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();

    // No sweep has run, but the worker has just started.
    assert!(fresh().await.fresh);
    clock.set(moment("2026-03-10T13:10:00Z"));
    assert!(fresh().await.fresh);
    clock.set(moment("2026-03-10T14:00:30Z"));
    assert!(!fresh().await.fresh, "{}", fresh().await);
    assert!(fresh().await.to_string().contains("no run has finished"));

    let running = start(&engine, &settings(HOURLY, 10));
    runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    assert!(fresh().await.fresh, "{}", fresh().await);
    clock.set(moment("2026-03-10T15:59:59Z"));
    assert!(fresh().await.fresh, "{}", fresh().await);
    clock.set(moment("2026-03-10T16:00:01Z"));
    let stale = fresh().await;
    assert!(!stale.fresh, "{stale}");
    assert!(stale.to_string().starts_with("overdue"), "{stale}");
    assert_eq!(stale.next_tick, Some(moment("2026-03-10T17:00:00Z")));
}

#[tokio::test]
async fn a_run_ahead_of_now_does_not_prove_freshness() {
    let (_folder, clock, engine) = engine_at("2027-04-14T12:30:00Z").await;
    let scheduler = Scheduler::new(engine.clone(), &settings(HOURLY, 10), "test".into());
    let running = start(&engine, &settings(HOURLY, 10));
    runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    let fresh = async || scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();
    assert!(fresh().await.fresh);

    // After the clock is set right, the worker has just started; three hours later it has not.
    clock.set(moment("2026-03-10T12:30:00Z"));
    assert!(fresh().await.fresh);
    clock.set(moment("2026-03-10T15:30:00Z"));
    let stale = fresh().await;
    assert!(!stale.fresh, "{stale}");
    let words = stale.to_string();
    assert!(
        words.contains("recorded as finished at 2027-04-14T12:30:00Z, which is ahead"),
        "{words}"
    );
    assert_eq!(stale.last_finished_at, None);
}
