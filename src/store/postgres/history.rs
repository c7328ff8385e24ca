//! Reads histories: events from the log, and touches from their runs.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::pages;
use super::pages::{Paged, paged};
use super::session::Session;
use super::sessions::Sessions;
use crate::domain::ClientKey;
use crate::store::clients::{LoggedRow, sort_history};
use crate::store::columns::key;
use crate::store::touches::{RUN_LENGTH, read_run};
use crate::store::{Logged, Result};

const EVENTS: Paged = paged!(
    "client_events",
    "select k.partner, k.client, e.source, e.id, e.type as event_type, e.time, e.sequence, e.data, e.reason
     from unnest($1::text[], $2::text[]) as k (partner, client)
     cross join lateral (
         select source, id, type, time, sequence, data::text as data, reason
         from events where partner = k.partner and client = k.client
         limit $3::bigint
     ) e"
);

const RUNS: Paged = paged!(
    "client_runs",
    "select k.partner, k.client, t.run
     from unnest($1::text[], $2::text[]) as k (partner, client)
     cross join lateral (
         select open_run as run from touches where partner = k.partner and client = k.client
         union all
         select run from touch_runs where partner = k.partner and client = k.client
         limit $3::bigint
     ) t"
);

/// The history of one client, from one database snapshot.
pub(super) async fn of_one(pool: &Sessions, limit: Duration, key: &ClientKey) -> Result<Vec<Logged>> {
    // Touches move from the open run to a closed one, so one snapshot must cover both.
    let begin = "begin isolation level repeatable read, read only; set local enable_seqscan = off";
    let mut session = Session::begin_reading(pool, limit, begin).await?;
    let mut histories = of(&mut session, std::slice::from_ref(key), None).await?;
    session.end("commit").await?;
    Ok(histories.remove(key).unwrap_or_default())
}

/// The histories of clients that no other transaction writes meanwhile. Each key has an entry, an empty one too. With
/// `longest`, leaves out clients with more events, or with enough runs of touches for more.
pub(super) async fn of(
    session: &mut Session,
    keys: &[ClientKey],
    longest: Option<usize>,
) -> Result<HashMap<ClientKey, Vec<Logged>>> {
    let mut histories: HashMap<ClientKey, Vec<Logged>> =
        keys.iter().map(|key| (key.clone(), Vec::new())).collect();
    pages::read(
        session,
        &EVENTS,
        keys,
        one_more_than(longest),
        |row: LoggedRow<DateTime<Utc>>| {
            let logged = row.read()?;
            if let Some(history) = histories.get_mut(&logged.event.key) {
                history.push(logged);
            }
            Ok(ControlFlow::Continue(()))
        },
    )
    .await?;
    histories.retain(|_, history| longest.is_none_or(|longest| history.len() <= longest));

    let most_runs = longest.map(|longest| longest.div_ceil(RUN_LENGTH));
    let mut runs: HashMap<ClientKey, usize> = HashMap::new();
    pages::read(
        session,
        &RUNS,
        keys,
        one_more_than(most_runs),
        |(partner, client, run): (String, String, Vec<u8>)| {
            let key = key(&partner, &client);
            if let Some(history) = histories.get_mut(&key) {
                history.extend(read_run(&key, &run)?);
            }
            *runs.entry(key).or_default() += 1;
            Ok(ControlFlow::Continue(()))
        },
    )
    .await?;
    histories.retain(|key, _| most_runs.is_none_or(|most| runs.get(key).is_none_or(|runs| *runs <= most)));
    histories.values_mut().for_each(sort_history);
    Ok(histories)
}

/// One more row shows that there are too many.
fn one_more_than(most: Option<usize>) -> i64 {
    most.and_then(|most| i64::try_from(most).ok())
        .map_or(i64::MAX, |most| most.saturating_add(1))
}
