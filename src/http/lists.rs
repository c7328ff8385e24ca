//! Lists over all partners: clients by any of their fields, the partners of an account, partners, refusals.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::{page_size, services};
use super::error::QueryErrors;
use super::params::{Params, RawPath, RawQuery};
use super::{Api, ApiError, Principal, schema};
use crate::config::Partners;
use crate::domain::access::AccessStatus;
use crate::domain::id::{MAX_ID_CHARS, check_id};
use crate::domain::link::LinkStatus;
use crate::domain::view::{ClientView, Tab};
use crate::domain::{Id, Name, Refusal};
use crate::engine::{AccountPartner, ClientCounts, ListRequest, PartnerView, RefusalView, SearchRequest};
use crate::store::{EventPosition, ListPosition, RefusalFilter};

/// Longest source in a filter, in characters.
const MAX_SOURCE_CHARS: usize = 512;

const FLAG: [(&str, bool); 2] = [("true", true), ("false", false)];

/// A page of clients of all partners.
#[derive(Serialize, ToSchema)]
pub struct FoundPage {
    #[schema(value_type = Vec<schema::ClientView>)]
    clients: Vec<ClientView>,
    /// With `count=true`: how many clients match in all, whatever the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ClientCounts>)]
    counts: Option<ClientCounts>,
    /// The value of `after` for the next page; null on the last page. A page may have fewer clients than `limit`, or none,
    /// although others follow: a request reads a bounded number of clients.
    next: Option<String>,
}

/// A page of the partners of an account.
#[derive(Serialize, ToSchema)]
pub struct AccountPartnersPage {
    #[schema(value_type = Vec<schema::AccountPartner>)]
    partners: Vec<AccountPartner>,
    /// The value of `after` for the next page; null on the last page. A page may have fewer partners than `limit` although
    /// others follow: a request reads a bounded number of clients.
    next: Option<String>,
}

/// A page of partners, ordered by id.
#[derive(Serialize, ToSchema)]
pub struct PartnersPage {
    #[schema(value_type = Vec<schema::PartnerView>)]
    partners: Vec<PartnerView>,
    /// The value of `after` for the next page; null on the last page. A page may have fewer partners than `limit` although
    /// others follow: a request counts a bounded number of clients.
    next: Option<String>,
}

/// A page of refused events, ordered by time.
#[derive(Serialize, ToSchema)]
pub struct RefusalsPage {
    #[schema(value_type = Vec<schema::RefusalView>)]
    refusals: Vec<RefusalView>,
    /// The value of `after` for the next page; null on the last page. A page may have fewer refusals than `limit`, or none,
    /// although others follow.
    next: Option<String>,
}

