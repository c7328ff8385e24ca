//! SQLite: turns, durability, and files.

use std::os::unix::fs::PermissionsExt;

use tenure::store::sqlite::SqliteStore;
use tenure::store::{Clients, StoreError, Upkeep};

use super::given::*;
use super::{Fresh, file};

#[tokio::test(flavor = "multi_thread")]
async fn reads_do_not_wait_for_a_batch() {
    let fresh = Fresh::sqlite("beside").await;
    let store = &*fresh.store;
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let mut batch = store.begin().await.unwrap();
    let seen = lock(&mut *batch, &key("a")).await;
    assert_eq!(store.client(&key("a")).await.unwrap().unwrap(), seen);
    assert_eq!(store.census().await.unwrap().link["draft"], 1);
    batch.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_alternate_writes() {
    let fresh = Fresh::sqlite("turns").await;
    let other = fresh.database.another_store();
    let new = |n: usize| clients(vec![new_client(&key(&format!("c-{n}")), &format!("Client {n}"))]);
    let writers: Vec<_> = [fresh.store.clone(), other]
        .into_iter()
        .enumerate()
        .map(|(writer, store)| {
            tokio::spawn(async move {
                for n in 0..50 {
                    put(&*store, new(writer * 100 + n)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(fresh.store.census().await.unwrap().link["draft"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_data_survives_reopening() {
    let fresh = Fresh::sqlite("again").await;
    put(&*fresh.store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let super::Database::Sqlite(folder) = &fresh.database else {
        unreachable!();
    };
    let files = || -> Vec<_> {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files.map(|entry| entry.unwrap().file_name()).collect()
    };
    fresh.store.close().await;
    assert_eq!(files(), ["tenure.db"], "a store that is closed is one file");
    let again = fresh.database.another_store();
    assert!(again.client(&key("a")).await.unwrap().is_some());
    again.close().await;
    assert_eq!(files(), ["tenure.db"], "and so is one that was only read");
}

/// The connections of the last reads are on their way back to the pool when the store is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_closed_right_after_reads_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..100 {
        let store = SqliteStore::open(file(folder.path()));
        store.migrate().await.unwrap();
        let reads = || async { store.client(&key("a")).await.unwrap() };
        tokio::join!(reads(), reads(), reads(), reads());
        store.close().await;
        let files: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(files, ["tenure.db"], "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(file(&folder.path().join("nowhere")));
    for error in [
        store.ping().await.unwrap_err(),
        store.migrate().await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_can_read_the_files() {
    let fresh = Fresh::sqlite("private").await;
    put(&*fresh.store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let super::Database::Sqlite(folder) = &fresh.database else {
        unreachable!();
    };
    for name in ["tenure.db", "tenure.db-wal", "tenure.db-shm"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_permissions_are_preserved() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    std::fs::File::create(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let store = SqliteStore::open(&path);
    store.migrate().await.unwrap();
    assert_eq!(mode(&path), 0o640);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    std::fs::write(
        &path,
        "something that is no database, and long enough to be looked at",
    )
    .unwrap();
    let error = SqliteStore::open(&path).migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Unsuitable(_)), "{error:?}");
    assert!(error.to_string().contains("name another file"), "{error}");
}
