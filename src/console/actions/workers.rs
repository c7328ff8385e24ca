//! What an operator does to a worker that is gone: remove it from the list.

use axum::response::Response;
use maud::{Markup, html};

use super::{Fields, Question, ask, authority, done};
use crate::console::error::PageError;
use crate::console::layout::Section;
use crate::console::ui;
use crate::console::view::View;
use crate::engine::{RemoveWorkerError, WorkerStatus};
use crate::http::{ApiError, RawPath, in_path};

/// Where the workers are listed.
const LIST: &str = "/#workers";

/// The button of a worker, if it is gone.
pub fn worker_button(view: &View, worker: &WorkerStatus) -> Markup {
    html! {
        @if worker.gone && view.may_operate() { a.button href=(action(&worker.name)) { "Remove" } }
    }
}

/// The path of the action. The name of a host may have any characters.
fn action(name: &str) -> String {
    format!("/workers/{}/remove", ui::encoded(name).replace('/', "%2F"))
}

/// Asks back before a worker is removed.
pub async fn ask_worker(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let name = in_path(path)?;
    let question = Question {
        title: format!("Remove {name}"),
        section: Section::Overview,
        what: html! { "The list no longer shows this worker, and no alert counts it as gone. If it comes back, it is listed again." },
        names: Vec::new(),
        count: 0,
        action: action(&name),
        hidden: Vec::new(),
        button: "Remove",
        is_dangerous: false,
        back: LIST,
    };
    Ok(ask(&view, question))
}

/// Does what [`ask_worker`] has asked.
pub async fn do_worker(path: RawPath<String>, view: View, form: Fields) -> Result<Response, PageError> {
    let name = in_path(path)?;
    let authority = authority(&view, &form)?;
    let result = view
        .run(move |engine| async move { Ok(engine.operator(&authority).remove_worker(&name).await) })
        .await?;
    match result {
        Ok(()) => Ok(done(&view, "/", "worker-removed", 0)),
        Err(RemoveWorkerError::Store(error)) => Err(error.into()),
        Err(error) => Err(ApiError::from(error).into()),
    }
}
