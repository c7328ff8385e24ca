//! Readiness means that the work succeeds: `/readyz` fails with part and reason when the store rejects writes, or when
//! nobody publishes the journal.

use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

/// Status and body of `/readyz`.
fn readiness(running: &Running) -> (u16, Value) {
    let (status, body) = running.get("/readyz");
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// Waits until this check fails, with this text in its reason.
fn wait_for_unready(running: &Running, check: &str, words: &str) {
    let mut last = Value::Null;
    let failed = crate::support::tenure::wait_until(std::time::Duration::from_mins(2), || {
        let (status, body) = readiness(running);
        last = body;
        let check = &last["checks"][check];
        status == 503 && check["ok"] == false && check.to_string().contains(words)
    });
    assert!(
        failed.is_ok(),
        "no failed check with `{words}`: {last}\n{}",
        running.log()
    );
}

fn wait_for_ready(running: &Running) {
    running.wait_until("ready", || running.get("/readyz").0 == 200);
}

/// A ready worker without a broker, on a database of this server.
fn given(server: &Postgres) -> (tempfile::TempDir, String, Running) {
    let url = server.database("ready");
    let folder = tempfile::tempdir().expect("a folder");
    let running = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]).run();
    (folder, url, running)
}

#[test]
fn a_read_only_database_is_not_ready_without_any_event() {
    let server = Postgres::own();
    let (_folder, url, running) = given(&server);
    let read_only = |value: &str| {
        let name = name_in(&url);
        server.sql(
            name,
            &format!("alter system set default_transaction_read_only = {value}"),
        );
        server.sql(name, "select pg_reload_conf()");
    };
    read_only("on");
    wait_for_unready(&running, "store", "read-only");
    read_only("off");
    wait_for_ready(&running);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_makes_a_worker_not_ready_until_it_is_unlocked() {
    let server = Postgres::own();
    let (_folder, url, running) = given(&server);
    let mut maintenance = PgConnection::connect(&url).await.expect("a connection");
    for table in ["events", "clients", "touches"] {
        let mut transaction = maintenance.begin().await.expect("a transaction");
        let lock = format!("lock table {table} in exclusive mode");
        transaction.execute(lock.as_str()).await.expect("locked");
        wait_for_unready(&running, "store", "pg_locks");
        transaction.rollback().await.expect("rolled back");
        wait_for_ready(&running);
    }
    assert!(running.stop().success());
}

#[test]
fn an_unpublished_journal_makes_every_worker_not_ready() {
    let server = Postgres::own();
    let url = server.database("leadless");
    let amqp = RabbitMq::shared().vhost("leadless");
    let folder = tempfile::tempdir().expect("a folder");
    let env = [("DATABASE_URL", url.as_str()), ("AMQP_URL", &amqp)];
    let tenure = Tenure::new(folder.path(), &env);
    // A stopped process keeps the lead and publishes nothing.
    let leader = tenure.run();
    leader.wait_until("leading", || {
        let locks = "select count(*) from pg_locks where locktype = 'advisory'";
        server.sql(name_in(&url), locks) == "1"
    });
    leader.signal(Signal::SIGSTOP);
    let running = tenure.run();
    let silent = Tenure::new(
        folder.path(),
        &[env[0], env[1], ("TENURE_BROKER__RELAY", "false")],
    )
    .run();
    let event = serde_json::json!({
        "specversion": "1.0", "id": "1", "source": "/space", "type": "client.added", "subject": "p/c",
        "time": "2026-01-05T09:00:00Z", "data": { "name": "c" },
    });
    let file = folder.path().join("event.ndjson");
    std::fs::write(&file, event.to_string()).expect("a file");
    tenure.ok(&["ingest", &file.to_string_lossy()]);
    wait_for_unready(&running, "broker", "holds the lead of the relay");
    // A worker that is configured not to publish only warns.
    silent.wait_until("warned", || {
        let (_, body) = readiness(&silent);
        let warnings = body["checks"]["broker"]["warnings"].to_string();
        warnings.contains("broker.relay = true")
    });
    leader.signal(Signal::SIGCONT);
    wait_for_ready(&running);
    for worker in [leader, running, silent] {
        assert!(worker.stop().success());
    }
}

/// Somebody changed the tables: the store rejects every event, and accepts dead letters.
#[test]
fn a_store_that_rejects_every_event_is_not_ready_and_stores_no_dead_letters() {
    let server = Postgres::own();
    let url = server.database("rejecting");
    let amqp = RabbitMq::shared().vhost("rejecting");
    let folder = tempfile::tempdir().expect("a folder");
    let env = [("DATABASE_URL", url.as_str()), ("AMQP_URL", &amqp)];
    let tenure = Tenure::new(folder.path(), &env);
    let running = tenure.run();
    wait_for_ready(&running);
    let sql = |statement: &str| server.sql(name_in(&url), statement);
    let faults = [
        (
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
             create trigger refuse before insert on events execute function refuse()",
            "drop trigger refuse on events",
            "a trigger or function",
        ),
        (
            "alter table events rename column type to kind",
            "alter table events rename column kind to type",
            "the tables are not as",
        ),
    ];
    for (number, (fault, remedy, words)) in faults.into_iter().enumerate() {
        sql(fault);
        let events: Vec<String> = (0..20)
            .map(|id| {
                serde_json::json!({
                    "specversion": "1.0", "id": format!("{number}-{id}"), "source": "/space", "type": "client.added",
                    "subject": format!("p/{number}-{id}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("{number} {id}") },
                })
                .to_string()
            })
            .collect();
        let file = folder.path().join("events.ndjson");
        std::fs::write(&file, events.join("\n")).expect("a file");
        tenure.ok(&["publish", &file.to_string_lossy()]);
        wait_for_unready(&running, "store", words);
        sql(remedy);
        let expected = ((number + 1) * 20).to_string();
        running.wait_until("ingested", || sql("select count(*) from event_log") == expected);
        assert_eq!(sql("select count(*) from dead_letters"), "0");
        wait_for_ready(&running);
    }
    assert!(running.stop().success());
}

#[test]
fn a_memory_alarm_of_the_broker_is_not_ready_without_any_change() {
    let broker = RabbitMq::own();
    let amqp = broker.vhost("starved");
    let folder = tempfile::tempdir().expect("a folder");
    let running = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]).run();
    wait_for_ready(&running);
    broker.control(&["set_vm_memory_high_watermark", "0"]);
    wait_for_unready(&running, "broker", "alarms");
    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    wait_for_ready(&running);
    assert!(running.stop().success());
}
