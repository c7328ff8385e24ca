//! Endpoints of webhooks, their progress, and the lead of delivery.

use tenure::store::{
    Commit, DeliveryProgress, Endpoint, EndpointChange, EndpointFilter, EndpointOrigin, EndpointStatus,
    FeedCursor, Published, Recorded, RetentionTarget, SigningSecret, Store,
};

use super::Fresh;
use super::given::*;

pub fn endpoint(name: &str, cursor: FeedCursor) -> Endpoint {
    Endpoint {
        name: name.into(),
        origin: EndpointOrigin::Command,
        url: "https://crm.example.com/hooks".into(),
        filter: EndpointFilter {
            partner: Some("acme".into()),
            client: None,
            types: vec!["access.*".into()],
        },
        secrets: vec![SigningSecret {
            secret: "whsec_bmV3".into(),
            until: None,
        }],
        status: EndpointStatus::Active,
        why: String::new(),
        revision: 1,
        created_at: moment(0),
        progress: DeliveryProgress::from(cursor),
    }
}

/// The lines of a journal with this number of changes.
async fn lines(store: &dyn Store, number: usize) -> Vec<Recorded> {
    let bakery = key("bakery");
    put(store, clients(vec![new_client(&bakery, "Bakery")]))
        .await
        .unwrap();
    for line in 0..number {
        let seconds = i64::try_from(line).unwrap();
        let lines = Commit {
            recorded_at: moment(seconds),
            ..journal(vec![entry(&bakery, &line.to_string())])
        };
        put(store, lines).await.unwrap();
    }
    relayed(store, number, 100).await
}

async fn place(store: &dyn Store, line: &Recorded) -> FeedCursor {
    let epoch = store.feed_end().await.unwrap().0.epoch;
    FeedCursor(line.published(epoch))
}

async fn only(store: &dyn Store) -> Endpoint {
    let mut endpoints = store.endpoints().await.unwrap();
    assert_eq!(endpoints.len(), 1);
    endpoints.remove(0)
}

pub async fn an_endpoint_is_read_back_as_it_was_changed(fresh: Fresh) {
    let store = &*fresh.store;
    let beginning = FeedCursor::beginning(7);
    let mut expected = endpoint("crm", beginning);
    assert!(store.add_endpoint(&expected).await.unwrap());
    assert!(!store.add_endpoint(&endpoint("crm", beginning)).await.unwrap());
    assert!(store.add_endpoint(&endpoint("Billing", beginning)).await.unwrap());
    let names: Vec<String> = store
        .endpoints()
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["Billing", "crm"]);
    assert!(store.remove_endpoint("Billing").await.unwrap());
    assert!(!store.remove_endpoint("Billing").await.unwrap());
    assert_eq!(only(store).await, expected);
    assert!(!format!("{expected:?}").contains("whsec_"));

    let secrets = vec![
        SigningSecret {
            secret: "whsec_bmV3ZXI=".into(),
            until: None,
        },
        SigningSecret {
            secret: "whsec_bmV3".into(),
            until: Some(moment(60)),
        },
    ];
    let cursor = FeedCursor(Published {
        epoch: 8,
        cursor: tenure::store::Cursor {
            transaction: 0,
            sequence: 3,
        },
        recorded_at: moment(1),
    });
    let change = EndpointChange {
        target: Some(("https://other.example.com/".into(), EndpointFilter::default())),
        secrets: Some(secrets.clone()),
        status: Some((EndpointStatus::Disabled, "it failed".into())),
        cursor: Some(cursor),
    };
    assert!(!store.change_endpoint("crm", Some(2), &change).await.unwrap());
    assert!(!store.change_endpoint("other", None, &change).await.unwrap());
    assert_eq!(only(store).await, expected);
    assert!(store.change_endpoint("crm", Some(1), &change).await.unwrap());
    expected.url = "https://other.example.com/".into();
    expected.filter = EndpointFilter::default();
    expected.secrets = secrets;
    expected.status = EndpointStatus::Disabled;
    expected.why = "it failed".into();
    expected.progress.cursor = cursor;
    expected.revision = 2;
    assert_eq!(only(store).await, expected);

    assert!(
        store
            .change_endpoint("crm", None, &EndpointChange::default())
            .await
            .unwrap()
    );
    expected.revision = 3;
    assert_eq!(only(store).await, expected);
}

