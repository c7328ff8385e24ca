//! All routes. The router and the OpenAPI document are both made from this list.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Api, access, accesses, authzen, changes, clients, contracts, dead_letters, events, forecast, health,
    history, lists, metrics, openapi, possible, snapshot, sources, statements, sweeps, webhooks, what_if,
    why,
};

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

/// Queries of the store. They need the token, if one is set, and a large response counts towards the memory limit.
pub(super) fn queries() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(clients::list))
        .routes(routes!(clients::show))
        .routes(routes!(clients::journal))
        .routes(routes!(clients::name))
        .routes(routes!(history::show))
        .routes(routes!(accesses::list))
        .routes(routes!(accesses::all))
        .routes(routes!(possible::show))
        .routes(routes!(why::show))
        .routes(routes!(forecast::show))
        .routes(routes!(what_if::show))
        .routes(routes!(statements::list))
        .routes(routes!(statements::show))
        .routes(routes!(sweeps::list))
        .routes(routes!(sweeps::show))
        .routes(routes!(sources::list))
        .routes(routes!(access::show))
        .routes(routes!(access::decide))
        .routes(routes!(authzen::evaluation))
        .routes(routes!(authzen::evaluations))
        .routes(routes!(dead_letters::list))
        .routes(routes!(lists::clients))
        .routes(routes!(lists::account))
        .routes(routes!(lists::partners))
        .routes(routes!(lists::refusals))
        .routes(routes!(changes::list))
        .routes(routes!(snapshot::show))
        .routes(routes!(webhooks::list))
}

/// Other routes that need the token, if one is set.
pub(super) fn guarded() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(events::ingest))
        .routes(routes!(statements::close))
        .routes(routes!(metrics::show))
}
