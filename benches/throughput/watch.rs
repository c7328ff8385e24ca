//! Polls a metric of a worker while it processes a backlog.

use std::time::{Duration, Instant};

use crate::support::tenure::Running;

/// How often the metric is read.
const POLL: Duration = Duration::from_millis(50);
/// The longest time without progress.
const PATIENCE: Duration = Duration::from_mins(1);

/// The first and the last reading of a count, with their times.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    first: (Instant, f64),
    last: (Instant, f64),
}

impl Watched {
    /// The rate per second from the first to the last reading; none if they are the same.
    pub fn rate(&self) -> Option<f64> {
        let took = self.last.0 - self.first.0;
        (!took.is_zero()).then(|| (self.last.1 - self.first.1) / took.as_secs_f64())
    }

    /// The rate per second if the last reading had been at this later moment.
    pub fn rate_until(&self, end: Instant) -> f64 {
        (self.last.1 - self.first.1) / (end - self.first.0).as_secs_f64()
    }

    /// The time of the first reading.
    pub fn first(&self) -> Instant {
        self.first.0
    }

    /// The time of the last reading.
    pub fn end(&self) -> Instant {
        self.last.0
    }
}

/// Reads a metric until it reaches `all`.
pub fn watch(running: &Running, metric: &str, all: usize) -> Watched {
    let all = all as f64;
    let mut first = None;
    let mut progress = (Instant::now(), 0.0);
    loop {
        let count = running.metric(metric);
        let now = Instant::now();
        if count > 0.0 {
            first.get_or_insert((now, count));
        }
        if let (true, Some(first)) = (count >= all, first) {
            return Watched {
                first,
                last: (now, count),
            };
        }
        if count > progress.1 {
            progress = (now, count);
        }
        assert!(
            progress.0.elapsed() < PATIENCE,
            "{metric} stays at {} and should reach {all}\n{}",
            progress.1,
            running.log()
        );
        std::thread::sleep(POLL);
    }
}
