//! How long what grows is kept.

use chrono::TimeDelta;

use super::CronLine;
use super::error::SettingsError;
use super::read::{AGE, Reader};

/// Ages are counted from when a row was done with; none: it is kept for ever.
#[derive(Clone, Debug)]
pub struct RetentionSettings {
    pub cron: CronLine,
    /// Rows removed in one transaction at most.
    pub chunk: u32,
    /// Dead letters that were redriven or discarded.
    pub dead_letters: Option<TimeDelta>,
    pub sweep_runs: Option<TimeDelta>,
    /// So many runs of each sweep stay, whatever their age.
    pub sweep_runs_kept: u32,
    /// Lines of the journal that were published.
    pub journal: Option<TimeDelta>,
}

pub(super) fn read(from: &Reader) -> Result<RetentionSettings, SettingsError> {
    const CRON: &str = "retention.cron";
    let age = |key| match from.text(key)?.trim() {
        "" | "never" => Ok(None),
        _ => from.span(key, AGE).map(Some),
    };
    Ok(RetentionSettings {
        cron: from
            .text(CRON)?
            .parse()
            .map_err(|reason: String| from.refuse(CRON, &reason))?,
        chunk: from.number("retention.chunk", 1..=10_000)?,
        dead_letters: age("retention.dead_letters")?,
        sweep_runs: age("retention.sweep_runs")?,
        sweep_runs_kept: from.number("retention.sweep_runs_kept", 1..=1_000_000)?,
        journal: age("retention.journal")?,
    })
}
