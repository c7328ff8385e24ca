//! What each route requires of a principal. A route is registered together with its requirement, so that none lacks one.
//!
//! A token for some partners sees and does only theirs. How a route holds to that is its [`Reach`]; where the path or the query
//! names the partner, it is checked here.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::RequestExt;
use axum::Router;
use axum::extract::{Query, RawPathParams, Request};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::MethodRouter;
use tokio::time::Instant;
use utoipa::IntoResponses as _;
use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::error::ActionErrors;
use super::principal::Principal;
use super::sessions::Peer;
use super::throttle::{Admission, Throttle};
use super::{Api, ApiError, Said, cross_site};
use crate::config::{Partners, Scope};

/// The most partners that an error names.
const MOST_NAMED: usize = 20;

/// What a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub scope: Scope,
    pub reach: Reach,
}

/// Which partners a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None: the response is the same for every principal.
    Nobody,
    /// That of the parameter `partner` in the path.
    InPath,
    /// That of the parameter `partner` in the query, or all without it. A principal for one partner may omit it; one for several
    /// must name one of them.
    InQuery,
    /// The handler takes the [`Principal`] and checks each partner itself.
    InHandler,
    /// All: a principal for some partners is rejected.
    All,
}

impl Needs {
    #[must_use]
    pub const fn new(scope: Scope, reach: Reach) -> Self {
        Self { scope, reach }
    }

    /// Checks a request, and limits its query to the principal's partners.
    async fn check(self, request: &mut Request) -> Result<(), ApiError> {
        let principal = request.extensions().get::<Principal>();
        let principal = principal.cloned().ok_or(ApiError::Unauthorized)?;
        principal.require(self.scope)?;
        if let Partners::Only(partners) = &principal.partners {
            match self.reach {
                Reach::Nobody | Reach::InHandler => {}
                Reach::All => principal.require_all_partners()?,
                Reach::InPath => check_path(&principal, request).await?,
                Reach::InQuery => check_query(&principal, partners, request)?,
            }
        }
        if self.scope == Scope::Operate && cross_site::is_unsafe(request.method()) {
            limit_rate(request)?;
        }
        Ok(())
    }
}

/// Limits the rate of actions from an address that has sent wrong tokens.
fn limit_rate(request: &Request) -> Result<(), ApiError> {
    let throttle = request.extensions().get::<Arc<Throttle>>();
    let throttle = throttle.ok_or_else(|| ApiError::Internal("a guarded route has no throttle".into()))?;
    let peer = Peer::of(request.extensions());
    match throttle.admit(peer, Instant::now()) {
        Admission::Granted => Ok(()),
        Admission::Refused { is_first } => {
            if is_first {
                tracing::warn!(http.peer = %peer, "actions from an address with many wrong tokens are limited");
            }
            Err(ApiError::TooManyActions)
        }
    }
}

async fn check_path(principal: &Principal, request: &mut Request) -> Result<(), ApiError> {
    let params: RawPathParams = request
        .extract_parts()
        .await
        .map_err(|_| ApiError::parameter("path", "it is not valid UTF-8"))?;
    let partner = params.iter().find(|(name, _)| *name == "partner");
    let (_, partner) =
        partner.ok_or_else(|| ApiError::Internal("the path of a route has no partner".into()))?;
    principal.require_partner(partner)
}

/// `partners`: those of the principal. If it is one, an absent parameter stands for it.
fn check_query(
    principal: &Principal,
    partners: &BTreeSet<String>,
    request: &mut Request,
) -> Result<(), ApiError> {
    let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
        .map_err(|error| ApiError::parameter("query", error.body_text()))?;
    let mut is_named = false;
    for (_, partner) in given.iter().filter(|(name, _)| name == "partner") {
        principal.require_partner(partner)?;
        is_named = true;
    }
    if is_named {
        return Ok(());
    }
    // `{partner}/{client}`: the handler rejects a client of another partner than `partner`.
    let of_client = given.iter().find(|(name, _)| name == "client");
    let of_client = of_client.and_then(|(_, client)| client.split_once('/'));
    let partner = match of_client {
        Some((partner, _)) => {
            principal.require_partner(partner)?;
            partner
        }
        None => only(partners)?,
    };
    *request.uri_mut() = with_partner(request.uri(), partner)?;
    Ok(())
}

/// The only partner of a principal, or which of several to choose from.
fn only(partners: &BTreeSet<String>) -> Result<&str, ApiError> {
    let mut named = partners.iter().map(String::as_str);
    if let (Some(only), None) = (named.next(), named.next()) {
        return Ok(only);
    }
    let named: Vec<&str> = partners.iter().take(MOST_NAMED).map(String::as_str).collect();
    let others = match partners.len() - named.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let reason = format!(
        "it is missing, and the token is for several partners; name one of them: {}{others}",
        named.join(", ")
    );
    Err(ApiError::parameter("partner", reason))
}

