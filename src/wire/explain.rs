//! Explains in words, with the field's name, why a JSON object is not as expected. Runs only for failures, so it may be
//! slow.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Maximum length of an explanation in characters: serde quotes the offending value in full.
const MAX_CHARS: usize = 300;

/// How the words begin if the text is not JSON at all.
const NOT_JSON: &str = "is not JSON";

/// Why JSON is not as expected, in words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{words}")]
pub struct JsonError {
    words: String,
    source: Arc<serde_json::Error>,
}

impl PartialEq for JsonError {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Eq for JsonError {}

impl JsonError {
    /// Why decoding `json`, an object, failed with `error`.
    pub(super) fn explained(json: &str, error: serde_json::Error) -> Self {
        Self {
            words: explain(json, &error),
            source: Arc::new(error),
        }
    }
}

impl JsonError {
    /// Whether the text is not JSON at all, which the words then say.
    pub(super) fn is_not_json(&self) -> bool {
        self.words.starts_with(NOT_JSON)
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self {
            words: error.to_string(),
            source: Arc::new(error),
        }
    }
}

fn explain(json: &str, error: &serde_json::Error) -> String {
    let full = error.to_string();
    // serde reports the same category for valid JSON that does not fit the expected type: a list in place of an enum
    // string, a number that no type can represent.
    if matches!(error.classify(), Category::Syntax | Category::Eof)
        && serde_json::from_str::<IgnoredAny>(json).is_err()
    {
        return format!("{NOT_JSON}: {full}");
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = full.strip_suffix(&place).unwrap_or(&full);
    let words = in_words(what, field_at(json, error).as_deref());
    match words.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

fn in_words(what: &str, field: Option<&str>) -> String {
    if let Some(name) = what.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    if let Some(name) = what.strip_prefix("duplicate field ") {
        return format!("{name} is given twice");
    }
    let Some(field) = field else {
        return what.to_owned();
    };
    if what == "expected value" {
        return format!("`{field}` has a value of another kind than what can stand there");
    }
    if field == "paid_until" && !what.starts_with("invalid") {
        return format!("`{field}` is not an RFC 3339 time such as 2026-03-01T12:00:00Z ({what})");
    }
    for serde_says in ["invalid type: ", "invalid value: ", "unknown variant "] {
        if let Some((found, expected)) = what
            .strip_prefix(serde_says)
            .and_then(|rest| rest.rsplit_once(", expected "))
        {
            return format!("`{field}` is {found}; expected {}", people_say(expected));
        }
    }
    format!("`{field}`: {what}")
}

/// serde's names for the types of our fields, in an operator's words.
fn people_say(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other => other,
    }
}

/// The member of the object at which the error occurred.
fn field_at(json: &str, error: &serde_json::Error) -> Option<String> {
    let line_start = match error.line() {
        0 => return None,
        1 => 0,
        line => json.match_indices('\n').nth(line - 2)?.0 + 1,
    };
    let error_at = line_start + error.column();
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    members
        .into_iter()
        .map(|(name, value)| (value.get().as_ptr().addr() - json.as_ptr().addr(), name))
        // serde does not enter an unexpected array or object: the error is at its first character.
        .filter(|(value_at, _)| *value_at <= error_at)
        .max()
        .map(|(_, name)| name)
}
