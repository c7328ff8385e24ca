//! Checks that some worker publishes the journal. A worker that does not lead cannot see this from its own work: the
//! lead may be free, or its holder may do nothing.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Context;
use super::state::Severity;
use crate::domain::time::rfc3339;
use crate::interval::Interval;
use crate::store::Cursor;

/// How often to check the journal.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// A change that has been the next to publish for this long is overdue.
const OVERDUE: Duration = Duration::from_mins(1);
const RELAY: &str = "relay";

/// Checks until a stop request.
pub(super) async fn run(context: &Context, stop: &CancellationToken) {
    let mut next: Option<(Cursor, Instant)> = None;
    let mut failing: Option<Instant> = None;
    let mut interval = Interval::new(CHECK_EVERY, stop);
    while interval.tick().await {
        let waiting = match context.outbox.oldest_unpublished().await {
            Ok(waiting) => waiting,
            Err(error) => {
                let since = *failing.get_or_insert_with(Instant::now);
                if since.elapsed() > OVERDUE {
                    let why = format!("changes are not published; the journal cannot be read: {error}");
                    context.state.report(RELAY, Some((Severity::Failure, why)));
                }
                continue;
            }
        };
        failing = None;
        let Some((cursor, recorded_at)) = waiting else {
            next = None;
            context.state.report(RELAY, None);
            continue;
        };
        let since = match next {
            Some((before, since)) if before == cursor => since,
            _ => Instant::now(),
        };
        next = Some((cursor, since));
        let overdue = (since.elapsed() > OVERDUE).then(|| {
            let who = if context.engine.duties().leads_relay() {
                "this worker leads the relay: a long-running transaction may block it (pg_stat_activity), or \
                 RabbitMQ accepts no messages (`rabbitmqctl status` shows its alarms)"
            } else if context.settings.relay {
                "another worker holds the lead of the relay (an advisory lock in pg_locks) and does not publish"
            } else {
                "no worker publishes: run one with broker.relay = true"
            };
            let why = format!("changes since {} are not published; {who}", rfc3339(recorded_at));
            // Not a failure of this worker if its settings disable the relay.
            let severity = if context.settings.relay {
                Severity::Failure
            } else {
                Severity::Warning
            };
            (severity, why)
        });
        context.state.report(RELAY, overdue);
    }
}
