//! The work that this worker does alone, for all workers on its store.

use std::sync::atomic::{AtomicBool, Ordering};

/// Which leads this worker has, as the adapters report them.
#[derive(Debug, Default)]
pub struct Duties {
    relay: AtomicBool,
    webhooks: AtomicBool,
}

impl Duties {
    /// This worker acquired or lost the lead of the relay.
    pub fn lead_relay(&self, leads: bool) {
        self.relay.store(leads, Ordering::Relaxed);
    }

    #[must_use]
    pub fn leads_relay(&self) -> bool {
        self.relay.load(Ordering::Relaxed)
    }

    /// This worker acquired or lost the lead of webhooks.
    pub fn lead_webhooks(&self, leads: bool) {
        self.webhooks.store(leads, Ordering::Relaxed);
    }

    #[must_use]
    pub fn leads_webhooks(&self) -> bool {
        self.webhooks.load(Ordering::Relaxed)
    }
}
