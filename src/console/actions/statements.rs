//! Closing a month.

use axum::response::Response;
use maud::{Markup, html};

use super::{Fields, NAMED, Question, ask, authority, done, field};
use crate::console::error::PageError;
use crate::console::layout::{Frame, Section};
use crate::console::ui::{self, Tone, counted, sentence};
use crate::console::view::View;
use crate::domain::Month;
use crate::domain::statement::Closer;
use crate::engine::{CloseRequest, Engine};
use crate::http::{ApiError, RawPath, month};
use crate::store::{ClosingStatus, StoreError};

/// Clients, and partners, that a question counts.
const COUNTED: u32 = 10_000;
/// Clients that one request closes at most, as over HTTP.
const CLOSED_AT_A_TIME: u64 = 2_000;

/// The button that closes a month.
pub fn close_form(view: &View, month: Month) -> Markup {
    html! { @if view.may_operate() { p.chips { a.button.primary href={ "/statements/" (month) "/close" } { "Close this month" } } } }
}

/// What a closing is about.
struct Extent {
    clients: usize,
    partners: Vec<String>,
}

impl Extent {
    /// Counts clients and partners up to [`COUNTED`], and one more if there are others.
    async fn of(engine: &Engine) -> Result<Self, StoreError> {
        let store = engine.store();
        Ok(Self {
            clients: store.keys(None, None, COUNTED + 1).await?.len(),
            partners: store.partners(None, COUNTED + 1).await?,
        })
    }

    /// `3 clients of 2 partners`.
    fn words(&self) -> String {
        format!(
            "{} of {}",
            at_least(self.clients, "client"),
            at_least(self.partners.len(), "partner")
        )
    }

    /// Empty if there are more than are counted: the page could not say how many it leaves out.
    fn first_partners(&self) -> Vec<Markup> {
        let are_counted = self.partners.len() <= COUNTED as usize;
        let first = self.partners.iter().take(if are_counted { NAMED } else { 0 });
        first
            .map(|partner| html! { span.id { (ui::breakable(partner)) } })
            .collect()
    }
}

/// A number that was counted up to [`COUNTED`].
fn at_least(count: usize, noun: &str) -> String {
    if count > COUNTED as usize {
        format!("at least {}", counted(COUNTED, noun))
    } else {
        counted(count, noun)
    }
}

/// Asks back before a month is closed.
pub async fn ask_close(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let month = month(path)?;
    let extent = view
        .run(|engine| async move { Extent::of(&engine).await })
        .await?;
    let name = ui::month_name(month.start().date_naive());
    let back = format!("/statements/{month}");
    let is_confirmed = view.value("confirm").is_some();
    Ok(ask(
        &view,
        Question {
            title: format!("Close {name}"),
            section: Section::Statements,
            what: html! {
                "The days of all clients in " b { (name) } " are fixed: Tenure examines " b { (extent.words()) } ", and a client without a day has no statement. "
                "That cannot be undone: late events become adjustments in a later month."
                @if is_confirmed { " Events of the month may still arrive, or no event happened by its end. Close it only if that is right." }
            },
            names: extent.first_partners(),
            count: extent.partners.len() as u64,
            action: format!("/statements/{month}/close"),
            hidden: if is_confirmed {
                vec![("confirm", "true".into())]
            } else {
                Vec::new()
            },
            button: "Close the month",
            back: &back,
        },
    ))
}

/// Closes a month, or continues.
pub async fn do_close(path: RawPath<String>, view: View, form: Fields) -> Result<Response, PageError> {
    let month = month(path)?;
    let authority = authority(&view, &form)?;
    let by: Closer = view
        .principal
        .name
        .parse()
        .map_err(|error| ApiError::parameter("by", error))?;
    let request = CloseRequest {
        month,
        by,
        confirmed: field(&form, "confirm") == "true",
        most: Some(CLOSED_AT_A_TIME),
    };
    let closing =
        view.run(move |engine| async move {
            Ok(engine.operator(&authority).close_month(&request, |_, _| {}).await)
        })
        .await?;
    let closing = match closing {
        Ok(closing) => closing,
        Err(
            error @ (crate::engine::StatementError::EventsMayArrive { .. }
            | crate::engine::StatementError::BeforeFirstEvent { .. }),
        ) => {
            return Ok(needs_confirmation(&view, month, &error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let what = match closing.status {
        ClosingStatus::Closed => "closed",
        ClosingStatus::InProgress => "closing",
    };
    Ok(done(
        &view,
        &format!("/statements/{month}"),
        what,
        closing.statements,
    ))
}

fn needs_confirmation(view: &View, month: Month, why: &str) -> Response {
    let content = html! {
        (ui::note(Tone::Attention, &html! { p { b { "The month is not closed. " } (ui::prose(&sentence(why))) } }))
        p.chips { a.button href={ "/statements/" (month) "/close?confirm=true" } { "Close it anyway" } a.button href={ "/statements/" (month) } { "Back" } }
    };
    view.page(
        Frame {
            title: "Close a month",
            section: Section::Statements,
            ..Frame::default()
        },
        &content,
    )
}
