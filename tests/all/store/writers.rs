//! Outdated programs cannot write to newer tables.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor};
use tenure::store::StoreError;

use super::given::*;
use super::{Database, Fresh};

/// A future migration, which this program does not know.
const RAISE: &str = "update schema_compat set min_writer = 999 returning ''";

fn assert_outdated(error: &StoreError) {
    assert!(
        error.is_transient(),
        "nothing is a dead letter because of it: {error}"
    );
    let message = error.to_string();
    assert!(
        message.contains("migration 999") && message.contains("start the newer version"),
        "{message}"
    );
}

pub async fn an_outdated_program_cannot_write(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    store.check_writer().await.unwrap();
    fresh.database.sql(RAISE).await;
    let error = store.check_writer().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Outdated { required: 999, .. }),
        "{error}"
    );
    assert_outdated(&error);
    let refused = put(store, clients(vec![new_client(&key("b"), "Butcher")])).await;
    assert_outdated(&refused.unwrap_err());
    let refused = put(store, journal(vec![entry(&key("a"), "1")])).await;
    assert_outdated(&refused.unwrap_err());
    assert!(store.client(&key("a")).await.unwrap().is_some(), "it may read");
    assert!(store.client(&key("b")).await.unwrap().is_none());
    assert_eq!(store.count_unpublished().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_begun_before_the_migration_is_refused() {
    let fresh = Fresh::postgres("outdated_midway").await;
    let mut batch = fresh.store.begin().await.unwrap();
    assert_eq!(batch.lock(&[key("a")], false).await.unwrap(), []);
    fresh.database.sql(RAISE).await;
    let error = batch
        .commit(&clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap_err();
    assert_outdated(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_waits_for_writers() {
    let fresh = Fresh::postgres("migration_waits").await;
    let mut batch = fresh.store.begin().await.unwrap();
    batch
        .write(&clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let options: PgConnectOptions = url.parse().unwrap();
    let mut migration = options.connect().await.unwrap();
    let lock = "begin; set local lock_timeout = '200ms'; lock table schema_compat in access exclusive mode";
    let error = migration.execute(lock).await.unwrap_err();
    assert!(error.to_string().contains("lock timeout"), "{error}");
    migration.execute("rollback").await.unwrap();
    batch.commit(&commit()).await.unwrap();
    migration.execute(lock).await.unwrap();
}

/// The check identifies them by application name only. It does not block an operator's own statements.
#[tokio::test(flavor = "multi_thread")]
async fn programs_without_the_check_cannot_write() {
    let fresh = Fresh::postgres("before_the_check").await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    put(&*fresh.store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    for statement in [
        "update clients set version = version",
        "update touches set open_run = open_run",
        "update events set reason = reason",
        "insert into journal
             (xid, time, recorded_at, client, change, cause, corrector, cause_ref, corrector_ref, cause_actor, cause_reason, id,
              before, after, data)
         values (1, now(), now(), 1, 1, 1, 0, '', '', '', '', '', '', '', '')",
    ] {
        let mut old = options
            .clone()
            .application_name("tenure")
            .connect()
            .await
            .unwrap();
        let error = old.execute(statement).await.unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().unwrap(),
            "57000",
            "{error}"
        );
        let mut operator = options.clone().application_name("psql").connect().await.unwrap();
        operator.execute(statement).await.unwrap();
    }
}
