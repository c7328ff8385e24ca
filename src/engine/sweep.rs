//! Sweeps: find the clients for which a timer has fallen due, and fire it.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::breaker::Breaker;
use super::cached::Staleness;
use super::conflict_retry::{ConflictRetry, give_up_disputed_names};
use super::low_watermark::{HeldBack, LowWatermark};
use super::{Engine, carry_out, plan};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::{Due, Halt, HaltKind, RunCounts, RunEnd, StoreError, Stored};

/// Clients in a chunk when nothing else is said.
pub const DEFAULT_CHUNK: u32 = 250;

/// How long a chunk waits at most for the relay to tell of those before it.
const ROOM: Duration = Duration::from_millis(200);

/// How to sweep.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// Look and tell, but write nothing, the run neither.
    pub dry_run: bool,
    /// Sweep as of this moment instead of now.
    pub now: Option<DateTime<Utc>>,
    /// The tick that this run stands for; the moment of the sweep without.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Who sweeps, for the record.
    pub worker: String,
    /// Clients in a chunk, which is a transaction.
    pub chunk: u32,
    /// What stops it before it changes too much. None: a person has confirmed what it does.
    pub breaker: Option<Breaker>,
    /// Stops the sweep at the next chunk; those under way are seen through.
    pub stop: CancellationToken,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            now: None,
            scheduled_at: None,
            worker: "tenure".into(),
            chunk: DEFAULT_CHUNK,
            breaker: None,
            stop: CancellationToken::new(),
        }
    }
}

/// What a sweep did, or in a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    pub sweep: Sweep,
    /// The moment that the sweep went up to. None: it could not begin.
    pub until: Option<DateTime<Utc>>,
    pub dry_run: bool,
    #[serde(flatten)]
    pub counts: RunCounts,
    /// It was stopped before it was through.
    pub stopped: bool,
    /// Something is due that it left alone, because older events may still wait.
    pub held_back: Option<HeldBack>,
    /// Why the breaker let it change nothing.
    pub tripped: Option<String>,
}

impl SweepReport {
    pub(super) fn of(sweep: Sweep, until: Option<DateTime<Utc>>, dry_run: bool) -> Self {
        Self {
            sweep,
            until,
            dry_run,
            counts: RunCounts::default(),
            stopped: false,
            held_back: None,
            tripped: None,
        }
    }

    /// A pause is a stop like any other: the next run goes on.
    fn halted(&mut self, halt: Halt) {
        match halt.kind {
            HaltKind::Tripped => self.tripped = Some(halt.why),
            HaltKind::Paused => self.stopped = true,
        }
    }

    /// Why the sweep was not seen through, if it was not.
    fn shortcoming(&self) -> Option<String> {
        if let Some(why) = &self.tripped {
            Some(format!(
                "stopped by the breaker before it changed anything: {why}"
            ))
        } else if self.stopped {
            Some("stopped before it was through; the next run goes on".into())
        } else if let Some(held_back) = &self.held_back {
            Some(format!("held back: {held_back}"))
        } else if self.counts.failed > 0 {
            Some(format!("{} clients could not be swept", self.counts.failed))
        } else {
            None
        }
    }
}

/// What is done with a chunk of clients.
#[derive(Clone, Copy)]
struct Chunk {
    sweep: Sweep,
    until: DateTime<Utc>,
    /// The run that it is counted in.
    run: Option<i64>,
    dry_run: bool,
}

/// Told of each chunk's changes, by client.
type Seen<'a> = dyn FnMut(&[(ClientKey, Vec<Entry>)]) + Send + 'a;

/// What came of a chunk.
#[derive(Default)]
struct Swept {
    counts: RunCounts,
    /// Its changes, by client.
    told: Vec<(ClientKey, Vec<Entry>)>,
}

