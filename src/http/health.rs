//! `/livez` and `/readyz`, for orchestrators and load balancers.

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

/// Timeout of one check. Probes usually have a timeout of a few seconds themselves.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait for a test write. A slower one shows as no recent write.
const WRITE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    pub ok: bool,
    /// For people.
    #[schema(example = "connected")]
    pub detail: String,
    /// Problems that need attention but do not affect readiness.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The results of its parts.
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

    /// Bad with this reason, or good with this detail.
    pub fn unless(wrong: Option<String>, detail: impl Into<String>) -> Self {
        wrong.map_or_else(|| Self::good(detail), Self::bad)
    }

    #[must_use]
    pub fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// Good if all parts are.
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
            Self::bad(format!("failing: {}", failing.join(", ")))
        };
        Self { parts, ..health }
    }
}

/// A check. Adapters do not depend on each other, so the worker supplies each one's check.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Health> + Send + Sync>;

/// Whether this worker is ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    /// By name: `store`, `broker`, `scheduler` and others.
    checks: BTreeMap<&'static str, Health>,
}

/// Check that the process is alive
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "get_liveness",
    tag = "operations",
    security(()),
    responses((status = 200, description = "The process is alive"))
)]
pub(super) async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({"alive": true}))
}

/// Check that the worker is ready
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readiness",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "All checks pass", body = Readiness),
        (status = 503, description = "At least one check fails; the body says which and why", body = Readiness),
    )
)]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, Json<Readiness>) {
    let checks = checks(&api).await;
    let ready = checks.values().all(|health| health.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, checks }))
}

/// The results of all checks, by name.
pub(crate) async fn checks(api: &Arc<Api>) -> BTreeMap<&'static str, Health> {
    let probes = api.probes.read().unwrap_or_else(PoisonError::into_inner).clone();
    let mut asked = vec![("store", tokio::spawn(store(api.clone())))];
    asked.extend(
        probes
            .into_iter()
            .map(|(name, probe)| (name, tokio::spawn(probe()))),
    );
    let mut checks = BTreeMap::new();
    for (name, answer) in asked {
        let health = match tokio::time::timeout(CHECK_TIMEOUT, answer).await {
            Ok(Ok(health)) => health,
            Ok(Err(panic)) => Health::bad(format!("the check failed: {panic}")),
            Err(_) => Health::bad(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        };
        checks.insert(name, health);
    }
    checks
}

/// Checks that the store accepts writes: a server that responds may be read-only, full or locked.
async fn store(api: Arc<Api>) -> Health {
    let engine = match api.engine() {
        Ok(engine) => engine,
        Err(starting) => return Health::bad(starting.to_string()),
    };
    let prober = engine.clone();
    // In a task of its own, so that the timeout does not cancel a transaction.
    let probe = tokio::spawn(async move { prober.probe().await });
    let _ = tokio::time::timeout(WRITE_TIMEOUT, probe).await;
    let parts = [
        ("write", Health::unless(engine.cannot_write(), "written")),
        (
            "events",
            Health::unless(engine.cannot_ingest(), "no batch failed"),
        ),
    ];
    let wrong = parts.iter().find(|(_, part)| !part.ok);
    let wrong = wrong.map(|(_, part)| format!("the store does not accept writes: {}", part.detail));
    Health {
        parts: parts.map(|(name, part)| (name.to_owned(), part)).into(),
        ..Health::unless(wrong, engine.store().kind())
    }
}
