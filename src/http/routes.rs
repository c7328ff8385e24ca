//! All routes, each with what it requires. The router and the OpenAPI document are both made from this list.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::guard::{Needs, Reach, Routes};
use super::{
    Api, access, accesses, activity, audit, authzen, changes, clients, contracts, dead_letters, events,
    forecast, health, history, lists, metrics, openapi, possible, snapshot, sources, statements, sweeps,
    webhooks, what_if, why, worker, workers,
};
use crate::config::Scope::{Operate, Publish, Read};

/// Routes that need no token.
pub(super) fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::show))
        .routes(routes!(contracts::asyncapi))
        .routes(routes!(contracts::list))
        .routes(routes!(contracts::event))
        .routes(routes!(contracts::data_of_event))
        .routes(routes!(contracts::change))
        .routes(routes!(contracts::data_of_change))
        .routes(routes!(authzen::configuration))
}

/// Queries of the store. A large response counts towards the memory limit.
pub(super) fn queries() -> Routes {
    Routes::new()
        .add(Read, Reach::InPath, routes!(clients::list))
        .add(Read, Reach::InPath, routes!(clients::show))
        .add(Read, Reach::InPath, routes!(clients::journal))
        .add(Read, Reach::InPath, routes!(clients::name))
        .add(Read, Reach::InPath, routes!(history::show))
        .add(Read, Reach::InPath, routes!(accesses::list))
        .add(Read, Reach::InQuery, routes!(accesses::all))
        .add(Read, Reach::InPath, routes!(possible::show))
        .add(Read, Reach::InPath, routes!(why::show))
        .add(Read, Reach::InQuery, routes!(forecast::show))
        .add(Read, Reach::InQuery, routes!(what_if::show))
        .add(Read, Reach::InHandler, routes!(statements::list))
        .add(Read, Reach::InQuery, routes!(statements::show))
        .add(Read, Reach::All, routes!(sweeps::list))
        .add(Read, Reach::All, routes!(sweeps::show))
        .add(Read, Reach::All, routes!(sources::list))
        .add(Read, Reach::All, routes!(workers::list))
        .add(Read, Reach::All, routes!(activity::show))
        .add(Read, Reach::InPath, routes!(access::show))
        .add(Read, Reach::InHandler, routes!(access::decide))
        .add(Read, Reach::InHandler, routes!(authzen::evaluation))
        .add(Read, Reach::InHandler, routes!(authzen::evaluations))
        // The client of a dead letter may be unknown.
        .add(Read, Reach::All, routes!(dead_letters::list))
        .add(Read, Reach::InQuery, routes!(lists::clients))
        .add(Read, Reach::InQuery, routes!(lists::account))
        .add(Read, Reach::InHandler, routes!(lists::partners))
        .add(Read, Reach::All, routes!(lists::refusals))
        .add(Read, Reach::All, routes!(audit::list))
        .add(Read, Reach::InQuery, routes!(changes::list))
        .add(Read, Reach::InQuery, routes!(snapshot::show))
        // The progress of an endpoint is about the changes of all partners.
        .add(Read, Reach::All, routes!(webhooks::list))
}

/// Other routes that need a token, if there are any.
pub(super) fn others() -> Routes {
    Routes::new()
        .add(Publish, Reach::InHandler, routes!(events::ingest))
        .add(Operate, Reach::All, routes!(statements::close))
        .add(Operate, Reach::All, routes!(workers::remove))
        .add(Read, Reach::All, routes!(metrics::show))
        .add(Read, Reach::All, routes!(worker::show))
}

/// What each route requires, by method and path.
pub(super) fn table() -> Vec<(String, Needs)> {
    let mut table = queries().into_table();
    table.extend(others().into_table());
    table
}