/// Why no more is swept, although something is due.
enum Ended {
    Stopped,
    Halted(Halt),
    Failed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    /// Runs a sweep to its end, chunk by chunk, each in its own transaction. `seen` is told of every
    /// chunk's changes (after they are committed, or in a dry run without), for progress and for people; not of one that
    /// breaks off because the store went away. A client that cannot be swept is logged and counted, and stops no other.
    ///
    /// It does not begin while the clock is ahead, unless a moment is named. It goes up to that moment, or to the horizon:
    /// nothing is fired on the strength of events that may
    /// still wait in a queue. Only a dry run of a moment that was named is a question, and not held back.
    ///
    /// # Errors
    /// When the store cannot be reached; what was swept by then is committed and recorded.
    pub async fn sweep(
        &self,
        sweep: Sweep,
        options: SweepOptions,
        mut seen: impl FnMut(&[(ClientKey, Vec<Entry>)]) + Send,
    ) -> Result<SweepReport, StoreError> {
        let wanted = options.now.unwrap_or_else(|| self.now());
        let lanes = if options.dry_run && options.now.is_some() {
            Vec::new()
        } else {
            self.store.lanes().await?
        };
        let low_watermark = LowWatermark::of(&lanes, wanted, &self.watch);
        let mut report = SweepReport::of(sweep, low_watermark.until, options.dry_run);
        if options.dry_run {
            if let Some(until) = low_watermark.until {
                self.sweep_chunks(&options, until, None, &mut report, &mut seen)
                    .await?;
            }
            report.held_back = self.held_back(sweep, &low_watermark, wanted).await?;
            return Ok(report);
        }
        // Whoever names the moment does not go by the clock.
        if options.now.is_none()
            && let Some(skew) = self.watch.ahead()
        {
            report.until = None;
            report.held_back = Some(HeldBack::Clock {
                clock: skew.to_string(),
            });
            return Ok(report);
        }
        if options.breaker.is_none() {
            self.store.resume(sweep, HaltKind::Tripped).await?;
        }
        if let Some(halt) = self.halt_of(sweep, &options).await? {
            report.halted(halt);
            return Ok(report);
        }
        let scheduled_at = options.scheduled_at.unwrap_or(wanted);
        let run = self
            .store
            .start_run(sweep, scheduled_at, self.now(), &options.worker)
            .await?
            .id;
        let done = self
            .run(run, &options, &low_watermark, wanted, &mut report, &mut seen)
            .await;
        let end = RunEnd {
            at: self.now(),
            upto: report
                .until
                .filter(|_| done.is_ok() && report.tripped.is_none() && !report.stopped),
            error: match &done {
                Err(error) => Some(error.to_string()),
                Ok(()) => report.shortcoming(),
            },
        };
        let ended = self.store.end_run(run, &end).await;
        if options.breaker.is_none() && done.is_ok() {
            // A tick of the scheduler may have tripped meanwhile, over what is done now.
            self.store.resume(sweep, HaltKind::Tripped).await?;
        }
        done.and(ended).map(|()| report)
    }

    /// What keeps this sweep from going on: the breaker's halt, unless a person has confirmed it, and a pause, unless a
    /// person runs it by hand.
    async fn halt_of(&self, sweep: Sweep, options: &SweepOptions) -> Result<Option<Halt>, StoreError> {
        let holds = |kind| match kind {
            HaltKind::Tripped => options.breaker.is_some(),
            HaltKind::Paused => options.scheduled_at.is_some(),
        };
        let halts = self.store.halts().await?;
        Ok(halts
            .into_iter()
            .filter(|halt| halt.sweep == sweep && holds(halt.kind))
            // What the breaker says is more urgent.
            .max_by_key(|halt| halt.kind == HaltKind::Tripped))
    }

