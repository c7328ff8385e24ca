//! Reads single settings as typed values within bounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use config::{FileFormat, Format as _, Value, ValueKind};

use super::cron::{CronError, CronLine};
use super::duration::{self, DurationError};
use super::error::SettingsError;
use super::layers::Flat;
use super::redact;

/// The text of a duration that never ends.
pub(super) const NEVER: &str = "never";

/// Bounds of a duration, and their description in errors.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    least: Duration,
    most: Duration,
    expected: &'static str,
}

const YEAR: Duration = Duration::from_hours(365 * 24);

/// Of a timer: at least a microsecond, the resolution of stored times.
pub(super) const SPAN: Bounds = Bounds {
    least: Duration::from_micros(1),
    most: YEAR.saturating_mul(100),
    expected: "a duration such as 60d or 12h, more than 0 and at most 100 years",
};
pub(super) const GRACE: Bounds = Bounds {
    least: Duration::ZERO,
    expected: "a duration such as 0s, 12h or 30d, at most 100 years",
    ..SPAN
};
const AGE: Bounds = Bounds {
    expected: "\"never\", or a duration such as 90d, at most 100 years",
    ..SPAN
};
pub(super) const LOG_AGE: Bounds = Bounds {
    least: Duration::from_mins(1),
    expected: "\"off\", or a duration such as 90d, from 1m to 100 years",
    ..SPAN
};
/// RabbitMQ reports its clock in whole seconds.
pub(super) const DIFFERENCE: Bounds = Bounds {
    least: Duration::from_secs(2),
    most: Duration::from_hours(24),
    expected: "a duration such as 10s, 1m or 1h, from 2s to 1d",
};
/// Of a source: what is heard from it is recorded to within ten seconds.
pub(super) const SILENCE: Bounds = Bounds {
    least: Duration::from_mins(1),
    expected: "a duration such as 10m, 6h or 2d, from 1m to 100 years",
    ..SPAN
};
/// Of an endpoint that fails.
pub(super) const DISABLE_AFTER: Bounds = Bounds {
    least: Duration::from_secs(1),
    expected: "a duration such as 12h, 3d or 30d, from 1s to 100 years",
    ..SPAN
};
/// Of a browser that is signed in.
pub(super) const SESSION: Bounds = Bounds {
    least: Duration::from_mins(1),
    most: Duration::from_hours(30 * 24),
    expected: "a duration such as 30m, 12h or 7d, from 1m to 30d",
};
pub(super) const TIMEOUT: Bounds = Bounds {
    least: Duration::from_millis(1),
    most: Duration::from_hours(24),
    expected: "a duration such as 500ms, 30s or 5m, from 1ms to 1d",
};
pub(super) const INTERVAL: Bounds = Bounds {
    least: Duration::from_millis(100),
    most: Duration::from_hours(1),
    expected: "a duration such as 500ms, 5s or 1m, from 100ms to 1h",
};

/// Tables by name, each with its fields.
pub(super) type NamedTables = Vec<(String, Vec<(String, Value)>)>;

/// The merged settings, read by key.
pub(super) struct Reader(Flat);

impl Reader {
    pub(super) fn new(settings: Flat) -> Self {
        Self(settings)
    }

    fn kind(&self, key: &str) -> &ValueKind {
        self.0.get(key).map_or(&ValueKind::Nil, |value| &value.kind)
    }

