//! The figures as Markdown tables.

use std::fmt::Write as _;

use super::goals::GOALS;
use super::lines::LINES;
use super::{growth, pages};
use crate::bench::Bench;

pub fn table(bench: &Bench<'_>, notes: &[String]) -> String {
    let figures = &bench.figures;
    let mut text = String::new();
    let measured: Vec<[String; 4]> = LINES
        .iter()
        .filter_map(|line| {
            let spread = figures.get(line.key)?;
            let range = format!("{} – {}", grouped(spread.least), grouped(spread.most));
            Some([
                line.what.to_owned(),
                format!("{} {}", grouped(spread.median), line.unit),
                if spread.values > 1 { range } else { String::new() },
                spread.values.to_string(),
            ])
        })
        .collect();
    write_table(&mut text, ["figure", "median", "min – max", "values"], &measured);
    let goals: Vec<[String; 4]> = GOALS
        .iter()
        .filter_map(|goal| {
            let reached = goal.reached(figures)?;
            let met = if reached.met { "met" } else { "NOT met" };
            Some([
                reached.what.to_owned(),
                grouped(reached.value),
                reached.target,
                met.to_owned(),
            ])
        })
        .collect();
    write_table(
        &mut text,
        ["ratio of medians, or figure", "measured", "target", ""],
        &goals,
    );
    growth::write_tables(&mut text, &bench.growth);
    pages::write(&mut text, &bench.pages);
    for note in notes {
        let indent = if note.starts_with(' ') { "  " } else { "" };
        let _ = writeln!(text, "{indent}- {}", note.trim());
    }
    text
}

/// Writes a table and an empty line, or nothing without rows.
pub fn write_table<const N: usize>(text: &mut String, head: [&str; N], rows: &[[String; N]]) {
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let rule = widths.map(|width| "-".repeat(width));
    let mut write_row = |cells: [&str; N]| {
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
    };
    write_row(head);
    write_row(rule.each_ref().map(String::as_str));
    for row in rows {
        write_row(row.each_ref().map(String::as_str));
    }
    text.push('\n');
}

/// Formats a number with at most three significant digits below 100, and separators between thousands.
pub fn grouped(value: f64) -> String {
    if value < 100.0 {
        let decimals = if value < 10.0 { 2 } else { 1 };
        let text = format!("{value:.decimals$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
