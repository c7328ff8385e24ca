//! Retention: old rows are pruned in chunks, others stay.

use tenure::domain::{ClientKey, Sweep};
use tenure::store::{
    Access, AccessFilter, Commit, Cursor, DeadLetter, DeadLetterFilter, RetentionTarget, RunEnd, RunStatus,
    Store,
};

use super::Fresh;
use super::given::*;

async fn drain(store: &dyn Store, target: RetentionTarget, before: i64, chunk: u32) -> Vec<u64> {
    let mut removed = Vec::new();
    loop {
        match store.prune(target, moment(before), chunk).await.unwrap() {
            0 => return removed,
            some => removed.push(some),
        }
    }
}

pub async fn old_resolved_dead_letters_are_pruned_and_open_ones_stay(fresh: Fresh) {
    let store = &*fresh.store;
    let dead_letters = (0..8).map(|n| DeadLetter {
        origin: "http".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: vec![n],
        reason: "no JSON".into(),
        retry_at: None,
    });
    let received = Commit {
        dead_letters: dead_letters.collect(),
        ..commit()
    };
    put(store, received).await.unwrap();
    let all = async || {
        store
            .dead_letters(&DeadLetterFilter::default(), 0, 100)
            .await
            .unwrap()
    };
    let ids: Vec<i64> = all().await.iter().map(|dead_letter| dead_letter.id).collect();
    for (place, id) in (0..).zip(&ids[..5]) {
        let at = moment(place * 10);
        if place % 2 == 0 {
            store.end_redrive(*id, false, "applied", at).await.unwrap();
        } else {
            assert!(store.discard_dead_letter(*id, at).await.unwrap());
        }
    }
    assert_eq!(
        store
            .count_prunable(RetentionTarget::DeadLetters, moment(40))
            .await
            .unwrap(),
        4
    );
    assert_eq!(drain(store, RetentionTarget::DeadLetters, 40, 3).await, [3, 1]);
    let left: Vec<i64> = all().await.iter().map(|dead_letter| dead_letter.id).collect();
    assert_eq!(
        left,
        ids[4..],
        "what was settled at that moment stays, and what is open"
    );
    assert_eq!(
        drain(store, RetentionTarget::DeadLetters, 1_000_000, 3).await,
        [1]
    );
    assert_eq!(all().await.len(), 3);
}

pub async fn old_runs_are_pruned_except_the_last_and_the_last_done_of_each_sweep(fresh: Fresh) {
    let store = &*fresh.store;
    let run = async |sweep, at: i64, ended: Option<RunStatus>| {
        let run = store.start_run(sweep, moment(at), moment(at), "w").await.unwrap();
        if let Some(status) = ended {
            let end = RunEnd {
                at: moment(at + 1),
                upto: None,
                status,
                error: None,
            };
            store.end_run(run.id, &end).await.unwrap();
        }
        run.id
    };
    let unfinished = run(Sweep::TerminatedCleanup, 0, None).await;
    let mut expiry = Vec::new();
    for at in 1..=6 {
        let status = if at == 1 {
            RunStatus::Done
        } else {
            RunStatus::HeldBack
        };
        expiry.push(run(Sweep::AccessExpiry, at * 10, Some(status)).await);
    }
    let seldom = run(Sweep::SubscriptionEnd, 5, Some(RunStatus::Done)).await;
    let target = RetentionTarget::SweepRuns { keep: 2 };
    assert_eq!(store.count_prunable(target, moment(1_000)).await.unwrap(), 3);
    assert_eq!(
        drain(store, target, 31, 2).await,
        [1],
        "one ended before, one at that moment"
    );
    assert_eq!(drain(store, target, 1_000, 1).await, [1, 1]);
    let mut left: Vec<i64> = store
        .runs(None, 100)
        .await
        .unwrap()
        .iter()
        .map(|run| run.id)
        .collect();
    left.sort_unstable();
    let mut remaining = vec![unfinished, expiry[0], expiry[4], expiry[5], seldom];
    remaining.sort_unstable();
    assert_eq!(left, remaining);
}

