//! Reads a whole store in one transaction, through cursors: each statement reads one page, within the limits of any other.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use tokio::sync::mpsc;

use crate::store::postgres::lines::line;
use crate::store::postgres::session::Session;
use crate::store::transfer::{self, send};
use crate::store::{Record, Result};

/// All pages come from one snapshot. Rows are read in the order of an index, which needs no sort of a whole table. Between
/// two pages the receiver may take any time.
pub(super) const BEGIN: &str = "begin isolation level repeatable read, read only; \
                                set local enable_seqscan = off; set local enable_bitmapscan = off; \
                                set local plan_cache_mode = force_generic_plan; \
                                set local idle_in_transaction_session_timeout = 0";

type Pages = mpsc::Sender<Vec<Record>>;
type Time = DateTime<Utc>;

/// A statement that is read page by page.
struct Scan {
    declare: &'static str,
    fetch: &'static str,
    close: &'static str,
    /// The rows of a page.
    page: usize,
}

macro_rules! scan {
    ($cursor:literal, $page:literal, $query:expr) => {
        Scan {
            declare: concat!("declare ", $cursor, " no scroll cursor for ", $query),
            fetch: concat!("fetch ", $page, " from ", $cursor),
            close: concat!("close ", $cursor),
            page: $page,
        }
    };
}

/// Sends all records.
pub(super) async fn all(session: &mut Session, into: &Pages) -> Result<()> {
    settings(session, into).await?;
    read(session, &DEAD_LETTERS, into, transfer::dead_letter::<Time>).await?;
    read(session, &CLIENTS, into, transfer::client).await?;
    read(session, &TOUCHES, into, transfer::touches::<Time>).await?;
    read(session, &TOUCH_RUNS, into, transfer::touch_run).await?;
    read(session, &EVENTS, into, transfer::event::<Time>).await?;
    read(session, &STATEMENT_DAYS, into, transfer::statement).await?;
    read(session, &ACCESSES, into, transfer::access::<Time>).await?;
    read(session, &RELAY, into, transfer::relay::<Time>).await?;
    read(session, &JOURNAL, into, transfer::change::<Time>).await
}

async fn settings(session: &mut Session, into: &Pages) -> Result<()> {
    read(session, &POLICIES, into, transfer::policy::<Time>).await?;
    read(session, &BACKFILL, into, transfer::backfill::<Time>).await?;
    read(session, &CLOCK, into, transfer::clock::<Time>).await?;
    read(session, &LANES, into, transfer::lane::<Time>).await?;
    read(session, &SOURCES, into, transfer::source::<Time>).await?;
    read(session, &HALTS, into, transfer::halt::<Time>).await?;
    read(session, &ACCESS_LOG, into, transfer::access_log::<Time>).await?;
    read(session, &SWEEP_RUNS, into, transfer::sweep_run::<Time>).await?;
    read(session, &CLOSINGS, into, transfer::closing::<Time>).await?;
    read(session, &ENDPOINTS, into, transfer::webhook_endpoint::<Time>).await?;
    read(session, &AUDIT, into, transfer::audit::<Time>).await
}

/// Sends the records of a statement.
async fn read<R>(
    session: &mut Session,
    scan: &Scan,
    into: &Pages,
    record: fn(R) -> Result<Record>,
) -> Result<()>
where
    R: Send + Unpin + for<'r> FromRow<'r, PgRow>,
{
    session.run(scan.declare).await?;
    loop {
        let (connection, debt) = session.lend()?;
        let fetch = async {
            // Not prepared: the same name is a different cursor each time.
            let query = sqlx::query_as(scan.fetch).persistent(false);
            Ok(query.fetch_all(connection).await?)
        };
        let rows: Vec<R> = debt.paid_by(fetch).await?;
        let is_last = rows.len() < scan.page;
        send(into, rows.into_iter().map(record).collect::<Result<_>>()?).await?;
        if is_last {
            break;
        }
    }
    session.run(scan.close).await
}

const POLICIES: Scan = scan!(
    "moved_policies",
    500,
    "select effective_from, policy::text as policy
     from policies
     order by effective_from"
);

const BACKFILL: Scan = scan!(
    "moved_backfill",
    500,
    "select policy_from, partner, client from deadline_backfill"
);

const CLOCK: Scan = scan!("moved_clock", 500, "select latest from clock");

const LANES: Scan = scan!(
    "moved_lanes",
    500,
    "select lane, watermark, recorded_at, partition_key
     from lanes
     order by lane"
);

const SOURCES: Scan = scan!(
    "moved_sources",
    500,
    "select source, every_seconds, expected_since, last_heard, counted_hour, events, events_before
     from expected_sources
     order by source"
);

