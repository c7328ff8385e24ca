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
use crate::engine::{CloseRequest, Engine, StatementError};
use crate::http::{ApiError, RawPath, month};
use crate::store::{ClosingStatus, StoreError};

/// Clients, and partners, that a question counts.
const COUNTED: u32 = 10_000;
/// Clients that one request closes at most, as over HTTP.
const CLOSED_AT_A_TIME: u64 = 2_000;

/// The button that closes a month.
pub fn close_form(view: &View, month: Month) -> Markup {
    html! { @if view.may_operate() { p.chips { a.button.danger href={ "/statements/" (month) "/close" } { "Close this month" } } } }
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

/// Asks back before a month is closed, and first whether it may be closed at all.
pub async fn ask_close(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let month = month(path)?;
    let is_confirmed = view.value("confirm") == Some("true");
    let request = request(&view, month, is_confirmed)?;
    let allowed = view
        .run(move |engine| async move { Ok(engine.may_close(&request).await) })
        .await?;
    if let Err(error) = allowed {
        return not_closed(&view, month, error);
    }
    let extent = view
        .run(|engine| async move { Extent::of(&engine).await })
        .await?;
    let name = ui::month_name(month.start().date_naive());
    let back = format!("/statements/{month}");
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
            is_dangerous: true,
            back: &back,
        },
    ))
}

/// Closes a month, or continues.
pub async fn do_close(path: RawPath<String>, view: View, form: Fields) -> Result<Response, PageError> {
    let month = month(path)?;
    let authority = authority(&view, &form)?;
    let request = request(&view, month, field(&form, "confirm") == "true")?;
    let closing =
        view.run(move |engine| async move {
            Ok(engine.operator(&authority).close_month(&request, |_, _| {}).await)
        })
        .await?;
    let closing = match closing {
        Ok(closing) => closing,
        Err(error) => return not_closed(&view, month, error),
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

fn request(view: &View, month: Month, confirmed: bool) -> Result<CloseRequest, ApiError> {
    let by: Closer = view
        .principal
        .name
        .parse()
        .map_err(|error| ApiError::parameter("by", error))?;
    Ok(CloseRequest {
        month,
        by,
        confirmed,
        most: Some(CLOSED_AT_A_TIME),
    })
}

/// Why the month is not closed. Some of the reasons leave the decision to the operator; the others are errors.
fn not_closed(view: &View, month: Month, error: StatementError) -> Result<Response, PageError> {
    if !matches!(
        error,
        StatementError::EventsMayArrive { .. } | StatementError::BeforeFirstEvent { .. }
    ) {
        return Err(error.into());
    }
    let why = error.to_string();
    let content = html! {
        (ui::note(Tone::Attention, &html! { p { b { "The month is not closed. " } (ui::prose(&sentence(&why))) } }))
        p.chips { a.button href={ "/statements/" (month) "/close?confirm=true" } { "Close it anyway" } a.button href={ "/statements/" (month) } { "Back" } }
    };
    let frame = Frame {
        title: "Close a month",
        section: Section::Statements,
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}
