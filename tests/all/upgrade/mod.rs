//! A rolling upgrade: an older and a newer worker run at the same time.

mod expand;

use serde_json::{Value, json};

use crate::support::site::{Site, UNPUBLISHED};
use crate::support::tenure::{Running, Tenure};

const CLIENTS: usize = 300;

fn events(round: &str) -> Vec<Value> {
    let event = |client| {
        json!({
            "specversion": "1.0", "id": format!("{round}-{client}"), "source": "/space", "type": "client.added",
            "subject": format!("acme/{round}-{client}"), "time": "2026-01-05T09:00:00Z",
            "data": { "name": format!("{round} {client}") },
        })
    };
    (0..CLIENTS).map(event).collect()
}

fn publish(site: &Site, round: &str) {
    let file = site.file(events(round));
    site.tenure(&[]).ok(&["publish", &file]);
}

/// The newer version migrates under load, while the older one consumes the lanes. From then on the older one writes nothing,
/// and the newer one receives its unacknowledged messages. `TENURE_TEST_PREVIOUS` names the binary of the previous version,
/// which `tests/run` builds from the last tag. Without it this version is both, and SQL does what the next migration would.
#[test]
fn an_older_worker_writes_nothing_once_a_newer_one_has_migrated() {
    let site = Site::new("upgrade");
    let previous = std::env::var("TENURE_TEST_PREVIOUS").ok();
    let start = |env: &[(&str, &str)], program: Option<&str>| -> Running {
        let tenure: Tenure = site.tenure(env);
        match program {
            Some(program) => tenure.of(program).run(),
            None => tenure.run(),
        }
    };
    let mut older = start(&[("HOSTNAME", "older")], previous.as_deref());
    publish(&site, "before");
    older.wait_until("ingesting", || site.count("event_log") > 0);
    let newer = previous.as_ref().map(|_| start(&[("HOSTNAME", "newer")], None));
    if newer.is_none() {
        site.sql(
            "begin; lock table schema_compat in access exclusive mode; update schema_compat set min_writer = 999; commit",
        );
    }
    let written = site.count("event_log");
    publish(&site, "after");
    // A version without the check logs it, and the operator stops it; the others exit.
    older.wait_until("refused", || older.log().contains("start the newer version"));
    if newer.is_none() {
        let status = older.ended(std::time::Duration::from_mins(1)).expect("it exits");
        assert_eq!(status.code(), Some(1), "{}", older.log());
        assert_eq!(
            site.count("event_log"),
            written,
            "it wrote nothing after the migration"
        );
        site.sql("update schema_compat set min_writer = 1");
    } else {
        drop(older);
    }
    let newer = newer.unwrap_or_else(|| start(&[("HOSTNAME", "newer")], None));
    newer.wait_until("done", || {
        site.count("event_log where outcome = 'applied'") == 2 * CLIENTS && site.count(UNPUBLISHED) == 0
    });
    assert_eq!(site.count("dead_letters"), 0);
    assert!(newer.stop().success());
    site.tenure(&[]).assert_no_drift();
}
