//! Lists over all partners: clients by any of their fields, the partners of an account, partners, refusals. Each call does a
//! bounded amount of work, so a page may be shorter than its limit although others follow. `client_counts.rs` counts clients.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use super::read::{ListRequest, ServiceFilter, present};
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::time::{serialize, serialize_optional};
use crate::domain::view::ClientView;
use crate::domain::{Actor, ClientKey, Id, Name, Policies};
use crate::store::{
    ClientSearch, EventPosition, Facets, ListPosition, RefusalFilter, Refused, StoreError, Stored,
};

/// The number of rows of an index that one walk reads at most.
pub const WALK: u32 = 5_000;
/// The number of clients that are read at a time. Documents may be large.
const READ: u32 = 250;
/// The number of clients that one call counts, after which it returns the partners so far.
const COUNTED: i64 = 100_000;
/// The number of partners whose clients one call walks.
pub(super) const MOST_WALKS: usize = 50;
/// The place in a position that says: all clients of this partner were returned. No client has this place: ids are ASCII, and names
/// are compared in lower case.
const PAST_ALL: &str = "\u{10ffff}A";

/// Which clients to find, over all partners. A client must match every given field.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    /// Without its `after` and `limit`.
    pub list: ListRequest,
    /// The beginning of the client's id.
    pub id_prefix: Option<String>,
    /// A part of the name that the client holds, compared as names are.
    pub name: Option<Name>,
    /// The beginning of that name.
    pub name_prefix: Option<Name>,
    /// The partner's request for access is open.
    pub request_open: bool,
    /// Access expires before this moment.
    pub expires_before: Option<DateTime<Utc>>,
    pub billable: Option<bool>,
    pub visible: Option<bool>,
    pub account: Option<Id>,
}

/// A page of clients.
#[derive(Clone, Debug, Default)]
pub struct ClientsFound {
    pub clients: Vec<ClientView>,
    /// Where to continue. None: there are no others.
    pub next: Option<ListPosition>,
}

impl ClientsFound {
    /// Whether there are clients, and the names of all of them begin with this.
    #[must_use]
    pub fn all_begin_with(&self, prefix: &Name) -> bool {
        let prefix = prefix.key();
        let begins = |client: &ClientView| name_key(client).is_some_and(|key| key.starts_with(&prefix));
        !self.clients.is_empty() && self.clients.iter().all(begins)
    }
}

/// The name of a client, as names are compared.
fn name_key(client: &ClientView) -> Option<String> {
    let name = client.name.clone().and_then(|name| Name::try_from(name).ok());
    name.map(|name| name.key())
}

/// A partner, and the number of its clients by facet and status.
#[derive(Clone, Debug, Serialize)]
pub struct PartnerView {
    pub partner: String,
    #[serde(flatten)]
    pub facets: Facets,
}

/// A partner that has a client for an account.
#[derive(Clone, Debug, Serialize)]
pub struct AccountPartner {
    pub partner: String,
    pub client: String,
    pub name: Option<String>,
    pub link: Option<LinkStatus>,
    pub connected: bool,
    pub access: AccessStatus,
    #[serde(serialize_with = "serialize_optional")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When the partner requested access, while the request is open.
    #[serde(serialize_with = "serialize_optional")]
    pub access_request: Option<DateTime<Utc>>,
}

/// A refused event in its public form.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalView {
    pub subject: String,
    pub source: Arc<str>,
    pub id: Arc<str>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it happened, according to its source.
    #[serde(serialize_with = "serialize")]
    pub time: DateTime<Utc>,
    /// When Tenure received it.
    #[serde(serialize_with = "serialize")]
    pub received: DateTime<Utc>,
    pub code: &'static str,
    /// The code in a sentence.
    pub reason: &'static str,
    #[serde(flatten)]
    pub actor: Actor,
}

