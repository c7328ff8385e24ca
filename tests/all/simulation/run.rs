//! The run of a seed: workers ingest batches, sweep, publish, die and restart until every event is ingested.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::clock::{Clock, SimulatedClock};
use tenure::domain::{Policy, Sweep};
use tenure::engine::{CheckpointSpacing, Engine, Incoming, Outcome, SweepMode, SweepOptions, SweepReport};
use tenure::store::{Cursor, Store, StoreError, Unpublished};

use super::Trace;
use super::outcomes::Outcomes;
use super::silence::Silence;
use super::world::{Delivery, World};
use crate::fault_injecting::{FaultInjectingStore, Faults, Overtaking};
use crate::oracle::Subscriber;

/// The most steps before a doomed worker dies.
const STEPS: u32 = 16;

struct Worker {
    engine: Arc<Engine>,
    faults: Arc<Faults>,
}

pub struct Run<'a> {
    pub rng: StdRng,
    pub store: Arc<dyn Store>,
    pub clock: Arc<SimulatedClock>,
    pub end: DateTime<Utc>,
    /// Every event that was sent.
    pub sent: Vec<Delivery>,
    pub subscriber: Subscriber,
    pub outcomes: Outcomes,
    /// The longest batch.
    longest: usize,
    /// For how long workers store entries of the access log, if it is on.
    pub access_log: Option<TimeDelta>,
    /// Short histories have checkpoints too.
    spacing: CheckpointSpacing,
    checkpoints_found: usize,
    queue: VecDeque<Delivery>,
    policy: Policy,
    changes: VecDeque<(DateTime<Utc>, Policy)>,
    workers: Vec<Worker>,
    /// The source that is expected to be heard from, if there is one.
    silence: Option<Silence>,
    /// The arrival time of the last event that the workers have received.
    present: DateTime<Utc>,
    /// The latest moment that any worker has seen.
    latest: DateTime<Utc>,
    trace: &'a Trace,
}

impl<'a> Run<'a> {
    pub fn new(seed: u64, store: Arc<dyn Store>, trace: &'a Trace) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(&mut rng);
        let silence = Silence::new(seed, &mut world);
        let longest = [1, 3, 25, 25, 200][rng.random_range(0..5)];
        // Usually a batch is one transaction; with short parts it is several.
        let part = [1, 3, 500, 500, 500][rng.random_range(0..5)];
        let spacing = CheckpointSpacing {
            shortest: if seed.is_multiple_of(2) { 1 } else { 20 },
            nearest: if seed.is_multiple_of(3) { 1 } else { 5 },
        };
        Self {
            outcomes: Outcomes::new(part),
            longest,
            // Longer than any history, so that no entry expires.
            access_log: seed.is_multiple_of(2).then(|| TimeDelta::days(36_500)),
            spacing,
            checkpoints_found: 0,
            rng,
            store,
            clock: Arc::new(SimulatedClock::at(world.start)),
            end: world.end,
            sent: world.deliveries.iter().cloned().collect(),
            subscriber: Subscriber::default(),
            queue: world.deliveries,
            policy: world.policy,
            changes: world.changes,
            workers: Vec::new(),
            silence,
            present: world.start,
            latest: world.start,
            trace,
        }
    }

    /// Runs until every event is ingested. `side_by_side`: workers also run concurrently, as far as the store allows; the seed
    /// alone then does not determine the run.
    pub async fn go(&mut self, side_by_side: bool) {
        for _ in 0..self.rng.random_range(1..=3) {
            self.start_worker().await;
        }
        if let Some(silence) = &self.silence {
            let expected = silence.expected();
            self.trace.note(|| format!("expected: {expected:?}"));
            let expected = self.store.expect_sources(&expected, self.clock.now());
            expected.await.expect("expected");
        }
        while let Some(next) = self.queue.front() {
            let at = next.at;
            if self.changes.front().is_some_and(|(moment, _)| *moment <= at) {
                self.change_policy().await;
            }
            if side_by_side && self.rng.random_bool(0.3) {
                self.work_side_by_side().await;
            } else {
                self.take_one().await;
            }
            if self.rng.random_bool(0.25) {
                self.sweep_one().await;
            }
            if self.rng.random_bool(0.1) {
                self.publish().await;
            }
            if self.rng.random_bool(0.05) {
                // At the latest moment at which timers may have fired: a timer that fired ahead of now is a drift.
                let now = self.clock.now();
                self.clock.set(self.latest);
                self.verify().await;
                self.clock.set(now);
            }
        }
        while !self.changes.is_empty() {
            self.change_policy().await;
        }
        self.set_clock(self.latest.max(self.end));
    }

