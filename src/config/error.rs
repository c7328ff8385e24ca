//! What can be wrong with settings. Each message says what to change, and where.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the settings file {} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },

    #[error("the settings file {} is not TOML: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },

    #[error("there is no setting `{key}` (from {origin}): {hint}")]
    UnknownKey {
        key: String,
        origin: String,
        hint: String,
    },

    #[error("the setting `{key}` is given twice: by {first} and by {second}; remove one of them")]
    Twice {
        key: String,
        first: String,
        second: String,
    },

    #[error("the setting `{key}` cannot be {value} (from {origin}): allowed is {allowed}")]
    Impossible {
        key: String,
        /// As it was given; `***` for a secret.
        value: String,
        origin: String,
        allowed: String,
    },
}
