//! Events and changes per minute, as workers have counted them.

use chrono::{DateTime, TimeDelta, Utc};
use tenure::store::{ChangeCounts, MinuteCounts, Store};

use super::Fresh;
use super::given::*;

fn minute(number: i64) -> DateTime<Utc> {
    moment(0) + TimeDelta::minutes(number)
}

fn applied(applied: u64) -> MinuteCounts {
    MinuteCounts {
        applied,
        ..MinuteCounts::default()
    }
}

/// Different in each field.
fn all() -> MinuteCounts {
    MinuteCounts {
        applied: 1,
        duplicate: 2,
        refused: 3,
        dead: 4,
        deferred: 5,
        changes: ChangeCounts {
            by_event: 6,
            by_timer: 7,
            corrections: u64::from(u32::MAX) + 8,
        },
    }
}

/// The counts from a minute to the tenth.
async fn since(store: &dyn Store, since: i64, other_than: i64) -> Vec<(DateTime<Utc>, MinuteCounts)> {
    let counts = store.activity(minute(since), minute(10), other_than).await;
    counts.expect("counts")
}

pub async fn the_counts_of_other_workers_are_added_up(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b, nobody) = (i64::MIN, i64::MAX, 0);
    assert_eq!(since(store, 0, nobody).await, []);
    store.record_activity(a, &[], minute(0)).await.expect("nothing");
    let of_a = [(minute(3), all()), (minute(1), applied(10))];
    store
        .record_activity(a, &of_a, minute(0))
        .await
        .expect("recorded");
    store
        .record_activity(b, &[(minute(3), all())], minute(0))
        .await
        .expect("recorded");
    assert_eq!(
        since(store, 0, b).await,
        [(minute(1), applied(10)), (minute(3), all())]
    );
    assert_eq!(since(store, 2, a).await, [(minute(3), all())]);
    let mut sum = all();
    sum += all();
    assert_eq!(sum.changes.corrections, 2 * all().changes.corrections);
    assert_eq!(since(store, 2, nobody).await, [(minute(3), sum)]);
    // What a clock that was ahead has recorded is not shown yet.
    store
        .record_activity(a, &[(minute(11), all())], minute(0))
        .await
        .expect("recorded");
    assert_eq!(since(store, 4, nobody).await, []);
    // Twice is as once: a worker states what it has counted in a minute, and does not add to it.
    store
        .record_activity(a, &[(minute(1), applied(11))], minute(0))
        .await
        .expect("recorded");
    store
        .record_activity(a, &[(minute(1), applied(11))], minute(0))
        .await
        .expect("recorded");
    assert_eq!(since(store, 0, b).await[0], (minute(1), applied(11)));
}

pub async fn counts_that_are_no_longer_kept_are_removed(fresh: Fresh) {
    let store = &*fresh.store;
    let counted = [(minute(1), applied(1)), (minute(2), applied(2))];
    store
        .record_activity(1, &counted, minute(0))
        .await
        .expect("recorded");
    // Another worker removes them too, and what is too old from the start is not recorded.
    let counted = [(minute(1), applied(3)), (minute(9), applied(4))];
    store
        .record_activity(2, &counted, minute(2))
        .await
        .expect("recorded");
    assert_eq!(
        since(store, 0, 0).await,
        [(minute(2), applied(2)), (minute(9), applied(4))]
    );
}
