//! The effective settings as printed by `tenure config`: secrets hidden, origins named.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::layers::Flat;
use super::redact;
use crate::escape;

/// An effective setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub key: String,
    /// Secrets, and passwords in URLs, are `***`.
    pub value: Json,
    /// The defaults, a file, or an environment variable.
    pub origin: String,
}

pub(super) fn all(settings: &Flat) -> Vec<Shown> {
    settings
        .iter()
        .map(|(key, given)| Shown {
            key: key.clone(),
            value: redact::value(key, &given.kind),
            origin: given.origin().unwrap_or_default().to_owned(),
        })
        .collect()
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
    // Sorted by section, so that each section is written once.
    let mut sections: Vec<(&str, String, String, &str)> = Vec::new();
    for setting in shown {
        let origin = setting.origin.as_str();
        match (setting.key.rsplit_once('.'), &setting.value) {
            // The names of a table are its user's.
            (_, Json::Object(table)) => sections.extend(
                table
                    .iter()
                    .map(|(name, value)| (setting.key.as_str(), quoted(name), inline(value), origin)),
            ),
            (Some((section, name)), value) => {
                sections.push((section, name.to_owned(), inline(value), origin));
            }
            (None, _) => {}
        }
    }
    sections
        .sort_by(|(section, name, ..), (other, other_name, ..)| (section, name).cmp(&(other, other_name)));
    for (section, name, value, origin) in sections {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            current = section;
        }
        let (value, origin) = (escape::json(&value), escape::visible(origin));
        let _ = writeln!(text, "{name} = {value} # {origin}");
    }
    text
}

/// A name in the syntax of JSON, which is valid TOML.
fn quoted(name: &str) -> String {
    escape::json(&Json::from(name).to_string()).into_owned()
}

/// A value in one line of TOML. JSON scalars are valid TOML.
fn inline(value: &Json) -> String {
    match value {
        Json::Array(values) => {
            let values: Vec<_> = values.iter().map(inline).collect();
            format!("[{}]", values.join(","))
        }
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{} = {}", quoted(name), inline(value)))
                .collect();
            // The order of the file is not known any more.
            fields.sort_unstable();
            format!("{{ {} }}", fields.join(", "))
        }
        scalar => scalar.to_string(),
    }
}
