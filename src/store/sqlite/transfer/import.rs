//! Writes records into a store.

use sqlx::SqliteConnection;

use crate::domain::Entry;
use crate::store::actor::actor_text;
use crate::store::columns::{json, optional_text, text};
use crate::store::commit::data_of;
use crate::store::outbox::ChangeColumns;
use crate::store::sqlite::event_id::BoundId;
use crate::store::sqlite::numbers::Numbers;
use crate::store::sqlite::{
    accesses, audit, client_writes, many, micros, outbox, statements, touches, webhooks, write,
};
use crate::store::transfer::{Numbering, Parts};
use crate::store::words::{cause_details, cause_event, cause_word, corrector_event, corrector_word};
use crate::store::{EventWrite, MovedRelay, Result};

/// Writes everything, without ending the transaction.
pub(in crate::store::sqlite) async fn all(
    connection: &mut SqliteConnection,
    parts: &Parts,
    numbering: &mut Numbering,
) -> Result<()> {
    settings(connection, parts).await?;
    sweep_runs(connection, parts).await?;
    for moved in &parts.endpoints {
        numbering.follow_endpoint(&moved.name, moved.place);
        webhooks::insert(&mut *connection, &moved.clone().into()).await?;
    }
    for closing in &parts.closings {
        statements::insert_closing(connection, closing).await?;
    }
    for entry in &parts.audit {
        audit::add(&mut *connection, entry).await?;
    }
    dead_letters(connection, parts).await?;
    let mut numbers = Numbers::default();
    numbers.assign_clients(connection, &parts.keys).await?;
    numbers.assign(connection, &parts.commit).await?;
    let clients: Vec<_> = parts.commit.clients.iter().collect();
    client_writes::insert(connection, &clients, &numbers).await?;
    write::set_deadlines(connection, &parts.commit.deadlines_set, &numbers).await?;
    touches::write(connection, &parts.commit.touches, &numbers).await?;
    touch_runs(connection, parts, &numbers).await?;
    events(connection, parts, &numbers).await?;
    statements::insert(connection, &parts.statements).await?;
    accesses::write(connection, &parts.commit.accesses, &numbers).await?;
    journal(connection, parts, &numbers, numbering).await
}

async fn settings(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    policies(connection, parts).await?;
    progress(connection, parts).await?;
    halts(connection, parts).await?;
    access_log(connection, parts).await
}

