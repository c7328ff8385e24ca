//! Touches that need nobody to be read.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::micros;
use crate::domain::ClientKey;
use crate::store::rows::{self, json};
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Renewal, Result, hex};

/// Adds to open runs in place.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    renewals: &[Renewal],
    policies: i64,
) -> Result<HashSet<ClientKey>> {
    let lines: Vec<_> = renewals
        .iter()
        .filter_map(|renewal| {
            let (first, last) = renewal.span()?;
            Some((
                &*renewal.key.partner,
                &*renewal.key.client,
                micros(first),
                micros(last),
                hex(&renewal.touches.pack()),
            ))
        })
        .collect();
    let kept: Vec<(String, String)> = sqlx::query_as(
        "update touches
         set open_run = cast(open_run || unhex(w.value ->> 4) as blob), quiet_after = w.value ->> 3
         from json_each(?1) w
         where partner = w.value ->> 0 and client = w.value ->> 1
               and quiet_policies = ?2 and quiet_after < w.value ->> 2 and quiet_before > w.value ->> 3
               and length(open_run) + length(w.value ->> 4) / 2 <= ?3
         returning partner, client",
    )
    .bind(json(&lines))
    .bind(policies)
    .bind(LONGEST_OPEN_RUN)
    .fetch_all(connection)
    .await?;
    Ok(kept
        .iter()
        .map(|(partner, client)| rows::key(partner, client))
        .collect())
}