    /// The number of checkpoints from which replays could start, until a worker was restarted.
    pub fn checkpoints_found(&self) -> usize {
        self.checkpoints_found
    }

    fn set_clock(&mut self, now: DateTime<Utc>) {
        self.trace.note(|| format!("it is {now}"));
        self.latest = self.latest.max(now);
        self.clock.set(now);
    }

    /// Moves the clock to the next arrival; now and then a clock is slightly wrong.
    fn tick(&mut self) {
        let jump = match self.rng.random_range(0..20) {
            0 => TimeDelta::hours(self.rng.random_range(0..72)),
            1..4 => -TimeDelta::minutes(self.rng.random_range(0..120)),
            _ => TimeDelta::zero(),
        };
        self.latest = self.latest.max(self.present);
        self.set_clock((self.present + jump).min(self.end));
    }

    /// A worker may die while it starts.
    async fn start_worker(&mut self) {
        loop {
            let faults = Arc::new(Faults::default());
            if self.rng.random_bool(0.1) {
                faults.crash_after(self.rng.random_range(1..=STEPS));
            }
            let (inner, carried) = (self.store.clone(), faults.clone());
            let store = Arc::new(FaultInjectingStore {
                inner,
                faults: carried,
                events_per_part: Some(self.outcomes.part),
            });
            // A start confirms the policy of the settings, and a clock that is behind would withdraw the recorded ones.
            let now = self.clock.now();
            self.clock.set(self.latest.max(now));
            let started = Engine::start(store, self.clock.clone(), &self.policy).await;
            self.clock.set(now);
            match started {
                Ok(engine) => {
                    faults.disarm();
                    let engine = engine.with_access_log(self.access_log);
                    let engine = Arc::new(engine.with_checkpoints(self.spacing));
                    self.workers.push(Worker { engine, faults });
                    return;
                }
                Err(error) => {
                    assert!(faults.has_crashed(), "a worker cannot start: {error}");
                    self.trace.note(|| "a worker died while it started".into());
                }
            }
        }
    }

    /// Changes the settings, and restarts every worker.
    async fn change_policy(&mut self) {
        let Some((_, policy)) = self.changes.pop_front() else {
            return;
        };
        // A policy is effective from the present, and the timers that a wrong clock fired early are not undone.
        self.set_clock(self.latest);
        self.trace.note(|| format!("another policy: {policy:?}"));
        self.policy = policy;
        self.workers.clear();
        for _ in 0..self.rng.random_range(1..=3) {
            self.start_worker().await;
        }
    }

    /// The next batch, and the arrival time of its last event.
    fn next_batch(&mut self) -> Vec<Delivery> {
        let size = self.rng.random_range(1..=self.longest).min(self.queue.len());
        let batch: Vec<_> = self.queue.drain(..size).collect();
        if let Some(silence) = &mut self.silence {
            silence.hear(&batch);
        }
        let last = batch.iter().map(|delivery| delivery.at).max();
        self.present = self.present.max(last.unwrap_or(self.present));
        batch
    }

    async fn take_one(&mut self) {
        let batch = self.next_batch();
        let worker = self.rng.random_range(0..self.workers.len());
        let overtaking = self.backfill_deadlines(worker);
        self.tick();
        self.trace
            .note(|| format!("worker {worker} takes {}", named(&batch)));
        let engine = self.workers[worker].engine.clone();
        let ingested = engine.ingest(incoming(&batch)).await;
        let died = self.workers[worker].faults.has_crashed();
        self.overtaken(worker, overtaking).await;
        self.answered(batch, ingested, died).await;
        self.replace_dead(worker, died).await;
    }

