//! Deadlines and runs of sweeps.

use tenure::domain::{ClientKey, Sweep};
use tenure::store::{Commit, Cursor, RetentionTarget, RunCounts, RunEnd, RunStatus};

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
    // In byte order, `B` precedes `a`.
    assert_eq!(first, [(moment(1), c.clone()), (moment(5), b)]);
    assert_eq!(due(5, first.last()).await.unwrap(), [(moment(5), a.clone())]);
    let last = (moment(5), a.clone());
    assert_eq!(due(5, Some(&last)).await.unwrap(), []);
    assert_eq!(due(9, Some(&last)).await.unwrap(), [(moment(9), d)]);

    // A deadline moves or disappears, for each sweep separately.
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

pub async fn a_second_worker_joins_a_run(fresh: Fresh) {
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
    let end = |seconds, error: Option<&str>| RunEnd {
        at: moment(seconds),
        upto: error.is_none().then(|| moment(0)),
        status: error.map_or(RunStatus::Done, |_| RunStatus::Failed),
        error: error.map(str::to_owned),
    };
    store.add_run_counts(run.id, &counts(10)).await.unwrap();
    store.add_run_counts(run.id, &counts(20)).await.unwrap();
    store.end_run(run.id, &end(3, Some("no\0 luck"))).await.unwrap();
    let failed = store.runs(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (failed.status, failed.finished_at, failed.upto),
        (RunStatus::Failed, Some(moment(3)), None)
    );
    assert_eq!(failed.error.as_deref(), Some("no luck"));
    // A worker that completes the run ends it as done, and a later failure does not change that.
    store.end_run(run.id, &end(4, None)).await.unwrap();
    store.end_run(run.id, &end(5, Some("too late"))).await.unwrap();
    let done = store.runs(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (done.status, done.finished_at, done.upto, done.error),
        (RunStatus::Done, Some(moment(5)), Some(moment(0)), None)
    );
    assert_eq!((done.counts.examined, done.counts.failed), (30, 2));
    assert_eq!((done.counts.changed, done.counts.changes), (4, 6));
    assert_eq!(&*done.worker, "w1");

    // Each tick is its own run.
    let next = store
        .start_run(Sweep::AccessExpiry, moment(60), moment(61), "w2")
        .await
        .unwrap();
    assert_ne!(next.id, run.id);
    store.end_run(next.id, &end(62, None)).await.unwrap();
    let next = store.runs(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (next.status, next.finished_at),
        (RunStatus::Done, Some(moment(62)))
    );
}

pub async fn an_interrupted_run_resumes_or_is_overtaken(fresh: Fresh) {
    let store = &*fresh.store;
    let start = |tick| store.start_run(Sweep::AccessExpiry, moment(tick), moment(tick + 1), "w1");
    let run = start(0).await.unwrap();
    assert_eq!(start(0).await.unwrap(), run);
    // A run of another sweep does not overtake it.
    let other = store.start_run(Sweep::TerminatedCleanup, moment(60), moment(61), "w1");
    other.await.unwrap();
    start(60).await.unwrap();
    let runs = store.runs(Some(Sweep::AccessExpiry), 2).await.unwrap();
    assert_eq!(
        (runs[0].status, runs[1].status),
        (RunStatus::Running, RunStatus::Failed)
    );
    assert!(runs[1].error.as_deref().unwrap().contains("the next run started"));
    // The worker was only slow.
    let end = RunEnd {
        at: moment(70),
        upto: Some(moment(0)),
        status: RunStatus::Done,
        error: None,
    };
    store.end_run(run.id, &end).await.unwrap();
    let runs = store.runs(Some(Sweep::AccessExpiry), 2).await.unwrap();
    assert_eq!(
        (runs[1].status, runs[1].error.as_deref()),
        (RunStatus::Done, None)
    );
    // A worker that joins a done run does not reopen it.
    assert_eq!(start(0).await.unwrap().status, RunStatus::Done);
}

pub async fn the_last_run_that_is_done_is_found_behind_others(fresh: Fresh) {
    let store = &*fresh.store;
    let sweep = Sweep::AccessExpiry;
    assert_eq!(store.last_done_run(sweep).await.unwrap(), None);
    let mut tick = 0;
    let mut run = async |sweep, status: RunStatus| {
        tick += 60;
        let run = store
            .start_run(sweep, moment(tick), moment(tick), "w1")
            .await
            .unwrap();
        let end = RunEnd {
            at: moment(tick + 1),
            upto: None,
            status,
            error: (status != RunStatus::Done).then(|| format!("it is {status}")),
        };
        store.end_run(run.id, &end).await.unwrap();
        run.id
    };
    run(sweep, RunStatus::Done).await;
    let done = run(sweep, RunStatus::Done).await;
    let unfinished = [
        RunStatus::Failed,
        RunStatus::HeldBack,
        RunStatus::Tripped,
        RunStatus::Stopped,
    ];
    for status in unfinished {
        run(sweep, status).await;
        let last = store.runs(Some(sweep), 1).await.unwrap().remove(0);
        assert_eq!(
            (last.status, last.error),
            (status, Some(format!("it is {status}")))
        );
    }
    run(Sweep::TerminatedCleanup, RunStatus::Done).await;
    let last = store.last_done_run(sweep).await.unwrap().unwrap();
    assert_eq!((last.id, last.status, last.sweep), (done, RunStatus::Done, sweep));
}

