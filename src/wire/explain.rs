//! Says in words, naming the field, why a JSON object was not what was expected. Only for what failed: it
//! may be slow.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Longest explanation, in characters: serde quotes what it found in full.
const MAX_CHARS: usize = 300;

/// Why reading `json`, an object, ended in `error`.
pub(super) fn explain(json: &str, error: &serde_json::Error) -> String {
    let full = error.to_string();
    // serde also says so of JSON that it cannot make into what it looks for: a list where one of some words is to be,
    // a number that no type holds.
    if matches!(error.classify(), Category::Syntax | Category::Eof)
        && serde_json::from_str::<IgnoredAny>(json).is_err()
    {
        return format!("is not JSON: {full}");
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

/// What serde calls the types of our fields, in an operator's words.
fn people_say(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other => other,
    }
}

/// The member of the object that was being read when the error came up.
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
        // An array or an object that is not wanted is not even begun: the error stands where it begins.
        .filter(|(value_at, _)| *value_at <= error_at)
        .max()
        .map(|(_, name)| name)
}
