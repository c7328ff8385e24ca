//! The worker, run in the test process: start, wait for the store, shutdown.

use std::net::TcpListener;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::config::Settings;
use tenure::domain::Sweep;
use tenure::worker::{self, WorkerError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Worker {
    base: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Worker {
    fn start(store: &str, port: u16) -> Self {
        let env = [
            ("TENURE_STORE__URL", store.to_owned()),
            ("TENURE_HTTP__LISTEN", format!("127.0.0.1:{port}")),
            ("TENURE_SHUTDOWN__TIMEOUT", "10s".to_owned()),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        let settings = Settings::load(None, env).unwrap();
        let stop = CancellationToken::new();
        Self {
            base: format!("http://127.0.0.1:{port}"),
            task: tokio::spawn(worker::run_until(settings, stop.clone())),
            stop,
        }
    }

    /// Waits until the response of `/readyz` matches.
    async fn ready_when(&self, enough: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let mut last = None;
        for _ in 0..500 {
            assert!(!self.task.is_finished(), "the worker exited");
            if let Ok(response) = crate::support::http_client()
                .get(format!("{}/readyz", self.base))
                .send()
                .await
            {
                let status = response.status();
                let body: Value = response.json().await.unwrap();
                if enough(status, &body) {
                    return body;
                }
                last = Some(body);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("timed out after 10 s; the last response: {last:?}");
    }

    async fn end(self) -> Result<(), WorkerError> {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(15), self.task)
            .await
            .expect("it stops in time")
            .unwrap()
    }
}

fn embedded(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("tenure.db").display())
}

#[tokio::test]
async fn an_embedded_worker_becomes_ready_ingests_events_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&embedded(&folder), free_port());
    let body = worker.ready_when(|status, _| status == StatusCode::OK).await;
    assert_eq!(body["checks"]["broker"]["detail"], "not configured");
    let sweeps = body["checks"]["scheduler"]["parts"].as_object().unwrap();
    assert_eq!(sweeps.len(), Sweep::ALL.len());

    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/test", "type": "client.added", "subject": "acme/bakery",
        "time": "2026-01-01T00:00:00Z", "data": {"name": "Bakery"},
    });
    let response = crate::support::http_client()
        .post(format!("{}/v1/events", worker.base))
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // Every sweep makes up for its missed tick at once.
    worker
        .ready_when(|_, body| {
            let parts = body["checks"]["scheduler"]["parts"].as_object().unwrap();
            parts
                .values()
                .all(|part| part["detail"].as_str().unwrap().starts_with("last run"))
        })
        .await;
    worker.end().await.unwrap();

    // A second worker finds the stored client.
    let worker = Worker::start(&embedded(&folder), free_port());
    worker.ready_when(|status, _| status == StatusCode::OK).await;
    let client = crate::support::http_client()
        .get(format!("{}/v1/partners/acme/clients/bakery", worker.base))
        .send()
        .await
        .unwrap();
    assert_eq!(client.json::<Value>().await.unwrap()["name"], "Bakery");
    worker.end().await.unwrap();
}

#[tokio::test]
async fn a_worker_waits_for_an_unavailable_store() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let worker = Worker::start(
        &format!("postgres://nobody@127.0.0.1:{port}/nothing"),
        free_port(),
    );
    let body = worker.ready_when(|_, _| true).await;
    assert_eq!(body["ready"], false);
    assert_eq!(body["checks"]["store"]["ok"], false);
    let alive = crate::support::http_client()
        .get(format!("{}/livez", worker.base))
        .send()
        .await
        .unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    for _ in 0..3 {
        let attempt = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await;
        drop(attempt.expect("another attempt").unwrap());
    }
    assert!(!worker.task.is_finished());
    worker.end().await.unwrap();
}

#[tokio::test]
async fn a_failed_start_names_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = Worker::start(&embedded(&folder), taken.local_addr().unwrap().port());
    let error = worker.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("http.listen"), "{error}");

    let worker = Worker::start("sqlite:///nowhere/at/all/tenure.db", free_port());
    let error = worker.task.await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("store.url") && error.contains("/nowhere/at/all"),
        "{error}"
    );
}
