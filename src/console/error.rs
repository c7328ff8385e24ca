//! Errors as pages.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::{self, Frame, Section};
use super::ui::{Tone, note, prose, sentence};
use crate::http::ApiError;

/// Why there is no page. The response has the status of the API's error.
#[derive(Debug)]
pub struct PageError(ApiError);

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut shown = page(self.0.status(), &self.0.to_string());
        // The API's response logs what must be logged, and has the headers of its status.
        let (mut parts, _) = self.0.into_response().into_parts();
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
        parts.headers.remove(axum::http::header::CONTENT_TYPE);
        for (name, value) in &parts.headers {
            shown.headers_mut().insert(name, value.clone());
        }
        shown
    }
}

/// An error as a page.
pub fn page(status: StatusCode, message: &str) -> Response {
    let heading = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::BAD_REQUEST => "This request is not valid",
        StatusCode::SERVICE_UNAVAILABLE => "Not available at the moment",
        _ => "Something went wrong",
    };
    let content = html! {
        (note(Tone::Bad, &html! { p { (prose(&sentence(message))) } }))
        p { a href="/" { "Go to the overview" } " · " a href="/clients" { "Search clients" } }
    };
    let frame = Frame {
        title: heading,
        section: Section::None,
        ..Frame::default()
    };
    let mut page = layout::page(&frame, &content);
    *page.status_mut() = status;
    page
}
