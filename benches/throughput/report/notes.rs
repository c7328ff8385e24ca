//! What a reader has to know beside the figures.

use super::markdown::grouped;
use crate::bench::Bench;
use crate::publish::WINDOW;
use crate::{environment, machine, messages};

/// A line each; the first is the machine.
pub fn of(bench: &Bench<'_>) -> Vec<String> {
    let (broker, scale) = (&bench.environment.defaults.broker, bench.scale);
    let whole = |number: usize| grouped(number as f64);
    let mut notes = machine::described(bench.environment);
    notes.push(format!(
        "PostgreSQL with {}. RabbitMQ as it comes, one node; queues as Tenure declares them (quorum), messages \
         persistent. All queues and tables on the same disk.",
        environment::POSTGRES.join(", ")
    ));
    notes.push(format!(
        "{} scale: {} clients in all phases of their lives, {} events of {:.0} bytes on average. Tenure as it comes \
         ({} lane, prefetch {}, batches of up to {}), asked for its metrics 20 times a second; its sweeps are off where \
         they are not what is measured.",
        scale.name,
        whole(scale.clients),
        whole(scale.events),
        messages::mean_bytes(&bench.lives),
        broker.lanes,
        broker.prefetch,
        broker.batch_max,
    ));
    notes.push(format!(
        "A rate counts from the first that was taken to the last, so no start is in it. Publishing: one channel, {} \
         messages without a confirm at most. With the relay on, the changes go to a quorum queue that nobody reads.",
        whole(WINDOW)
    ));
    notes.push(format!(
        "Steady pace: {} events/s. Beside the sweep: {} events/s while {} accesses expire. Sweeps that find nothing: {} \
         deadlines. Long history: {} events. Long backlog: {} messages.",
        scale.paced_per_second,
        scale.live_per_second,
        whole(scale.expiries),
        scale
            .idle
            .map(|deadlines| whole(usize::try_from(deadlines).unwrap_or(usize::MAX)))
            .join(", "),
        whole(scale.late_history),
        whole(scale.backlog),
    ));
    notes.extend(growth(bench));
    notes.extend(rows(bench));
    notes
}

/// How to read the tables of growth.
fn growth(bench: &Bench<'_>) -> Option<String> {
    let scale = bench.scale;
    (!bench.growth.is_empty()).then(|| {
        format!(
            "Growth: the engine alone, one batch after the other on one connection, no RabbitMQ. {} batches of {} events \
             of clients chosen at random, none of them late, after one that is not counted; then {} events that come late, \
             each alone. All clients but one are copies of that one, made by SQL, with names and events of their own. \
             Disk is that of tables just loaded and vacuumed. WAL is of the first writes after a checkpoint: many a \
             page is in it whole.",
            scale.growth_batches,
            grouped(scale.growth_batch as f64),
            scale.growth_late,
        )
    })
}

/// Whether those that are compared write the same.
fn rows(bench: &Bench<'_>) -> Vec<String> {
    if bench.written.is_empty() {
        return Vec::new();
    }
    let rows = bench.written.iter().map(|(by, rows)| {
        format!(
            "  {by}: events {:.3}, clients {:.3}, journal {:.3}, deadlines {:.3}; document {:.0} bytes, cause {:.0}",
            rows.events, rows.clients, rows.journal, rows.deadlines, rows.document_bytes, rows.cause_bytes
        )
    });
    ["Rows inserted, updated or deleted for each event, and mean bytes of their JSON:".to_owned()]
        .into_iter()
        .chain(rows)
        .collect()
}
