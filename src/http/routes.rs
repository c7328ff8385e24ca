//! All routes. The router and the OpenAPI document are both made from this list.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Api, clients, dead_letters, events, forecast, health, history, metrics, openapi, possible, sweeps,
};

/// Routes that need no token.
pub(super) fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::show))
}

/// Queries of the store. They need the token, if one is set, and a large response counts towards the memory limit.
pub(super) fn queries() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(clients::list))
        .routes(routes!(clients::show))
        .routes(routes!(clients::journal))
        .routes(routes!(clients::access))
        .routes(routes!(clients::name))
        .routes(routes!(history::show))
        .routes(routes!(possible::show))
        .routes(routes!(forecast::show))
        .routes(routes!(sweeps::list))
        .routes(routes!(sweeps::show))
        .routes(routes!(dead_letters::list))
}

/// Other routes that need the token, if one is set.
pub(super) fn guarded() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(events::ingest))
        .routes(routes!(metrics::show))
}
