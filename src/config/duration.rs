//! Durations such as `60d`, `1h 30m` and `500ms`: the parser, which rejects ambiguous ones, and the text form.

use std::time::Duration;

use chrono::TimeDelta;

/// The units and their spellings, longest unit first, the order in which a duration combines them. Months and years are
/// missing because they have no fixed length, and `1M` may be a minute.
const UNITS: [&[&str]; 8] = [
    &["w", "wk", "wks", "week", "weeks"],
    &["d", "day", "days"],
    &["h", "hr", "hrs", "hour", "hours"],
    &["m", "min", "mins", "minute", "minutes"],
    &["s", "sec", "secs", "second", "seconds"],
    &["ms", "msec", "millis"],
    &["us", "µs", "usec"],
    &["ns", "nsec", "nanos"],
];

/// Why text is not a usable duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DurationError {
    Malformed,
    OutOfRange,
    Several,
    MissingComma,
    MinuteOrMonth,
    Month,
    Year,
    UnknownUnit,
}

impl DurationError {
    /// What to write instead, if the mistake makes that clear.
    pub(super) fn advice(self) -> Option<&'static str> {
        match self {
            Self::Malformed | Self::OutOfRange => None,
            Self::Several => {
                Some("units must descend (1d 12h); separate the durations of a list with commas (14d, 7d)")
            }
            Self::MissingComma => {
                Some("separate durations with commas (14d, 7d), and write one without a space (1d12h)")
            }
            Self::MinuteOrMonth => {
                Some("`M` may mean minutes or months; write 1m for a minute, 30d for a month")
            }
            Self::Month => Some("a month has no fixed length; write days, such as 30d"),
            Self::Year => Some("a year has no fixed length; write days, such as 365d"),
            Self::UnknownUnit => Some("the units are w, d, h, m, s, ms, us and ns"),
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let mut before: Option<usize> = None;
    for unit in units(text) {
        let place = UNITS.iter().position(|names| names.contains(&unit));
        let Some(place) = place else {
            return Err(unknown(unit));
        };
        if before.is_some_and(|before| place <= before) {
            return Err(DurationError::Several);
        }
        before = Some(place);
    }
    humantime::parse_duration(text).map_err(|_| DurationError::Malformed)
}

/// A duration in the syntax of settings: `60d`, not `1month 29days`.
pub(super) fn format(span: TimeDelta) -> String {
    let days = span.num_days();
    let rest = (span - TimeDelta::days(days)).to_std().unwrap_or_default();
    match (days, rest.is_zero()) {
        (0, _) => humantime::format_duration(rest).to_string(),
        (days, true) => format!("{days}d"),
        (days, false) => format!("{days}d {}", humantime::format_duration(rest)),
    }
}

/// The words between the numbers of a duration.
fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_ascii_digit() || c.is_whitespace() || c == '.')
        .filter(|word| !word.is_empty())
}

fn unknown(unit: &str) -> DurationError {
    match unit {
        "M" => DurationError::MinuteOrMonth,
        "month" | "months" => DurationError::Month,
        "y" | "yr" | "yrs" | "year" | "years" => DurationError::Year,
        other if other.chars().all(char::is_alphabetic) => DurationError::UnknownUnit,
        // A minus sign, for example.
        _ => DurationError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_combines_numbers_with_units() {
        for (text, millis) in [
            ("60d", 60 * 86_400_000),
            ("1h 30m", 90 * 60_000),
            ("1h30m", 90 * 60_000),
            ("1.5h", 90 * 60_000),
            ("2 weeks", 14 * 86_400_000),
            (" 1 day 12 hours ", 36 * 3_600_000),
            ("500ms", 500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_are_printed_in_the_syntax_of_settings() {
        for (of, shown) in [
            (TimeDelta::days(60), "60d"),
            (TimeDelta::zero(), "0s"),
            (TimeDelta::hours(36), "1d 12h"),
            (TimeDelta::milliseconds(1500), "1s 500ms"),
            (TimeDelta::microseconds(1), "1us"),
        ] {
            assert_eq!(format(of), shown);
            assert_eq!(parse(shown).ok(), of.to_std().ok());
        }
    }

    #[test]
    fn an_ambiguous_duration_is_rejected_with_advice() {
        for (text, words) in [
            ("1M", "1m for a minute"),
            ("1month", "write days"),
            ("2 years", "write days"),
            ("1y", "write days"),
            ("14d 7d", "commas"),
            ("7d 14d", "commas"),
            ("1h 2d", "units must descend"),
            ("1d 24h 1h", "commas"),
            ("30m 1h", "units must descend"),
            ("5 fortnights", "the units are"),
            ("1D", "the units are"),
        ] {
            let advice = parse(text).expect_err(text).advice().unwrap_or_default();
            assert!(advice.contains(words), "{text}: {advice}");
        }
        for text in ["", "60", "-1d", "1d,,2d", "d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
