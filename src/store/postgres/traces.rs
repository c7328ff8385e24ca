//! Reads and writes the trace contexts of events.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::batch::Held;
use super::numbers::Numbers;
use crate::store::traces::{self, TraceRow};
use crate::store::{Cursor, EventTrace, Result, TraceHeaders};

/// The contexts of the events that caused these lines.
pub(super) async fn of_lines(
    executor: impl PgExecutor<'_>,
    lines: &[Cursor],
) -> Result<Vec<(Cursor, TraceHeaders)>> {
    let found: Vec<TraceRow> = sqlx::query_as(
        "select l.xid, l.seq, t.traceparent, t.tracestate
         from unnest($1::bigint[], $2::bigint[]) as l (xid, seq)
         cross join lateral (select client, cause_ref from journal where xid = l.xid and seq = l.seq offset 0) j
         cross join lateral (
             select traceparent, tracestate from event_traces where client = j.client and ref = j.cause_ref offset 0
         ) t",
    )
    .bind(lines.iter().map(|line| line.transaction).collect::<Vec<_>>())
    .bind(lines.iter().map(|line| line.sequence).collect::<Vec<_>>())
    .fetch_all(executor)
    .await?;
    Ok(found.into_iter().map(traces::read).collect())
}

/// Adds contexts. A packed touch may arrive again; the first context stays.
pub(super) async fn write(
    connection: &mut PgConnection,
    traces: &[EventTrace],
    numbers: &Numbers,
    held: &Held,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "insert into event_traces (received_at, client, ref, traceparent, tracestate)
         select $5, unnest($1::integer[]), unnest($2::bytea[]), unnest($3::text[]), unnest($4::text[])
         on conflict do nothing",
    )
    .bind(held.numbers_of(traces.iter().map(|t| &t.client)))
    .bind(
        traces
            .iter()
            .map(|t| numbers.event(&t.source, &t.id))
            .collect::<Vec<_>>(),
    )
    .bind(traces.iter().map(|t| &*t.headers.traceparent).collect::<Vec<_>>())
    .bind(traces.iter().map(|t| &*t.headers.tracestate).collect::<Vec<_>>())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}
