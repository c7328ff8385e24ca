//! The plan of a rebuild: what makes everything that is kept about a client agree with its log.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Present;
use super::names::{Names, claim, claims};
use super::quiet;
use super::truth::{Truth, differences, outcomes_that_differ, told};
use crate::domain::replay::Replica;
use crate::domain::{Cause, Change, ClientKey, Entry, Mended, Name, Policies, Sweep, changes};
use crate::store::{
    Armed, ClientWrite, Columns, Commit, Document, Kept, NameClaim, Outcome, OutcomeUpdate, TouchWrite,
};

/// What is wrong with what is kept about a client, and what puts it right.
#[derive(Debug)]
pub struct Rebuild {
    /// In words; none, and nothing to write, when all is right.
    pub differences: Vec<String>,
    /// Or why it cannot be put right from the log.
    pub commit: Result<Commit, String>,
}

/// What is wrong with what is kept about a client, in words.
#[must_use]
pub fn drift(kept: &Kept, present: Present, policies: &Policies) -> Vec<String> {
    differences(kept, &Truth::of(kept, present, policies, |_| false), policies)
}

/// The names that have to be looked up before a rebuild.
pub fn names_of(kept: &Kept) -> Vec<NameClaim> {
    claims(std::iter::empty(), kept.history.iter())
        .into_iter()
        .collect()
}

/// Plans the rebuild of a locked client. `holders` are those of [`names_of`].
#[must_use]
pub fn plan_rebuild(
    kept: &Kept,
    holders: HashMap<NameClaim, ClientKey>,
    present: Present,
    policies: &Policies,
) -> Rebuild {
    let now = present.now;
    let names = Names::new(holders);
    let truth = Truth::of(kept, present, policies, |event| names.is_taken(event));
    let differences = differences(kept, &truth, policies);
    let mut commit = Commit {
        recorded_at: now,
        ..Commit::default()
    };
    if differences.is_empty() {
        return Rebuild {
            differences,
            commit: Ok(commit),
        };
    }
    let document = document(kept, &truth, &names, policies);
    deadlines(kept, &document.armed, &mut commit);
    outcomes(kept, &truth, now, &mut commit);
    let agrees = journal(kept, &truth, now, policies, &mut commit);
    let forgotten = kept.document().is_some_and(|document| document.client.is_known());
    if !agrees || (forgotten && !truth.client.is_known()) {
        let why = "the log does not say that this client was ever added, and what was told cannot be taken \
                   back: events are missing from it; bring them back (a backup, or `tenure ingest`) and rebuild \
                   again";
        return Rebuild {
            differences,
            commit: Err(why.into()),
        };
    }
    let is_written = kept
        .row
        .as_ref()
        .is_some_and(|row| row.document.as_ref() == Ok(&document) && row.columns == Columns::of(&document));
    if !is_written && !truth.events.is_empty() {
        commit.clients.push(ClientWrite {
            key: kept.key.clone(),
            name_key: document.held_name().map(Name::key),
            document,
            read_version: kept.row.as_ref().map_or(0, |row| row.version),
        });
    }
    if quiet::unsound(kept, &truth.client, policies).is_some() {
        // The window stands beside the client's row, which may be right. The next touch is read, and opens a window anew.
        commit.touches.push(TouchWrite {
            key: kept.key.clone(),
            open: kept.touches.clone(),
            closed: None,
            quiet: None,
        });
    }
    Rebuild {
        differences,
        commit: Ok(commit),
    }
}

