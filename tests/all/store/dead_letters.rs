//! Dead letters.

use tenure::store::{
    Commit, DeadLetter, DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, LONGEST_BODY, Store,
};

use super::Fresh;
use super::given::*;

fn dead_letter(body: &[u8]) -> DeadLetter {
    DeadLetter {
        origin: "amqp:tenure.events.0".into(),
        source: Some("/accounts".into()),
        content_type: Some("application/json".into()),
        headers: vec![("x-death".into(), "1".into()), ("nul".into(), "a\0b\"".into())],
        body: body.into(),
        reason: "no JSON".into(),
        retry_at: None,
    }
}

async fn receive(store: &dyn Store, seconds: i64, dead_letters: &[DeadLetter]) {
    let received = Commit {
        dead_letters: dead_letters.to_vec(),
        recorded_at: moment(seconds),
        ..commit()
    };
    put(store, received).await.unwrap();
}

async fn all(store: &dyn Store) -> Vec<DeadLetterRecord> {
    let mut dead_letters = Vec::new();
    for line in store
        .dead_letters(&DeadLetterFilter::default(), 0, 100)
        .await
        .unwrap()
    {
        dead_letters.push(store.dead_letter(line.id).await.unwrap().unwrap());
    }
    dead_letters
}

pub async fn a_dead_letter_is_read_back_as_written(fresh: Fresh) {
    let store = &*fresh.store;
    let binary = dead_letter(b"\0\xff{\x01");
    let bare = DeadLetter {
        origin: "http\0".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: Vec::new(),
        reason: "\0no attribute `id`\0".into(),
        retry_at: None,
    };
    receive(store, 1, &[binary.clone(), bare]).await;
    let dead_letters = all(store).await;
    let [first, second] = dead_letters.as_slice() else {
        panic!("{dead_letters:?}");
    };
    assert_eq!(first.dead_letter, binary);
    let listed = store
        .dead_letters(&DeadLetterFilter::default(), 0, 9)
        .await
        .unwrap();
    let sources: Vec<_> = listed.iter().map(|line| line.source.as_deref()).collect();
    assert_eq!(sources, [Some("/accounts"), None]);
    assert_eq!((first.status, first.times_seen), (DeadLetterStatus::Open, 1));
    assert_eq!((first.first_seen_at, first.last_seen_at), (moment(1), moment(1)));
    assert_eq!(first.resolved_at, None);
    assert_eq!(&second.dead_letter.origin, "http");
    assert_eq!(&second.dead_letter.reason, "no attribute `id`");
    assert_eq!(second.dead_letter.content_type, None);
    assert_eq!(store.dead_letter(second.id).await.unwrap().as_ref(), Some(second));
    assert_eq!(store.dead_letter(999_999).await.unwrap(), None);
}

pub async fn a_redelivered_dead_letter_is_one_record(fresh: Fresh) {
    let store = &*fresh.store;
    receive(
        store,
        1,
        &[dead_letter(b"{"), dead_letter(b"["), dead_letter(b"{")],
    )
    .await;
    let mut redelivered = dead_letter(b"{");
    redelivered.origin = "amqp:tenure.events.1".into();
    redelivered.headers[0].1 = "2".into();
    redelivered.reason = "no JSON object".into();
    redelivered.source = Some("/other".into());
    receive(store, 2, std::slice::from_ref(&redelivered)).await;
    let dead_letters = all(store).await;
    assert_eq!(dead_letters.len(), 2);
    assert_eq!((dead_letters[0].times_seen, dead_letters[1].times_seen), (3, 1));
    assert_eq!(
        (dead_letters[0].first_seen_at, dead_letters[0].last_seen_at),
        (moment(1), moment(2))
    );
    assert_eq!(dead_letters[0].dead_letter, redelivered);
    let mut by_http = dead_letter(b"{");
    by_http.origin = "http".into();
    receive(store, 3, &[by_http]).await;
    assert_eq!(all(store).await.len(), 3);
}

/// Receives two dead letters, redrives the first and discards the second. Returns their ids.
async fn redriven_and_discarded(store: &dyn Store) -> (i64, i64) {
    receive(store, 1, &[dead_letter(b"{"), dead_letter(b"[")]).await;
    let dead_letters = all(store).await;
    let (first, second) = (dead_letters[0].id, dead_letters[1].id);
    store
        .end_redrive(first, false, "applied", moment(5))
        .await
        .unwrap();
    assert!(store.discard_dead_letter(second, moment(5)).await.unwrap());
    (first, second)
}

