//! Publishers and subscribers over RabbitMQ: they are killed and started again, and RabbitMQ is killed and started again. Every
//! event arrives and is applied once, and the read model has the state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;
use tenure::clock::{Clock as _, SystemClock};
use tokio::runtime::Runtime;

use super::program::{Language, Program, Samples};
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

const CLIENTS: usize = 60;
/// Each client is added and invited.
const EVENTS: usize = 2 * CLIENTS;
const QUEUE: &str = "mine";
/// The types of changes that the subscribers bind.
const TYPES: &str = "client.*,link.*,access.*,billing.*";
/// Events that arrive late: the client was archived before it accepted the invitation, so the acceptance is refused.
const LATE: usize = 5;

/// A client as the subscribers have it.
#[derive(Debug, PartialEq)]
struct Row {
    name: Option<String>,
    link: Option<String>,
    access: String,
    billable: bool,
}

/// The columns of the read model.
type Columns = (String, Option<String>, Option<String>, String, bool);

struct Site {
    rabbit: RabbitMq,
    amqp: String,
    folder: TempDir,
    tenure: Tenure,
    runtime: Runtime,
}

impl Site {
    fn new(hint: &str) -> Self {
        let rabbit = RabbitMq::own();
        let amqp = rabbit.vhost(hint);
        let folder = tempfile::tempdir().expect("a folder");
        let database = Postgres::shared().database(hint);
        let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &database), ("AMQP_URL", &amqp)]);
        Self {
            rabbit,
            amqp,
            folder,
            tenure,
            runtime: Runtime::new().expect("a runtime"),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn restart_rabbit(&self) {
        self.rabbit.sync();
        self.rabbit.kill();
        self.rabbit.start();
    }

    async fn open(path: &Path) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        options.connect().await.expect("a database")
    }

    /// The number of events in the outbox of the publisher; `EVENTS` before it has one.
    fn outbox(&self) -> usize {
        self.runtime.block_on(async {
            let path = self.file("app.db");
            if !path.exists() {
                return EVENTS;
            }
            let count = sqlx::query_scalar::<_, i64>("select count(*) from outbox");
            let counted = count.fetch_one(&mut Self::open(&path).await).await;
            counted.map_or(EVENTS, |count| usize::try_from(count).expect("a count"))
        })
    }

    fn read_model(&self) -> BTreeMap<String, Row> {
        let rows: Vec<Columns> = self.runtime.block_on(async {
            let select = sqlx::query_as("select client, name, link, access, billable from clients");
            let mut model = Self::open(&self.file("read-model.db")).await;
            select.fetch_all(&mut model).await.expect("the read model")
        });
        let rows = rows.into_iter().map(|(client, name, link, access, billable)| {
            let row = Row {
                name,
                link,
                access,
                billable,
            };
            (client, row)
        });
        rows.collect()
    }

    /// The ids of the corrections that the subscriber has listed.
    fn corrections(&self) -> BTreeSet<String> {
        let ids: Vec<String> = self.runtime.block_on(async {
            let select = sqlx::query_scalar("select change from corrections");
            let mut model = Self::open(&self.file("read-model.db")).await;
            select.fetch_all(&mut model).await.expect("the read model")
        });
        ids.into_iter().collect()
    }
}

impl Site {
    /// Every event is in the log once, and the read model has the state and the corrections.
    fn assert_all_arrived_once(&self, worker: &Running) {
        let verified = self.tenure.json(&["verify"]);
        let all = EVENTS + 2 * LATE * 4 + LATE + 1;
        assert_eq!(
            verified.last(),
            Some(&json!({"clients": CLIENTS, "differ": 0, "events": all}))
        );
        let (model, state) = (existing(self.read_model()), existing(state(worker)));
        assert_eq!(state.len(), CLIENTS - 1, "one is deleted");
        assert_eq!(model, state);
        let corrections = published_corrections(worker);
        assert!(corrections.len() >= LATE, "{corrections:?}");
        assert_eq!(self.corrections(), corrections);
    }
}

fn existing(mut clients: BTreeMap<String, Row>) -> BTreeMap<String, Row> {
    clients.retain(|_, row| row.link.as_deref() != Some("deleted"));
    clients
}

/// The clients as Tenure has them, in the form of the read model.
fn state(worker: &Running) -> BTreeMap<String, Row> {
    let (status, body) = worker.get("/v1/clients?limit=1000");
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).expect("JSON");
    let clients = page["clients"].as_array().expect("clients").iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = clients.map(|it| {
        let partner = it["partner"].as_str().expect("a partner");
        let client = it["client"].as_str().expect("a client");
        let row = Row {
            name: text(&it["name"]),
            link: text(&it["link"]),
            access: text(&it["access"]).expect("a status"),
            billable: it["billable"] == true,
        };
        (format!("{partner}/{client}"), row)
    });
    rows.collect()
}

