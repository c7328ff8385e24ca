//! `docs/lifecycles.md` lists every event type, refusal code, change type and timer of the code, and no others.

use std::collections::BTreeSet;

use tenure::domain::{ChangeKind, Refusal, Timer, event};

const DOCUMENT: &str = include_str!("../../../docs/lifecycles.md");

#[test]
fn it_lists_every_event_type() {
    assert_eq!(listed("Events"), event::TYPES.iter().copied().collect());
}

#[test]
fn it_lists_every_change_type() {
    assert_eq!(
        listed("Changes"),
        ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect()
    );
}

#[test]
fn it_lists_every_refusal_code() {
    let codes = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    assert_eq!(listed("Refusal codes"), codes);
}

/// Also as the reason of some event, or nobody could find out when it occurs.
#[test]
fn every_refusal_code_stands_in_a_table_of_events() {
    let events = section("Events");
    for refusal in Refusal::ALL {
        let code = format!("`{}`", refusal.code());
        assert!(events.contains(&code), "no event is refused as {code}");
    }
}

#[test]
fn it_lists_every_timer_in_the_order_in_which_they_fire() {
    let listed: Vec<&str> = first_cells(section("Timers and policies")).collect();
    let timers: Vec<String> = Timer::ALL
        .iter()
        .map(|timer| format!("`{}`", timer.as_str()))
        .collect();
    assert_eq!(listed, timers);
}

/// The terms in backticks in the first column of a section's tables.
fn listed(title: &str) -> BTreeSet<&'static str> {
    first_cells(section(title))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

/// A section of the second level, its subsections included.
fn section(title: &str) -> &'static str {
    let heading = format!("\n## {title}\n");
    let (_, rest) = DOCUMENT.split_once(&heading).expect("the section is there");
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The first column of each table, without the head.
fn first_cells(section: &'static str) -> impl Iterator<Item = &'static str> {
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split(" | ").next())
        .filter(|cell| cell.starts_with('`'))
}
