//! The numbers of changes after a restore or a copy: they continue, in a new epoch if need be.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn numbering_continues_after_a_dump_is_restored_on_a_younger_server() {
    let fresh = with_clients("restored", &["a"]).await;
    let store = &*fresh.store;
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    // As if the server of the dump had numbered 10^12 transactions.
    fresh
        .database
        .sql("update journal set xid = xid + 1000000000000 returning ''")
        .await;
    fresh
        .database
        .sql("update clients set journaled_by = journaled_by + 1000000000000 returning ''")
        .await;
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    let lines = relayed(store, 2, 9).await;
    assert_eq!(
        clients_and_values(&lines),
        [("a".into(), "2".into()), ("a".into(), "3".into())]
    );
    done(store, &lines[1]).await;
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    assert_eq!(
        clients_and_values(&relayed(store, 1, 9).await),
        [("a".into(), "4".into())]
    );
}

/// The same with running workers that are not restarted.
#[tokio::test(flavor = "multi_thread")]
async fn numbering_continues_after_a_dump_is_restored_under_a_running_worker() {
    let fresh = with_clients("restored_under", &["a"]).await;
    let store = &*fresh.store;
    assert!(store.acquire_lead().await.unwrap());
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    let before = store.unpublished(Cursor::default(), None, 9).await.unwrap().epoch;
    for statement in [
        "update journal set xid = xid + 1000000000000 returning ''",
        "update clients set journaled_by = journaled_by + 1000000000000 returning ''",
    ] {
        fresh.database.sql(statement).await;
    }
    // An existing client and a new one: published lines have higher numbers than the transaction.
    let mut batch = store.begin().await.unwrap();
    let refused = batch.lock(&[key("a")], false).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    batch.rollback().await.unwrap();
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    let lines = relayed(store, 2, 9).await;
    assert_eq!(
        clients_and_values(&lines),
        [("a".into(), "2".into()), ("a".into(), "3".into())]
    );
    let after = store.unpublished(Cursor::default(), None, 9).await.unwrap().epoch;
    assert!(after > before, "a new epoch has begun");

    done(store, &lines[1]).await;
    let shift = "update relay set xid_shift = xid_shift - 1000000 returning ''";
    fresh.database.sql(shift).await;
    let line = journal(vec![entry(&key("new"), "x")]);
    failed_redrives(store, line.clone()).await;
    put(store, line).await.unwrap();
    assert_eq!(
        clients_and_values(&relayed(store, 1, 9).await),
        [("new".into(), "x".into())]
    );

    // Without a write, the relay notices.
    fresh.database.sql(shift).await;
    let found = store.unpublished(Cursor::default(), None, 9).await.unwrap_err();
    assert!(matches!(found, StoreError::Conflict(_)), "{found}");
    relayed(store, 1, 9).await;
}

/// A reader of the feed writes nothing: the next probe corrects the numbering.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_whose_numbering_must_be_advanced_is_unavailable_until_the_next_probe() {
    let fresh = with_clients("feed_numbering", &["a"]).await;
    let store = &*fresh.store;
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    relayed(store, 1, 9).await;
    let start = tenure::store::FeedCursor::beginning(0);
    let all = tenure::store::FeedFilter::default();
    fresh
        .database
        .sql("update relay set xid_shift = xid_shift - 1000000 returning ''")
        .await;
    let shift = "select xid_shift::text from relay";
    let before = fresh.database.sql(shift).await;
    for _ in 0..2 {
        let found = store.feed(&start, &all, 9, 9).await.unwrap_err();
        assert!(matches!(found, StoreError::Unavailable(_)), "{found}");
        assert_eq!(fresh.database.sql(shift).await, before);
    }
    store.probe(moment(0)).await.unwrap();
    assert_ne!(fresh.database.sql(shift).await, before);
    for _ in 0..600 {
        let page = store.feed(&start, &all, 9, 9).await.unwrap();
        if page.lines.len() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the line can be read");
}

/// Logical replication copies rows, but not sequences.
#[tokio::test(flavor = "multi_thread")]
async fn numbering_continues_on_a_copy_without_sequences() {
    let fresh = with_clients("replicated", &["a"]).await;
    let store = &*fresh.store;
    for _ in 0..3 {
        write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    }
    let dead_letter = tenure::store::DeadLetter {
        origin: "test".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: b"1".to_vec(),
        reason: "none".into(),
        retry_at: None,
    };
    let dead = |body: &[u8]| Commit {
        dead_letters: vec![tenure::store::DeadLetter {
            body: body.to_vec(),
            ..dead_letter.clone()
        }],
        ..commit()
    };
    put(store, dead(b"1")).await.unwrap();
    let lines = relayed(store, 3, 9).await;
    let before = store.unpublished(Cursor::default(), None, 9).await.unwrap().epoch;
    fresh
        .database
        .sql("select setval('journal_seq_seq', 1, false)::text union all select setval('dead_letters_id_seq', 1, false)::text")
        .await;
    // The worker that acquires the lead there.
    let other = fresh.database.another_store();
    assert!(other.acquire_lead().await.unwrap());
    write_on(other.begin().await.unwrap(), &key("a")).await.unwrap();
    put(&*other, dead(b"2")).await.unwrap();
    let all = relayed(&*other, 4, 9).await;
    let epoch = other.unpublished(Cursor::default(), None, 0).await.unwrap().epoch;
    assert!(epoch > before, "a new epoch has begun");
    assert_eq!(all[..3], lines);
    assert!(all[3].cursor.sequence > lines[2].cursor.sequence);
}
