//! The feed of both stores: its order, its places, and the states that a reader starts from.

use std::time::Duration;

use chrono::TimeDelta;
use tenure::domain::ChangeKind;
use tenure::store::{
    Commit, Cursor, FeedCursor, FeedFilter, FeedGap, FeedPage, Published, RetentionTarget, Store,
};

use super::Fresh;
use super::given::*;

const WALK: u32 = 100;

async fn beginning(store: &dyn Store) -> FeedCursor {
    FeedCursor::beginning(store.feed_end().await.unwrap().0.epoch)
}

async fn page(store: &dyn Store, after: &FeedCursor, filter: &FeedFilter, limit: u32) -> FeedPage {
    store.feed(after, filter, WALK, limit).await.unwrap()
}

/// Writes lines of client `a` with these values.
async fn write_values(store: &dyn Store, values: &[&str]) {
    for value in values {
        put(store, journal(vec![entry(&key("a"), value)])).await.unwrap();
    }
}

fn values(page: &FeedPage) -> Vec<String> {
    clients_and_values(&page.lines)
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}

pub async fn the_feed_has_the_order_of_the_relay(fresh: Fresh) {
    let store = &*fresh.store;
    let start = beginning(store).await;
    let empty = page(store, &start, &FeedFilter::default(), 9).await;
    assert_eq!(
        (&empty.lines[..], empty.more, empty.next, empty.gap),
        (&[][..], false, start, None)
    );
    let (a, b) = (key("a"), key("b"));
    for lines in [
        vec![entry(&b, "1"), entry(&a, "2")],
        vec![entry(&b, "3")],
        vec![entry(&a, "4")],
    ] {
        put(store, journal(lines)).await.unwrap();
    }
    let relayed = relayed(store, 4, 9).await;
    let mut read = Vec::new();
    let mut after = start;
    for more in [true, true, false] {
        let page = page(store, &after, &FeedFilter::default(), 2).await;
        // A page that ends with the last line is full, so more may follow.
        assert_eq!(page.more, more);
        assert_eq!(page.gap, None);
        after = page.next;
        read.extend(page.lines);
    }
    assert_eq!(read, relayed);
    assert_eq!(store.feed_end().await.unwrap(), after);
    let newest_first: Vec<_> = read.iter().rev().cloned().collect();
    assert_eq!(store.latest_lines(9).await.unwrap(), newest_first);
    assert_eq!(store.latest_lines(2).await.unwrap(), newest_first[..2]);
    let last = read.last().unwrap();
    assert_eq!(after, FeedCursor(last.published(after.0.epoch)));
    // The relay's cursor and its lead have no effect.
    assert!(store.acquire_lead().await.unwrap());
    done(store, &relayed[3]).await;
    assert_eq!(
        page(store, &start, &FeedFilter::default(), 9).await.lines,
        relayed
    );
}

