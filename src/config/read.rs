//! Settings one by one, each as the type that it must have.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::TimeDelta;
use config::{Value, ValueKind};

use super::error::SettingsError;
use super::layers::Flat;
use super::shown;

/// Bounds of a duration, and how they read.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    least: Duration,
    most: Duration,
    words: &'static str,
}

const YEAR: Duration = Duration::from_hours(365 * 24);

/// Timers run for at least a microsecond, the smallest step of time there is.
pub(super) const SPAN: Bounds = Bounds {
    least: Duration::from_micros(1),
    most: YEAR.saturating_mul(100),
    words: "a duration such as 60d or 12h, longer than nothing and up to 100 years",
};
pub(super) const GRACE: Bounds = Bounds {
    least: Duration::ZERO,
    words: "a duration such as 0s, 12h or 30d, up to 100 years",
    ..SPAN
};
pub(super) const AGE: Bounds = Bounds {
    words: "\"never\", or a duration such as 90d, up to 100 years",
    ..SPAN
};
/// Clocks of RabbitMQ are read to the second.
pub(super) const DIFFERENCE: Bounds = Bounds {
    least: Duration::from_secs(2),
    most: Duration::from_hours(24),
    words: "a duration such as 10s, 1m or 1h, from 2s to 1d",
};
pub(super) const TIMEOUT: Bounds = Bounds {
    least: Duration::from_millis(1),
    most: Duration::from_hours(24),
    words: "a duration such as 500ms, 30s or 5m, from 1ms to 1d",
};
pub(super) const INTERVAL: Bounds = Bounds {
    least: Duration::from_millis(100),
    most: Duration::from_hours(1),
    words: "a duration such as 500ms, 5s or 1m, from 100ms to 1h",
};

/// Hands settings out by their keys.
pub(super) struct Reader(Flat);

impl Reader {
    pub(super) fn new(settings: Flat) -> Self {
        Self(settings)
    }

    pub(super) fn all(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    fn kind(&self, key: &str) -> &ValueKind {
        self.0.get(key).map_or(&ValueKind::Nil, |value| &value.kind)
    }

    pub(super) fn origin(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::origin).unwrap_or_default()
    }

    /// The error for a value that cannot be.
    pub(super) fn refuse(&self, key: &str, allowed: &str) -> SettingsError {
        SettingsError::Impossible {
            key: key.to_owned(),
            value: crate::domain::id::clip(&shown::value(key, self.kind(key)).to_string()),
            origin: self.origin(key).to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<String, SettingsError> {
        match self.kind(key) {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err(self.refuse(key, "text in quotes")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        match self.kind(key) {
            ValueKind::Boolean(flag) => Ok(*flag),
            // The environment knows nothing but text.
            ValueKind::String(text) if text == "true" => Ok(true),
            ValueKind::String(text) if text == "false" => Ok(false),
            _ => Err(self.refuse(key, "true or false")),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number<N>(&self, key: &str, bounds: RangeInclusive<i64>) -> Result<N, SettingsError>
    where
        N: TryFrom<i64>,
    {
        let number = match self.kind(key) {
            ValueKind::I64(number) => Some(*number),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|number| bounds.contains(number))
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| {
                let (least, most) = bounds.into_inner();
                self.refuse(key, &format!("a whole number from {least} to {most}"))
            })
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, SettingsError> {
        let given = match self.kind(key) {
            ValueKind::String(text) => text.as_str(),
            _ => "",
        };
        choices
            .iter()
            .find(|(name, _)| *name == given)
            .map(|(_, choice)| *choice)
            .ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                self.refuse(key, &names.join(" or "))
            })
    }

    pub(super) fn duration(&self, key: &str, bounds: Bounds) -> Result<Duration, SettingsError> {
        match self.kind(key) {
            ValueKind::String(text) => duration(text, bounds),
            _ => Err(None),
        }
        .map_err(|advice| self.refuse(key, &with_advice(bounds.words.to_owned(), advice)))
    }

    /// A duration in which domain time is counted, cut to the microsecond.
    pub(super) fn span(&self, key: &str, bounds: Bounds) -> Result<TimeDelta, SettingsError> {
        self.duration(key, bounds).map(micros)
    }

    /// A list of texts: an array, or text with commas. None: it is neither.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<&str>> {
        match self.kind(key) {
            ValueKind::String(text) if text.trim().is_empty() => Some(Vec::new()),
            ValueKind::String(text) => Some(text.split(',').map(str::trim).collect()),
            ValueKind::Array(values) => values
                .iter()
                .map(|value| match &value.kind {
                    ValueKind::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// A list of durations: an array, or text with commas.
    pub(super) fn spans(&self, key: &str, bounds: Bounds) -> Result<Vec<TimeDelta>, SettingsError> {
        let is_text = matches!(self.kind(key), ValueKind::String(_));
        let read = |text: &str| {
            // Between commas nobody can tell one duration with a space in it from two without a comma.
            if is_text && has_several_numbers(text) {
                return Err(Some(
                    "put a comma between two durations (14d, 7d), and no space into one (1d12h)".to_owned(),
                ));
            }
            duration(text, bounds).map(micros)
        };
        self.texts(key)
            .ok_or(None)
            .and_then(|texts| texts.into_iter().map(read).collect())
            .map_err(|advice| {
                self.refuse(
                    key,
                    &with_advice(format!("a list, each of it {}", bounds.words), advice),
                )
            })
    }
}

/// What may be written, and what to write instead of what was.
fn with_advice(expected: String, advice: Option<String>) -> String {
    match advice {
        Some(advice) => format!("{expected}; {advice}"),
        None => expected,
    }
}

/// Whether spaces separate what begins with a digit, as in `14d 7h`.
fn has_several_numbers(text: &str) -> bool {
    let starts_with_digit = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    text.split_whitespace().filter(starts_with_digit).count() > 1
}

/// The error is what to write instead, if that can be said.
fn duration(text: &str, bounds: Bounds) -> Result<Duration, Option<String>> {
    super::duration::parse(text).and_then(|duration| {
        if (bounds.least..=bounds.most).contains(&duration) {
            Ok(duration)
        } else {
            Err(None)
        }
    })
}

fn micros(duration: Duration) -> TimeDelta {
    TimeDelta::microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
