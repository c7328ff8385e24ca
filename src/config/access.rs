//! The settings of `[access]` that are not part of the policy.

use chrono::TimeDelta;

use super::error::SettingsError;
use super::reader::{LOG_AGE, Reader};
use crate::domain::Actions;

/// The actions that exist.
pub(super) fn actions(from: &Reader) -> Result<Actions, SettingsError> {
    let key = "access.actions";
    let expected = "a list of names of actions, each 1 to 64 characters out of a-z 0-9 _";
    let names = from.texts(key).ok_or_else(|| from.invalid(key, expected))?;
    Actions::listed(names.iter().map(|name| &**name))
        .map_err(|error| from.invalid(key, &format!("{expected} ({error})")))
}

/// For how long entries of the access log are stored. None: it is off.
pub(super) fn log(from: &Reader) -> Result<Option<TimeDelta>, SettingsError> {
    let key = "access.log";
    match from.text(key)?.trim() {
        "" | "off" => Ok(None),
        _ => from.span(key, LOG_AGE).map(Some),
    }
}