/// The policies, and how far the deadline backfill of the latest has come.
async fn policies(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    for moved in &parts.policies {
        sqlx::query("insert into policies (effective_from, policy) values (?1, ?2)")
            .bind(micros(moved.effective_from))
            .bind(json(&moved.policy))
            .execute(&mut *connection)
            .await?;
    }
    if let Some(moved) = &parts.backfill {
        sqlx::query("insert into deadline_backfill (policy_from, partner, client) values (?1, ?2, ?3)")
            .bind(micros(moved.policy_from))
            .bind(moved.after.as_ref().map(|key| &*key.partner))
            .bind(moved.after.as_ref().map(|key| &*key.client))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The clock, the watermarks of lanes, and what was heard of sources.
async fn progress(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    if let Some(moved) = &parts.clock {
        sqlx::query("insert into clock (latest) values (?1)")
            .bind(micros(moved.latest))
            .execute(&mut *connection)
            .await?;
    }
    for lane in &parts.lanes {
        sqlx::query(
            "insert into lanes (lane, watermark, recorded_at, partition_key) values (?1, ?2, ?3, ?4)",
        )
        .bind(&lane.lane)
        .bind(lane.watermark.map(micros))
        .bind(micros(lane.recorded_at))
        .bind(&lane.partition_key)
        .execute(&mut *connection)
        .await?;
    }
    for source in &parts.sources {
        sqlx::query(
            "insert into expected_sources (source, every_seconds, expected_since, last_heard)
             values (?1, ?2, ?3, ?4)",
        )
        .bind(&source.source)
        .bind(source.every_seconds)
        .bind(micros(source.expected_since))
        .bind(source.last_heard.map(micros))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn halts(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    for halt in &parts.halts {
        sqlx::query("insert into sweep_halts (sweep, kind, at, why) values (?1, ?2, ?3, ?4)")
            .bind(halt.sweep.as_str())
            .bind(halt.kind.as_str())
            .bind(micros(halt.at))
            .bind(&halt.why)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn access_log(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    if let Some(moved) = &parts.access_log {
        sqlx::query("insert into access_log_since (since) values (?1)")
            .bind(micros(moved.since))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn sweep_runs(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    for run in &parts.sweep_runs {
        sqlx::query(
            "insert into sweep_runs
                 (id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                  error, worker)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .bind(run.id)
        .bind(run.sweep.as_str())
        .bind(micros(run.scheduled_at))
        .bind(micros(run.started_at))
        .bind(run.finished_at.map(micros))
        .bind(run.upto.map(micros))
        .bind(run.status.as_str())
        .bind(run.counts.examined)
        .bind(run.counts.changed)
        .bind(run.counts.changes)
        .bind(run.counts.failed)
        .bind(&run.error)
        .bind(&run.worker)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn dead_letters(connection: &mut SqliteConnection, parts: &Parts) -> Result<()> {
    for row in &parts.dead_letters {
        let moved = &row.moved;
        sqlx::query(
            "insert into dead_letters
                 (id, digest, origin, content_type, headers, body, bytes, reason, status, times_seen, first_seen_at,
                  last_seen_at, retry_at, resolved_at, redriven_at, redrive_outcome, source)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
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
        .bind(micros(moved.first_seen_at))
        .bind(micros(moved.last_seen_at))
        .bind(moved.retry_at.map(micros))
        .bind(moved.resolved_at.map(micros))
        .bind(moved.redriven_at.map(micros))
        .bind(moved.redrive_outcome.as_deref().map(text))
        .bind(moved.source.as_deref().map(text))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn touch_runs(connection: &mut SqliteConnection, parts: &Parts, numbers: &Numbers) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert or fail into touch_runs (client, number, last_at, run)
             select *
             from (values " each "(?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        &parts.runs,
        |query, run| {
            query
                .bind(numbers.client(&run.client))
                .bind(run.number)
                .bind(run.touches.last().map(|touch| micros(touch.time)))
                .bind(run.touches.pack())
        },
    )
    .await?;
    Ok(())
}

async fn events(connection: &mut SqliteConnection, parts: &Parts, numbers: &Numbers) -> Result<()> {
    let received: Vec<(&EventWrite, i64)> = parts
        .commit
        .events
        .iter()
        .zip(parts.received_at.iter().copied().map(micros))
        .collect();
    many::write(
        connection,
        many!(
            "insert or fail into events (client, time, source, id, type, reason, received_at, sequence, actor, data)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        &received,
        |query, (write, received_at)| {
            let event = &write.event;
            query
                .bind(numbers.client(&event.key))
                .bind(micros(event.time))
                .bind(numbers.source(&event.source))
                .bind(BoundId(&event.id))
                .bind(numbers.word(event.kind.type_name()))
                .bind(write::reason(write.outcome, numbers))
                .bind(received_at)
                .bind(optional_text(event.sequence.as_deref()))
                .bind(actor_text(&event.actor))
                .bind(data_of(&event.kind))
        },
    )
    .await?;
    Ok(())
}

async fn journal(
    connection: &mut SqliteConnection,
    parts: &Parts,
    numbers: &Numbers,
    numbering: &mut Numbering,
) -> Result<()> {
    if let Some(relay) = parts.relay {
        numbering.begin(relay);
    }
    let lines: Vec<(i64, i64, &Entry)> = parts
        .lines
        .iter()
        .zip(&parts.commit.journal)
        .map(|((place, recorded_at), entry)| {
            (numbering.ordered_by_number(*place), micros(*recorded_at), entry)
        })
        .collect();
    many::write(
        connection,
        many!(
            "insert or fail into journal
                 (seq, client, time, recorded_at, change, cause, cause_source, cause_id, cause_actor, cause_reason, corrector,
                  corrector_source, corrector_id, id, before, after, data)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        &lines,
        |query, (seq, recorded_at, entry)| {
            let change = ChangeColumns::of(&entry.change);
            let event = cause_event(&entry.cause);
            let (actor, reason) = cause_details(&entry.cause);
            let corrector = entry.corrected_by.as_ref();
            let late = corrector_event(entry);
            query
                .bind(seq)
                .bind(numbers.client(&entry.key))
                .bind(micros(entry.time))
                .bind(recorded_at)
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

/// Sets the cursor of each endpoint to the last line before the first that it has not received.
async fn place_endpoints(connection: &mut SqliteConnection, numbering: &Numbering) -> Result<()> {
    for (name, first_after) in numbering.endpoints() {
        sqlx::query(
            "update webhook_endpoints
             set xid = 0, seq = coalesce(j.seq, 0), recorded_at = coalesce(j.recorded_at, 0)
             from (select 1)
             left join (
                 select seq, recorded_at from journal
                 where ?2 is null or seq < ?2
                 order by seq desc
                 limit 1
             ) j
             where name = ?1",
        )
        .bind(name)
        .bind(first_after)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Sets the cursor of the relay, and continues all numbering above that of the old store.
pub(super) async fn numbering(connection: &mut SqliteConnection, numbering: &Numbering) -> Result<()> {
    let Some(relay) = numbering.relay() else {
        return Ok(());
    };
    let MovedRelay {
        epoch,
        pruned_before,
        pruned_line,
        last_dead_letter,
        last_sweep_run,
        ..
    } = relay;
    // A line of PostgreSQL has another place here.
    let pruned_line = pruned_line.filter(|line| line.place.transaction == 0);
    sqlx::query(
        "update relay
         set seq = ?1, epoch = ?2, pruned_before = ?3, pruned_seq = ?4, pruned_recorded_at = ?5",
    )
    .bind(numbering.last_published())
    .bind(epoch)
    .bind(pruned_before.map(micros))
    .bind(pruned_line.map(|line| line.place.sequence))
    .bind(pruned_line.map(|line| micros(line.recorded_at)))
    .execute(&mut *connection)
    .await?;
    if numbering.has_transactions() {
        // RabbitMQ has recorded which line was published last, with its transaction. In the same epoch it would stay greater
        // than every new line, which has no transaction here.
        outbox::begin_epoch(&mut *connection, epoch).await?;
        place_endpoints(connection, numbering).await?;
    }
    for (table, last) in [
        ("journal", numbering.last_line()),
        ("dead_letters", last_dead_letter),
        ("sweep_runs", last_sweep_run),
    ] {
        sqlx::query(
            "insert into sqlite_sequence (name, seq)
             select ?1, 0
             where not exists (select 1 from sqlite_sequence where name = ?1)",
        )
        .bind(table)
        .execute(&mut *connection)
        .await?;
        sqlx::query("update sqlite_sequence set seq = max(seq, ?2) where name = ?1")
            .bind(table)
            .bind(last)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
