//! Every field of a log line with its meaning.

use std::fmt::Write as _;

/// The fields, in order. A test compares this with the code.
const FIELDS: &[(&str, &str)] = &[
    ("accesses", "Entries of the access log that were removed"),
    ("attempt", "The number of the attempt"),
    ("audit", "Entries of the audit log that were removed"),
    (
        "broker.away_seconds",
        "For how long there was no connection to RabbitMQ",
    ),
    (
        "broker.connection",
        "A connection, by its name in RabbitMQ's management",
    ),
    ("broker.host", "The host of RabbitMQ"),
    (
        "broker.longest_pause_seconds",
        "The longest pause between two attempts to connect",
    ),
    ("broker.part", "The component with the problem: a lane, the relay"),
    (
        "broker.pause_seconds",
        "The pause between two attempts to connect",
    ),
    (
        "broker.prefetch",
        "How many messages RabbitMQ delivers in advance",
    ),
    ("broker.prefetch_before", "The value before"),
    ("broker.queue", "The queue"),
    ("broker.url", "The URL of RabbitMQ, without passwords"),
    ("changes", "Changes that the sweep wrote to the journal"),
    (
        "client",
        "The client, as `{partner}/{client}`; of a dead letter, its `subject`",
    ),
    ("clients", "The number of clients concerned"),
    ("clients.changed", "Clients for which the sweep fired a timer"),
    ("clients.examined", "Clients that the sweep examined"),
    ("clients.failed", "Clients that the sweep failed to process"),
    ("clock.reference", "The clock that this one is compared with"),
    (
        "clock.skew_seconds",
        "How far this clock is ahead, negative if it is behind",
    ),
    ("closed", "The answer of RabbitMQ when a connection was closed"),
    (
        "dead_letters",
        "The number of dead letters that were removed or redriven",
    ),
    ("duration_ms", "How long the run took, in milliseconds"),
    ("endpoint", "The endpoint of a webhook"),
    ("error", "The error, with what caused it"),
    (
        "event.id",
        "The `id` of the event; of a dead letter, as far as it can be read",
    ),
    (
        "event.kind",
        "The `type` of the event; of a dead letter, as far as it can be read",
    ),
    (
        "event.source",
        "The `source` of the event; of a dead letter, as far as it can be read",
    ),
    (
        "events.deferred",
        "Events that were deferred since the line that began it",
    ),
    ("events.left_out", "Refused events that were not logged"),
    (
        "expected_every",
        "The interval in which a source must send events",
    ),
    ("failing_since", "Since when the endpoint has been failing"),
    ("file", "The file"),
    ("first", "The first clients that the policy would change"),
    ("given", "The answer of RabbitMQ when messages were returned"),
    ("http.address", "The address that the worker listens on"),
    ("http.connections", "The connections that HTTP accepts"),
    ("http.max_connections", "The setting of that name"),
    ("http.peer", "The address of the client of HTTP"),
    ("journal", "Lines of the journal that were removed"),
    ("level", "ERROR, WARN, INFO, DEBUG or TRACE"),
    ("message", "What happened"),
    ("message.bytes", "The length of the message"),
    (
        "message.origin",
        "Where the message came from, as `tenure dead show` says it",
    ),
    ("message.sha256", "SHA-256 of the message"),
    ("mode", "The permissions of the file"),
    ("month", "The month of the statement"),
    (
        "otlp.away_seconds",
        "For how long the OTLP endpoint accepted no spans",
    ),
    ("otlp.endpoint", "The OTLP endpoint, without path and password"),
    ("panic", "The panic that ended a task: a bug"),
    ("policies", "The number of policies that were withdrawn"),
    ("policy.from", "From when the policy takes effect"),
    ("refusal", "The code of the refusal"),
    ("relay.epoch", "The new epoch of changes"),
    ("relay.epoch_before", "The epoch before"),
    (
        "relay.last_published",
        "The number of the change that was published last",
    ),
    ("scheduled_at", "The tick of the run"),
    ("severity", "Whether the problem makes the worker unready"),
    ("silent_since", "The time of the source's latest event"),
    ("stopped", "Whether a stop request or a pause ended it early"),
    ("store.away_seconds", "For how long the store accepted no writes"),
    ("store.connections", "The connections to PostgreSQL"),
    ("store.max_connections", "The setting of that name"),
    ("store.server", "The server of PostgreSQL"),
    ("store.url", "The URL of the store, without passwords"),
    ("sweep", "The sweep"),
    ("sweep_runs", "Records of runs that were removed"),
    (
        "target",
        "The module that wrote the line, as `log.level` names it",
    ),
    ("timestamp", "When the line was written, in UTC"),
    (
        "trace.id",
        "The trace that the message belongs to, from its `traceparent` or the request that sent it",
    ),
    ("traces", "Trace contexts of events that were removed"),
    ("variable", "The environment variable"),
    ("warnings", "What is wrong with the data of the event"),
    ("why", "The reason, and what to do about it"),
    ("worker", "The name of this worker"),
];

/// Every field of a log line as a Markdown table, for `docs/operations.md`.
#[must_use]
pub fn log_fields_table() -> String {
    let mut table = String::from("| field | meaning |\n|---|---|\n");
    for (name, meaning) in FIELDS {
        let _ = writeln!(table, "| `{name}` | {meaning} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::sources;
    use super::FIELDS;

    /// The arguments of a macro, from behind its opening parenthesis.
    fn arguments(text: &str) -> Vec<&str> {
        let (mut found, mut depth, mut start, mut is_text, mut is_escaped) = (Vec::new(), 0, 0, false, false);
        for (place, c) in text.char_indices() {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if is_text => is_escaped = true,
                '"' => is_text = !is_text,
                _ if is_text => {}
                '(' | '[' | '{' => depth += 1,
                ')' if depth == 0 => {
                    found.push(&text[start..place]);
                    return found;
                }
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.push(&text[start..place]);
                    start = place + 1;
                }
                _ => {}
            }
        }
        panic!("a macro without an end: {}", &text[..text.len().min(80)]);
    }

    /// The fields of every log line in a source file.
    fn used(text: &str, names: &mut BTreeSet<String>) {
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in text.split(&format!("tracing::{level}!(")).skip(1) {
                let fields = arguments(call);
                let fields = fields.iter().map(|field| field.trim());
                let fields = fields.filter(|field| !field.is_empty() && !field.starts_with('"'));
                let name = |field: &str| {
                    field
                        .split(" = ")
                        .next()
                        .unwrap()
                        .trim_start_matches(['%', '?'])
                        .to_owned()
                };
                names.extend(fields.map(name));
            }
        }
    }

    #[test]
    fn the_table_has_the_fields_in_the_code() {
        // Each line has these.
        let mut names = BTreeSet::from(["timestamp", "level", "target", "message"].map(str::to_owned));
        sources::each("telemetry/fields.rs", &mut |text| used(text, &mut names));
        assert!(names.len() > 50);
        let listed: Vec<_> = FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, names.into_iter().collect::<Vec<_>>());
    }
}
