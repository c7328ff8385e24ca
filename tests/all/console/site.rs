//! Workers with a console, for the tests in the browser.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tenure::clock::SimulatedClock;
use tenure::config::Settings;
use tenure::demo::{Arriving, Shape, World};
use tenure::domain::{Policy, Sweep};
use tenure::engine::{
    Authority, Breaker, CloseRequest, DeadLetterGroupKey, DeliveryStart, Engine, FeedStart, Incoming,
    NewEndpoint, SweepMode, SweepOptions, ThisWorker,
};
use tenure::http::{self, Api};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{AuditHow, DeadLetter, EndpointFilter, Store};
use tenure::wire::webhook::{EndpointUrl, SigningKey};
use tenure::wire::{Decoder, Limits, Message, Pairs, STRUCTURED};
use tenure::{console, telemetry, wire};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::http_client;

/// A worker that serves HTTP with the console, on a store and a clock of its own.
pub struct Site {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub clock: Arc<SimulatedClock>,
    settings: Settings,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    folder: TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

pub fn noon() -> DateTime<Utc> {
    at("2026-03-01T12:00:00Z")
}

pub fn by(reason: &str) -> Authority {
    Authority {
        who: "ann".into(),
        how: AuditHow::Cli,
        reason: Some(reason.into()),
        request_id: None,
    }
}

fn api(settings: &Settings, pages: http::Pages) -> Arc<Api> {
    let api = Api::new(
        &settings.http,
        Limits::default(),
        telemetry::metrics().expect("metrics"),
    );
    api.mount(pages);
    api
}

async fn serve(address: SocketAddr, api: Arc<Api>, stop: &CancellationToken) -> (SocketAddr, JoinHandle<()>) {
    let listener = http::bind(address).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = http::serve(listener, api, stop.clone());
    (address, tokio::spawn(async move { drop(serving.await) }))
}

async fn json_of(url: &str) -> Value {
    let response = http_client().get(url).send().await.expect("a response");
    assert_eq!(response.status(), 200, "{url}");
    response.json().await.expect("JSON")
}

impl Site {
    pub async fn start(now: DateTime<Utc>, env: &[(&str, &str)]) -> Self {
        Self::start_with(now, env, console::pages).await
    }

    /// With pages that are not those of every worker.
    pub async fn start_with(
        now: DateTime<Utc>,
        env: &[(&str, &str)],
        pages: impl FnOnce(&Settings) -> http::Pages,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
        Self::start_on(store, folder, now, env, pages).await
    }

    /// On this store, whose file is in the folder if it has one.
    async fn start_on(
        store: Arc<dyn Store>,
        folder: TempDir,
        now: DateTime<Utc>,
        env: &[(&str, &str)],
        pages: impl FnOnce(&Settings) -> http::Pages,
    ) -> Self {
        store.migrate().await.expect("migrated");
        let clock = Arc::new(SimulatedClock::at(now));
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Settings::load(None, env).expect("settings");
        let policy = Policy {
            subscriptions_grace: TimeDelta::days(7),
            cleanup_grace: TimeDelta::days(7),
            ..settings.policy()
        };
        let breaker = Breaker {
            percent: 20,
            clients: 3,
        };
        let engine = Engine::start(store, clock.clone(), &policy)
            .await
            .expect("an engine");
        let engine = Arc::new(engine.bounded(breaker, TimeDelta::minutes(1)));
        engine
            .expect_sources(&settings.sources.expected)
            .await
            .expect("expected sources");
        let api = api(&settings, pages(&settings));
        api.open(engine.clone());
        let stop = CancellationToken::new();
        let (address, serving) = serve(SocketAddr::from(([127, 0, 0, 1], 0)), api, &stop).await;
        Self {
            address,
            engine,
            clock,
            settings,
            stop,
            serving,
            folder,
        }
    }

    /// Stops the server, and returns when it no longer listens.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.serving).await.expect("the server stops");
    }

    /// Starts the server again at the same address. It answers 503 until the API that is returned is opened.
    pub async fn serve_closed(&mut self) -> Arc<Api> {
        self.stop = CancellationToken::new();
        let api = api(&self.settings, console::pages(&self.settings));
        (_, self.serving) = serve(self.address, api.clone(), &self.stop).await;
        api
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the API says.
    pub async fn api(&self, path: &str) -> Value {
        json_of(&self.url(path)).await
    }

    /// Ingests an event of a client of `acme`.
    pub async fn event(&self, client: &str, kind: &str, time: DateTime<Utc>, data: serde_json::Value) {
        self.event_of("acme", client, kind, time, data).await;
    }

    pub async fn event_of(
        &self,
        partner: &str,
        client: &str,
        kind: &str,
        time: DateTime<Utc>,
        data: serde_json::Value,
    ) {
        let event = json!({
            "specversion": "1.0", "id": format!("{client}-{kind}-{time}"), "source": "/test", "type": kind,
            "subject": format!("{partner}/{client}"), "time": time.to_rfc3339(), "data": data,
        });
        self.line(&event.to_string()).await;
    }

    /// Ingests a message.
    pub async fn line(&self, body: &str) {
        self.lines(&[body]).await;
    }

    /// Ingests messages, many at a time.
    pub async fn lines(&self, bodies: &[impl AsRef<str>]) {
        let decoder = Decoder::new(Limits::default(), self.engine.now());
        for some in bodies.chunks(500) {
            let incoming = some.iter().map(|body| {
                let read = decoder.line("http", body.as_ref().as_bytes());
                read.map(Incoming::from).expect("a message")
            });
            self.engine.ingest(incoming.collect()).await.expect("ingested");
        }
    }

    /// The tables, for a state to which no event leads.
    pub async fn tables(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("tenure.db"));
        options.connect().await.expect("the store")
    }