    /// Perhaps lets the worker die, conflict with a transaction, or be overtaken by another worker.
    fn backfill_deadlines(&mut self, worker: usize) -> Option<Vec<Delivery>> {
        let faults = self.workers[worker].faults.clone();
        if self.rng.random_bool(0.15) {
            faults.crash_after(self.rng.random_range(1..=STEPS));
        }
        if self.rng.random_bool(0.1) {
            faults.conflict_after(self.rng.random_range(0..3));
        }
        if self.workers.len() < 2 || self.queue.is_empty() || !self.rng.random_bool(0.2) {
            return None;
        }
        let batch = self.next_batch();
        let other = (worker + 1) % self.workers.len();
        faults.overtake(Overtaking {
            by: self.workers[other].engine.clone(),
            batch: incoming(&batch),
        });
        Some(batch)
    }

    /// Ends the faults of a worker. The events that overtook it have their outcomes already.
    async fn overtaken(&mut self, worker: usize, overtaking: Option<Vec<Delivery>>) {
        let faults = &self.workers[worker].faults;
        self.checkpoints_found += faults.checkpoints_found.swap(0, Ordering::SeqCst);
        let overtaken = faults.disarm();
        match (overtaking, overtaken) {
            (Some(batch), Some(outcomes)) => {
                self.trace
                    .note(|| format!("it was overtaken by {} {outcomes:?}", named(&batch)));
                self.outcomes
                    .answered(&batch, &outcomes, self.store.as_ref(), &self.sent)
                    .await;
            }
            (Some(batch), None) => self.come_again(batch),
            (None, _) => {}
        }
    }

    async fn replace_dead(&mut self, worker: usize, died: bool) {
        if died {
            self.workers.remove(worker);
            self.start_worker().await;
        }
    }

    async fn answered(
        &mut self,
        batch: Vec<Delivery>,
        ingested: Result<Vec<Outcome>, StoreError>,
        died: bool,
    ) {
        match ingested {
            Ok(outcomes) => {
                self.trace.note(|| format!("it answers {outcomes:?}"));
                self.outcomes
                    .answered(&batch, &outcomes, self.store.as_ref(), &self.sent)
                    .await;
                if self.rng.random_bool(0.05) {
                    self.trace.note(|| "the acknowledgement was lost".into());
                    self.come_again(batch);
                }
            }
            Err(error) => {
                assert!(died, "the worker lives, and could not ingest: {error}");
                self.trace.note(|| "the worker died".into());
                self.outcomes
                    .unanswered(&batch, self.store.as_ref(), &self.sent)
                    .await;
                self.come_again(batch);
            }
        }
    }

    /// Redelivers unacknowledged events, before the rest or among it.
    fn come_again(&mut self, batch: Vec<Delivery>) {
        let place = if self.rng.random_bool(0.5) {
            0
        } else {
            self.rng.random_range(0..=self.queue.len())
        };
        let after = self.queue.split_off(place);
        self.queue.extend(batch);
        self.queue.extend(after);
    }

    fn sweep_options(&mut self) -> (Sweep, SweepOptions) {
        let sweep = Sweep::ALL[self.rng.random_range(0..Sweep::ALL.len())];
        let ahead = TimeDelta::hours(self.rng.random_range(0..48));
        let ahead = if self.rng.random_bool(0.2) {
            ahead
        } else {
            TimeDelta::zero()
        };
        let now = (self.workers[0].engine.now() + ahead).min(self.end);
        self.latest = self.latest.max(now);
        let options = SweepOptions {
            as_of: Some(now),
            chunk: self.rng.random_range(1..4),
            ..SweepOptions::new(SweepMode::Confirmed)
        };
        (sweep, options)
    }

    async fn sweep_one(&mut self) {
        let worker = self.rng.random_range(0..self.workers.len());
        let overtaking = self.backfill_deadlines(worker);
        self.tick();
        let (sweep, options) = self.sweep_options();
        self.trace
            .note(|| format!("worker {worker} sweeps {sweep} as of {:?}", options.as_of));
        let engine = self.workers[worker].engine.clone();
        match engine.sweep(sweep, options, |_| {}).await {
            Ok(report) => self.waits_for_a_silent_source(&report),
            Err(error) => {
                let died = self.workers[worker].faults.has_crashed();
                assert!(died, "the worker lives, and could not sweep: {error}");
                self.trace.note(|| "the worker died".into());
            }
        }
        let died = self.workers[worker].faults.has_crashed();
        self.overtaken(worker, overtaking).await;
        self.replace_dead(worker, died).await;
        self.no_decision_is_assured_during_a_silence().await;
    }

