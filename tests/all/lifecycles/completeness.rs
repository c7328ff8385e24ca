//! The tables leave nothing out: every event type, refusal, change and timer of `docs/lifecycles.md` occurs in them.

use std::collections::BTreeSet;

use tenure::domain::event::TYPES;
use tenure::domain::{ChangeKind, Refusal, Timer};

use super::document::refusals_by_type;
use super::{Story, every_story};

/// Everything that occurs when all stories are played.
#[derive(Default)]
struct Occurred {
    applied: BTreeSet<String>,
    refused: BTreeSet<(String, String)>,
    changes: BTreeSet<String>,
    timers: BTreeSet<Timer>,
}

impl Occurred {
    fn in_stories(stories: &[Story]) -> Self {
        let mut occurred = Self::default();
        for story in stories {
            let result = story
                .play()
                .unwrap_or_else(|why| panic!("{}: {why}", story.sentence));
            let kind = result
                .event
                .as_ref()
                .map(|event| event.kind.type_name().to_owned());
            match (kind, result.outcome) {
                (Some(kind), Ok(())) => drop(occurred.applied.insert(kind)),
                (Some(kind), Err(refusal)) => {
                    occurred.refused.insert((kind, refusal.code().to_owned()));
                    // The engine publishes one for every refusal, and one when a late event takes it back.
                    let outcomes = [ChangeKind::EventRefused, ChangeKind::EventAccepted];
                    occurred.changes.extend(outcomes.map(|kind| kind.to_string()));
                }
                (None, _) => {}
            }
            occurred
                .changes
                .extend(result.changes.iter().map(|change| change.kind().to_string()));
            occurred.timers.extend(result.fired.iter().map(|due| due.timer));
        }
        occurred
    }
}

/// The refusals that the document lists for each type, with `unknown_client` and `not_theirs`, which it states once for all
/// types.
fn documented() -> BTreeSet<(String, String)> {
    refusals_by_type()
        .into_iter()
        .flat_map(|(kind, codes)| {
            let unknown = (kind != "client.added").then_some("unknown_client");
            codes
                .into_iter()
                .chain(unknown)
                .chain(["not_theirs"])
                .map(move |code| (kind.to_owned(), code.to_owned()))
        })
        .collect()
}

fn assert_all<T: Ord + std::fmt::Debug>(what: &str, expected: &BTreeSet<T>, occurred: &BTreeSet<T>) {
    let missing: Vec<_> = expected.difference(occurred).collect();
    let unexpected: Vec<_> = occurred.difference(expected).collect();
    assert!(missing.is_empty(), "no story has {what} {missing:#?}; add one");
    assert!(
        unexpected.is_empty(),
        "docs/lifecycles.md does not list {what} {unexpected:#?}; add it, or correct the code"
    );
}

#[test]
fn the_tables_cover_every_type() {
    let occurred = Occurred::in_stories(&every_story());
    let types = TYPES.iter().map(ToString::to_string).collect();
    let changes = ChangeKind::ALL.iter().map(ToString::to_string).collect();
    assert_all("an applied event of type", &types, &occurred.applied);
    assert_all("the refusal", &documented(), &occurred.refused);
    assert_all("the change", &changes, &occurred.changes);
    assert_all("the timer", &BTreeSet::from(Timer::ALL), &occurred.timers);
}

#[test]
fn every_refusal_can_occur() {
    let occurring = documented().into_iter().map(|(_, code)| code).collect();
    let all = Refusal::ALL.iter().map(ToString::to_string).collect();
    assert_all("the refusal code", &all, &occurring);
}

#[test]
fn every_article_has_its_rows() {
    let stories = every_story();
    for seed in ["000", "001", "002", "ours"] {
        let rows = stories.iter().filter(|story| story.seed == seed).count();
        assert!(rows > 20, "{seed} has {rows} rows");
    }
}
