//! `docs/lifecycles.md` lists every event type, refusal code, change type, timer and sweep of the code, and no others.

use std::collections::BTreeSet;

use tenure::domain::{ChangeKind, Refusal, Sweep, Timer, event};

const DOCUMENT: &str = include_str!("../../../docs/lifecycles.md");

#[test]
fn it_lists_every_event_type_in_the_order_of_the_code() {
    let types = event_types();
    same_set(
        "Events",
        &types,
        event::TYPES,
        "`event_kinds!` in src/domain/event.rs",
    );
    for (listed, coded) in types.iter().zip(event::TYPES) {
        assert_eq!(
            listed, coded,
            "docs/lifecycles.md lists them in the order of `event_kinds!` in src/domain/event.rs, the newest type last"
        );
    }
}

#[test]
fn it_lists_every_change_type() {
    let kinds: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    same_set(
        "Changes",
        &listed("Changes"),
        &kinds,
        "the table in src/domain/change/kind.rs",
    );
}

#[test]
fn it_lists_every_refusal_code() {
    let codes: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    same_set(
        "Refusal codes",
        &listed("Refusal codes"),
        &codes,
        "the table in src/domain/refusal.rs",
    );
}

/// Otherwise no reader could find out when it occurs.
#[test]
fn it_names_the_events_that_each_refusal_code_applies_to() {
    let events = section("Events");
    for refusal in Refusal::ALL {
        let code = format!("`{}`", refusal.code());
        assert!(events.contains(&code), "no event is refused as {code}");
    }
}

#[test]
fn it_names_the_fields_of_every_event_type() {
    for row in rows(section("Events")) {
        let [kind, data, ..] = cells(row)[..] else {
            panic!("{row} has no data");
        };
        for field in event::fields(kind.trim_matches('`')) {
            let name = if field.is_required {
                field.name.to_owned()
            } else {
                format!("{}?", field.name)
            };
            let is_named = data
                .split('`')
                .skip(1)
                .step_by(2)
                .any(|term| term.split(':').next() == Some(&name));
            assert!(is_named, "{kind}: its data has no `{name}`");
        }
    }
}

#[test]
fn it_lists_every_timer_in_the_order_in_which_they_fire() {
    let listed: Vec<&str> = rows(section("Timers and policies"))
        .map(|row| cells(row)[0].trim_matches('`'))
        .collect();
    let timers = Timer::ALL.map(Timer::as_str);
    same_set(
        "Timers and policies",
        &listed,
        &timers,
        "`Timer` in src/domain/timer.rs",
    );
    assert_eq!(
        listed, timers,
        "docs/lifecycles.md lists them in the order of `Timer`"
    );
}

#[test]
fn it_names_every_sweep() {
    let timers = section("Timers and policies");
    for sweep in Sweep::ALL {
        assert!(timers.contains(&format!("`{sweep}`")), "{sweep} is missing");
    }
}

/// Fails with what to add, and where.
fn same_set(title: &str, document: &[&str], code: &[&str], place: &str) {
    let (listed, coded) = (BTreeSet::from_iter(document), BTreeSet::from_iter(code));
    let missing: Vec<_> = coded.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "add to a table under \"{title}\" in docs/lifecycles.md: {missing:?}"
    );
    let unknown: Vec<_> = listed.difference(&coded).collect();
    assert!(
        unknown.is_empty(),
        "docs/lifecycles.md lists under \"{title}\" what {place} does not have: {unknown:?}"
    );
    assert_eq!(
        document.len(),
        code.len(),
        "docs/lifecycles.md repeats a row under \"{title}\""
    );
}

/// The event types, in the order of the document.
pub fn event_types() -> Vec<&'static str> {
    refusals_by_type().into_iter().map(|(kind, _)| kind).collect()
}

/// Every event type with its refusal codes, in the order of the document.
pub fn refusals_by_type() -> Vec<(&'static str, Vec<&'static str>)> {
    rows(section("Events"))
        .map(|row| {
            let cells = cells(row);
            let refused_as = cells.last().expect("a last cell");
            let codes = refused_as
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|term| Refusal::from_code(term).is_some());
            (cells[0].trim_matches('`'), codes.collect())
        })
        .collect()
}

/// The terms in backticks in the first column of a section's tables.
fn listed(title: &str) -> Vec<&'static str> {
    rows(section(title))
        .flat_map(|row| cells(row)[0].split('`').skip(1).step_by(2))
        .collect()
}

/// A section of the second level, its subsections included.
fn section(title: &str) -> &'static str {
    let heading = format!("\n## {title}\n");
    let (_, rest) = DOCUMENT.split_once(&heading).expect("the section is there");
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The rows of its tables, without the heads.
fn rows(section: &'static str) -> impl Iterator<Item = &'static str> {
    section.lines().filter(|line| line.starts_with("| `"))
}

fn cells(row: &'static str) -> Vec<&'static str> {
    let mut cells: Vec<_> = row.trim_start_matches('|').split(" |").map(str::trim).collect();
    cells.pop();
    cells
}