    fn waits_for_a_silent_source(&self, report: &SweepReport) {
        let bound = self
            .silence
            .as_ref()
            .and_then(|silence| silence.bound(self.clock.now()));
        if let Some(bound) = bound {
            assert!(
                report.until.is_none_or(|until| until <= bound),
                "{report:?} is beyond {bound}"
            );
        }
    }

    async fn no_decision_is_assured_during_a_silence(&mut self) {
        if self
            .silence
            .as_ref()
            .is_some_and(|silence| silence.bound(self.clock.now()).is_some())
        {
            let key = &self.sent[self.rng.random_range(0..self.sent.len())].event.key;
            let decision = self.workers[0].engine.decide(key, None, None).await;
            assert!(!decision.expect("a decision").assured, "{key}");
        }
    }

    /// Two workers ingest and a third sweeps concurrently. Any of them may die.
    async fn work_side_by_side(&mut self) {
        while self.workers.len() < 3 {
            self.start_worker().await;
        }
        let batches = [self.next_batch(), self.next_batch()];
        self.tick();
        for worker in 0..3 {
            if self.rng.random_bool(0.1) {
                let steps = self.rng.random_range(1..=STEPS);
                self.workers[worker].faults.crash_after(steps);
            }
        }
        let (sweep, options) = self.sweep_options();
        let note = || {
            format!(
                "side by side: {}; {}; a sweep",
                named(&batches[0]),
                named(&batches[1])
            )
        };
        self.trace.note(note);
        let engines: Vec<_> = self.workers.iter().map(|worker| worker.engine.clone()).collect();
        let (first, second, swept) = tokio::join!(
            engines[0].ingest(incoming(&batches[0])),
            engines[1].ingest(incoming(&batches[1])),
            engines[2].sweep(sweep, options, |_| {}),
        );
        let swept = swept.is_ok() || self.workers[2].faults.has_crashed();
        assert!(swept, "the worker lives, and could not sweep");
        // Whatever the order was, the committed state is known now.
        for batch in &batches {
            self.outcomes
                .unanswered(batch, self.store.as_ref(), &self.sent)
                .await;
        }
        for (worker, (batch, ingested)) in batches.into_iter().zip([first, second]).enumerate() {
            if let Err(error) = ingested {
                let died = self.workers[worker].faults.has_crashed();
                assert!(died, "the worker lives, and could not ingest: {error}");
                self.trace.note(|| "a worker died".into());
                self.come_again(batch);
            }
        }
        for worker in (0..3).rev() {
            let died = self.workers[worker].faults.has_crashed();
            self.overtaken(worker, None).await;
            self.replace_dead(worker, died).await;
        }
    }

    /// The relay publishes a part of the journal, and may die before the confirms arrive.
    pub async fn publish(&mut self) -> usize {
        let limit = self.rng.random_range(1..100);
        let Unpublished { epoch, lines, .. } = self
            .store
            .unpublished(Cursor::default(), None, limit)
            .await
            .expect("lines");
        for line in &lines {
            let change = serde_json::from_slice(&tenure::wire::change(
                epoch,
                line,
                &tenure::wire::SchemaUris::default(),
            ))
            .expect("JSON");
            self.subscriber.receive(&change);
        }
        if let (Some(last), false) = (lines.last(), self.rng.random_bool(0.1)) {
            let upto = last.published(epoch);
            self.store.advance_cursor(&upto).await.expect("noted");
        }
        lines.len()
    }
}

fn incoming(batch: &[Delivery]) -> Vec<Incoming> {
    let events = batch.iter().map(|delivery| delivery.event.clone());
    events.map(Incoming::Event).collect()
}

fn named(batch: &[Delivery]) -> String {
    let names = batch.iter().map(|delivery| {
        let event = &delivery.event;
        format!(
            "\n    {} {} {} {}",
            event.time,
            event.key,
            event.kind.type_name(),
            event.id
        )
    });
    names.collect()
}
