//! The worker's view of the endpoints of webhooks: what needs attention is a warning, because the worker does all its other work.

use std::sync::Arc;

use crate::config::WebhookSettings;
use crate::domain::time::rfc3339;
use crate::engine::{EndpointView, Engine};
use crate::http::Health;
use crate::store::{EndpointOrigin, EndpointStatus};

pub(super) async fn health(engine: Arc<Engine>, settings: Arc<WebhookSettings>) -> Health {
    let endpoints = match engine.endpoints().await {
        Ok(endpoints) => endpoints,
        Err(error) => return Health::bad(error.to_string()),
    };
    let warnings: Vec<String> = endpoints
        .iter()
        .filter_map(|endpoint| warning(endpoint, &settings))
        .collect();
    let active = endpoints
        .iter()
        .filter(|endpoint| endpoint.status == EndpointStatus::Active);
    let detail = match endpoints.len() {
        0 => "no endpoint".to_owned(),
        all => format!("{} of {all} endpoints active", active.count()),
    };
    Health::good(detail).with_warnings(warnings)
}

fn warning(endpoint: &EndpointView, settings: &WebhookSettings) -> Option<String> {
    let name = &endpoint.name;
    if endpoint.origin == EndpointOrigin::Command && settings.endpoints.contains_key(name) {
        return Some(format!(
            "{name} is in the settings and was added with `tenure webhook add`; the one of the settings receives nothing"
        ));
    }
    match (endpoint.status, endpoint.failing_since) {
        (EndpointStatus::Disabled, _) => {
            let why = endpoint.why.as_deref().unwrap_or_default();
            Some(format!("{name} is disabled: {why}"))
        }
        (EndpointStatus::Active, Some(since)) => {
            let outcome = endpoint.last_outcome.as_deref().unwrap_or_default();
            Some(format!(
                "{name} has been failing since {}: {outcome}",
                rfc3339(since)
            ))
        }
        (EndpointStatus::Active, None) if endpoint.lag_seconds.is_none() => {
            Some(format!("changes after the cursor of {name} are no longer stored"))
        }
        (EndpointStatus::Active | EndpointStatus::Paused, _) => None,
    }
}
