//! Reads and writes the trace contexts of events.

use sqlx::SqliteConnection;

use super::event_id::BoundId;
use super::many;
use super::numbers::Numbers;
use crate::store::traces::{self, TraceRow};
use crate::store::{Cursor, EventTrace, Result, TraceHeaders};

/// The contexts of the events that caused these lines.
pub(super) async fn of_lines(
    connection: &mut SqliteConnection,
    lines: &[Cursor],
) -> Result<Vec<(Cursor, TraceHeaders)>> {
    let found: Vec<TraceRow> = many::read(
        connection,
        many!(
            "select 0, j.seq, t.traceparent, t.tracestate
             from (values " each "(?)" ") w
             cross join journal j on j.seq = w.column1
             cross join event_traces t on t.client = j.client and t.source = j.cause_source and t.id = j.cause_id"
        ),
        lines,
        |query, line| query.bind(line.sequence),
    )
    .await?;
    Ok(found.into_iter().map(traces::read).collect())
}

/// Adds contexts. A packed touch may arrive again; the first context stays.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    traces: &[EventTrace],
    numbers: &Numbers,
    at: i64,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into event_traces (client, source, id, received_at, traceparent, tracestate)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (client, source, id) do nothing"
        ),
        traces,
        |query, trace| {
            query
                .bind(numbers.client(&trace.client))
                .bind(numbers.source(&trace.source))
                .bind(BoundId(&trace.id))
                .bind(at)
                .bind(&*trace.headers.traceparent)
                .bind(&*trace.headers.tracestate)
        },
    )
    .await?;
    Ok(())
}
