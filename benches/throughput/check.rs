//! Checks that no event was lost: otherwise a measurement would mean nothing.

use tenure::broker::topology;

use crate::environment::{Database, Vhost};

/// All events are in the log, in addition to the events before, and each was applied.
pub fn all_in_log(database: &Database<'_>, before: usize, events: usize) {
    assert_eq!(database.count("event_log"), before + events, "events in the log");
    assert_eq!(
        database.count("event_log where outcome <> 'applied'"),
        0,
        "refused"
    );
    in_order(database.count("change_log where correction"), events);
}

/// Almost no event was late, because late events cost more. A few are: a timer can become due between the time of an
/// event and its ingestion, and the next event of that client is then before the timer.
pub fn in_order(corrections: usize, events: usize) {
    assert!(
        corrections <= 2 + events / 1_000,
        "{corrections} corrections for {events} events: this measures late events"
    );
}

/// The lane is empty, and RabbitMQ dead-lettered nothing.
pub fn nothing_waits(vhost: &Vhost<'_>) {
    vhost.expect_depth(&topology::lane(0), 0);
    assert_eq!(
        vhost.depth(topology::DEAD),
        Some(0),
        "messages that RabbitMQ dead-lettered"
    );
}
