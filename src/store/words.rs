//! The words that the tables store as numbers: types of events and changes, refusals, sweeps, and causes.
//!
//! The program knows all words. A store inserts those that it lacks when it is migrated, and a writer that still misses
//! one inserts it. The numbers belong to the store and appear nowhere in the program.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Result;
use super::actor::actor_text;
use super::columns::{RowId, optional_text};
use crate::domain::event::TYPES;
use crate::domain::{Cause, ChangeKind, Corrector, Entry, Refusal, Repair, Sweep, Timer};

/// Every word, sorted, each once: an event and the change that it causes may have the same name.
pub(super) fn vocabulary() -> BTreeSet<Cow<'static, str>> {
    let timers = Timer::ALL.map(|timer| cause_word(&Cause::Timer { timer }).into_owned().into());
    let repairs = Repair::ALL.map(|rebuild| cause_word(&Cause::Rebuild { rebuild }).into_owned().into());
    TYPES
        .iter()
        .copied()
        .chain(ChangeKind::ALL.iter().map(|kind| kind.as_str()))
        .chain(Refusal::ALL.iter().map(|refusal| refusal.code()))
        .chain(Sweep::NAMES)
        .map(Cow::Borrowed)
        .chain(timers)
        .chain(repairs)
        .collect()
}

/// The word for a cause: the type of an event, or for example `timer:access_expiry`. No event type has a colon.
pub(super) fn cause_word(cause: &Cause) -> Cow<'_, str> {
    match cause {
        Cause::Event { kind, .. } => kind.as_ref().into(),
        Cause::Timer { timer } => format!("timer:{timer}").into(),
        Cause::Rebuild { rebuild } => format!("rebuild:{rebuild}").into(),
    }
}

/// What a line of the journal says of the event behind a cause: who caused it and why. Empty for another cause.
pub(super) fn cause_details(cause: &Cause) -> (String, String) {
    match cause {
        Cause::Event { actor, reason, .. } => (actor_text(actor), optional_text(reason.as_deref())),
        Cause::Timer { .. } | Cause::Rebuild { .. } => Default::default(),
    }
}

/// The event behind a cause: its source and id.
pub(super) fn cause_event(cause: &Cause) -> Option<(&str, &str)> {
    match cause {
        Cause::Event { source, id, .. } => Some((source, id)),
        Cause::Timer { .. } | Cause::Rebuild { .. } => None,
    }
}

/// The word for what made a correction necessary, as for a cause.
pub(super) fn corrector_word(corrector: &Corrector) -> Cow<'_, str> {
    match corrector {
        Corrector::LateEvent { kind, .. } => kind.as_ref().into(),
        Corrector::Rebuild { rebuild } => format!("rebuild:{rebuild}").into(),
    }
}

/// The late event behind a correction: its source and id.
pub(super) fn corrector_event(entry: &Entry) -> Option<(&str, &str)> {
    match entry.corrected_by.as_ref()? {
        Corrector::LateEvent { source, id, .. } => Some((source, id)),
        Corrector::Rebuild { .. } => None,
    }
}

/// The words that a line of the journal refers to, besides the type of its change.
pub(super) fn line_words(entry: &Entry) -> impl Iterator<Item = Cow<'_, str>> {
    let corrector = entry.corrected_by.as_ref().map(corrector_word);
    [cause_word(&entry.cause)].into_iter().chain(corrector)
}

/// The events that a line of the journal refers to: their sources and ids.
pub(super) fn line_events(entry: &Entry) -> impl Iterator<Item = (&str, &str)> {
    let cause = cause_event(&entry.cause);
    cause.into_iter().chain(corrector_event(entry))
}

/// Reads what made a correction necessary, and is no event.
pub(super) fn read_corrector(row: RowId<'_>, word: &str) -> Result<Corrector> {
    let rebuild = |word: &str| Repair::from_name(word.strip_prefix("rebuild:")?);
    let rebuild = row.word("corrector", word, rebuild)?;
    Ok(Corrector::Rebuild { rebuild })
}

/// Reads a cause that is no event.
pub(super) fn read_cause(row: RowId<'_>, word: &str) -> Result<Cause> {
    let other = |word: &str| match word.split_once(':')? {
        ("timer", timer) => Timer::from_name(timer).map(|timer| Cause::Timer { timer }),
        ("rebuild", rebuild) => Repair::from_name(rebuild).map(|rebuild| Cause::Rebuild { rebuild }),
        _ => None,
    };
    row.word("cause", word, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_without_an_event_read_back_from_their_words() {
        let row = RowId {
            table: "journal",
            key: &1,
        };
        let causes = Timer::ALL
            .map(|timer| Cause::Timer { timer })
            .into_iter()
            .chain(Repair::ALL.map(|rebuild| Cause::Rebuild { rebuild }));
        for cause in causes {
            let word = cause_word(&cause).into_owned();
            assert!(vocabulary().contains(word.as_str()), "{word}");
            assert_eq!(read_cause(row, &word).unwrap(), cause);
        }
        for rebuild in Repair::ALL {
            let corrector = Corrector::Rebuild { rebuild };
            let word = corrector_word(&corrector).into_owned();
            assert_eq!(read_corrector(row, &word).unwrap(), corrector);
        }
    }

    #[test]
    fn no_event_type_reads_as_another_cause() {
        assert!(TYPES.iter().all(|word| !word.contains(':')));
    }
}
