//! The table at the end: figures, ratios and what they should come to.

use std::fmt::Write as _;

use crate::bench::Bench;
use crate::figures::Figures;
use crate::{ground, machine, messages};

/// A figure that is shown.
struct Line {
    key: &'static str,
    what: &'static str,
    unit: &'static str,
}

const LINES: [Line; 17] = [
    line("drain", "(a) consumer that only acknowledges", "messages/s"),
    line("publish", "(b) publishing with confirms", "messages/s"),
    line("in_order", "(c) a transaction a message, in order", "events/s"),
    line("at_once", "(c) a transaction a message, 30 at once", "events/s"),
    line(
        "bare_batch",
        "(c2) batches of 1,000 by hand, no rules",
        "events/s",
    ),
    line("tenure", "(d) Tenure, relay off", "events/s"),
    line("relay", "(d) Tenure, relay on", "events/s"),
    line(
        "relay_published",
        "(d) Tenure, relay on, until all is published",
        "events/s",
    ),
    line("accessed", "(e) Tenure, entries into accounts", "events/s"),
    line("latency_p50", "(g) event to change, half of them", "ms"),
    line("latency_p99", "(g) event to change, 99 %", "ms"),
    line("latency_p999", "(g) event to change, 99.9 %", "ms"),
    line("late_median", "(h) an event late by 500 others, median", "ms"),
    line("late_most", "(h) an event late by 500 others, the slowest", "ms"),
    line("embedded", "(i) tenure ingest, SQLite", "events/s"),
    line("memory_peak", "(j) most memory with a long backlog", "MiB"),
    line("first_commit", "(j) from the start to the first commit", "ms"),
];

const fn line(key: &'static str, what: &'static str, unit: &'static str) -> Line {
    Line { key, what, unit }
}

/// What a figure should come to.
struct Goal {
    what: &'static str,
    of: &'static str,
    to: &'static str,
    at_least: f64,
}

const GOALS: [Goal; 8] = [
    goal("Tenure to publishing (d : b)", "tenure", "publish", 1.0),
    goal(
        "Tenure to a transaction a message, in order (d : c)",
        "tenure",
        "in_order",
        40.0,
    ),
    goal(
        "Tenure to a transaction a message, 30 at once (d : c)",
        "tenure",
        "at_once",
        10.0,
    ),
    goal(
        "Tenure to batches without rules (d : c2)",
        "tenure",
        "bare_batch",
        1.0,
    ),
    goal("relay on to relay off", "relay", "tenure", 0.6),
    goal(
        "entries into accounts to bare acknowledging (e : a)",
        "accessed",
        "drain",
        0.7,
    ),
    goal(
        "embedded to Tenure with servers (i : d)",
        "embedded",
        "tenure",
        1.0,
    ),
    goal(
        "expiries to a transaction a message, in order (f : c)",
        "expiries",
        "in_order",
        30.0,
    ),
];

const fn goal(what: &'static str, of: &'static str, to: &'static str, at_least: f64) -> Goal {
    Goal {
        what,
        of,
        to,
        at_least,
    }
}

/// Everything as Markdown, which can be read as it is too.
pub fn table(figures: &Figures, notes: &[String]) -> String {
    let mut text = String::new();
    let measured: Vec<[String; 4]> = LINES
        .iter()
        .filter_map(|line| {
            let spread = figures.get(line.key)?;
            Some([
                line.what.to_owned(),
                format!("{} {}", grouped(spread.median), line.unit),
                format!("{} – {}", grouped(spread.least), grouped(spread.most)),
                spread.values.to_string(),
            ])
        })
        .collect();
    write_table(
        &mut text,
        ["measured", "median", "least – most", "times"],
        &measured,
    );
    let ratios: Vec<[String; 4]> = GOALS
        .iter()
        .filter_map(|goal| {
            let ratio = figures.median(goal.of)? / figures.median(goal.to)?;
            let met = if ratio >= goal.at_least { "met" } else { "NOT met" };
            Some([
                goal.what.to_owned(),
                format!("{ratio:.2}"),
                format!("at least {}", goal.at_least),
                met.to_owned(),
            ])
        })
        .collect();
    text.push('\n');
    write_table(&mut text, ["ratio of the medians", "is", "target", ""], &ratios);
    text.push('\n');
    for note in notes {
        let _ = writeln!(
            text,
            "{}- {}",
            if note.starts_with(' ') { "  " } else { "" },
            note.trim()
        );
    }
    text
}

/// What a reader has to know beside the figures.
pub fn notes(bench: &Bench<'_>) -> Vec<String> {
    let broker = &bench.ground.defaults.broker;
    let mut notes = machine::described(bench.ground);
    notes.push(format!(
        "PostgreSQL with {}; RabbitMQ as it comes, one node, queues as Tenure declares them (quorum), messages \
         persistent",
        ground::POSTGRES.join(", ")
    ));
    notes.push(format!(
        "{} scale: {} clients, {} events of {:.0} bytes on average; Tenure as it comes ({} lane, prefetch {}, \
         batches of up to {}), its sweeps off unless they are measured",
        bench.scale.name,
        grouped(bench.scale.clients as f64),
        grouped(bench.scale.events as f64),
        messages::mean_bytes(&bench.lives),
        broker.lanes,
        broker.prefetch,
        broker.batch_max,
    ));
    if !bench.written.is_empty() {
        notes.push("rows inserted, updated or deleted for each event, and mean bytes of JSON:".into());
    }
    for (by, rows) in &bench.written {
        notes.push(format!(
            "  {by}: events {:.3}, clients {:.3}, journal {:.3}, deadlines {:.3}; document {:.0} bytes, cause {:.0}",
            rows.events, rows.clients, rows.journal, rows.deadlines, rows.document_bytes, rows.cause_bytes
        ));
    }
    notes
}

fn write_table(text: &mut String, head: [&str; 4], rows: &[[String; 4]]) {
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut write_row = |cells: [&str; 4]| {
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
    };
    write_row(head);
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    write_row([&rule[0], &rule[1], &rule[2], &rule[3]]);
    for row in rows {
        write_row([&row[0], &row[1], &row[2], &row[3]]);
    }
}

/// Three digits that count, and thousands apart.
fn grouped(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.3}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
