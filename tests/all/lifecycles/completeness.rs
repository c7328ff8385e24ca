//! Nothing left out: every event type, refusal, change and timer occurs in the tables.

use std::collections::BTreeSet;

use tenure::domain::event::TYPES;
use tenure::domain::{ChangeKind, Refusal, Timer};

use super::{Story, every_story};

/// The refusals of the lifecycles beside `unknown_client`, which every type has but `client.added`.
const REFUSALS: &[(&str, &[&str])] = &[
    ("client.added", &["already_exists", "name_taken"]),
    ("client.renamed", &["name_taken"]),
    (
        "client.invited",
        &["already_linked", "invitation_was_rejected", "access_was_rejected"],
    ),
    ("invitation.accepted", &["not_invited"]),
    ("onboarding.completed", &["not_invited"]),
    ("consent.granted", &["not_invited"]),
    ("invitation.rejected", &["not_a_referral", "not_invited"]),
    ("identity.rejected", &["not_invited"]),
    ("client.archived", &["not_linked"]),
    ("client.lost", &["not_linked"]),
    ("partner.disconnected", &["not_linked"]),
    ("client.deleted", &["still_linked"]),
    ("assignment.added", &["terminated", "duplicate_id"]),
    ("assignment.removed", &["unknown_id"]),
    ("report_schedule.created", &["not_active", "duplicate_id"]),
    ("report_schedule.deleted", &["unknown_id"]),
    ("margin_rule.created", &["not_active", "duplicate_id"]),
    ("margin_rule.deleted", &["unknown_id"]),
    ("client.terminated", &["already_terminated"]),
    ("client.reactivated", &["not_terminated"]),
    ("subscription.added", &["not_linked", "duplicate_id"]),
    ("subscription.renewed", &["unknown_id", "already_ended"]),
    ("subscription.ended", &["unknown_id", "already_ended"]),
    ("user.added", &["not_linked", "terminated", "duplicate_id"]),
    ("user.removed", &["unknown_id"]),
    ("integration.added", &["not_linked", "terminated", "duplicate_id"]),
    ("integration.removed", &["unknown_id"]),
    ("account.accessed", &["no_access"]),
    ("access.disabled", &["not_connected", "already_disabled"]),
    ("access.enabled", &["not_connected", "already_enabled"]),
    (
        "access.requested",
        &["already_enabled", "already_requested", "not_connected"],
    ),
    ("access.approved", &["no_request"]),
    ("access.denied", &["no_request"]),
    ("account.jobs_counted", &[]),
    ("account.updated", &[]),
];

/// What occurred while all the stories were played.
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
            let told = story
                .play()
                .unwrap_or_else(|why| panic!("{}: {why}", story.sentence));
            let kind = told.event.as_ref().map(|event| event.kind.type_name().to_owned());
            match (kind, told.outcome) {
                (Some(kind), Ok(())) => drop(occurred.applied.insert(kind)),
                (Some(kind), Err(refusal)) => {
                    occurred.refused.insert((kind, refusal.code().to_owned()));
                    // The engine tells of every refusal.
                    occurred.changes.insert("event.refused".to_owned());
                }
                (None, _) => {}
            }
            occurred
                .changes
                .extend(told.changes.iter().map(|change| change.kind().to_string()));
            occurred.timers.extend(told.fired.iter().map(|due| due.timer));
        }
        occurred
    }
}

fn listed() -> BTreeSet<(String, String)> {
    REFUSALS
        .iter()
        .flat_map(|(kind, codes)| {
            let unknown = (*kind != "client.added").then_some("unknown_client");
            codes
                .iter()
                .copied()
                .chain(unknown)
                .map(|code| ((*kind).to_owned(), code.to_owned()))
        })
        .collect()
}

fn texts(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

fn assert_all<T: Ord + std::fmt::Debug>(what: &str, listed: &BTreeSet<T>, occurred: &BTreeSet<T>) {
    let missing: Vec<_> = listed.difference(occurred).collect();
    let unlisted: Vec<_> = occurred.difference(listed).collect();
    assert!(missing.is_empty(), "{what} in no table: {missing:#?}");
    assert!(
        unlisted.is_empty(),
        "{what} that no document knows: {unlisted:#?}"
    );
}

#[test]
fn the_tables_leave_nothing_out() {
    let stories = every_story();
    let occurred = Occurred::in_stories(&stories);
    assert_all("an event type that is applied", &texts(TYPES), &occurred.applied);
    assert_all("a refusal", &listed(), &occurred.refused);
    let changes = ChangeKind::ALL.iter().map(ToString::to_string).collect();
    assert_all("a change", &changes, &occurred.changes);
    assert_all("a timer", &BTreeSet::from(Timer::ALL), &occurred.timers);
}

#[test]
fn every_refusal_is_listed_for_an_event() {
    let codes = listed().into_iter().map(|(_, code)| code).collect();
    let all = Refusal::ALL
        .iter()
        .map(|refusal| refusal.code().to_owned())
        .collect();
    assert_all("a refusal code", &all, &codes);
    let kinds: Vec<&str> = REFUSALS.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, TYPES, "every event type has its line");
}

#[test]
fn every_document_has_its_rows() {
    let stories = every_story();
    for seed in ["000", "001", "002", "ours"] {
        let rows = stories.iter().filter(|story| story.seed == seed).count();
        assert!(rows > 20, "{seed} has {rows} rows");
    }
}
