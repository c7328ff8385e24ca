//! What an operator does to an endpoint of webhooks: pause, resume.

use std::future::ready;

use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::{Fields, Question, Route, ask, authority, done};
use crate::console::error::PageError;
use crate::console::layout::Section;
use crate::console::view::View;
use crate::engine::{EndpointError, EndpointView};
use crate::http::{ApiError, RawPath, in_path};
use crate::store::{EndpointStatus, check_endpoint_name};

/// The buttons of an endpoint.
pub fn endpoint_buttons(view: &View, endpoint: &EndpointView) -> Markup {
    let to = |verb: &str| format!("/webhooks/{}/{verb}", endpoint.name);
    html! {
        @if view.may_operate() {
            @match endpoint.status {
                EndpointStatus::Active => { a.button href=(to("pause")) { "Pause" } },
                EndpointStatus::Paused | EndpointStatus::Disabled => { a.button href=(to("resume")) { "Resume" } },
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Pause,
    Resume,
}

/// The routes of the actions on an endpoint.
pub fn routes() -> impl IntoIterator<Item = Route> {
    [("pause", Verb::Pause), ("resume", Verb::Resume)].map(|(word, verb)| {
        let ask = move |path: RawPath<String>, view: View| ready(ask_webhook(path, &view, verb));
        let act = move |path: RawPath<String>, view: View, form: Fields| do_webhook(path, view, form, verb);
        (format!("/webhooks/{{name}}/{word}"), get(ask).post(act))
    })
}

fn name_of(path: RawPath<String>) -> Result<String, ApiError> {
    let name = in_path(path)?;
    check_endpoint_name(&name).map_err(|error| ApiError::parameter("name", error))?;
    Ok(name)
}

/// Asks back before an action on an endpoint.
fn ask_webhook(path: RawPath<String>, view: &View, verb: Verb) -> Result<Response, PageError> {
    let name = name_of(path)?;
    let (word, what) = match verb {
        Verb::Pause => (
            "Pause",
            "Tenure sends this endpoint nothing until somebody resumes it. It then continues where it stopped. Retention does \
             not wait for a paused endpoint.",
        ),
        Verb::Resume => (
            "Resume",
            "Tenure sends this endpoint all changes after its cursor, in order.",
        ),
    };
    let question = Question {
        title: format!("{word} {name}"),
        section: Section::Webhooks,
        what: html! { (what) },
        names: Vec::new(),
        count: 0,
        action: format!("/webhooks/{name}/{}", word.to_lowercase()),
        hidden: Vec::new(),
        button: word,
        is_dangerous: false,
        back: "/webhooks",
    };
    Ok(ask(view, question))
}

/// Does what [`ask_webhook`] has asked.
async fn do_webhook(
    path: RawPath<String>,
    view: View,
    form: Fields,
    verb: Verb,
) -> Result<Response, PageError> {
    let name = name_of(path)?;
    let authority = authority(&view, &form)?;
    let result = view
        .run(move |engine| async move {
            let operator = engine.operator(&authority);
            Ok(match verb {
                Verb::Pause => operator.pause_endpoint(&name).await,
                Verb::Resume => operator.resume_endpoint(&name).await,
            })
        })
        .await?;
    match result {
        Ok(()) => Ok(done(
            &view,
            "/webhooks",
            match verb {
                Verb::Pause => "endpoint-paused",
                Verb::Resume => "endpoint-resumed",
            },
            0,
        )),
        Err(EndpointError::Store(error)) => Err(error.into()),
        Err(error) => Err(ApiError::parameter("name", error).into()),
    }
}
