//! Cron lines in UTC, and their ticks.

use std::str::FromStr;

use chrono::{DateTime, SubsecRound, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// What a cron line must look like.
#[derive(Debug, thiserror::Error)]
#[error(
    "a cron line in UTC with five fields (minute, hour, day of month, month, day of week) or six (seconds first) that \
     matches at least one moment, such as `*/10 * * * *` or `30 0 3 * * MON`"
)]
pub struct CronError {
    /// None: the number of fields is wrong, or no moment matches.
    source: Option<croner::errors::CronError>,
}

/// A cron line that has at least one tick.
#[derive(Clone, Debug)]
pub struct CronLine {
    text: String,
    cron: Cron,
}

impl FromStr for CronLine {
    type Err = CronError;

    /// # Errors
    /// The line is malformed, or matches no moment.
    fn from_str(text: &str) -> Result<Self, CronError> {
        let fields: Vec<_> = text.split_whitespace().collect();
        let text = match fields.len() {
            5 => format!("0 {}", fields.join(" ")),
            6 => fields.join(" "),
            _ => return Err(CronError { source: None }),
        };
        // As tokio-cron-scheduler configures its parser, so that its ticks are ours.
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .dom_and_dow(true)
            .build()
            .parse(&text)
            .map_err(|error| CronError { source: Some(error) })?;
        let line = Self { text, cron };
        // 30 February is well formed but never comes.
        match line.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(line),
            None => Err(CronError { source: None }),
        }
    }
}

impl CronLine {
    /// The line with six fields, seconds first.
    #[must_use]
    pub fn with_seconds(&self) -> &str {
        &self.text
    }

    /// The last tick at or before a moment.
    #[must_use]
    pub fn at_or_before(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron
            .find_previous_occurrence(&moment.trunc_subsecs(0), true)
            .ok()
    }

    /// The last tick before a moment.
    #[must_use]
    pub fn before(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let second = moment.trunc_subsecs(0);
        self.cron.find_previous_occurrence(&second, second < moment).ok()
    }

    /// The first tick after a moment.
    #[must_use]
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron
            .find_next_occurrence(&moment.trunc_subsecs(0), false)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_has_five_or_six_fields() {
        for (line, at, tick) in [
            ("*/10 * * * *", "2026-03-01T12:34:56.789Z", "2026-03-01T12:30:00Z"),
            ("*/10 * * * *", "2026-03-01T12:30:00Z", "2026-03-01T12:30:00Z"),
            ("*/10 * * * *", "2026-03-01T12:30:00.5Z", "2026-03-01T12:30:00Z"),
            (
                "*/5 * * * * *",
                "2026-03-01T12:34:56.789Z",
                "2026-03-01T12:34:55Z",
            ),
            ("0 3 * * *", "2026-03-01T02:59:59Z", "2026-02-28T03:00:00Z"),
            ("30 4 29 2 *", "2026-03-01T00:00:00Z", "2024-02-29T04:30:00Z"),
            ("0 0 * * MON", "2026-03-01T00:00:00Z", "2026-02-23T00:00:00Z"),
            // With both day fields set, both must match.
            ("0 0 13 * FRI", "2026-03-01T00:00:00Z", "2026-02-13T00:00:00Z"),
        ] {
            let line: CronLine = line.parse().unwrap();
            assert_eq!(line.at_or_before(moment(at)), Some(moment(tick)), "{line:?}");
        }
    }

    #[test]
    fn a_malformed_or_impossible_line_is_rejected() {
        for line in [
            "",
            "*",
            "* * * *",
            "* * * * * * 2026",
            "61 * * * *",
            "every day",
            "@daily",
            "0 0 30 2 *",
            "*/0 * * * *",
            "a b c d e",
        ] {
            assert!(line.parse::<CronLine>().is_err(), "{line}");
        }
    }

    #[test]
    fn the_next_tick_and_the_previous_tick_agree() {
        for line in [
            "*/7 * * * *",
            "8 * * * *",
            "0 3 * * *",
            "15 10 2 * * MON-FRI",
            "0 0 1 * *",
        ] {
            let line: CronLine = line.parse().unwrap();
            let mut tick = moment("2026-01-01T00:00:00Z");
            for _ in 0..50 {
                let next = line.next_after(tick).unwrap();
                assert_eq!(line.at_or_before(next), Some(next), "{line:?}");
                assert_eq!(line.before(next + chrono::TimeDelta::milliseconds(1)), Some(next));
                if line.at_or_before(tick) == Some(tick) {
                    assert_eq!(line.before(next), Some(tick), "{line:?}");
                }
                tick = next;
            }
        }
    }
}