    pub async fn dead(&self, origin: &str, reason: &str, body: &[u8], headers: &[(&str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let message = Message {
            origin,
            content_type: Some(STRUCTURED),
            headers: &Pairs::from(headers.collect::<Vec<_>>()),
            body,
        };
        let dead = DeadLetter {
            reason: reason.into(),
            ..message.dead(reason)
        };
        self.engine
            .ingest(vec![Incoming::Dead(dead)])
            .await
            .expect("ingested");
    }

    /// Adds an endpoint of webhooks.
    pub async fn endpoint(&self, name: &str, start: FeedStart) {
        let new = NewEndpoint {
            name: name.into(),
            url: EndpointUrl::parse(&format!("https://{name}.example.com/hooks/tenure")).expect("a URL"),
            filter: EndpointFilter {
                partner: None,
                client: None,
                types: vec!["access.*".into(), "billing.*".into()],
            },
            secret: SigningKey::new_secret(),
            start: DeliveryStart::Place(start),
        };
        let authority = by("the CRM shows who has access");
        self.engine
            .operator(&authority)
            .add_endpoint(new)
            .await
            .expect("added");
    }

    /// Records a worker, whose name is its host and another part.
    pub async fn worker(&self, name: &str) {
        let worker = ThisWorker {
            name: name.into(),
            host: name.rsplit_once('-').map_or(name, |(host, _)| host).into(),
            started_at: self.engine.now(),
            heartbeat: Duration::from_secs(5),
        };
        self.engine.record_worker(&worker).await.expect("recorded");
    }

    /// Adds a client that is linked and has access.
    pub async fn linked(&self, client: &str) {
        self.linked_at(client, self.engine.now() - TimeDelta::hours(1))
            .await;
    }

    /// Links a client at a moment: its access expires 60 days later.
    pub async fn linked_at(&self, client: &str, at: DateTime<Utc>) {
        self.event(client, "client.added", at, json!({"name": client}))
            .await;
        self.event(client, "client.invited", at, json!({"steps": ["accepted"]}))
            .await;
        self.event(client, "invitation.accepted", at, json!({})).await;
    }
}

/// A worker with a simulated year. All tests that only read share it.
pub fn year() -> &'static Year {
    static YEAR: OnceLock<Year> = OnceLock::new();
    YEAR.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::channel();
        // The runtime of a test ends with the test.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let (site, year) = live().await;
                send.send(year).expect("somebody waits");
                std::future::pending::<()>().await;
                drop(site);
            });
        });
        receive.recv().expect("the year is over")
    })
}

/// What the tests know about the year.
pub struct Year {
    pub address: SocketAddr,
    /// A client with a correction in its story.
    pub client: String,
    pub dead_letter: i64,
    /// The address of the group of the dead letter.
    pub group: String,
    pub run: i64,
}

impl Year {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the API says.
    pub async fn api(&self, path: &str) -> Value {
        json_of(&self.url(path)).await
    }
}

/// When the year begins.
fn beginning() -> DateTime<Utc> {
    at("2025-03-01T00:00:00Z")
}

async fn live() -> (Site, Year) {
    let env = [("TENURE_SOURCES", "/partner-space=2h,/accounts=30d")];
    let site = Site::start(beginning(), &env).await;
    let year = live_on(&site).await;
    (site, year)
}

/// The same on PostgreSQL.
pub async fn year_on(store: Arc<dyn Store>) -> (Site, Year) {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::start_on(store, folder, beginning(), &[], console::pages).await;
    let year = live_on(&site).await;
    (site, year)
}

/// A server of this moment, on a store that others have filled.
pub async fn later_on(store: Arc<dyn Store>, now: DateTime<Utc>) -> Site {
    let folder = tempfile::tempdir().expect("a folder");
    Site::start_on(store, folder, now, &[], console::pages).await
}

