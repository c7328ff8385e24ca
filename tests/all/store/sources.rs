//! Expected sources, and when each was last heard from.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use tenure::store::{Commit, EventCount, ExpectedSource, Heard, Store};

use super::Fresh;
use super::given::*;

fn expected(sources: &[(&str, i64)]) -> BTreeMap<String, TimeDelta> {
    let sources = sources.iter();
    sources
        .map(|(name, hours)| ((*name).to_owned(), TimeDelta::hours(*hours)))
        .collect()
}

fn source(source: &str, hours: i64, since: i64, last_heard: Option<DateTime<Utc>>) -> ExpectedSource {
    ExpectedSource {
        source: source.to_owned(),
        every_seconds: hours * 3_600,
        expected_since: moment(since),
        last_heard,
        counted: EventCount::default(),
    }
}

/// The expected sources without the counts of their events.
async fn uncounted(store: &dyn Store) -> Vec<ExpectedSource> {
    let sources = store.sources().await.unwrap().into_iter();
    let uncounted = |source| ExpectedSource {
        counted: EventCount::default(),
        ..source
    };
    sources.map(uncounted).collect()
}

async fn hear(store: &dyn Store, heard: &[(&str, i64)], recorded_at: DateTime<Utc>) {
    let heard = heard.iter().map(|(source, seconds)| Heard {
        source: (*source).to_owned(),
        at: moment(*seconds),
        events: 1,
    });
    let commit = Commit {
        heard: heard.collect(),
        recorded_at,
        ..Commit::default()
    };
    assert!(!commit.is_empty());
    put(store, commit).await.unwrap();
}

pub async fn a_source_that_stays_expected_keeps_what_was_heard(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.sources().await.unwrap(), []);
    store
        .expect_sources(&expected(&[("/b", 1), ("/a 'ü'", 2)]), moment(0))
        .await
        .unwrap();
    let found = store.sources().await.unwrap();
    assert_eq!(found, [source("/a 'ü'", 2, 0, None), source("/b", 1, 0, None)]);

    hear(store, &[("/b", 5)], moment(100)).await;
    store
        .expect_sources(&expected(&[("/b", 3), ("/c", 4)]), moment(6))
        .await
        .unwrap();
    assert_eq!(
        uncounted(store).await,
        [source("/b", 3, 0, Some(moment(5))), source("/c", 4, 6, None)]
    );

    // A wrong clock may have been ahead when the source was first expected.
    store
        .expect_sources(&expected(&[("/b", 3), ("/c", 4)]), moment(4))
        .await
        .unwrap();
    assert_eq!(store.sources().await.unwrap()[1].expected_since, moment(4));

    store.expect_sources(&BTreeMap::new(), moment(7)).await.unwrap();
    assert_eq!(store.sources().await.unwrap(), []);
    store
        .expect_sources(&expected(&[("/b", 3)]), moment(8))
        .await
        .unwrap();
    assert_eq!(store.sources().await.unwrap(), [source("/b", 3, 8, None)]);
}

pub async fn what_is_heard_only_advances(fresh: Fresh) {
    let store = &*fresh.store;
    store
        .expect_sources(&expected(&[("/a", 1), ("/b", 1)]), moment(0))
        .await
        .unwrap();
    let last_heard = async || -> Vec<Option<DateTime<Utc>>> {
        let sources = store.sources().await.unwrap();
        sources.into_iter().map(|source| source.last_heard).collect()
    };
    hear(store, &[("/a", 5), ("/b", 7)], moment(100)).await;
    assert_eq!(last_heard().await, [Some(moment(5)), Some(moment(7))]);
    hear(store, &[("/a", 3), ("/b", 8), ("/nobody", 9)], moment(100)).await;
    assert_eq!(last_heard().await, [Some(moment(5)), Some(moment(8))]);
    let in_batch = store.begin().await.unwrap().sources().await.unwrap();
    assert_eq!(in_batch, store.sources().await.unwrap());
    // Another worker committed it meanwhile, and its clock is a little ahead.
    hear(store, &[("/a", 4)], moment(4)).await;
    assert_eq!(last_heard().await, [Some(moment(5)), Some(moment(8))]);
    // A wrong clock wrote a time far ahead of now.
    hear(store, &[("/a", 1_000)], moment(1_000)).await;
    hear(store, &[("/a", 6)], moment(6)).await;
    assert_eq!(last_heard().await, [Some(moment(6)), Some(moment(8))]);
}

pub async fn the_events_of_a_source_are_counted_by_the_hour(fresh: Fresh) {
    let store = &*fresh.store;
    store
        .expect_sources(&expected(&[("/a", 1), ("/b", 1)]), moment(0))
        .await
        .unwrap();
    // Minutes after a full hour.
    let at =
        |minutes: i64| moment(0).duration_trunc(TimeDelta::hours(1)).unwrap() + TimeDelta::minutes(minutes);
    let count = async |minutes, events| {
        let commit = Commit {
            heard: vec![Heard {
                source: "/a".to_owned(),
                at: at(minutes),
                events,
            }],
            recorded_at: at(minutes),
            ..Commit::default()
        };
        put(store, commit).await.unwrap();
        let sources = store.sources().await.unwrap();
        assert_eq!(sources[1].counted, EventCount::default());
        sources[0].counted
    };
    let counted = count(30, 6).await;
    let rates = [30, 59, 60, 90, 120, 150].map(|minutes| counted.per_hour(at(minutes)));
    assert_eq!(rates, [6, 6, 6, 3, 0, 0]);
    let counted = count(75, 4).await;
    assert_eq!((counted.events, counted.before), (4, 6));
    assert_eq!(counted.per_hour(at(75)), 8);
    // The clock of another worker is a little behind.
    assert_eq!(count(59, 1).await.events, 5);
    let counted = count(200, 2).await;
    assert_eq!((counted.events, counted.before), (2, 0));
    // A wrong clock was ahead.
    count(5_000, 9).await;
    let counted = count(210, 3).await;
    assert_eq!(counted.hour, Some(at(180)));
    assert_eq!((counted.events, counted.before), (3, 0));
}
