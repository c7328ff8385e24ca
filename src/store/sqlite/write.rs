//! Writes a commit: one statement for each table, over many rows.
//!
//! A failed statement fails the whole transaction, so its own writes need no separate undo: `or fail` spares SQLite a
//! copy of every page for that.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::batch::Held;
use super::event_id::BoundId;
use super::numbers::Numbers;
use super::{
    accesses, checkpoints, client_writes, dead_letters, lanes, many, micros, sources, sweeps, touches, traces,
};
use crate::domain::{ClientKey, Entry, Refusal, Sweep};
use crate::store::actor::actor_text;
use crate::store::columns::optional_text;
use crate::store::commit::{data_of, expect_logged};
use crate::store::outbox::ChangeColumns;
use crate::store::words::{cause_details, cause_event, cause_word, corrector_event, corrector_word};
use crate::store::{Commit, EventWrite, OutcomeUpdate, RecordedOutcome, Result};

/// Writes everything of a commit, without ending the transaction.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    commit: &Commit,
    numbers: &mut Numbers,
    held: &mut Held,
) -> Result<()> {
    debug_assert!(
        commit.has_distinct_deadlines(),
        "a deadline is both set and cleared"
    );
    let at = micros(commit.recorded_at);
    numbers.assign(connection, commit).await?;
    client_writes::write(connection, &commit.clients, numbers, held).await?;
    touches::end_windows(connection, commit, numbers, held).await?;
    touches::write(connection, &commit.touches, numbers).await?;
    touches::write_closed_runs(connection, &commit.touches, numbers).await?;
    events(connection, &commit.events, numbers, at).await?;
    outcomes(connection, &commit.outcomes, numbers).await?;
    accesses::write(connection, &commit.accesses, numbers).await?;
    accesses::touch_outcomes(connection, &commit.touch_outcomes, numbers).await?;
    traces::write(connection, &commit.traces, numbers, at).await?;
    journal(connection, &commit.journal, numbers, at).await?;
    checkpoints::write(connection, &commit.checkpoints, numbers).await?;
    clear_deadlines(connection, &commit.deadlines_cleared, numbers).await?;
    set_deadlines(connection, &commit.deadlines_set, numbers).await?;
    dead_letters::put(connection, &commit.dead_letters, at).await?;
    if let Some(watermark) = &commit.watermark {
        lanes::advance(connection, watermark, at).await?;
    }
    sources::advance(connection, &commit.heard, at).await?;
    // Last, because other workers of the same run wait for its row.
    if let Some((run, counts)) = &commit.swept {
        sweeps::add_counts(&mut *connection, *run, counts).await?;
        if !commit.journal.is_empty() {
            sweeps::add_chunk(connection, *run, commit.journal.len()).await?;
        }
    }
    Ok(())
}

/// The number of the refusal. 0: the event was applied.
pub(super) fn reason(outcome: RecordedOutcome, numbers: &Numbers) -> i64 {
    let code = outcome.refusal().map(Refusal::code);
    code.map_or(0, |code| numbers.word(code))
}

async fn events(
    connection: &mut SqliteConnection,
    writes: &[EventWrite],
    numbers: &Numbers,
    at: i64,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert or fail into events (client, time, source, id, type, reason, received_at, sequence, actor, data)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        writes,
        |query, write| {
            let event = &write.event;
            query
                .bind(numbers.client(&event.key))
                .bind(micros(event.time))
                .bind(numbers.source(&event.source))
                .bind(BoundId(&event.id))
                .bind(numbers.word(event.kind.type_name()))
                .bind(reason(write.outcome, numbers))
                .bind(at)
                .bind(optional_text(event.sequence.as_deref()))
                .bind(actor_text(&event.actor))
                .bind(data_of(&event.kind))
        },
    )
    .await?;
    Ok(())
}

async fn outcomes(
    connection: &mut SqliteConnection,
    updates: &[OutcomeUpdate],
    numbers: &Numbers,
) -> Result<()> {
    let changed = many::write(
        connection,
        many!(
            "update or fail events
             set reason = w.column5
             from (values " each "(?, ?, ?, ?, ?)" ") w
             where events.client = w.column1 and events.time = w.column2 and events.source = w.column3
                   and events.id = w.column4"
        ),
        updates,
        |query, update| {
            query
                .bind(numbers.client(&update.key))
                .bind(micros(update.time))
                .bind(numbers.source(&update.source))
                .bind(BoundId(&update.id))
                .bind(reason(update.outcome, numbers))
        },
    )
    .await?;
    expect_logged(changed, updates)
}

async fn journal(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    numbers: &Numbers,
    at: i64,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert or fail into journal
                 (client, time, recorded_at, change, cause, cause_source, cause_id, cause_actor, cause_reason, corrector,
                  corrector_source, corrector_id, id, before, after, data)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        entries,
        |query, entry| {
            let change = ChangeColumns::of(&entry.change);
            let event = cause_event(&entry.cause);
            let (actor, reason) = cause_details(&entry.cause);
            let corrector = entry.corrected_by.as_ref();
            let late = corrector_event(entry);
            query
                .bind(numbers.client(&entry.key))
                .bind(micros(entry.time))
                .bind(at)
                .bind(numbers.word(change.change))
                .bind(numbers.word(&cause_word(&entry.cause)))
                .bind(event.map_or(0, |(source, _)| numbers.source(source)))
                .bind(BoundId(event.map_or("", |(_, id)| id)))
                .bind(actor)
                .bind(reason)
                .bind(corrector.map_or(0, |corrector| numbers.word(&corrector_word(corrector))))
                .bind(late.map_or(0, |(source, _)| numbers.source(source)))
                .bind(BoundId(late.map_or("", |(_, id)| id)))
                .bind(change.id)
                .bind(change.before)
                .bind(change.after)
                .bind(change.data)
        },
    )
    .await?;
    Ok(())
}

/// A `values` list alone after `in` would scan the whole table.
async fn clear_deadlines(
    connection: &mut SqliteConnection,
    cleared: &[(ClientKey, Sweep)],
    numbers: &Numbers,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "delete from deadlines
             where (client, sweep) in (select * from (values " each "(?, ?)" "))"
        ),
        cleared,
        |query, (key, sweep)| query.bind(numbers.client(key)).bind(numbers.word(sweep.as_str())),
    )
    .await?;
    Ok(())
}

pub(super) async fn set_deadlines(
    connection: &mut SqliteConnection,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
    numbers: &Numbers,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into deadlines (client, sweep, due_at)
             select *
             from (values " each "(?, ?, ?)" ")
             where column1 is not null
             on conflict (client, sweep) do update
             set due_at = excluded.due_at"
        ),
        set,
        |query, (key, sweep, due_at)| {
            query
                .bind(numbers.client(key))
                .bind(numbers.word(sweep.as_str()))
                .bind(micros(*due_at))
        },
    )
    .await?;
    Ok(())
}
