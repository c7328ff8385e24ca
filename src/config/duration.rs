//! Durations as people write them: `60d`, `1h 30m`, `500ms`. What could mean two things is refused.

use std::time::Duration;

/// The units, and how each may be written. Longest first, the order in which they may follow each other. Months and years are missing: they have no fixed length, and `1M` was meant to be a minute as often as a month.
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

/// Reads a duration.
///
/// # Errors
/// What to write instead, if that can be said.
pub(super) fn parse(text: &str) -> Result<Duration, Option<String>> {
    let text = text.trim();
    let mut before: Option<usize> = None;
    for unit in units(text) {
        let place = UNITS.iter().position(|names| names.contains(&unit));
        let Some(place) = place else {
            return Err(advice(unit));
        };
        if before.is_some_and(|before| place <= before) {
            return Err(Some(
                "several durations would be added up; write one, from the longest unit to the shortest (1d 12h), and \
                 put commas between the durations of a list (14d, 7d)"
                    .to_owned(),
            ));
        }
        before = Some(place);
    }
    humantime::parse_duration(text).map_err(|_| None)
}

/// The words of a duration: what stands between its numbers.
fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_ascii_digit() || c.is_whitespace() || c == '.')
        .filter(|word| !word.is_empty())
}

fn advice(unit: &str) -> Option<String> {
    match unit {
        "M" => Some("`M` may be a minute or a month; write 1m for a minute, 30d for a month".to_owned()),
        "month" | "months" => Some("a month has no fixed length; write days, such as 30d".to_owned()),
        "y" | "yr" | "yrs" | "year" | "years" => {
            Some("a year has no fixed length; write days, such as 365d".to_owned())
        }
        // A minus sign, a word: no unit at all.
        other if other.chars().all(char::is_alphabetic) => {
            Some("the units are w, d, h, m, s, ms, us and ns".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
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
    fn what_could_mean_two_things_is_refused() {
        for (text, words) in [
            ("1M", "1m for a minute"),
            ("1month", "write days"),
            ("2 years", "write days"),
            ("1y", "write days"),
            ("14d 7d", "commas"),
            ("7d 14d", "commas"),
            ("1h 2d", "longest unit"),
            ("1d 24h 1h", "commas"),
            ("30m 1h", "longest unit"),
            ("5 fortnights", "the units are"),
            ("1D", "the units are"),
        ] {
            let advice = parse(text).expect_err(text).unwrap_or_default();
            assert!(advice.contains(words), "{text}: {advice}");
        }
        for text in ["", "60", "-1d", "1d,,2d", "d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