pub async fn a_filtered_feed_examines_a_bounded_number_of_lines(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let other = tenure::domain::ClientKey::new("other", "a").unwrap();
    for n in 0..10 {
        let value = n.to_string();
        put(
            store,
            journal(vec![entry(&a, &value), entry(&b, &value), entry(&other, &value)]),
        )
        .await
        .unwrap();
    }
    relayed(store, 30, 50).await;
    let start = beginning(store).await;
    let of = |partner: &str, client: Option<&str>| FeedFilter {
        partner: Some(partner.to_owned()),
        client: client.map(str::to_owned),
        ..FeedFilter::default()
    };
    let types = |kinds: Vec<ChangeKind>| FeedFilter {
        kinds,
        ..FeedFilter::default()
    };
    for (filter, matching) in [
        (of("acme", None), 20),
        (of("acme", Some("b")), 10),
        (of("other", None), 10),
        (of("nobody", None), 0),
        (
            types(vec![ChangeKind::ClientRenamed, ChangeKind::EventRefused]),
            30,
        ),
        (types(vec![ChangeKind::EventRefused]), 0),
    ] {
        let all = page(store, &start, &filter, 50).await;
        assert_eq!((all.lines.len(), all.more), (matching, false), "{filter:?}");
        assert_eq!(all.next, store.feed_end().await.unwrap());
        // Seven lines per request, of which two match at most: the pages together have every line.
        let mut after = start;
        let mut read = Vec::new();
        loop {
            let page = store.feed(&after, &filter, 7, 2).await.unwrap();
            assert!(page.lines.len() <= 2, "{page:?}");
            read.extend(page.lines);
            after = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(read, all.lines, "{filter:?}");
    }
    let nothing = store.feed(&start, &of("nobody", None), 7, 2).await.unwrap();
    assert!(nothing.more && nothing.lines.is_empty());
    assert_eq!(nothing.next.0.cursor, relayed(store, 30, 50).await[6].cursor);
}

pub async fn a_place_before_pruned_lines_has_a_gap(fresh: Fresh) {
    let store = &*fresh.store;
    let all = FeedFilter::default();
    let start = beginning(store).await;
    for (value, recorded) in [("1", 10), ("2", 20), ("3", 30), ("4", 40)] {
        let lines = Commit {
            recorded_at: moment(recorded),
            ..journal(vec![entry(&key("a"), value)])
        };
        put(store, lines).await.unwrap();
    }
    let lines = relayed(store, 4, 9).await;
    let epoch = start.0.epoch;
    let places: Vec<FeedCursor> = lines
        .iter()
        .map(|line| FeedCursor(line.published(epoch)))
        .collect();
    done(store, &lines[3]).await;
    let prune = async |before| {
        store
            .prune(RetentionTarget::Journal, moment(before), 9)
            .await
            .unwrap()
    };
    assert_eq!(prune(25).await, 2);
    let pruned = |before, end: FeedCursor| {
        Some(FeedGap::Pruned {
            before: moment(before),
            end: Some(end),
        })
    };
    for gone in [&start, &places[0]] {
        let gap = page(store, gone, &all, 9).await.gap;
        assert_eq!(gap, pruned(25, places[1]), "{gone}");
    }
    // A reader that has the last line that was removed misses nothing.
    let second = page(store, &places[1], &all, 9).await;
    assert_eq!(
        (values(&second), second.gap),
        (vec!["3".to_owned(), "4".to_owned()], None)
    );
    let third = page(store, &places[2], &all, 9).await;
    assert_eq!((values(&third), third.gap), (vec!["4".to_owned()], None));

    // A reader that has everything misses nothing when everything is pruned, whatever comes next.
    assert_eq!(prune(1_000).await, 2);
    assert_eq!(
        page(store, &places[2], &all, 9).await.gap,
        pruned(1_000, places[3])
    );
    assert_eq!(store.feed_end().await.unwrap(), places[3]);
    let end = page(store, &places[3], &all, 9).await;
    assert_eq!((end.lines.len(), end.gap), (0, None));
    assert_eq!(end.next, places[3]);
    let fifth = Commit {
        recorded_at: moment(2_000),
        ..journal(vec![entry(&key("a"), "5")])
    };
    put(store, fifth).await.unwrap();
    let lines = relayed(store, 1, 9).await;
    let fifth = page(store, &places[3], &all, 9).await;
    assert_eq!((values(&fifth), fifth.gap), (vec!["5".to_owned()], None));
    done(store, &lines[0]).await;
    let epoch = store.begin_epoch(epoch).await.unwrap();
    assert_eq!(page(store, &places[3], &all, 9).await.gap, None);
    assert_eq!(prune(3_000).await, 1);
    let end = FeedCursor(lines[0].published(epoch));
    assert_eq!(page(store, &places[3], &all, 9).await.gap, pruned(3_000, end));
}

pub async fn a_place_in_a_past_that_was_undone_has_a_gap(fresh: Fresh) {
    let store = &*fresh.store;
    let all = FeedFilter::default();
    write_values(store, &["1", "2"]).await;
    let lines = relayed(store, 2, 9).await;
    let epoch = beginning(store).await.0.epoch;
    let last = lines[1].published(epoch);
    // The number of the line has another meaning now, or none yet.
    let replaced = Published {
        recorded_at: last.recorded_at + TimeDelta::microseconds(1),
        ..last
    };
    let not_yet = Published {
        cursor: Cursor {
            sequence: last.cursor.sequence + 5,
            ..last.cursor
        },
        ..last
    };
    // Another store, whose transactions have other numbers.
    let elsewhere = Published {
        cursor: Cursor {
            transaction: last.cursor.transaction + 1,
            ..last.cursor
        },
        ..last
    };
    let epoch_to_come = Published {
        epoch: epoch + 1,
        ..last
    };
    let gone = [replaced, not_yet, elsewhere, epoch_to_come].map(FeedCursor);
    let restored = async || {
        for place in gone.iter().take(3) {
            let page = page(store, place, &all, 9).await;
            assert_eq!(page.gap, Some(FeedGap::Restored), "{place}");
        }
    };
    restored().await;
    let to_come = page(store, &gone[3], &all, 9).await;
    assert_eq!(to_come.gap, Some(FeedGap::Restored));

    // A new epoch changes the ids of what follows, not the places that the store still has.
    let begun = store.begin_epoch(epoch).await.unwrap();
    restored().await;
    let rest = page(store, &FeedCursor(lines[0].published(epoch)), &all, 9).await;
    assert_eq!(
        (rest.epoch, values(&rest), rest.gap),
        (begun, vec!["2".to_owned()], None)
    );
    assert_eq!(rest.next.0.epoch, begun);
}

pub async fn states_include_their_last_line(fresh: Fresh) {
    let store = &*fresh.store;
    let keys = ["a", "b", "c"].map(key);
    for key in &keys {
        put(store, clients(vec![new_client(key, &key.client)]))
            .await
            .unwrap();
    }
    put(
        store,
        journal(vec![
            entry(&keys[0], "1"),
            entry(&keys[1], "2"),
            entry(&keys[0], "3"),
        ]),
    )
    .await
    .unwrap();
    let lines = relayed(store, 3, 9).await;
    let numbers = [lines[2].cursor.sequence, lines[1].cursor.sequence, 0];
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let states = store.states(after.as_ref(), 2).await.unwrap();
        after = states.last().map(|state| state.stored.key.clone());
        let is_last = states.len() < 2;
        read.extend(states);
        if is_last {
            break;
        }
    }
    let epoch = store.feed_end().await.unwrap().0.epoch;
    assert_eq!(read.len(), 3);
    for (state, (key, sequence)) in read.iter().zip(keys.iter().zip(numbers)) {
        assert_eq!(
            (&state.stored.key, state.sequence, state.epoch),
            (key, sequence, epoch)
        );
        assert_eq!(Some(&state.stored), store.client(key).await.unwrap().as_ref());
    }
}

/// PostgreSQL: a line waits for transactions with lower numbers, for readers as for the relay.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_lists_no_line_before_a_running_transaction() {
    let fresh = Fresh::postgres("feed_waits").await;
    let store = &*fresh.store;
    let other = fresh.database.another_store();
    // The words, the source and the clients are known: the second transaction does not wait for the first.
    put(store, journal(vec![entry(&key("a"), "0"), entry(&key("b"), "0")]))
        .await
        .unwrap();
    relayed(store, 2, 9).await;
    let start = store.feed_end().await.unwrap();
    // It has a number once it has written.
    let mut running = other.begin().await.unwrap();
    running
        .write(&journal(vec![entry(&key("b"), "early")]))
        .await
        .unwrap();
    write_values(store, &["late"]).await;
    let before = page(store, &start, &FeedFilter::default(), 9).await;
    assert_eq!((values(&before), before.next), (Vec::<String>::new(), start));
    assert_eq!(store.feed_end().await.unwrap(), start);
    running.commit(&commit()).await.unwrap();
    for _ in 0..600 {
        let after = page(store, &start, &FeedFilter::default(), 9).await;
        if after.lines.len() == 2 {
            assert_eq!(values(&after), ["early", "late"]);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("both lines can be read");
}
