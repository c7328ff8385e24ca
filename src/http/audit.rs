//! `GET /v1/audit`: what operators did.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::QueryErrors;
use super::params::{Params, RawQuery, limited_text};
use super::{Api, ApiError, schema};
use crate::store::{AuditFilter, AuditRecord};

/// A page of the audit log, newest first.
#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    #[schema(value_type = Vec<schema::AuditEntry>)]
    entries: Vec<AuditRecord>,
    /// The value of `before` for the next page; null on the last page. A page may have fewer entries than `limit`, or none, although
    /// others follow.
    next: Option<i64>,
}

/// List what operators did, newest first
///
/// In the console, over HTTP and with commands: who, how and why. `audit.keep` says for how long entries are stored.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "list_audit",
    tag = "operations",
    params(
        ("since" = Option<schema::Moment>, Query, description = "Only entries at or after this moment"),
        ("until" = Option<schema::Moment>, Query, description = "Only entries before this moment"),
        ("by" = Option<schema::OperatorName>, Query, description = "Only what this token or user did"),
        ("action" = Option<schema::AuditAction>, Query, description = "Only this action, such as `sweep.pause`, or all that begin with it: \
                                                                         `sweep`"),
        ("before" = Option<schema::Number>, Query, description = "Only entries with a smaller number: `next` of the previous page"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "A page of the audit log", body = AuditPage),
        QueryErrors,
    )
)]
pub(super) async fn list(State(api): State<Arc<Api>>, query: RawQuery) -> Result<Json<AuditPage>, ApiError> {
    let mut params = Params::of(query)?;
    let filter = AuditFilter {
        since: params.moment("since")?,
        until: params.moment("until")?,
        who: limited_text(&mut params, "by")?,
        action: audit_action(&mut params)?,
    };
    let before = params.number("before", 0, i64::MAX)?.unwrap_or(i64::MAX);
    let limit = page_size(&mut params)?;
    params.finish()?;
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let page = api
        .run_detached(move |engine| async move { engine.audit_log(&filter, before, wanted).await })
        .await?;
    Ok(Json(AuditPage {
        entries: page.entries,
        next: page.next,
    }))
}

/// The parameter `action`: an action, or its first word.
pub(crate) fn audit_action(params: &mut Params) -> Result<Option<String>, ApiError> {
    let action = params.text("action")?;
    if action.as_deref().is_some_and(|action| !is_action(action)) {
        let reason = "expected an action such as `sweep.pause`, or its first word";
        return Err(ApiError::parameter("action", reason));
    }
    Ok(action)
}

fn is_action(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
}
