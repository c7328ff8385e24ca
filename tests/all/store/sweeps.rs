//! Deadlines, and the runs of sweeps.

use tenure::domain::{ClientKey, Sweep};
use tenure::store::{Commit, RunCounts, RunStatus};

use super::Fresh;
use super::given::*;

pub async fn deadlines_are_listed_by_due_time(fresh: Fresh) {
    let store = &*fresh.store;
    let sweep = Sweep::AccessExpiry;
    let at = |key: &ClientKey, seconds| (key.clone(), sweep, moment(seconds));
    let (a, b, c, d) = (key("a"), key("B"), key("c"), key("d"));
    let set = vec![
        at(&a, 5),
        at(&b, 5),
        at(&c, 1),
        at(&d, 9),
        (a.clone(), Sweep::SubscriptionEnd, moment(0)),
    ];
    let deadlines_set = |deadlines_set| Commit {
        deadlines_set,
        ..commit()
    };
    put(store, deadlines_set(set)).await.unwrap();
    let due = |until, after| store.due(sweep, moment(until), after, 2);
    let first = due(5, None).await.unwrap();
    // By bytes, `B` comes before `a`.
    assert_eq!(first, [(moment(1), c.clone()), (moment(5), b)]);
    assert_eq!(due(5, first.last()).await.unwrap(), [(moment(5), a.clone())]);
    let last = (moment(5), a.clone());
    assert_eq!(due(5, Some(&last)).await.unwrap(), []);
    assert_eq!(due(9, Some(&last)).await.unwrap(), [(moment(9), d)]);

    // A deadline moves, and it goes, sweep by sweep.
    put(store, deadlines_set(vec![at(&c, 7)])).await.unwrap();
    let cleared = Commit {
        deadlines_cleared: vec![(a.clone(), sweep), (key("nobody"), sweep)],
        ..commit()
    };
    put(store, cleared).await.unwrap();
    let rest = store.due(sweep, moment(7), None, 9).await.unwrap();
    assert_eq!(rest, [(moment(5), key("B")), (moment(7), c)]);
    let other = store
        .due(Sweep::SubscriptionEnd, moment(7), None, 9)
        .await
        .unwrap();
    assert_eq!(other, [(moment(0), a)]);
}

pub async fn a_run_is_joined_by_whoever_comes_second(fresh: Fresh) {
    let store = &*fresh.store;
    let start = |seconds, worker| store.start_run(Sweep::AccessExpiry, moment(0), moment(seconds), worker);
    let run = start(1, "w1").await.unwrap();
    assert_eq!((run.status, run.finished_at), (RunStatus::Running, None));
    assert_eq!((run.scheduled_at, run.started_at), (moment(0), moment(1)));
    let joined = start(2, "w2").await.unwrap();
    assert_eq!(joined, run);
    let counts = |examined| RunCounts {
        examined,
        changed: 2,
        changes: 3,
        failed: 1,
    };
    store.update_run(run.id, &counts(10), None, None).await.unwrap();
    store
        .update_run(run.id, &counts(20), Some("no\0 luck"), Some(moment(3)))
        .await
        .unwrap();
    let half = store.runs(None, 1).await.unwrap().remove(0);
    assert_eq!((half.status, half.finished_at), (RunStatus::Running, None));
    store
        .update_run(run.id, &RunCounts::default(), None, Some(moment(4)))
        .await
        .unwrap();
    let done = store.runs(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (done.status, done.finished_at),
        (RunStatus::Failed, Some(moment(4)))
    );
    assert_eq!(done.error.as_deref(), Some("no luck"));
    assert_eq!((done.counts.examined, done.counts.failed), (30, 2));
    assert_eq!((done.counts.changed, done.counts.changes), (4, 6));
    assert_eq!(&*done.worker, "w1");

    // Another tick is another run.
    let next = store
        .start_run(Sweep::AccessExpiry, moment(60), moment(61), "w2")
        .await
        .unwrap();
    assert_ne!(next.id, run.id);
    store
        .update_run(next.id, &RunCounts::default(), None, Some(moment(62)))
        .await
        .unwrap();
    let next = store.runs(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (next.status, next.finished_at),
        (RunStatus::Done, Some(moment(62)))
    );
}

pub async fn a_run_that_was_interrupted_goes_on(fresh: Fresh) {
    let store = &*fresh.store;
    let start = || store.start_run(Sweep::AccessExpiry, moment(0), moment(1), "w1");
    let run = start().await.unwrap();
    // Killed and started again, it comes by the same name and is still one worker.
    assert_eq!(start().await.unwrap(), run);
    let nothing = RunCounts::default();
    let finish = || store.update_run(run.id, &nothing, None, Some(moment(2)));
    finish().await.unwrap();
    assert_eq!(store.runs(None, 1).await.unwrap()[0].status, RunStatus::Done);
    // A run that was done is taken up again by whoever still comes for it.
    assert_eq!(start().await.unwrap().status, RunStatus::Running);
    finish().await.unwrap();
    assert_eq!(store.runs(None, 1).await.unwrap()[0].status, RunStatus::Done);
}

pub async fn runs_are_listed_newest_first(fresh: Fresh) {
    let store = &*fresh.store;
    for (sweep, tick) in [
        (Sweep::AccessExpiry, 0),
        (Sweep::TerminatedCleanup, 0),
        (Sweep::AccessExpiry, 60),
        (Sweep::AccessExpiry, 120),
    ] {
        store
            .start_run(sweep, moment(tick), moment(tick), "w1")
            .await
            .unwrap();
    }
    let ticks = async |sweep, limit| -> Vec<i64> {
        let runs = store.runs(sweep, limit).await.unwrap();
        runs.iter()
            .map(|run| (run.scheduled_at - moment(0)).num_seconds())
            .collect()
    };
    assert_eq!(ticks(Some(Sweep::AccessExpiry), 2).await, [120, 60]);
    assert_eq!(ticks(None, 9).await, [120, 60, 0, 0]);
    assert_eq!(ticks(Some(Sweep::SubscriptionEnd), 9).await, [0; 0]);
}
