//! Whether events are waiting. Lanes report it, and the relay yields to them: ingesting events has priority over
//! publishing changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many lanes do not keep up.
#[derive(Clone, Default)]
pub(super) struct Pressure(Arc<AtomicUsize>);

impl Pressure {
    /// Counts one more lane as behind until the returned guard is dropped.
    pub fn rise(&self) -> Pressed {
        self.0.fetch_add(1, Ordering::Relaxed);
        Pressed(self.clone())
    }

    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A guard for a lane that does not keep up.
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
    fn pressure_exists_while_any_lane_is_behind() {
        let pressure = Pressure::default();
        assert!(!pressure.is_there());
        let (first, second) = (pressure.rise(), pressure.rise());
        drop(first);
        assert!(pressure.is_there());
        drop(second);
        assert!(!pressure.is_there());
    }
}
