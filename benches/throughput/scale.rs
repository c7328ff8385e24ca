//! The scales of a run: full, quick and smoke.

/// The numbers of a run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub name: &'static str,
    /// Number of rounds of the compared sections.
    pub rounds: usize,
    /// Clients before the first measurement, in all phases.
    pub clients: usize,
    /// Events to ingest: about three per client.
    pub events: usize,
    /// Messages for the sequential consumer, which is slow.
    pub in_order: usize,
    /// Messages for the consumer with thirty concurrent transactions.
    pub at_once: usize,
    /// Events at a steady rate, whose latency is measured, and their rate per second.
    pub paced: usize,
    pub paced_per_second: u32,
    /// Late events in long and in very long histories.
    pub late: LongHistories,
    pub very_late: LongHistories,
    /// What is imported, at the base size.
    pub imports: Imports,
    /// Accesses that expire in one sweep.
    pub expiries: usize,
    /// Maximum number of events during that sweep, and their rate per second.
    pub live: usize,
    pub live_per_second: u32,
    /// Number of deadlines for a sweep that finds nothing due.
    pub idle: [u64; 3],
    /// Clients that are verified and rebuilt.
    pub verified_clients: usize,
    /// Messages in the queue when memory is measured.
    pub backlog: usize,
    /// Numbers of clients of the section `growth`, and of the section `growth-most`.
    pub growing_clients: [usize; 3],
    pub most_clients: usize,
    /// Numbers of events per client, and the number of clients.
    pub growing_history: [usize; 4],
    pub history_clients: usize,
    /// Measured batches at each size, the events of each, and the number of late events.
    pub growth_batches: usize,
    pub growth_batch: usize,
    pub growth_late: usize,
    /// Measured requests for each page of the console, after a first one.
    pub page_requests: usize,
}

/// Clients with a long history.
#[derive(Clone, Copy, Debug)]
pub struct LongHistories {
    pub clients: usize,
    /// The events of each client.
    pub events: usize,
    /// The late events of each client.
    pub late: usize,
}

/// The base sizes of the imports of the section `linear`.
#[derive(Clone, Copy, Debug)]
pub struct Imports {
    /// Clients that claim few names in one batch.
    pub claims: usize,
    /// Holdings of one client.
    pub holdings: usize,
    /// Clients with long histories, and the events of each. Shorter histories have no checkpoints, and cannot be compared.
    pub clients: usize,
    pub history: usize,
    /// Events of a single client.
    pub single_history: usize,
    /// Events per batch, except for the claims.
    pub batch: usize,
}

pub const FULL: Scale = Scale {
    name: "full",
    rounds: 3,
    clients: 100_000,
    events: 300_000,
    in_order: 5_000,
    at_once: 20_000,
    paced: 20_000,
    paced_per_second: 1_000,
    late: LongHistories {
        clients: 20,
        events: 1_000,
        late: 20,
    },
    very_late: LongHistories {
        clients: 2,
        events: 100_000,
        late: 20,
    },
    imports: Imports {
        claims: 5_000,
        holdings: 2_500,
        clients: 100,
        history: 2_500,
        single_history: 12_500,
        batch: 1_000,
    },
    expiries: 1_000_000,
    live: 60_000,
    live_per_second: 100,
    idle: [100_000, 1_000_000, 10_000_000],
    verified_clients: 50_000,
    backlog: 1_000_000,
    growing_clients: [10_000, 100_000, 1_000_000],
    most_clients: 10_000_000,
    growing_history: [10, 100, 1_000, 10_000],
    history_clients: 200,
    growth_batches: 20,
    growth_batch: 1_000,
    growth_late: 20,
    page_requests: 9,
};

/// For a first impression: caches are warmer, tables smaller, and results vary more.
pub const QUICK: Scale = Scale {
    name: "quick",
    rounds: 2,
    clients: 20_000,
    events: 60_000,
    in_order: 1_500,
    at_once: 6_000,
    paced: 10_000,
    paced_per_second: 1_000,
    late: LongHistories {
        clients: 10,
        events: 1_000,
        late: 10,
    },
    very_late: LongHistories {
        clients: 2,
        events: 10_000,
        late: 10,
    },
    imports: Imports {
        claims: 5_000,
        holdings: 2_500,
        clients: 10,
        history: 2_500,
        single_history: 5_000,
        batch: 1_000,
    },
    expiries: 100_000,
    live: 30_000,
    live_per_second: 100,
    idle: [10_000, 100_000, 1_000_000],
    verified_clients: 10_000,
    backlog: 200_000,
    growing_clients: [1_000, 10_000, 100_000],
    most_clients: 1_000_000,
    growing_history: [10, 30, 100, 1_000],
    history_clients: 50,
    growth_batches: 5,
    growth_batch: 1_000,
    growth_late: 5,
    page_requests: 9,
};

/// Only checks that the benchmark works.
pub const SMOKE: Scale = Scale {
    name: "smoke",
    rounds: 1,
    clients: 60,
    events: 300,
    in_order: 40,
    at_once: 80,
    paced: 60,
    paced_per_second: 200,
    late: LongHistories {
        clients: 2,
        events: 40,
        late: 2,
    },
    very_late: LongHistories {
        clients: 2,
        events: 80,
        late: 2,
    },
    imports: Imports {
        claims: 100,
        holdings: 60,
        clients: 10,
        history: 40,
        single_history: 120,
        batch: 40,
    },
    expiries: 200,
    live: 3_000,
    live_per_second: 20,
    idle: [100, 200, 300],
    verified_clients: 300,
    backlog: 300,
    growing_clients: [20, 120, 250],
    most_clients: 300,
    growing_history: [10, 20, 30, 60],
    history_clients: 12,
    growth_batches: 2,
    growth_batch: 40,
    growth_late: 2,
    page_requests: 1,
};