    pub(super) fn origin(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::origin).unwrap_or_default()
    }

    /// The error for an invalid value.
    pub(super) fn invalid(&self, key: &str, expected: &str) -> SettingsError {
        SettingsError::Invalid {
            key: key.to_owned(),
            value: crate::domain::id::clip(&redact::value(key, self.kind(key)).to_string()),
            origin: self.origin(key).to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// A cron line.
    pub(super) fn cron(&self, key: &str) -> Result<CronLine, SettingsError> {
        let parsed = self.text(key)?.parse();
        parsed.map_err(|error: CronError| {
            let expected = match error.source() {
                Some(reason) => format!("{error} ({reason})"),
                None => error.to_string(),
            };
            self.invalid(key, &expected)
        })
    }

    pub(super) fn text(&self, key: &str) -> Result<String, SettingsError> {
        match self.kind(key) {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err(self.invalid(key, "a string")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        match self.kind(key) {
            ValueKind::Boolean(flag) => Ok(*flag),
            // Environment variables are always text.
            ValueKind::String(text) if text == "true" => Ok(true),
            ValueKind::String(text) if text == "false" => Ok(false),
            _ => Err(self.invalid(key, "true or false")),
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
                self.invalid(key, &format!("a whole number from {least} to {most}"))
            })
    }

    /// A fraction: a number from 0 to 1.
    pub(super) fn ratio(&self, key: &str) -> Result<f64, SettingsError> {
        let number = match self.kind(key) {
            ValueKind::Float(number) => Some(*number),
            // Whole numbers that are no fractions are out of bounds anyway.
            ValueKind::I64(0) => Some(0.0),
            ValueKind::I64(1) => Some(1.0),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (0.0..=1.0).contains(number))
            .ok_or_else(|| self.invalid(key, "a number from 0 to 1"))
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
                self.invalid(key, &names.join(" or "))
            })
    }

    pub(super) fn duration(&self, key: &str, bounds: Bounds) -> Result<Duration, SettingsError> {
        match self.kind(key) {
            ValueKind::String(text) => duration(text, bounds),
            _ => Err(DurationError::Malformed),
        }
        .map_err(|error| self.invalid(key, &with_advice(bounds.expected.to_owned(), error)))
    }

    /// A duration in microseconds, the resolution of stored times.
    pub(super) fn span(&self, key: &str, bounds: Bounds) -> Result<TimeDelta, SettingsError> {
        self.duration(key, bounds).map(micros)
    }

    /// A duration that may be infinite. None: `never`, or an empty text.
    pub(super) fn age(&self, key: &str) -> Result<Option<TimeDelta>, SettingsError> {
        match self.text(key)?.trim() {
            "" | NEVER => Ok(None),
            _ => self.span(key, AGE).map(Some),
        }
    }

    /// A list of strings: an array, or text separated by commas. None: neither of them.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        match self.kind(key) {
            ValueKind::String(text) if text.trim().is_empty() => Some(Vec::new()),
            ValueKind::String(text) => Some(match array(text) {
                Some(texts) => texts.into_iter().map(Cow::Owned).collect(),
                None => text.split(',').map(|part| Cow::Borrowed(part.trim())).collect(),
            }),
            ValueKind::Array(values) => values
                .iter()
                .map(|value| match &value.kind {
                    ValueKind::String(text) => Some(Cow::Borrowed(text.as_str())),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// A file that can be read. None: an empty text.
    pub(super) fn file(&self, key: &str) -> Result<Option<PathBuf>, SettingsError> {
        match self.text(key)?.as_str() {
            "" => Ok(None),
            path => match std::fs::File::open(path) {
                Ok(_) => Ok(Some(PathBuf::from(path))),
                Err(error) => Err(self.invalid(key, &format!("the path of a readable file ({error})"))),
            },
        }
    }

    /// Tables by names that their user chooses, or such tables as text in the syntax of the settings file. None: it is anything else.
    pub(super) fn tables_by_name(&self, key: &str) -> Option<NamedTables> {
        named_tables(self.kind(key))
    }

    /// A list of tables: an array, or the same in the syntax of the settings file as text. None: neither of them.
    pub(super) fn tables(&self, key: &str) -> Option<Vec<config::Map<String, Value>>> {
        match self.kind(key) {
            ValueKind::Array(values) => tables(values.clone()),
            ValueKind::String(text) if text.trim().is_empty() => Some(Vec::new()),
            ValueKind::String(text) => {
                let mut parsed = FileFormat::Toml.parse(None, &format!("list = {text}")).ok()?;
                match parsed.remove("list")?.kind {
                    ValueKind::Array(values) => tables(values),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Durations by names that their user chooses: a table, or text such as `/a=6h, /b=1d`.
    pub(super) fn spans_by_name(
        &self,
        key: &str,
        bounds: Bounds,
    ) -> Result<BTreeMap<String, TimeDelta>, SettingsError> {
        let expected = || format!("names, each with {}", bounds.expected);
        let texts = named_texts(self.kind(key)).ok_or_else(|| self.invalid(key, &expected()))?;
        let read = |(name, text): (String, String)| match duration(&text, bounds) {
            Ok(span) => Ok((name, micros(span))),
            Err(error) => Err(self.invalid(key, &with_advice(expected(), error))),
        };
        texts.into_iter().map(read).collect()
    }

    /// A list of durations: an array, or text separated by commas.
    pub(super) fn spans(&self, key: &str, bounds: Bounds) -> Result<Vec<TimeDelta>, SettingsError> {
        let is_text = matches!(self.kind(key), ValueKind::String(_));
        let read = |text: &str| {
            // `14d 12h` may be one duration, or two with the comma missing.
            if is_text && has_several_numbers(text) {
                return Err(DurationError::MissingComma);
            }
            duration(text, bounds).map(micros)
        };
        self.texts(key)
            .ok_or(DurationError::Malformed)
            .and_then(|texts| texts.iter().map(|text| read(text)).collect())
            .map_err(|error| {
                let expected = format!("a list whose items are each {}", bounds.expected);
                self.invalid(key, &with_advice(expected, error))
            })
    }
}

fn tables(values: Vec<Value>) -> Option<Vec<config::Map<String, Value>>> {
    let table = |value: Value| match value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    };
    values.into_iter().map(table).collect()
}

/// A list in the syntax of the settings file, which people copy into environment variables.
fn array(text: &str) -> Option<Vec<String>> {
    let table = format!("list = {text}");
    let mut parsed = FileFormat::Toml.parse(None, &table).ok()?;
    match parsed.remove("list")?.kind {
        ValueKind::Array(values) => values
            .into_iter()
            .map(|value| match value.kind {
                ValueKind::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn named_tables(kind: &ValueKind) -> Option<NamedTables> {
    match kind {
        ValueKind::Table(table) => table
            .iter()
            .map(|(name, value)| match &value.kind {
                ValueKind::Table(fields) => Some((name.clone(), fields.clone().into_iter().collect())),
                _ => None,
            })
            .collect(),
        ValueKind::String(text) if text.trim().is_empty() => Some(Vec::new()),
        ValueKind::String(text) => {
            let mut parsed = FileFormat::Toml.parse(None, &format!("table = {text}")).ok()?;
            match parsed.remove("table")?.kind {
                kind @ ValueKind::Table(_) => named_tables(&kind),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The texts of a table, or of a table that an environment variable has: in the syntax of the settings file, or as
/// `name=text` separated by commas. None: a value is not text, or there are two of a name.
fn named_texts(kind: &ValueKind) -> Option<Vec<(String, String)>> {
    match kind {
        ValueKind::Table(table) => table
            .iter()
            .map(|(name, value)| match &value.kind {
                ValueKind::String(text) => Some((name.clone(), text.clone())),
                _ => None,
            })
            .collect(),
        ValueKind::String(text) if text.trim().is_empty() => Some(Vec::new()),
        ValueKind::String(text) if text.trim_start().starts_with('{') => {
            let mut parsed = FileFormat::Toml.parse(None, &format!("table = {text}")).ok()?;
            match parsed.remove("table")?.kind {
                kind @ ValueKind::Table(_) => named_texts(&kind),
                _ => None,
            }
        }
        ValueKind::String(text) => {
            let mut named = BTreeMap::new();
            for part in text.split(',') {
                // The name may have an equals sign, the duration has none.
                let (name, text) = part.rsplit_once('=')?;
                if named
                    .insert(name.trim().to_owned(), text.trim().to_owned())
                    .is_some()
                {
                    return None;
                }
            }
            Some(named.into_iter().collect())
        }
        _ => None,
    }
}

/// Adds how to correct the value, if that is known.
fn with_advice(expected: String, error: DurationError) -> String {
    match error.advice() {
        Some(advice) => format!("{expected}; {advice}"),
        None => expected,
    }
}

/// Whether spaces separate words that begin with a digit, as in `14d 7h`.
fn has_several_numbers(text: &str) -> bool {
    let starts_with_digit = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    text.split_whitespace().filter(starts_with_digit).count() > 1
}

fn duration(text: &str, bounds: Bounds) -> Result<Duration, DurationError> {
    let duration = duration::parse(text)?;
    if (bounds.least..=bounds.most).contains(&duration) {
        Ok(duration)
    } else {
        Err(DurationError::OutOfRange)
    }
}

fn micros(duration: Duration) -> TimeDelta {
    TimeDelta::microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