pub async fn counting_deadlines_stops_at_the_limit(fresh: Fresh) {
    let store = &*fresh.store;
    let sweep = Sweep::AccessExpiry;
    let deadlines_set = ["a", "b", "c", "d"]
        .iter()
        .zip(1..)
        .map(|(client, seconds)| (key(client), sweep, moment(seconds)))
        .chain([(key("e"), Sweep::SubscriptionEnd, moment(1))])
        .collect();
    let set = Commit {
        deadlines_set,
        ..commit()
    };
    put(store, set).await.unwrap();
    for (until, most, expected) in [
        (Some(moment(0)), 9, 0),
        (Some(moment(2)), 9, 2),
        (Some(moment(9)), u64::MAX, 4),
        (Some(moment(9)), 3, 3),
        (None, u64::MAX, 4),
        (None, 1, 1),
    ] {
        let count = store.count_deadlines(sweep, until, most).await.unwrap();
        assert_eq!(count, expected, "{until:?} {most}");
    }
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

    let newest = store.runs(Some(Sweep::AccessExpiry), 1).await.unwrap().remove(0);
    let before = async |sweep, limit| -> Vec<i64> {
        let runs = store.runs_before(sweep, newest.id, limit).await.unwrap();
        runs.iter().map(|run| newest.id - run.id).collect()
    };
    assert_eq!(before(Some(Sweep::AccessExpiry), 1).await, [1]);
    assert_eq!(before(Some(Sweep::AccessExpiry), 9).await, [1, 3]);
    assert_eq!(before(None, 9).await, [1, 2, 3]);
    assert_eq!(store.run(newest.id).await.unwrap(), Some(newest.clone()));
    assert_eq!(store.run(newest.id + 1).await.unwrap(), None);
}

pub async fn a_run_has_the_changes_of_its_chunks(fresh: Fresh) {
    let store = &*fresh.store;
    let start = async |sweep| {
        let run = store.start_run(sweep, moment(0), moment(0), "w1").await;
        run.unwrap().id
    };
    let run = start(Sweep::AccessExpiry).await;
    let other = start(Sweep::SubscriptionEnd).await;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&a, "A"), new_client(&b, "B")]))
        .await
        .unwrap();
    for (run, lines) in [
        (Some(run), vec![(&a, "1"), (&a, "2"), (&b, "3")]),
        // Events change the same clients meanwhile, and so does another sweep.
        (None, vec![(&a, "4")]),
        (Some(other), vec![(&b, "5")]),
        (Some(run), vec![]),
        (Some(run), vec![(&b, "6"), (&a, "7")]),
        (None, vec![(&b, "8")]),
    ] {
        let lines = lines.into_iter().map(|(key, to)| entry(key, to)).collect();
        let chunk = Commit {
            swept: run.map(|run| (run, RunCounts::default())),
            ..journal(lines)
        };
        put(store, chunk).await.unwrap();
    }
    let expected = [("a", "1"), ("a", "2"), ("b", "3"), ("b", "6"), ("a", "7")];
    let expected = expected.map(|(client, to)| (client.to_owned(), to.to_owned()));
    let all = store.run_changes(run, Cursor::default(), 99).await.unwrap();
    assert_eq!(clients_and_values(&all), expected);
    for size in 1..=3 {
        let mut paged = Vec::new();
        let mut after = Cursor::default();
        loop {
            let page = store.run_changes(run, after, size).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.cursor;
            paged.extend(page);
        }
        assert_eq!(paged, all, "pages of {size}");
    }
    let of_other = store.run_changes(other, Cursor::default(), 99).await.unwrap();
    assert_eq!(clients_and_values(&of_other), [("b".to_owned(), "5".to_owned())]);

    // Once a run is removed, nothing points to its changes.
    let end = RunEnd {
        at: moment(1),
        upto: None,
        status: RunStatus::Failed,
        error: None,
    };
    store.end_run(run, &end).await.unwrap();
    let later = store.start_run(Sweep::AccessExpiry, moment(60), moment(60), "w1");
    later.await.unwrap();
    let pruned = store.prune(RetentionTarget::SweepRuns { keep: 1 }, moment(9), 9);
    assert_eq!(pruned.await.unwrap(), 1);
    assert_eq!(store.run(run).await.unwrap(), None);
    assert_eq!(store.run_changes(run, Cursor::default(), 99).await.unwrap(), []);
    let chunks = "select cast(run as text) from sweep_chunks";
    assert_eq!(fresh.database.sql(chunks).await, [other.to_string()]);
    assert_eq!(
        store.journal(&a, 0, 99).await.unwrap().len(),
        4,
        "the journal stays"
    );
}
