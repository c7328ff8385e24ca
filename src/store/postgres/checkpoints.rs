//! Reads and writes checkpoints.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::{Held, place_of};
use super::numbers::ClientNumbers;
use crate::domain::ClientKey;
use crate::store::checkpoints::{CheckpointRow, by_client};
use crate::store::columns::{Both, json, row};
use crate::store::{Checkpoint, CheckpointWrite, Checkpoints, Result};

row! {
    /// The place of the client among those that were asked for.
    PlaceRow {
        place: i32,
    }
}

/// The checkpoints of clients that no other transaction writes meanwhile. A client without a number has none.
pub(super) async fn of(
    connection: &mut PgConnection,
    before: &[(ClientKey, DateTime<Utc>)],
    numbers: &ClientNumbers,
) -> Result<HashMap<ClientKey, Checkpoints>> {
    let rows: Vec<Both<PlaceRow, CheckpointRow<DateTime<Utc>>>> = sqlx::query_as(
        "select k.place, c.time, c.events, c.policies, case c.time when n.time then c.state::text end as state
         from (
             select generate_subscripts($1::integer[], 1) as place, unnest($1::integer[]) as client,
                    unnest($2::timestamptz[]) as before
         ) k
         left join lateral (
             select time from checkpoints
             where client = k.client and time < k.before
             order by time desc
             limit 1
         ) n on true
         cross join lateral (
             select time, events, policies, state from checkpoints where client = k.client offset 0
         ) c
         order by k.place, c.time",
    )
    .bind(
        before
            .iter()
            .map(|(key, _)| numbers.get(key).copied())
            .collect::<Vec<_>>(),
    )
    .bind(before.iter().map(|(_, moment)| *moment).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|Both(PlaceRow { place }, row)| (place, row));
    by_client(rows, |place| before.get(place_of(*place)).map(|(key, _)| key))
}

pub(super) async fn write(
    connection: &mut PgConnection,
    writes: &[CheckpointWrite],
    held: &Held,
) -> Result<()> {
    let (clients, times): (Vec<i32>, Vec<DateTime<Utc>>) = writes
        .iter()
        .flat_map(|write| {
            let client = held.number(&write.key);
            write.removed.iter().map(move |time| (client, *time))
        })
        .unzip();
    if !clients.is_empty() {
        sqlx::query(
            "delete from checkpoints
             where ctid = any (array(
                 select c.ctid
                 from unnest($1::integer[], $2::timestamptz[]) as k (client, time)
                 cross join lateral (
                     select ctid from checkpoints where client = k.client and time = k.time offset 0
                 ) c
             ))",
        )
        .bind(clients)
        .bind(times)
        .execute(&mut *connection)
        .await?;
    }
    let added: Vec<(i32, &Checkpoint)> = writes
        .iter()
        .flat_map(|write| {
            let client = held.number(&write.key);
            write.added.iter().map(move |checkpoint| (client, checkpoint))
        })
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into checkpoints (client, time, events, policies, state)
         select unnest($1::integer[]), unnest($2::timestamptz[]), unnest($3::bigint[]), unnest($4::bigint[]),
                unnest($5::text[])::json
         on conflict (client, time) do update
         set events = excluded.events, policies = excluded.policies, state = excluded.state",
    )
    .bind(added.iter().map(|(client, _)| *client).collect::<Vec<_>>())
    .bind(added.iter().map(|(_, one)| one.time).collect::<Vec<_>>())
    .bind(added.iter().map(|(_, one)| one.events).collect::<Vec<_>>())
    .bind(added.iter().map(|(_, one)| one.policies).collect::<Vec<_>>())
    .bind(added.iter().map(|(_, one)| json(&one.client)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
