//! `log.level` and `RUST_LOG`: directives for the log, checked more strictly than the library does.

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why directives for the log cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogLevelError {
    #[error("no level is given")]
    Empty,
    #[error("`{0}` is not a level")]
    NoLevel(String),
    #[error("`{0}` is not a directive")]
    Malformed(String),
}

impl LogLevelError {
    /// What may be written.
    pub const EXPECTED: &'static str =
        "error, warn, info, debug or trace, or directives such as `info,tenure::broker=debug`";
}

/// Checks directives, and writes them without spaces, which the library takes for parts of names.
///
/// The library reads a word that is not a level as the name of a target at `trace`: `verbose` would silence everything.
/// Here a word alone is a level, or names a part of this program.
///
/// # Errors
/// The first directive that is not one.
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

/// A name of a module can be nothing else; `RUST_LOG=tenure` is usual.
fn is_ours(word: &str) -> bool {
    word == "tenure" || word.contains("::")
}

#[cfg(test)]
mod tests {
    use super::{LogLevelError, log_directives};

    #[test]
    fn levels_and_directives_are_taken() {
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
    fn a_word_that_is_no_level_is_named() {
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
