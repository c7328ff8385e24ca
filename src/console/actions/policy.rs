//! Applying a compared policy.

use axum::response::Response;
use maud::{Markup, html};
use tokio_util::sync::CancellationToken;

use super::{Fields, NAMED, Question, ask, authority, done};
use crate::config::changed_policy;
use crate::console::error::PageError;
use crate::console::layout::Section;
use crate::console::ui::{self, counted, number};
use crate::console::view::View;
use crate::domain::Policy;
use crate::engine::Adoption;
use crate::http::ApiError;

/// The form that applies a compared policy.
pub fn adopt_form(view: &View, changes: &[String]) -> Markup {
    html! {
        @if view.may_operate() {
            form method="get" action="/policy/adopt" {
                @for change in changes { input type="hidden" name="set" value=(change); }
                button.danger type="submit" { "Apply the policy" }
            }
        }
    }
}

/// The latest policy with the changes of a form.
async fn compared(view: &View, changes: &[String]) -> Result<Policy, PageError> {
    let latest = view
        .run(|engine| async move { engine.latest_policy().await })
        .await?;
    let policy = changed_policy(&latest, changes, "the form");
    Ok(policy.map_err(|error| ApiError::parameter("set", error))?)
}

/// Asks back before a policy is applied, with whom it changes at once.
pub async fn ask_adopt(mut view: View) -> Result<Response, PageError> {
    let changes = view.params.texts("set");
    let policy = compared(&view, &changes).await?;
    let notice = view.console.notice;
    let impact = view
        .run(move |engine| async move {
            match engine.policy_change(&policy, notice).await? {
                Some(change) => Ok(Some(engine.policy_impact(&change).await?)),
                None => Ok(None),
            }
        })
        .await?;
    let Some(impact) = impact else {
        return Ok(done(&view, "/policy", "known", 0));
    };
    let names = impact
        .first
        .iter()
        .take(NAMED)
        .map(|key| ui::client_link(&key.to_string()));
    Ok(ask(
        &view,
        Question {
            title: "Apply the policy".into(),
            section: Section::Policy,
            what: html! {
                "With " @for (place, change) in changes.iter().enumerate() { @if place > 0 { ", " } code { (change) } }
                ", timers of " b { (counted(impact.changed, "client")) } " of " (number(impact.population)) " are due at once."
                @if impact.exceeds { " That is more than the breaker allows without a confirmation: this is the confirmation." }
            },
            names: names.collect(),
            count: impact.changed,
            action: "/policy/adopt".into(),
            hidden: changes.iter().map(|change| ("set", change.clone())).collect(),
            button: "Apply the policy",
            is_dangerous: true,
            back: "/what-if",
        },
    ))
}

/// Applies a policy.
pub async fn do_adopt(view: View, form: Fields) -> Result<Response, PageError> {
    let authority = authority(&view, &form)?;
    let changes: Vec<String> = form
        .0
        .iter()
        .filter(|(name, _)| name == "set")
        .map(|(_, value)| value.clone())
        .collect();
    let policy = compared(&view, &changes).await?;
    let notice = view.console.notice;
    let adoption = view
        .run(move |engine| async move {
            let adoption = engine.operator(&authority).apply_policy(&policy, notice).await?;
            // Deadlines are computed in the background by every worker; this one begins at once.
            let backfilling = engine.clone();
            tokio::spawn(async move {
                if let Err(error) = crate::worker::backfill_everywhere(&backfilling, &CancellationToken::new()).await {
                    tracing::warn!(%error, "the deadlines of a new policy are not computed yet; a worker tries again");
                }
            });
            Ok(adoption)
        })
        .await?;
    Ok(done(
        &view,
        "/policy",
        if matches!(adoption, Adoption::Known) {
            "known"
        } else {
            "adopted"
        },
        0,
    ))
}
