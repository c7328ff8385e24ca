//! Writes the rows of clients.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::batch::Held;
use crate::domain::{ClientKey, Entry};
use crate::store::columns::json;
use crate::store::commit::{ClientColumns, expect_written};
use crate::store::{ClientWrite, Result};

/// Finds the rows of clients that this transaction writes without having locked them. Whether they have a renew-only
/// window is unknown, so assume it.
pub(super) async fn look_up(
    connection: &mut PgConnection,
    writes: &[ClientWrite],
    held: &mut Held,
) -> Result<()> {
    let missing: HashMap<i32, &ClientKey> = writes
        .iter()
        .filter(|write| write.read_version > 0 && !held.places.contains_key(&write.key))
        .map(|write| (held.number(&write.key), &write.key))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found: Vec<(i32, String)> = sqlx::query_as(
        "select k.client, c.place
         from unnest($1::integer[]) as k (client)
         cross join lateral (select ctid::text as place from clients where client = k.client offset 0) c",
    )
    .bind(missing.keys().copied().collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    for (client, place) in found {
        let key = missing[&client];
        held.renew_only.insert(key.clone());
        held.places.insert(key.clone(), place);
    }
    Ok(())
}

/// The rows of clients that a commit writes.
pub(super) struct ClientRows<'a> {
    known: KnownClients<'a>,
    new: ClientArrays<'a>,
    /// Clients with journal lines but no other write.
    journaled: Vec<i32>,
}

/// The rows of clients that exist, with their locations, for [`UPDATE`].
#[derive(Default)]
pub(super) struct KnownClients<'a> {
    columns: ClientArrays<'a>,
    places: Vec<Option<&'a str>>,
}

impl<'a> ClientRows<'a> {
    pub fn of(writes: &'a [ClientWrite], journal: &[Entry], held: &'a Held) -> Self {
        let mut journaled: HashSet<&ClientKey> = journal.iter().map(|entry| &entry.key).collect();
        let mut known = KnownClients::default();
        let mut new = ClientArrays::default();
        for write in writes {
            let journaled = journaled.remove(&write.key);
            if write.read_version > 0 {
                // A removed client matches no row, which is a conflict.
                known.places.push(held.places.get(&write.key).map(String::as_str));
                known.columns.push(write, held.number(&write.key), journaled);
            } else {
                new.push(write, held.number(&write.key), journaled);
            }
        }
        Self {
            known,
            new,
            journaled: held.numbers_of(journaled),
        }
    }

    /// Marks clients that have journal lines only, and writes new clients. Existing clients have to be written before those: they
    /// may free a name that a new one takes. Returns how many clients were written, and the existing ones that were not.
    pub async fn write_new(self, connection: &mut PgConnection) -> Result<(u64, KnownClients<'a>)> {
        stamp(connection, self.journaled).await?;
        if self.new.clients.is_empty() {
            return Ok((0, self.known));
        }
        let mut written = 0;
        if !self.known.is_empty() {
            let update = self.known.bind(sqlx::query(UPDATE)).execute(&mut *connection);
            written += update.await?.rows_affected();
        }
        written += insert_clients(connection, self.new).await?;
        Ok((written, KnownClients::default()))
    }
}

impl<'a> KnownClients<'a> {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn bind(self, query: Statement<'a>) -> Statement<'a> {
        self.columns.bind(query).bind(self.places)
    }
}

/// A statement with the parameters that are bound so far.
pub(super) type Statement<'a> = Query<'a, Postgres, PgArguments>;

/// The columns of clients, all of equal length.
#[derive(Default)]
struct ClientArrays<'a> {
    clients: Vec<i32>,
    partners: Vec<&'a str>,
    names: Vec<Option<&'a str>>,
    name_keys: Vec<Option<&'a str>>,
    links: Vec<Option<&'static str>>,
    services: Vec<Option<&'static str>>,
    access: Vec<&'static str>,
    as_of: Vec<Option<DateTime<Utc>>>,
    /// The written versions.
    versions: Vec<i64>,
    journaled: Vec<bool>,
    docs: Vec<String>,
    accounts: Vec<String>,
}

