//! The faults of the chaos test. The next fault follows when the worker has ingested something since the last one.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::environment::Environment;
use super::flow::Flow;
use crate::support::proxy::Cut;
use crate::support::tenure::Running;

/// How long a stall lasts: the duration is the fault.
const STALL: Duration = Duration::from_millis(700);

/// The number of faults of each kind.
pub struct Strikes {
    pub workers_killed: usize,
    pub databases_stopped: usize,
    pub brokers_killed: usize,
    pub cuts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strike {
    KillWorker,
    StopDatabase,
    KillBroker,
    Cut,
}

pub struct Faults<'g> {
    environment: &'g Environment,
    rng: StdRng,
    worker: Option<Running>,
    struck: Vec<Strike>,
    longest_recovery: Duration,
    received: f64,
    redelivered: f64,
}

impl<'g> Faults<'g> {
    /// Starts the first worker and waits until it has declared its queues.
    pub fn new(environment: &'g Environment, seed: u64) -> Self {
        let worker = environment.start_worker();
        worker.wait_until("ready", || worker.get("/readyz").0 == 200);
        Self {
            environment,
            rng: StdRng::seed_from_u64(seed),
            worker: Some(worker),
            struck: Vec::new(),
            longest_recovery: Duration::ZERO,
            received: 0.0,
            redelivered: 0.0,
        }
    }

    /// Injects all faults in random order, each at a random place in the next share of the events.
    pub fn inject(&mut self, flow: &Flow, strikes: &Strikes) {
        let mut order = Vec::new();
        for (strike, times) in [
            (Strike::KillWorker, strikes.workers_killed),
            (Strike::StopDatabase, strikes.databases_stopped),
            (Strike::KillBroker, strikes.brokers_killed),
            (Strike::Cut, strikes.cuts),
        ] {
            order.extend(std::iter::repeat_n(strike, times));
        }
        order.shuffle(&mut self.rng);
        let share = flow.total() / (order.len() + 1);
        for (number, strike) in order.into_iter().enumerate() {
            let before = self.ingested();
            flow.release(share * (number + 1));
            // A random place in this share.
            let more = self.rng.random_range(1..=share / 8 + 1);
            self.wait_for_progress(before + more);
            if strike == Strike::KillBroker {
                self.environment.rabbit.sync();
            }
            let (ingested, began) = (self.ingested(), Instant::now());
            // So that the publisher has unconfirmed messages too.
            flow.release(share * (number + 1) + share / 2);
            self.strike(strike);
            self.struck.push(strike);
            self.wait_for_progress(ingested + 1);
            self.longest_recovery = self.longest_recovery.max(began.elapsed());
        }
    }

    fn strike(&mut self, strike: Strike) {
        let environment = self.environment;
        match strike {
            Strike::KillWorker => {
                self.note_metrics();
                drop(self.worker.take());
                self.worker = Some(environment.start_worker());
            }
            Strike::StopDatabase => {
                environment.postgres.stop_immediate();
                environment.postgres.start();
            }
            Strike::KillBroker => {
                environment.rabbit.kill();
                environment.rabbit.start();
            }
            Strike::Cut => {
                let proxy = if self.rng.random_bool(0.5) {
                    &environment.to_postgres
                } else {
                    &environment.to_rabbit
                };
                let stalled = self.rng.random_bool(0.3);
                if stalled {
                    proxy.stall();
                    std::thread::sleep(STALL);
                }
                match self.rng.random_range(0..3) {
                    0 => proxy.cut(Cut::Close),
                    1 => proxy.cut(Cut::Reset),
                    // The stall was the fault.
                    _ if stalled => {}
                    _ => {
                        environment.to_postgres.cut(Cut::Reset);
                        environment.to_rabbit.cut(Cut::Close);
                    }
                }
                proxy.flow();
            }
        }
    }

    /// Waits until all messages are ingested and all changes published.
    pub fn end(&mut self, flow: &Flow) -> Running {
        let environment = self.environment;
        let mut worker = self.worker.take().expect("a worker");
        assert_eq!(worker.ended(Duration::ZERO), None, "{}", worker.log());
        worker.wait_until("sent", || flow.confirmed() == flow.total());
        environment.wait_for_empty("tenure.events.0");
        environment.wait_for_empty("tenure.dead");
        worker.wait_until("published", || {
            environment
                .count("change_log where (xid, seq) > ((select xid from relay), (select seq from relay))")
                == 0
        });
        self.worker = Some(worker);
        self.note_metrics();
        self.worker.take().expect("a worker")
    }

    pub fn figures(&self) -> String {
        let times = |strike| self.struck.iter().filter(|struck| **struck == strike).count();
        format!(
            "{} workers killed, {} stops of the database, {} brokers killed, {} cuts; longest recovery {:.1} s; received at \
             least {}, of them redelivered {}",
            times(Strike::KillWorker),
            times(Strike::StopDatabase),
            times(Strike::KillBroker),
            times(Strike::Cut),
            self.longest_recovery.as_secs_f64(),
            self.received,
            self.redelivered,
        )
    }

    /// The number of stored events and touches; a touch takes nine bytes of a run. Towards the end of the year nearly all
    /// events are touches.
    fn ingested(&self) -> usize {
        let touches = "(select coalesce(sum(length(open_run)), 0) from touches) \
                       + (select coalesce(sum(length(run)), 0) from touch_runs)";
        let held = format!("select (select count(*) from event_log) + ({touches}) / 9");
        self.environment.sql(&held).parse().expect("a number")
    }

    fn wait_for_progress(&self, upto: usize) {
        let worker = self.worker.as_ref().expect("a worker");
        worker.wait_until("ahead", || self.ingested() >= upto);
    }

    /// The metrics of a worker end with its process.
    fn note_metrics(&mut self) {
        let worker = self.worker.as_ref().expect("a worker");
        self.received += worker.metric("tenure_broker_received_total");
        self.redelivered += worker.metric("tenure_broker_redelivered_total");
    }
}
