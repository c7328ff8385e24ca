//! Reads histories: events from the log, and touches from their runs.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::numbers::ClientNumbers;
use super::pages::{Paged, paged};
use super::session::Session;
use super::sessions::Sessions;
use super::{numbers, pages};
use crate::domain::ClientKey;
use crate::store::clients::{LoggedRow, sort_history};
use crate::store::columns::{Both, row};
use crate::store::touches::{RUN_LENGTH, read_run_after};
use crate::store::{HistoryRange, Logged, Result};

// Words and sources are looked up row by row: a join could be planned as a scan of all events of a client before the first
// page.
const EVENTS: Paged = paged!(
    "client_events",
    4,
    "select e.client, (select source from sources where number = ref_source(e.ref)) as source, e.ref as id,
            (select word from words where number = e.type) as event_type, e.time, e.sequence, e.actor, e.data,
            case e.reason when 0 then '' else (select word from words where number = e.reason) end as reason
     from unnest($1::integer[], $3::timestamptz[]) as k (client, after)
     cross join lateral (
         select client, ref, type, time, sequence, actor, data, reason
         from events where client = k.client and time > coalesce(k.after, '-infinity')
         order by time, ref
         limit $2::bigint
     ) e"
);

const RUNS: Paged = paged!(
    "client_runs",
    1,
    "select k.client, t.run
     from unnest($1::integer[], $3::timestamptz[]) as k (client, after)
     cross join lateral (
         select open_run as run from touches where client = k.client
         union all
         select run from touch_runs where client = k.client and last_at > coalesce(k.after, '-infinity')
         limit $2::bigint
     ) t"
);

row! {
    /// The number of the client that a row belongs to.
    NumberRow {
        client: i32,
    }
}

type Histories = HashMap<ClientKey, Vec<Logged>>;

/// The history of one client, from one database snapshot.
pub(super) async fn of_one(pool: &Sessions, limit: Duration, key: &ClientKey) -> Result<Vec<Logged>> {
    // Touches move from the open run to a closed one, so one snapshot must cover both.
    let mut session = Session::begin_reading(pool, limit, pages::BEGIN).await?;
    let (connection, debt) = session.lend()?;
    let number = debt.paid_by(numbers::of_client(connection, key)).await?;
    let range = HistoryRange::all(key.clone());
    let mut histories = of(&mut session, &[range], |_| number, None).await?;
    session.end("commit").await?;
    Ok(histories.remove(key).unwrap_or_default())
}

/// The histories of clients with at most `longest` events, from one database snapshot.
pub(super) async fn of_many(
    pool: &Sessions,
    limit: Duration,
    keys: &[ClientKey],
    longest: usize,
) -> Result<Histories> {
    let mut session = Session::begin_reading(pool, limit, pages::BEGIN).await?;
    let mut found = ClientNumbers::new();
    let (connection, debt) = session.lend()?;
    debt.paid_by(numbers::find_clients(connection, keys, &mut found))
        .await?;
    let ranges: Vec<HistoryRange> = keys.iter().cloned().map(HistoryRange::all).collect();
    let number = |key: &ClientKey| found.get(key).copied();
    let histories = of(&mut session, &ranges, number, Some(longest)).await?;
    session.end("commit").await?;
    Ok(histories)
}

/// Parts of the histories of clients that no other transaction writes meanwhile. Each client has an entry, an empty one too. With
/// `longest`, leaves out clients with more events, or with enough runs of touches for more.
pub(super) async fn of(
    session: &mut Session,
    ranges: &[HistoryRange],
    number: impl Fn(&ClientKey) -> Option<i32>,
    longest: Option<usize>,
) -> Result<Histories> {
    let mut histories: Histories = ranges
        .iter()
        .map(|range| (range.key.clone(), Vec::new()))
        .collect();
    let ranges: HashMap<i32, &HistoryRange> = ranges
        .iter()
        .filter_map(|range| Some((number(&range.key)?, range)))
        .collect();
    if ranges.is_empty() {
        return Ok(histories);
    }
    add_events(session, &ranges, longest, &mut histories).await?;
    add_touches(session, &ranges, longest, &mut histories).await?;
    histories.values_mut().for_each(sort_history);
    Ok(histories)
}

/// Adds the events of the log. Removes clients with more than `longest`.
async fn add_events(
    session: &mut Session,
    ranges: &HashMap<i32, &HistoryRange>,
    longest: Option<usize>,
    histories: &mut Histories,
) -> Result<()> {
    let (clients, after) = columns(ranges);
    pages::read_after(
        session,
        &EVENTS,
        &clients,
        one_more_than(longest),
        Some(&after),
        |Both(NumberRow { client }, row): Both<NumberRow, LoggedRow<DateTime<Utc>>>| {
            if let Some(HistoryRange { key, .. }) = ranges.get(&client)
                && let Some(history) = histories.get_mut(key)
            {
                history.push(row.read(key)?);
            }
            Ok(ControlFlow::Continue(()))
        },
    )
    .await?;
    histories.retain(|_, history| longest.is_none_or(|longest| history.len() <= longest));
    Ok(())
}

/// Adds the touches of the runs. Removes clients with enough runs for more than `longest`.
async fn add_touches(
    session: &mut Session,
    ranges: &HashMap<i32, &HistoryRange>,
    longest: Option<usize>,
    histories: &mut Histories,
) -> Result<()> {
    let (clients, after) = columns(ranges);
    let most_runs = longest.map(|longest| longest.div_ceil(RUN_LENGTH));
    let mut runs: HashMap<&ClientKey, usize> = HashMap::new();
    pages::read_after(
        session,
        &RUNS,
        &clients,
        one_more_than(most_runs),
        Some(&after),
        |(client, run): (i32, Vec<u8>)| {
            if let Some(HistoryRange { key, after }) = ranges.get(&client) {
                if let Some(history) = histories.get_mut(key) {
                    history.extend(read_run_after(key, &run, *after)?);
                }
                *runs.entry(key).or_default() += 1;
            }
            Ok(ControlFlow::Continue(()))
        },
    )
    .await?;
    histories.retain(|key, _| most_runs.is_none_or(|most| runs.get(key).is_none_or(|runs| *runs <= most)));
    Ok(())
}

/// The numbers of clients, and where the parts of their histories begin.
fn columns(ranges: &HashMap<i32, &HistoryRange>) -> (Vec<i32>, Vec<Option<DateTime<Utc>>>) {
    ranges
        .iter()
        .map(|(client, range)| (*client, range.after))
        .unzip()
}

/// One more row shows that there are too many.
fn one_more_than(most: Option<usize>) -> i64 {
    most.and_then(|most| i64::try_from(most).ok())
        .map_or(i64::MAX, |most| most.saturating_add(1))
}
