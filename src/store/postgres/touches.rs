//! Writes touches: renewals in place, open runs, closed runs.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::{Held, columns, place_of};
use crate::domain::ClientKey;
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Commit, Renewal, Result, TouchWrite};

/// Adds touches to open runs in place. A writer of a client in a renew-only window first locks its row in `touches`,
/// and ends the window. So a window that this statement finds is valid until this transaction ends.
pub(super) async fn renew(
    connection: &mut PgConnection,
    renewals: &[Renewal],
    policies: i64,
) -> Result<HashSet<ClientKey>> {
    let (partners, clients) = columns(renewals.iter().map(|renewal| &renewal.key));
    let (first, last): (Vec<_>, Vec<_>) = renewals.iter().filter_map(Renewal::span).unzip();
    let runs: Vec<Vec<u8>> = renewals.iter().map(|renewal| renewal.touches.pack()).collect();
    // Returns numbers in one row: a thousand keys would cost more than the write.
    let kept: Vec<i32> = sqlx::query_scalar(
        "with kept as (
             update touches
             set open_run = touches.open_run || u.run, renew_after = u.last_at
             from (
                 select w.*, t.place
                 from (
                     select generate_subscripts($1::text[], 1) as number, unnest($1::text[]) as partner,
                            unnest($2::text[]) as client, unnest($3::timestamptz[]) as first_at,
                            unnest($4::timestamptz[]) as last_at, unnest($5::bytea[]) as run
                 ) w
                 cross join lateral (
                     select number as client from client_keys
                     where partner = w.partner and client = w.client
                     offset 0
                 ) n
                 cross join lateral (
                     select ctid as place from touches where client = n.client offset 0
                 ) t
             ) u
             where touches.ctid = u.place
                   and touches.renew_policies = $6 and touches.renew_after < u.first_at
                   and touches.renew_before > u.last_at
                   and octet_length(touches.open_run) + octet_length(u.run) <= $7
             returning u.number
         )
         select coalesce(array_agg(number), '{}') from kept",
    )
    .bind(partners)
    .bind(clients)
    .bind(first)
    .bind(last)
    .bind(runs)
    .bind(policies)
    .bind(LONGEST_OPEN_RUN)
    .fetch_one(connection)
    .await?;
    let key = |number| renewals[place_of(number)].key.clone();
    Ok(kept.into_iter().map(key).collect())
}

/// Any write of a client ends its renew-only window. (A write of its touches states the next window.)
pub(super) async fn end_windows(connection: &mut PgConnection, commit: &Commit, held: &Held) -> Result<()> {
    let touched: HashSet<&ClientKey> = commit.touches.iter().map(|write| &write.key).collect();
    let ended: Vec<i32> = commit
        .clients
        .iter()
        .map(|write| &write.key)
        .filter(|key| held.renew_only.contains(*key) && !touched.contains(key))
        .map(|key| held.number(key))
        .collect();
    if ended.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update touches
         set renew_after = null, renew_before = null, renew_policies = null
         where ctid = any (array(
             select t.ctid
             from unnest($1::integer[]) as k (client)
             cross join lateral (select ctid from touches where client = k.client offset 0) t
         ))",
    )
    .bind(ended)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn write(connection: &mut PgConnection, writes: &[TouchWrite], held: &Held) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into touches (client, open_run, renew_after, renew_before, renew_policies)
         select * from unnest($1::integer[], $2::bytea[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
         on conflict (client) do update
         set open_run = excluded.open_run, renew_after = excluded.renew_after, renew_before = excluded.renew_before,
             renew_policies = excluded.renew_policies",
    )
    .bind(held.numbers_of(writes.iter().map(|write| &write.key)))
    .bind(writes.iter().map(|w| w.open.pack()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.after)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.before)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.policies)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn write_closed_runs(
    connection: &mut PgConnection,
    writes: &[TouchWrite],
    held: &Held,
) -> Result<()> {
    let closed: Vec<(i32, DateTime<Utc>, Vec<u8>)> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            Some((held.number(&write.key), run.last()?.time, run.pack()))
        })
        .collect();
    if closed.is_empty() {
        return Ok(());
    }
    // The client is locked, so its last number stays the last.
    sqlx::query(
        "insert into touch_runs (client, number, last_at, run)
         select w.client, coalesce(last.number, 0) + 1, w.last_at, w.run
         from unnest($1::integer[], $2::timestamptz[], $3::bytea[]) as w (client, last_at, run)
         left join lateral (
             select number from touch_runs where client = w.client order by number desc limit 1
         ) last on true",
    )
    .bind(closed.iter().map(|(client, ..)| *client).collect::<Vec<_>>())
    .bind(closed.iter().map(|(_, last_at, _)| *last_at).collect::<Vec<_>>())
    .bind(closed.iter().map(|(.., run)| run.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
