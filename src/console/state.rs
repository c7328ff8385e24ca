//! The state and the holdings of a client at a moment. Each value links to why it is so: to the explanation of an answer, or to the
//! event in the story that says it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::clients::optional_chip;
use super::story::Story;
use super::timeline::why_id;
use super::ui::{self, Tone, chip, chip_of, encoded, words};
use crate::domain::Id;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::ClientView;
use crate::domain::why::Answer;
use crate::engine::HistoryEvent;

/// A value with its name. `why`: the address of its explanation.
fn value(name: &str, shown: &Markup, why: Option<&str>) -> Markup {
    html! {
        dt { (name) }
        dd {
            div { (shown) }
            @if let Some(why) = why { a.why-link href=(why) aria-label={ "Why: " (name) } { "Why?" } }
        }
    }
}

/// A value that an answer explains.
fn answered(name: &str, shown: &Markup, answer: &Answer) -> Markup {
    value(name, shown, Some(&url_of(answer)))
}

/// A value that an event says.
fn said(name: &str, shown: &Markup, story: &Story, is_it: impl Fn(&HistoryEvent) -> bool) -> Markup {
    value(name, shown, story.url_of_event(is_it).as_deref())
}

fn url_of(answer: &Answer) -> String {
    format!("#{}", encoded(&why_id(answer)))
}

fn yes(value: bool) -> Markup {
    if value {
        chip_of(Tone::Good, "yes")
    } else {
        chip_of(Tone::Neutral, "no")
    }
}

/// Everything about a client but its holdings.
pub fn state_card(client: &ClientView, story: &Story) -> Markup {
    let now = story.at.unwrap_or(story.now);
    let when = |at: DateTime<Utc>| ui::moment_and_distance(now, at);
    let link = optional_chip(client.link.map(LinkStatus::as_str));
    let service = optional_chip(client.service.map(ServiceStatus::as_str));
    let tab = html! { (client.tab.map_or("none", |tab| tab.as_str())) };
    let viewed = html! { (words(client.view_as_client.as_str())) };
    ui::card(
        "State",
        &html! {
            dl.explained {
                (answered("Link", &link, &Answer::Link))
                (answered("Service", &service, &Answer::Service))
                (answered("Access", &chip(client.access.as_str()), &Answer::Access))
                @if let Some(at) = client.expires_at { (answered("Expires", &when(at), &Answer::Access)) }
                @if let Some(at) = client.access_request { (answered("Requested", &when(at), &Answer::Access)) }
                @if let Some(at) = client.last_accessed_at { (said("Last entered", &when(at), story, |event| event.kind == "account.accessed")) }
                (answered("Connected", &yes(client.connected), &Answer::Connected))
                (answered("Billable", &yes(client.billable), &Answer::Billable))
                (answered("Commission", &yes(client.commission), &Answer::Commission))
                (answered("Status credit", &yes(client.status_credit), &Answer::StatusCredit))
                (answered("Visible", &yes(client.visible), &Answer::Visible))
                (answered("Retrieving", &yes(client.retrieving), &Answer::Retrieving))
                (answered("Client list", &yes(client.on_client_list), &Answer::OnClientList))
                (answered("Tab", &tab, &Answer::Tab))
                (answered("View as client", &viewed, &Answer::ViewAsClient))
                (invitation(client, &when))
                (account(client, story))
                (value("Unchanged until", &html! { @match client.holds_until { Some(at) => { (when(at)) ", or the next event" }, None => { "the next event" } } }, Some("#timers")))
                @if let Some(at) = client.as_of { (value("Last change", &when(at), story.url_of_last().as_deref())) }
            }
        },
    )
}

fn invitation(client: &ClientView, when: &impl Fn(DateTime<Utc>) -> Markup) -> Markup {
    let Some(invitation) = &client.invitation else {
        return html! {};
    };
    let missing: Vec<String> = invitation
        .missing
        .iter()
        .map(|step| words(step.as_str()))
        .collect();
    let missing = if missing.is_empty() {
        "none".to_owned()
    } else {
        missing.join(", ")
    };
    html! {
        (answered("Invited", &when(invitation.sent_at), &Answer::Link))
        (answered("Missing steps", &html! { (missing) }, &Answer::Link))
    }
}

fn account(client: &ClientView, story: &Story) -> Markup {
    html! {
        @if let Some(account) = &client.account_id {
            @let url = ui::url("/clients", &[("account", Some(account.as_str()))]);
            (said("Account", &html! { a.id href=(url) { (ui::breakable(account.as_str())) } }, story, |event| has(event, account)))
        }
        @if let Some(jobs) = client.jobs_total {
            (said("Jobs", &html! { (ui::number(jobs)) }, story, |event| {
                let total = event.data.as_ref().and_then(|data| data.get("total")).and_then(serde_json::Value::as_u64);
                event.kind == "account.jobs_counted" && total == Some(jobs)
            }))
        }
    }
}

/// Whether an event is about a thing with this id.
fn has(event: &HistoryEvent, id: &Id) -> bool {
    let data = event.data.as_ref().and_then(serde_json::Value::as_object);
    data.is_some_and(|data| data.values().any(|value| value == id.as_str()))
}

/// The subscriptions, assignments, users and so on.
pub fn holdings_card(client: &ClientView, story: &Story) -> Markup {
    let lists = [
        ("Assignments", &client.assignments),
        ("Former assignments", &client.former_assignments),
        ("Report schedules", &client.report_schedules),
        ("Margin rules", &client.margin_rules),
        ("Users", &client.users),
        ("Integrations", &client.integrations),
    ];
    let is_empty = client.subscriptions.is_empty() && lists.iter().all(|(_, ids)| ids.is_empty());
    ui::card(
        "Holdings",
        &html! {
            @if is_empty { p.muted { "None: no subscription, assignment, user or integration." } }
            dl.explained {
                @for subscription in &client.subscriptions {
                    @let shown = html! {
                        span.id { (ui::breakable(subscription.id.as_str())) } " " (chip(subscription.status.as_str()))
                        div.muted {
                            "managed by the " (subscription.managed_by.as_str())
                            @if let Some(plan) = &subscription.plan { ", plan " (plan) }
                            @if let Some(at) = subscription.paid_until { ", paid until " (ui::inline_moment(at)) }
                            @if let Some(at) = subscription.ended_at { ", ended " (ui::inline_moment(at)) }
                        }
                    };
                    (answered("Subscription", &shown, &Answer::Subscription(subscription.id.clone())))
                }
                @for (name, ids) in lists.iter().filter(|(_, ids)| !ids.is_empty()) {
                    dt { (name) }
                    dd { div { @for (place, id) in ids.iter().enumerate() {
                        @if place > 0 { ", " }
                        @match story.url_of_event(|event| has(event, id)) {
                            Some(url) => { a.id href=(url) title="The event that says so" { (ui::breakable(id.as_str())) } },
                            None => { span.id { (ui::breakable(id.as_str())) } },
                        }
                    } } }
                }
            }
        },
    )
}