impl Engine {
    /// Clients that match, after a position, at most `limit`, as they are now.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn search(
        &self,
        request: &SearchRequest,
        after: Option<&ListPosition>,
        limit: usize,
    ) -> Result<ClientsFound, StoreError> {
        if request.list.contradicts_itself() {
            return Ok(ClientsFound::default());
        }
        let mut found = ClientsFound::default();
        let mut last = None;
        found.next = self
            .walk(request, after, WALK, |view, position| {
                if found.clients.len() == limit {
                    return ControlFlow::Break(last.clone());
                }
                found.clients.push(view);
                last = Some(position);
                ControlFlow::Continue(())
            })
            .await?;
        Ok(found)
    }

    /// As [`Engine::search`], only of partners that are in a set.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn search_among(
        &self,
        request: &SearchRequest,
        among: &BTreeSet<String>,
        after: Option<&ListPosition>,
        limit: usize,
    ) -> Result<ClientsFound, StoreError> {
        let from = after.map_or(Bound::Unbounded, |after| {
            if after.place == PAST_ALL {
                Bound::Excluded(after.partner.as_str())
            } else {
                Bound::Included(after.partner.as_str())
            }
        });
        let mut found = ClientsFound::default();
        let mut partners = among.range::<str, _>((from, Bound::Unbounded)).peekable();
        for walks in 1.. {
            let Some(partner) = partners.next() else { break };
            let of_partner = request.of_partner(partner);
            let after = after.filter(|after| after.partner == *partner);
            let left = limit - found.clients.len();
            let page = self.search(&of_partner, after, left).await?;
            found.clients.extend(page.clients);
            found.next = page.next;
            if found.next.is_some() {
                break;
            }
            if partners.peek().is_some() && (found.clients.len() == limit || walks == MOST_WALKS) {
                found.next = Some(ListPosition {
                    partner: partner.clone(),
                    place: PAST_ALL.to_owned(),
                });
                break;
            }
        }
        Ok(found)
    }

    /// Passes the clients that match to `visit`, from a position on, among those of `rows` rows. Returns the position at which it
    /// broke, or the one where the walk ended. None: there are no others.
    pub(super) async fn walk(
        &self,
        request: &SearchRequest,
        after: Option<&ListPosition>,
        rows: u32,
        mut visit: impl FnMut(ClientView, ListPosition) -> ControlFlow<Option<ListPosition>> + Send,
    ) -> Result<Option<ListPosition>, StoreError> {
        let search = request.search();
        let upto = match &request.account {
            Some(_) => None,
            None => self.store.end_of_walk(&search, after, rows).await?,
        };
        let policies = self.policies().await?;
        let mut reached = after.cloned();
        let mut of_account = 0;
        loop {
            let page = match &request.account {
                Some(account) => self.of_account(account, request, reached.as_ref()).await?,
                None => {
                    self.store
                        .search(&search, reached.as_ref(), upto.as_ref(), READ)
                        .await?
                }
            };
            let is_last = page.len() < READ as usize;
            for stored in page {
                let position = search.position(&stored);
                reached = Some(position.clone());
                let view = self.view_now(&stored, &policies).await?;
                if request.matches(&view)
                    && let ControlFlow::Break(next) = visit(view, position)
                {
                    return Ok(next);
                }
            }
            if is_last {
                return Ok(upto);
            }
            of_account += READ;
            if request.account.is_some() && of_account >= rows {
                return Ok(reached);
            }
        }
    }

    /// The partners that have a client for an account, or only one of them, after a client, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn partners_of_account(
        &self,
        account: &Id,
        partner: Option<String>,
        after: Option<&ListPosition>,
        limit: usize,
    ) -> Result<(Vec<AccountPartner>, Option<ListPosition>), StoreError> {
        let request = SearchRequest {
            account: Some(account.clone()),
            list: ListRequest {
                partner,
                ..ListRequest::default()
            },
            ..SearchRequest::default()
        };
        let found = self.search(&request, after, limit).await?;
        let partners = found.clients.into_iter().map(AccountPartner::from);
        Ok((partners.collect(), found.next))
    }

    /// Partners after another, at most `limit`, with the number of their clients by status. A timer that has not fired yet does
    /// not count. The second value: where to continue.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn partners(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<PartnerView>, Option<String>), StoreError> {
        let names = self.store.partners(after, limit.saturating_add(1)).await?;
        self.count_partners(names, limit).await
    }

    /// As [`Engine::partners`], only of those that are in a set.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn partners_among(
        &self,
        among: &BTreeSet<String>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<PartnerView>, Option<String>), StoreError> {
        let names = among.iter().filter(|partner| Some(partner.as_str()) > after);
        let (mut partners, next) = self.count_partners(names.cloned().collect(), limit).await?;
        partners.retain(|partner| partner.facets.clients > 0);
        Ok((partners, next))
    }

    async fn count_partners(
        &self,
        names: Vec<String>,
        limit: u32,
    ) -> Result<(Vec<PartnerView>, Option<String>), StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut partners, mut counted) = (Vec::new(), 0);
        let count = names.len();
        for partner in names.into_iter().take(limit) {
            let facets = self.store.facets(&partner).await?;
            counted += facets.clients;
            partners.push(PartnerView { partner, facets });
            if counted >= COUNTED {
                break;
            }
        }
        let next = partners.last().filter(|_| partners.len() < count);
        let next = next.map(|last| last.partner.clone());
        Ok((partners, next))
    }

    /// Refused events, the newest first, before a position, at most `limit`. The second value: where to continue.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn refusals(
        &self,
        filter: &RefusalFilter,
        before: Option<&EventPosition>,
        limit: u32,
    ) -> Result<(Vec<RefusalView>, Option<EventPosition>), StoreError> {
        let page = self.store.refusals(filter, before, WALK, limit).await?;
        let refused = page.refused.into_iter().map(RefusalView::from);
        Ok((refused.collect(), page.next))
    }

    async fn of_account(
        &self,
        account: &Id,
        request: &SearchRequest,
        after: Option<&ListPosition>,
    ) -> Result<Vec<Stored>, StoreError> {
        let after = after.map(|after| ClientKey {
            partner: after.partner.as_str().into(),
            client: after.place.as_str().into(),
        });
        self.store
            .clients_of_account(account, request.list.partner.as_deref(), after.as_ref(), READ)
            .await
    }

    async fn view_now(&self, stored: &Stored, policies: &Policies) -> Result<ClientView, StoreError> {
        let client = stored.client(policies);
        let moment = present(&client, self.now());
        let client = self.at_moment(&stored.key, client, moment, policies).await?;
        Ok(ClientView::of(
            &stored.key,
            &client,
            stored.version,
            moment,
            policies,
        ))
    }
}

