//! Touches that need nobody to be read.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::batch::columns;
use crate::domain::ClientKey;
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Renewal, Result};

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
    // Told by their numbers, in one row: a thousand keys would cost more than what is written.
    let kept: Vec<i64> = sqlx::query_scalar(
        "with kept as (
             update touches
             set open_run = touches.open_run || u.run, quiet_after = u.last_at
             from (
                 select w.*, t.place
                 from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bytea[])
                      with ordinality as w (partner, client, first_at, last_at, run, number)
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
    let key = |number: &i64| Some(renewals.get(usize::try_from(number - 1).ok()?)?.key.clone());
    Ok(kept.iter().filter_map(key).collect())
}
