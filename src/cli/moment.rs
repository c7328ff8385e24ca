//! Moments and periods on the command line: exact, or relative to now.

use std::fmt;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::context::UsageError;
use crate::config::{format_duration, parse_duration};
use crate::domain::Event;
use crate::domain::policy::later;
use crate::domain::time::rfc3339;

/// A moment, exact or relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(DateTime<Utc>),
    /// This long before now.
    Ago(TimeDelta),
    /// This long after now.
    In(TimeDelta),
    /// The beginning of this day (UTC), counted from today.
    Day(i8),
}

impl Moment {
    /// The moment, if it is `now`, in the precision of stored times.
    pub fn resolve(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => Event::truncate(moment),
            Self::Ago(span) => now.checked_sub_signed(span).unwrap_or(DateTime::<Utc>::MIN_UTC),
            Self::In(span) => later(now, span),
            Self::Day(offset) => {
                let (today, days) = (now.date_naive(), Days::new(offset.unsigned_abs().into()));
                let day = if offset < 0 {
                    today.checked_sub_days(days)
                } else {
                    today.checked_add_days(days)
                };
                midnight(day.unwrap_or(today))
            }
        }
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// For clap: an RFC 3339 time, a date, a duration with its sign, or a word.
pub fn parse_moment(text: &str) -> Result<Moment, UsageError> {
    match text {
        "now" => return Ok(Moment::In(TimeDelta::zero())),
        "today" => return Ok(Moment::Day(0)),
        "yesterday" => return Ok(Moment::Day(-1)),
        "tomorrow" => return Ok(Moment::Day(1)),
        _ => {}
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(Moment::At(moment.to_utc()));
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(Moment::At(midnight(day)));
    }
    let signed = [('-', Moment::Ago as fn(TimeDelta) -> Moment), ('+', Moment::In)];
    for (sign, moment) in signed {
        if let Some(span) = text.strip_prefix(sign) {
            return parse_span(span)
                .map(moment)
                .map_err(|advice| expected("", advice));
        }
    }
    Err(expected("", None))
}

/// What a moment may be. `others`: what else is accepted.
fn expected(others: &str, advice: Option<&str>) -> UsageError {
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    UsageError(format!(
        "expected {others}a time such as 2026-03-01T12:00:00Z, a date such as 2026-03-01, a time from now such as -3d or +12h, \
         or now, today, yesterday or tomorrow{advice}"
    ))
}

/// A duration. Unlike in the settings, years are accepted: a year is 365 days.
///
/// # Errors
/// What is wrong with it, if more is known than that it is no duration.
fn parse_span(text: &str) -> Result<TimeDelta, Option<&'static str>> {
    let years = text
        .trim()
        .strip_suffix('y')
        .and_then(|years| years.parse::<u16>().ok());
    if let Some(years) = years {
        return Ok(TimeDelta::days(365 * i64::from(years)));
    }
    parse_duration(text)
}

/// The end of a period that begins now, or the beginning of one that ends now: a moment, or a duration.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    At(Moment),
    In(TimeDelta),
}

impl Until {
    /// The end of a period that begins `now`.
    pub fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => moment.resolve(now),
            Self::In(span) => Moment::In(span).resolve(now),
        }
    }

    /// As [`Until::moment`].
    ///
    /// # Errors
    /// If the end is in the past.
    pub fn ahead(self, now: DateTime<Utc>) -> Result<DateTime<Utc>, UsageError> {
        let end = self.moment(now);
        if end < now {
            return Err(UsageError(format!(
                "--until {self} is in the past; choose a moment after {}",
                rfc3339(now)
            )));
        }
        Ok(end)
    }

    /// The beginning of a period that ends `now`.
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => moment.resolve(now),
            Self::In(span) => Moment::Ago(span).resolve(now),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(Moment::At(moment)) => f.write_str(&rfc3339(*moment)),
            Self::At(Moment::Ago(span)) => write!(f, "-{}", format_duration(*span)),
            Self::At(Moment::In(span)) => write!(f, "+{}", format_duration(*span)),
            Self::At(Moment::Day(offset)) => write!(f, "{offset:+}d"),
            Self::In(span) => f.write_str(&format_duration(*span)),
        }
    }
}

/// For clap: a duration, or a moment.
pub fn parse_until(text: &str) -> Result<Until, UsageError> {
    match parse_moment(text) {
        Ok(moment) => Ok(Until::At(moment)),
        Err(_) => parse_span(text)
            .map(Until::In)
            .map_err(|advice| expected("a duration such as 30d, ", advice)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-15T10:30:00Z".parse().unwrap()
    }

    #[test]
    fn a_moment_is_exact_or_relative_to_now() {
        for (text, expected) in [
            ("2026-03-01T12:00:00+01:00", "2026-03-01T11:00:00Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("now", "2026-03-15T10:30:00Z"),
            ("today", "2026-03-15T00:00:00Z"),
            ("yesterday", "2026-03-14T00:00:00Z"),
            ("tomorrow", "2026-03-16T00:00:00Z"),
            ("-3d", "2026-03-12T10:30:00Z"),
            ("+12h", "2026-03-15T22:30:00Z"),
            ("-1y", "2025-03-15T10:30:00Z"),
        ] {
            let moment = parse_moment(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rfc3339(moment.resolve(now())), expected, "{text}");
        }
        for text in [
            "",
            "3d",
            "noon",
            "Yesterday",
            "-",
            "-3",
            "2026-02-30",
            "2026-3",
            "1",
        ] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_too_far_away_is_the_end_of_time() {
        let far = parse_moment("-60000y").unwrap();
        assert!(far.resolve(DateTime::<Utc>::MIN_UTC) <= DateTime::<Utc>::MIN_UTC);
        assert!(parse_moment("+60000y").unwrap().resolve(now()) > now());
    }

    #[test]
    fn a_period_is_a_duration_a_number_of_years_or_ends_at_a_moment() {
        for (text, days) in [("1y", 365), ("2y", 730), ("30d", 30), ("2w", 14)] {
            let Ok(Until::In(span)) = parse_until(text) else {
                panic!("{text} is a duration");
            };
            assert_eq!(span, TimeDelta::days(days), "{text}");
        }
        for text in ["2026-03-01T00:00:00Z", "2026-03-01", "tomorrow", "+30d"] {
            assert!(matches!(parse_until(text), Ok(Until::At(_))), "{text}");
        }
        for text in ["y", "1M", "1 year", "soon"] {
            assert!(parse_until(text).is_err(), "{text}");
        }
    }
}
