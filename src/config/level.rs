//! Directives of `log.level` and `RUST_LOG`, validated more strictly than by `tracing_subscriber`.

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why log directives are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogLevelError {
    #[error("no level is set")]
    Empty,
    #[error("`{0}` is not a level")]
    NoLevel(String),
    #[error("`{0}` is not a directive")]
    Malformed(String),
}

impl LogLevelError {
    /// What to write.
    pub const EXPECTED: &'static str =
        "error, warn, info, debug or trace, or directives such as `info,tenure::broker=debug`";
}

/// Validates directives, and removes spaces, which the library reads as parts of names.
///
/// The library reads an unknown word as a target at level `trace`, so that `verbose` would silence everything else. Here
/// a single word must be a level or a module of this program.
///
/// # Errors
/// The first invalid directive.
pub fn log_directives(text: &str) -> Result<String, LogLevelError> {
    let mut checked = Vec::new();
    for directive in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let malformed = || LogLevelError::Malformed(directive.to_owned());
        let (target, level) = match directive.rsplit_once('=') {
            // `[span{field=value}]`
            Some((_, rest)) if rest.contains(['}', ']']) => return Err(malformed()),
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None if is_ours(directive) => (Some(directive), "trace"),
            None => (None, directive),
        };
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(LogLevelError::NoLevel(level.to_owned()));
        }
        let written = match target {
            Some(target) => format!("{target}={level}"),
            None => level.to_owned(),
        };
        EnvFilter::try_new(&written).map_err(|_| malformed())?;
        checked.push(written);
    }
    if checked.is_empty() {
        return Err(LogLevelError::Empty);
    }
    Ok(checked.join(","))
}

/// A word with `::` can only be a module, and `RUST_LOG=tenure` is common.
fn is_ours(word: &str) -> bool {
    word == "tenure" || word.contains("::")
}

#[cfg(test)]
mod tests {
    use super::{LogLevelError, log_directives};

    #[test]
    fn levels_and_directives_are_accepted() {
        for (given, written) in [
            ("info", "info"),
            ("OFF", "OFF"),
            ("info, tenure::broker=debug", "info,tenure::broker=debug"),
            ("warn,sqlx = trace,", "warn,sqlx=trace"),
            ("tenure", "tenure=trace"),
            ("tenure::broker", "tenure::broker=trace"),
            ("info,tenure[batch]=debug", "info,tenure[batch]=debug"),
        ] {
            assert_eq!(log_directives(given).as_deref(), Ok(written));
        }
    }

    #[test]
    fn an_unknown_level_is_named() {
        let wrong = |text: &str| log_directives(text).expect_err(text);
        for (text, word) in [
            ("verbose", "verbose"),
            ("warning", "warning"),
            ("info,verbose", "verbose"),
            ("debgu,tenure=info", "debgu"),
            ("tenure=loud", "loud"),
            ("tenure=", ""),
            ("3", "3"),
        ] {
            assert_eq!(wrong(text), LogLevelError::NoLevel(word.to_owned()));
        }
        assert_eq!(wrong(" , "), LogLevelError::Empty);
        assert!(matches!(wrong("in fo=[}"), LogLevelError::Malformed(_)));
    }
}
