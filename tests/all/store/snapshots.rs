//! Everything about many clients, read together.

use serde_json::json;
use tenure::domain::{ClientKey, Sweep};
use tenure::store::{
    ClientSnapshot, Commit, EventWrite, RenewOnlyWindow, Store, StoreError, Touch, TouchWrite, Touches,
};

use super::Fresh;
use super::given::*;

/// Two full pages, and a part of a third.
const MANY: i64 = 620;

fn touches(seconds: impl IntoIterator<Item = i64>) -> Touches {
    let touch = |seconds| Touch {
        time: moment(seconds),
        sequence: None,
    };
    seconds.into_iter().map(touch).collect()
}

fn touched(client: &ClientKey, closed: Option<Touches>, open: Touches) -> TouchWrite {
    TouchWrite {
        key: client.clone(),
        open,
        closed,
        renew_only: Some(RenewOnlyWindow {
            after: moment(1_000),
            before: moment(2_000),
            policies: 1,
        }),
    }
}

fn users(client: &ClientKey, count: i64) -> Vec<EventWrite> {
    let user = |n| {
        let id = format!("{client}-{n}");
        applied(event(
            client,
            &id,
            n,
            kind("user.added", &json!({ "user_id": id })),
        ))
    };
    (1..=count).map(user).collect()
}

/// Clients of every kind, in key order. Between them is one that the store does not know.
async fn population(fresh: &Fresh) -> Vec<ClientKey> {
    let keys: Vec<ClientKey> = [
        "bakery",
        "cut",
        "deadline",
        "empty",
        "garbled",
        "long",
        "mill",
        "nobody",
        "touched",
        "unreadable",
        "z",
    ]
    .map(key)
    .into();
    let of = |client: &str| keys.iter().find(|key| &*key.client == client).unwrap();
    let namesake = ClientKey::new("best", "bakery").unwrap();
    let mut rows = vec![new_client(&namesake, "Bakery")];
    let mut events = vec![applied(added(&namesake, "best-1", 0, "Bakery"))];
    let mut lines = vec![entry(&namesake, "Best")];
    for client in [
        "bakery",
        "cut",
        "garbled",
        "long",
        "mill",
        "touched",
        "unreadable",
        "z",
    ] {
        rows.push(new_client(of(client), client));
        events.push(applied(added(of(client), &format!("{client}-0"), 0, client)));
        lines.push(entry(of(client), client));
    }
    events.extend(users(of("long"), MANY));
    lines.extend((0..MANY).map(|n| entry(of("long"), &format!("Long {n}"))));
    events.extend(users(of("mill"), 3));
    // Only events, without a row or a line.
    events.extend(users(of("empty"), 1));
    let written = Commit {
        clients: rows,
        events,
        journal: lines,
        touches: vec![
            touched(of("bakery"), None, touches([30, 20, 10])),
            touched(of("touched"), Some(touches(100..228)), touches([5])),
        ],
        deadlines_set: vec![
            (of("bakery").clone(), Sweep::AccessExpiry, moment(50)),
            (of("bakery").clone(), Sweep::SubscriptionEnd, moment(60)),
            (of("deadline").clone(), Sweep::AccessExpiry, moment(70)),
        ],
        ..commit()
    };
    put(&*fresh.store, written).await.unwrap();
    let again = Commit {
        touches: vec![touched(of("touched"), Some(touches(300..428)), touches([1_000]))],
        ..commit()
    };
    put(&*fresh.store, again).await.unwrap();
    for damage in [
        "delete from clients where client = (select number from client_keys where client = 'cut')",
        "update clients set doc = '{}' where client = (select number from client_keys where client = 'garbled')",
        "update events set reason = 9999 where client = (select number from client_keys where client = 'unreadable')",
    ] {
        fresh.database.sql(damage).await;
    }
    keys.into_iter().chain([namesake]).collect()
}

type Read = Result<ClientSnapshot, StoreError>;

fn shown(snapshots: &[Read]) -> Vec<String> {
    snapshots.iter().map(|one| format!("{one:?}")).collect()
}

async fn everything(store: &dyn Store, keys: &[ClientKey]) -> Vec<Read> {
    let snapshots = store.snapshots(keys, None).await.unwrap();
    assert_eq!(snapshots.len(), keys.len());
    snapshots
}