/// Find clients of all partners
///
/// Clients come in the order of their partners and ids. With `name` they come in the order of their partners and names, with
/// `account` in the order of their partners, those known longest first, and with `prefix`, but without `partner`, `name` and
/// `account`, in the order of their ids.
#[utoipa::path(
    get,
    path = "/v1/clients",
    operation_id = "find_clients",
    tag = "lists",
    params(
        ("partner" = Option<schema::PartnerId>, Query, description = "Only clients of this partner"),
        ("prefix" = Option<schema::IdPrefix>, Query, description = "Only clients whose id begins with this"),
        ("name" = Option<schema::NamePart>, Query, description = "Only clients that hold a name with this part, compared \
                                                                    without regard to case, form and invisible characters"),
        ("link" = Option<LinkStatus>, Query, description = "Only clients with this link status"),
        ("service" = Option<schema::ServiceFilter>, Query, description = "Only clients with this service status; `all_active` matches \
                                                                               all clients that are not terminated"),
        ("access" = Option<AccessStatus>, Query, description = "Only clients with this access status"),
        ("tab" = Option<schema::Tab>, Query, description = "Only clients on this tab"),
        ("request" = Option<schema::OpenRequest>, Query, description = "Only clients whose partner has an open request for access"),
        ("expires_before" = Option<schema::Moment>, Query, description = "Only clients whose access expires before this moment"),
        ("billable" = Option<schema::YesOrNo>, Query, description = "Only clients that are billable, or that are not"),
        ("visible" = Option<schema::YesOrNo>, Query, description = "Only clients that dashboards show, or do not"),
        ("account" = Option<schema::HoldingId>, Query, description = "Only clients with this account"),
        ("count" = Option<schema::YesOrNo>, Query, description = "Also count all clients that match, by status: up to 10,000 are \
                                                                  examined"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::ListPosition>, Query, description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of clients", body = FoundPage),
        QueryErrors,
    )
)]
pub(super) async fn clients(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<FoundPage>, ApiError> {
    let mut params = Params::of(query)?;
    let limit = page_size(&mut params)?;
    let after = list_position(&mut params)?;
    let request = search_request(&mut params)?;
    let is_counted = params.choice("count", FLAG)?.unwrap_or(false);
    params.finish()?;
    let (found, counts) = api
        .run_detached(move |engine| async move {
            let found = engine.search(&request, after.as_ref(), limit).await?;
            let counts = if is_counted {
                Some(engine.count(&request, None).await?.0)
            } else {
                None
            };
            Ok((found, counts))
        })
        .await?;
    Ok(Json(FoundPage {
        clients: found.clients,
        counts,
        next: found.next.map(|next| next.to_string()),
    }))
}

pub(crate) fn search_request(params: &mut Params) -> Result<SearchRequest, ApiError> {
    let partner = params.partner()?;
    let name = params.text("name")?.map(Name::try_from).transpose();
    Ok(SearchRequest {
        id_prefix: prefix(params)?,
        name: name.map_err(|reason| ApiError::parameter("name", reason))?,
        name_prefix: None,
        list: ListRequest {
            partner,
            link: params.choice("link", LinkStatus::ALL.map(|status| (status.as_str(), status)))?,
            service: params.choice("service", services())?,
            access: params.choice(
                "access",
                AccessStatus::ALL.map(|status| (status.as_str(), status)),
            )?,
            tab: params.choice("tab", Tab::ALL.map(|tab| (tab.as_str(), tab)))?,
            after: None,
            limit: None,
        },
        request_open: params.choice("request", [("open", true)])?.unwrap_or(false),
        expires_before: params.moment("expires_before")?,
        billable: params.choice("billable", FLAG)?,
        visible: params.choice("visible", FLAG)?,
        account: params
            .text("account")?
            .map(|account| Id::try_from(account).map_err(|reason| ApiError::parameter("account", reason)))
            .transpose()?,
    })
}

/// The beginning of an id, which may be `.` or `..`.
fn prefix(params: &mut Params) -> Result<Option<String>, ApiError> {
    let Some(prefix) = params.text("prefix")? else {
        return Ok(None);
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "._~:@-".contains(c);
    if prefix.len() <= MAX_ID_CHARS && prefix.chars().all(fits) {
        Ok(Some(prefix))
    } else {
        Err(ApiError::parameter(
            "prefix",
            format!("expected 1 to {MAX_ID_CHARS} of the characters A-Z a-z 0-9 . _ ~ : @ -"),
        ))
    }
}

pub(crate) fn list_position(params: &mut Params) -> Result<Option<ListPosition>, ApiError> {
    let Some(after) = params.text("after")? else {
        return Ok(None);
    };
    let expected = || ApiError::parameter("after", "expected `next` of the previous page");
    let (partner, place) = after.split_once('/').ok_or_else(expected)?;
    check_id("partner", partner).map_err(|_| expected())?;
    if place.is_empty() || place.contains('\0') {
        return Err(expected());
    }
    Ok(Some(ListPosition {
        partner: partner.to_owned(),
        place: place.to_owned(),
    }))
}

/// List the partners that have a client for an account
///
/// For each partner: whether it is connected, until when it has access, and whether its request for access is open.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/partners",
    operation_id = "list_partners_of_account",
    tag = "lists",
    params(
        (
            "account" = String, Path, min_length = 1, max_length = 200, pattern = r"^(?!\.{1,2}$)[\s\S]+$",
            description = "The id of the account in the account app, but not . or .., which a path cannot contain"
        ),
        ("partner" = Option<schema::PartnerId>, Query, description = "Only this partner"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::ListPosition>, Query, description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of partners; empty for an unknown account", body = AccountPartnersPage),
        QueryErrors,
    )
)]
pub(super) async fn account(
    State(api): State<Arc<Api>>,
    path: RawPath<String>,
    query: RawQuery,
) -> Result<Json<AccountPartnersPage>, ApiError> {
    let account = path
        .map_err(|error| ApiError::parameter("path", error.body_text()))?
        .0;
    let account = Id::try_from(account).map_err(|reason| ApiError::parameter("account", reason))?;
    let mut params = Params::of(query)?;
    let partner = params.partner()?;
    let limit = page_size(&mut params)?;
    let after = list_position(&mut params)?;
    params.finish()?;
    let (partners, next) = api
        .run_detached(move |engine| async move {
            let partners = engine.partners_of_account(&account, partner, after.as_ref(), limit);
            partners.await
        })
        .await?;
    Ok(Json(AccountPartnersPage {
        partners,
        next: next.map(|next| next.to_string()),
    }))
}

/// List the partners, with the number of their clients by status
///
/// Counts the stored statuses: access whose time is over counts as enabled until a sweep expires it.
#[utoipa::path(
    get,
    path = "/v1/partners",
    operation_id = "list_partners",
    tag = "lists",
    params(
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::PartnerId>, Query, description = "Only partners after this id: `next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of partners", body = PartnersPage),
        QueryErrors,
    )
)]
pub(super) async fn partners(
    State(api): State<Arc<Api>>,
    principal: Principal,
    query: RawQuery,
) -> Result<Json<PartnersPage>, ApiError> {
    let mut params = Params::of(query)?;
    let limit = u32::try_from(page_size(&mut params)?).unwrap_or(u32::MAX);
    let after = params.text("after")?;
    if let Some(after) = &after {
        check_id("partner", after).map_err(|reason| ApiError::parameter("after", reason))?;
    }
    params.finish()?;
    let (partners, next) = api
        .run_detached(move |engine| async move {
            let after = after.as_deref();
            match principal.partners {
                Partners::All => engine.partners(after, limit).await,
                Partners::Only(partners) => engine.partners_among(&partners, after, limit).await,
            }
        })
        .await?;
    Ok(Json(PartnersPage { partners, next }))
}

