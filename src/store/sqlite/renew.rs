//! Touches that need nobody to be read.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::{many, micros};
use crate::domain::ClientKey;
use crate::store::rows;
use crate::store::touches::LONGEST_OPEN_RUN;
use crate::store::{Renewal, Result};

/// Adds to open runs in place.
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
             set open_run = cast(open_run || w.column5 as blob), quiet_after = w.column4
             from (values " each "(?, ?, ?, ?, ?, ?, ?)" ") w
             where partner = w.column1 and client = w.column2
                   and quiet_after < w.column3 and quiet_before > w.column4 and quiet_policies = w.column6
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
        .map(|(partner, client)| rows::key(partner, client))
        .collect())
}
