//! Settings as they are shown: without secrets, with their origin.

use std::fmt::Write as _;

use config::{Value, ValueKind};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::read::Reader;
use super::{secret, urls};
use crate::escape;

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub key: String,
    /// `***` for a secret; a URL without its password.
    pub value: Json,
    /// The defaults, a file, or an environment variable.
    pub origin: String,
}

pub(super) fn all(from: &Reader) -> Vec<Shown> {
    from.all()
        .iter()
        .map(|(key, given)| Shown {
            key: key.clone(),
            value: value(key, &given.kind),
            origin: given.origin().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// A value, unless it is a secret.
pub(super) fn value(key: &str, kind: &ValueKind) -> Json {
    let secret = key.ends_with("token") || key.ends_with("password");
    match kind {
        ValueKind::String(text) if secret && !text.is_empty() => secret::HIDDEN.into(),
        ValueKind::String(text) if key.ends_with("url") => urls::redact(text).into(),
        ValueKind::String(text) => text.as_str().into(),
        _ if secret => secret::HIDDEN.into(),
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::Array(values) => values
            .iter()
            .map(|inner: &Value| value(key, &inner.kind))
            .collect(),
        other => other.to_string().into(),
    }
}

pub(super) fn nested(shown: &[Shown]) -> Json {
    let mut root = Map::new();
    for setting in shown {
        put(&mut root, &setting.key, setting.value.clone());
    }
    Json::Object(root)
}

fn put(into: &mut Map<String, Json>, key: &str, value: Json) {
    let Some((section, rest)) = key.split_once('.') else {
        into.insert(key.to_owned(), value);
        return;
    };
    let inner = into.entry(section).or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(inner) = inner {
        put(inner, rest, value);
    }
}

pub(super) fn toml(shown: &[Shown]) -> String {
    let mut text = String::new();
    let mut current = "";
    // Keys in order, so those of a section stand together.
    let mut sections: Vec<(&str, &str, &Shown)> = shown
        .iter()
        .filter_map(|setting| {
            let (section, name) = setting.key.rsplit_once('.')?;
            Some((section, name, setting))
        })
        .collect();
    sections.sort_by_key(|(section, name, _)| (*section, *name));
    for (section, name, setting) in sections {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            current = section;
        }
        // A JSON scalar, or an array of them, is TOML as well.
        let value = setting.value.to_string();
        let (value, origin) = (escape::json(&value), escape::visible(&setting.origin));
        let _ = writeln!(text, "{name} = {value} # {origin}");
    }
    text
}
