//! Errors as pages.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::layout::{self, Frame, Offered, Section};
use super::ui::{Tone, note, prose, sentence};
use crate::http::{ApiError, ErrorCode, Principal, SIGN_IN, Said};

/// What a page says instead of the message for programs, which send a token with each request.
const SIGNED_OUT: &str =
    "The session has ended, or there is none. Nothing was changed. Sign in, and do it again.";

/// What a page says about an error that says nothing.
const UNKNOWN: &str = "something went wrong; see the log of the worker";

/// Why there is no page. The response is that of the API; for a browser, the server replaces it by [`page`].
#[derive(Debug)]
pub struct PageError(ApiError);

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl PageError {
    /// The error as a part of a page that has begun.
    pub fn note(self) -> Markup {
        let said = self.into_response().extensions_mut().remove::<Said>();
        let text = said.as_ref().map_or(UNKNOWN, for_people);
        note(Tone::Bad, &html! { p { (prose(&sentence(text))) } })
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// What a page says: the message, unless that tells a program what to do.
fn for_people(said: &Said) -> &str {
    match said.code {
        ErrorCode::Unauthorized => SIGNED_OUT,
        ErrorCode::NoSuchPath => {
            "there is no page at this address; check it for a typing mistake, or go on from here"
        }
        ErrorCode::NoSuchMethod => {
            "this address does not work by itself; use the button or the link on its page"
        }
        ErrorCode::TooManyActions => {
            "too many wrong tokens came from this address, so it may do one action per second; nothing was changed: go back, wait a \
             second, and send the form again"
        }
        _ => &said.message,
    }
}

/// An error as a page, which offers the reader the pages that they may see. `reader`: None if nobody has signed in.
pub fn page(status: StatusCode, said: &Said, reader: Option<&Principal>) -> Response {
    let heading = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::UNAUTHORIZED => "Not signed in",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::METHOD_NOT_ALLOWED => "Nothing to show here",
        StatusCode::BAD_REQUEST => "This request is not valid",
        StatusCode::CONFLICT => "Not possible now",
        StatusCode::TOO_MANY_REQUESTS => "Too many actions",
        StatusCode::SERVICE_UNAVAILABLE => "Not available at the moment",
        _ => "Something went wrong",
    };
    let frame = Frame {
        title: heading,
        section: Section::None,
        ..Frame::default()
    };
    let frame = match reader {
        Some(reader) => frame.of(reader, None),
        None => frame,
    };
    let clients = frame.offered.clients_url();
    let is_signed_out = status == StatusCode::UNAUTHORIZED;
    let content = html! {
        (note(Tone::Bad, &html! { p { (prose(&sentence(for_people(said)))) } }))
        p {
            @if is_signed_out { a href=(SIGN_IN) { "Sign in" } }
            @if status.is_server_error() { a href="" { "Load the page again" } }
            @if frame.offered == Offered::All {
                @if status.is_server_error() { " · " }
                a href="/" { "Go to the overview" }
            }
            @if frame.offered != Offered::Nothing {
                @if status.is_server_error() || frame.offered == Offered::All { " · " }
                a href=(clients) { "Search clients" }
            }
        }
    };
    let mut page = layout::page(&frame, &content);
    *page.status_mut() = status;
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_a_page_that_has_begun_says_what_to_do() {
        let note = PageError::from(ApiError::Busy).note().into_string();
        assert!(note.contains("Too many requests in progress; retry"), "{note}");
    }
}