pub async fn a_redriven_dead_letter_reopens_when_redelivered(fresh: Fresh) {
    let store = &*fresh.store;
    let (first, _) = redriven_and_discarded(store).await;
    let settled = store.dead_letter(first).await.unwrap().unwrap();
    assert_eq!(
        (settled.status, settled.resolved_at),
        (DeadLetterStatus::Redriven, Some(moment(5)))
    );
    receive(store, 6, &[dead_letter(b"{"), dead_letter(b"[")]).await;
    let dead_letters = all(store).await;
    assert_eq!(
        (dead_letters[0].status, dead_letters[0].resolved_at),
        (DeadLetterStatus::Open, None)
    );
    // A discarded one stays discarded.
    assert_eq!(
        (dead_letters[1].status, dead_letters[1].resolved_at),
        (DeadLetterStatus::Discarded, Some(moment(5)))
    );
    assert!(
        store.discard_dead_letter(first, moment(7)).await.unwrap(),
        "it is open again"
    );
}

pub async fn only_an_open_dead_letter_is_discarded(fresh: Fresh) {
    let store = &*fresh.store;
    let (first, second) = redriven_and_discarded(store).await;
    for id in [first, second, 999_999] {
        assert!(!store.discard_dead_letter(id, moment(6)).await.unwrap(), "{id}");
    }
    let resolved: Vec<_> = all(store)
        .await
        .into_iter()
        .map(|record| (record.status, record.resolved_at))
        .collect();
    assert_eq!(
        resolved,
        [
            (DeadLetterStatus::Redriven, Some(moment(5))),
            (DeadLetterStatus::Discarded, Some(moment(5)))
        ]
    );
}

pub async fn dead_letters_are_listed_by_status(fresh: Fresh) {
    let store = &*fresh.store;
    let received: Vec<DeadLetter> = (0..5).map(|n| dead_letter(&[n])).collect();
    receive(store, 1, &received).await;
    let dead_letters = all(store).await;
    assert!(
        dead_letters
            .iter()
            .map(|record| &record.dead_letter)
            .eq(&received)
    );
    store
        .discard_dead_letter(dead_letters[1].id, moment(2))
        .await
        .unwrap();
    let listed = async |status, after, limit| -> Vec<u8> {
        let filter = DeadLetterFilter { status };
        let mut bodies = Vec::new();
        for line in store.dead_letters(&filter, after, limit).await.unwrap() {
            bodies.push(
                store
                    .dead_letter(line.id)
                    .await
                    .unwrap()
                    .unwrap()
                    .dead_letter
                    .body[0],
            );
        }
        bodies
    };
    assert_eq!(listed(Some(DeadLetterStatus::Open), 0, 2).await, [0, 2]);
    assert_eq!(
        listed(Some(DeadLetterStatus::Open), dead_letters[2].id, 9).await,
        [3, 4]
    );
    assert_eq!(listed(Some(DeadLetterStatus::Discarded), 0, 9).await, [1]);
    assert_eq!(listed(Some(DeadLetterStatus::Redriven), 0, 9).await, [0; 0]);
    assert_eq!(listed(None, dead_letters[3].id, 9).await, [4]);
}

pub async fn a_body_that_is_too_long_is_stored_truncated(fresh: Fresh) {
    let store = &*fresh.store;
    let whole = dead_letter(&vec![7; LONGEST_BODY]);
    let mut long = dead_letter(&vec![7; LONGEST_BODY + 3]);
    receive(store, 1, &[whole, long.clone()]).await;
    long.body[LONGEST_BODY] = 8;
    receive(store, 2, std::slice::from_ref(&long)).await;
    let dead_letters = all(store).await;
    assert_eq!(
        dead_letters.len(),
        3,
        "they differ only in the part that is not stored"
    );
    let is_truncated: Vec<bool> = dead_letters.iter().map(DeadLetterRecord::is_truncated).collect();
    assert_eq!(is_truncated, [false, true, true]);
    let cut = &dead_letters[2];
    assert_eq!(cut.dead_letter.body, long.body[..LONGEST_BODY]);
    assert_eq!(usize::try_from(cut.bytes).unwrap(), LONGEST_BODY + 3);
    let digest = tenure::store::body_digest(&long.body);
    let truncated = format!("of {} bytes (SHA-256 {digest}) are stored", LONGEST_BODY + 3);
    assert!(
        cut.dead_letter.reason.ends_with(&truncated),
        "{}",
        cut.dead_letter.reason
    );
}

