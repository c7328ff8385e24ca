//! Finds events of the event log by source and id.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::event_ref::id_bytes;
use super::numbers::ClientNumbers;
use crate::domain::{ClientKey, Event, Namesake};
use crate::store::Result;
use crate::store::columns::key;
use crate::store::commit::data_of;
use crate::store::namesakes::{self, NamesakeRow};

/// What the log has under the source and id of each event, unless it is the same.
pub(super) async fn namesakes(
    connection: &mut PgConnection,
    known: &[&Event],
    numbers: &ClientNumbers,
) -> Result<Vec<(usize, Namesake)>> {
    let number = |event: &&Event| numbers.get(&event.key).copied();
    let rows: Vec<NamesakeRow<DateTime<Utc>>> = sqlx::query_as(
        "select k.place::bigint - 1 as place, n.partner, n.client, t.word as event_type, e.time, e.data
         from (
             select generate_subscripts($1::text[], 1) as place, unnest($1::text[]) as source, unnest($2::bytea[]) as id_bytes,
                    unnest($3::integer[]) as client, unnest($4::text[]) as type, unnest($5::timestamptz[]) as time,
                    unnest($6::text[]) as data
         ) k
         cross join lateral (
             select event_ref(number, k.id_bytes) as ref from sources where source = k.source offset 0
         ) s
         cross join lateral (select client, type, time, data from events where ref = s.ref limit 1) e
         left join lateral (select word from words where number = e.type offset 0) t on true
         left join lateral (select partner, client from client_keys where number = e.client offset 0) n on true
         where (e.client, t.word, e.time, e.data) is distinct from (k.client, k.type, k.time, k.data)",
    )
    .bind(known.iter().map(|event| &*event.source).collect::<Vec<_>>())
    .bind(known.iter().map(|event| id_bytes(&event.id)).collect::<Vec<_>>())
    .bind(known.iter().map(number).collect::<Vec<_>>())
    .bind(known.iter().map(|event| event.kind.type_name()).collect::<Vec<_>>())
    .bind(known.iter().map(|event| event.time).collect::<Vec<_>>())
    .bind(known.iter().map(|event| data_of(&event.kind)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    namesakes::read(rows, known)
}

/// The clients whose log has one of these pairs of source and id.
pub(super) async fn clients(
    connection: &mut PgConnection,
    ids: &[(&str, &str)],
) -> Result<BTreeSet<ClientKey>> {
    let (sources, ids): (Vec<&str>, Vec<&str>) = ids.iter().copied().unzip();
    let clients: Vec<(String, String)> = sqlx::query_as(
        "select n.partner, n.client
         from unnest($1::text[], $2::bytea[]) as k (source, id_bytes)
         cross join lateral (
             select event_ref(number, k.id_bytes) as ref from sources where source = k.source offset 0
         ) s
         cross join lateral (select client from events where ref = s.ref limit 1) e
         cross join lateral (select partner, client from client_keys where number = e.client offset 0) n",
    )
    .bind(sources)
    .bind(ids.iter().map(|id| id_bytes(id)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(clients
        .iter()
        .map(|(partner, client)| key(partner, client))
        .collect())
}
