//! Finds events that are in the log already.

use std::collections::{BTreeSet, HashSet};

use sqlx::SqliteConnection;

use super::event_id::BoundId;
use super::numbers::Numbers;
use super::{many, micros};
use crate::domain::{ClientKey, Event, Namesake};
use crate::store::Result;
use crate::store::columns::key;
use crate::store::commit::data_of;
use crate::store::namesakes::{self, NamesakeRow};

/// The places of those of these pairs of source and id that are in the log.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    ids: &[(&str, &str)],
) -> Result<HashSet<usize>> {
    let sources: BTreeSet<&str> = ids.iter().map(|(source, _)| *source).collect();
    numbers.read_sources(connection, &sources).await?;
    // An unknown source has sent no event.
    let asked: Vec<(i64, i64, &str)> = (0..)
        .zip(ids)
        .filter_map(|(place, (source, id))| Some((place, numbers.find_source(source)?, *id)))
        .collect();
    let known: Vec<(i64,)> = many::read(
        connection,
        many!(
            "select w.column1
             from (values " each "(?, ?, ?)" ") w
             cross join events e on e.id = w.column3 and e.source = w.column2"
        ),
        &asked,
        |query, (place, source, id)| query.bind(place).bind(source).bind(BoundId(id)),
    )
    .await?;
    let place = |(place,): (i64,)| usize::try_from(place).ok();
    Ok(known.into_iter().filter_map(place).collect())
}

/// The clients whose log has one of these pairs of source and id.
pub(super) async fn clients(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    ids: &[(&str, &str)],
) -> Result<BTreeSet<ClientKey>> {
    let sources: BTreeSet<&str> = ids.iter().map(|(source, _)| *source).collect();
    numbers.read_sources(connection, &sources).await?;
    let asked: Vec<(i64, &str)> = ids
        .iter()
        .filter_map(|(source, id)| Some((numbers.find_source(source)?, *id)))
        .collect();
    let clients: Vec<(String, String)> = many::read(
        connection,
        many!(
            "select k.partner, k.client
             from (values " each "(?, ?)" ") w
             cross join events e on e.id = w.column2 and e.source = w.column1
             cross join client_keys k on k.number = e.client"
        ),
        &asked,
        |query, (source, id)| query.bind(source).bind(BoundId(id)),
    )
    .await?;
    Ok(clients
        .iter()
        .map(|(partner, client)| key(partner, client))
        .collect())
}

/// An event that is in the log.
struct Known<'a> {
    place: i64,
    source: i64,
    /// None: the log has it for another client.
    client: Option<i64>,
    event: &'a Event,
    data: String,
}

/// What the log has under the source and id of each event, unless it is the same.
pub(super) async fn namesakes(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    known: &[&Event],
) -> Result<Vec<(usize, Namesake)>> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let sources: BTreeSet<&str> = known.iter().map(|event| &*event.source).collect();
    numbers.read_sources(connection, &sources).await?;
    numbers
        .read_clients(connection, known.iter().map(|event| &event.key))
        .await?;
    let asked: Vec<Known<'_>> = (0..)
        .zip(known)
        .filter_map(|(place, event)| {
            Some(Known {
                place,
                source: numbers.find_source(&event.source)?,
                client: numbers.find_client(&event.key),
                event,
                data: data_of(&event.kind),
            })
        })
        .collect();
    let rows: Vec<NamesakeRow<i64>> = many::read(
        connection,
        many!(
            "select w.column1 as place, k.partner, k.client, t.word as event_type, e.time, e.data
             from (values " each "(?, ?, ?, ?, ?, ?, ?)" ") w
             cross join events e on e.id = w.column3 and e.source = w.column2
             left join words t on t.number = e.type
             left join client_keys k on k.number = e.client
             where e.client is not w.column4 or t.word is not w.column5 or e.time <> w.column6 or e.data <> w.column7"
        ),
        &asked,
        |query, known| {
            query
                .bind(known.place)
                .bind(known.source)
                .bind(BoundId(&known.event.id))
                .bind(known.client)
                .bind(known.event.kind.type_name())
                .bind(micros(known.event.time))
                .bind(known.data.as_str())
        },
    )
    .await?;
    namesakes::read(rows, known)
}