pub async fn many_clients_are_read_as_each_alone(fresh: Fresh) {
    let store = &*fresh.store;
    let keys = population(&fresh).await;
    let together = everything(store, &keys).await;
    for (key, read) in keys.iter().zip(&together) {
        assert_eq!(format!("{read:?}"), format!("{:?}", store.snapshot(key).await));
        if &*key.client == "unreadable" {
            let error = read.as_ref().unwrap_err();
            assert!(matches!(error, StoreError::Inconsistent { .. }), "{error}");
            continue;
        }
        let snapshot = read.as_ref().unwrap();
        assert_eq!(snapshot.key, *key);
        assert_eq!(snapshot.history, store.history(key).await.unwrap(), "{key}");
        let journal = store.journal(key, 0, 1_000).await.unwrap();
        let lines: Vec<_> = journal.into_iter().map(|line| line.entry).collect();
        assert_eq!(snapshot.journal, lines, "{key}");
        match store.client(key).await {
            Ok(stored) => assert_eq!(snapshot.stored(), stored, "{key}"),
            Err(_) => assert!(snapshot.row.as_ref().unwrap().document.is_err(), "{key}"),
        }
    }
    let of = |client: &str| {
        let place = keys.iter().position(|key| &*key.client == client).unwrap();
        together[place].as_ref().unwrap()
    };
    let sizes = |client: &str| {
        let one = of(client);
        let is_there = one.row.is_some();
        (
            is_there,
            one.history.len(),
            one.journal.len(),
            one.deadlines.len(),
        )
    };
    let many = usize::try_from(MANY).unwrap();
    assert_eq!(sizes("bakery"), (true, 4, 1, 2));
    assert_eq!(sizes("cut"), (false, 1, 1, 0));
    assert_eq!(sizes("deadline"), (false, 0, 0, 1));
    assert_eq!(sizes("empty"), (false, 1, 0, 0));
    assert_eq!(sizes("long"), (true, 1 + many, 1 + many, 0));
    assert_eq!(sizes("nobody"), (false, 0, 0, 0));
    assert_eq!(sizes("touched"), (true, 1 + 128 + 128 + 1, 1, 0));
    let renew_only: Vec<&str> = keys
        .iter()
        .zip(&together)
        .filter(|(_, read)| read.as_ref().is_ok_and(|one| one.renew_only.is_some()))
        .map(|(key, _)| &*key.client)
        .collect();
    assert_eq!(renew_only, ["bakery", "touched"]);
    // In any order, and none.
    let turned: Vec<ClientKey> = keys.iter().rev().cloned().collect();
    let mut read = everything(store, &turned).await;
    read.reverse();
    assert_eq!(shown(&read), shown(&together));
    assert_eq!(everything(store, &[]).await.len(), 0);
}

/// Events, packed touches of closed runs, and journal lines.
fn rows(snapshots: &[Read]) -> [usize; 3] {
    let mut rows = [0; 3];
    for snapshot in snapshots.iter().flatten() {
        let packed = snapshot
            .history
            .iter()
            .filter(|one| Touch::is_packed(&one.event))
            .count();
        rows[0] += snapshot.history.len() - packed;
        rows[1] += packed - snapshot.touches.iter().count();
        rows[2] += snapshot.journal.len();
    }
    rows
}

pub async fn a_bound_leaves_out_the_clients_after_it(fresh: Fresh) {
    let store = &*fresh.store;
    let keys = population(&fresh).await;
    let together = shown(&everything(store, &keys).await);
    let many = usize::try_from(MANY).unwrap();
    for (most, alone) in [
        (1, vec!["long", "mill", "touched"]),
        (100, vec!["long", "touched"]),
        (many, vec!["long"]),
        (many + 1, vec![]),
        (many + 4, vec![]),
        (10_000, vec![]),
    ] {
        let mut read = Vec::new();
        let mut read_alone = Vec::new();
        let mut parts = 0;
        while read.len() < keys.len() {
            let rest = &keys[read.len()..];
            let mut part = store.snapshots(rest, Some(most)).await.unwrap();
            if part.is_empty() {
                part = store.snapshots(&rest[..1], None).await.unwrap();
                read_alone.push(&*rest[0].client);
                assert!(rows(&part).iter().any(|rows| *rows > most), "{most}");
            } else {
                assert!(rows(&part).iter().all(|rows| *rows <= most), "{most}");
            }
            read.extend(part);
            parts += 1;
        }
        assert_eq!(shown(&read), together, "{most}");
        assert_eq!(read_alone, alone, "{most}");
        assert_eq!(parts == 1, most == 10_000, "{most}: {parts} parts");
    }
}
