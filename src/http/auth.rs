//! Authentication by bearer token, if `http.token` is set.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::{Api, ApiError};
use crate::config::Secret;

/// The digest of a token. All digests have the same length, so comparing them does not reveal the token's length.
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &Secret) -> Self {
        Self::of_bytes(token.reveal().as_bytes())
    }

    fn of_bytes(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn matches(&self, token: &[u8]) -> bool {
        self.0.ct_eq(&Self::of_bytes(token).0).into()
    }
}

pub(super) async fn check(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let allowed = match &api.token {
        Some(expected) => bearer(request.headers()).is_some_and(|token| expected.matches(token)),
        None => true,
    };
    if allowed {
        Ok(next.run(request).await)
    } else {
        Err(ApiError::Unauthorized)
    }
}

/// None if the header occurs twice: a proxy may have checked the other one.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let value = value.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}
