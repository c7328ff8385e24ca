//! The audit log, and the sessions of browsers.

use chrono::TimeDelta;
use serde_json::json;
use tenure::domain::{Policy, Sweep};
use tenure::store::{
    AuditEntry, AuditFilter, AuditHow, BrowserSession, EndedSessions, EndpointChange, EndpointStatus,
    FeedCursor, Halt, HaltKind, OperatorAction, RetentionTarget, Store,
};

use super::Fresh;
use super::given::*;
use super::webhooks::endpoint;

pub fn entry(seconds: i64, who: &str, action: &str) -> AuditEntry {
    AuditEntry {
        at: moment(seconds),
        who: who.to_owned(),
        how: AuditHow::Cli,
        action: action.to_owned(),
        target: None,
        reason: None,
        details: serde_json::Map::new(),
        request_id: None,
    }
}

/// The actions that match, newest first, in pages of two that read this many entries.
async fn actions_by(store: &dyn Store, filter: &AuditFilter, rows: u32) -> String {
    let (mut found, mut next) = (Vec::new(), Some(i64::MAX));
    while let Some(before) = next {
        let page = store.audit_log(filter, before, rows, 2).await.unwrap();
        assert!(page.entries.len() <= 2, "{page:?}");
        assert!(page.next.is_none_or(|next| next < before), "{page:?}");
        found.extend(page.entries.into_iter().map(|record| record.entry.action));
        next = page.next;
    }
    found.join(" ")
}

async fn actions(store: &dyn Store, filter: AuditFilter) -> String {
    let all = actions_by(store, &filter, 1_000).await;
    for rows in 1..=3 {
        assert_eq!(
            actions_by(store, &filter, rows).await,
            all,
            "{filter:?} by {rows}"
        );
    }
    all
}

async fn all(store: &dyn Store) -> String {
    actions(store, AuditFilter::default()).await
}

pub async fn entries_are_read_back_and_listed_newest_first(fresh: Fresh) {
    let store = &*fresh.store;
    let whole = AuditEntry {
        how: AuditHow::Console,
        target: Some("access-expiry".into()),
        reason: Some("the books are \"closed\" <b>".into()),
        details: json!({"a": [1, "b"]}).as_object().unwrap().clone(),
        request_id: Some("r-1".into()),
        ..entry(1, "ann", "sweep.pause")
    };
    store.record_audit(&whole).await.unwrap();
    let read = store
        .audit_log(&AuditFilter::default(), i64::MAX, 9, 9)
        .await
        .unwrap();
    assert_eq!(read.entries[0].entry, whole);
    for (seconds, who, action) in [
        (2, "bob", "sweep.resume"),
        (3, "ann", "sweeper"),
        (4, "bob", "prune"),
        (5, "ann", "policy.apply"),
    ] {
        store.record_audit(&entry(seconds, who, action)).await.unwrap();
    }
    let of = |filter| actions(store, filter);
    let none = AuditFilter::default;
    assert_eq!(
        of(none()).await,
        "policy.apply prune sweeper sweep.resume sweep.pause"
    );
    for (filter, expected) in [
        (
            AuditFilter {
                since: Some(moment(4)),
                ..none()
            },
            "policy.apply prune",
        ),
        (
            AuditFilter {
                until: Some(moment(3)),
                ..none()
            },
            "sweep.resume sweep.pause",
        ),
        (
            AuditFilter {
                who: Some("bob".into()),
                ..none()
            },
            "prune sweep.resume",
        ),
        (
            AuditFilter {
                action: Some("sweep".into()),
                ..none()
            },
            "sweep.resume sweep.pause",
        ),
        (
            AuditFilter {
                action: Some("sweep.pause".into()),
                ..none()
            },
            "sweep.pause",
        ),
        (
            AuditFilter {
                action: Some("s_eep".into()),
                ..none()
            },
            "",
        ),
        (
            AuditFilter {
                action: Some("%".into()),
                ..none()
            },
            "",
        ),
    ] {
        assert_eq!(of(filter.clone()).await, expected, "{filter:?}");
    }
}

pub async fn a_page_of_the_audit_log_reads_so_many_entries(fresh: Fresh) {
    let store = &*fresh.store;
    store.record_audit(&entry(0, "ann", "prune")).await.unwrap();
    for seconds in 1..=7 {
        store
            .record_audit(&entry(seconds, "bob", "sweep.run"))
            .await
            .unwrap();
    }
    let of_ann = AuditFilter {
        who: Some("ann".into()),
        ..AuditFilter::default()
    };
    let first = store.audit_log(&of_ann, i64::MAX, 5, 10).await.unwrap();
    assert_eq!(first.entries, []);
    let second = store
        .audit_log(&of_ann, first.next.expect("older entries"), 5, 10)
        .await
        .unwrap();
    assert_eq!((second.entries.len(), second.next), (1, None));
    // Only entries of the time of the filter count.
    let since = AuditFilter {
        since: Some(moment(4)),
        ..of_ann
    };
    let none = store.audit_log(&since, i64::MAX, 5, 10).await.unwrap();
    assert_eq!((none.entries.len(), none.next), (0, None));
}

