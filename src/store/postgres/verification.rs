//! Reads everything about one client, and counts rows.

use std::ops::ControlFlow;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::Held;
use super::pages::{Paged, paged};
use super::session::Session;
use super::{PostgresStore, history, pages};
use crate::domain::{ClientKey, Entry};
use crate::store::clients::ClientRange;
use crate::store::columns::key;
use crate::store::outbox::JournalRow;
use crate::store::touches::{TouchesRow, read_touches};
use crate::store::verification::{ClientRow, CountsRow, DeadlineRow, FacetsRow, read_deadlines};
use crate::store::{
    Census, ClientSnapshot, Deadlines, RenewOnlyWindow, Result, SnapshotRow, StoreError, Touches,
    Verification,
};

#[async_trait]
impl Verification for PostgresStore {
    /// Also searches the event log and the deadlines: a client's row may be missing. In the log the query skips from
    /// client to client through the index; `select distinct` would read every event.
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        self.in_time(async {
            let range = ClientRange::of(partner, after);
            let keys: Vec<(String, String)> = sqlx::query_as(
                "with recursive logged as (
                     (select partner, client from events
                      where (partner, client) > ($1, $2) and partner <= $3
                      order by partner, client limit 1)
                     union all
                     select next.partner, next.client
                     from logged
                     cross join lateral (
                         select partner, client from events
                         where (partner, client) > (logged.partner, logged.client) and partner <= $3
                         order by partner, client limit 1
                     ) next
                 )
                 (select partner, client from clients
                  where (partner, client) > ($1, $2) and partner <= $3
                  order by partner, client limit $4)
                 union
                 (select partner, client from logged limit $4)
                 union
                 (select distinct partner, client from deadlines
                  where (partner, client) > ($1, $2) and partner <= $3
                  order by partner, client limit $4)
                 order by partner, client
                 limit $4",
            )
            .bind(range.after_partner)
            .bind(range.after_client)
            .bind(range.last_partner)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            Ok(keys
                .iter()
                .map(|(partner, client)| key(partner, client))
                .collect())
        })
        .await
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        let begin = "begin isolation level repeatable read, read only; set local enable_seqscan = off";
        let mut session = Session::begin_reading(&self.pool, self.limit, begin).await?;
        let snapshot = read(&mut session, key).await?;
        session.end("commit").await?;
        Ok(snapshot)
    }

    async fn census(&self) -> Result<Census> {
        self.in_time(async {
            let facets: Vec<FacetsRow> = sqlx::query_as(
                "select link, service, access, count(*) as clients
                 from clients
                 where link is not null
                 group by link, service, access",
            )
            .fetch_all(&self.pool)
            .await?;
            let counts: CountsRow = sqlx::query_as(
                "select (select count(*) from events) as events,
                        (select count(*) from journal) as journal,
                        (select count(*) from dead_letters where status = 'open' and retry_at is null) as dead_letters_open",
            )
            .fetch_one(&self.pool)
            .await?;
            Ok(Census::of(facets, &counts))
        })
        .await
    }
}

/// Locks the client first. As in `lock`, a faster transaction that began later is a conflict.
pub(super) async fn locked(
    session: &mut Session,
    key: &ClientKey,
    held: &mut Held,
) -> Result<ClientSnapshot> {
    let (connection, debt) = session.lend()?;
    debt.paid_by(lock(connection, key, held)).await?;
    read(session, key).await
}