pub async fn old_journal_lines_are_pruned_once_published(fresh: Fresh) {
    let store = &*fresh.store;
    let bakery = key("bakery");
    put(store, clients(vec![new_client(&bakery, "Bakery")]))
        .await
        .unwrap();
    // A slow clock recorded the third line. Lines after one that stays also stay.
    for (line, recorded) in [("a", 10), ("b", 20), ("c", 40), ("d", 25), ("e", 50)] {
        let lines = Commit {
            recorded_at: moment(recorded),
            ..journal(vec![entry(&bakery, line)])
        };
        put(store, lines).await.unwrap();
    }
    let left = async || -> Vec<String> {
        let lines = store.journal(&bakery, 0, 100).await.unwrap();
        clients_and_values(&lines).into_iter().map(|(_, to)| to).collect()
    };
    let late = 1_000_000;
    assert_eq!(
        drain(store, RetentionTarget::Journal, late, 10).await,
        [0; 0],
        "none is published"
    );
    assert_eq!(
        store
            .count_prunable(RetentionTarget::Journal, moment(late))
            .await
            .unwrap(),
        0
    );
    let lines = relayed(store, 5, 10).await;
    done(store, &lines[3]).await;
    assert_eq!(drain(store, RetentionTarget::Journal, 30, 1).await, [1, 1]);
    assert_eq!(left().await, ["c", "d", "e"]);
    assert_eq!(drain(store, RetentionTarget::Journal, late, 10).await, [2]);
    assert_eq!(left().await, ["e"], "it is not published");
    let next: Vec<Cursor> = relayed(store, 1, 10)
        .await
        .iter()
        .map(|line| line.cursor)
        .collect();
    assert_eq!(next, [lines[4].cursor], "the relay goes on where it was");
}

pub async fn two_workers_prune_each_row_once(fresh: Fresh) {
    let store = &*fresh.store;
    let dead_letters = (0..100).map(|n| DeadLetter {
        origin: "http".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: vec![n],
        reason: "no JSON".into(),
        retry_at: None,
    });
    let received = Commit {
        dead_letters: dead_letters.collect(),
        ..commit()
    };
    put(store, received).await.unwrap();
    for dead_letter in store
        .dead_letters(&DeadLetterFilter::default(), 0, 100)
        .await
        .unwrap()
    {
        store
            .discard_dead_letter(dead_letter.id, moment(1))
            .await
            .unwrap();
    }
    let other = fresh.database.another_store();
    let (here, there) = tokio::join!(
        drain(store, RetentionTarget::DeadLetters, 10, 7),
        drain(&*other, RetentionTarget::DeadLetters, 10, 7)
    );
    let rest = drain(store, RetentionTarget::DeadLetters, 10, 7).await;
    assert_eq!(here.iter().chain(&there).chain(&rest).sum::<u64>(), 100);
}

pub async fn old_entries_of_the_access_log_are_pruned(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let entered = |client, id: &str, seconds| {
        let kind = kind("account.accessed", &serde_json::json!({}));
        Access::of(&event(client, id, seconds, kind))
    };
    let entries = [(&a, 10), (&b, 20), (&a, 30), (&b, 40), (&a, 50)];
    let entries = entries.map(|(client, seconds)| entered(client, &format!("e-{seconds}"), seconds));
    let more = Commit {
        accesses: entries.into_iter().flatten().collect(),
        ..clients(vec![new_client(&a, "A"), new_client(&b, "B")])
    };
    put(store, more).await.unwrap();
    let left = async |of: &ClientKey| {
        let page = store
            .accesses(of, &AccessFilter::default(), None, 100)
            .await
            .unwrap();
        let ids = page.accesses.iter().map(|access| access.id.to_string());
        ids.collect::<Vec<_>>().join(" ")
    };
    let target = RetentionTarget::Accesses;
    assert_eq!(store.count_prunable(target, moment(50)).await.unwrap(), 4);
    assert_eq!(
        drain(store, target, 10, 10).await,
        [0; 0],
        "not before that moment"
    );
    assert_eq!(drain(store, target, 40, 2).await, [2, 1]);
    assert_eq!((&*left(&a).await, &*left(&b).await), ("e-50", "e-40"));
    assert_eq!(drain(store, target, 1_000, 100).await, [2]);
    assert_eq!((&*left(&a).await, &*left(&b).await), ("", ""));
}
