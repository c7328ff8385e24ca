//! The conditions of the run, below the tables.

use super::markdown::grouped;
use crate::bench::Bench;
use crate::publish::WINDOW;
use crate::{machine, messages};

/// One note per line; the first is the machine.
pub fn of(bench: &Bench<'_>) -> Vec<String> {
    let (broker, scale) = (&bench.environment.defaults.broker, bench.scale);
    let whole = |number: usize| grouped(number as f64);
    let mut notes = machine::described(bench.environment);
    notes.push(format!(
        "PostgreSQL with {}. RabbitMQ with its defaults, one node; queues as Tenure declares them (quorum), persistent \
         messages. All queues and tables are on the same disk.",
        bench.environment.postgres_settings.join(", ")
    ));
    notes.push(format!(
        "{} scale: {} clients in all phases, {} events of {:.0} bytes on average. Tenure with its defaults ({} lane, \
         prefetch {}, batches of up to {}); its metrics are read 20 times per second; sweeps are off unless they are \
         measured.",
        scale.name,
        whole(scale.clients),
        whole(scale.events),
        messages::mean_bytes(&bench.lifecycle_events),
        broker.lanes,
        broker.prefetch,
        broker.batch_max,
    ));
    notes.push(format!(
        "A rate is measured from the first event to the last, without the start. Publishing uses one channel with at most {} \
         unconfirmed messages. With the relay on, the changes go to a quorum queue without a consumer.",
        whole(WINDOW)
    ));
    notes.push(format!(
        "Steady rate: {} events/s. During the sweep: {} events/s while {} accesses expire. Sweeps that find nothing: {} \
         deadlines. Long history: {} events. Very long history: {} events. Verified: {} \
         clients with 5 events each. Long backlog: {} messages.",
        scale.paced_per_second,
        scale.live_per_second,
        whole(scale.expiries),
        scale
            .idle
            .map(|deadlines| whole(usize::try_from(deadlines).unwrap_or(usize::MAX)))
            .join(", "),
        whole(scale.late.events),
        whole(scale.very_late.events),
        whole(scale.verified_clients),
        whole(scale.backlog),
    ));
    let imports = scale.imports;
    notes.push(format!(
        "Imports: {} claims; {} holdings; {} clients with {} events each; one client with {} events; and four times as many of \
         each. In batches of {} events, but the claims in one.",
        whole(imports.claims),
        whole(imports.holdings),
        whole(imports.clients),
        whole(imports.history),
        whole(imports.single_history),
        whole(imports.batch),
    ));
    notes.extend(growth(bench));
    notes.extend(bench.notes.iter().cloned());
    notes.extend(rows(bench));
    notes
}

/// The conditions of the sections `growth` and `growth-most`.
fn growth(bench: &Bench<'_>) -> Option<String> {
    let scale = bench.scale;
    (!bench.growth.is_empty()).then(|| {
        format!(
            "Growth: the engine alone, without RabbitMQ, one batch after the other on one connection. {} batches of {} events \
             of clients chosen at random, none of them late, after one batch that is not measured; then {} late events, one \
             by one. All clients but one are copies of that one, created by SQL, with their own names and event ids. Disk \
             usage is that of freshly loaded and vacuumed tables. WAL is that of the first writes after a checkpoint, which \
             contain many full pages.",
            scale.growth_batches,
            grouped(scale.growth_batch as f64),
            scale.growth_late,
        )
    })
}

/// The rows per event of each section, to compare.
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
    ["Rows inserted, updated or deleted per event, and the mean length of their JSON in bytes:".to_owned()]
        .into_iter()
        .chain(rows)
        .collect()
}
