//! Reads rows of clients in pages. A client may have millions of rows, and `statement_timeout` cancels a long
//! statement, so each statement reads one page. The limit on waiting for an answer applies to each page.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgRow;

use super::session::Session;
use crate::store::Result;

/// The rows of a page. At 10 ms a row, on a slow disk with a cold cache, a page takes 2.5 s.
const PAGE: usize = 250;

/// Begins a transaction that reads pages of one database snapshot.
///
/// Rows are read in the order of an index. A plan that was made for a small table would scan a grown one, and a bitmap or a sort
/// would read all rows of a client before the first page. An index that has all columns of a small table would be read as a whole
/// instead of searched. Without cached plans, an array of 250 clients would be planned each time.
pub(super) const BEGIN: &str = "begin isolation level repeatable read, read only; \
                                set local enable_seqscan = off; set local enable_bitmapscan = off; \
                                set local enable_indexonlyscan = off; set local plan_cache_mode = force_generic_plan";

/// A query that is read page by page. `$1` is an array of the numbers of clients; `$2` is the most rows of each
/// client. Some queries have `$3`: for each client, a moment before the first row.
pub(super) struct Paged {
    /// The number of rows that a client usually has.
    pub usual: usize,
    pub first: &'static str,
    pub declare: &'static str,
    pub fetch: &'static str,
    pub close: &'static str,
}

/// Defines the statements of a [`Paged`] query. Each query has its own cursor.
macro_rules! paged {
    ($cursor:literal, $usual:literal, $query:expr) => {
        crate::store::postgres::pages::Paged {
            usual: $usual,
            first: concat!($query, " limit 250"),
            declare: concat!("declare ", $cursor, " no scroll cursor for ", $query),
            fetch: concat!("fetch 250 from ", $cursor),
            close: concat!("close ", $cursor),
        }
    };
}
pub(super) use paged;

/// Passes the rows of these clients to `take`, client by client in the order of the array, until it breaks. (A lateral join with
/// a limit can only be run once for each client.) Runs in a transaction: all pages come from one snapshot of the query.
pub(super) async fn read<R>(
    session: &mut Session,
    paged: &Paged,
    clients: &[i32],
    most: i64,
    take: impl FnMut(R) -> Result<ControlFlow<()>> + Send,
) -> Result<()>
where
    R: Send + Unpin + for<'r> FromRow<'r, PgRow>,
{
    read_after(session, paged, clients, most, None, take).await
}

/// As [`read`], of a query with the parameter `$3`.
pub(super) async fn read_after<R>(
    session: &mut Session,
    paged: &Paged,
    clients: &[i32],
    most: i64,
    after: Option<&[Option<DateTime<Utc>>]>,
    mut take: impl FnMut(R) -> Result<ControlFlow<()>> + Send,
) -> Result<()>
where
    R: Send + Unpin + for<'r> FromRow<'r, PgRow>,
{
    // Nearly always one page has all rows of a few clients, and one round trip suffices.
    if clients.len().saturating_mul(paged.usual) < PAGE {
        let (connection, debt) = session.lend()?;
        let first = async {
            let mut query = sqlx::query_as(paged.first).bind(clients).bind(most);
            if let Some(after) = after {
                query = query.bind(after);
            }
            Ok(query.fetch_all(connection).await?)
        };
        let first: Vec<R> = debt.paid_by(first).await?;
        if first.len() < PAGE {
            let _ = take_all(first, &mut take)?;
            return Ok(());
        }
    }
    let (connection, debt) = session.lend()?;
    let declare = async {
        let mut query = sqlx::query(paged.declare).bind(clients).bind(most);
        if let Some(after) = after {
            query = query.bind(after);
        }
        query.execute(connection).await?;
        Ok(())
    };
    debt.paid_by(declare).await?;
    loop {
        let (connection, debt) = session.lend()?;
        let fetch = async {
            // Not prepared: the same name is a different cursor each time.
            let query = sqlx::query_as(paged.fetch).persistent(false);
            Ok(query.fetch_all(connection).await?)
        };
        let page: Vec<R> = debt.paid_by(fetch).await?;
        let is_last = page.len() < PAGE;
        if take_all(page, &mut take)?.is_break() || is_last {
            break;
        }
    }
    session.run(paged.close).await
}

fn take_all<R>(rows: Vec<R>, take: &mut impl FnMut(R) -> Result<ControlFlow<()>>) -> Result<ControlFlow<()>> {
    for row in rows {
        if take(row)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
