//! Reads histories: events from the log, and touches from their runs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::micros;
use super::numbers::Numbers;
use crate::domain::ClientKey;
use crate::store::clients::{LoggedRow, sort_history};
use crate::store::columns::{Both, json, row};
use crate::store::touches::{RUN_LENGTH, read_run_after};
use crate::store::{HistoryRange, Logged, Result};

/// The history of one client, from one database snapshot.
pub(super) async fn of_one(readers: &SqlitePool, key: &ClientKey) -> Result<Vec<Logged>> {
    // Touches move from the open run to a closed one, so one snapshot must cover both.
    let mut transaction = readers.begin().await?;
    let mut numbers = Numbers::default();
    let mut histories = of(&mut transaction, &mut numbers, &[HistoryRange::all(key.clone())]).await?;
    transaction.commit().await?;
    Ok(histories.remove(key).unwrap_or_default())
}

/// The histories of clients with at most `longest` events, from one database snapshot.
pub(super) async fn of_many(
    readers: &SqlitePool,
    keys: &[ClientKey],
    longest: usize,
) -> Result<HashMap<ClientKey, Vec<Logged>>> {
    let mut transaction = readers.begin().await?;
    let mut numbers = Numbers::default();
    let ranges: Vec<HistoryRange> = keys.iter().cloned().map(HistoryRange::all).collect();
    let short = up_to(&mut transaction, &mut numbers, &ranges, longest).await?;
    let histories = of(&mut transaction, &mut numbers, &short).await?;
    transaction.commit().await?;
    Ok(histories)
}

row! {
    /// The number of the client that a row belongs to.
    NumberRow {
        client: i64,
    }
}

/// The events of clients, client by client in the order of the array. `$more` adds columns, and `$client` is the number of the
/// client in an element `k.value` of the array, with further conditions.
macro_rules! events {
    ($more:literal, $client:literal) => {
        concat!(
            "select e.client, s.source, e.id, t.word as event_type, e.time, e.sequence, e.actor, e.data,
                    case e.reason when 0 then '' else r.word end as reason",
            $more,
            "from json_each(?1) k
             cross join events e on e.client = ",
            $client,
            "
             left join sources s on s.number = e.source
             left join words t on t.number = e.type
             left join words r on r.number = e.reason"
        )
    };
}
pub(super) use events;

/// A moment before which there are no events.
const BEGINNING: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;

/// A range, as an element of a JSON array.
fn element(client: i64, range: &HistoryRange) -> (i64, i64) {
    (client, micros(range.after.unwrap_or(BEGINNING)))
}

/// Parts of the histories of clients, in a transaction. Each client has an entry, an empty one too.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    ranges: &[HistoryRange],
) -> Result<HashMap<ClientKey, Vec<Logged>>> {
    let keys = ranges.iter().map(|range| &range.key);
    numbers.read_clients(connection, keys).await?;
    let mut histories: HashMap<ClientKey, Vec<Logged>> = ranges
        .iter()
        .map(|range| (range.key.clone(), Vec::new()))
        .collect();
    let by_number: HashMap<i64, &HistoryRange> = ranges
        .iter()
        .filter_map(|range| Some((numbers.find_client(&range.key)?, range)))
        .collect();
    let elements = by_number.iter().map(|(client, range)| element(*client, range));
    let clients = json(&elements.collect::<Vec<_>>());
    let events: Vec<Both<NumberRow, LoggedRow<i64>>> =
        sqlx::query_as(events!(" ", "k.value ->> 0 and e.time > k.value ->> 1"))
            .bind(&clients)
            .fetch_all(&mut *connection)
            .await?;
    for Both(number, event) in events {
        let key = &by_number[&number.client].key;
        histories.entry(key.clone()).or_default().push(event.read(key)?);
    }
    let runs: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select t.client, t.open_run
         from json_each(?1) k
         cross join touches t on t.client = k.value ->> 0
         union all
         select t.client, t.run
         from json_each(?1) k
         cross join touch_runs t on t.client = k.value ->> 0 and t.last_at > k.value ->> 1",
    )
    .bind(&clients)
    .fetch_all(connection)
    .await?;
    for (number, run) in runs {
        let HistoryRange { key, after } = by_number[&number];
        histories
            .entry(key.clone())
            .or_default()
            .extend(read_run_after(key, &run, *after)?);
    }
    histories.values_mut().for_each(sort_history);
    Ok(histories)
}

/// The parts with at most `longest` events, and without enough runs of touches for more.
pub(super) async fn up_to(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    ranges: &[HistoryRange],
    longest: usize,
) -> Result<Vec<HistoryRange>> {
    let keys = ranges.iter().map(|range| &range.key);
    numbers.read_clients(connection, keys).await?;
    let most = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    // A client without a number has no events.
    let clients: Vec<(i64, i64)> = ranges
        .iter()
        .map(|range| element(numbers.find_client(&range.key).unwrap_or(0), range))
        .collect();
    let short: Vec<i64> = sqlx::query_scalar(
        "select k.key
         from json_each(?1) k
         where not exists (select 1 from events e
                           where e.client = k.value ->> 0 and e.time > k.value ->> 1
                           limit 1 offset ?2)
               and not exists (select 1 from touch_runs t
                               where t.client = k.value ->> 0 and t.last_at > k.value ->> 1
                               limit 1 offset ?3)",
    )
    .bind(json(&clients))
    .bind(most(longest))
    .bind(most(longest.div_ceil(RUN_LENGTH)))
    .fetch_all(connection)
    .await?;
    let range = |place: i64| ranges.get(usize::try_from(place).ok()?).cloned();
    Ok(short.into_iter().filter_map(range).collect())
}
