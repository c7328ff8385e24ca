//! Writes touches: renewals in place, open runs, closed runs.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::batch::Held;
use super::{many, micros};
use crate::domain::ClientKey;
use crate::store::columns::key;
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Commit, Renewal, Result, TouchWrite};

/// Adds touches to open runs in place.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    renewals: &[Renewal],
    policies: i64,
) -> Result<HashSet<ClientKey>> {
    let added: Vec<_> = renewals
        .iter()
        .filter_map(|renewal| {
            let (first, last) = renewal.span()?;
            Some((&renewal.key, micros(first), micros(last), renewal.touches.pack()))
        })
        .collect();
    let kept: Vec<(String, String)> = many::read(
        connection,
        many!(
            "update or fail touches
             set open_run = cast(open_run || w.column5 as blob), renew_after = w.column4
             from (values " each "(?, ?, ?, ?, ?, ?, ?)" ") w
             where partner = w.column1 and client = w.column2
                   and renew_after < w.column3 and renew_before > w.column4 and renew_policies = w.column6
                   and length(open_run) + length(w.column5) <= w.column7
             returning partner, client"
        ),
        &added,
        |query, (key, first, last, touches)| {
            query
                .bind(&*key.partner)
                .bind(&*key.client)
                .bind(first)
                .bind(last)
                .bind(touches.as_slice())
                .bind(policies)
                .bind(LONGEST_OPEN_RUN)
        },
    )
    .await?;
    Ok(kept
        .iter()
        .map(|(partner, client)| key(partner, client))
        .collect())
}

/// Any write of a client ends its renew-only window. (A write of its touches states the next window.)
pub(super) async fn end_windows(
    connection: &mut SqliteConnection,
    commit: &Commit,
    held: &Held,
) -> Result<()> {
    let renew_only: Vec<_> = commit
        .clients
        .iter()
        .filter(|write| held.of(&write.key).is_some_and(|row| row.is_renew_only))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail touches
             set renew_after = null, renew_before = null, renew_policies = null
             from (values " each "(?, ?)" ") w
             where partner = w.column1 and client = w.column2"
        ),
        &renew_only,
        |query, write| query.bind(&*write.key.partner).bind(&*write.key.client),
    )
    .await?;
    Ok(())
}

pub(super) async fn write(connection: &mut SqliteConnection, writes: &[TouchWrite]) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into touches (partner, client, open_run, renew_after, renew_before, renew_policies)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (partner, client) do update
             set open_run = excluded.open_run, renew_after = excluded.renew_after,
                 renew_before = excluded.renew_before, renew_policies = excluded.renew_policies"
        ),
        writes,
        |query, write| {
            query
                .bind(&*write.key.partner)
                .bind(&*write.key.client)
                .bind(write.open.pack())
                .bind(write.renew_only.map(|renew_only| micros(renew_only.after)))
                .bind(write.renew_only.map(|renew_only| micros(renew_only.before)))
                .bind(write.renew_only.map(|renew_only| renew_only.policies))
        },
    )
    .await?;
    Ok(())
}

pub(super) async fn write_closed_runs(
    connection: &mut SqliteConnection,
    writes: &[TouchWrite],
) -> Result<()> {
    let closed: Vec<_> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            Some((&write.key, micros(run.iter().next()?.time), run))
        })
        .collect();
    many::write(
        connection,
        many!(
            "insert or fail into touch_runs (partner, client, first_at, run)
             select *
             from (values " each "(?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        &closed,
        |query, (key, first_at, run)| {
            query
                .bind(&*key.partner)
                .bind(&*key.client)
                .bind(first_at)
                .bind(run.pack())
        },
    )
    .await?;
    Ok(())
}
