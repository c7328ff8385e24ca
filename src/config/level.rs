//! Directives of `log.level` and `RUST_LOG`, validated more strictly than by `tracing_subscriber`.

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The level of all other targets: a filter that matches nothing must not hide warnings.
const OTHERWISE: &str = "warn";

/// Why log directives are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogLevelError {
    #[error("no level is set")]
    Empty,
    #[error("`{0}` is not a level")]
    NoLevel(String),
    #[error("`{0}` is not a directive")]
    Malformed(String),
    #[error("`{0}` is a level, not a module")]
    LevelAsTarget(String),
    #[error("tenure has no module `{0}`; its modules are {modules}", modules = modules().collect::<Vec<_>>().join(", "))]
    UnknownModule(String),
    #[error("`{0}` is not a module path such as tenure::broker or sqlx")]
    NotAPath(String),
    #[error("it is not UTF-8")]
    NotUnicode,
}

impl LogLevelError {
    /// What to write.
    pub const EXPECTED: &'static str =
        "error, warn, info, debug or trace, or directives such as `info,tenure::broker=debug`";
}

/// Validates directives, and removes spaces, which the library reads as parts of names.
///
/// The library reads an unknown word as a target at level `trace`, and accepts targets that do not exist: either would
/// silence everything else. Here a single word must be a level or a module of this program, and a target must be a module.
/// Unless a directive sets it, the level of all other targets is `warn`.
///
/// # Errors
/// The first invalid directive.
pub fn log_directives(text: &str) -> Result<String, LogLevelError> {
    let mut checked = Vec::new();
    let mut has_level = false;
    for directive in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let malformed = || LogLevelError::Malformed(directive.to_owned());
        let (target, level) = match directive.rsplit_once('=') {
            // `[span{field=value}]`
            Some((_, rest)) if rest.contains(['}', ']']) => return Err(malformed()),
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None if is_ours(directive) => (Some(directive), "trace"),
            None => (None, directive),
        };
        if !is_level(level) {
            return Err(LogLevelError::NoLevel(level.to_owned()));
        }
        let written = if let Some(target) = target {
            check_target(target)?;
            format!("{target}={level}")
        } else {
            has_level = true;
            level.to_owned()
        };
        EnvFilter::try_new(&written).map_err(|_| malformed())?;
        checked.push(written);
    }
    if checked.is_empty() {
        return Err(LogLevelError::Empty);
    }
    if !has_level {
        checked.insert(0, OTHERWISE.to_owned());
    }
    Ok(checked.join(","))
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// A word with `::` can only be a module, and `RUST_LOG=tenure` is common.
fn is_ours(word: &str) -> bool {
    word == "tenure" || word.contains("::")
}

/// Validates a target, which may have a span: `tenure::broker[batch]`.
fn check_target(target: &str) -> Result<(), LogLevelError> {
    let path = target.split_once('[').map_or(target, |(path, _)| path);
    if is_level(path) {
        return Err(LogLevelError::LevelAsTarget(path.to_owned()));
    }
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let mut words = path.split("::");
    if !words.clone().all(is_word) {
        return Err(LogLevelError::NotAPath(target.to_owned()));
    }
    // The modules of other crates are unknown.
    match (words.next(), words.next()) {
        (Some("tenure"), Some(module)) if !modules().any(|known| known == module) => {
            Err(LogLevelError::UnknownModule(path.to_owned()))
        }
        _ => Ok(()),
    }
}

/// The modules of this crate, as `lib.rs` declares them.
fn modules() -> impl Iterator<Item = &'static str> {
    include_str!("../lib.rs").lines().filter_map(|line| {
        let module = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?;
        module.strip_suffix(';')
    })
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
            ("tenure", "warn,tenure=trace"),
            ("tenure::broker", "warn,tenure::broker=trace"),
            ("tenure::broker::lane=debug", "warn,tenure::broker::lane=debug"),
            (
                "sqlx::query=debug,lapin=info",
                "warn,sqlx::query=debug,lapin=info",
            ),
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
        for (text, words) in [
            ("info=debug", "`info` is a level, not a module"),
            ("warn,OFF=trace", "`OFF` is a level"),
            ("Tenure=info", "`Tenure` is not a module path"),
            ("tenure:broker=debug", "`tenure:broker` is not a module path"),
            ("tenure::=debug", "`tenure::` is not a module path"),
            ("[x]=info", "`[x]` is not a module path"),
            ("my-crate=info", "`my-crate` is not a module path"),
            (
                "tenure::brokr=debug",
                "no module `tenure::brokr`; its modules are ",
            ),
            ("tenure::brokr", "no module `tenure::brokr`"),
        ] {
            let error = wrong(text).to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(wrong(" , "), LogLevelError::Empty);
        assert!(matches!(wrong("in fo=[}"), LogLevelError::Malformed(_)));
    }
}
