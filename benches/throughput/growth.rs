//! What an event costs at some size of Tenure, and what is on the disk then.

use crate::environment::Database;
use crate::figures::Spread;

/// The tables that grow with clients and events.
pub const TABLES: [&str; 6] = [
    "client_keys",
    "clients",
    "events",
    "journal",
    "deadlines",
    "touches",
];

/// One size, and what was measured at it.
#[derive(Clone, Debug)]
pub struct Growth {
    pub clients: usize,
    /// Events that a client has in the log.
    pub history: usize,
    /// Mean length of a client's document.
    pub document_bytes: f64,
    /// Of each table, in the order of [`TABLES`], before anything was measured.
    pub disk: [Disk; TABLES.len()],
    /// Microseconds for each event of a batch, of all batches.
    pub in_order: Spread,
    /// Bytes of WAL for each of those events.
    pub wal_bytes: f64,
    /// Milliseconds for an event that comes late.
    pub late: Spread,
}

impl Growth {
    /// Rows of the log.
    pub fn events(&self) -> usize {
        self.clients * self.history
    }

    pub fn bytes(&self) -> f64 {
        self.disk.iter().map(|disk| disk.bytes).sum()
    }

    pub fn index_bytes(&self) -> f64 {
        self.disk.iter().map(|disk| disk.index_bytes).sum()
    }
}

/// What a table takes.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// With its indexes and all else that belongs to it.
    pub bytes: f64,
    pub index_bytes: f64,
}

impl Disk {
    pub fn of(database: &Database<'_>, table: &str) -> Self {
        Self {
            bytes: database.number(&format!("select pg_total_relation_size('{table}')")),
            index_bytes: database.number(&format!("select pg_indexes_size('{table}')")),
        }
    }
}
