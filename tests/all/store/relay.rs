//! The outbox, as far as both stores are alike.

use tenure::store::Cursor;

use super::Fresh;
use super::given::*;

pub async fn lines_are_relayed_in_order_up_to_the_cursor(fresh: Fresh) {
    let store = &*fresh.store;
    assert!(store.lead_relay().await.unwrap());
    assert!(store.lead_relay().await.unwrap(), "the lead is kept");
    assert_eq!(store.relay_next(Cursor::default(), 9).await.unwrap(), []);
    let (a, b) = (key("a"), key("b"));
    put(
        store,
        journal(vec![entry(&b, "1"), entry(&a, "2"), entry(&b, "3")]),
    )
    .await
    .unwrap();
    put(store, journal(vec![entry(&a, "4")])).await.unwrap();
    assert_eq!(store.relay_backlog().await.unwrap(), 4);
    // All four are there now, not the first three alone.
    relayed(store, 4, 9).await;
    let lines = relayed(store, 3, 3).await;
    let texts = |client: &str, to: &str| (client.to_owned(), to.to_owned());
    assert_eq!(told(&lines), [texts("b", "1"), texts("a", "2"), texts("b", "3")]);
    assert!(lines.is_sorted_by_key(|line| line.cursor));
    // Until they are done, they are the next.
    assert_eq!(relayed(store, 3, 3).await, lines);
    // Whoever has gone ahead of the cursor goes on from there, and never behind it.
    let ahead = store.relay_next(lines[1].cursor, 9).await.unwrap();
    assert_eq!(told(&ahead), [texts("b", "3"), texts("a", "4")]);
    store.relay_done(lines[1].cursor).await.unwrap();
    assert_eq!(store.relay_backlog().await.unwrap(), 2);
    assert_eq!(store.relay_next(lines[0].cursor, 9).await.unwrap(), ahead);
    let rest = relayed(store, 2, 9).await;
    assert_eq!(told(&rest), [texts("b", "3"), texts("a", "4")]);
    assert_eq!(rest[0], lines[2]);
    store.relay_done(rest[1].cursor).await.unwrap();
    assert_eq!(store.relay_next(Cursor::default(), 9).await.unwrap(), []);
    assert_eq!(store.relay_backlog().await.unwrap(), 0);
}

pub async fn the_cursor_never_moves_backwards(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    put(store, journal(vec![entry(&a, "1"), entry(&a, "2")]))
        .await
        .unwrap();
    let lines = relayed(store, 2, 9).await;
    store.relay_done(lines[1].cursor).await.unwrap();
    store.relay_done(lines[0].cursor).await.unwrap();
    store.relay_done(Cursor::default()).await.unwrap();
    assert_eq!(store.relay_backlog().await.unwrap(), 0);
}

pub async fn a_journal_is_read_from_a_sequence_number_on(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    for n in 0..5 {
        let to = n.to_string();
        put(store, journal(vec![entry(&a, &to), entry(&b, &to)]))
            .await
            .unwrap();
    }
    let first = store.journal(&a, 0, 3).await.unwrap();
    let tos = |lines: &[_]| -> String { told(lines).into_iter().map(|(_, to)| to).collect() };
    assert_eq!(tos(&first), "012");
    let rest = store.journal(&a, first[2].cursor.sequence, 9).await.unwrap();
    assert_eq!(tos(&rest), "34");
    assert!(rest.iter().all(|line| line.entry.key == a));
}