impl<'a> ClientArrays<'a> {
    fn push(&mut self, write: &'a ClientWrite, number: i32, journaled: bool) {
        let facets = ClientColumns::of(&write.document);
        self.clients.push(number);
        self.partners.push(&write.key.partner);
        self.names.push(facets.name);
        self.name_keys.push(write.name_key.as_deref());
        self.links.push(facets.link);
        self.services.push(facets.service);
        self.access.push(facets.access);
        self.as_of.push(facets.as_of);
        self.versions.push(write.read_version + 1);
        self.journaled.push(journaled);
        self.docs.push(json(&write.document));
        self.accounts.push(facets.account);
    }

    fn bind(self, query: Statement<'a>) -> Statement<'a> {
        query
            .bind(self.clients)
            .bind(self.partners)
            .bind(self.names)
            .bind(self.name_keys)
            .bind(self.links)
            .bind(self.services)
            .bind(self.access)
            .bind(self.as_of)
            .bind(self.versions)
            .bind(self.journaled)
            .bind(self.docs)
            .bind(self.accounts)
    }
}

/// Locked rows have not moved, so each is found by its place. The client is compared for safety only, and not with `=`: by that,
/// PostgreSQL could join along the index of clients, and a plan that was cached when there were few would scan all of it once
/// there are many. The partner never changes. Every client must still have the version that was read.
pub(super) const UPDATE: &str = "update clients
     set name = w.name, name_key = w.name_key, link = w.link, service = w.service, access = w.access,
         as_of = w.as_of, version = w.version, doc = w.doc::json, account = w.account,
         journaled_by = case when w.journaled
                             then (select pg_current_xact_id()::text::bigint + xid_shift from relay)
                             else journaled_by end
     from (
         select unnest($1::integer[]) as client, unnest($2::text[]) as partner, unnest($3::text[]) as name,
                unnest($4::text[]) as name_key, unnest($5::text[]) as link, unnest($6::text[]) as service,
                unnest($7::text[]) as access, unnest($8::timestamptz[]) as as_of, unnest($9::bigint[]) as version,
                unnest($10::bool[]) as journaled, unnest($11::text[]) as doc, unnest($12::text[]) as account,
                unnest($13::text[]) as place
     ) w
     where clients.ctid = w.place::tid and clients.version = w.version - 1
           and clients.client is not distinct from w.client";

/// Writes clients that have no row yet, and marks none of them as written to the journal.
pub(super) async fn insert(connection: &mut PgConnection, writes: &[ClientWrite], held: &Held) -> Result<()> {
    let mut clients = ClientArrays::default();
    for write in writes {
        clients.push(write, held.number(&write.key), false);
    }
    expect_written(insert_clients(connection, clients).await?, writes)
}

async fn insert_clients(connection: &mut PgConnection, clients: ClientArrays<'_>) -> Result<u64> {
    let statement = "insert into clients
             (client, partner, name, name_key, link, service, access, as_of, version, journaled_by, doc, account)
         select w.client, w.partner, w.name, w.name_key, w.link, w.service, w.access, w.as_of, w.version,
                case when w.journaled
                     then (select pg_current_xact_id()::text::bigint + xid_shift from relay)
                     else 0 end,
                w.doc::json, w.account
         from (
             select unnest($1::integer[]) as client, unnest($2::text[]) as partner, unnest($3::text[]) as name,
                    unnest($4::text[]) as name_key, unnest($5::text[]) as link, unnest($6::text[]) as service,
                    unnest($7::text[]) as access, unnest($8::timestamptz[]) as as_of, unnest($9::bigint[]) as version,
                    unnest($10::bool[]) as journaled, unnest($11::text[]) as doc, unnest($12::text[]) as account
         ) w";
    let done = clients.bind(sqlx::query(statement)).execute(connection).await?;
    Ok(done.rows_affected())
}

/// Marks clients with journal lines but no other write: a late event changed nothing but its own refusal.
async fn stamp(connection: &mut PgConnection, journaled: Vec<i32>) -> Result<()> {
    if journaled.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update clients
         set journaled_by = (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         where ctid = any (array(
             select c.ctid
             from unnest($1::integer[]) as k (client)
             cross join lateral (select ctid from clients where client = k.client offset 0) c
         ))",
    )
    .bind(journaled)
    .execute(connection)
    .await?;
    Ok(())
}
