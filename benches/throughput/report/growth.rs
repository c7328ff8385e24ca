//! The tables of the sections `growth` and `growth-most`.

use serde_json::{Map, Value, json};

use super::markdown::{grouped, write_table};
use crate::figures::Spread;
use crate::growth::{Growth, TABLES};

pub fn write_tables(text: &mut String, growth: &[Growth]) {
    write_costs(text, growth);
    write_disk(text, growth);
}

fn size(growth: &Growth) -> [String; 2] {
    [whole(growth.clients), whole(growth.history)]
}

/// What an event costs.
fn write_costs(text: &mut String, growth: &[Growth]) {
    let costs: Vec<[String; 8]> = growth
        .iter()
        .map(|growth| {
            let [clients, history] = size(growth);
            [
                clients,
                history,
                format!("{} bytes", grouped(growth.document_bytes)),
                format!("{} µs", grouped(growth.in_order.median)),
                range(growth.in_order),
                format!("{} bytes", grouped(growth.wal_bytes)),
                format!("{} ms", grouped(growth.late.median)),
                range(growth.late),
            ]
        })
        .collect();
    write_table(
        text,
        [
            "clients",
            "events per client",
            "document",
            "event in order, median",
            "min – max",
            "WAL per event",
            "late event, median",
            "min – max",
        ],
        &costs,
    );
}

/// What clients and events need on disk.
fn write_disk(text: &mut String, growth: &[Growth]) {
    let disk: Vec<[String; 11]> = growth
        .iter()
        .flat_map(|growth| {
            let [clients, history] = size(growth);
            [("client", growth.clients), ("event", growth.events())].map(|(by, number)| {
                let share = |bytes: f64| grouped(bytes / number.max(1) as f64);
                let [
                    of_keys,
                    of_clients,
                    of_events,
                    of_journal,
                    of_deadlines,
                    of_touches,
                ] = growth.disk.map(|disk| share(disk.bytes));
                [
                    clients.clone(),
                    history.clone(),
                    by.to_owned(),
                    of_keys,
                    of_clients,
                    of_events,
                    of_journal,
                    of_deadlines,
                    of_touches,
                    share(growth.bytes()),
                    share(growth.index_bytes()),
                ]
            })
        })
        .collect();
    write_table(
        text,
        [
            "clients",
            "events per client",
            "bytes on disk per",
            TABLES[0],
            TABLES[1],
            TABLES[2],
            TABLES[3],
            TABLES[4],
            TABLES[5],
            "total",
            "indexes",
        ],
        &disk,
    );
}

pub fn json(growth: &[Growth]) -> Vec<Value> {
    let spread = |spread: Spread| json!({ "median": spread.median, "least": spread.least, "most": spread.most, "values": spread.values });
    growth
        .iter()
        .map(|growth| {
            let disk: Map<String, Value> = TABLES
                .iter()
                .zip(growth.disk)
                .map(|(table, disk)| {
                    let disk = json!({ "bytes": disk.bytes, "index_bytes": disk.index_bytes });
                    ((*table).to_owned(), disk)
                })
                .collect();
            json!({
                "clients": growth.clients,
                "history": growth.history,
                "events": growth.events(),
                "document_bytes": growth.document_bytes,
                "in_order_us": spread(growth.in_order),
                "wal_bytes": growth.wal_bytes,
                "late_ms": spread(growth.late),
                "disk": disk,
                "bytes_per_client": growth.bytes() / growth.clients as f64,
                "bytes_per_event": growth.bytes() / growth.events() as f64,
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
