//! `PgBouncer` in front of PostgreSQL: session mode works; Tenure refuses the other modes.

use crate::support::servers::{PgBouncer, PoolMode, Postgres, RabbitMq, name_in};
use crate::support::tenure::Tenure;

#[test]
fn a_pooler_in_transaction_or_statement_mode_is_refused() {
    let server = Postgres::shared();
    for mode in [PoolMode::Transaction, PoolMode::Statement] {
        let pooler = PgBouncer::before(server, mode);
        let url = pooler.url(name_in(&server.database("pooled")));
        let folder = tempfile::tempdir().expect("a folder");
        let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]);
        // The second command gets the first one's sessions.
        for command in ["migrate", "run", "migrate"] {
            let output = tenure.call(&[command]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{mode:?}, {command}: {stderr}");
            for words in ["pool_mode = session", "PostgreSQL's own address"] {
                assert!(stderr.contains(words), "{mode:?}, {command}: {stderr}");
            }
        }
    }
}

#[test]
fn a_pooler_in_session_mode_works() {
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
            // More than the pooler has: it makes the others wait, without an error.
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
        server.sql(name_in(&database), "select count(*) from clients_now"),
        "80"
    );
    let waiting = "select count(*) from change_log j, relay r where (j.xid, j.seq) > (r.xid, r.seq)";
    running.wait_until("published", || server.sql(name_in(&database), waiting) == "0");
    assert!(running.stop().success());
    tenure.assert_no_drift();
}
