//! The `[retention]` section: how long to keep records that the state does not depend on.

use chrono::TimeDelta;

use super::cron::CronLine;
use super::error::SettingsError;
use super::reader::{AGE, Reader};

/// Ages count from the end of a record's use. None: keep forever.
#[derive(Clone, Debug)]
pub struct RetentionSettings {
    pub cron: CronLine,
    /// Maximum number of rows removed in one transaction.
    pub chunk: u32,
    /// Redriven and discarded dead letters.
    pub dead_letters: Option<TimeDelta>,
    pub sweep_runs: Option<TimeDelta>,
    /// Number of most recent runs of each sweep to keep regardless of their age.
    pub sweep_runs_kept: u32,
    /// Published lines of the journal.
    pub journal: Option<TimeDelta>,
}

pub(super) fn read(from: &Reader) -> Result<RetentionSettings, SettingsError> {
    let age = |key| match from.text(key)?.trim() {
        "" | "never" => Ok(None),
        _ => from.span(key, AGE).map(Some),
    };
    Ok(RetentionSettings {
        cron: from.cron("retention.cron")?,
        chunk: from.number("retention.chunk", 1..=10_000)?,
        dead_letters: age("retention.dead_letters")?,
        sweep_runs: age("retention.sweep_runs")?,
        sweep_runs_kept: from.number("retention.sweep_runs_kept", 1..=1_000_000)?,
        journal: age("retention.journal")?,
    })
}
