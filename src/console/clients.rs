//! The list of clients: search, tabs, filters, pages, and a download.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::csv;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::tabs;
use super::ui::{self, Pages, chip, counted, words};
use super::view::View;
use crate::config::Partners;
use crate::csv_row::Cell;
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::time::rfc3339;
use crate::domain::view::ClientView;
use crate::domain::{ClientKey, Id, Name};
use crate::engine::{ClientsFound, Engine, SearchRequest, WALK};
use crate::http::{self, ApiError};
use crate::store::{ListPosition, StoreError};

const PAGE: usize = 50;
/// Clients that each part of a search for anything shows.
const FEW: usize = 20;

/// The filters that a form has, and what they may be.
const BY: [(&str, &str); 4] = [
    ("name", "Name"),
    ("id", "Id"),
    ("partner", "Partner"),
    ("account", "Account"),
];
/// A part of a search by name, which a form can ask for alone.
const NAME_BEGINS: (&str, &str) = ("name-begins", "Beginning of a name");

/// A search in the words of the reader: a filter, and text in one field or any.
struct Asked {
    filter: SearchRequest,
    /// The partners that the reader may see, if they are some and the filter names none of them.
    among: Option<Arc<BTreeSet<String>>>,
    text: Option<String>,
    by: Option<&'static str>,
    after: Option<ListPosition>,
}

/// What a search comes to.
enum Sought {
    One(Box<SearchRequest>),
    /// No client can have the text in that field.
    Nobody,
    InEveryField,
}

impl Asked {
    fn of(view: &mut View) -> Result<Self, ApiError> {
        let among = view.among()?;
        let params = &mut view.params;
        let text = params.text("q")?;
        let by = params.choice("by", fields().map(|(by, _)| (by, by)))?;
        let after = http::list_position(params)?;
        Ok(Self {
            filter: http::search_request(params)?,
            among,
            text: text.map(|text| text.trim().to_owned()),
            by,
            after,
        })
    }

    /// The filter with the text in one field. None: no client can have that there.
    fn by(&self, by: &str) -> Option<SearchRequest> {
        let text = self.text.as_deref()?;
        let mut request = self.filter.clone();
        match by {
            "name" => request.name = Some(Name::try_from(text.to_owned()).ok()?),
            "name-begins" => request.name_prefix = Some(Name::try_from(text.to_owned()).ok()?),
            "account" => request.account = Some(Id::try_from(text.to_owned()).ok()?),
            "partner" => {
                ClientKey::new(text, "x").ok()?;
                if self.among.as_ref().is_some_and(|among| !among.contains(text)) {
                    return None;
                }
                if request
                    .list
                    .partner
                    .as_deref()
                    .is_some_and(|partner| partner != text)
                {
                    return None;
                }
                request.list.partner = Some(text.to_owned());
            }
            _ => {
                ClientKey::new("x", text).ok()?;
                request.id_prefix = Some(text.to_owned());
            }
        }
        Some(request)
    }

    fn sought(&self) -> Sought {
        match (&self.text, self.by) {
            (None, _) => Sought::One(Box::new(self.filter.clone())),
            (Some(_), Some(by)) => self
                .by(by)
                .map_or(Sought::Nobody, |request| Sought::One(Box::new(request))),
            (Some(_), None) => Sought::InEveryField,
        }
    }

    /// The searches whose clients the page lists, each of one partner if the reader may see only some.
    fn searches(&self) -> Vec<SearchRequest> {
        let searches = match self.sought() {
            Sought::One(request) => vec![*request],
            Sought::Nobody => Vec::new(),
            Sought::InEveryField => BY.iter().filter_map(|(by, _)| self.by(by)).collect(),
        };
        let of_partners = |request: SearchRequest| match (&self.among, &request.list.partner) {
            (Some(among), None) => among.iter().map(|partner| request.of_partner(partner)).collect(),
            _ => vec![request],
        };
        searches.into_iter().flat_map(of_partners).collect()
    }
}

/// What a text may be looked for in.
fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    BY.into_iter().chain([NAME_BEGINS])
}

/// Clients that match, of the partners that the reader may see.
async fn search(
    engine: &Engine,
    request: &SearchRequest,
    among: Option<&BTreeSet<String>>,
    after: Option<&ListPosition>,
    limit: usize,
) -> Result<ClientsFound, StoreError> {
    match among.filter(|_| request.list.partner.is_none()) {
        Some(among) => engine.search_among(request, among, after, limit).await,
        None => engine.search(request, after, limit).await,
    }
}

