//! The check of the parameters of a database or broker URL.

use super::error::SettingsError;
use super::reader::Reader;

/// Parameters whose value is the path of a file.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Rejects unknown parameters and unreadable files. The client libraries ignore an unknown parameter, or log it with its
/// value, which may be a misspelt password.
pub(super) fn check(from: &Reader, key: &str, url: &str, known: &[&str]) -> Result<(), SettingsError> {
    let Some((_, query)) = url.split_once('?') else {
        return Ok(());
    };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !known.contains(&name) {
            let expected = format!("a URL with no parameters other than {}", known.join(", "));
            return Err(from.invalid(key, &expected));
        }
        // The client reports a percent-encoded path that it cannot read.
        if FILES.contains(&name)
            && !value.contains(['%', '+'])
            && let Err(error) = std::fs::File::open(value)
        {
            let expected = format!("the path of a readable file in the parameter {name} ({error})");
            return Err(from.invalid(key, &expected));
        }
    }
    Ok(())
}