    async fn run(
        &self,
        run: i64,
        options: &SweepOptions,
        low_watermark: &LowWatermark,
        wanted: DateTime<Utc>,
        report: &mut SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<(), StoreError> {
        let sweep = report.sweep;
        if let Some(until) = low_watermark.until {
            let trip = match &options.breaker {
                Some(breaker) => self.would_trip(sweep, until, breaker, options).await?,
                None => None,
            };
            if let Some(why) = trip {
                let halt = Halt {
                    sweep,
                    kind: HaltKind::Tripped,
                    at: self.now(),
                    why: why.clone(),
                };
                self.store.halt(&halt).await?;
                report.tripped = Some(why);
                return Ok(());
            }
            self.sweep_chunks(options, until, Some(run), report, seen).await?;
        }
        report.held_back = self.held_back(sweep, low_watermark, wanted).await?;
        Ok(())
    }

    /// The lane that is waited for, if anything is due beyond the horizon.
    async fn held_back(
        &self,
        sweep: Sweep,
        low_watermark: &LowWatermark,
        wanted: DateTime<Utc>,
    ) -> Result<Option<HeldBack>, StoreError> {
        let Some(behind) = &low_watermark.behind else {
            return Ok(None);
        };
        // Times are whole microseconds, and no id is empty: this stands before all that is later.
        let nobody = ClientKey {
            partner: "".into(),
            client: "".into(),
        };
        let from = low_watermark
            .until
            .map(|until| (until + TimeDelta::microseconds(1), nobody));
        let due = self.store.due(sweep, wanted, from.as_ref(), 1).await?;
        Ok((!due.is_empty()).then(|| behind.clone()))
    }

    /// Sweeps chunk by chunk, some of them beside each other: they wait for each other only where they count, which is last.
    /// A client whose deadline moves between them may be in two; the second leaves it out, or finds nothing due.
    pub(super) async fn sweep_chunks(
        &self,
        options: &SweepOptions,
        until: DateTime<Utc>,
        run: Option<i64>,
        report: &mut SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<(), StoreError> {
        let chunk = Chunk {
            sweep: report.sweep,
            until,
            run,
            dry_run: options.dry_run,
        };
        let failed = CancellationToken::new();
        let mut chunks = self.sweep_in_order(options, chunk, &failed);
        let mut failure = None;
        while let Some(swept) = chunks.next().await {
            match swept {
                Ok(swept) => {
                    report.counts += swept.counts;
                    seen(&swept.told);
                }
                Err(Ended::Stopped) => report.stopped = true,
                Err(Ended::Halted(halt)) => report.halted(halt),
                // What is under way beside it is seen through.
                Err(Ended::Failed(error)) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// What comes of each chunk, in their order; none is begun after one has failed. (In a box, or the compiler cannot tell
    /// that it may go to another thread.)
    fn sweep_in_order<'a>(
        &'a self,
        options: &'a SweepOptions,
        chunk: Chunk,
        failed: &'a CancellationToken,
    ) -> BoxStream<'a, Result<Swept, Ended>> {
        // After which deadline to go on; none any more once it has ended.
        stream::unfold(Some(None), move |after: Option<Option<Due>>| async move {
            match self.due_next(options, chunk, after?.as_ref()).await {
                Ok(_) if failed.is_cancelled() => None,
                Ok(due) => due.last().cloned().map(|last| (Ok(due), Some(Some(last)))),
                Err(ended) => Some((Err(ended), None)),
            }
        })
        .map(move |due| async move {
            let keys: Vec<ClientKey> = due?.into_iter().map(|(_, key)| key).collect();
            let swept = self.sweep_isolated(keys, chunk).await;
            swept.map_err(|error| {
                failed.cancel();
                Ended::Failed(error)
            })
        })
        .buffered(self.store.concurrent_chunks())
        .boxed()
    }

    /// The clients that are due next, or none any more. Should that change until they are swept: each is looked at again
    /// once it is locked.
    async fn due_next(
        &self,
        options: &SweepOptions,
        chunk: Chunk,
        after: Option<&Due>,
    ) -> Result<Vec<Due>, Ended> {
        let due = self
            .store
            .due(chunk.sweep, chunk.until, after, options.chunk.max(1))
            .await?;
        if due.is_empty() {
            return Ok(due);
        }
        if chunk.run.is_some() {
            self.leave_room().await;
        }
        if options.stop.is_cancelled() {
            return Err(Ended::Stopped);
        }
        // Another worker may have found that it would be too much, or a person may have paused it.
        if chunk.run.is_some()
            && let Some(halt) = self.halt_of(chunk.sweep, options).await?
        {
            return Err(Ended::Halted(halt));
        }
        Ok(due)
    }

    /// Waits while the relay is behind, but not for long: RabbitMQ must not keep time from passing.
    async fn leave_room(&self) {
        let mut behind = self.behind.subscribe();
        let _ = tokio::time::timeout(ROOM, behind.wait_for(|behind| !behind)).await;
    }

    /// Sweeps these clients together, or, where one of them makes that fail, each alone.
    async fn sweep_isolated(&self, keys: Vec<ClientKey>, chunk: Chunk) -> Result<Swept, StoreError> {
        let error = match self.sweep_clients(&keys, chunk).await {
            Err(error) if !error.is_transient() => error,
            done => return done,
        };
        tracing::warn!(sweep = %chunk.sweep, %error, "a chunk cannot be swept; sweeping its clients one by one");
        let mut swept = Swept::default();
        for key in keys {
            match self.sweep_clients(std::slice::from_ref(&key), chunk).await {
                Ok(mut one) => {
                    swept.counts += one.counts;
                    swept.told.append(&mut one.told);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::error!(sweep = %chunk.sweep, client = %key, %error, "the client cannot be swept");
                    swept.counts.failed += 1;
                }
            }
        }
        let failed = swept.counts.failed;
        if let Some(run) = chunk.run.filter(|_| failed > 0) {
            let counts = RunCounts {
                failed,
                ..RunCounts::default()
            };
            self.store.add_run_counts(run, &counts).await?;
        }
        Ok(swept)
    }

    async fn sweep_clients(&self, keys: &[ClientKey], chunk: Chunk) -> Result<Swept, StoreError> {
        let mut retry = ConflictRetry::default();
        let mut suspicious = false;
        loop {
            match self.try_sweep(keys, chunk, suspicious).await {
                Err(error) => retry.wait_after(error).await?,
                done => return done,
            }
            suspicious = true;
        }
    }

    async fn try_sweep(
        &self,
        keys: &[ClientKey],
        chunk: Chunk,
        suspicious: bool,
    ) -> Result<Swept, StoreError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let mut batch = self.store.begin().await?;
        // A client that another transaction holds is left to it: what is due fires there.
        let mut stored = batch.lock(&keys, true).await?;
        if suspicious {
            give_up_disputed_names(batch.as_mut(), &mut stored).await?;
        }
        let policies = self.policies_in(batch.as_mut(), Staleness::Bounded).await?;
        let batch = if chunk.dry_run {
            batch.rollback().await?;
            stored.extend(self.busy(&keys, &stored).await?);
            None
        } else {
            Some(batch)
        };
        let examined = stored.len();
        let (mut commit, told) = plan::plan_sweep(stored, chunk.sweep, chunk.until, self.now(), &policies);
        let counts = RunCounts {
            examined: count(examined),
            changed: count(told.len()),
            changes: count(commit.journal.len()),
            failed: 0,
        };
        commit.swept = chunk.run.map(|run| (run, counts));
        if let Some(batch) = batch {
            carry_out(batch, &commit).await?;
            self.tell_relay(&commit);
        }
        Ok(Swept { counts, told })
    }

    /// The clients that could not be locked. Whoever only looks must count them, and need not wait for them. (Asked
    /// after the transaction: whoever holds a connection must not wait for another.)
    async fn busy(&self, keys: &[ClientKey], locked: &[Stored]) -> Result<Vec<Stored>, StoreError> {
        let locked: HashSet<&ClientKey> = locked.iter().map(|stored| &stored.key).collect();
        let mut busy = Vec::new();
        for key in keys.iter().filter(|key| !locked.contains(key)) {
            busy.extend(self.store.client(key).await?);
        }
        Ok(busy)
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
