//! The settings of `[access]` that are not part of the policy.

use super::error::SettingsError;
use super::reader::Reader;
use crate::domain::Actions;

/// The actions that exist.
pub(super) fn actions(from: &Reader) -> Result<Actions, SettingsError> {
    let key = "access.actions";
    let expected = "a list of names of actions, each 1 to 64 characters out of a-z 0-9 _";
    let names = from.texts(key).ok_or_else(|| from.invalid(key, expected))?;
    Actions::listed(names.iter().map(|name| &**name))
        .map_err(|error| from.invalid(key, &format!("{expected} ({error})")))
}
