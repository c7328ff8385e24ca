//! A pooler in front of PostgreSQL: one that keeps sessions apart will do, and one that does not is refused in words.

use crate::support::servers::{PgBouncer, PoolMode, Postgres, RabbitMq, name_in};
use crate::support::tenure::Tenure;

#[test]
fn a_pooler_that_changes_sessions_is_refused() {
    let server = Postgres::shared();
    for mode in [PoolMode::Transaction, PoolMode::Statement] {
        let pooler = PgBouncer::before(server, mode);
        let url = pooler.url(name_in(&server.database("pooled")));
        let folder = tempfile::tempdir().expect("a folder");
        let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]);
        // The second finds the sessions of the first.
        for command in ["migrate", "run", "migrate"] {
            let output = tenure.call(&[command]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{mode:?}, {command}: {said}");
            for words in ["pool_mode = session", "PostgreSQL's own address"] {
                assert!(said.contains(words), "{mode:?}, {command}: {said}");
            }
        }
    }
}

#[test]
fn a_pooler_that_keeps_sessions_apart_is_as_good_as_none() {
    let server = Postgres::shared();
    let pooler = PgBouncer::before(server, PoolMode::Session);
    let database = server.database("pooled");
    let amqp = RabbitMq::shared().vhost("pooled");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(
        folder.path(),
        &[
            ("DATABASE_URL", &pooler.url(name_in(&database))),
            ("AMQP_URL", &amqp),
            // More than the pooler has: it keeps those waiting that come too many, without a word.
            ("TENURE_STORE__MAX_CONNECTIONS", "10"),
        ],
    );
    let running = tenure.run();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let running = &running;
            scope.spawn(move || {
                for n in 0..10 {
                    let (status, body) = running.add_client(&format!("c-{writer}-{n}"));
                    assert_eq!(status, 200, "{body}");
                }
            });
        }
    });
    assert_eq!(
        server.sql(name_in(&database), "select count(*) from clients"),
        "80"
    );
    let waiting = "select count(*) from journal j, relay r where (j.xid, j.seq) > (r.xid, r.seq)";
    running.wait_until("published", || server.sql(name_in(&database), waiting) == "0");
    assert!(running.stop().success());
    tenure.assert_no_drift();
}