impl SearchRequest {
    /// The same of one partner.
    #[must_use]
    pub fn of_partner(&self, partner: &str) -> Self {
        let mut request = self.clone();
        request.list.partner = Some(partner.to_owned());
        request
    }

    /// What the store can select by: a part of what [`SearchRequest::matches`] requires.
    fn search(&self) -> ClientSearch {
        let mut filter = self.list.filter();
        if self.request_open && filter.access.is_empty() {
            filter.access = vec![AccessStatus::Disabled, AccessStatus::Expired];
        }
        if self.expires_before.is_some() && filter.access.is_empty() {
            filter.access = vec![AccessStatus::Enabled];
        }
        // Positions in the list of an account are keys.
        let key = |name: &Option<Name>| name.as_ref().filter(|_| self.account.is_none()).map(Name::key);
        ClientSearch {
            filter,
            id_prefix: self.id_prefix.clone().unwrap_or_default(),
            name_part: key(&self.name),
            name_prefix: key(&self.name_prefix),
        }
    }

    fn matches(&self, view: &ClientView) -> bool {
        let list = &self.list;
        let is_service = |service: ServiceFilter| match service {
            ServiceFilter::Is(status) => view.service == Some(status),
            ServiceFilter::AllActive => view
                .service
                .is_some_and(|status| status != ServiceStatus::Terminated),
        };
        let has_name = |part: &Name| name_key(view).is_some_and(|key| key.contains(&part.key()));
        let begins_with = |prefix: &Name| name_key(view).is_some_and(|key| key.starts_with(&prefix.key()));
        view.link.is_some()
            && list
                .partner
                .as_ref()
                .is_none_or(|partner| *partner == view.partner)
            && list.link.is_none_or(|link| view.link == Some(link))
            && list.service.is_none_or(is_service)
            && list.access.is_none_or(|access| view.access == access)
            && list.tab.is_none_or(|tab| view.tab == Some(tab))
            && self
                .id_prefix
                .as_ref()
                .is_none_or(|prefix| view.client.starts_with(prefix))
            && self.name.as_ref().is_none_or(has_name)
            && self.name_prefix.as_ref().is_none_or(begins_with)
            && (!self.request_open || view.access_request.is_some())
            && self
                .expires_before
                .is_none_or(|moment| view.expires_at.is_some_and(|at| at < moment))
            && self.billable.is_none_or(|billable| view.billable == billable)
            && self.visible.is_none_or(|visible| view.visible == visible)
            && self
                .account
                .as_ref()
                .is_none_or(|account| view.account_id.as_ref() == Some(account))
    }
}

impl From<ClientView> for AccountPartner {
    fn from(view: ClientView) -> Self {
        Self {
            partner: view.partner,
            client: view.client,
            name: view.name,
            link: view.link,
            connected: view.connected,
            access: view.access,
            expires_at: view.expires_at,
            access_request: view.access_request,
        }
    }
}

impl From<Refused> for RefusalView {
    fn from(refused: Refused) -> Self {
        let event = refused.event;
        Self {
            subject: event.key.to_string(),
            kind: event.kind.type_name(),
            source: event.source,
            id: event.id,
            time: event.time,
            received: refused.received_at,
            code: refused.refusal.code(),
            reason: refused.refusal.words(),
            actor: event.actor,
        }
    }
}
