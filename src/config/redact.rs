//! Redaction of passwords and tokens in settings that are printed.

use config::{Value, ValueKind};
use serde_json::Value as Json;

/// Replaces a secret wherever settings are printed.
pub(super) const HIDDEN: &str = "***";

/// URL parameters whose values are not secret.
const HARMLESS: [&str; 17] = [
    "mode",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "statement-cache-capacity",
    "target_session_attrs",
    "application_name",
    "heartbeat",
    "connection_timeout",
    "frame_max",
    "channel_max",
    "auth_mechanism",
];

/// The value of a setting as JSON, with secrets hidden.
pub(super) fn value(key: &str, kind: &ValueKind) -> Json {
    let secret = key.ends_with("token") || key.ends_with("password");
    match kind {
        ValueKind::String(text) if secret && !text.is_empty() => HIDDEN.into(),
        ValueKind::String(text) if key.ends_with("url") => url(text).into(),
        ValueKind::String(text) => text.as_str().into(),
        _ if secret => HIDDEN.into(),
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

/// A URL without its password and without the values of parameters that may be secret. Hides too much rather than too
/// little, because errors quote URLs that do not parse.
pub(super) fn url(url: &str) -> String {
    if is_plain_file(url) {
        return url.to_owned();
    }
    // A `?` or `#` before the host belongs to a password that should have been percent-encoded.
    let after_host = url.rfind('@').map_or(0, |at| at + 1);
    let end = url[after_host..]
        .find(['?', '#'])
        .map_or(url.len(), |mark| after_host + mark);
    let (main, rest) = url.split_at(end);
    let mut shown = match (main.find("://"), main.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            let (before, user) = (&main[..scheme + 3], &main[scheme + 3..at]);
            format!("{before}{}{}", user_without_password(user), &main[at..])
        }
        (_, Some(_)) => HIDDEN.to_owned(),
        _ => main.to_owned(),
    };
    let (query, fragment) = rest.split_once('#').map_or((rest, None), |(q, f)| (q, Some(f)));
    if let Some(query) = query.strip_prefix('?') {
        let parameters: Vec<_> = query.split('&').map(parameter).collect();
        shown.push('?');
        shown.push_str(&parameters.join("&"));
    }
    if fragment.is_some() {
        shown.push('#');
        shown.push_str(HIDDEN);
    }
    shown
}

/// A SQLite URL with only a path cannot hold a secret, and its path may contain an `@`.
fn is_plain_file(url: &str) -> bool {
    let path = url.strip_prefix("sqlite:");
    path.is_some_and(|path| !path.contains('?') && !has_authority(path))
}

/// Whether a user or host precedes the path, as in the URL of a server.
pub(super) fn has_authority(path: &str) -> bool {
    let first = path.strip_prefix("//").unwrap_or(path).split('/').next();
    first.is_some_and(|first| first.contains('@'))
}

fn user_without_password(user: &str) -> String {
    // These characters belong to a password, or to parameters that contain an `@`.
    let is_name = |text: &str| !text.contains(['/', '?', '#', '&', '=']);
    match user.split_once(':') {
        Some((name, _)) if is_name(name) => format!("{name}:{HIDDEN}"),
        None if is_name(user) => user.to_owned(),
        _ => HIDDEN.to_owned(),
    }
}

fn parameter(parameter: &str) -> String {
    let Some((name, value)) = parameter.split_once('=') else {
        return if parameter.is_empty() {
            String::new()
        } else {
            HIDDEN.to_owned()
        };
    };
    if HARMLESS.contains(&name) && !value.contains('@') {
        return parameter.to_owned();
    }
    let is_name_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let name = if name.len() <= 30 && name.bytes().all(is_name_char) {
        name
    } else {
        HIDDEN
    };
    format!("{name}={HIDDEN}")
}
