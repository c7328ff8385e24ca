//! Whether events wait. Lanes say so, and the relay leaves them room: what a client is comes before what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many lanes do not keep up with what comes.
#[derive(Clone, Default)]
pub(super) struct Pressure(Arc<AtomicUsize>);

impl Pressure {
    /// One more does not keep up, as long as what is returned is held.
    pub fn rise(&self) -> Pressed {
        self.0.fetch_add(1, Ordering::Relaxed);
        Pressed(self.clone())
    }

    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A lane that does not keep up.
pub(super) struct Pressed(Pressure);

impl Drop for Pressed {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_long_as_one_lane_is_behind() {
        let pressure = Pressure::default();
        assert!(!pressure.is_there());
        let (first, second) = (pressure.rise(), pressure.rise());
        drop(first);
        assert!(pressure.is_there());
        drop(second);
        assert!(!pressure.is_there());
    }
}
