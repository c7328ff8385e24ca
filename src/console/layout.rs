//! The frame of every page: navigation, the moment that is shown, and the headers of the response.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::PATHS;
use super::ui::{distance, full_moment, url};
use crate::config::{Partners, Scope};
use crate::http::{How, Principal};

/// Only what this worker serves: no script, style, picture or form of another origin, and none inline.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The parts of the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Section {
    #[default]
    None,
    Overview,
    Clients,
    Forecast,
    Statements,
    Sweeps,
    DeadLetters,
    Refusals,
    Sources,
    Webhooks,
    Policy,
    Audit,
}

impl Section {
    /// Title, path, and the key after `g`.
    const LISTED: [(Self, &'static str, &'static str, &'static str); 11] = [
        (Self::Overview, "Overview", "/", "o"),
        (Self::Clients, "Clients", "/clients", "c"),
        (Self::Forecast, "Forecast", "/forecast", "f"),
        (Self::Statements, "Statements", "/statements", "m"),
        (Self::Sweeps, "Sweeps", "/sweeps", "s"),
        (Self::DeadLetters, "Dead letters", "/dead-letters", "d"),
        (Self::Refusals, "Refusals", "/refusals", "r"),
        (Self::Sources, "Sources and lanes", "/sources", "l"),
        (Self::Webhooks, "Webhooks", "/webhooks", "w"),
        (Self::Policy, "Policy", "/policy", "p"),
        (Self::Audit, "Audit", "/audit", "a"),
    ];

    /// Whether it shows one partner to those who may see only some.
    fn is_of_a_partner(self) -> bool {
        matches!(self, Self::Clients | Self::Forecast)
    }
}

/// What stands around the content of a page.
#[derive(Default)]
pub struct Frame<'a> {
    pub title: &'a str,
    /// The title with its moments as `<time>`. None: it has none.
    pub heading: Option<Markup>,
    pub section: Section,
    /// The present. None: the page does not know it.
    pub now: Option<DateTime<Utc>>,
    /// The moment that is shown, if it is not now, and the path of the same page as of now.
    pub elsewhen: Option<(DateTime<Utc>, String)>,
    /// Who is signed in.
    pub name: Option<&'a str>,
    pub offered: Offered<'a>,
    /// The field of forms that ends the session. None: there is no session.
    pub csrf: Option<&'a str>,
    /// Whether it has figures that change in place: only then does it open a stream, because browsers allow a host few connections.
    pub is_live: bool,
    /// Links and buttons beside the title.
    pub actions: Option<Markup>,
    /// A sentence below the title.
    pub lead: Option<Markup>,
    /// Text in the search field.
    pub search: &'a str,
}

/// Which pages the navigation offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offered<'a> {
    /// None: the reader is unknown, or may not read.
    #[default]
    Nothing,
    All,
    /// Those of this partner, and the clients of all partners of the reader if there are several.
    Of {
        partner: &'a str,
        is_one_of_several: bool,
    },
}

impl<'a> Offered<'a> {
    /// `named`: the partner in the query of the page.
    pub fn to(reader: &'a Principal, named: Option<&str>) -> Self {
        match &reader.partners {
            _ if !reader.may(Scope::Read) => Self::Nothing,
            Partners::All => Self::All,
            Partners::Only(partners) => {
                let named = named.and_then(|named| partners.get(named));
                named
                    .or_else(|| partners.first())
                    .map_or(Self::Nothing, |partner| Self::Of {
                        partner,
                        is_one_of_several: partners.len() > 1,
                    })
            }
        }
    }

    /// The partner whose pages are offered, if not those of all.
    #[must_use]
    pub fn partner(self) -> Option<&'a str> {
        match self {
            Self::Of { partner, .. } => Some(partner),
            Self::Nothing | Self::All => None,
        }
    }

    /// The partner whose clients are listed. None: those of all partners of the reader.
    fn partner_of_clients(self) -> Option<&'a str> {
        match self {
            Self::Of {
                partner,
                is_one_of_several: false,
            } => Some(partner),
            _ => None,
        }
    }

    /// The list of the clients that the reader may see.
    #[must_use]
    pub fn clients_url(self) -> String {
        url("/clients", &[("partner", self.partner_of_clients())])
    }

    /// The parts that the reader may see: title, path, and the key after `g`.
    fn listed(self) -> impl Iterator<Item = (Section, &'static str, String, &'static str)> {
        let is_offered = move |section: Section| match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Of { .. } => section.is_of_a_partner(),
        };
        let address = move |section: Section, path: &str| match section {
            Section::Clients => self.clients_url(),
            _ => url(path, &[("partner", self.partner())]),
        };
        Section::LISTED
            .into_iter()
            .filter(move |(section, ..)| is_offered(*section))
            .map(move |(section, title, path, key)| (section, title, address(section, path), key))
    }
}

impl<'a> Frame<'a> {
    /// The frame for a reader. `named`: the partner in the query of the page.
    #[must_use]
    pub fn of(self, reader: &'a Principal, named: Option<&str>) -> Self {
        let has_session = matches!(reader.how, How::Session(_));
        Self {
            name: Some(&*reader.name),
            offered: Offered::to(reader, named),
            csrf: has_session.then(|| reader.csrf()),
            ..self
        }
    }
}

/// A page with the headers that every page has.
pub fn page(frame: &Frame<'_>, content: &Markup) -> Response {
    with_headers(document(frame, content).into_response())
}