/// Lists clients.
pub async fn list(mut view: View) -> Result<Response, PageError> {
    let asked = Asked::of(&mut view)?;
    if asked.by.is_none()
        && let Some(key) = asked
            .text
            .as_deref()
            .and_then(|text| ClientKey::from_subject(text).ok())
        && view.principal.require_partner(&key.partner).is_ok()
    {
        let found = key.clone();
        if view
            .run(|engine| async move { engine.client(&found, None).await })
            .await?
            .is_some()
        {
            return Ok(Redirect::to(&ui::client_url(&key)).into_response());
        }
    }
    let content = async {
        match asked.sought() {
            Sought::One(request) => one_list(&view, &asked, Some(*request)).await,
            Sought::Nobody => one_list(&view, &asked, None).await,
            Sought::InEveryField => every_field(&view, &asked).await,
        }
    };
    let (tabs, content) = tokio::join!(tabs::tabs(&view, asked.searches()), content);
    let content = content?;
    let frame = Frame {
        title: "Clients",
        section: Section::Clients,
        search: asked.text.as_deref().unwrap_or_default(),
        actions: Some(
            html! { a.button href=(view.with_path("/clients.csv", &[("after", None)])) { "Download CSV" } },
        ),
        ..Frame::default()
    };
    let content = html! { (filters(&view)) (tabs) (content) };
    Ok(view.page(frame, &content))
}

async fn one_list(view: &View, asked: &Asked, request: Option<SearchRequest>) -> Result<Markup, PageError> {
    let (found, beginning) = match request {
        Some(request) => {
            let (among, after) = (asked.among.clone(), asked.after.clone());
            view.run(|engine| async move {
                let among = among.as_deref();
                let found = search(&engine, &request, among, after.as_ref(), PAGE).await?;
                // A list that goes on may have them anywhere, unless its first page has only those.
                let has_only_those = request
                    .name
                    .as_ref()
                    .is_some_and(|part| found.all_begin_with(part));
                let is_needed = found.next.is_some() && after.is_none() && !has_only_those;
                let beginning = if is_needed {
                    named(&engine, &request, among, PAGE).await?
                } else {
                    ClientsFound::default()
                };
                Ok((found, beginning))
            })
            .await?
        }
        None => Default::default(),
    };
    let pages = view.pages("after", found.next.as_ref().map(ToString::to_string));
    Ok(html! {
        @if !beginning.clients.is_empty() { (beginning_card(view, asked, &beginning)) }
        section.card.flush {
            @if found.clients.is_empty() {
                (none_found(view, asked, &pages))
            } @else {
                (table(&found.clients))
                (ui::pager(&shown(&found), &pages))
            }
        }
    })
}

/// How many clients a page shows, and whether it ends early.
fn shown(found: &ClientsFound) -> String {
    let clients = counted(found.clients.len(), "client");
    if found.next.is_some() && found.clients.len() < PAGE {
        format!("{clients} so far")
    } else {
        clients
    }
}

/// The first clients whose names begin with what a part of a name was searched for.
fn beginning_card(view: &View, asked: &Asked, beginning: &ClientsFound) -> Markup {
    let of_text = asked.text.as_deref().filter(|_| asked.by == Some("name"));
    let name = of_text.or(asked.filter.name.as_ref().map(Name::as_str));
    let clients = counted(beginning.clients.len(), "client");
    let all = view.with(&[("by", Some(NAME_BEGINS.0)), ("after", None)]);
    let end = html! {
        @match (&beginning.next, of_text) {
            (None, _) => { (clients) },
            (Some(_), None) => { "the first " (clients) },
            (Some(_), Some(_)) => { "the first " (clients) " · " a href=(all) { "All" } },
        }
    };
    let heading = format!("Names that begin with “{}”", name.unwrap_or_default());
    ui::table_card(&heading, &end, &table(&beginning.clients))
}

/// Why a page has no client.
fn none_found(view: &View, asked: &Asked, pages: &Pages) -> Markup {
    match &pages.next {
        Some(next) => ui::none_among(&examined(asked, pages.first.is_some()), next),
        None if pages.first.is_some() => ui::empty("No other client matches", "These were the last clients."),
        None if !view.given.is_empty() => ui::empty(
            "No client matches",
            "Remove a filter, or search in another field.",
        ),
        None => ui::empty(
            "No clients yet",
            "An event client.added of a partner space adds the first. README.md shows how to send one.",
        ),
    }
}

