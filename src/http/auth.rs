//! Authentication: finds the [`Principal`] of a request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::principal::{How, Principal};
use super::sessions::Peer;
use super::{Api, ApiError, cross_site, sessions, sign_in};
use crate::config::AccessToken;
use crate::store::AuditHow;

/// The configured tokens.
pub(super) struct Tokens(Vec<(Digest, AccessToken)>);

impl Tokens {
    pub(super) fn of(tokens: &[AccessToken]) -> Self {
        let digest = |token: &AccessToken| (Digest::of(token.secret.reveal().as_bytes()), token.clone());
        Self(tokens.iter().map(digest).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token with this text. It compares with every token, so that the time does not depend on which one it is.
    pub(super) fn find(&self, given: &[u8]) -> Option<&AccessToken> {
        let given = Digest::of(given);
        let mut found = None;
        for (digest, token) in &self.0 {
            if digest.matches(&given) {
                found = Some(token);
            }
        }
        found
    }

    pub(super) fn named(&self, name: &str) -> Option<&AccessToken> {
        let mut tokens = self.0.iter().map(|(_, token)| token);
        tokens.find(|token| &*token.name == name)
    }
}

/// The digest of a token. All digests have the same length, so comparing them does not reveal the token's length.
struct Digest([u8; 32]);

impl Digest {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Adds the principal to a request of the API, or rejects it.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let principal = principal(&api, request.headers()).await;
    let principal = principal.inspect_err(|error| note_wrong_token(&api, &request, error))?;
    let request = cross_site::check(&api, &principal, request).await?;
    Ok(next.run(with(&api, request, principal)).await)
}

/// Adds the principal to a request for a page. A browser without a session is sent to the sign-in.
pub(super) async fn check_page(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    cross_site::check_host(&api, request.headers())?;
    let found = principal(&api, request.headers()).await;
    let mut principal = match found.inspect_err(|error| note_wrong_token(&api, &request, error)) {
        Err(ApiError::Unauthorized) => return sign_in::instead_of(&request),
        found => found?,
    };
    principal.surface = AuditHow::Console;
    let request = cross_site::check(&api, &principal, request).await?;
    let reader = principal.clone();
    let mut response = next.run(with(&api, request, principal)).await.into_response();
    // The page of an error offers what the reader may see.
    response.extensions_mut().insert(reader);
    Ok(response)
}

/// Notes a wrong token in the header. A request without the header is usually that of a browser whose session has ended.
fn note_wrong_token(api: &Api, request: &Request, error: &ApiError) {
    if matches!(error, ApiError::Unauthorized) && request.headers().contains_key(header::AUTHORIZATION) {
        api.throttle
            .reject(Peer::of(request.extensions()), Instant::now());
    }
}

/// Adds the principal, and what limits the rate of its actions.
fn with(api: &Api, mut request: Request, mut principal: Principal) -> Request {
    let id = request.headers().get(super::server::REQUEST_ID);
    principal.request_id = id
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.len() <= LONGEST_REQUEST_ID)
        .map(Into::into);
    request.extensions_mut().insert(principal);
    request.extensions_mut().insert(api.throttle.clone());
    request
}

/// The longest `x-request-id` that the audit log records, in bytes.
const LONGEST_REQUEST_ID: usize = 200;

/// The header `authorization` decides alone, if there is one.
pub(super) async fn principal(api: &Arc<Api>, headers: &HeaderMap) -> Result<Principal, ApiError> {
    if api.tokens.is_empty() {
        return Ok(Principal::open(api.csrf.clone()));
    }
    if headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(headers).and_then(|token| api.tokens.find(token));
        let token = token.ok_or(ApiError::Unauthorized)?;
        return Ok(Principal::of_token(token, How::Token));
    }
    sessions::principal(api, headers)
        .await?
        .ok_or(ApiError::Unauthorized)
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