/// Clocks of workers differ, so numbers and times may have different orders.
pub async fn entries_of_a_time_are_found_wherever_they_are(fresh: Fresh) {
    let store = &*fresh.store;
    for seconds in [5, 1, 9, 4, 2, 8, 3, 7, 6] {
        let entry = entry(seconds, "ann", &format!("at.{seconds}"));
        store.record_audit(&entry).await.unwrap();
    }
    let within = |since: i64, until: i64| AuditFilter {
        since: Some(moment(since)),
        until: Some(moment(until)),
        ..AuditFilter::default()
    };
    assert_eq!(actions(store, within(3, 8)).await, "at.6 at.7 at.3 at.4 at.5");
    assert_eq!(actions(store, within(9, 10)).await, "at.9");
    assert_eq!(actions(store, within(10, 20)).await, "");
}

pub async fn the_last_entry_about_a_target_is_found(fresh: Fresh) {
    let store = &*fresh.store;
    let about = |seconds: i64, action: &str, target: &str| AuditEntry {
        target: Some(target.into()),
        ..entry(seconds, "ann", action)
    };
    for one in [
        about(1, "sweep.pause", "access_expiry"),
        about(2, "sweep.resume", "access_expiry"),
        about(3, "sweep.pause", "access_expiry"),
        about(4, "sweep.pause", "request_lapse"),
        about(5, "sweep.run", "access_expiry"),
        entry(6, "ann", "sweep.pause"),
    ] {
        store.record_audit(&one).await.unwrap();
    }
    let last = async |action: &str, target: &str| {
        let found = store.last_audits(action, target, 1).await.unwrap();
        found.first().map(|record| record.entry.at)
    };
    assert_eq!(last("sweep.pause", "access_expiry").await, Some(moment(3)));
    assert_eq!(last("sweep.resume", "access_expiry").await, Some(moment(2)));
    assert_eq!(last("sweep.resume", "request_lapse").await, None);
    assert_eq!(last("sweep", "access_expiry").await, None);
    assert_eq!(last("sweep.pause", "").await, Some(moment(6)));
    let pauses = store
        .last_audits("sweep.pause", "access_expiry", 9)
        .await
        .unwrap();
    let pauses: Vec<_> = pauses.into_iter().map(|record| record.entry.at).collect();
    assert_eq!(pauses, [moment(3), moment(1)]);
}

pub async fn an_action_and_its_entry_are_one_transaction(fresh: Fresh) {
    let store = &*fresh.store;
    let sweep = Sweep::AccessExpiry;
    let halt = Halt {
        sweep,
        kind: HaltKind::Paused,
        at: moment(1),
        why: "not yet".into(),
    };
    let act = async |action: OperatorAction, name: &str| {
        let entry = entry(1, "ann", name);
        store.act(&action, &entry).await.unwrap()
    };
    assert!(act(OperatorAction::Halt(halt.clone()), "pause").await);
    assert!(!act(OperatorAction::Halt(halt.clone()), "again").await);
    assert_eq!(store.halts().await.unwrap(), [halt]);
    assert!(act(OperatorAction::Resume(sweep, HaltKind::Paused), "resume").await);
    assert!(!act(OperatorAction::Resume(sweep, HaltKind::Paused), "again").await);
    assert_eq!(store.halts().await.unwrap(), []);
    let policy = Policy::default();
    let from = moment(2);
    let record = OperatorAction::RecordPolicy {
        from,
        policy: Box::new(policy.clone()),
    };
    assert!(act(record, "apply").await);
    assert_eq!(store.policies().await.unwrap(), [(from, policy)]);
    assert!(store.deadline_backfill().await.unwrap().is_some());
    let lanes = vec!["q.0".to_owned()];
    assert!(act(OperatorAction::SetLanes { lanes, at: moment(3) }, "lanes").await);
    assert_eq!(store.lanes().await.unwrap().len(), 1);
    let discard = OperatorAction::DiscardDeadLetter {
        id: 77,
        at: moment(4),
    };
    assert!(!act(discard, "discard").await, "there is none");
    assert_eq!(all(store).await, "lanes apply resume pause");
}

