//! What a batch reads after it has locked its clients.
//!
//! Not in the statement that locks the clients: that one would read as of its start, before it waited for a client.
//!
//! Each statement here locks touches, and may wait as well, but only for a renewal: every other write of a client's touches locks
//! the client first. It reads the touches as the renewal leaves them, and everything else as of its own start. That suffices: a
//! renewal logs no event, and no other transaction logs an event of a locked client. A client that is not locked, because it is
//! new or not part of the batch, may get an event with one of these ids meanwhile; the constraint `events_by_ref` then refuses
//! the batch.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::batch::{Held, place_of};
use super::event_ref::id_bytes;
use super::numbers::Numbers;
use crate::store::columns::row;
use crate::store::touches::open_run;
use crate::store::{Result, Stored};

/// The beginning of both statements.
macro_rules! open_runs {
    () => {
        "with runs as materialized (
             select k.place, t.open_run, t.is_renew_only
             from (select generate_subscripts($1::integer[], 1) as place, unnest($1::integer[]) as client) k
             cross join lateral (
                 select open_run, renew_before is not null as is_renew_only
                 from touches where client = k.client
                 for update
             ) t
         )"
    };
}

/// Reads the touches of locked clients, and locks them: in a renew-only window, other transactions may add to them.
pub(super) async fn open_runs(
    connection: &mut PgConnection,
    clients: &mut [Stored],
    held: &mut Held,
) -> Result<()> {
    let numbers = held.numbers_of(clients.iter().map(|stored| &stored.key));
    let runs: Vec<(i32, Vec<u8>, bool)> = sqlx::query_as(concat!(open_runs!(), " select * from runs"))
        .bind(numbers)
        .fetch_all(connection)
        .await?;
    for (place, run, is_renew_only) in runs {
        add_run(&mut clients[place_of(place)], &run, is_renew_only, held)?;
    }
    Ok(())
}

row! {
    /// One row, with columns that are arrays.
    Read {
        /// Places of clients.
        run_places: Vec<i32>,
        open_runs: Vec<Vec<u8>>,
        are_renew_only: Vec<bool>,
        /// Places of events.
        duplicates: Vec<i32>,
        sources: Vec<String>,
        source_numbers: Vec<i32>,
        words: Vec<String>,
        word_numbers: Vec<i16>,
    }
}

/// As [`open_runs`]. Also returns the places of the pairs of source and id that are in the event log, and reads the numbers of these
/// sources and of all words: the commit needs them, and knows them without another round trip.
pub(super) async fn read(
    connection: &mut PgConnection,
    clients: &mut [Stored],
    ids: &[(&str, &str)],
    held: &mut Held,
) -> Result<HashSet<usize>> {
    let numbers = held.numbers_of(clients.iter().map(|stored| &stored.key));
    let sources: HashSet<&str> = ids.iter().map(|(source, _)| *source).collect();
    let read: Read = sqlx::query_as(concat!(
        open_runs!(),
        ", duplicates as materialized (
             select k.place
             from (
                 select generate_subscripts($2::text[], 1) as place, unnest($2::text[]) as source,
                        unnest($3::bytea[]) as id_bytes
             ) k
             cross join lateral (
                 select event_ref(number, k.id_bytes) as ref from sources where source = k.source offset 0
             ) s
             cross join lateral (select 1 from events where ref = s.ref limit 1) e
         ), numbered as materialized (
             select k.source, s.number
             from unnest($4::text[]) as k (source)
             cross join lateral (select number from sources where source = k.source offset 0) s
         ), vocabulary as materialized (
             select word, number from words
         )
         select array(select place from runs) as run_places, array(select open_run from runs) as open_runs,
                array(select is_renew_only from runs) as are_renew_only, array(select place from duplicates) as duplicates,
                array(select source from numbered) as sources, array(select number from numbered) as source_numbers,
                array(select word from vocabulary) as words, array(select number from vocabulary) as word_numbers"
    ))
    .bind(numbers)
    .bind(ids.iter().map(|(source, _)| *source).collect::<Vec<_>>())
    .bind(ids.iter().map(|(_, id)| id_bytes(id)).collect::<Vec<_>>())
    .bind(sources.into_iter().collect::<Vec<_>>())
    .fetch_one(connection)
    .await?;
    let runs = read.run_places.into_iter().zip(read.open_runs);
    for ((place, run), is_renew_only) in runs.zip(read.are_renew_only) {
        add_run(&mut clients[place_of(place)], &run, is_renew_only, held)?;
    }
    held.dictionary = Numbers::new(
        read.words.into_iter().zip(read.word_numbers),
        read.sources.into_iter().zip(read.source_numbers),
    );
    Ok(read.duplicates.into_iter().map(place_of).collect())
}

fn add_run(client: &mut Stored, run: &[u8], is_renew_only: bool, held: &mut Held) -> Result<()> {
    client.touches = open_run(&client.key, run)?;
    if is_renew_only {
        held.renew_only.insert(client.key.clone());
    }
    Ok(())
}
