//! The checks of readiness: what the broker, the policy and the scheduler report about themselves.

use std::sync::Arc;

use super::policy::Introduction;
use crate::broker::{BrokerStatus, Severity};
use crate::engine::Engine;
use crate::http::Health;
use crate::scheduler::{Freshness, Scheduler};

/// The check of a worker without a broker. Timers wait for the registered lanes, whether or not a worker consumes them.
pub(super) async fn no_broker(engine: Arc<Engine>) -> Health {
    match engine.store().lanes().await {
        Ok(lanes) if lanes.is_empty() => Health::good("not configured"),
        Ok(_) => Health::bad(
            "not configured, but timers wait for lanes of RabbitMQ that were consumed before; if no worker will consume \
             them again, run `tenure lanes remove`",
        ),
        Err(error) => Health::bad(error.to_string()),
    }
}

pub(super) fn broker(status: BrokerStatus) -> Health {
    let problems = |wanted| -> Vec<String> {
        let of_this = status
            .problems
            .iter()
            .filter(|(_, (severity, _))| *severity == wanted);
        of_this.map(|(name, (_, why))| format!("{name}: {why}")).collect()
    };
    let warnings = problems(Severity::Warning);
    let failures = problems(Severity::Failure);
    let failure = (!failures.is_empty()).then(|| failures.join("; "));
    Health::unless(status.reason.or(failure), "connected").with_warnings(warnings)
}

/// A policy that is held back is only a warning: the worker does all its work by the latest policy, as every other worker does.
pub(super) async fn policy(introduction: Introduction) -> Health {
    match introduction.held().await {
        None => Health::good("in order"),
        Some(why) => Health::good("the policy in the settings is not in effect; the latest recorded one is")
            .with_warnings(vec![why]),
    }
}

pub(super) async fn scheduler(scheduler: Arc<Scheduler>) -> Health {
    let health = |freshness: Freshness| Health {
        ok: freshness.is_well(),
        ..Health::good(freshness.to_string())
    };
    match scheduler.freshness().await {
        Ok(sweeps) => Health::of_parts(
            sweeps
                .into_iter()
                .map(|(sweep, freshness)| (sweep.to_string(), health(freshness)))
                .collect(),
        ),
        Err(error) => Health::bad(error.to_string()),
    }
}
