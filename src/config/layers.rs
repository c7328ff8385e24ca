//! Merges defaults, file and environment, and rejects unknown keys.
//!
//! The keys of `config/default.toml` are the only ones that exist.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use config::{FileFormat, Format, Value, ValueKind};

use super::error::SettingsError;
use super::{redact, service_links};

/// `config/default.toml`.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

const PREFIX: &str = "TENURE_";

/// Read by the command line.
const FILE: &str = "TENURE_CONFIG";
/// Read by the tests.
const TESTS: &str = "TENURE_TEST_";

/// Well-known variables and the settings that they set. Of several for one setting, the last one counts. An empty one counts as
/// unset, because compose files write `${DATABASE_URL:-}`.
const ALIASES: [(&str, &str); 7] = [
    ("DATABASE_URL", "store.url"),
    ("AMQP_URL", "broker.url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "telemetry.otlp_traces_endpoint",
    ),
    ("OTEL_EXPORTER_OTLP_HEADERS", "telemetry.otlp_headers"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "telemetry.otlp_headers"),
    ("OTEL_SERVICE_NAME", "telemetry.service_name"),
];

/// A setting, and the one that overrides it. A variable of Tenure for the first overrides an alias of the second.
const OVERRIDDEN: (&str, &str) = ("telemetry.otlp_endpoint", "telemetry.otlp_traces_endpoint");

/// The sections whose keys are names that their user chooses. Each is one setting, a table.
const TABLES: [&str; 2] = ["sources", "webhooks.endpoints"];

/// Settings by dotted key; each value has its origin.
pub(super) type Flat = BTreeMap<String, Value>;

/// Every key, sorted.
#[must_use]
pub fn keys() -> Vec<String> {
    defaults().into_keys().collect()
}

/// The environment, for [`super::Settings::load`]. Invalid Unicode becomes replacement characters, which no setting
/// accepts; `std::env::vars` would panic even for a variable of another program.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

/// The merged settings, and the environment variables that were ignored as service links.
pub(super) fn merge(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<(Flat, Vec<String>), SettingsError> {
    let mut settings = defaults();
    if let Some(path) = file {
        let given = from_file(path)?;
        check_known(&given, &settings)?;
        settings.extend(given);
    }
    let (given, links) = from_env(env, &settings)?;
    settings.extend(given);
    Ok((settings, links))
}

fn defaults() -> Flat {
    parse(DEFAULTS, "the defaults").expect("config/default.toml is TOML: a test reads it")
}

fn from_file(path: &Path) -> Result<Flat, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, &format!("the file {}", path.display())).map_err(|reason| SettingsError::Syntax {
        path: path.to_owned(),
        reason: redact::quoted(&without_source(&reason.to_string())),
    })
}

/// Position and reason, without the line itself, which may contain a password.
fn without_source(reason: &str) -> String {
    let lines: Vec<&str> = reason.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.as_slice() {
        [first, .., last] => format!("{first}: {last}"),
        _ => reason.to_owned(),
    }
}

fn parse(text: &str, origin: &str) -> Result<Flat, impl Display + std::fmt::Debug> {
    let origin = origin.to_owned();
    FileFormat::Toml.parse(Some(&origin), text).map(|tables| {
        let mut flat = Flat::new();
        for (key, value) in tables {
            flatten(key, value, &mut flat);
        }
        flat
    })
}

fn flatten(key: String, value: Value, into: &mut Flat) {
    match value.kind {
        ValueKind::Table(table) if !TABLES.contains(&key.as_str()) => {
            for (inner, value) in table {
                flatten(format!("{key}.{inner}"), value, into);
            }
        }
        _ => {
            into.insert(key, value);
        }
    }
}

fn from_env(
    env: impl Iterator<Item = (String, String)>,
    known: &Flat,
) -> Result<(Flat, Vec<String>), SettingsError> {
    let mut links = Vec::new();
    let mut ours = Flat::new();
    let environment: BTreeMap<String, String> = env.collect();
    for (name, text) in &environment {
        let origin = origin_of(name);
        let value = Value::new(Some(&origin), text.as_str());
        if let Some(rest) = name.strip_prefix(PREFIX)
            && name != FILE
            && !name.starts_with(TESTS)
        {
            let dotted = rest.to_lowercase().replace("__", ".");
            let Some(key) = known.keys().find(|key| same_but_hyphens(key, &dotted)) else {
                if service_links::is_service_link(name, text, &environment) {
                    links.push(name.clone());
                    continue;
                }
                return Err(unknown(&dotted, &origin, known, variable));
            };
            if let Some(first) = ours.insert(key.clone(), value) {
                return Err(SettingsError::Twice {
                    key: key.clone(),
                    first: first.origin().unwrap_or_default().to_owned(),
                    second: origin,
                });
            }
        }
    }
    // TENURE_STORE__URL overrides DATABASE_URL.
    let mut given = from_aliases(&environment);
    let (overridden, overriding) = OVERRIDDEN;
    if ours.contains_key(overridden) {
        given.remove(overriding);
    }
    given.extend(ours);
    Ok((given, links))
}

fn from_aliases(environment: &BTreeMap<String, String>) -> Flat {
    let given = ALIASES.iter().filter_map(|(name, key)| {
        let text = environment.get(*name).filter(|text| !text.is_empty())?;
        let value = Value::new(Some(&origin_of(name)), text.as_str());
        Some(((*key).to_owned(), value))
    });
    given.collect()
}

fn origin_of(variable: &str) -> String {
    format!("the environment variable {}", redact::key(variable))
}

fn check_known(given: &Flat, known: &Flat) -> Result<(), SettingsError> {
    match given.iter().find(|(key, _)| !known.contains_key(*key)) {
        Some((key, value)) => Err(unknown(
            key,
            value.origin().unwrap_or_default(),
            known,
            str::to_owned,
        )),
        None => Ok(()),
    }
}

/// `written` formats a key as in the layer of the unknown one.
fn unknown(key: &str, origin: &str, known: &Flat, written: fn(&str) -> String) -> SettingsError {
    let letters = |key: &str| key.replace(['.', '_', '-'], "");
    let same_letters = known
        .keys()
        .find(|known| letters(known) == letters(&key.to_lowercase()));
    let within = |section: &str| -> Vec<String> {
        known
            .keys()
            .filter(|known| {
                known
                    .strip_prefix(section)
                    .is_some_and(|rest| rest.starts_with('.'))
            })
            .map(|known| written(known))
            .collect()
    };
    let section = key.split('.').next().unwrap_or_default();
    let neighbours = within(section);
    let hint = if let Some(meant) = same_letters {
        format!("did you mean `{}`?", written(meant))
    } else if known.keys().any(|known| key.starts_with(&format!("{known}."))) {
        "it is below a setting that has a value, and no keys of its own".to_owned()
    } else if neighbours.is_empty() {
        let mut sections: Vec<_> = known.keys().filter_map(|key| key.split('.').next()).collect();
        sections.dedup();
        format!("the sections are {}", sections.join(", "))
    } else {
        format!("this section has {}", neighbours.join(", "))
    };
    SettingsError::UnknownKey {
        key: crate::domain::id::clip(&redact::key(key)),
        origin: origin.to_owned(),
        hint,
    }
}

/// The environment variable of a key. Many shells cannot set names with hyphens.
fn variable(key: &str) -> String {
    format!(
        "{PREFIX}{}",
        key.to_uppercase().replace('-', "_").replace('.', "__")
    )
}

fn same_but_hyphens(a: &str, b: &str) -> bool {
    a.replace('-', "_") == b.replace('-', "_")
}
