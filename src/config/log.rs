//! The `[log]` section: format and level.

use super::error::SettingsError;
use super::level::{LogLevelError, log_directives};
use super::reader::Reader;

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub level: String,
    /// How many refused events are logged in a minute. 0: none.
    pub refusals_per_minute: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

pub(super) fn read(from: &Reader) -> Result<LogSettings, SettingsError> {
    const LEVEL: &str = "log.level";
    Ok(LogSettings {
        format: from.choice(
            "log.format",
            &[("human", LogFormat::Human), ("json", LogFormat::Json)],
        )?,
        level: log_directives(&from.text(LEVEL)?)
            .map_err(|why| from.invalid(LEVEL, &format!("{}; {why}", LogLevelError::EXPECTED)))?,
        refusals_per_minute: from.number("log.refusals_per_minute", 0..=100_000)?,
    })
}
