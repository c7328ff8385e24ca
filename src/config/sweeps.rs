//! The `[sweeps]` section: schedules, chunks and the breaker.

use std::collections::BTreeMap;

use super::cron::CronLine;
use super::error::SettingsError;
use super::reader::Reader;
use crate::domain::Sweep;

#[derive(Clone, Debug)]
pub struct SweepSettings {
    /// Maximum number of clients in one transaction.
    pub chunk: u32,
    pub breaker: Breaker,
    /// One for each of [`Sweep::ALL`].
    pub schedules: BTreeMap<Sweep, Schedule>,
}

/// How many clients a sweep or a new policy may change without confirmation. A change that exceeds both bounds is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// The share of the population that may change, in percent, 1 to 100.
    pub percent: u32,
    /// The number of clients that may change whatever their share is.
    pub clients: u64,
}

/// As in `config/default.toml`, which a test compares.
impl Default for Breaker {
    fn default() -> Self {
        Self {
            percent: 20,
            clients: 100,
        }
    }
}

/// When a sweep runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub cron: CronLine,
    pub enabled: bool,
}

pub(super) fn read(from: &Reader) -> Result<SweepSettings, SettingsError> {
    let schedule = |sweep: Sweep| {
        Ok(Schedule {
            cron: from.cron(&format!("sweeps.{sweep}.cron"))?,
            enabled: from.flag(&format!("sweeps.{sweep}.enabled"))?,
        })
    };
    Ok(SweepSettings {
        chunk: from.number("sweeps.chunk", 1..=10_000)?,
        breaker: Breaker {
            percent: from.number("sweeps.breaker.percent", 1..=100)?,
            clients: from.number("sweeps.breaker.clients", 0..=i64::MAX)?,
        },
        schedules: Sweep::ALL
            .into_iter()
            .map(|sweep| Ok((sweep, schedule(sweep)?)))
            .collect::<Result<_, SettingsError>>()?,
    })
}