const HALTS: Scan = scan!(
    "moved_halts",
    500,
    "select sweep, kind, at, why
     from sweep_halts
     order by sweep, kind"
);

const ACCESS_LOG: Scan = scan!("moved_access_log", 500, "select since from access_log_since");

const AUDIT: Scan = scan!(
    "moved_audit",
    500,
    "select number, at, who, how, action, target, reason, details, request_id
     from audit_log
     order by number"
);

const SWEEP_RUNS: Scan = scan!(
    "moved_sweep_runs",
    500,
    "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed, error,
            worker
     from sweep_runs
     order by id"
);

const CLOSINGS: Scan = scan!(
    "moved_closings",
    500,
    "select month, status, closed_by, started_at, closed_at, claimed_until, partner, client, statements, adjustments
     from closings
     order by month"
);

const ENDPOINTS: Scan = scan!(
    "moved_endpoints",
    500,
    "select name, origin, url, filter, secrets, status, why, revision, created_at, epoch, xid, seq, recorded_at, failing_since,
            last_attempt_at, last_outcome, delivered_at
     from webhook_endpoints
     order by name"
);

// A few at a time, because a body may be large.
const DEAD_LETTERS: Scan = scan!(
    "moved_dead_letters",
    8,
    "select id, digest, origin, source, content_type, reason, status, bytes, times_seen, first_seen_at, last_seen_at,
            resolved_at, redriven_at, redrive_outcome, retry_at, headers, body
     from dead_letters
     order by id"
);

const CLIENTS: Scan = scan!(
    "moved_clients",
    500,
    "select k.partner, k.client, c.version, c.doc::text as doc
     from client_keys k
     left join clients c on c.client = k.number
     order by k.number"
);

// Keys, words and sources are looked up row by row: a join could be planned as a scan of the whole table before the first
// page.
const TOUCHES: Scan = scan!(
    "moved_touches",
    500,
    "select (select partner from client_keys where number = t.client) as partner,
            (select client from client_keys where number = t.client) as client,
            t.open_run, t.renew_after, t.renew_before, t.renew_policies
     from touches t
     order by t.client"
);

const TOUCH_RUNS: Scan = scan!(
    "moved_touch_runs",
    500,
    "select (select partner from client_keys where number = t.client) as partner,
            (select client from client_keys where number = t.client) as client,
            t.number, t.run
     from touch_runs t
     order by t.client, t.number"
);

const EVENTS: Scan = scan!(
    "moved_events",
    500,
    "select (select partner from client_keys where number = e.client) as partner,
            (select client from client_keys where number = e.client) as client,
            (select source from sources where number = ref_source(e.ref)) as source, e.ref as id,
            (select word from words where number = e.type) as event_type, e.time, e.sequence, e.actor, e.data,
            case e.reason when 0 then '' else (select word from words where number = e.reason) end as reason,
            e.received_at
     from events e
     order by e.client, e.time, e.ref"
);

const STATEMENT_DAYS: Scan = scan!(
    "moved_statement_days",
    500,
    "select (select partner from client_keys where number = s.client) as partner,
            (select client from client_keys where number = s.client) as client,
            s.month, s.stated_in, s.billable, s.commission, s.status_credit, s.access, s.intervals, s.causes
     from statement_days s
     order by s.client, s.month, s.stated_in"
);

const ACCESSES: Scan = scan!(
    "moved_accesses",
    500,
    "select (select partner from client_keys where number = a.client) as partner,
            (select client from client_keys where number = a.client) as client,
            (select source from sources where number = ref_source(a.ref)) as source, a.ref as id,
            a.time, a.sequence, a.by_staff, a.user_id, a.actor,
            case r.reason when 0 then '' else (select word from words where number = r.reason) end as reason
     from accesses a
     cross join lateral (
         select coalesce(
             (select reason from events where client = a.client and time = a.time and ref = a.ref), a.reason
         ) as reason
         offset 0
     ) r
     order by a.client, a.time, a.ref"
);

// Sequences are no part of the snapshot. They are ahead of it, which does no harm.
const RELAY: Scan = scan!(
    "moved_relay",
    500,
    "select epoch, xid, seq, pruned_before, pruned_xid, pruned_seq, pruned_recorded_at,
            (select last_value - (not is_called)::int from journal_seq_seq) as last_line,
            (select last_value - (not is_called)::int from dead_letters_id_seq) as last_dead_letter,
            (select last_value - (not is_called)::int from sweep_runs_id_seq) as last_sweep_run
     from relay"
);

const JOURNAL: Scan = scan!(
    "moved_journal",
    500,
    concat!(
        "select (select partner from client_keys where number = j.client) as partner,
                (select client from client_keys where number = j.client) as client, ",
        line!(),
        "from journal j
         order by j.xid, j.seq"
    )
);
