//! Writes records into a store.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::Entry;
use crate::store::actor::actor_text;
use crate::store::columns::{json, optional_text, text};
use crate::store::commit::data_of;
use crate::store::outbox::ChangeColumns;
use crate::store::postgres::batch::Held;
use crate::store::postgres::numbers::{self, Numbers};
use crate::store::postgres::session::Session;
use crate::store::postgres::{accesses, audit, client_writes, statements, touches, webhooks, write};
use crate::store::transfer::{DeadLetterRow, LinePlace, Numbering, Parts};
use crate::store::words::{cause_details, cause_event, cause_word, corrector_event, corrector_word};
use crate::store::{EventWrite, MovedRun, Result, SweepRun};

/// Begins a transaction of an import. See the statements that begin a batch for its settings.
pub(super) const BEGIN: &str =
    "begin; set local enable_seqscan = off; set local plan_cache_mode = force_generic_plan";

/// Runs a few statements within one limit on waiting for an answer.
macro_rules! step {
    ($session:expr, |$connection:ident| $done:expr) => {{
        let ($connection, debt) = $session.lend()?;
        debt.paid_by($done).await?
    }};
}

/// Writes everything, without ending the transaction.
pub(super) async fn all(session: &mut Session, parts: &Parts, numbering: &mut Numbering) -> Result<()> {
    step!(session, |connection| settings(connection, parts));
    for run in &parts.sweep_runs {
        step!(session, |connection| sweep_run(connection, run));
    }
    for closing in &parts.closings {
        step!(session, |connection| statements::insert_closing(
            connection, closing
        ));
    }
    for moved in &parts.endpoints {
        let endpoint = moved.clone().into();
        step!(session, |connection| async {
            webhooks::insert(&mut *connection, &endpoint).await.map(|_| ())
        });
    }
    for entry in &parts.audit {
        step!(session, |connection| audit::add(connection, entry));
    }
    for row in &parts.dead_letters {
        step!(session, |connection| dead_letter(connection, row));
    }
    let mut held = Held::default();
    let numbers = step!(session, |connection| async {
        let numbers = Numbers::of(connection, &parts.commit, Numbers::default()).await?;
        // Adding a key that is there would use up a number.
        numbers::find_clients(connection, &parts.keys, &mut held.numbers).await?;
        numbers::add_keys(connection, &parts.keys, &mut held.numbers).await?;
        Ok(numbers)
    });
    step!(session, |connection| async {
        let commit = &parts.commit;
        client_writes::insert(connection, &commit.clients, &held).await?;
        write::set_deadlines(connection, &commit.deadlines_set, &numbers, &held).await?;
        touches::write(connection, &commit.touches, &held).await?;
        touch_runs(connection, parts, &held).await
    });
    step!(session, |connection| events(connection, parts, &numbers, &held));
    step!(session, |connection| statements::insert(
        connection,
        &parts.statements
    ));
    if !parts.commit.accesses.is_empty() {
        step!(session, |connection| accesses::write(
            connection,
            &parts.commit.accesses,
            &numbers,
            &held
        ));
    }
    step!(session, |connection| journal(
        connection, parts, &numbers, &held, numbering
    ));
    Ok(())
}

async fn settings(connection: &mut PgConnection, parts: &Parts) -> Result<()> {
    policies(connection, parts).await?;
    progress(connection, parts).await?;
    halts(connection, parts).await?;
    access_log(connection, parts).await
}