pub async fn progress_is_recorded_for_the_present_revision_only(fresh: Fresh) {
    let store = &*fresh.store;
    let line = lines(store, 1).await.remove(0);
    let expected = endpoint("crm", FeedCursor::beginning(0));
    store.add_endpoint(&expected).await.unwrap();
    let failing = DeliveryProgress {
        cursor: place(store, &line).await,
        failing_since: Some(moment(5)),
        last_attempt_at: Some(moment(6)),
        last_outcome: "500".into(),
        delivered_at: Some(moment(4)),
    };
    assert!(!store.record_delivery("crm", 2, &failing).await.unwrap());
    assert_eq!(only(store).await, expected);
    assert!(store.record_delivery("crm", 1, &failing).await.unwrap());
    assert_eq!(only(store).await.progress, failing);

    let pause = EndpointChange {
        status: Some((EndpointStatus::Paused, String::new())),
        ..EndpointChange::default()
    };
    assert!(store.change_endpoint("crm", None, &pause).await.unwrap());
    assert_eq!(only(store).await.progress, failing, "a pause forgets nothing");
    assert!(!store.record_delivery("crm", 1, &failing).await.unwrap());
    let resume = EndpointChange {
        status: Some((EndpointStatus::Active, String::new())),
        ..EndpointChange::default()
    };
    assert!(store.change_endpoint("crm", None, &resume).await.unwrap());
    let resumed = only(store).await;
    assert_eq!((resumed.revision, resumed.progress.failing_since), (3, None));
}

pub async fn progress_never_moves_back_nor_to_a_missing_line(fresh: Fresh) {
    let store = &*fresh.store;
    let lines = lines(store, 3).await;
    store
        .add_endpoint(&endpoint("crm", FeedCursor::beginning(0)))
        .await
        .unwrap();
    let (second, third) = (place(store, &lines[1]).await, place(store, &lines[2]).await);
    for (cursor, is_recorded) in [(third, true), (second, false), (third, true)] {
        let progress = DeliveryProgress::from(cursor);
        assert_eq!(
            store.record_delivery("crm", 1, &progress).await.unwrap(),
            is_recorded
        );
        assert_eq!(only(store).await.progress.cursor, third);
    }
    let mut missing = third;
    missing.0.cursor.sequence += 1;
    assert!(
        !store
            .record_delivery("crm", 1, &DeliveryProgress::from(missing))
            .await
            .unwrap()
    );
    assert_eq!(only(store).await.progress.cursor, third);
}

pub async fn one_worker_at_a_time_leads_delivery(fresh: Fresh) {
    let store = &*fresh.store;
    let other = fresh.database.another_store();
    assert!(store.acquire_delivery_lead().await.unwrap());
    assert!(store.acquire_delivery_lead().await.unwrap());
    assert!(!other.acquire_delivery_lead().await.unwrap());
    assert!(
        other.acquire_lead().await.unwrap(),
        "the relay has a lead of its own"
    );
    store.release_delivery_lead().await.unwrap();
    // The server releases the lock when the session has ended.
    let mut leads = false;
    for _ in 0..200 {
        leads = other.acquire_delivery_lead().await.unwrap();
        if leads {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(leads);
    assert!(!store.acquire_delivery_lead().await.unwrap());
}

pub async fn lines_that_an_active_endpoint_has_not_received_are_not_pruned(fresh: Fresh) {
    let store = &*fresh.store;
    let lines = lines(store, 5).await;
    done(store, &lines[4]).await;
    let third = place(store, &lines[2]).await;
    store.add_endpoint(&endpoint("crm", third)).await.unwrap();
    let late = moment(1_000_000);
    assert_eq!(
        store
            .count_prunable(RetentionTarget::Journal, late)
            .await
            .unwrap(),
        2
    );
    assert_eq!(store.prune(RetentionTarget::Journal, late, 100).await.unwrap(), 2);
    assert_eq!(store.prune(RetentionTarget::Journal, late, 100).await.unwrap(), 0);
    let page = store
        .feed(&third, &tenure::store::FeedFilter::default(), 10, 10)
        .await
        .unwrap();
    assert_eq!((page.gap, page.lines.len()), (None, 2));

    let pause = EndpointChange {
        status: Some((EndpointStatus::Paused, String::new())),
        ..EndpointChange::default()
    };
    store.change_endpoint("crm", None, &pause).await.unwrap();
    assert_eq!(store.prune(RetentionTarget::Journal, late, 100).await.unwrap(), 3);
}
