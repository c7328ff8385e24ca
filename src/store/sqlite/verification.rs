//! Reads everything about clients, and counts rows.

use std::collections::HashMap;
use std::slice;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::SqliteConnection;

use super::history::NumberRow;
use super::lines::{line, words_of_line};
use super::numbers::Numbers;
use super::{SqliteStore, history};
use crate::domain::ClientKey;
use crate::store::clients::ClientRange;
use crate::store::columns::{Both, json, key, row};
use crate::store::verification::{CountsRow, FacetsRow, Snapshots, one};
use crate::store::{Census, ClientSnapshot, Result, Verification};

#[async_trait]
impl Verification for SqliteStore {
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        let range = ClientRange::of(partner, after);
        let keys: Vec<(String, String)> = sqlx::query_as(
            "select partner, client
             from client_keys
             where (partner, client) > (?1, ?2) and partner <= ?3
             order by partner, client
             limit ?4",
        )
        .bind(range.after_partner)
        .bind(range.after_client)
        .bind(range.last_partner)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        Ok(keys
            .iter()
            .map(|(partner, client)| key(partner, client))
            .collect())
    }

    async fn snapshots(
        &self,
        keys: &[ClientKey],
        most: Option<usize>,
    ) -> Result<Vec<Result<ClientSnapshot>>> {
        let mut transaction = self.readers.begin().await?;
        let snapshots = read(&mut transaction, &mut Numbers::default(), keys, most).await?;
        transaction.commit().await?;
        Ok(snapshots)
    }

    async fn census(&self) -> Result<Census> {
        let facets: Vec<FacetsRow> = sqlx::query_as(
            "select link, service, access, count(*) as clients
             from clients
             where link is not null
             group by link, service, access",
        )
        .fetch_all(&self.readers)
        .await?;
        let counts: CountsRow = sqlx::query_as(
            "select (select count(*) from events) as events,
                    (select count(*) from journal) as journal,
                    (select count(*) from dead_letters where status = 'open' and retry_at is null) as dead_letters_open",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(Census::of(facets, &counts))
    }
}

/// Everything about one client, in a transaction.
pub(super) async fn of_one(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    key: &ClientKey,
) -> Result<ClientSnapshot> {
    one(read(connection, numbers, slice::from_ref(key), None).await?)
}

/// Reads everything about clients, table by table, in a transaction. What grows with the history comes first, and says how many of
/// the clients are read.
async fn read(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    keys: &[ClientKey],
    most: Option<usize>,
) -> Result<Vec<Result<ClientSnapshot>>> {
    numbers.read_clients(connection, keys).await?;
    let in_order = keys.iter().enumerate();
    // In key order. Nothing was ever stored about a client without a number.
    let mut clients: Vec<(i64, usize)> = in_order
        .filter_map(|(place, key)| Some((numbers.find_client(key)?, place)))
        .collect();
    let places: HashMap<i64, usize> = clients.iter().copied().collect();
    let pruned_before = sqlx::query_scalar("select pruned_before from relay")
        .fetch_one(&mut *connection)
        .await?;
    let mut snapshots = Snapshots::of(keys, most, pruned_before);
    let mut left = |snapshots: &Snapshots<i64>| {
        clients.retain(|(_, place)| *place < snapshots.len());
        json(&clients.iter().map(|(client, _)| client).collect::<Vec<_>>())
    };
    events(connection, &left(&snapshots), &places, &mut snapshots).await?;
    closed_runs(connection, &left(&snapshots), &places, &mut snapshots).await?;
    journal(connection, &left(&snapshots), &places, &mut snapshots).await?;
    let clients = left(&snapshots);
    rows(connection, &clients, &places, &mut snapshots).await?;
    touches(connection, &clients, &places, &mut snapshots).await?;
    deadlines(connection, &clients, &places, &mut snapshots).await?;
    checkpoints(connection, &clients, &places, &mut snapshots).await?;
    Ok(snapshots.end())
}

row! {
    EventRow {
        client: i64,
        received_at: i64,
    }
}

async fn events(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    let mut events = sqlx::query_as(history::events!(", e.received_at ", "k.value"))
        .bind(clients)
        .fetch(connection);
    snapshots.begin_table();
    while let Some(Both(row, event)) = events.try_next().await? {
        let EventRow { client, received_at } = row;
        if snapshots
            .add_event(places[&client], &received_at, event)
            .is_break()
        {
            break;
        }
    }
    Ok(())
}

async fn closed_runs(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    let mut runs = sqlx::query_as(
        "select t.client, t.run
         from json_each(?1) k
         cross join touch_runs t on t.client = k.value",
    )
    .bind(clients)
    .fetch(connection);
    snapshots.begin_table();
    while let Some((client, run)) = runs.try_next().await? {
        let run: Vec<u8> = run;
        if snapshots.add_run(places[&client], &run).is_break() {
            break;
        }
    }
    Ok(())
}

async fn journal(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    // Sorted client by client: the index ends with the sequence number.
    let mut lines = sqlx::query_as(concat!(
        "select j.client, ",
        line!(),
        "from json_each(?1) k
             cross join journal j indexed by journal_of_client on j.client = k.value",
        words_of_line!()
    ))
    .bind(clients)
    .fetch(connection);
    snapshots.begin_table();
    while let Some(Both(NumberRow { client }, line)) = lines.try_next().await? {
        if snapshots.add_line(places[&client], line).is_break() {
            break;
        }
    }
    Ok(())
}

async fn rows(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select c.client, c.version, c.doc, c.name, c.name_key, c.link, c.service, c.access, c.as_of, c.account
         from json_each(?1) k
         cross join clients c on c.client = k.value",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_row(places[&client], row);
    }
    Ok(())
}

async fn touches(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select t.client, t.open_run, t.renew_after, t.renew_before, t.renew_policies
         from json_each(?1) k
         cross join touches t on t.client = k.value",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_touches(places[&client], row);
    }
    Ok(())
}

async fn deadlines(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select d.client, w.word as sweep, d.due_at
         from json_each(?1) k
         cross join deadlines d on d.client = k.value
         left join words w on w.number = d.sweep",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_deadline(places[&client], row);
    }
    Ok(())
}

async fn checkpoints(
    connection: &mut SqliteConnection,
    clients: &str,
    places: &HashMap<i64, usize>,
    snapshots: &mut Snapshots<i64>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select c.client, c.time, c.events, c.policies, c.state
         from json_each(?1) k
         cross join checkpoints c on c.client = k.value
         order by c.client, c.time",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_checkpoint(places[&client], row);
    }
    Ok(())
}