async fn live_on(site: &Site) -> Year {
    let shape = Shape {
        clients: 48,
        start: beginning(),
        ..Shape::default()
    };
    let world = World::new(&shape);
    let mut rest = world.deliveries.as_slice();
    let mut tick = shape.start;
    while tick < world.end {
        tick += TimeDelta::days(7);
        let tick = tick.min(world.end);
        let (week, later) = rest.split_at(rest.partition_point(|delivery| delivery.at < tick));
        rest = later;
        for batch in week.chunks(500) {
            site.clock.set(batch.last().expect("a batch").at);
            let decoder = Decoder::new(Limits::default(), site.engine.now());
            let incoming = batch.iter().filter_map(|delivery| {
                let body = match &delivery.what {
                    Arriving::Event(event) => wire::event(event),
                    Arriving::Broken(bytes) => bytes.clone(),
                };
                decoder.line("amqp:tenure.events.0", &body).map(Incoming::from)
            });
            site.engine.ingest(incoming.collect()).await.expect("ingested");
        }
        site.clock.set(tick);
        for sweep in Sweep::ALL {
            let options = SweepOptions::new(SweepMode::Confirmed);
            site.engine.sweep(sweep, options, |_| {}).await.expect("swept");
        }
    }
    last_hour(site).await
}

/// What happens at the end: the hour before now is busy, a month is closed, a sweep is paused, another one trips.
async fn last_hour(site: &Site) -> Year {
    let end = site.engine.now();
    // The partner space is silent, but not for months.
    let heard = json!({
        "specversion": "1.0", "id": "last", "source": "/partner-space", "type": "client.added",
        "subject": "northwind/shop-0", "time": (end - TimeDelta::hours(5)).to_rfc3339(), "data": {"name": "Shop 0"},
    });
    site.line(&heard.to_string()).await;
    for minute in 0..60 {
        let now = end + TimeDelta::minutes(minute);
        site.clock.set(now);
        for number in 0..(3 + minute * 7 % 11) {
            let client = format!("shop-{number}");
            let kind = match (minute + number) % 9 {
                0 => "client.added",
                1 => "client.archived",
                _ => "client.renamed",
            };
            site.event_of(
                "northwind",
                &client,
                kind,
                now,
                json!({"name": format!("Shop {number} {minute}")}),
            )
            .await;
        }
        if minute % 20 == 7 {
            site.line("{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/partner-space\",\"type\":\"client.adopted\",\"subject\":\"northwind/shop-1\"}").await;
        }
    }
    let authority = by("the files of January are complete");
    let operator = site.engine.operator(&authority);
    let month = "2026-01".parse().expect("a month");
    let request = CloseRequest {
        month,
        by: "ann".parse().expect("a name"),
        confirmed: true,
        most: None,
    };
    operator.close_month(&request, |_, _| {}).await.expect("closed");
    let authority = by("the account app is being migrated");
    site.engine
        .operator(&authority)
        .pause_sweep(Sweep::SubscriptionEnd)
        .await
        .expect("paused");
    site.endpoint("crm", FeedStart::Latest).await;
    site.endpoint("warehouse", FeedStart::Beginning).await;
    let authority = by("the warehouse is being rebuilt");
    let operator = site.engine.operator(&authority);
    operator.pause_endpoint("warehouse").await.expect("paused");
    let authority = by("agreed with the agencies");
    let policy = Policy {
        cleanup_grace: TimeDelta::days(14),
        ..site.engine.latest_policy().await.expect("a policy")
    };
    let operator = site.engine.operator(&authority);
    operator
        .apply_policy(&policy, TimeDelta::hours(1))
        .await
        .expect("a policy");
    site.worker("tenure-2-91b04e7d").await;
    site.engine.duties().lead_relay(true);
    site.worker("tenure-1-5f0c2a9e").await;
    let runs = site.engine.store().runs(None, 200).await.expect("runs");
    let run = runs
        .iter()
        .max_by_key(|run| run.counts.changed)
        .expect("a run")
        .id;
    let letters = site.engine.dead_letter_groups().await.expect("groups");
    let group = &letters.groups[0];
    Year {
        address: site.address,
        client: corrected(site).await,
        dead_letter: group.first[0],
        group: address_of(&group.key),
        run,
    }
}

fn address_of(group: &DeadLetterGroupKey) -> String {
    let mut url = Url::parse("http://127.0.0.1/dead-letters").expect("a URL");
    url.query_pairs_mut()
        .append_pair("reason", &group.reason)
        .append_pair("origin", &group.origin)
        .extend_pairs(group.source.iter().map(|source| ("source", source)));
    format!("/dead-letters?{}", url.query().unwrap_or_default())
}

/// The client with the most kinds of changes, one of them a correction.
async fn corrected(site: &Site) -> String {
    let clients = site
        .engine
        .store()
        .clients(&tenure::store::ClientFilter::default(), None, 500)
        .await
        .expect("clients");
    let mut best = (0, String::new());
    for stored in clients {
        let journal = site
            .engine
            .store()
            .journal(&stored.key, 0, 300)
            .await
            .expect("a journal");
        let mut kinds: Vec<_> = journal.iter().map(|line| line.entry.change.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let is_corrected = journal.iter().any(|line| line.entry.is_correction());
        let score = kinds.len() + if is_corrected { 20 } else { 0 };
        if score > best.0 && journal.len() < 60 {
            best = (score, stored.key.to_string());
        }
    }
    best.1
}
