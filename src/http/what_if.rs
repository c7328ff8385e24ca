//! `GET /v1/what-if`: the same histories under another policy.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, schema};
use crate::config::changed_policy;
use crate::domain::policy::later;
use crate::domain::time::serialize;
use crate::engine::{ClientWhatIf, PartnerWhatIf, WhatIfDay, WhatIfRequest, WhatIfTotals};

/// A page of the comparison, ordered by client.
#[derive(Serialize, ToSchema)]
pub struct WhatIfPage {
    #[serde(serialize_with = "serialize")]
    since: DateTime<Utc>,
    #[serde(serialize_with = "serialize")]
    until: DateTime<Utc>,
    /// The clients that differ.
    #[schema(value_type = Vec<schema::ClientWhatIf>)]
    clients: Vec<ClientWhatIf>,
    /// The sums of the clients that this page examined.
    #[schema(value_type = schema::WhatIfTotals)]
    totals: WhatIfTotals,
    /// The same by partner. The clients of the last partner may continue on the next page.
    #[schema(value_type = Vec<schema::PartnerWhatIf>)]
    partners: Vec<PartnerWhatIf>,
    /// The changes to come of these clients, by day.
    #[schema(value_type = Vec<schema::WhatIfDay>)]
    days: Vec<WhatIfDay>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// Compare the recorded policies with another policy
///
/// Replays each client's history from its beginning twice: under the recorded policies, and as if the other policy had always
/// been in force. Reports the differences between `since` and `until`: who would have lost or gained access, billing and
/// commission, and for how long, and the changes that only one of the policies makes. Differences later than now assume that no
/// event arrives. A page examines a bounded number of clients, so it may be empty and not be the last.
#[utoipa::path(
    get,
    path = "/v1/what-if",
    operation_id = "get_what_if",
    tag = "sweeps",
    params(
        ("set" = Option<Vec<schema::PolicySetting>>, Query, description = "Another value for a setting of the policy in \
         effect; repeat it for several. Without it, the other policy is that of the worker's settings"),
        ("since" = Option<schema::Moment>, Query, description = "The beginning of the comparison, in RFC 3339; default 365 \
         days ago, or `until` if that is earlier"),
        ("until" = Option<schema::Moment>, Query, description = "The end of the comparison, in RFC 3339; default in 90 days"),
        ("partner" = Option<schema::PartnerId>, Query, description = "Only clients of this partner"),
        ("after" = Option<schema::Subject>, Query, description = "Only clients after this one: `next` of the previous page. \
         Repeat `set`, and `since` and `until` of the first page, so that all pages are about the same"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000 clients; default 100"),
    ),
    responses(
        (status = 200, description = "A page of clients that differ", body = WhatIfPage),
        QueryErrors,
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>, query: RawQuery) -> Result<Json<WhatIfPage>, ApiError> {
    let mut params = Params::of(query)?;
    let changes = params.texts("set");
    let since = params.moment("since")?;
    let until = params.moment("until")?;
    let now = api.engine()?.now();
    let until = until.unwrap_or_else(|| later(now, WhatIfRequest::AHEAD));
    let since = since.unwrap_or_else(|| {
        let back = now.checked_sub_signed(WhatIfRequest::BACK);
        back.unwrap_or(DateTime::<Utc>::MIN_UTC).min(until)
    });
    if since > until {
        return Err(ApiError::parameter("since", "it is after `until`"));
    }
    let partner = params.partner()?;
    let after = params.client("after")?;
    let limit = page_size(&mut params)?;
    params.finish()?;
    let policy = if changes.is_empty() {
        api.engine()?.policy_of_settings().clone()
    } else {
        let latest = api
            .run_detached(|engine| async move { engine.latest_policy().await })
            .await?;
        changed_policy(&latest, &changes, "the request").map_err(|error| ApiError::parameter("set", error))?
    };
    let request = WhatIfRequest {
        policy,
        partner,
        since,
        until,
        after,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    let page = api
        .run_detached(move |engine| async move { engine.what_if(&request).await })
        .await?;
    let mut totals = WhatIfTotals::default();
    for partner in &page.partners {
        totals.add(&partner.totals);
    }
    Ok(Json(WhatIfPage {
        since,
        until,
        clients: page.clients,
        totals,
        partners: page.partners,
        days: page.days,
        next: page.next.map(|key| key.to_string()),
    }))
}
