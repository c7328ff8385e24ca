//! Writes the rows of clients.

use sqlx::SqliteConnection;

use super::batch::{Held, HeldRow};
use super::{many, micros};
use crate::store::columns::{json, key, row};
use crate::store::commit::{ClientColumns, expect_written};
use crate::store::{ClientWrite, Result};

/// Every client must still have the version that was read, or still be missing. Existing clients come first: they may
/// free a name that a new one takes.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    writes: &[ClientWrite],
    held: &mut Held,
) -> Result<()> {
    let (known, new): (Vec<_>, Vec<_>) = writes.iter().partition(|write| write.read_version > 0);
    look_up(connection, &known, held).await?;
    // A removed client matches no row, which is a conflict.
    let known: Vec<_> = known
        .into_iter()
        .filter_map(|write| Some((held.of(&write.key)?, write)))
        .collect();
    let renamed: Vec<_> = known
        .iter()
        .copied()
        .filter(|(row, write)| row.name_key != write.name_key)
        .collect();
    give_up_names(connection, &renamed).await?;
    let mut written = update(connection, &known).await?;
    take_names(connection, &renamed).await?;
    written += insert(connection, &new).await?;
    expect_written(written, writes)
}

row! {
    PlaceRow {
        partner: String,
        client: String,
        rowid: i64,
        name_key: Option<String>,
        is_renew_only: bool,
    }
}

/// Finds the rows of clients that this transaction writes without having locked them.
async fn look_up(connection: &mut SqliteConnection, writes: &[&ClientWrite], held: &mut Held) -> Result<()> {
    let missing: Vec<_> = writes
        .iter()
        .filter(|write| held.of(&write.key).is_none())
        .collect();
    let found: Vec<PlaceRow> = many::read(
        connection,
        many!(
            "select c.partner, c.client, c.rowid, c.name_key, t.renew_before is not null as is_renew_only
             from (values " each "(?, ?)" ") k
             cross join clients c on c.partner = k.column1 and c.client = k.column2
             left join touches t on t.partner = c.partner and t.client = c.client"
        ),
        &missing,
        |query, write| query.bind(&*write.key.partner).bind(&*write.key.client),
    )
    .await?;
    for found in found {
        let row = HeldRow {
            place: found.rowid,
            name_key: found.name_key,
            is_renew_only: found.is_renew_only,
        };
        held.add(key(&found.partner, &found.client), row);
    }
    Ok(())
}

/// Frees the names of renamed clients first: SQLite checks uniqueness row by row, and two clients may swap names.
async fn give_up_names(
    connection: &mut SqliteConnection,
    renamed: &[(&HeldRow, &ClientWrite)],
) -> Result<()> {
    let given_up: Vec<i64> = renamed
        .iter()
        .filter(|(row, _)| row.name_key.is_some())
        .map(|(row, _)| row.place)
        .collect();
    many::write(
        connection,
        many!(
            "update or fail clients
             set name_key = null
             where rowid in (values " each "(?)" ")"
        ),
        &given_up,
        |query, place| query.bind(place),
    )
    .await?;
    Ok(())
}

/// Updates all columns but `name_key`: an unchanged one must not touch its index.
async fn update(connection: &mut SqliteConnection, known: &[(&HeldRow, &ClientWrite)]) -> Result<u64> {
    many::write(
        connection,
        many!(
            "update or fail clients
             set version = version + 1, name = w.column3, link = w.column4, service = w.column5, access = w.column6,
                 as_of = w.column7, doc = w.column8
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?)" ") w
             where clients.rowid = w.column1 and version = w.column2"
        ),
        known,
        |query, (row, write)| {
            let facets = ClientColumns::of(&write.document);
            query
                .bind(row.place)
                .bind(write.read_version)
                .bind(facets.name)
                .bind(facets.link)
                .bind(facets.service)
                .bind(facets.access)
                .bind(facets.as_of.map(micros))
                .bind(json(&write.document))
        },
    )
    .await
}

async fn take_names(connection: &mut SqliteConnection, renamed: &[(&HeldRow, &ClientWrite)]) -> Result<()> {
    let taken: Vec<(i64, &str)> = renamed
        .iter()
        .filter_map(|(row, write)| Some((row.place, write.name_key.as_deref()?)))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail clients
             set name_key = w.column2
             from (values " each "(?, ?)" ") w
             where clients.rowid = w.column1"
        ),
        &taken,
        |query, (place, name_key)| query.bind(place).bind(*name_key),
    )
    .await?;
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, new: &[&ClientWrite]) -> Result<u64> {
    many::write(
        connection,
        many!(
            "insert or fail into clients
                 (partner, client, name, name_key, link, service, access, as_of, version, doc)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        new,
        |query, write| {
            let facets = ClientColumns::of(&write.document);
            query
                .bind(&*write.key.partner)
                .bind(&*write.key.client)
                .bind(facets.name)
                .bind(write.name_key.as_deref())
                .bind(facets.link)
                .bind(facets.service)
                .bind(facets.access)
                .bind(facets.as_of.map(micros))
                .bind(write.read_version + 1)
                .bind(json(&write.document))
        },
    )
    .await
}
