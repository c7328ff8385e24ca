//! Schemas of the audit log.

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use crate::store::AuditHow;

/// An entry of the audit log.
#[derive(ToSchema)]
pub struct AuditEntry {
    /// Greater than those of earlier entries.
    number: i64,
    at: DateTime<Utc>,
    /// The name of the token, or the user of the system. Empty: an unknown token.
    #[schema(example = "ann")]
    who: String,
    how: AuditHow,
    /// What was done.
    #[schema(example = "sweep.pause")]
    action: String,
    /// What it was done to. Null: it has no target of its own.
    #[schema(required, example = "access-expiry")]
    target: Option<String>,
    /// Why, as the operator says.
    #[schema(required)]
    reason: Option<String>,
    /// More about it, depending on the action.
    #[schema(value_type = Object)]
    details: String,
    /// The `x-request-id` of the request.
    #[schema(required)]
    request_id: Option<String>,
}

/// A token or a user, as the audit log names it.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 2000, example = "ann")]
pub struct OperatorName(String);

/// Why an operator does something.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 2000, example = "the books are closed")]
pub struct ReasonText(String);

/// An action in the audit log, or how several begin.
#[derive(ToSchema)]
#[schema(pattern = r"^[a-z._]{1,64}$", example = "sweep")]
pub struct AuditAction(String);
