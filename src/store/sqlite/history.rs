//! Reads histories: events from the log, and touches from their runs.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::domain::ClientKey;
use crate::store::clients::{LoggedRow, sort_history};
use crate::store::columns::{Both, KeyRow, RowId, json, key};
use crate::store::touches::{RUN_LENGTH, read_run};
use crate::store::{Logged, Result};

/// The history of one client, from one database snapshot.
pub(super) async fn of_one(readers: &SqlitePool, key: &ClientKey) -> Result<Vec<Logged>> {
    // Touches move from the open run to a closed one, so one snapshot must cover both.
    let mut transaction = readers.begin().await?;
    let mut histories = of(&mut transaction, std::slice::from_ref(key)).await?;
    transaction.commit().await?;
    Ok(histories.remove(key).unwrap_or_default())
}

/// The histories of clients, in a transaction. Each key has an entry, an empty one too.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    keys: &[ClientKey],
) -> Result<HashMap<ClientKey, Vec<Logged>>> {
    let mut histories: HashMap<ClientKey, Vec<Logged>> =
        keys.iter().map(|key| (key.clone(), Vec::new())).collect();
    let keys = pairs(keys);
    let events: Vec<Both<KeyRow, LoggedRow<i64>>> = sqlx::query_as(
        "select e.partner, e.client, e.source, e.id, e.type as event_type, e.time, coalesce(':' || e.sequence, '') as sequence, e.data,
                coalesce(e.reason, '') as reason
         from json_each(?1) k
         cross join events e on e.partner = k.value ->> 0 and e.client = k.value ->> 1",
    )
    .bind(&keys)
    .fetch_all(&mut *connection)
    .await?;
    for row in events {
        let Both(key, row) = row;
        let key = key.read(RowId {
            table: "events",
            key: &"a client",
        })?;
        if let Some(history) = histories.get_mut(&key) {
            history.push(row.read(&key)?);
        }
    }
    let runs: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "select t.partner, t.client, t.open_run
         from json_each(?1) k
         cross join touches t on t.partner = k.value ->> 0 and t.client = k.value ->> 1
         union all
         select t.partner, t.client, t.run
         from json_each(?1) k
         cross join touch_runs t on t.partner = k.value ->> 0 and t.client = k.value ->> 1",
    )
    .bind(&keys)
    .fetch_all(connection)
    .await?;
    for (partner, client, run) in runs {
        let key = key(&partner, &client);
        let touched = read_run(&key, &run)?;
        if let Some(history) = histories.get_mut(&key) {
            history.extend(touched);
        }
    }
    histories.values_mut().for_each(sort_history);
    Ok(histories)
}

/// The clients with at most `longest` events, and without enough runs of touches for more.
pub(super) async fn up_to(
    connection: &mut SqliteConnection,
    keys: &[ClientKey],
    longest: usize,
) -> Result<Vec<ClientKey>> {
    let most = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let short: Vec<(String, String)> = sqlx::query_as(
        "select k.value ->> 0, k.value ->> 1
         from json_each(?1) k
         where not exists (select 1 from events e
                           where e.partner = k.value ->> 0 and e.client = k.value ->> 1
                           limit 1 offset ?2)
               and not exists (select 1 from touch_runs t
                               where t.partner = k.value ->> 0 and t.client = k.value ->> 1
                               limit 1 offset ?3)",
    )
    .bind(pairs(keys))
    .bind(most(longest))
    .bind(most(longest.div_ceil(RUN_LENGTH)))
    .fetch_all(connection)
    .await?;
    Ok(short
        .iter()
        .map(|(partner, client)| key(partner, client))
        .collect())
}

/// Keys as a JSON argument of a statement: `[[partner, client], …]`.
fn pairs(keys: &[ClientKey]) -> String {
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (&*key.partner, &*key.client)).collect();
    json(&pairs)
}