/// A page that is not complete: what comes before and after the rest of its content.
pub struct Around {
    before: String,
    after: String,
}

impl Around {
    /// `first`: the content before the rest.
    pub fn of(frame: &Frame<'_>, first: &Markup) -> Self {
        // Nobody's text has this: it is escaped.
        const REST: &str = "<!--rest-->";
        let whole = document(frame, &html! { (first) (PreEscaped(REST)) }).into_string();
        let (before, after) = whole.split_once(REST).unwrap_or((&whole, ""));
        Self {
            before: before.to_owned(),
            after: after.to_owned(),
        }
    }

    /// The page. Its beginning is sent at once, and the rest when it is there.
    pub fn page(self, rest: impl Future<Output = Markup> + Send + 'static) -> Response {
        let Self { before, after } = self;
        let end = async move { rest.await.into_string() + &after };
        let parts = stream::iter([before]).chain(stream::once(end));
        let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        let body = Body::from_stream(parts.map(Ok::<_, Infallible>));
        with_headers((html, body).into_response())
    }
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        // Pages name people and companies.
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn document(frame: &Frame<'_>, content: &Markup) -> Markup {
    let [style, script, icon] = &*PATHS;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · Tenure" }
                link rel="stylesheet" href=(style);
                link rel="icon" type="image/svg+xml" href=(icon);
                // The page is shown when it is complete and has its times: a half of it, or one without, would move.
                link rel="expect" href="#keys" blocking="render";
                script src=(script) defer blocking="render" {}
            }
            body class=[frame.elsewhen.as_ref().map(|_| "elsewhen")] {
                a.skip href="#content" { "Skip to the content" }
                (side(frame))
                main id="content" {
                    (bar(frame))
                    div.head {
                        h1 { @if let Some(heading) = &frame.heading { (heading) } @else { (frame.title) } }
                        @if let Some(actions) = &frame.actions { div.actions { (actions) } }
                    }
                    @if let Some(lead) = &frame.lead { p.lead { (lead) } }
                    (content)
                }
                (keys(frame))
            }
        }
    }
}

fn side(frame: &Frame<'_>) -> Markup {
    let [_, _, icon] = &*PATHS;
    html! {
        header.side {
            a.brand href="/" { img src=(icon) alt="" width="20" height="20"; "Tenure" }
            @if frame.offered != Offered::Nothing {
                form.find action="/clients" role="search" {
                    label.visually-hidden for="find" { "Find a client" }
                    @if let Some(partner) = frame.offered.partner_of_clients() { input type="hidden" name="partner" value=(partner); }
                    input id="find" type="search" name="q" placeholder="Find a client  /" value=(frame.search) autocomplete="off";
                }
                nav aria-label="Pages of the console" {
                    ul {
                        @for (section, title, path, key) in frame.offered.listed() {
                            li { a href=(path) data-key=(key) aria-current=[(section == frame.section).then_some("page")] { (title) } }
                        }
                    }
                }
            }
            div.foot {
                @if let Some(name) = frame.name {
                    span { "Signed in as " b { (name) } }
                    @if let Some(csrf) = frame.csrf {
                        form method="post" action="/sign-out" {
                            input type="hidden" name="csrf" value=(csrf);
                            button.quiet type="submit" { "Sign out" }
                        }
                        form method="post" action="/sign-out-everywhere" {
                            input type="hidden" name="csrf" value=(csrf);
                            button.quiet type="submit" title="Ends every session of this token" { "Sign out everywhere" }
                        }
                    }
                }
                span.keys { kbd { "?" } " shows the keys" }
            }
        }
    }
}

/// Which moment the page shows, and whether its figures are live.
fn bar(frame: &Frame<'_>) -> Markup {
    html! {
        div.bar {
            @match (&frame.elsewhen, frame.now) {
                (Some((at, back)), now) => {
                    @let is_past = now.is_some_and(|now| *at <= now);
                    span { "As of " (full_moment(*at)) " · " (if is_past { "in the past" } else { "to come" })
                        @if let Some(now) = now { ", " (distance(now, *at)) }
                    }
                    a href=(back) { "Back to now" }
                },
                (None, Some(now)) => {
                    @if frame.is_live {
                        span id="live" { span.dot {} " Now · " span data-state { (full_moment(now)) } }
                        // Beside the link, not in one box with it: when it appears, the link stays where it is.
                        span id="stale" hidden { "The state has changed." }
                    } @else {
                        span { "Now · " (full_moment(now)) }
                    }
                    span.end { a href="" { "Refresh" } }
                },
                (None, None) => {},
            }
        }
    }
}

fn keys(frame: &Frame<'_>) -> Markup {
    html! {
        dialog id="keys" aria-label="Keys" {
            h2 { "Keys" }
            dl {
                dt { kbd { "/" } } dd { "Search" }
                dt { kbd { "j" } " " kbd { "k" } } dd { "Next and previous row" }
                dt { kbd { "Enter" } } dd { "Open the row" }
                dt { kbd { "←" } " " kbd { "→" } } dd { "Previous and next event, on the slider" }
                @for (_, title, _, key) in frame.offered.listed() {
                    dt { kbd { "g" } " " kbd { (key) } } dd { (title) }
                }
                dt { kbd { "?" } } dd { "Show the keys" }
            }
            p { button type="button" data-close { "Close" } }
        }
    }
}
