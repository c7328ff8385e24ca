//! The outbox relay: publishes the journal to `tenure.changes`, in journal order, at least once.
//!
//! The cursor advances after RabbitMQ confirms. A crash in between publishes some changes twice, with the same id. One
//! worker at a time leads; the others wait for the lead.
//!
//! The leader knows which change was published last, from its own memory and from RabbitMQ. If the store does not have
//! that change, it was restored from a backup and would assign the same numbers again. A new epoch then begins.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind, PublisherConfirm};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::error::BrokerError;
use super::published::PublishedRecord;
use super::publisher::{self, ATTEMPTS, Outgoing};
use super::state::Part;
use super::{Context, metrics, topology};
use crate::backoff::Backoff;
use crate::domain::Cause;
use crate::store::{Cursor, Published, Recorded, StoreError, Unpublished};
use crate::traces::Publication;
use crate::wire::TraceContext;

/// Journal lines per read.
const CHUNK: u32 = 500;
/// Lines that may wait for their confirms.
const WINDOW: usize = 1_000;
/// The window while events wait: publishing uses more CPU than all other work for an event.
const NARROW_WINDOW: usize = 50;
/// The relay is behind if it publishes lines older than this.
const BEHIND: TimeDelta = TimeDelta::milliseconds(50);
/// How often the relay stores its cursor. Each write is a commit, and commits of events wait for it. After a crash, the
/// lines since the last write are published twice.
const STORE_CURSOR_EVERY: Duration = Duration::from_millis(100);
/// How long a change of another worker may wait before the leader polls for it.
const POLL: Duration = Duration::from_millis(100);
/// How long the relay may be without a leader.
const LEAD_POLL: Duration = Duration::from_secs(1);
/// How long the relay may continue to publish after a stop request.
const GRACE: Duration = Duration::from_secs(5);

/// Why publishing restarts or ends.
enum RelayError {
    Broker(BrokerError),
    Store(StoreError),
    /// RabbitMQ rejected a line. Later lines are already published.
    Nacked,
}

impl From<BrokerError> for RelayError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<StoreError> for RelayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A line that RabbitMQ has not confirmed yet.
struct InFlight {
    published: Published,
    /// When the event happened that caused the change. None: no event did, or it is a correction, which has the time of the
    /// corrected history.
    happened: Option<DateTime<Utc>>,
    /// Its span, if it belongs to a trace.
    publication: Option<Publication>,
    confirm: PublisherConfirm,
}

/// When publishing ends.
#[derive(Clone, Copy)]
enum Until<'a> {
    /// At the stop request.
    Stopped(&'a CancellationToken),
    /// After this many lines.
    Published(usize),
}

/// Relays until a stop request and then publishes the remaining lines, or returns when the connection is lost. Retries
/// store failures.
pub(super) async fn session(
    context: &Context,
    connection: &Connection,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let channel = publisher::confirming_channel(connection).await?;
    if context.settings.declare {
        topology::declare_changes(&channel).await?;
    } else {
        check_changes(&channel).await?;
    }
    let record = PublishedRecord::open(connection).await?;
    // Only now: a worker that is ready publishes at once.
    context.state.up(Part::Relay, context.engine.now());
    let relay = Relay {
        context,
        channel,
        record,
        follows: AtomicBool::default(),
        cursor_writes: AtomicU64::new(0),
    };
    let done = tokio::select! {
        done = relay.work(stop) => done,
        // Lines without a confirm are published again. A broker under a memory alarm confirms nothing until the alarm
        // clears.
        () = late(stop) => Ok(()),
    };
    // Without a connection to RabbitMQ this worker cannot publish; another worker may be able to.
    if let Err(error) = context.outbox.release_lead().await {
        tracing::debug!(%error, "the relay's lead cannot be released; the store releases it with its session");
    }
    done
}

/// When dropped, this worker no longer leads, however publishing ended, and nothing waits for its lag.
struct LeadGuard<'a>(&'a Context);

