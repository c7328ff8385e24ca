//! The outbox of both stores.

use tenure::store::{Cursor, Published, Recorded, Store};

use super::Fresh;
use super::given::*;

async fn waiting(store: &dyn Store, after: Cursor) -> Vec<Recorded> {
    store.unpublished(after, None, 9).await.unwrap().lines
}

pub async fn lines_after_the_cursor_are_listed_in_order(fresh: Fresh) {
    let store = &*fresh.store;
    assert!(store.acquire_lead().await.unwrap());
    assert!(store.acquire_lead().await.unwrap(), "the lead is already held");
    assert_eq!(waiting(store, Cursor::default()).await, []);
    let (a, b) = (key("a"), key("b"));
    put(
        store,
        journal(vec![entry(&b, "1"), entry(&a, "2"), entry(&b, "3")]),
    )
    .await
    .unwrap();
    put(store, journal(vec![entry(&a, "4")])).await.unwrap();
    assert_eq!(store.count_unpublished().await.unwrap(), 4);
    // All four are listed now, not only the first three.
    relayed(store, 4, 9).await;
    let lines = relayed(store, 3, 3).await;
    let texts = |client: &str, to: &str| (client.to_owned(), to.to_owned());
    assert_eq!(
        clients_and_values(&lines),
        [texts("b", "1"), texts("a", "2"), texts("b", "3")]
    );
    assert!(lines.is_sorted_by_key(|line| line.cursor));
    // The same lines are listed until the cursor moves.
    assert_eq!(relayed(store, 3, 3).await, lines);
    // A position ahead of the cursor counts, one behind it does not.
    let ahead = waiting(store, lines[1].cursor).await;
    assert_eq!(clients_and_values(&ahead), [texts("b", "3"), texts("a", "4")]);
    done(store, &lines[1]).await;
    assert_eq!(store.count_unpublished().await.unwrap(), 2);
    assert_eq!(waiting(store, lines[0].cursor).await, ahead);
    let rest = relayed(store, 2, 9).await;
    assert_eq!(clients_and_values(&rest), [texts("b", "3"), texts("a", "4")]);
    assert_eq!(rest[0], lines[2]);
    done(store, &rest[1]).await;
    assert_eq!(waiting(store, Cursor::default()).await, []);
    assert_eq!(store.count_unpublished().await.unwrap(), 0);
}

pub async fn the_cursor_never_moves_backwards(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    put(store, journal(vec![entry(&a, "1"), entry(&a, "2")]))
        .await
        .unwrap();
    let lines = relayed(store, 2, 9).await;
    done(store, &lines[1]).await;
    done(store, &lines[0]).await;
    let never_written = Recorded {
        cursor: Cursor::default(),
        ..lines[0].clone()
    };
    done(store, &never_written).await;
    assert_eq!(store.count_unpublished().await.unwrap(), 0);
}

pub async fn a_client_journal_is_read_after_a_sequence_number(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    for n in 0..5 {
        let to = n.to_string();
        put(store, journal(vec![entry(&a, &to), entry(&b, &to)]))
            .await
            .unwrap();
    }
    let first = store.journal(&a, 0, 3).await.unwrap();
    let tos = |lines: &[_]| -> String { clients_and_values(lines).into_iter().map(|(_, to)| to).collect() };
    assert_eq!(tos(&first), "012");
    let rest = store.journal(&a, first[2].cursor.sequence, 9).await.unwrap();
    assert_eq!(tos(&rest), "34");
    assert!(rest.iter().all(|line| line.entry.key == a));
}

pub async fn a_missing_line_shows_that_the_store_is_behind(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, journal(vec![entry(&key("a"), "1"), entry(&key("a"), "2")]))
        .await
        .unwrap();
    let lines = relayed(store, 2, 9).await;
    let next = async |last: &Published| store.unpublished(Cursor::default(), Some(last), 9).await.unwrap();
    let before = store.unpublished(Cursor::default(), None, 9).await.unwrap();
    assert!(before.has_last, "nothing is known");
    let last = lines[1].published(before.epoch);
    assert!(!next(&last).await.is_behind(&last));

    // A number that another change has now, and one that no change has yet.
    let another = Published {
        recorded_at: last.recorded_at + chrono::TimeDelta::microseconds(1),
        ..last
    };
    let later = Published {
        cursor: Cursor {
            sequence: last.cursor.sequence + 1,
            ..last.cursor
        },
        ..last
    };
    for gone in [another, later] {
        assert!(next(&gone).await.is_behind(&gone));
        store.advance_cursor(&gone).await.unwrap();
        assert_eq!(
            store.count_unpublished().await.unwrap(),
            2,
            "the cursor stays on lines that are there"
        );
    }
    let epoch = store.begin_epoch(before.epoch).await.unwrap();
    assert!(epoch > before.epoch);
    // Lines of an earlier epoch are not checked.
    let after = next(&later).await;
    assert_eq!((after.epoch, &after.lines), (epoch, &lines));
    assert!(!after.is_behind(&later));
    store.advance_cursor(&last).await.unwrap();
    assert_eq!(
        store.count_unpublished().await.unwrap(),
        2,
        "published in an epoch before"
    );
    // Whatever the clock says, and whatever epoch others have seen.
    let ahead = epoch + 1_000_000_000_000;
    let to_come = Published { epoch: ahead, ..last };
    assert!(next(&to_come).await.is_behind(&to_come));
    assert!(store.begin_epoch(ahead).await.unwrap() > ahead);
}