/// The clients that a page has examined.
fn examined(asked: &Asked, is_later: bool) -> String {
    let which = if is_later { "next" } else { "first" };
    match asked.among {
        // The walk of each partner is bounded, so the number differs.
        Some(_) => format!("the {which} clients of your partners that were examined"),
        None => format!("the {which} {} that were examined", counted(WALK, "client")),
    }
}

/// The clients of a search for a part of a name whose names begin with it: an index has them, wherever their partners are.
async fn named(
    engine: &Engine,
    request: &SearchRequest,
    among: Option<&BTreeSet<String>>,
    limit: usize,
) -> Result<ClientsFound, StoreError> {
    if request.name.is_none() || request.account.is_some() {
        return Ok(ClientsFound::default());
    }
    let mut request = request.clone();
    request.name_prefix = request.name.take();
    search(engine, &request, among, None, limit).await
}

/// The clients that are not among others.
fn without(clients: Vec<ClientView>, others: &[ClientView]) -> Vec<ClientView> {
    let is_other = |client: &ClientView| {
        let mut others = others.iter();
        others.any(|other| (&other.partner, &other.client) == (&client.partner, &client.client))
    };
    clients.into_iter().filter(|client| !is_other(client)).collect()
}

/// The text in each field, one list for each. Names that begin with it come before those that have it elsewhere.
async fn every_field(view: &View, asked: &Asked) -> Result<Markup, PageError> {
    let mut lists = Vec::new();
    for (by, title) in BY {
        let Some(request) = asked.by(by) else { continue };
        let among = asked.among.clone();
        let (mut found, beginning) = view
            .run(|engine| async move {
                let among = among.as_deref();
                let beginning = named(&engine, &request, among, FEW).await?;
                Ok((search(&engine, &request, among, None, FEW).await?, beginning))
            })
            .await?;
        let mut clients = beginning.clients;
        clients.extend(without(found.clients, &clients));
        let is_cut = clients.len() > FEW || beginning.next.is_some();
        clients.truncate(FEW);
        found.clients = clients;
        if !found.clients.is_empty() || found.next.is_some() {
            lists.push((by, title, found, is_cut));
        }
    }
    Ok(html! {
        @if lists.is_empty() {
            section.card.flush { (ui::empty(
                "No client matches",
                "Tenure searched for a part of a name, the beginning of a client id, a whole partner id, and a whole account id."
            )) }
        }
        @for (by, title, found, is_cut) in &lists {
            @let all = view.with(&[("by", Some(by))]);
            @let next = found.next.as_ref().map(ToString::to_string);
            (ui::table_card(&format!("By {}", title.to_lowercase()), &html! {
                @if found.clients.is_empty() {} @else if next.is_some() || *is_cut { a href=(all) { "All" } } @else { (counted(found.clients.len(), "client")) }
            }, &html! {
                @match &next {
                    Some(next) if found.clients.is_empty() => {
                        (ui::none_among(&examined(asked, false), &view.with(&[("by", Some(by)), ("after", Some(next))])))
                    },
                    _ => { (table(&found.clients)) },
                }
            }))
        }
    })
}

fn table(clients: &[ClientView]) -> Markup {
    html! {
        div.scroll {
            table.rows {
                thead { tr { th { "Name" } th { "Partner / client" } th { "Link" } th { "Service" } th { "Access" } th { "Access expires" } } }
                tbody { @for client in clients {
                    @let subject = format!("{}/{}", client.partner, client.client);
                    tr data-row {
                        th scope="row" data-label="Name" { a href={ "/clients/" (subject) } { (client.name.as_deref().unwrap_or("(no name)")) } }
                        td data-label="Id" { span.id { (ui::breakable(&subject)) } }
                        td data-label="Link" { (optional_chip(client.link.map(LinkStatus::as_str))) }
                        td data-label="Service" { (optional_chip(client.service.map(ServiceStatus::as_str))) }
                        td data-label="Access" { (chip(client.access.as_str())) }
                        td data-label="Expires" { (ui::optional_moment(client.expires_at)) }
                    }
                } }
            }
        }
    }
}

/// The chip of a status that a client may lack.
pub fn optional_chip(status: Option<&str>) -> Markup {
    html! { @match status { Some(status) => { (chip(status)) }, None => { span.muted { "–" } } } }
}

