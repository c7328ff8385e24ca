//! The figures as JSON, with every value of every round.

use serde_json::{Map, Value, json};

use super::goals::GOALS;
use super::lines::LINES;
use super::{growth, pages};
use crate::bench::Bench;
use crate::figures::Figures;

pub fn of(figures: &Figures, notes: &[String], bench: &Bench<'_>) -> String {
    let measured: Map<String, Value> = LINES
        .iter()
        .filter_map(|line| {
            let (spread, values) = (figures.get(line.key)?, figures.values(line.key));
            let figure = json!({
                "what": line.what,
                "unit": line.unit,
                "median": spread.median,
                "values": values,
            });
            Some((line.key.to_owned(), figure))
        })
        .collect();
    let goals: Vec<Value> = GOALS
        .iter()
        .filter_map(|goal| goal.reached(figures))
        .map(|reached| {
            json!({
                "what": reached.what,
                "value": reached.value,
                "target": reached.target,
                "met": reached.met,
            })
        })
        .collect();
    let rows: Map<String, Value> = bench
        .written
        .iter()
        .map(|(by, rows)| {
            let rows = json!({
                "events": rows.events,
                "clients": rows.clients,
                "journal": rows.journal,
                "deadlines": rows.deadlines,
                "document_bytes": rows.document_bytes,
                "cause_bytes": rows.cause_bytes,
            });
            ((*by).to_owned(), rows)
        })
        .collect();
    let all = json!({
        "scale": bench.scale.name,
        "figures": measured,
        "goals": goals,
        "rows_per_event": rows,
        "growth": growth::json(&bench.growth),
        "pages": pages::json(&bench.pages),
        "notes": notes,
    });
    format!("{all:#}\n")
}