/// List refused events, the newest first
#[utoipa::path(
    get,
    path = "/v1/refusals",
    operation_id = "list_refusals",
    tag = "lists",
    params(
        ("code" = Option<schema::RefusalCode>, Query, description = "Only events that were refused with this code"),
        ("source" = Option<schema::SourceName>, Query, description = "Only events of this source"),
        ("from" = Option<schema::Moment>, Query, description = "Only events at or after this moment"),
        ("until" = Option<schema::Moment>, Query, description = "Only events before this moment"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::RefusalPosition>, Query, description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of refused events", body = RefusalsPage),
        QueryErrors,
    )
)]
pub(super) async fn refusals(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<RefusalsPage>, ApiError> {
    let mut params = Params::of(query)?;
    let limit = u32::try_from(page_size(&mut params)?).unwrap_or(u32::MAX);
    let after = params.text("after")?.map(|after| {
        let after = after.parse::<EventPosition>();
        after.map_err(|reason| ApiError::parameter("after", reason))
    });
    let after = after.transpose()?;
    let source = params.text("source")?;
    if source
        .as_ref()
        .is_some_and(|source| source.chars().count() > MAX_SOURCE_CHARS)
    {
        let reason = format!("expected at most {MAX_SOURCE_CHARS} characters");
        return Err(ApiError::parameter("source", reason));
    }
    let filter = RefusalFilter {
        code: params.choice("code", Refusal::ALL.iter().map(|code| (code.code(), *code)))?,
        source: source.map(|source| source.replace('\0', "")),
        from: params.moment("from")?,
        until: params.moment("until")?,
    };
    params.finish()?;
    let (refusals, next) = api
        .run_detached(move |engine| async move { engine.refusals(&filter, after.as_ref(), limit).await })
        .await?;
    Ok(Json(RefusalsPage {
        refusals,
        next: next.map(|next| next.to_string()),
    }))
}
