//! Errors in settings. Each names the setting, its origin and what to write instead.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    /// Holds text instead of the parser's error, which quotes the line and so may reveal a password.
    #[error("the settings file {} is not valid TOML: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },

    #[error("unknown setting `{key}` (from {origin}): {hint}")]
    UnknownKey {
        key: String,
        origin: String,
        hint: String,
    },

    #[error("`{key}` is set twice: by {first} and by {second}; remove one of them")]
    Twice {
        key: String,
        first: String,
        second: String,
    },

    #[error("invalid value {value} for `{key}` (from {origin}): expected {expected}")]
    Invalid {
        key: String,
        /// As given, with secrets hidden.
        value: String,
        origin: String,
        expected: String,
    },
}