/// Adds the parameter to a URI. The characters of an id stand for themselves in a query.
fn with_partner(uri: &Uri, partner: &str) -> Result<Uri, ApiError> {
    let target = match uri.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{}?{query}&partner={partner}", uri.path()),
        None => format!("{}?partner={partner}", uri.path()),
    };
    target
        .parse()
        .map_err(|error: axum::http::uri::InvalidUri| ApiError::parameter("query", error))
}

async fn enforce(needs: Needs, mut request: Request, next: Next) -> Result<Response, ApiError> {
    needs.check(&mut request).await?;
    Ok(next.run(request).await)
}

/// Adds the check to each method of a path.
fn guard(needs: Needs, methods: MethodRouter<Arc<Api>>) -> MethodRouter<Arc<Api>> {
    methods.route_layer(from_fn(move |request: Request, next: Next| {
        enforce(needs, request, next)
    }))
}

/// Routes of the API, for the router and the OpenAPI document.
pub(super) struct Routes {
    routes: OpenApiRouter<Arc<Api>>,
    table: Vec<(String, Needs)>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            routes: OpenApiRouter::new(),
            table: Vec::new(),
        }
    }

    pub(super) fn add(mut self, scope: Scope, reach: Reach, routes: UtoipaMethodRouter<Arc<Api>>) -> Self {
        let needs = Needs::new(scope, reach);
        let (schemas, mut paths, methods) = routes;
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                operation.security = Some(security(scope));
                if scope == Scope::Operate {
                    operation.responses.responses.extend(ActionErrors::responses());
                }
                self.table.push((format!("{method} {path}"), needs));
            }
        }
        self.routes = self.routes.routes((schemas, paths, guard(needs, methods)));
        self
    }

    /// The routes without their table.
    pub(super) fn into_routes(self) -> OpenApiRouter<Arc<Api>> {
        self.routes
    }

    /// What each route requires, by method and path.
    pub(super) fn into_table(self) -> Vec<(String, Needs)> {
        self.table
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("PATCH", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The token, the session, or nothing if the worker has no tokens.
fn security(scope: Scope) -> Vec<SecurityRequirement> {
    vec![
        SecurityRequirement::new("token", [scope.as_str()]),
        SecurityRequirement::new("session", [scope.as_str()]),
        SecurityRequirement::default(),
    ]
}

/// Routes of pages, which `/openapi.json` does not list.
#[derive(Default)]
pub struct Pages {
    guarded: Router<Arc<Api>>,
    open: Router<Arc<Api>>,
    table: Vec<(String, Needs)>,
    /// The paths of open files.
    files: Vec<String>,
    errors: Option<ErrorPage>,
}

/// Renders an error as a page for whoever sent the request, if that is known.
pub type ErrorPage = fn(StatusCode, &Said, Option<&Principal>) -> Response;

impl Pages {
    /// Adds a page, or an action that its forms send. The handler may take the [`Principal`].
    #[must_use]
    pub fn add(mut self, path: &str, scope: Scope, reach: Reach, methods: MethodRouter<Arc<Api>>) -> Self {
        let needs = Needs::new(scope, reach);
        self.table.push((path.to_owned(), needs));
        self.guarded = self.guarded.route(path, guard(needs, methods));
        self
    }

    /// Adds a file that everyone may get, such as a style sheet. It must reveal nothing.
    #[must_use]
    pub fn add_open(mut self, path: &str, methods: MethodRouter<Arc<Api>>) -> Self {
        self.files.push(path.to_owned());
        self.open = self.open.route(path, methods);
        self
    }

    /// Shows browsers errors as pages, instead of as JSON.
    #[must_use]
    pub fn with_errors(mut self, errors: ErrorPage) -> Self {
        self.errors = Some(errors);
        self
    }

    /// The paths of the files that everyone may get.
    pub(super) fn files(&self) -> &[String] {
        &self.files
    }

    pub(super) fn errors(&self) -> Option<ErrorPage> {
        self.errors
    }

    /// What each page and action requires, by path.
    #[must_use]
    pub fn table(&self) -> &[(String, Needs)] {
        &self.table
    }

    pub(super) fn guarded(&self) -> Router<Arc<Api>> {
        self.guarded.clone()
    }

    pub(super) fn open(&self) -> Router<Arc<Api>> {
        self.open.clone()
    }
}
