//! The end of a period that begins now, or the beginning of one that ends now.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::context::UsageError;
use crate::config::{format_duration, parse_duration};
use crate::domain::Event;
use crate::domain::policy::later;
use crate::domain::time::rfc3339;

/// A moment, or a time between it and now.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    At(DateTime<Utc>),
    In(TimeDelta),
}

impl Until {
    /// The moment, if it is `now`.
    pub fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => Event::truncate(moment),
            Self::In(span) => later(now, span),
        }
    }

    /// The moment at which a period begins that ends `now`.
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => Event::truncate(moment),
            Self::In(span) => now.checked_sub_signed(span).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(moment) => f.write_str(&rfc3339(*moment)),
            Self::In(span) => f.write_str(&format_duration(*span)),
        }
    }
}

/// For clap. Unlike in the settings, years are accepted: a year is 365 days.
pub fn parse_until(text: &str) -> Result<Until, UsageError> {
    if let Ok(moment) = text.parse() {
        return Ok(Until::At(moment));
    }
    if let Some(years) = text
        .trim()
        .strip_suffix('y')
        .and_then(|years| years.parse::<u8>().ok())
    {
        return Ok(Until::In(TimeDelta::days(365 * i64::from(years))));
    }
    parse_duration(text).map(Until::In).map_err(|advice| {
        let advice = advice.unwrap_or("expected a duration such as 30d, or an RFC 3339 time");
        UsageError(advice.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_duration_a_number_of_years_or_ends_at_a_moment() {
        for (text, days) in [("1y", 365), ("2y", 730), ("30d", 30), ("2w", 14)] {
            let Ok(Until::In(span)) = parse_until(text) else {
                panic!("{text} is a duration");
            };
            assert_eq!(span, TimeDelta::days(days), "{text}");
        }
        assert!(matches!(parse_until("2026-03-01T00:00:00Z"), Ok(Until::At(_))));
        for text in ["y", "-1y", "1M", "1 year", "soon"] {
            assert!(parse_until(text).is_err(), "{text}");
        }
    }
}
