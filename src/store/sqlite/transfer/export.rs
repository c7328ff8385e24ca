//! Reads a whole store, in one read transaction. SQLite streams the rows of a statement, so memory is bounded.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, SqliteConnection};
use tokio::sync::mpsc;

use crate::store::columns::{Both, row};
use crate::store::sqlite::lines::{line, words_of_line};
use crate::store::transfer::{self, send};
use crate::store::{Record, Result};

/// Records of a page.
const PAGE: usize = 500;

type Pages = mpsc::Sender<Vec<Record>>;

/// Sends all records.
pub(super) async fn all(connection: &mut SqliteConnection, into: &Pages) -> Result<()> {
    settings(connection, into).await?;
    dead_letters(connection, into).await?;
    scan(connection, CLIENTS, into, transfer::client).await?;
    scan(connection, TOUCHES, into, transfer::touches::<i64>).await?;
    scan(connection, TOUCH_RUNS, into, transfer::touch_run).await?;
    scan(connection, EVENTS, into, transfer::event::<i64>).await?;
    scan(connection, STATEMENT_DAYS, into, transfer::statement).await?;
    scan(connection, ACCESSES, into, transfer::access::<i64>).await?;
    scan(connection, RELAY, into, transfer::relay::<i64>).await?;
    scan(connection, JOURNAL, into, transfer::change::<i64>).await
}

/// Sends the records of a statement.
async fn scan<R>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    into: &Pages,
    record: fn(R) -> Result<Record>,
) -> Result<()>
where
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut rows = sqlx::query_as::<_, R>(statement).fetch(connection);
    let mut page = Vec::with_capacity(PAGE);
    while let Some(row) = rows.try_next().await? {
        page.push(record(row)?);
        if page.len() == PAGE {
            send(into, std::mem::replace(&mut page, Vec::with_capacity(PAGE))).await?;
        }
    }
    send(into, page).await
}

async fn settings(connection: &mut SqliteConnection, into: &Pages) -> Result<()> {
    scan(connection, POLICIES, into, transfer::policy::<i64>).await?;
    scan(connection, BACKFILL, into, transfer::backfill::<i64>).await?;
    scan(connection, CLOCK, into, transfer::clock::<i64>).await?;
    scan(connection, LANES, into, transfer::lane::<i64>).await?;
    scan(connection, SOURCES, into, transfer::source::<i64>).await?;
    scan(connection, HALTS, into, transfer::halt::<i64>).await?;
    scan(connection, ACCESS_LOG, into, transfer::access_log::<i64>).await?;
    scan(connection, SWEEP_RUNS, into, transfer::sweep_run::<i64>).await?;
    scan(connection, CLOSINGS, into, transfer::closing::<i64>).await?;
    scan(connection, ENDPOINTS, into, transfer::webhook_endpoint::<i64>).await?;
    scan(connection, AUDIT, into, transfer::audit::<i64>).await
}

row! {
    IdRow {
        id: i64,
    }
}

/// A few at a time, because a body may be large.
async fn dead_letters(connection: &mut SqliteConnection, into: &Pages) -> Result<()> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<Both<IdRow, _>> = sqlx::query_as(
            "select id, digest, origin, source, content_type, reason, status, bytes, times_seen, first_seen_at, last_seen_at,
                    resolved_at, redriven_at, redrive_outcome, retry_at, headers, body
             from dead_letters
             where id > ?1
             order by id
             limit 8",
        )
        .bind(after)
        .fetch_all(&mut *connection)
        .await?;
        let Some(Both(last, _)) = rows.last() else {
            return Ok(());
        };
        after = last.id;
        let page = rows
            .into_iter()
            .map(|Both(_, row)| transfer::dead_letter::<i64>(row));
        send(into, page.collect::<Result<_>>()?).await?;
    }
}

const POLICIES: &str = "select effective_from, policy
     from policies
     order by effective_from";

const BACKFILL: &str = "select policy_from, partner, client from deadline_backfill";

const CLOCK: &str = "select latest from clock";

const LANES: &str = "select lane, watermark, recorded_at, partition_key
     from lanes
     order by lane";

const SOURCES: &str =
    "select source, every_seconds, expected_since, last_heard, counted_hour, events, events_before
     from expected_sources
     order by source";

const HALTS: &str = "select sweep, kind, at, why
     from sweep_halts
     order by sweep, kind";

const ACCESS_LOG: &str = "select since from access_log_since";

const AUDIT: &str = "select number, at, who, how, action, target, reason, details, request_id
     from audit_log
     order by number";

const SWEEP_RUNS: &str = "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed, error,
            worker
     from sweep_runs
     order by id";

const ENDPOINTS: &str = "select name, origin, url, filter, secrets, status, why, revision, created_at, epoch, xid, seq, recorded_at,
            failing_since, last_attempt_at, last_outcome, delivered_at
     from webhook_endpoints
     order by name";

const CLOSINGS: &str = "select month, status, closed_by, started_at, closed_at, claimed_until, partner, client, statements, adjustments
     from closings
     order by month";

const CLIENTS: &str = "select k.partner, k.client, c.version, c.doc
     from client_keys k
     left join clients c on c.client = k.number
     order by k.number";

const TOUCHES: &str =
    "select k.partner, k.client, t.open_run, t.renew_after, t.renew_before, t.renew_policies
     from touches t
     left join client_keys k on k.number = t.client
     order by t.client";

const TOUCH_RUNS: &str = "select k.partner, k.client, t.number, t.run
     from touch_runs t
     left join client_keys k on k.number = t.client
     order by t.client, t.number";

const EVENTS: &str =
    "select k.partner, k.client, s.source, e.id, t.word as event_type, e.time, e.sequence, e.actor, e.data,
            case e.reason when 0 then '' else r.word end as reason, e.received_at
     from events e
     left join client_keys k on k.number = e.client
     left join sources s on s.number = e.source
     left join words t on t.number = e.type
     left join words r on r.number = e.reason
     order by e.client, e.time, e.source, e.id";

const STATEMENT_DAYS: &str = "select k.partner, k.client, s.month, s.stated_in, s.billable, s.commission, s.status_credit, s.access, s.intervals,
            s.causes
     from statement_days s
     left join client_keys k on k.number = s.client
     order by s.client, s.month, s.stated_in";

const ACCESSES: &str =
    "select k.partner, k.client, s.source, a.id, a.time, a.sequence, a.by_staff, a.user_id, a.actor,
            case coalesce(e.reason, a.reason) when 0 then '' else r.word end as reason
     from accesses a
     left join events e on e.client = a.client and e.time = a.time and e.source = a.source and e.id = a.id
     left join client_keys k on k.number = a.client
     left join sources s on s.number = a.source
     left join words r on r.number = coalesce(e.reason, a.reason)
     order by a.client, a.time, a.source, a.id";

const RELAY: &str =
    "select epoch, 0 as xid, seq, pruned_before, 0 as pruned_xid, pruned_seq, pruned_recorded_at,
            coalesce((select seq from sqlite_sequence where name = 'journal'), 0) as last_line,
            coalesce((select seq from sqlite_sequence where name = 'dead_letters'), 0) as last_dead_letter,
            coalesce((select seq from sqlite_sequence where name = 'sweep_runs'), 0) as last_sweep_run
     from relay";

const JOURNAL: &str = concat!(
    "select k.partner, k.client, ",
    line!(),
    "from journal j
         left join client_keys k on k.number = j.client",
    words_of_line!(),
    "order by j.seq"
);
