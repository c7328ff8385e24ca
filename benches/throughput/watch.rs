//! The real binary, watched from outside while it works off what waits.

use std::time::{Duration, Instant};

use crate::support::tenure::Running;

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(50);
/// Without progress for so long, something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// A count that was seen to grow: when the first of it was there, and when all was.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    first: (Instant, f64),
    last: (Instant, f64),
}

impl Watched {
    /// So many a second between the first that was seen and the last; none when they were seen at once.
    pub fn rate(&self) -> Option<f64> {
        let took = self.last.0 - self.first.0;
        (!took.is_zero()).then(|| (self.last.1 - self.first.1) / took.as_secs_f64())
    }

    /// The same, had the last been there only at this later moment.
    pub fn rate_until(&self, end: Instant) -> f64 {
        (self.last.1 - self.first.1) / (end - self.first.0).as_secs_f64()
    }

    /// When the first was seen.
    pub fn first(&self) -> Instant {
        self.first.0
    }

    /// When all were.
    pub fn end(&self) -> Instant {
        self.last.0
    }
}

/// Watches one of its metrics until it has come to `all`.
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
            "{metric} stays at {} and should come to {all}\n{}",
            progress.1,
            running.log()
        );
        std::thread::sleep(LOOK);
    }
}
