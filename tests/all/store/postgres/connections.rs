//! Connections: addresses, an unreachable server, lost connections.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_unavailable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let url = format!("postgres://postgres@127.0.0.1:{port}/tenure");
    let options = PostgresOptions {
        acquire_timeout: Duration::from_millis(300),
        ..PostgresOptions::default()
    };
    let store = PostgresStore::connect(&url, &options).unwrap();
    let errors = [
        store.ping().await.unwrap_err(),
        store.migrate().await.unwrap_err(),
        store.acquire_lead().await.unwrap_err(),
        store.begin().await.err().unwrap(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    store.close().await;
}

#[test]
fn an_invalid_address_is_reported_as_invalid() {
    for url in ["", "tenure.db", "postgres://host:port/db"] {
        let Err(error) = PostgresStore::connect(url, &PostgresOptions::default()) else {
            panic!("`{url}` was taken");
        };
        assert!(
            error.to_string().starts_with("`store.url` cannot be used: "),
            "{error}"
        );
        assert!(!error.is_transient());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_are_replaced() {
    let fresh = with_clients("cut", &["a"]).await;
    let store = connect(match &fresh.database {
        Database::Postgres(url) => url,
        Database::Sqlite(_) => unreachable!(),
    });
    store.ping().await.unwrap();
    let mut batch = store.begin().await.unwrap();
    lock(&mut *batch, &key("a")).await;
    fresh
        .database
        .sql(
            "select pg_terminate_backend(pid)::text from pg_stat_activity
             where application_name = 'tenure' and datname = current_database()",
        )
        .await;
    let error = batch
        .commit(&journal(vec![entry(&key("a"), "x")]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
}
