//! `/livez` and `/readyz`: for whoever starts, stops and routes to workers.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;

/// How long one check may take: whoever asks has a limit of their own, of a few seconds mostly.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait for a write. One that waits longer shows in what was last written.
const PROBE_PATIENCE: Duration = Duration::from_millis(2_500);

/// Whether something does its work, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    pub ok: bool,
    /// For people.
    #[schema(example = "connected")]
    pub detail: String,
    /// What needs a person's attention, and does not make it not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it is made of, where there is more to say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(no_recursion)]
    pub parts: BTreeMap<String, Health>,
}

impl Health {
    pub fn good(detail: impl Into<String>) -> Self {
        Self {
            ok: true,
            detail: detail.into(),
            warnings: Vec::new(),
            parts: BTreeMap::new(),
        }
    }

    pub fn bad(why: impl Into<String>) -> Self {
        Self {
            ok: false,
            ..Self::good(why)
        }
    }

    /// Good, unless something is wrong.
    pub fn unless(wrong: Option<String>, detail: impl Into<String>) -> Self {
        wrong.map_or_else(|| Self::good(detail), Self::bad)
    }

    #[must_use]
    pub fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// Well when all of its parts are.
    #[must_use]
    pub fn of_parts(parts: BTreeMap<String, Self>) -> Self {
        let failing: Vec<&str> = parts
            .iter()
            .filter(|(_, part)| !part.ok)
            .map(|(name, _)| name.as_str())
            .collect();
        let health = if failing.is_empty() {
            Self::good("ok")
        } else {
            Self::bad(format!("not well: {}", failing.join(", ")))
        };
        Self { parts, ..health }
    }
}

/// Asks something how it is. The doors do not know each other: whoever wires them up knows all.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Health> + Send + Sync>;

/// Whether this worker can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    /// By part: `store`, `broker`, `scheduler`.
    checks: BTreeMap<&'static str, Health>,
}

/// The process runs.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "health",
    security(()),
    responses((status = 200, description = "The process runs"))
)]
pub(super) async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({"alive": true}))
}

/// Whether the worker can do its work, part by part.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "Everything does its work", body = Readiness),
        (status = 503, description = "Something does not; the body says what, and why", body = Readiness),
    )
)]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, Json<Readiness>) {
    let probes = api.probes.read().unwrap_or_else(PoisonError::into_inner).clone();
    let mut asked = vec![("store", tokio::spawn(store(api.clone())))];
    asked.extend(
        probes
            .into_iter()
            .map(|(name, probe)| (name, tokio::spawn(probe()))),
    );
    let mut checks = BTreeMap::new();
    for (name, answer) in asked {
        let health = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(health)) => health,
            Ok(Err(panic)) => Health::bad(format!("it cannot be asked: {panic}")),
            Err(_) => Health::bad(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        checks.insert(name, health);
    }
    let ready = checks.values().all(|health| health.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, checks }))
}

/// Ready is what was written a moment ago: a server that answers may be read-only, full or locked.
async fn store(api: Arc<Api>) -> Health {
    let engine = match api.engine() {
        Ok(engine) => engine,
        Err(starting) => return Health::bad(starting.to_string()),
    };
    let prober = engine.clone();
    // In a task of its own: it must not be cut off half-way.
    let probe = tokio::spawn(async move { prober.probe().await });
    let _ = tokio::time::timeout(PROBE_PATIENCE, probe).await;
    let parts = [
        ("write", Health::unless(engine.cannot_write(), "written")),
        ("events", Health::unless(engine.cannot_take(), "no batch failed")),
    ];
    let wrong = parts.iter().find(|(_, part)| !part.ok);
    let wrong = wrong.map(|(_, part)| format!("the store cannot be written: {}", part.detail));
    Health {
        parts: parts.map(|(name, part)| (name.to_owned(), part)).into(),
        ..Health::unless(wrong, engine.store().kind())
    }
}
