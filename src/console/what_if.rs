//! Another policy, compared with the recorded ones: who would lose or gain what.

use std::time::{Duration, Instant};

use axum::response::Response;
use maud::{Markup, html};

use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Part, Tone, counted, number};
use super::view::View;
use crate::config::{changed_policy, policy_settings};
use crate::domain::policy::later;
use crate::domain::{ClientKey, Policy};
use crate::engine::{ClientWhatIf, PartnerWhatIf, Total, WhatIfRequest, WhatIfTotals};
use crate::http::{self, ApiError};

/// How long a page compares before it shows what it has.
const WHAT_IF_TIME: Duration = Duration::from_secs(2);
/// How long a page may take to compare as many clients as the page before it did.
const AGAIN_TIME: Duration = Duration::from_secs(10);
/// What [`Upto::End`] is in a link. The subject of a client has a slash.
const END: &str = "end";
/// Clients that a page lists.
const LISTED: usize = 100;
/// Partners that a page lists.
const LISTED_PARTNERS: usize = 50;
/// The most clients or partners on the pages before.
const MOST_FROM: usize = 1_000_000;

/// Where the comparison of the page that links here stopped, so that both compare the same clients.
enum Upto {
    Client(ClientKey),
    /// It compared all.
    End,
}

impl Upto {
    fn of(view: &mut View) -> Result<Option<Self>, ApiError> {
        let Some(given) = view.params.text("upto")? else {
            return Ok(None);
        };
        if given == END {
            return Ok(Some(Self::End));
        }
        Ok(Some(Self::Client(http::client_of("upto", &given)?)))
    }

    fn is_before(&self, next: &ClientKey) -> bool {
        matches!(self, Self::Client(upto) if upto <= next)
    }
}

/// The number of rows on the pages before.
#[derive(Clone, Copy)]
struct Place {
    clients: usize,
    partners: usize,
}

/// Another policy, compared with the recorded ones.
pub async fn show(mut view: View) -> Result<Response, PageError> {
    let partner = view.params.partner()?;
    let place = Place {
        clients: view.params.number("clients_from", 0, MOST_FROM)?.unwrap_or(0),
        partners: view.params.number("partners_from", 0, MOST_FROM)?.unwrap_or(0),
    };
    let upto = Upto::of(&mut view)?;
    let latest = view
        .run(|engine| async move { engine.latest_policy().await })
        .await?;
    let settings = policy_settings(&latest);
    let changes = changes(&view, &settings);
    let outcome = if changes.is_empty() {
        Ok(None)
    } else {
        changed_policy(&latest, &changes, "the form").map(Some)
    };
    let frame = Frame {
        title: "What if the policy were different?",
        section: Section::Forecast,
        lead: Some(
            html! { "Replays the history of each client under the recorded policies and under another one, as if that had always been in force. This changes nothing." },
        ),
        actions: Some(html! { a.button href="/policy" { "Policies" } }),
        ..Frame::default()
    };
    let form = form(&view, &settings, partner.as_deref());
    let policy = match outcome {
        Ok(Some(policy)) => policy,
        Ok(None) => {
            let hint = html! { section.card.flush { (ui::empty("Change a value", "The comparison shows who would lose or gain access, and which billing days differ. You decide afterwards whether to apply the policy.")) } };
            return Ok(view.page(frame, &html! { (form) (hint) }));
        }
        Err(error) => {
            let why = ui::note(Tone::Bad, &html! { p { b { "This is not a policy. " } (error) } });
            return Ok(view.page(frame, &html! { (form) (why) }));
        }
    };
    Ok(view.page_in_parts(frame, &form, move |view| async move {
        match compare(&view, policy, partner, upto).await {
            Ok(compared) => result_cards(&view, &changes, &compared, place),
            Err(error) => error.note(),
        }
    }))
}

/// The settings of the form that differ, as `access.idle=45d`.
pub fn changes(view: &View, settings: &[(String, String)]) -> Vec<String> {
    let differing = settings.iter().filter_map(|(key, value)| {
        let given = view.value(key)?.trim();
        (given != value).then(|| format!("{key}={given}"))
    });
    differing.collect()
}

fn form(view: &View, settings: &[(String, String)], partner: Option<&str>) -> Markup {
    html! {
        form.card action="/what-if" {
            div.filters {
                @for (key, value) in settings {
                    label { code { (key) } input type="text" name=(key) value=(view.value(key).unwrap_or(value)) autocomplete="off"; }
                }
                label { "Only partner" input type="text" name="partner" value=(partner.unwrap_or_default()) autocomplete="off"; }
            }
            button.primary type="submit" { "Compare" }
        }
    }
}

#[derive(Default)]
struct Compared {
    clients: Vec<ClientWhatIf>,
    totals: WhatIfTotals,
    partners: Vec<PartnerWhatIf>,
    /// Where it stopped. None: all clients are compared.
    next: Option<ClientKey>,
}

impl Compared {
    /// A link to another page of this comparison.
    fn page(&self, view: &View, name: &str, from: Option<&str>) -> String {
        let stopped = self.next.as_ref().map(ToString::to_string);
        let upto = stopped.as_deref().unwrap_or(END);
        view.with(&[(name, from), ("upto", Some(upto))])
    }
}

