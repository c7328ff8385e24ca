//! Secrets: they can be used, but never printed by accident.

use std::fmt;
use std::path::PathBuf;

use super::error::SettingsError;
use super::read::Reader;

/// What stands where a secret would.
pub(super) const HIDDEN: &str = "***";

/// A token or password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The token, from itself or from its file.
pub(super) fn token(from: &Reader, key: &str, file_key: &str) -> Result<Option<Secret>, SettingsError> {
    const ALLOWED: &str = "visible ASCII characters without spaces";
    let token = from.text(key)?;
    let path = PathBuf::from(from.text(file_key)?);
    if path.as_os_str().is_empty() {
        return match token.as_str() {
            "" => Ok(None),
            token if visible(token) => Ok(Some(Secret::new(token))),
            _ => Err(from.refuse(key, ALLOWED)),
        };
    }
    if !token.is_empty() {
        return Err(from.refuse(
            file_key,
            &format!("nothing while `{key}` is set too (from {})", from.origin(key)),
        ));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if visible(text.trim()) => Ok(Some(Secret::new(text.trim()))),
        Ok(_) => Err(from.refuse(file_key, &format!("a file that holds {ALLOWED}"))),
        Err(error) => Err(from.refuse(file_key, &format!("a file that can be read ({error})"))),
    }
}

/// A header could carry nothing else.
fn visible(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}