async fn lock(connection: &mut PgConnection, key: &ClientKey, held: &mut Held) -> Result<()> {
    let found: Option<(String, bool)> = sqlx::query_as(
        "select ctid::text, journaled_by <= (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         from clients
         where partner = $1 and client = $2
         for update",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((place, mine)) = found {
        if !mine {
            return Err(StoreError::Conflict(format!(
                "{key} was written by a transaction that began later"
            )));
        }
        held.places.insert(key.clone(), place);
    }
    let is_renew_only: Option<bool> = sqlx::query_scalar(
        "select quiet_before is not null from touches
         where partner = $1 and client = $2
         for update",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(&mut *connection)
    .await?;
    if is_renew_only == Some(true) {
        held.renew_only.insert(key.clone());
    }
    Ok(())
}

/// Reads the row and the other small parts in one round trip, and in pages what grows with the history.
async fn read(session: &mut Session, key: &ClientKey) -> Result<ClientSnapshot> {
    let (connection, debt) = session.lend()?;
    let small = async {
        Ok((
            row(connection, key).await?,
            touches(connection, key).await?,
            deadlines(connection, key).await?,
        ))
    };
    let (row, (touches, renew_only), deadlines) = debt.paid_by(small).await?;
    let mut histories = history::of(session, std::slice::from_ref(key), None).await?;
    Ok(ClientSnapshot {
        key: key.clone(),
        row,
        touches,
        renew_only,
        deadlines,
        history: histories.remove(key).unwrap_or_default(),
        journal: journal(session, key).await?,
        journal_is_pruned: is_pruned(session, key).await?,
    })
}

async fn row(connection: &mut PgConnection, key: &ClientKey) -> Result<Option<SnapshotRow>> {
    let row: Option<ClientRow<DateTime<Utc>>> = sqlx::query_as(
        "select version, doc::text, name, name_key, link, service, access, as_of
         from clients
         where partner = $1 and client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(connection)
    .await?;
    row.map(|row| row.read(key)).transpose()
}

async fn touches(
    connection: &mut PgConnection,
    key: &ClientKey,
) -> Result<(Touches, Option<RenewOnlyWindow>)> {
    let row: Option<TouchesRow<DateTime<Utc>>> = sqlx::query_as(
        "select open_run, quiet_after, quiet_before, quiet_policies from touches
         where partner = $1 and client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(connection)
    .await?;
    read_touches(key, row)
}

async fn deadlines(connection: &mut PgConnection, key: &ClientKey) -> Result<Deadlines> {
    let deadlines: Vec<DeadlineRow<DateTime<Utc>>> = sqlx::query_as(
        "select sweep, due_at from deadlines
         where partner = $1 and client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_all(connection)
    .await?;
    read_deadlines(key, deadlines)
}

const JOURNAL: Paged = paged!(
    "client_journal",
    "select j.xid, j.seq, k.partner, k.client, j.change, j.id, j.before, j.after, j.time, j.cause, j.correction,
            j.recorded_at
     from unnest($1::text[], $2::text[]) as k (partner, client)
     cross join lateral (
         select xid, seq, change, id, before, after, time, cause::text as cause, correction, recorded_at
         from journal where partner = k.partner and client = k.client
         order by seq
         limit $3::bigint
     ) j"
);

async fn journal(session: &mut Session, key: &ClientKey) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    pages::read(
        session,
        &JOURNAL,
        std::slice::from_ref(key),
        i64::MAX,
        |line: JournalRow<DateTime<Utc>>| {
            entries.push(line.read()?.entry);
            Ok(ControlFlow::Continue(()))
        },
    )
    .await?;
    Ok(entries)
}

const RECEIVED: Paged = paged!(
    "client_received",
    "select e.received_at
     from unnest($1::text[], $2::text[]) as k (partner, client)
     cross join lateral (
         select received_at from events where partner = k.partner and client = k.client limit $3::bigint
     ) e"
);

/// A client whose first event came after the pruned lines still has all of its own lines.
async fn is_pruned(session: &mut Session, key: &ClientKey) -> Result<bool> {
    let (connection, debt) = session.lend()?;
    let pruned_before = async {
        let query = sqlx::query_scalar("select pruned_before from relay");
        Ok(query.fetch_one(connection).await?)
    };
    let pruned_before: Option<DateTime<Utc>> = debt.paid_by(pruned_before).await?;
    let Some(pruned_before) = pruned_before else {
        return Ok(false);
    };
    let mut is_pruned = false;
    pages::read(
        session,
        &RECEIVED,
        std::slice::from_ref(key),
        i64::MAX,
        |(received_at,): (DateTime<Utc>,)| {
            is_pruned = received_at < pruned_before;
            Ok(if is_pruned {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        },
    )
    .await?;
    Ok(is_pruned)
}
