//! Rejects what another site makes a browser send.
//!
//! A browser adds the cookie of a session to every request, and a worker without tokens needs none. So a request that changes
//! something must come from a page of the same host (`Origin`, or `Sec-Fetch-Site` without it), and name the CSRF token, which only
//! such a page knows: in the field `csrf` of a form, or in the header `x-csrf-token`. A bearer token needs none of that.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, Method, header};
use subtle::ConstantTimeEq;

use super::events::only;
use super::principal::{How, Principal};
use super::{Api, ApiError, body};
use crate::domain::id::clip;
use crate::store::AuditHow;

/// The media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";
const TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request may change something.
pub(super) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Rejects a request that another site may have caused. Returns the request, whose form was read.
pub(super) async fn check(
    api: &Arc<Api>,
    principal: &Principal,
    request: Request,
) -> Result<Request, ApiError> {
    match principal.how {
        How::Token => return Ok(request),
        How::Session(_) => check_host(api, request.headers())?,
        // Its host is checked for every request, and the origin of all that change something.
        How::Open => {}
    }
    if !is_unsafe(request.method()) {
        return Ok(request);
    }
    let is_form = is_form(request.headers());
    // Without tokens, programs on this machine send no CSRF token. Only pages accept forms, which other sites can send.
    if principal.how == How::Open && principal.surface != AuditHow::Console {
        return Ok(request);
    }
    check_origin(request.headers())?;
    let (request, given) = match only(request.headers(), &TOKEN)? {
        Some(token) => {
            let token = token.to_owned();
            (request, Some(token))
        }
        None if is_form => read_form(api, request).await?,
        None => (request, None),
    };
    let matches = given.is_some_and(|given| given.as_bytes().ct_eq(principal.csrf().as_bytes()).into());
    if matches { Ok(request) } else { Err(ApiError::Csrf) }
}

/// Checks the host of a request by a browser, which may be a name that another site has pointed at this worker.
pub(super) fn check_host(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = only(headers, &header::HOST)?.unwrap_or_default();
    if api.hosts.names(host) {
        Ok(())
    } else {
        Err(ApiError::UnknownHost(clip(host)))
    }
}

/// Checks that a page of the same host sends a request.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let host = only(headers, &header::HOST)?.unwrap_or_default();
    if let Some(origin) = only(headers, &header::ORIGIN)? {
        let of_origin = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        return match of_origin {
            Some(of_origin) if of_origin.eq_ignore_ascii_case(host) => Ok(()),
            _ => Err(ApiError::ForeignOrigin(clip(origin))),
        };
    }
    match only(headers, &SITE)? {
        Some("same-origin") => Ok(()),
        Some(site) => Err(ApiError::ForeignOrigin(clip(site))),
        None => Err(ApiError::header(
            "origin",
            "it is missing; browsers send it with forms",
        )),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let of_form = |value: &str| {
        let bare = value.split(';').next().unwrap_or_default();
        bare.trim().eq_ignore_ascii_case(FORM)
    };
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.to_str().is_ok_and(of_form))
}

/// Reads the form of a request, and returns the request as it was with the field `csrf`.
async fn read_form(api: &Arc<Api>, request: Request) -> Result<(Request, Option<String>), ApiError> {
    let (parts, body) = request.into_parts();
    let mut share = api.memory.share();
    let bytes = Bytes::from(body::receive(body, api.body_limit, &mut share).await?);
    let fields = fields(bytes.clone()).await?;
    let token = fields.into_iter().find(|(name, _)| name == "csrf");
    let body = Body::from(share.with(bytes));
    Ok((Request::from_parts(parts, body), token.map(|(_, token)| token)))
}

/// The fields of a form, in order.
pub(super) async fn fields(bytes: Bytes) -> Result<Vec<(String, String)>, ApiError> {
    let unreadable = |error: String| ApiError::Body(error);
    let form = Request::builder()
        .method(Method::POST)
        .header(header::CONTENT_TYPE, FORM)
        .body(Body::from(bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    let Form(fields) = Form::<Vec<(String, String)>>::from_request(form, &())
        .await
        .map_err(|error| unreadable(error.body_text()))?;
    Ok(fields)
}
