//! Touches that need nobody to be read.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::batch::{columns, place_of};
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
