//! Reads histories: events from the log, and touches from their runs.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::numbers::Numbers;
use crate::domain::ClientKey;
use crate::store::clients::{LoggedRow, sort_history};
use crate::store::columns::{Both, json, row};
use crate::store::touches::{RUN_LENGTH, read_run};
use crate::store::{Logged, Result};

/// The history of one client, from one database snapshot.
pub(super) async fn of_one(readers: &SqlitePool, key: &ClientKey) -> Result<Vec<Logged>> {
    // Touches move from the open run to a closed one, so one snapshot must cover both.
    let mut transaction = readers.begin().await?;
    let mut numbers = Numbers::default();
    let mut histories = of(&mut transaction, &mut numbers, std::slice::from_ref(key)).await?;
    transaction.commit().await?;
    Ok(histories.remove(key).unwrap_or_default())
}

row! {
    /// The number of the client that a row belongs to.
    NumberRow {
        client: i64,
    }
}

/// The events of clients, client by client in the order of the array. `$more` adds columns.
macro_rules! events {
    ($more:literal) => {
        concat!(
            "select e.client, s.source, e.id, t.word as event_type, e.time, e.sequence, e.actor, e.data,
                    case e.reason when 0 then '' else r.word end as reason",
            $more,
            "from json_each(?1) k
             cross join events e on e.client = k.value
             left join sources s on s.number = e.source
             left join words t on t.number = e.type
             left join words r on r.number = e.reason"
        )
    };
}
pub(super) use events;

/// The histories of clients, in a transaction. Each key has an entry, an empty one too.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    keys: &[ClientKey],
) -> Result<HashMap<ClientKey, Vec<Logged>>> {
    numbers.read_clients(connection, keys).await?;
    let mut histories: HashMap<ClientKey, Vec<Logged>> =
        keys.iter().map(|key| (key.clone(), Vec::new())).collect();
    let by_number: HashMap<i64, &ClientKey> = keys
        .iter()
        .filter_map(|key| Some((numbers.find_client(key)?, key)))
        .collect();
    let clients = json(&by_number.keys().collect::<Vec<_>>());
    let events: Vec<Both<NumberRow, LoggedRow<i64>>> = sqlx::query_as(events!(" "))
        .bind(&clients)
        .fetch_all(&mut *connection)
        .await?;
    for Both(number, event) in events {
        let key = by_number[&number.client];
        histories.entry(key.clone()).or_default().push(event.read(key)?);
    }
    let runs: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select t.client, t.open_run
         from json_each(?1) k
         cross join touches t on t.client = k.value
         union all
         select t.client, t.run
         from json_each(?1) k
         cross join touch_runs t on t.client = k.value",
    )
    .bind(&clients)
    .fetch_all(connection)
    .await?;
    for (number, run) in runs {
        let key = by_number[&number];
        histories
            .entry(key.clone())
            .or_default()
            .extend(read_run(key, &run)?);
    }
    histories.values_mut().for_each(sort_history);
    Ok(histories)
}

/// The clients with at most `longest` events, and without enough runs of touches for more.
pub(super) async fn up_to(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    keys: &[ClientKey],
    longest: usize,
) -> Result<Vec<ClientKey>> {
    numbers.read_clients(connection, keys).await?;
    let most = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    // A client without a number has no events.
    let clients: Vec<i64> = keys
        .iter()
        .map(|key| numbers.find_client(key).unwrap_or(0))
        .collect();
    let short: Vec<i64> = sqlx::query_scalar(
        "select k.key
         from json_each(?1) k
         where not exists (select 1 from events e
                           where e.client = k.value
                           limit 1 offset ?2)
               and not exists (select 1 from touch_runs t
                               where t.client = k.value
                               limit 1 offset ?3)",
    )
    .bind(json(&clients))
    .bind(most(longest))
    .bind(most(longest.div_ceil(RUN_LENGTH)))
    .fetch_all(connection)
    .await?;
    let key = |place: i64| keys.get(usize::try_from(place).ok()?).cloned();
    Ok(short.into_iter().filter_map(key).collect())
}
