//! Statements over many rows, a fixed number at a time.
//!
//! The `values` list of such a statement has a fixed length, so that one statement is prepared for any number of rows.
//! Unused rows are unbound, and so null: the statement skips them.

use futures_util::future::join;
use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{FromRow, SqliteConnection};

use crate::store::Result;

/// The rows of a statement of [`many`]. With more, a single event would pay for unused rows.
pub(super) const ROWS: usize = 64;

macro_rules! eight {
    ($row:expr) => {
        concat!(
            $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row
        )
    };
}

/// A statement with a list of [`ROWS`] equal rows: `many!("select … (values " each "(?, ?)" ") …")`.
/// SQLite names the columns of the list `column1`, `column2` …
macro_rules! many {
    ($before:literal each $row:literal $after:literal) => {
        concat!($before, eight!(eight!($row)), $after)
    };
}

pub(super) type Bound<'q> = Query<'q, Sqlite, SqliteArguments<'q>>;
pub(super) type BoundAs<'q, O> = QueryAs<'q, Sqlite, O, SqliteArguments<'q>>;

/// Runs a statement for all items, and returns the number of written rows.
pub(super) async fn write<T: Sync>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    all: &[T],
    bind: impl for<'q> Fn(Bound<'q>, &'q T) -> Bound<'q> + Send,
) -> Result<u64> {
    let mut parts = all.chunks(ROWS);
    let mut bound = || Some(parts.next()?.iter().fold(sqlx::query(statement), &bind));
    let mut next = bound();
    let mut written = 0;
    while let Some(query) = next {
        // SQLite runs on its own thread. Meanwhile the next rows are bound.
        let (done, following) = join(query.execute(&mut *connection), async { bound() }).await;
        written += done?.rows_affected();
        next = following;
    }
    Ok(written)
}

/// Runs a statement for all items, and returns its rows.
pub(super) async fn read<T: Sync, O>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    all: &[T],
    bind: impl for<'q> Fn(BoundAs<'q, O>, &'q T) -> BoundAs<'q, O> + Send,
) -> Result<Vec<O>>
where
    O: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut rows = Vec::with_capacity(all.len());
    for some in all.chunks(ROWS) {
        let query = some.iter().fold(sqlx::query_as(statement), &bind);
        rows.append(&mut query.fetch_all(&mut *connection).await?);
    }
    Ok(rows)
}
