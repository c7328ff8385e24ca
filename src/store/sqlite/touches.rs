//! Writes touches: renewals in place, open runs, closed runs.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;

use super::batch::Held;
use super::numbers::Numbers;
use super::{many, micros};
use crate::domain::ClientKey;
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Commit, Renewal, Result, TouchWrite};

/// Adds touches to open runs in place.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    renewals: &[Renewal],
    policies: i64,
) -> Result<HashSet<ClientKey>> {
    numbers
        .read_clients(connection, renewals.iter().map(|renewal| &renewal.key))
        .await?;
    let known: HashMap<i64, &Renewal> = renewals
        .iter()
        .filter_map(|renewal| Some((numbers.find_client(&renewal.key)?, renewal)))
        .collect();
    let added: Vec<_> = renewals
        .iter()
        .filter_map(|renewal| {
            let (first, last) = renewal.span()?;
            let client = numbers.find_client(&renewal.key)?;
            Some((client, micros(first), micros(last), renewal.touches.pack()))
        })
        .collect();
    let renewed: Vec<(i64,)> = many::read(
        connection,
        many!(
            "update or fail touches
             set open_run = cast(open_run || w.column4 as blob), renew_after = w.column3
             from (values " each "(?, ?, ?, ?, ?, ?)" ") w
             where client = w.column1
                   and renew_after < w.column2 and renew_before > w.column3 and renew_policies = w.column5
                   and length(open_run) + length(w.column4) <= w.column6
             returning client"
        ),
        &added,
        |query, (client, first, last, touches)| {
            query
                .bind(client)
                .bind(first)
                .bind(last)
                .bind(touches.as_slice())
                .bind(policies)
                .bind(LONGEST_OPEN_RUN)
        },
    )
    .await?;
    Ok(renewed
        .iter()
        .map(|(client,)| known[client].key.clone())
        .collect())
}

/// Any write of a client ends its renew-only window. (A write of its touches states the next window.)
pub(super) async fn end_windows(
    connection: &mut SqliteConnection,
    commit: &Commit,
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    let renew_only: Vec<i64> = commit
        .clients
        .iter()
        .filter(|write| held.of(&write.key).is_some_and(|row| row.is_renew_only))
        .map(|write| numbers.client(&write.key))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail touches
             set renew_after = null, renew_before = null, renew_policies = null
             where client in (values " each "(?)" ")"
        ),
        &renew_only,
        |query, client| query.bind(client),
    )
    .await?;
    Ok(())
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    writes: &[TouchWrite],
    numbers: &Numbers,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into touches (client, open_run, renew_after, renew_before, renew_policies)
             select *
             from (values " each "(?, ?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (client) do update
             set open_run = excluded.open_run, renew_after = excluded.renew_after,
                 renew_before = excluded.renew_before, renew_policies = excluded.renew_policies"
        ),
        writes,
        |query, write| {
            query
                .bind(numbers.client(&write.key))
                .bind(write.open.pack())
                .bind(write.renew_only.map(|renew_only| micros(renew_only.after)))
                .bind(write.renew_only.map(|renew_only| micros(renew_only.before)))
                .bind(write.renew_only.map(|renew_only| renew_only.policies))
        },
    )
    .await?;
    Ok(())
}

/// A commit has at most one closed run for a client.
pub(super) async fn write_closed_runs(
    connection: &mut SqliteConnection,
    writes: &[TouchWrite],
    numbers: &Numbers,
) -> Result<()> {
    let closed: Vec<_> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            Some((numbers.client(&write.key), micros(run.last()?.time), run))
        })
        .collect();
    many::write(
        connection,
        many!(
            "insert or fail into touch_runs (client, last_at, run, number)
             select w.*, (select coalesce(max(t.number), 0) + 1 from touch_runs t where t.client = w.column1)
             from (values " each "(?, ?, ?)" ") w
             where column1 is not null"
        ),
        &closed,
        |query, (client, last_at, run)| query.bind(client).bind(last_at).bind(run.pack()),
    )
    .await?;
    Ok(())
}
