//! A failover to a promoted standby while events arrive: with both hosts in the URL, Tenure continues without help.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::chaos::subscriber::Subscriber;
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

/// The limit for the gap between two writes around a failover. The test prints the actual gap, which is far shorter.
const LIMIT: Duration = Duration::from_mins(1);

/// The results of the HTTP clients.
#[derive(Default)]
struct Writes {
    accepted: Vec<String>,
    refused: usize,
    longest_gap: Duration,
}

/// Adds one client after the other, and repeats each until it is accepted.
fn add_clients(running: &Running, name: &str, stop: &AtomicBool, writes: &Mutex<Writes>) {
    let mut since = Instant::now();
    for n in 0.. {
        let client = format!("{name}-{n}");
        while running.add_client(&client).0 != 200 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            writes.lock().expect("no panic").refused += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut writes = writes.lock().expect("no panic");
        writes.accepted.push(client);
        writes.longest_gap = writes.longest_gap.max(since.elapsed());
        since = Instant::now();
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn fail_over(hint: &str, fail: impl FnOnce(&Postgres), after: impl FnOnce(&Postgres)) {
    let primary = Postgres::own();
    let database = name_in(&primary.database(hint)).to_owned();
    let standby = primary.standby();
    let amqp = RabbitMq::shared().vhost(hint);
    let subscriber = Subscriber::start(amqp.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let tenure = Tenure::new(
        folder.path(),
        &[
            ("DATABASE_URL", &url),
            ("AMQP_URL", &amqp),
            ("TENURE_BROKER__HEARTBEAT", "500ms"),
        ],
    );
    let running = tenure.run();
    let (stop, writes) = (AtomicBool::new(false), Mutex::<Writes>::default());
    let accepted = || writes.lock().expect("no panic").accepted.len();
    let refused = || writes.lock().expect("no panic").refused;
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (running, stop, writes) = (&running, &stop, &writes);
            scope.spawn(move || add_clients(running, name, stop, writes));
        }
        running.wait_until("under load", || accepted() > 60);
        let before = refused();
        fail(&primary);
        // Until the promotion no server accepts writes.
        running.wait_until("refused", || refused() > before);
        standby.promote();
        let before = accepted();
        running.wait_until("written again", || accepted() > before + 60);
        after(&primary);
        let before = accepted();
        running.wait_until("still written", || accepted() > before + 60);
        running.wait_until("ready", || running.get("/readyz").0 == 200);
        stop.store(true, Ordering::Relaxed);
    });

    let sessions = "select count(*) from pg_stat_activity where application_name like 'tenure%'";
    running.wait_until("away from the old primary", || {
        primary.sql("postgres", sessions) == "0"
    });
    let length = || -> usize {
        let length = standby.sql(&database, "select count(*) from change_log");
        length.parse().expect("a number")
    };
    let writes = writes.into_inner().expect("no panic");
    let received = subscriber.all(length);
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    let mut heard_of = BTreeSet::new();
    for change in &received.changes {
        let subject = change["subject"].as_str().expect("a subject");
        let id = change["id"].as_str().expect("an id");
        assert!(
            last.insert(subject, id).unwrap_or("") <= id,
            "{subject}: an id went back"
        );
        heard_of.insert(subject);
    }
    for client in &writes.accepted {
        assert!(
            heard_of.contains(&*format!("p/{client}")),
            "{client} was accepted and lost"
        );
    }
    println!(
        "{hint}: {} clients added; the longest gap was {:.1} s; {}",
        writes.accepted.len(),
        writes.longest_gap.as_secs_f64(),
        received.figures()
    );
    assert!(writes.longest_gap < LIMIT, "{:?}", writes.longest_gap);
    assert!(running.stop().success());
    tenure.assert_no_drift();
}

#[test]
fn tenure_abandons_a_dead_primary_for_good() {
    fail_over("killed", Postgres::kill, Postgres::start_read_only);
}

#[test]
fn tenure_abandons_a_demoted_primary() {
    fail_over("demoted", Postgres::turn_read_only, |_| {});
}

/// Without a server that accepts writes, a worker waits and `/readyz` says why.
#[test]
fn a_worker_that_starts_on_a_standby_waits_for_its_promotion() {
    let primary = Postgres::own();
    let database = name_in(&primary.database("standby")).to_owned();
    let standby = primary.standby();
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &standby.url(&database))]);
    let running = tenure.start();
    running.wait_until("waiting", || running.get("/readyz").1.contains("is read-only"));
    assert_eq!(running.get("/readyz").0, 503);
    assert_eq!(running.add_client("early").0, 503);
    primary.kill();
    standby.promote();
    running.wait_until("ready", || running.get("/readyz").0 == 200);
    assert_eq!(running.add_client("now").0, 200);
    assert!(running.stop().success());
}
