//! Reads and writes checkpoints.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::history::NumberRow;
use super::numbers::Numbers;
use super::{many, micros};
use crate::domain::ClientKey;
use crate::store::checkpoints::{CheckpointRow, by_client};
use crate::store::columns::{Both, json};
use crate::store::{Checkpoint, CheckpointWrite, Checkpoints, Result};

/// The checkpoints of clients, in a transaction.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    before: &[(ClientKey, DateTime<Utc>)],
) -> Result<HashMap<ClientKey, Checkpoints>> {
    numbers
        .read_clients(connection, before.iter().map(|(key, _)| key))
        .await?;
    let known: HashMap<i64, (&ClientKey, i64)> = before
        .iter()
        .filter_map(|(key, moment)| Some((numbers.find_client(key)?, (key, micros(*moment)))))
        .collect();
    let clients: Vec<(i64, i64)> = known
        .iter()
        .map(|(client, (_, moment))| (*client, *moment))
        .collect();
    let rows: Vec<Both<NumberRow, CheckpointRow<i64>>> = sqlx::query_as(
        "select c.client, c.time, c.events, c.policies,
                case c.time
                    when (select max(n.time) from checkpoints n where n.client = c.client and n.time < k.value ->> 1)
                    then c.state
                end as state
         from json_each(?1) k
         cross join checkpoints c on c.client = k.value ->> 0
         order by c.client, c.time",
    )
    .bind(json(&clients))
    .fetch_all(connection)
    .await?;
    let rows = rows
        .into_iter()
        .map(|Both(NumberRow { client }, row)| (client, row));
    by_client(rows, |client| known.get(client).map(|(key, _)| *key))
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    writes: &[CheckpointWrite],
    numbers: &Numbers,
) -> Result<()> {
    let removed: Vec<(i64, i64)> = writes
        .iter()
        .flat_map(|write| {
            let client = numbers.client(&write.key);
            write.removed.iter().map(move |time| (client, micros(*time)))
        })
        .collect();
    many::write(
        connection,
        many!(
            "delete from checkpoints
             where (client, time) in (select * from (values " each "(?, ?)" "))"
        ),
        &removed,
        |query, (client, time)| query.bind(client).bind(time),
    )
    .await?;
    let added: Vec<(i64, &Checkpoint)> = writes
        .iter()
        .flat_map(|write| {
            let client = numbers.client(&write.key);
            write.added.iter().map(move |checkpoint| (client, checkpoint))
        })
        .collect();
    many::write(
        connection,
        many!(
            "insert into checkpoints (client, time, events, policies, state)
             select *
             from (values " each "(?, ?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (client, time) do update
             set events = excluded.events, policies = excluded.policies, state = excluded.state"
        ),
        &added,
        |query, (client, checkpoint)| {
            query
                .bind(client)
                .bind(micros(checkpoint.time))
                .bind(checkpoint.events)
                .bind(checkpoint.policies)
                .bind(json(&checkpoint.client))
        },
    )
    .await?;
    Ok(())
}
