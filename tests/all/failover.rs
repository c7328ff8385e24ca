//! The primary goes, and its standby is promoted, while events come in: with both in the address, Tenure goes on by
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::chaos::subscriber::Subscriber;
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

/// How long writes may stand still around a failover. The figure that is printed is far below it.
const LIMIT: Duration = Duration::from_mins(1);

/// What a client of the HTTP side was told.
#[derive(Default)]
struct Told {
    taken: Vec<String>,
    standstill: Duration,
}

/// Adds clients one after the other, each again until it is taken.
fn add_clients(running: &Running, name: &str, stop: &AtomicBool, told: &Mutex<Told>) {
    let mut since = Instant::now();
    for n in 0.. {
        let client = format!("{name}-{n}");
        while running.add_client(&client).0 != 200 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut told = told.lock().expect("no panic");
        told.taken.push(client);
        told.standstill = told.standstill.max(since.elapsed());
        since = Instant::now();
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn fail_over(hint: &str, fail: impl FnOnce(&Postgres, &Postgres), after: impl FnOnce(&Postgres)) {
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
    let (stop, told) = (AtomicBool::new(false), Mutex::<Told>::default());
    let taken = || told.lock().expect("no panic").taken.len();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (running, stop, told) = (&running, &stop, &told);
            scope.spawn(move || add_clients(running, name, stop, told));
        }
        running.wait_until("under load", || taken() > 60);
        fail(&primary, &standby);
        let before = taken();
        running.wait_until("written again", || taken() > before + 60);
        after(&primary);
        let before = taken();
        running.wait_until("still written", || taken() > before + 60);
        running.wait_until("ready", || running.get("/readyz").0 == 200);
        stop.store(true, Ordering::Relaxed);
    });

    let sessions = "select count(*) from pg_stat_activity where application_name like 'tenure%'";
    running.wait_until("away from the old primary", || {
        primary.sql("postgres", sessions) == "0"
    });
    let length = || -> usize {
        let length = standby.sql(&database, "select count(*) from journal");
        length.parse().expect("a number")
    };
    let told = told.into_inner().expect("no panic");
    let heard = subscriber.all(length);
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    let mut heard_of = BTreeSet::new();
    for change in &heard.changes {
        let subject = change["subject"].as_str().expect("a subject");
        let id = change["id"].as_str().expect("an id");
        assert!(
            last.insert(subject, id).unwrap_or("") <= id,
            "{subject} fell back"
        );
        heard_of.insert(subject);
    }
    for client in &told.taken {
        assert!(
            heard_of.contains(&*format!("p/{client}")),
            "{client} was taken, and is lost"
        );
    }
    println!(
        "{hint}: {} clients added; the longest standstill was {:.1} s; {}",
        told.taken.len(),
        told.standstill.as_secs_f64(),
        heard.figures()
    );
    assert!(told.standstill < LIMIT, "{:?}", told.standstill);
    assert!(running.stop().success());
    tenure.assert_no_drift();
}

#[test]
fn a_primary_that_dies_is_left_and_not_gone_back_to() {
    fail_over(
        "killed",
        |primary, standby| {
            primary.kill();
            // As long as nobody has noticed, there is no server that can be written.
            std::thread::sleep(Duration::from_secs(2));
            standby.promote();
        },
        Postgres::start_read_only,
    );
}

#[test]
fn a_primary_that_lives_on_and_is_read_only_is_left() {
    fail_over(
        "demoted",
        |primary, standby| {
            primary.turn_read_only();
            std::thread::sleep(Duration::from_secs(2));
            standby.promote();
        },
        |_| {},
    );
}

/// A start while there is nothing to write to is a start that waits, and says why.
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
