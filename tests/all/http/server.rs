//! A server on a free port for the tests of the HTTP adapter, and the requests to it.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use tenure::clock::SimulatedClock;
use tenure::config::Settings;
use tenure::domain::Policy;
use tenure::engine::Engine;
use tenure::http::{self, Api, Pages};
use tenure::store::Store;
use tenure::store::sqlite::SqliteStore;
use tenure::wire::Limits;
use tokio_util::sync::CancellationToken;

use crate::fault_injecting::{FaultInjectingStore, Faults};

pub const STRUCTURED: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";

/// A server on a free port, with a store of its own.
pub struct Server {
    pub address: String,
    pub api: Arc<Api>,
    pub engine: Arc<Engine>,
    pub clock: Arc<SimulatedClock>,
    pub client: Client,
    pub stop: CancellationToken,
    pub serving: tokio::task::JoinHandle<std::io::Result<()>>,
    /// The faults of the store, and the number of its calls.
    pub faults: Arc<Faults>,
    /// None: that of another server.
    folder: Option<TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn settings(env: &[(&str, &str)]) -> Settings {
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Settings::load(None, env.into_iter()).unwrap()
}

impl Server {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(env: &[(&str, &str)]) -> Self {
        let server = Self::starting(env).await;
        server.api.open(server.engine.clone());
        server
    }

    /// Starts a server whose store is not open yet.
    pub async fn starting(env: &[(&str, &str)]) -> Self {
        Self::with_pages(env, Pages::default()).await
    }

    /// As [`Server::starting`], with pages.
    pub async fn with_pages(env: &[(&str, &str)], pages: Pages) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
        let faults = Arc::new(Faults::default());
        let store: Arc<dyn Store> = Arc::new(FaultInjectingStore {
            faults: faults.clone(),
            ..FaultInjectingStore::new(inner)
        });
        store.migrate().await.unwrap();
        let clock = Arc::new(SimulatedClock::at(noon()));
        let settings = settings(env);
        let engine = Engine::start(store, clock.clone(), &Policy::default())
            .await
            .unwrap()
            .with_access_log(settings.access_log);
        Self::on(&settings, pages, faults, (Arc::new(engine), clock), Some(folder)).await
    }

    /// Another worker on the same store, and with the same clock.
    pub async fn another(&self, env: &[(&str, &str)], pages: Pages) -> Self {
        let work = (self.engine.clone(), self.clock.clone());
        let server = Self::on(&settings(env), pages, self.faults.clone(), work, None).await;
        server.api.open(server.engine.clone());
        server
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    async fn on(
        settings: &Settings,
        pages: Pages,
        faults: Arc<Faults>,
        (engine, clock): (Arc<Engine>, Arc<SimulatedClock>),
        folder: Option<TempDir>,
    ) -> Self {
        let metrics = tenure::telemetry::metrics().unwrap();
        let api = Api::new(&settings.http, Limits::default(), metrics);
        api.mount(pages);
        let listener = http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        Self {
            serving: tokio::spawn(http::serve(listener, api.clone(), stop.clone())),
            address,
            api,
            engine,
            clock,
            client: crate::support::http_client(),
            stop,
            faults,
            folder,
        }
    }

    /// Runs a statement in the file of the store.
    pub async fn execute(&self, statement: &str) {
        let file = SqliteConnectOptions::new().filename(self.folder().join("tenure.db"));
        let mut connection = file.connect().await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        answer(
            self.request(Method::POST, "/v1/events")
                .header("content-type", content_type)
                .body(body),
        )
        .await
    }

    /// Posts JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(
            self.request(Method::POST, path)
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
    }

    /// Sends events as a batch and returns their outcomes.
    pub async fn send(&self, events: &[Value]) -> Vec<String> {
        let (status, body) = self.post(BATCH, Value::from(events).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["outcomes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|outcome| outcome["outcome"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Adds a client that was linked an hour ago and has access.
    pub async fn linked(&self, client: &str) {
        let at = noon() - TimeDelta::hours(1);
        let outcomes = self
            .send(&[
                event(client, "client.added", at, json!({"name": client})),
                event(client, "client.invited", at, json!({"steps": ["accepted"]})),
                event(client, "invitation.accepted", at, json!({})),
            ])
            .await;
        assert_eq!(outcomes, ["applied"; 3]);
    }
}

pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} is no JSON: {text}"));
    (status, body)
}

pub fn event(client: &str, kind: &str, time: DateTime<Utc>, data: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": format!("{client}-{kind}-{time}"),
        "source": "/test",
        "type": kind,
        "subject": format!("acme/{client}"),
        "time": time.to_rfc3339(),
    });
    event["data"] = data;
    event
}

pub fn error_code(body: &Value) -> &str {
    assert!(body["error"]["message"].is_string(), "{body}");
    body["error"]["code"].as_str().unwrap()
}
