//! One worker at a time publishes the changes of an installation, on either store and in a shared database.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::several_workers::listen;
use crate::support::proxy::{Cut, Proxy};
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

const CLIENTS: u64 = 200;
/// `client.added` produces four changes.
const LINES: u64 = 4 * CLIENTS;

fn events(prefix: &str) -> String {
    let event = |client| {
        let value: Value = json!({
            "specversion": "1.0", "id": format!("{prefix}-{client}"), "source": "/space", "type": "client.added",
            "subject": format!("acme/{prefix}-{client}"), "time": "2026-01-05T09:00:00Z",
            "data": { "name": format!("{prefix} {client}") },
        });
        value.to_string()
    };
    (0..CLIENTS).map(event).collect::<Vec<_>>().join("\n")
}

fn depth(amqp: &str) -> u64 {
    let depth = RabbitMq::shared().queue_depth(name_in(amqp), "subscriber");
    depth.expect("the subscriber's queue")
}

/// The number of lines in the journal, and how many of them are not published.
fn journal(file: &Path) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let counted: (i64, i64) = runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new()
            .filename(file)
            .connect()
            .await
            .expect("a connection");
        sqlx::query_as(
            "select count(*), count(*) filter (where seq > (select seq from relay)) from change_log",
        )
        .fetch_one(&mut connection)
        .await
        .expect("a row")
    });
    (counted.0.unsigned_abs(), counted.1.unsigned_abs())
}

#[test]
fn two_workers_on_one_sqlite_file_publish_each_change_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let amqp = RabbitMq::shared().vhost("sqlite_lead");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(listen(&amqp));
    let file = folder.path().join("tenure.db");
    let url = format!("sqlite://{}", file.display());
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)]);
    let (first, second) = (tenure.run(), tenure.run());
    let published = |worker: &Running, expected: u64| {
        worker.wait_until("published", || {
            let (lines, waiting) = journal(&file);
            lines == expected && waiting == 0
        });
        // Each change once: another relay would have doubled them.
        let limit = Duration::from_secs(30);
        RabbitMq::shared().wait_for_depth(name_in(&amqp), "subscriber", expected, limit);
    };
    tenure.fed(&["publish", "-"], &events("first"));
    published(&second, LINES);
    assert!(
        second.log().contains("another worker publishes the changes"),
        "{}",
        second.log()
    );
    // Its lock ends with the process.
    drop(first);
    tenure.fed(&["publish", "-"], &events("second"));
    published(&second, 2 * LINES);
    assert!(second.stop().success());
    assert!(
        !folder.path().join("tenure.db-relay").exists(),
        "the lock file is removed"
    );
}

#[test]
fn a_worker_that_loses_rabbitmq_releases_the_lead() {
    let amqp = RabbitMq::shared().vhost("lost_lead");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(listen(&amqp));
    let proxy = Proxy::to(RabbitMq::shared().port());
    let sqlite = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", sqlite.path().join("tenure.db").display());
    let postgres = Postgres::shared().database("lost_lead");
    let mut published = 0;
    for (store, prefix) in [(&url, "sqlite"), (&postgres, "postgres")] {
        let folder = tempfile::tempdir().expect("a folder");
        let env = |amqp| [("DATABASE_URL", store.as_str()), ("AMQP_URL", amqp)];
        let through = proxy.url(&amqp);
        let first = Tenure::new(folder.path(), &env(&through)).run();
        first.wait_until("ready", || first.get("/readyz").0 == 200);
        let tenure = Tenure::new(folder.path(), &env(&amqp));
        let second = tenure.run();
        second.wait_until("following", || {
            second.log().contains("another worker publishes the changes")
        });
        proxy.redirect_to(1);
        proxy.cut(Cut::Close);
        tenure.fed(&["ingest", "-"], &events(prefix));
        published += LINES;
        second.wait_until("published", || depth(&amqp) == published);
        drop(first);
        assert!(second.stop().success());
        proxy.redirect_to(RabbitMq::shared().port());
    }
}

#[test]
fn two_installations_in_one_database_publish_both() {
    let database = Postgres::shared().database("two_schemas");
    Postgres::shared().sql(name_in(&database), "create schema blue; create schema green");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let installations = ["blue", "green"].map(|schema| {
        let amqp = RabbitMq::shared().vhost(schema);
        runtime.block_on(listen(&amqp));
        let url = format!("{database}?options=-c%20search_path%3D{schema}");
        let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)]);
        (tenure.run(), tenure, amqp)
    });
    for (worker, tenure, amqp) in &installations {
        tenure.fed(&["ingest", "-"], &events("a"));
        worker.wait_until("published", || depth(amqp) == LINES);
    }
    for (worker, ..) in installations {
        assert!(worker.stop().success());
    }
}
