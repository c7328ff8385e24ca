//! Writes the rows of clients.

use sqlx::SqliteConnection;

use super::batch::{Held, HeldRow};
use super::numbers::Numbers;
use super::{many, micros};
use crate::store::columns::{json, row};
use crate::store::commit::{ClientColumns, expect_written};
use crate::store::{ClientWrite, Result};

/// Every client must still have the version that was read, or still be missing. Existing clients come first: they may
/// free a name that a new one takes.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    writes: &[ClientWrite],
    numbers: &Numbers,
    held: &mut Held,
) -> Result<()> {
    let (known, new): (Vec<_>, Vec<_>) = writes.iter().partition(|write| write.read_version > 0);
    look_up(connection, &known, numbers, held).await?;
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
    give_up_names(connection, &renamed, numbers).await?;
    let mut written = update(connection, &known, numbers).await?;
    take_names(connection, &renamed, numbers).await?;
    update_accounts(connection, &known, numbers).await?;
    written += insert(connection, &new, numbers).await?;
    expect_written(written, writes)
}

row! {
    FoundRow {
        place: i64,
        name_key: Option<String>,
        account: String,
        is_renew_only: bool,
    }
}

/// Finds the rows of clients that this transaction writes without having locked them.
async fn look_up(
    connection: &mut SqliteConnection,
    writes: &[&ClientWrite],
    numbers: &Numbers,
    held: &mut Held,
) -> Result<()> {
    let missing: Vec<(i64, &ClientWrite)> = (0..)
        .zip(writes.iter().copied())
        .filter(|(_, write)| held.of(&write.key).is_none())
        .collect();
    let found: Vec<FoundRow> = many::read(
        connection,
        many!(
            "select w.column1 as place, c.name_key, c.account, t.renew_before is not null as is_renew_only
             from (values " each "(?, ?)" ") w
             cross join clients c on c.client = w.column2
             left join touches t on t.client = c.client"
        ),
        &missing,
        |query, (place, write)| query.bind(*place).bind(numbers.client(&write.key)),
    )
    .await?;
    for found in found {
        let row = HeldRow {
            name_key: found.name_key,
            account: found.account,
            is_renew_only: found.is_renew_only,
        };
        if let Some(write) = usize::try_from(found.place)
            .ok()
            .and_then(|place| writes.get(place))
        {
            held.add(write.key.clone(), row);
        }
    }
    Ok(())
}

/// Frees the names of renamed clients first: SQLite checks uniqueness row by row, and two clients may swap names.
async fn give_up_names(
    connection: &mut SqliteConnection,
    renamed: &[(&HeldRow, &ClientWrite)],
    numbers: &Numbers,
) -> Result<()> {
    let given_up: Vec<i64> = renamed
        .iter()
        .filter(|(row, _)| row.name_key.is_some())
        .map(|(_, write)| numbers.client(&write.key))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail clients
             set name_key = null
             where client in (values " each "(?)" ")"
        ),
        &given_up,
        |query, client| query.bind(client),
    )
    .await?;
    Ok(())
}

/// Updates all columns but `name_key` and `account`: an unchanged one must not touch its index.
async fn update(
    connection: &mut SqliteConnection,
    known: &[(&HeldRow, &ClientWrite)],
    numbers: &Numbers,
) -> Result<u64> {
    many::write(
        connection,
        many!(
            "update or fail clients
             set version = version + 1, name = w.column3, link = w.column4, service = w.column5, access = w.column6,
                 as_of = w.column7, doc = w.column8
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?)" ") w
             where clients.client = w.column1 and version = w.column2"
        ),
        known,
        |query, (_, write)| {
            let facets = ClientColumns::of(&write.document);
            query
                .bind(numbers.client(&write.key))
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

async fn take_names(
    connection: &mut SqliteConnection,
    renamed: &[(&HeldRow, &ClientWrite)],
    numbers: &Numbers,
) -> Result<()> {
    let taken: Vec<(i64, &str)> = renamed
        .iter()
        .filter_map(|(_, write)| Some((numbers.client(&write.key), write.name_key.as_deref()?)))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail clients
             set name_key = w.column2
             from (values " each "(?, ?)" ") w
             where clients.client = w.column1"
        ),
        &taken,
        |query, (client, name_key)| query.bind(client).bind(*name_key),
    )
    .await?;
    Ok(())
}

async fn update_accounts(
    connection: &mut SqliteConnection,
    known: &[(&HeldRow, &ClientWrite)],
    numbers: &Numbers,
) -> Result<()> {
    let changed: Vec<(i64, String)> = known
        .iter()
        .map(|(row, write)| (row, write, ClientColumns::of(&write.document).account))
        .filter(|(row, _, account)| row.account != *account)
        .map(|(_, write, account)| (numbers.client(&write.key), account))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail clients
             set account = w.column2
             from (values " each "(?, ?)" ") w
             where clients.client = w.column1"
        ),
        &changed,
        |query, (client, account)| query.bind(client).bind(account.as_str()),
    )
    .await?;
    Ok(())
}

/// Writes clients that have no row yet.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    new: &[&ClientWrite],
    numbers: &Numbers,
) -> Result<u64> {
    many::write(
        connection,
        many!(
            "insert or fail into clients
                 (client, partner, name, name_key, link, service, access, as_of, version, doc, account)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        new,
        |query, write| {
            let facets = ClientColumns::of(&write.document);
            query
                .bind(numbers.client(&write.key))
                .bind(&*write.key.partner)
                .bind(facets.name)
                .bind(write.name_key.as_deref())
                .bind(facets.link)
                .bind(facets.service)
                .bind(facets.access)
                .bind(facets.as_of.map(micros))
                .bind(write.read_version + 1)
                .bind(json(&write.document))
                .bind(facets.account)
        },
    )
    .await
}
