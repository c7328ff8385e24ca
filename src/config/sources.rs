//! The `[sources]` section: which sources must send events, and how often. Meanwhile,
//! `access.on_silence` decides about access.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::error::SettingsError;
use super::reader::{Reader, SILENCE};

/// The longest name of a source in the settings.
const LONGEST_NAME: usize = 1_024;

#[derive(Clone, Debug, Default)]
pub struct SourceSettings {
    /// The expected sources, each with the interval in which it is to be heard from.
    pub expected: BTreeMap<String, TimeDelta>,
    pub on_silence: OnSilence,
}

/// The decision about access that expires while an expected source is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSilence {
    /// It has expired, as far as is known.
    #[default]
    Deny,
    /// It is decided as of the moment at which the source was last heard from.
    Allow,
}

pub(super) fn read(from: &Reader) -> Result<SourceSettings, SettingsError> {
    let expected = from.spans_by_name("sources", SILENCE)?;
    let is_name =
        |name: &String| !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if !expected.keys().all(is_name) {
        return Err(from.invalid(
            "sources",
            "names of sources without control characters, as events have them",
        ));
    }
    Ok(SourceSettings {
        expected,
        on_silence: from.choice(
            "access.on_silence",
            &[("deny", OnSilence::Deny), ("allow", OnSilence::Allow)],
        )?,
    })
}
