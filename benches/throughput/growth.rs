//! The cost of an event and the disk usage at one size of the store.

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

/// The measurements at one size.
#[derive(Clone, Debug)]
pub struct Growth {
    pub clients: usize,
    /// Number of events per client in the log.
    pub history: usize,
    /// Mean length of a client's document.
    pub document_bytes: f64,
    /// The disk usage of each table before the measurement, in the order of [`TABLES`].
    pub disk: [Disk; TABLES.len()],
    /// Microseconds per event in order, one value per batch.
    pub in_order: Spread,
    /// Bytes of WAL per event in order.
    pub wal_bytes: f64,
    /// Milliseconds per late event.
    pub late: Spread,
}

impl Growth {
    /// Number of events in the log.
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

/// The disk usage of a table.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Including its indexes and TOAST.
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
