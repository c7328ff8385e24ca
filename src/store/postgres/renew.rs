//! Touches that need nobody to be read.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::batch::columns;
use crate::domain::ClientKey;
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Renewal, Result, rows};

/// Adds to open runs in place. Whoever writes a client in a quiet stretch locks its row here first, and ends the stretch:
/// so one that is found quiet is, and stays so until this transaction ends.
pub(super) async fn renew(
    connection: &mut PgConnection,
    renewals: &[Renewal],
    policies: i64,
) -> Result<HashSet<ClientKey>> {
    let (partners, clients) = columns(renewals.iter().map(|renewal| &renewal.key));
    let (first, last): (Vec<_>, Vec<_>) = renewals.iter().filter_map(Renewal::span).unzip();
    let runs: Vec<Vec<u8>> = renewals.iter().map(|renewal| renewal.touches.pack()).collect();
    let kept: Vec<(String, String)> = sqlx::query_as(
        "update touches
         set open_run = touches.open_run || u.run, quiet_after = u.last_at
         from (
             select w.*, t.place
             from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bytea[])
                  as w (partner, client, first_at, last_at, run)
             cross join lateral (
                 select ctid as place from touches where partner = w.partner and client = w.client offset 0
             ) t
         ) u
         where touches.ctid = u.place
               and touches.quiet_policies = $6 and touches.quiet_after < u.first_at and touches.quiet_before > u.last_at
               and octet_length(touches.open_run) + octet_length(u.run) <= $7
         returning touches.partner, touches.client",
    )
    .bind(partners)
    .bind(clients)
    .bind(first)
    .bind(last)
    .bind(runs)
    .bind(policies)
    .bind(LONGEST_OPEN_RUN)
    .fetch_all(connection)
    .await?;
    Ok(kept
        .iter()
        .map(|(partner, client)| rows::key(partner, client))
        .collect())
}
