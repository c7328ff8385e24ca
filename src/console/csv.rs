//! Downloads of comma-separated values.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::csv_row::{Cell, row};
use crate::http::ApiError;

/// The clients that a download has at most.
pub const MOST_CLIENTS: usize = 50_000;

/// A file of rows, the first of which has the names of the columns. `cut`: it has only this many clients, and this command lists
/// all.
pub fn file(name: &str, rows: &[Vec<Cell>], cut: Option<(usize, &str)>) -> Result<Response, ApiError> {
    let cut = cut.map(|(most, command)| {
        let note =
            format!("INCOMPLETE: this file ends after {most} clients. For all of them, run: {command}");
        vec![Cell::from(note)]
    });
    let mut bytes = Vec::new();
    for cells in rows.iter().chain(&cut) {
        bytes.extend(row(cells).map_err(|error| ApiError::Internal(error.into()))?);
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}