pub async fn a_dead_letter_has_one_claim_at_a_time(fresh: Fresh) {
    let store = &*fresh.store;
    receive(store, 1, &[dead_letter(b"{")]).await;
    let id = all(store).await[0].id;
    let other = fresh.database.another_store();
    let (here, there) = tokio::join!(
        store.claim_dead_letter(id, moment(10), moment(20)),
        other.claim_dead_letter(id, moment(10), moment(20))
    );
    let claimed = [here.unwrap(), there.unwrap()];
    assert_eq!(claimed.iter().flatten().count(), 1, "{claimed:?}");
    assert_eq!(
        store.claim_dead_letter(id, moment(19), moment(30)).await.unwrap(),
        None
    );
    let lapsed = store.claim_dead_letter(id, moment(20), moment(30)).await.unwrap();
    assert!(lapsed.is_some(), "whoever had it has died");
    store
        .end_redrive(id, true, "dead: no JSON", moment(21))
        .await
        .unwrap();
    let line = store
        .dead_letters(&DeadLetterFilter::default(), 0, 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((line.status, line.resolved_at), (DeadLetterStatus::Open, None));
    assert_eq!(
        (line.redriven_at, line.redrive_outcome.as_deref()),
        (Some(moment(21)), Some("dead: no JSON"))
    );
    assert!(
        store
            .claim_dead_letter(id, moment(22), moment(30))
            .await
            .unwrap()
            .is_some()
    );
    store.end_redrive(id, false, "applied", moment(23)).await.unwrap();
    assert_eq!(
        store.claim_dead_letter(id, moment(40), moment(50)).await.unwrap(),
        None,
        "once"
    );
    let settled = &all(store).await[0];
    assert_eq!(
        (
            settled.status,
            settled.resolved_at,
            settled.redrive_outcome.as_deref()
        ),
        (DeadLetterStatus::Redriven, Some(moment(23)), Some("applied"))
    );
    receive(store, 41, &[dead_letter(b"{")]).await;
    assert!(
        store
            .claim_dead_letter(id, moment(42), moment(50))
            .await
            .unwrap()
            .is_some(),
        "it came back"
    );
}

pub async fn a_claim_from_a_clock_ahead_is_ignored(fresh: Fresh) {
    let store = &*fresh.store;
    receive(store, 1, &[dead_letter(b"{")]).await;
    let id = all(store).await[0].id;
    let claim = async |now: i64| {
        store
            .claim_dead_letter(id, moment(now), moment(now + 60))
            .await
            .unwrap()
    };
    assert!(claim(6_000_000).await.is_some(), "70 days ahead");
    assert!(claim(10).await.is_some(), "and right again");
    assert!(claim(11).await.is_none(), "one that may be right counts");
    // A claim from a clock a little ahead is valid.
    assert!(claim(70).await.is_some());
    assert!(claim(65).await.is_none());
}

pub async fn deferred_dead_letters_are_claimed_once_due(fresh: Fresh) {
    let store = &*fresh.store;
    let at = |seconds, body: &[u8]| DeadLetter {
        retry_at: Some(moment(seconds)),
        ..dead_letter(body)
    };
    receive(
        store,
        1,
        &[
            dead_letter(b"never"),
            at(30, b"third"),
            at(10, b"first"),
            at(20, b"second"),
        ],
    )
    .await;
    let census = store.census().await.unwrap();
    assert_eq!(census.dead_letters_open, 1, "the others wait for nobody");
    assert_eq!(all(store).await[1].dead_letter, at(30, b"third"));
    let claim = async |now: i64, limit| {
        let dead_letters = store
            .claim_deferred(moment(now), moment(now + 60), limit)
            .await
            .unwrap();
        let mut bodies: Vec<_> = dead_letters
            .into_iter()
            .map(|record| record.dead_letter.body)
            .collect();
        bodies.sort();
        bodies
    };
    assert_eq!(claim(9, 10).await, Vec::<Vec<u8>>::new());
    assert_eq!(claim(25, 1).await, [b"first"]);
    assert_eq!(claim(25, 10).await, [b"second"], "the first is claimed");
    assert_eq!(claim(31, 10).await, [b"third"]);
    let dead_letters = all(store).await;
    let id = |body: &[u8]| {
        dead_letters
            .iter()
            .find(|one| one.dead_letter.body == body)
            .unwrap()
            .id
    };
    let done = [
        (id(b"first"), "applied".to_owned()),
        (id(b"second"), "duplicate".to_owned()),
    ];
    store.end_redrives(&done, moment(40)).await.unwrap();
    let dead_letters = all(store).await;
    let words: Vec<_> = dead_letters
        .iter()
        .map(|one| (one.status, one.redrive_outcome.as_deref()))
        .collect();
    let redriven = |what| (DeadLetterStatus::Redriven, Some(what));
    assert_eq!(
        words,
        [
            (DeadLetterStatus::Open, None),
            (DeadLetterStatus::Open, None),
            redriven("applied"),
            redriven("duplicate")
        ]
    );
    // A redriven one is done. A claim without an end expires.
    assert_eq!(claim(200, 10).await, [b"third"]);
}
