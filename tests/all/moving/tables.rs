//! Every table moves, or there is a reason why it does not.

use std::collections::BTreeSet;

use crate::store::Fresh;

/// The tables whose rows are records of an export.
const MOVED: [&str; 21] = [
    "access_log_since",
    "accesses",
    "audit_log",
    "client_keys",
    "clients",
    "clock",
    "closings",
    "dead_letters",
    "deadline_backfill",
    "events",
    "expected_sources",
    "journal",
    "lanes",
    "policies",
    "relay",
    "statement_days",
    "sweep_halts",
    "sweep_runs",
    "touch_runs",
    "touches",
    "webhook_endpoints",
];

/// The other tables, each with the reason.
const NOT_MOVED: [(&str, &str); 12] = [
    (
        "activity",
        "numbers of the last day, which are for people to look at",
    ),
    ("browser_sessions", "browsers sign in again"),
    (
        "checkpoints",
        "they follow from the event log; the next replay of a client makes new ones",
    ),
    ("deadlines", "each document has a copy of its rows"),
    (
        "event_traces",
        "tracing systems drop what arrives late, and the rows are removed after an hour",
    ),
    (
        "heartbeat_key",
        "a secret, and heartbeats under way count for the old store only",
    ),
    ("schema_compat", "it belongs to the migrations of the new store"),
    (
        "sweep_chunks",
        "places in the journal of one database; an import may number lines anew",
    ),
    ("sources", "numbers of texts; the records have the texts"),
    ("words", "numbers of texts; the records have the texts"),
    ("workers", "workers that run record themselves again"),
    ("write_probe", "it has no content"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_table_moves_or_has_a_reason_not_to() {
    let fresh = Fresh::sqlite("").await;
    let tables = fresh
        .database
        .sql("select name from sqlite_master where type = 'table' and name not like 'sqlite_%' and name <> '_sqlx_migrations'")
        .await;
    let listed = MOVED.into_iter().chain(NOT_MOVED.map(|(table, _)| table));
    let listed: BTreeSet<&str> = listed.collect();
    let tables: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    assert_eq!(
        tables, listed,
        "a new table moves with the others (src/store/transfer.rs), or has a reason here and in docs/decisions/0013"
    );
}
