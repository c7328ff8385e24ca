//! What an event costs as Tenure grows, in tables of its own.

use serde_json::{Map, Value, json};

use super::markdown::{grouped, write_table};
use crate::figures::Spread;
use crate::grown::{Grown, TABLES};

pub fn write_tables(text: &mut String, grown: &[Grown]) {
    let size = |grown: &Grown| [whole(grown.clients), whole(grown.history)];
    let costs: Vec<[String; 8]> = grown
        .iter()
        .map(|grown| {
            let [clients, history] = size(grown);
            [
                clients,
                history,
                format!("{} bytes", grouped(grown.document_bytes)),
                format!("{} µs", grouped(grown.in_order.median)),
                range(grown.in_order),
                format!("{} bytes", grouped(grown.wal_bytes)),
                format!("{} ms", grouped(grown.late.median)),
                range(grown.late),
            ]
        })
        .collect();
    write_table(
        text,
        [
            "clients",
            "events of each",
            "document",
            "an event in order, median",
            "least – most",
            "WAL for it",
            "a late event, median",
            "least – most",
        ],
        &costs,
    );
    let disk: Vec<[String; 10]> = grown
        .iter()
        .flat_map(|grown| {
            let [clients, history] = size(grown);
            [("client", grown.clients), ("event", grown.events())].map(|(by, number)| {
                let share = |bytes: f64| grouped(bytes / number.max(1) as f64);
                let [of_clients, of_events, of_journal, of_deadlines, of_touches] =
                    grown.disk.map(|disk| share(disk.bytes));
                [
                    clients.clone(),
                    history.clone(),
                    by.to_owned(),
                    of_clients,
                    of_events,
                    of_journal,
                    of_deadlines,
                    of_touches,
                    share(grown.bytes()),
                    share(grown.index_bytes()),
                ]
            })
        })
        .collect();
    write_table(
        text,
        [
            "clients",
            "events of each",
            "bytes on disk for each",
            TABLES[0],
            TABLES[1],
            TABLES[2],
            TABLES[3],
            TABLES[4],
            "all",
            "of that indexes",
        ],
        &disk,
    );
}

pub fn json(grown: &[Grown]) -> Vec<Value> {
    let spread = |spread: Spread| json!({ "median": spread.median, "least": spread.least, "most": spread.most, "times": spread.values });
    grown
        .iter()
        .map(|grown| {
            let disk: Map<String, Value> = TABLES
                .iter()
                .zip(grown.disk)
                .map(|(table, disk)| {
                    let disk = json!({ "bytes": disk.bytes, "index_bytes": disk.index_bytes });
                    ((*table).to_owned(), disk)
                })
                .collect();
            json!({
                "clients": grown.clients,
                "history": grown.history,
                "events": grown.events(),
                "document_bytes": grown.document_bytes,
                "in_order_us": spread(grown.in_order),
                "wal_bytes": grown.wal_bytes,
                "late_ms": spread(grown.late),
                "disk": disk,
                "bytes_for_each_client": grown.bytes() / grown.clients as f64,
                "bytes_for_each_event": grown.bytes() / grown.events() as f64,
            })
        })
        .collect()
}

fn whole(number: usize) -> String {
    grouped(number as f64)
}

fn range(spread: Spread) -> String {
    format!("{} – {}", grouped(spread.least), grouped(spread.most))
}
