//! The `[retention]` section, and `audit.keep`: how long to keep records that the state does not depend on.

use chrono::TimeDelta;

use super::cron::CronLine;
use super::error::SettingsError;
use super::reader::Reader;

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
    /// Entries of the audit log: the setting `audit.keep`.
    pub audit: Option<TimeDelta>,
}

pub(super) fn read(from: &Reader) -> Result<RetentionSettings, SettingsError> {
    Ok(RetentionSettings {
        cron: from.cron("retention.cron")?,
        chunk: from.number("retention.chunk", 1..=10_000)?,
        dead_letters: from.age("retention.dead_letters")?,
        sweep_runs: from.age("retention.sweep_runs")?,
        sweep_runs_kept: from.number("retention.sweep_runs_kept", 1..=1_000_000)?,
        journal: from.age("retention.journal")?,
        audit: from.age("audit.keep")?,
    })
}