impl Drop for LeadGuard<'_> {
    fn drop(&mut self) {
        self.0.engine.report_relay_lag(false);
        self.0.engine.duties().lead_relay(false);
    }
}

struct Relay<'a> {
    context: &'a Context,
    channel: Channel,
    record: PublishedRecord,
    /// Another worker leads, and this worker has logged it.
    follows: AtomicBool,
    /// Number of cursor writes: shows whether the relay makes progress.
    cursor_writes: AtomicU64,
}

impl Relay<'_> {
    async fn work(&self, stop: &CancellationToken) -> Result<(), BrokerError> {
        let mut backoff = Backoff::default();
        let mut nacks = 0;
        let mut cursor_writes = 0;
        while !stop.is_cancelled() {
            let ended = self.relay(Until::Stopped(stop)).await;
            let before = std::mem::replace(&mut cursor_writes, self.cursor_writes.load(Ordering::Relaxed));
            if cursor_writes > before {
                backoff.reset();
                nacks = 0;
            }
            match ended {
                Ok(()) => break,
                Err(RelayError::Store(error)) => {
                    if !error.is_transient() && self.context.relay_failing.fail() {
                        tracing::error!(why = %error, "the journal cannot be relayed; retrying");
                    }
                    self.context.watch.failed(&error);
                }
                Err(RelayError::Nacked) => {
                    nacks += 1;
                    if nacks == ATTEMPTS {
                        return Err(publisher::rejects_all());
                    }
                }
                Err(RelayError::Broker(error)) => return Err(error),
            }
            // Wait for the outstanding confirms and discard them: the lines are published again.
            self.channel.wait_for_confirms().await?;
            backoff.wait(stop).await;
        }
        match self.relay_rest().await {
            // The next leader publishes it.
            Err(RelayError::Store(_) | RelayError::Nacked) | Ok(()) => Ok(()),
            Err(RelayError::Broker(error)) => Err(error),
        }
    }

    /// Publishes the lines that the journal holds now, and none that other workers write later.
    async fn relay_rest(&self) -> Result<(), RelayError> {
        let left = self.context.outbox.count_unpublished().await?;
        self.relay(Until::Published(usize::try_from(left).unwrap_or_default()))
            .await
    }

    /// Publishes from the store's cursor on, and advances the cursor after confirms. The two halves run concurrently:
    /// while lines are in flight to RabbitMQ and while the cursor is written, later lines are read and published.
    ///
    /// When RabbitMQ rejects a line, that line and all later lines are read and published again. Subscribers may
    /// receive duplicates, but never in an order that stays wrong.
    async fn relay(&self, until: Until<'_>) -> Result<(), RelayError> {
        let (published, confirming) = mpsc::channel(WINDOW);
        // If reading the journal fails, the lines in flight are still confirmed and recorded.
        let publishing = async { Ok(self.publish(until, published).await) };
        let _guard = LeadGuard(self.context);
        tokio::try_join!(publishing, self.record_confirms(confirming))?.0
    }

    async fn publish(&self, until: Until<'_>, published: mpsc::Sender<InFlight>) -> Result<(), RelayError> {
        let mut upto = Cursor::default();
        let mut leads = false;
        let mut left = match until {
            Until::Stopped(_) => usize::MAX,
            Until::Published(lines) => lines,
        };
        while left > 0 {
            let written = self.context.journal_written.notified();
            if !leads {
                leads = self.acquire_lead().await?;
            }
            self.context.engine.duties().lead_relay(leads);
            let (epoch, lines) = if leads {
                let unpublished = self.next(&mut upto).await?;
                (unpublished.epoch, unpublished.lines)
            } else {
                (0, Vec::new())
            };
            self.report_lag(&lines);
            let traces = self.traces_of(&lines).await?;
            for line in &lines {
                let event = traces.get(&line.cursor);
                if self.hand_over(epoch, line, event, &published).await?.is_break() {
                    return Ok(());
                }
                upto = line.cursor;
            }
            left = left.saturating_sub(lines.len());
            match until {
                Until::Stopped(stop) if stop.is_cancelled() => break,
                Until::Stopped(stop) if lines.is_empty() => {
                    let limit = if leads { POLL } else { LEAD_POLL };
                    tokio::select! {
                        () = written, if leads => {}
                        () = tokio::time::sleep(limit) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Until::Published(_) if !leads => break,
                // Another transaction holds the line back, usually for a moment.
                Until::Published(_) if lines.is_empty() => tokio::time::sleep(POLL).await,
                Until::Stopped(_) | Until::Published(_) => {}
            }
        }
        Ok(())
    }

    /// The trace contexts of the events that caused these lines, whichever worker ingested them. Empty: traces are off.
    async fn traces_of(&self, lines: &[Recorded]) -> Result<BTreeMap<Cursor, TraceContext>, RelayError> {
        if self.context.engine.traces().is_none() {
            return Ok(BTreeMap::new());
        }
        let caused = lines
            .iter()
            .filter(|line| matches!(line.entry.cause, Cause::Event { .. }));
        let places: Vec<Cursor> = caused.map(|line| line.cursor).collect();
        if places.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = self.context.outbox.event_traces(&places).await?;
        let parsed = found.into_iter().filter_map(|(place, headers)| {
            let context = TraceContext::parse(&headers.traceparent, Some(&headers.tracestate))?;
            Some((place, context))
        });
        Ok(parsed.collect())
    }

    /// Hands a line to RabbitMQ, once the window has room for it. `event`: the trace context of the event that caused it. Breaks when
    /// nobody receives the confirms: the other half has failed and reports the error.
    async fn hand_over(
        &self,
        epoch: i64,
        line: &Recorded,
        event: Option<&TraceContext>,
        published: &mpsc::Sender<InFlight>,
    ) -> Result<ControlFlow<()>, RelayError> {
        let room = if self.context.pressure.is_there() {
            WINDOW - NARROW_WINDOW + 1
        } else {
            1
        };
        let Ok(mut room) = published.reserve_many(room).await else {
            return Ok(ControlFlow::Break(()));
        };
        let published = line.published(epoch);
        // Remember before publishing: a line that may have been published counts as published.
        self.remember(Some(published));
        let engine = &self.context.engine;
        let traced = engine.traces().zip(event);
        let publication = traced.map(|(traces, event)| traces.publish(topology::CHANGES, epoch, line, event));
        let trace = publication.as_ref().map(|publication| &publication.context);
        let change = Outgoing::change(epoch, line, engine.schemas(), trace);
        let confirm = change.hand_over(&self.channel).await?;
        if let Some(place) = room.next() {
            place.send(InFlight {
                published,
                happened: event_time(line),
                publication,
                confirm,
            });
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Acquires the lead if it is free, and verifies that the store has the change published last, by this worker and
    /// by the previous leader.
    async fn acquire_lead(&self) -> Result<bool, RelayError> {
        if !self.context.outbox.acquire_lead().await? {
            if !self.follows.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    "another worker publishes the changes; this one takes over when that one ends or loses RabbitMQ"
                );
            }
            return Ok(false);
        }
        if self.follows.swap(false, Ordering::Relaxed) {
            tracing::info!("this worker publishes the changes now");
        }
        let mut known = [self.last_published(), self.record.read().await?];
        known.sort_unstable();
        for last in known.into_iter().flatten() {
            self.remember(Some(last));
            self.unpublished(Cursor::default(), 0).await?;
        }
        Ok(true)
    }

    /// The unpublished changes after `upto`, or after the store's own cursor if a new epoch has begun.
    async fn next(&self, upto: &mut Cursor) -> Result<Unpublished, RelayError> {
        loop {
            let last = self.last_published();
            let unpublished = self.unpublished(*upto, CHUNK).await?;
            match last {
                Some(last) if last.epoch != unpublished.epoch && *upto != Cursor::default() => {
                    *upto = Cursor::default();
                }
                _ => return Ok(unpublished),
            }
        }
    }

    /// As [`crate::store::Outbox::unpublished`]. A store without the change published last first begins a new epoch.
    async fn unpublished(&self, after: Cursor, limit: u32) -> Result<Unpublished, RelayError> {
        let outbox = &self.context.outbox;
        let mut after = after;
        loop {
            let last = self.last_published();
            let unpublished = outbox.unpublished(after, last.as_ref(), limit).await?;
            match last {
                Some(last) if unpublished.is_behind(&last) => {
                    let epoch = outbox.begin_epoch(last.epoch).await?;
                    tracing::warn!(
                        relay.epoch = epoch,
                        relay.epoch_before = last.epoch,
                        relay.last_published = last.cursor.sequence,
                        "the store does not have the change that was published last: it was restored from a backup. A new \
                         epoch of changes begins, and those that wait are published in it"
                    );
                    self.remember(None);
                    after = Cursor::default();
                }
                _ => return Ok(unpublished),
            }
        }
    }

    fn last_published(&self) -> Option<Published> {
        *self
            .context
            .last_published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, published: Option<Published>) {
        *self
            .context
            .last_published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = published;
    }

    /// Waits for confirms in line order, and periodically stores the position they have reached.
    async fn record_confirms(&self, mut confirming: mpsc::Receiver<InFlight>) -> Result<(), RelayError> {
        let mut every = tokio::time::interval(STORE_CURSOR_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ages = ::metrics::histogram!(metrics::EVENT_TO_PUBLISH);
        let mut upto = None;
        loop {
            tokio::select! {
                next = confirming.recv() => {
                    let Some(line) = next else {
                        return self.store_cursor(&mut upto).await;
                    };
                    if !publisher::is_confirmed(line.confirm, topology::CHANGES).await? {
                        if let Some(publication) = line.publication {
                            publication.fail();
                        }
                        self.store_cursor(&mut upto).await?;
                        return Err(RelayError::Nacked);
                    }
                    if let Some(happened) = line.happened {
                        let age = self.context.engine.now() - happened;
                        ages.record(age.as_seconds_f64().max(0.0));
                    }
                    upto = Some(line.published);
                }
                _ = every.tick(), if upto.is_some() => self.store_cursor(&mut upto).await?,
            }
        }
    }

    async fn store_cursor(&self, upto: &mut Option<Published>) -> Result<(), RelayError> {
        if let Some(upto) = upto.take() {
            self.context.outbox.advance_cursor(&upto).await?;
            self.record.write(&upto).await?;
            self.cursor_writes.fetch_add(1, Ordering::Relaxed);
            if self.context.relay_failing.succeed() {
                tracing::info!("the journal is relayed again");
            }
        }
        Ok(())
    }

    fn report_lag(&self, lines: &[Recorded]) {
        let lag = lines.first().map_or(TimeDelta::zero(), |oldest| {
            self.context.engine.now() - oldest.recorded_at
        });
        ::metrics::gauge!(metrics::RELAY_LAG).set(lag.as_seconds_f64().max(0.0));
        self.context.engine.report_relay_lag(lag > BEHIND);
    }
}

/// When the event happened that caused a change.
fn event_time(line: &Recorded) -> Option<DateTime<Utc>> {
    let entry = &line.entry;
    let is_by_event = matches!(entry.cause, Cause::Event { .. }) && !entry.is_correction();
    is_by_event.then_some(entry.time)
}

/// Returns a grace period after the stop request.
async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

async fn check_changes(channel: &Channel) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    channel
        .exchange_declare(
            topology::CHANGES.into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .map_err(|error| topology::advise(&error, topology::CHANGES))
}
