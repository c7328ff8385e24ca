//! Writes touches: renewals in place, open runs, closed runs.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::{columns, place_of};
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
             set open_run = touches.open_run || u.run, quiet_after = u.last_at
             from (
                 select w.*, t.place
                 from (
                     select generate_subscripts($1::text[], 1) as number, unnest($1::text[]) as partner,
                            unnest($2::text[]) as client, unnest($3::timestamptz[]) as first_at,
                            unnest($4::timestamptz[]) as last_at, unnest($5::bytea[]) as run
                 ) w
                 cross join lateral (
                     select ctid as place from touches where partner = w.partner and client = w.client offset 0
                 ) t
             ) u
             where touches.ctid = u.place
                   and touches.quiet_policies = $6 and touches.quiet_after < u.first_at
                   and touches.quiet_before > u.last_at
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
pub(super) async fn end_windows(
    connection: &mut PgConnection,
    commit: &Commit,
    renew_only: &HashSet<ClientKey>,
) -> Result<()> {
    let touched: HashSet<&ClientKey> = commit.touches.iter().map(|write| &write.key).collect();
    let ended: Vec<&ClientKey> = commit
        .clients
        .iter()
        .map(|write| &write.key)
        .filter(|key| renew_only.contains(*key) && !touched.contains(key))
        .collect();
    if ended.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(ended);
    sqlx::query(
        "update touches
         set quiet_after = null, quiet_before = null, quiet_policies = null
         where ctid = any (array(
             select t.ctid
             from unnest($1::text[], $2::text[]) as k (partner, client)
             cross join lateral (
                 select ctid from touches where partner = k.partner and client = k.client offset 0
             ) t
         ))",
    )
    .bind(partners)
    .bind(clients)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn write(connection: &mut PgConnection, writes: &[TouchWrite]) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(writes.iter().map(|write| &write.key));
    sqlx::query(
        "insert into touches (partner, client, open_run, quiet_after, quiet_before, quiet_policies)
         select * from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[], $5::timestamptz[], $6::bigint[])
         on conflict (partner, client) do update
         set open_run = excluded.open_run, quiet_after = excluded.quiet_after, quiet_before = excluded.quiet_before,
             quiet_policies = excluded.quiet_policies",
    )
    .bind(partners)
    .bind(clients)
    .bind(writes.iter().map(|w| w.open.pack()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.after)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.before)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.policies)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn write_closed_runs(connection: &mut PgConnection, writes: &[TouchWrite]) -> Result<()> {
    let closed: Vec<(&ClientKey, DateTime<Utc>, Vec<u8>)> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            Some((&write.key, run.iter().next()?.time, run.pack()))
        })
        .collect();
    if closed.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(closed.iter().map(|(key, ..)| *key));
    sqlx::query(
        "insert into touch_runs (partner, client, first_at, run)
         select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[])",
    )
    .bind(partners)
    .bind(clients)
    .bind(
        closed
            .iter()
            .map(|(_, first_at, _)| *first_at)
            .collect::<Vec<_>>(),
    )
    .bind(closed.iter().map(|(.., run)| run.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
