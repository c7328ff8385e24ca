//! Whether everything was taken: a benchmark of something that loses events would be worth nothing.

use tenure::broker::topology;

use crate::environment::{Database, Vhost};

/// Every event is in the log beside those that were there before, and each was applied.
pub fn all_in_log(database: &Database<'_>, before: usize, events: usize) {
    assert_eq!(database.count("event_log"), before + events, "events in the log");
    assert_eq!(
        database.count("event_log where outcome <> 'applied'"),
        0,
        "refused"
    );
    in_order(database.count("change_log where correction"), events);
}

/// Nothing was made to come late, which would be more work. Here and there a timer falls due between an event and the
/// moment at which it is taken, and another event of that client then belongs before it.
pub fn in_order(corrections: usize, events: usize) {
    assert!(
        corrections <= 2 + events / 1_000,
        "{corrections} corrections for {events} events: what is measured is another case"
    );
}

/// Nothing waits, and nothing was given up.
pub fn nothing_waits(vhost: &Vhost<'_>) {
    vhost.expect_depth(&topology::lane(0), 0);
    assert_eq!(
        vhost.depth(topology::DEAD),
        Some(0),
        "messages that RabbitMQ gave up"
    );
}
