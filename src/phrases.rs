//! Numbers, lengths of time and names in sentences for people: for the console and the terminal.

use chrono::{DateTime, TimeDelta, Utc};

/// A name from the program's vocabulary as words: `invitation_rejected` is "invitation rejected".
#[must_use]
pub fn words(name: &str) -> String {
    name.replace(['_', '-'], " ")
}

/// The same with a capital letter, for a title.
#[must_use]
pub fn title(name: &str) -> String {
    sentence(&words(name))
}

/// Text that begins with a capital letter.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
        .unwrap_or_default()
}

/// Up to this distance, a moment is now.
const A_MOMENT: TimeDelta = TimeDelta::seconds(45);

/// The distance between two moments: "3 min ago", "in 4 days".
#[must_use]
pub fn distance(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let ahead = at > now;
    let span = if ahead { at - now } else { now - at };
    if span < A_MOMENT {
        return if ahead {
            "in a moment".into()
        } else {
            "just now".into()
        };
    }
    let text = duration(span);
    if ahead {
        format!("in {text}")
    } else {
        format!("{text} ago")
    }
}

/// How long ago something happened. It may have happened since `now` was read, or a clock may be a little ahead: that is "just now".
#[must_use]
pub fn ago(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let is_just_ahead = at > now && at - now < A_MOMENT;
    distance(now, if is_just_ahead { now } else { at })
}

/// A length of time, rounded: `42 s`, `5 min`, `3 h`, `12 days`. A negative one, as between two clocks, is `0 s`.
#[must_use]
pub fn duration(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (number, unit) = match seconds {
        ..90 => (seconds, "s"),
        90..5_400 => ((seconds + 30) / 60, "min"),
        5_400..172_800 => ((seconds + 1_800) / 3_600, "h"),
        _ => ((seconds + 43_200) / 86_400, "days"),
    };
    format!("{number} {unit}")
}

/// A number with thin spaces between groups of three digits.
#[must_use]
pub fn number(number: impl TryInto<i64>) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if number < 0 { format!("−{out}") } else { out }
}

/// A number and its noun: `1 client`, `2 clients`.
#[must_use]
pub fn counted(count: impl TryInto<i64>, noun: &str) -> String {
    counted_as(count, noun, &format!("{noun}s"))
}

/// A number and its noun, whose plural is not formed with an s alone: `2 entries`.
#[must_use]
pub fn counted_as(count: impl TryInto<i64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{}\u{a0}{}", number(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (-1_234_567, "−1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_distance_has_one_unit() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-03-01T12:00:00Z", "just now"),
            ("2026-03-01T11:59:00Z", "60 s ago"),
            ("2026-03-01T12:30:00Z", "in 30 min"),
            ("2026-02-28T12:00:00Z", "24 h ago"),
            ("2026-03-31T12:00:00Z", "in 30 days"),
        ] {
            assert_eq!(distance(now, at.parse().unwrap()), text, "{at}");
        }
    }

    #[test]
    fn a_duration_is_never_negative() {
        for (seconds, text) in [(-1, "0 s"), (0, "0 s"), (42, "42 s"), (300, "5 min")] {
            assert_eq!(duration(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn what_happened_is_never_ahead_by_a_moment() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-03-01T12:00:01Z", "just now"),
            ("2026-03-01T11:59:59Z", "just now"),
            ("2026-03-01T11:57:00Z", "3 min ago"),
            // A clock is wrong.
            ("2026-03-01T12:30:00Z", "in 30 min"),
        ] {
            assert_eq!(ago(now, at.parse().unwrap()), text, "{at}");
        }
    }
}
