//! Downloads of comma-separated values.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::csv_row::{Cell, row};
use crate::http::ApiError;

/// A file of rows, the first of which has the names of the columns.
pub fn file(name: &str, rows: &[Vec<Cell>]) -> Result<Response, ApiError> {
    let mut bytes = Vec::new();
    for cells in rows {
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