/// The ids of all corrections of the types that the subscribers bind.
fn published_corrections(worker: &Running) -> BTreeSet<String> {
    let (status, body) = worker.get(&format!("/v1/changes?limit=1000&type={TYPES}"));
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(page["more"], false, "all changes are on one page");
    let changes = page["changes"].as_array().expect("changes").iter();
    changes
        .filter(|change| change["data"]["correction"] == true)
        .map(|change| change["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn commands() -> String {
    let lines = (0..CLIENTS).map(|n| format!("add acme/c-{n} Bäckerei № {n}\ninvite acme/c-{n}\n"));
    lines.collect()
}

fn send(worker: &Running, events: &[Value]) {
    let batch = Value::from(events).to_string();
    let (status, body) = worker.post("/v1/events", "application/cloudevents-batch+json", &batch);
    assert!(status == 200 && !body.contains("dead"), "{status} {body}");
}

/// The first clients accept and are assigned. Then it turns out that some of them were archived before, so that their
/// acceptance is refused. One is deleted.
fn accept_and_archive_late(worker: &Running) {
    let now = SystemClock.now();
    let event = |kind: &str, client: usize, seconds: i64, data: Value| {
        json!({
            "specversion": "1.0", "id": format!("{kind}-{client}"), "source": "/test", "type": kind,
            "subject": format!("acme/c-{client}"), "time": now + TimeDelta::seconds(seconds), "data": data,
        })
    };
    let accepted = (0..2 * LATE).flat_map(|client| {
        [
            event("invitation.accepted", client, 1, json!({})),
            event("onboarding.completed", client, 2, json!({})),
            event("consent.granted", client, 3, json!({})),
            event(
                "assignment.added",
                client,
                4,
                json!({"assignment_id": "google-ads"}),
            ),
        ]
    });
    send(worker, &accepted.collect::<Vec<_>>());
    let archived = (0..LATE).map(|client| event("client.archived", client, 0, json!({})));
    let deleted = [event("client.deleted", 0, 5, json!({}))];
    send(worker, &archived.chain(deleted).collect::<Vec<_>>());
}

fn follow(samples: &Samples) -> Program {
    let mut subscriber = samples.start("subscriber", &[], "");
    let starts = |it: &Program| it.output().matches("following").count();
    let before = starts(&subscriber);
    subscriber.wait_until("it follows its queue", |it| starts(it) > before);
    subscriber
}

fn lose_nothing(language: Language, hint: &str) {
    let site = Site::new(hint);
    let env = [("AMQP_URL", site.amqp.as_str()), ("QUEUE", QUEUE)];
    let Some(samples) = Samples::new(language, site.folder.path(), &env) else {
        return;
    };
    // Before the exchange exists, and killed when it waits.
    let mut publisher = samples.start("publisher", &["-"], &commands());
    publisher.wait_until("it has noticed that there is no exchange", |it| {
        it.errors().contains("not published yet")
    });
    assert_eq!(site.outbox(), EVENTS);
    publisher.kill();

    let worker = site.tenure.run();
    let url = format!("http://{}", worker.address);
    let samples = samples.with("API_URL", &url);
    // The app is given all commands again. What it did, it does not do again.
    let mut publisher = samples.start("publisher", &["-"], &commands());
    publisher.wait_until("it has published some", |_| site.outbox() < EVENTS - 10);
    publisher.kill();
    assert!(site.outbox() > 0, "it was killed before its end");

    // The subscriber comes late: the past is in the snapshot.
    worker.wait_until("some events have arrived", || state(&worker).len() > 3);
    let subscriber = follow(&samples);
    let mut publisher = samples.start("publisher", &["send"], "");
    let rest = site.outbox();
    publisher.wait_until("it has published more", |_| site.outbox() < rest.max(10) - 5);
    site.restart_rabbit();
    publisher.succeed();
    assert_eq!(site.outbox(), 0);
    subscriber.kill();

    // Nobody consumes while most changes are published.
    accept_and_archive_late(&worker);
    worker.wait_until("every change is published", || {
        worker.metric("tenure_relay_backlog") < 0.5
    });
    let mut subscriber = follow(&samples);
    // A message that is no change moves to the queue of dead messages, and holds up nothing.
    let unreadable = json!({
        "properties": {}, "routing_key": QUEUE, "payload": "{", "payload_encoding": "string",
    });
    let vhost = name_in(&site.amqp);
    site.rabbit
        .publish_as_json(vhost, "amq.default", &unreadable.to_string());
    let limit = Duration::from_mins(1);
    site.rabbit
        .wait_for_depth(vhost, &format!("{QUEUE}.dead"), 1, limit);
    site.rabbit.wait_for_depth(vhost, QUEUE, 0, limit);
    subscriber.wait_until("its queue is empty", |_| true);
    subscriber.kill();
    site.assert_all_arrived_once(&worker);
    // `tenure subscribe` declares the same queue.
    site.tenure.ok(&["subscribe", QUEUE, "--type", "link.*"]);
    assert!(worker.stop().success());
}

#[test]
fn python_publishes_and_applies_everything_once() {
    lose_nothing(Language::Python, "sample_python");
}

#[test]
fn node_publishes_and_applies_everything_once() {
    lose_nothing(Language::Node, "sample_node");
}

#[test]
fn rust_publishes_and_applies_everything_once() {
    lose_nothing(Language::Rust, "sample_rust");
}
