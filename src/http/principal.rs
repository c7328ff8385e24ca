//! Who sends a request, and what they may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::ApiError;
use crate::config::{AccessToken, Partners, Scope, Scopes};
use crate::engine::Authority;
use crate::store::{AuditHow, SessionDigest};

/// The name of a principal without a token. Only a worker without tokens has it, and that listens on loopback only.
pub const OPEN: &str = "local";

/// The cookie of a session, without TLS.
pub(super) const SESSION_COOKIE: &str = "tenure-session";

/// Who sends a request. A handler of a guarded route takes it as an argument.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The name of the token, as in the audit log.
    pub name: Arc<str>,
    pub scopes: Scopes,
    pub partners: Partners,
    pub how: How,
    /// See [`Principal::csrf`].
    pub(super) csrf: Arc<str>,
    /// The `x-request-id` of the request.
    pub(super) request_id: Option<Arc<str>>,
    /// As the audit log names the way.
    pub(super) surface: AuditHow,
}

/// How a request is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By a bearer token. No browser sends one by itself, so that no other site can use it.
    Token,
    /// By the cookie of a session, which has this digest.
    Session(SessionDigest),
    /// Not at all: no token is configured.
    Open,
}

impl Principal {
    pub(super) fn of_token(token: &AccessToken, how: How) -> Self {
        Self {
            name: token.name.clone(),
            scopes: token.scopes,
            partners: token.partners.clone(),
            how,
            csrf: "".into(),
            request_id: None,
            surface: match how {
                How::Session(_) => AuditHow::Console,
                How::Token | How::Open => AuditHow::Http,
            },
        }
    }

    pub(super) fn open(csrf: Arc<str>) -> Self {
        Self {
            name: OPEN.into(),
            scopes: Scopes::all(),
            partners: Partners::All,
            how: How::Open,
            csrf,
            request_id: None,
            surface: AuditHow::Http,
        }
    }

    /// The value of the field `csrf` that every form must send. A script sends it in the header `x-csrf-token`. It is checked before
    /// the handler runs.
    #[must_use]
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// The principal for an action of an operator, with its reason.
    #[must_use]
    pub fn authority(&self, reason: Option<String>) -> Authority {
        Authority {
            who: self.name.to_string(),
            how: self.surface,
            reason: reason.filter(|reason| !reason.trim().is_empty()),
            request_id: self.request_id.as_deref().map(str::to_owned),
        }
    }

    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// # Errors
    /// The principal lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(ApiError::Scope {
                name: self.name.clone(),
                scope,
            })
        }
    }

    /// # Errors
    /// The principal is for other partners only.
    pub fn require_partner(&self, partner: &str) -> Result<(), ApiError> {
        if self.partners.allow(partner) {
            Ok(())
        } else {
            Err(ApiError::OtherPartner {
                name: self.name.clone(),
            })
        }
    }

    /// # Errors
    /// The principal is for some partners only.
    pub fn require_all_partners(&self) -> Result<(), ApiError> {
        match self.partners {
            Partners::All => Ok(()),
            Partners::Only(_) => Err(ApiError::AllPartners {
                name: self.name.clone(),
            }),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    /// # Errors
    /// The route is not guarded.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or(ApiError::Unauthorized)
    }
}
