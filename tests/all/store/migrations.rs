//! Migrations.

use std::sync::Arc;

use tenure::store::sqlite::SqliteStore;
use tenure::store::{Store, StoreError};

use super::given::*;
use super::{Database, Fresh, connect, empty_postgres, file};

pub async fn migrating_twice_changes_nothing(fresh: Fresh) {
    put(&*fresh.store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    fresh.store.migrate().await.unwrap();
    fresh.database.another_store().migrate().await.unwrap();
    assert!(fresh.store.client(&key("a")).await.unwrap().is_some());
}

pub async fn workers_migrate_concurrently(fresh: Fresh) {
    // A second, empty place: the first is migrated already.
    let (place, stores): (_, Vec<Arc<dyn Store>>) = match &fresh.database {
        Database::Postgres(_) => {
            let url = empty_postgres("migrated_at_once");
            (None, (0..8).map(|_| Arc::new(connect(&url)) as _).collect())
        }
        Database::Sqlite(_) => {
            let folder = tempfile::tempdir().unwrap();
            let open = || Arc::new(SqliteStore::open(file(folder.path()))) as _;
            let stores = (0..8).map(|_| open()).collect();
            (Some(folder), stores)
        }
    };
    let migrations: Vec<_> = stores
        .iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for migration in migrations {
        migration.await.unwrap().unwrap();
    }
    for store in stores {
        assert_eq!(store.census().await.unwrap().events, 0);
    }
    drop(place);
}

pub async fn a_newer_database_is_refused(fresh: Fresh) {
    let from_the_future = match fresh.database {
        Database::Postgres(_) => {
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (999, 'of a program to come', true, '\\x00', 0) returning ''"
        }
        Database::Sqlite(_) => {
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (999, 'of a program to come', true, x'00', 0) returning ''"
        }
    };
    fresh.database.sql(from_the_future).await;
    for store in [fresh.store.clone(), fresh.database.another_store()] {
        let error = store.migrate().await.unwrap_err();
        assert!(matches!(error, StoreError::Migration(_)), "{error}");
        assert!(error.to_string().contains("migration 999"), "{error}");
        // The refusal does not affect later programs.
        assert!(store.ping().await.is_ok());
    }
}

/// sqlx records the migrations of every program in a table of the same name.
pub async fn a_database_of_another_program_is_refused(fresh: Fresh) {
    for change in [
        "update _sqlx_migrations set description = 'create users' where version = 1 returning ''",
        "update _sqlx_migrations set version = 20240101000000 returning ''",
    ] {
        fresh.database.sql(change).await;
        let error = fresh.database.another_store().migrate().await.unwrap_err();
        assert!(matches!(error, StoreError::Unsuitable(_)), "{error:?}");
        for words in ["create users", "of its own"] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

/// Nobody has released one, so nothing converts its tables.
pub async fn tables_from_before_the_baseline_are_refused(fresh: Fresh) {
    for change in [
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         select 2, 'statements', success, checksum, execution_time from _sqlx_migrations returning ''",
        "update _sqlx_migrations
         set description = case version when 1 then 'tables' else 'of a program to come' end returning ''",
    ] {
        fresh.database.sql(change).await;
        for store in [fresh.store.clone(), fresh.database.another_store()] {
            for error in [
                store.migrate().await.unwrap_err(),
                store.schema().await.unwrap_err(),
            ] {
                assert!(matches!(error, StoreError::Unsuitable(_)), "{error:?}");
                for words in [
                    "before the baseline",
                    "no later version reads them or its exports",
                    "start with an empty schema or file, and ingest the events again",
                ] {
                    assert!(error.to_string().contains(words), "{error}");
                }
                // Its exports have a higher number of the format, and another form.
                assert!(!error.to_string().contains("import"), "{error}");
            }
        }
    }
}

/// Each word has a number once, and no migration uses numbers up: there are only 32767.
pub async fn migrating_again_uses_up_no_numbers(fresh: Fresh) {
    let words = "select count(*) || ' up to ' || max(number) from words";
    let before = fresh.database.sql(words).await;
    for _ in 0..3 {
        fresh.store.migrate().await.unwrap();
    }
    fresh
        .database
        .sql("insert into words (word) values ('of another version') returning ''")
        .await;
    let count: i64 = before[0].split(' ').next().unwrap().parse().unwrap();
    let expected = format!("{0} up to {0}", count + 1);
    assert_eq!(fresh.database.sql(words).await, [expected]);
}