/// The policies, and how far the deadline backfill of the latest has come.
async fn policies(connection: &mut PgConnection, parts: &Parts) -> Result<()> {
    for moved in &parts.policies {
        sqlx::query("insert into policies (effective_from, policy) values ($1, $2::json)")
            .bind(moved.effective_from)
            .bind(json(&moved.policy))
            .execute(&mut *connection)
            .await?;
    }
    if let Some(moved) = &parts.backfill {
        sqlx::query("insert into deadline_backfill (policy_from, partner, client) values ($1, $2, $3)")
            .bind(moved.policy_from)
            .bind(moved.after.as_ref().map(|key| &*key.partner))
            .bind(moved.after.as_ref().map(|key| &*key.client))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The clock, the watermarks of lanes, and what was heard of sources.
async fn progress(connection: &mut PgConnection, parts: &Parts) -> Result<()> {
    if let Some(moved) = &parts.clock {
        sqlx::query("insert into clock (latest) values ($1)")
            .bind(moved.latest)
            .execute(&mut *connection)
            .await?;
    }
    for lane in &parts.lanes {
        sqlx::query(
            "insert into lanes (lane, watermark, recorded_at, partition_key) values ($1, $2, $3, $4)",
        )
        .bind(&lane.lane)
        .bind(lane.watermark)
        .bind(lane.recorded_at)
        .bind(&lane.partition_key)
        .execute(&mut *connection)
        .await?;
    }
    for source in &parts.sources {
        sqlx::query(
            "insert into expected_sources (source, every_seconds, expected_since, last_heard)
             values ($1, $2, $3, $4)",
        )
        .bind(&source.source)
        .bind(source.every_seconds)
        .bind(source.expected_since)
        .bind(source.last_heard)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn halts(connection: &mut PgConnection, parts: &Parts) -> Result<()> {
    for halt in &parts.halts {
        sqlx::query("insert into sweep_halts (sweep, kind, at, why) values ($1, $2, $3, $4)")
            .bind(halt.sweep.as_str())
            .bind(halt.kind.as_str())
            .bind(halt.at)
            .bind(&halt.why)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn access_log(connection: &mut PgConnection, parts: &Parts) -> Result<()> {
    if let Some(moved) = &parts.access_log {
        sqlx::query("insert into access_log_since (since) values ($1)")
            .bind(moved.since)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn sweep_run(connection: &mut PgConnection, run: &SweepRun) -> Result<()> {
    sqlx::query(
        "insert into sweep_runs
             (id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
              error, worker)
         overriding system value
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(run.id)
    .bind(run.sweep.as_str())
    .bind(run.scheduled_at)
    .bind(run.started_at)
    .bind(run.finished_at)
    .bind(run.upto)
    .bind(run.status.as_str())
    .bind(run.counts.examined)
    .bind(run.counts.changed)
    .bind(run.counts.changes)
    .bind(run.counts.failed)
    .bind(&run.error)
    .bind(&run.worker)
    .execute(connection)
    .await?;
    Ok(())
}

async fn dead_letter(connection: &mut PgConnection, row: &DeadLetterRow) -> Result<()> {
    let moved = &row.moved;
    sqlx::query(
        "insert into dead_letters
             (id, digest, origin, content_type, headers, body, bytes, reason, status, times_seen, first_seen_at,
              last_seen_at, retry_at, resolved_at, redriven_at, redrive_outcome, source)
         overriding system value
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(moved.id)
    .bind(&row.digest)
    .bind(text(&moved.origin))
    .bind(moved.content_type.as_deref().map(text))
    .bind(json(&moved.headers))
    .bind(&row.body)
    .bind(moved.bytes)
    .bind(text(&moved.reason))
    .bind(moved.status.as_str())
    .bind(moved.times_seen)
    .bind(moved.first_seen_at)
    .bind(moved.last_seen_at)
    .bind(moved.retry_at)
    .bind(moved.resolved_at)
    .bind(moved.redriven_at)
    .bind(moved.redrive_outcome.as_deref().map(text))
    .bind(moved.source.as_deref().map(text))
    .execute(connection)
    .await?;
    Ok(())
}

async fn touch_runs(connection: &mut PgConnection, parts: &Parts, held: &Held) -> Result<()> {
    if parts.runs.is_empty() {
        return Ok(());
    }
    let last_at = |run: &MovedRun| run.touches.last().map(|touch| touch.time);
    sqlx::query(
        "insert into touch_runs (client, number, last_at, run)
         select * from unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::bytea[])",
    )
    .bind(held.numbers_of(parts.runs.iter().map(|run| &run.client)))
    .bind(parts.runs.iter().map(|run| run.number).collect::<Vec<_>>())
    .bind(parts.runs.iter().map(last_at).collect::<Vec<_>>())
    .bind(
        parts
            .runs
            .iter()
            .map(|run| run.touches.pack())
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn events(connection: &mut PgConnection, parts: &Parts, numbers: &Numbers, held: &Held) -> Result<()> {
    let writes = &parts.commit.events;
    if writes.is_empty() {
        return Ok(());
    }
    let name = |write: &EventWrite| numbers.event(&write.event.source, &write.event.id);
    let sequence = |write: &EventWrite| optional_text(write.event.sequence.as_deref());
    sqlx::query(
        "insert into events (time, received_at, client, type, reason, ref, sequence, actor, data)
         select unnest($1::timestamptz[]), unnest($2::timestamptz[]), unnest($3::integer[]), unnest($4::smallint[]),
                unnest($5::smallint[]), unnest($6::bytea[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[])",
    )
    .bind(writes.iter().map(|w| w.event.time).collect::<Vec<_>>())
    .bind(&parts.received_at)
    .bind(held.numbers_of(writes.iter().map(|w| &w.event.key)))
    .bind(writes.iter().map(|w| numbers.word(w.event.kind.type_name())).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| numbers.reason(w.outcome)).collect::<Vec<_>>())
    .bind(writes.iter().map(name).collect::<Vec<_>>())
    .bind(writes.iter().map(sequence).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| actor_text(&w.event.actor)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| data_of(&w.event.kind)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Lines keep the numbers of their transactions: those of SQLite have 0, and new ones come after them.
async fn journal(
    connection: &mut PgConnection,
    parts: &Parts,
    numbers: &Numbers,
    held: &Held,
    numbering: &mut Numbering,
) -> Result<()> {
    if let Some(relay) = parts.relay {
        numbering.begin(relay);
    }
    let entries = &parts.commit.journal;
    if entries.is_empty() {
        return Ok(());
    }
    let (places, recorded_at): (Vec<LinePlace>, Vec<DateTime<Utc>>) = parts.lines.iter().copied().unzip();
    let changes: Vec<_> = entries
        .iter()
        .map(|entry| ChangeColumns::of(&entry.change))
        .collect();
    let event_ref =
        |event: Option<(&str, &str)>| event.map_or_else(Vec::new, |(source, id)| numbers.event(source, id));
    let corrector = |entry: &Entry| {
        let corrector = entry.corrected_by.as_ref();
        corrector.map_or(0, |corrector| numbers.word(&corrector_word(corrector)))
    };
    let (actors, reasons): (Vec<String>, Vec<String>) =
        entries.iter().map(|entry| cause_details(&entry.cause)).unzip();
    let number = |place: &LinePlace| numbering.ordered_by_transaction(*place);
    sqlx::query(
        "insert into journal
             (xid, seq, time, recorded_at, client, change, cause, corrector, cause_ref, corrector_ref, cause_actor,
              cause_reason, id, before, after, data)
         overriding system value
         select unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::timestamptz[]), unnest($4::timestamptz[]),
                unnest($5::integer[]), unnest($6::smallint[]), unnest($7::smallint[]), unnest($8::smallint[]),
                unnest($9::bytea[]), unnest($10::bytea[]), unnest($11::text[]), unnest($12::text[]),
                unnest($13::text[]), unnest($14::text[]), unnest($15::text[]), unnest($16::text[])",
    )
    .bind(places.iter().map(|place| place.transaction).collect::<Vec<_>>())
    .bind(places.iter().map(number).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.time).collect::<Vec<_>>())
    .bind(recorded_at)
    .bind(held.numbers_of(entries.iter().map(|e| &e.key)))
    .bind(changes.iter().map(|c| numbers.word(c.change)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| numbers.word(&cause_word(&e.cause))).collect::<Vec<_>>())
    .bind(entries.iter().map(corrector).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| event_ref(cause_event(&e.cause))).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| event_ref(corrector_event(e))).collect::<Vec<_>>())
    .bind(actors)
    .bind(reasons)
    .bind(changes.iter().map(|c| c.id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| &*c.before).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| &*c.after).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| &*c.data).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the cursor of the relay, and continues all numbering above that of the old store.
pub(super) async fn numbering(connection: &mut PgConnection, numbering: &Numbering) -> Result<()> {
    let Some(relay) = numbering.relay() else {
        return Ok(());
    };
    let pruned_line = relay.pruned_line;
    sqlx::query(
        "update relay
         set xid = $1, seq = $2, epoch = $3, pruned_before = $4, pruned_xid = $5, pruned_seq = $6,
             pruned_recorded_at = $7",
    )
    .bind(relay.published.transaction)
    .bind(relay.published.sequence)
    .bind(relay.epoch)
    .bind(relay.pruned_before)
    .bind(pruned_line.map(|line| line.place.transaction))
    .bind(pruned_line.map(|line| line.place.sequence))
    .bind(pruned_line.map(|line| line.recorded_at))
    .execute(&mut *connection)
    .await?;
    // A sequence cannot be set to 0.
    sqlx::query(
        "select setval('journal_seq_seq', greatest($1::bigint, 1), $1::bigint > 0),
                setval('dead_letters_id_seq', greatest($2::bigint, 1), $2::bigint > 0),
                setval('sweep_runs_id_seq', greatest($3::bigint, 1), $3::bigint > 0)",
    )
    .bind(numbering.last_line())
    .bind(relay.last_dead_letter)
    .bind(relay.last_sweep_run)
    .execute(connection)
    .await?;
    Ok(())
}