fn filters(view: &View) -> Markup {
    let chosen = |name: &str| view.value(name).unwrap_or_default().to_owned();
    let services = http::services().map(|(name, _)| name);
    html! {
        form.filters action="/clients" {
            label.grow { "Search" input type="search" name="q" value=(chosen("q")) placeholder="name, id, partner or account"; }
            (select("In", "by", &chosen("by"), "any field", fields().map(|(by, title)| (by, title.to_owned()))))
            @match &view.principal.partners {
                Partners::All => { label { "Partner" input type="text" name="partner" value=(chosen("partner")) size="12" autocomplete="off"; } },
                Partners::Only(partners) => {
                    (select("Partner", "partner", &chosen("partner"), "all your partners", partners.iter().map(|partner| (partner.as_str(), partner.clone()))))
                },
            }
            (select("Link", "link", &chosen("link"), "any", LinkStatus::ALL.into_iter().map(|status| (status.as_str(), words(status.as_str())))))
            (select("Service", "service", &chosen("service"), "any", services.map(|name| (name, words(name)))))
            (select("Access", "access", &chosen("access"), "any", AccessStatus::ALL.into_iter().map(|status| (status.as_str(), words(status.as_str())))))
            (select("Access request", "request", &chosen("request"), "any", [("open", "open".to_owned())].into_iter()))
            (select("Billable", "billable", &chosen("billable"), "any", [("true", "yes".to_owned()), ("false", "no".to_owned())].into_iter()))
            @if let Some(tab) = view.value("tab") { input type="hidden" name="tab" value=(tab); }
            button type="submit" { "Apply" }
            @if !view.given.is_empty() { a.button href=(view.clients_url()) { "Clear" } }
        }
    }
}

/// A field of a filter with a fixed set of values.
pub fn select<'a>(
    label: &str,
    name: &str,
    chosen: &str,
    any: &str,
    values: impl Iterator<Item = (&'a str, String)>,
) -> Markup {
    html! {
        label { (label)
            select name=(name) {
                option value="" { (any) }
                @for (value, text) in values { option value=(value) selected[value == chosen] { (text) } }
            }
        }
    }
}

/// The clients of a filter as comma-separated values, up to a bound. A client that matches in several fields is one row.
pub async fn export(mut view: View) -> Result<Response, PageError> {
    let asked = Asked::of(&mut view)?;
    let requests = match asked.sought() {
        Sought::One(request) => vec![*request],
        Sought::Nobody => Vec::new(),
        Sought::InEveryField => BY.iter().filter_map(|(by, _)| asked.by(by)).collect(),
    };
    let most = view.console.most_in_download;
    let among = asked.among.clone();
    let (clients, is_complete) = view
        .run(move |engine| async move { all(&engine, &requests, among.as_deref(), most).await })
        .await?;
    let head = [
        "partner",
        "client",
        "name",
        "link",
        "service",
        "access",
        "expires_at",
        "billable",
        "account",
    ];
    let mut rows = vec![head.map(Cell::from).to_vec()];
    rows.extend(clients.into_iter().map(row));
    let cut = (!is_complete).then_some((most, "tenure client list -o csv, with the same filters"));
    Ok(csv::file("clients.csv", &rows, cut)?)
}

/// The clients of a download, each once, and whether these are all.
async fn all(
    engine: &Engine,
    requests: &[SearchRequest],
    among: Option<&BTreeSet<String>>,
    most: usize,
) -> Result<(Vec<ClientView>, bool), StoreError> {
    let mut clients = Vec::new();
    let mut known = BTreeSet::new();
    for request in requests {
        let mut after = None;
        loop {
            let found = search(engine, request, among, after.as_ref(), 1_000).await?;
            for client in found.clients {
                if !known.insert((client.partner.clone(), client.client.clone())) {
                    continue;
                }
                if clients.len() == most {
                    return Ok((clients, false));
                }
                clients.push(client);
            }
            after = found.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((clients, true))
}

fn row(client: ClientView) -> Vec<Cell> {
    let status = |status: Option<&'static str>| Cell::from(status.unwrap_or_default());
    vec![
        client.partner.into(),
        client.client.into(),
        client.name.unwrap_or_default().into(),
        status(client.link.map(LinkStatus::as_str)),
        status(client.service.map(ServiceStatus::as_str)),
        client.access.as_str().into(),
        client.expires_at.map(rfc3339).unwrap_or_default().into(),
        if client.billable { "true" } else { "false" }.into(),
        client
            .account_id
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default()
            .into(),
    ]
}
