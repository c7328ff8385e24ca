//! Dead letters.

use tenure::store::{Commit, DeadFilter, DeadLetter, DeadRecord, DeadStatus, Store};

use super::Fresh;
use super::given::*;

fn letter(body: &[u8]) -> DeadLetter {
    DeadLetter {
        origin: "amqp:tenure.events.0".into(),
        content_type: Some("application/json".into()),
        headers: vec![("x-death".into(), "1".into()), ("nul".into(), "a\0b\"".into())],
        body: body.into(),
        reason: "no JSON".into(),
    }
}

async fn receive(store: &dyn Store, seconds: i64, letters: &[DeadLetter]) {
    let received = Commit {
        dead_letters: letters.to_vec(),
        recorded_at: moment(seconds),
        ..commit()
    };
    put(store, received).await.unwrap();
}

async fn all(store: &dyn Store) -> Vec<DeadRecord> {
    store.dead_letters(&DeadFilter::default(), 0, 100).await.unwrap()
}

pub async fn a_letter_reads_back(fresh: Fresh) {
    let store = &*fresh.store;
    let binary = letter(b"\0\xff{\x01");
    let bare = DeadLetter {
        origin: "http\0".into(),
        content_type: None,
        headers: Vec::new(),
        body: Vec::new(),
        reason: "\0no attribute `id`\0".into(),
    };
    receive(store, 1, &[binary.clone(), bare]).await;
    let letters = all(store).await;
    let [first, second] = letters.as_slice() else {
        panic!("{letters:?}");
    };
    assert_eq!(first.letter, binary);
    assert_eq!((first.status, first.times_seen), (DeadStatus::Open, 1));
    assert_eq!((first.first_seen_at, first.last_seen_at), (moment(1), moment(1)));
    assert_eq!(first.settled_at, None);
    assert_eq!(&second.letter.origin, "http");
    assert_eq!(&second.letter.reason, "no attribute `id`");
    assert_eq!(second.letter.content_type, None);
    assert_eq!(store.dead_letter(second.id).await.unwrap().as_ref(), Some(second));
    assert_eq!(store.dead_letter(999_999).await.unwrap(), None);
}

pub async fn the_same_letter_again_is_one_record(fresh: Fresh) {
    let store = &*fresh.store;
    receive(store, 1, &[letter(b"{"), letter(b"["), letter(b"{")]).await;
    let mut redelivered = letter(b"{");
    redelivered.origin = "amqp:tenure.events.1".into();
    redelivered.headers[0].1 = "2".into();
    redelivered.reason = "no JSON object".into();
    receive(store, 2, std::slice::from_ref(&redelivered)).await;
    let letters = all(store).await;
    assert_eq!(letters.len(), 2);
    assert_eq!((letters[0].times_seen, letters[1].times_seen), (3, 1));
    assert_eq!(
        (letters[0].first_seen_at, letters[0].last_seen_at),
        (moment(1), moment(2))
    );
    assert_eq!(letters[0].letter, redelivered);
    let mut by_http = letter(b"{");
    by_http.origin = "http".into();
    receive(store, 3, &[by_http]).await;
    assert_eq!(all(store).await.len(), 3);
}

pub async fn a_redriven_letter_that_comes_back_is_open_again(fresh: Fresh) {
    let store = &*fresh.store;
    receive(store, 1, &[letter(b"{"), letter(b"[")]).await;
    let letters = all(store).await;
    let mark = |id, status| store.mark_dead(id, status, moment(5));
    assert!(mark(letters[0].id, DeadStatus::Redriven).await.unwrap());
    assert!(mark(letters[1].id, DeadStatus::Discarded).await.unwrap());
    assert!(!mark(999_999, DeadStatus::Redriven).await.unwrap());
    let settled = store.dead_letter(letters[0].id).await.unwrap().unwrap();
    assert_eq!(
        (settled.status, settled.settled_at),
        (DeadStatus::Redriven, Some(moment(5)))
    );
    receive(store, 6, &[letter(b"{"), letter(b"[")]).await;
    let letters = all(store).await;
    assert_eq!(
        (letters[0].status, letters[0].settled_at),
        (DeadStatus::Open, None)
    );
    // What was discarded was meant to be.
    assert_eq!(
        (letters[1].status, letters[1].settled_at),
        (DeadStatus::Discarded, Some(moment(5)))
    );
    assert!(mark(letters[1].id, DeadStatus::Open).await.unwrap());
    let open = store.dead_letter(letters[1].id).await.unwrap().unwrap();
    assert_eq!((open.status, open.settled_at), (DeadStatus::Open, None));
}

pub async fn letters_are_listed_by_status(fresh: Fresh) {
    let store = &*fresh.store;
    let received: Vec<DeadLetter> = (0..5).map(|n| letter(&[n])).collect();
    receive(store, 1, &received).await;
    let letters = all(store).await;
    assert!(letters.iter().map(|record| &record.letter).eq(&received));
    store
        .mark_dead(letters[1].id, DeadStatus::Discarded, moment(2))
        .await
        .unwrap();
    let listed = async |status, after, limit| -> Vec<u8> {
        let filter = DeadFilter { status };
        let records = store.dead_letters(&filter, after, limit).await.unwrap();
        records.iter().map(|record| record.letter.body[0]).collect()
    };
    assert_eq!(listed(Some(DeadStatus::Open), 0, 2).await, [0, 2]);
    assert_eq!(listed(Some(DeadStatus::Open), letters[2].id, 9).await, [3, 4]);
    assert_eq!(listed(Some(DeadStatus::Discarded), 0, 9).await, [1]);
    assert_eq!(listed(Some(DeadStatus::Redriven), 0, 9).await, [0; 0]);
    assert_eq!(listed(None, letters[3].id, 9).await, [4]);
}