fn document(kept: &Kept, truth: &Truth, names: &Names, policies: &Policies) -> Document {
    let before = kept.document().cloned();
    let is_right = |before: &Document| {
        kept.stored()
            .is_some_and(|stored| stored.client(policies) == truth.client)
            && before.touches_closed_until >= truth.touches_closed_until
    };
    let mut document = match before {
        Some(before) if is_right(&before) => before,
        before => Document {
            client: truth.client.clone(),
            touches_closed_until: truth
                .touches_closed_until
                .max(before.as_ref().and_then(|before| before.touches_closed_until)),
            name_is_lent: before.is_some_and(|before| before.name_is_lent),
            armed: Armed::new(),
        },
    };
    document.armed = Sweep::ALL
        .into_iter()
        .filter_map(|sweep| {
            let due = truth.client.deadline(sweep, policies)?;
            // One that is only too early is left for its sweep to find and move.
            let row = kept.deadlines.get(&sweep).copied().filter(|row| *row <= due);
            Some((sweep, row.unwrap_or(due)))
        })
        .collect();
    document.name_is_lent = is_lent(kept, &document, names);
    document
}

/// Whether a client bears its name without holding it. Once it does, that is not decided again; else a name is
/// held unless somebody else does.
fn is_lent(kept: &Kept, document: &Document, names: &Names) -> bool {
    let Some(name) = document.client.borne_name() else {
        return false;
    };
    let holds = kept
        .row
        .as_ref()
        .is_some_and(|row| row.columns.name_key.as_deref() == Some(&name.key()));
    !holds && (document.name_is_lent || names.is_held_by_another(&claim(&kept.key, name), &kept.key))
}

fn deadlines(kept: &Kept, wanted: &Armed, commit: &mut Commit) {
    for sweep in Sweep::ALL {
        match (kept.deadlines.get(&sweep), wanted.get(&sweep)) {
            (row, Some(due)) if row != Some(due) => {
                commit.deadlines_set.push((kept.key.clone(), sweep, *due));
            }
            (Some(_), None) => commit.deadlines_cleared.push((kept.key.clone(), sweep)),
            _ => {}
        }
    }
}

/// Puts outcomes right, and tells of refusals that nobody was told of.
fn outcomes(kept: &Kept, truth: &Truth, now: DateTime<Utc>, commit: &mut Commit) {
    for (event, _, outcome) in outcomes_that_differ(kept, truth) {
        commit.outcomes.push(OutcomeUpdate {
            source: event.source.clone(),
            id: event.id.clone(),
            outcome,
        });
        let cause = Cause::from(event);
        let was_told = |entry: &Entry| entry.change.kind == "event.refused" && entry.cause == cause;
        if let Outcome::Refused(refusal) = outcome
            && !kept.journal.iter().any(was_told)
        {
            commit.journal.push(Entry {
                key: kept.key.clone(),
                change: Change::refused(refusal),
                time: now,
                cause,
                correction: true,
            });
        }
    }
}

/// Tells what listeners do not know, or know wrongly: what the journal has told so far against what the log says. A
/// state that was wrong in the store alone is nothing that they ever heard of. False when no change can say it.
fn journal(kept: &Kept, truth: &Truth, now: DateTime<Utc>, policies: &Policies, commit: &mut Commit) -> bool {
    let stored = kept.stored().map(|stored| stored.client(policies));
    let mended = if stored.as_ref() == Some(&truth.client) {
        Mended::Journal
    } else {
        Mended::State
    };
    let (mut told, so) = (told(kept, &truth.client), Replica::of(&truth.client));
    let mut corrections = told.changes_to(&so);
    // Facts that the journal tells only when they change, so that it alone does not say what they are.
    if let Some(stored) = stored {
        let facts = ["client.renamed", "subscription.renewed"];
        let renewed = changes(&stored, &truth.client)
            .into_iter()
            .filter(|change| facts.contains(&change.kind) && last_said(kept, change) != change.to.as_deref());
        corrections.extend(renewed);
    }
    for change in &corrections {
        told.apply(change);
    }
    commit.journal.extend(corrections.into_iter().map(|change| Entry {
        key: kept.key.clone(),
        change,
        time: now,
        cause: Cause::Rebuild { rebuild: mended },
        correction: true,
    }));
    told == so
}

/// What the journal said last about the same thing.
fn last_said<'a>(kept: &'a Kept, change: &Change) -> Option<&'a str> {
    let same = |entry: &&Entry| entry.change.kind == change.kind && entry.change.id == change.id;
    kept.journal.iter().rev().find(same)?.change.to.as_deref()
}