async fn compare(
    view: &View,
    policy: Policy,
    partner: Option<String>,
    upto: Option<Upto>,
) -> Result<Compared, PageError> {
    let now = view.now;
    let mut request = WhatIfRequest {
        policy,
        partner,
        since: now.checked_sub_signed(WhatIfRequest::BACK).unwrap_or(now),
        until: later(now, WhatIfRequest::AHEAD),
        after: None,
        limit: 1_000,
    };
    view.run(move |engine| async move {
        let began = Instant::now();
        let is_over = |next: &ClientKey| match &upto {
            Some(upto) => upto.is_before(next) || began.elapsed() > AGAIN_TIME,
            None => began.elapsed() > WHAT_IF_TIME,
        };
        let mut compared = Compared::default();
        loop {
            let page = engine.what_if(&request).await?;
            for partner in page.partners {
                compared.totals.add(&partner.totals);
                match compared.partners.last_mut() {
                    Some(last) if last.partner == partner.partner => last.totals.add(&partner.totals),
                    _ => compared.partners.push(partner),
                }
            }
            compared.clients.extend(page.clients);
            compared.next = page.next;
            if compared.next.as_ref().is_none_or(is_over) {
                return Ok(compared);
            }
            request.after.clone_from(&compared.next);
        }
    })
    .await
}

fn total(total: &Total) -> Markup {
    html! { @if total.clients == 0 { span.muted { "nobody" } } @else { (counted(total.clients, "client")) ", " (counted(total.days, "day")) } }
}

fn result_cards(view: &View, changes: &[String], compared: &Compared, place: Place) -> Markup {
    let totals = &compared.totals;
    html! {
        @if compared.next.is_some() { (ui::note(Tone::Attention, &html! { p { "Only the first " (number(totals.clients)) " clients are compared. Choose a partner to see all of its clients; " code { "tenure what-if" } " compares all of them." } })) }
        (ui::card("Differences", &html! {
            p { b { (number(totals.differ)) " of " (counted(totals.clients, "client")) } " would differ, with " @for (place, change) in changes.iter().enumerate() { @if place > 0 { ", " } code { (change) } } "." }
            div.scroll tabindex="0" role="region" aria-label="Differences" { table {
                thead { tr { th { "What" } th { "Would be lost" } th { "Would be gained" } } }
                tbody {
                    @for (name, sums) in [("Access", &totals.access), ("Billing", &totals.billing), ("Commission", &totals.commission)] {
                        tr { th scope="row" { (name) } td { (total(&sums.lost)) } td { (total(&sums.gained)) } }
                    }
                }
            } }
            p.muted { "Covers the last 365 days and the next 90. Clients whose events were all refused are included. A day counts if any part of it does." }
            (super::actions::adopt_form(view, changes))
        }))
        (partners_card(view, compared, place.partners))
        (clients_card(view, compared, place.clients))
    }
}

fn partners_card(view: &View, compared: &Compared, from: usize) -> Markup {
    let partners = compared.partners.iter();
    let differing: Vec<_> = partners.filter(|partner| partner.totals.differ > 0).collect();
    let part = Part::of(&differing, from, LISTED_PARTNERS);
    let pages = part.pages(|from| compared.page(view, "partners_from", from));
    ui::table_card(
        "By partner",
        &html! { (counted(differing.len(), "partner")) },
        &html! {
            @if part.rows.is_empty() {
                (part.none(ui::empty("No partner has a client that would differ", "Under this policy, the compared clients have the same access and the same days.")))
            } @else {
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "Partner" } th.num { "Differ" } th { "Access lost" } th { "Access gained" } th { "Billing lost" } th { "Billing gained" } } }
                    tbody { @for partner in part.rows {
                        tr {
                            th scope="row" data-label="Partner" { span.id { (ui::breakable(&partner.partner)) } }
                            td.num data-label="Differ" { (number(partner.totals.differ)) }
                            td data-label="Access lost" { (total(&partner.totals.access.lost)) }
                            td data-label="Access gained" { (total(&partner.totals.access.gained)) }
                            td data-label="Billing lost" { (total(&partner.totals.billing.lost)) }
                            td data-label="Billing gained" { (total(&partner.totals.billing.gained)) }
                        }
                    } }
                } }
            }
            (part.pager("partner", &pages))
        },
    )
}

fn clients_card(view: &View, compared: &Compared, from: usize) -> Markup {
    let part = Part::of(&compared.clients, from, LISTED);
    let pages = part.pages(|from| compared.page(view, "clients_from", from));
    ui::table_card(
        "By client",
        &html! { (counted(compared.clients.len(), "client")) },
        &html! {
            @if part.rows.is_empty() {
                (part.none(ui::empty("No client would differ", if view.value("partner").is_some() { "Change another value, or compare the clients of all partners." } else { "Change another value." })))
            } @else {
                div.scroll { table.rows {
                    thead { tr { th { "Client" } th { "Access lost" } th { "Access gained" } th.num { "Billing days" } th.num { "Changes" } } }
                    tbody { @for client in part.rows {
                        tr data-row {
                            th scope="row" data-label="Client" { (ui::client_link(&client.client)) }
                            td data-label="Access lost" { (intervals(client.access.lost.as_slice())) }
                            td data-label="Access gained" { (intervals(client.access.gained.as_slice())) }
                            td.num data-label="Billing days" { (ui::signed(i64::try_from(client.billing.gained_days).unwrap_or(0) - i64::try_from(client.billing.lost_days).unwrap_or(0))) }
                            td.num data-label="Changes" { "+" (number(client.added.len())) " −" (number(client.dropped.len())) }
                        }
                    } }
                } }
            }
            (part.pager("client", &pages))
        },
    )
}

fn intervals(intervals: &[crate::domain::intervals::Interval]) -> Markup {
    html! {
        @if intervals.is_empty() { span.muted { "–" } }
        @for interval in intervals.iter().take(3) { div.whole { (ui::moment(interval.from)) " to " (ui::moment(interval.to)) } }
        @if intervals.len() > 3 { div.muted { "and " (intervals.len() - 3) " more" } }
    }
}