pub async fn an_endpoint_is_changed_with_its_entry(fresh: Fresh) {
    let store = &*fresh.store;
    let act = async |action: OperatorAction, name: &str| {
        let entry = entry(1, "ann", name);
        store.act(&action, &entry).await.unwrap()
    };
    let crm = endpoint("crm", FeedCursor::beginning(0));
    let add = OperatorAction::AddEndpoint(Box::new(crm.clone()));
    assert!(act(add.clone(), "add").await);
    assert!(!act(add, "again").await);
    assert_eq!(store.endpoints().await.unwrap(), [crm]);
    let change = |name: &str, revision| OperatorAction::ChangeEndpoint {
        name: name.to_owned(),
        revision,
        change: Box::new(EndpointChange {
            status: Some((EndpointStatus::Paused, String::new())),
            ..EndpointChange::default()
        }),
    };
    assert!(!act(change("crm", Some(7)), "another revision").await);
    assert!(!act(change("other", None), "another name").await);
    assert!(act(change("crm", None), "pause").await);
    assert_eq!(store.endpoints().await.unwrap()[0].status, EndpointStatus::Paused);
    assert!(act(OperatorAction::RemoveEndpoint("crm".into()), "remove").await);
    assert!(!act(OperatorAction::RemoveEndpoint("crm".into()), "again").await);
    assert_eq!(store.endpoints().await.unwrap(), []);
    assert_eq!(all(store).await, "remove pause add");
}

pub async fn old_entries_are_pruned(fresh: Fresh) {
    let store = &*fresh.store;
    for seconds in 0..5 {
        store
            .record_audit(&entry(seconds, "ann", &format!("a{seconds}")))
            .await
            .unwrap();
    }
    let before = moment(3);
    let count = store
        .count_prunable(RetentionTarget::Audit, before)
        .await
        .unwrap();
    assert_eq!(count, 3);
    assert_eq!(store.prune(RetentionTarget::Audit, before, 2).await.unwrap(), 2);
    assert_eq!(all(store).await, "a4 a3 a2");
    assert_eq!(store.prune(RetentionTarget::Audit, before, 2).await.unwrap(), 1);
    assert_eq!(store.prune(RetentionTarget::Audit, before, 2).await.unwrap(), 0);
    assert_eq!(all(store).await, "a4 a3");
}

fn session(number: u8, token: &str, created: i64, expires: i64) -> BrowserSession {
    BrowserSession {
        digest: [number; 32],
        token: token.to_owned(),
        token_digest: [9; 32],
        created_at: moment(created),
        seen_at: moment(created),
        expires_at: moment(expires),
    }
}

pub async fn sessions_are_shared_ended_and_expire(fresh: Fresh) {
    let store = &*fresh.store;
    let add = async |session: &BrowserSession| {
        let entry = entry(1, &session.token, "sign_in");
        store.add_browser_session(session, &entry).await.unwrap();
    };
    for (number, token) in [(1, "ann"), (2, "ann"), (3, "bob")] {
        add(&session(number, token, 0, 100)).await;
    }
    let other = fresh.database.another_store();
    let found = other.browser_session(&[1; 32]).await.unwrap();
    assert_eq!(found, Some(session(1, "ann", 0, 100)));
    assert_eq!(store.browser_session(&[7; 32]).await.unwrap(), None);

    let later = moment(0) + TimeDelta::minutes(1);
    store.use_browser_session(&[1; 32], later).await.unwrap();
    store.use_browser_session(&[1; 32], moment(1)).await.unwrap();
    assert_eq!(
        store.browser_session(&[1; 32]).await.unwrap().unwrap().seen_at,
        later
    );

    let end = async |which: EndedSessions, name: &str| {
        let entry = entry(2, "ann", name);
        other.end_browser_sessions(&which, &entry).await.unwrap()
    };
    assert_eq!(end(EndedSessions::One([3; 32]), "one").await, 1);
    assert_eq!(end(EndedSessions::One([3; 32]), "again").await, 0);
    assert_eq!(end(EndedSessions::OfToken("ann".into()), "all").await, 2);
    for number in 1..=3 {
        assert_eq!(store.browser_session(&[number; 32]).await.unwrap(), None);
    }
    assert_eq!(all(store).await, "all one sign_in sign_in sign_in");

    add(&session(4, "ann", 0, 50)).await;
    add(&session(5, "ann", 60, 100)).await;
    assert_eq!(store.browser_session(&[4; 32]).await.unwrap(), None, "expired");
    assert!(store.browser_session(&[5; 32]).await.unwrap().is_some());
}
