//! Endpoints about clients: a partner's clients, one client at any moment, its journal, the holder of a name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, client_key, partner, partner_and};
use super::{Api, ApiError, schema};
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::{ClientView, Tab};
use crate::domain::{ClientKey, Name};
use crate::engine::{JournalLine, ListRequest, ServiceFilter};
use crate::store::NameClaim;

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;

/// A page of a partner's clients, ordered by id.
#[derive(Serialize, ToSchema)]
pub struct ClientsPage {
    #[schema(value_type = Vec<schema::ClientView>)]
    clients: Vec<ClientView>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// A page of a client's journal, oldest first.
#[derive(Serialize, ToSchema)]
pub struct JournalPage {
    #[schema(value_type = Vec<schema::JournalLine>)]
    journal: Vec<JournalLine>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<i64>,
}

/// List a partner's clients
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients",
    operation_id = "list_clients_of_partner",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path, description = "1 to 128 of the characters A-Z a-z 0-9 . _ ~ : @ -, but not . or .."),
        ("link" = Option<LinkStatus>, Query, description = "Only clients with this link status"),
        ("service" = Option<schema::ServiceFilter>, Query, description = "Only clients with this service status; `all_active` matches \
                                                                               all clients that are not terminated"),
        ("access" = Option<AccessStatus>, Query, description = "Only clients with this access status"),
        ("tab" = Option<schema::Tab>, Query, description = "Only clients on this tab: `active` has the connected \
                                                       clients, `inactive` all others; deleted clients are on no tab"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::ClientId>, Query, description = "Only clients after this id: `next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of clients; empty for an unknown partner", body = ClientsPage),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    path: RawPath<String>,
    query: RawQuery,
) -> Result<Json<ClientsPage>, ApiError> {
    let partner = partner(path)?;
    let mut params = Params::of(query)?;
    let limit = page_size(&mut params)?;
    let after = params
        .text("after")?
        .map(|client| {
            ClientKey::new(&partner, &client).map_err(|reason| ApiError::parameter("after", reason))
        })
        .transpose()?;
    let request = ListRequest {
        partner: Some(partner),
        link: params.choice("link", LinkStatus::ALL.map(|status| (status.as_str(), status)))?,
        service: params.choice("service", services())?,
        access: params.choice(
            "access",
            AccessStatus::ALL.map(|status| (status.as_str(), status)),
        )?,
        tab: params.choice("tab", Tab::ALL.map(|tab| (tab.as_str(), tab)))?,
        after,
        // One more than the page holds, to know whether there is a next page.
        limit: Some(limit + 1),
    };
    params.finish()?;
    let mut clients = api
        .run_detached(|engine| async move { engine.clients(&request).await })
        .await?;
    let more = clients.len() > limit;
    clients.truncate(limit);
    let next = clients
        .last()
        .filter(|_| more)
        .map(|client| client.client.clone());
    Ok(Json(ClientsPage { clients, next }))
}

/// The service statuses, and `all_active` for all that are not terminated (001).
pub(crate) fn services() -> impl Iterator<Item = (&'static str, ServiceFilter)> {
    ServiceStatus::ALL
        .into_iter()
        .map(|status| (status.as_str(), ServiceFilter::Is(status)))
        .chain([("all_active", ServiceFilter::AllActive)])
}

/// Get a client, now or at any other moment
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}",
    operation_id = "get_client",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("at" = Option<schema::Moment>, Query, description = "The moment, past or future, in RFC 3339; default now"),
    ),
    responses(
        (status = 200, description = "The client", body = schema::ClientView),
        (status = 404, description = "The client does not exist, or did not exist at that moment", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<ClientView>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let at = params.moment("at")?;
    params.finish()?;
    let asked = key.clone();
    api.run_detached(move |engine| async move { engine.client(&asked, at).await })
        .await?
        .map(Json)
        .ok_or(ApiError::UnknownClient(key))
}

/// Get a client's journal: what changed and why
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/journal",
    operation_id = "get_journal",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("after" = Option<schema::Number>, Query, description = "Only lines after this sequence number"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "A page of the journal, oldest first", body = JournalPage),
        (status = 404, description = "The client does not exist", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn journal(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<JournalPage>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let after = params.number("after", 0, i64::MAX)?.unwrap_or(0);
    let limit = page_size(&mut params)?;
    params.finish()?;
    let asked = key.clone();
    let lines = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let (known, mut journal) = api
        .run_detached(move |engine| async move {
            let journal = engine.journal(&asked, after, lines).await?;
            // An empty page is the end of a journal, or the client does not exist.
            let known = !journal.is_empty() || engine.client(&asked, None).await?.is_some();
            Ok((known, journal))
        })
        .await?;
    if !known {
        return Err(ApiError::UnknownClient(key));
    }
    let more = journal.len() > limit;
    journal.truncate(limit);
    let next = journal.last().filter(|_| more).map(|line| line.sequence);
    Ok(Json(JournalPage { journal, next }))
}

/// A name, and the client that holds it.
#[derive(Serialize, ToSchema)]
pub struct NameHolder {
    /// The id of the client; null if the name is free.
    client: Option<String>,
}

/// Get the client that holds a name
///
/// Names are compared without regard to case, form and invisible characters. Another client may claim a free name before an
/// event with it arrives.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/names/{name}",
    operation_id = "get_name_holder",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        (
            "name" = String, Path, max_length = 200, pattern = r"^(?!\.{1,2}$)[\s\S]*\S[\s\S]*$",
            description = "At least one visible character, but not . or .., which a path cannot contain"
        ),
    ),
    responses(
        (status = 200, description = "The client that holds the name, if any", body = NameHolder),
        QueryErrors,
    )
)]
pub(super) async fn name(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<NameHolder>, ApiError> {
    let (partner, name) = partner_and(path)?;
    let name = Name::try_from(name).map_err(|reason| ApiError::parameter("name", reason))?;
    Params::of(query)?.finish()?;
    let claim = NameClaim {
        partner: partner.into(),
        name_key: name.key(),
    };
    let holder = api
        .run_detached(move |engine| async move { engine.store().holder(&claim).await })
        .await?;
    Ok(Json(NameHolder {
        client: holder.map(|key| key.client.to_string()),
    }))
}

pub(super) fn page_size(params: &mut Params) -> Result<usize, ApiError> {
    let limit = params.number("limit", 1, MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}
