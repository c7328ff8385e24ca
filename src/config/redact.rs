//! Redaction of passwords and tokens in settings that are printed.
//!
//! People copy errors and the output of `tenure config` into tickets. A value that does not parse may contain its password
//! anywhere, so redaction keeps the parts that are known to be harmless and hides everything else.

use std::net::IpAddr;

use config::{Value, ValueKind};
use serde_json::Value as Json;

/// Replaces a secret wherever settings are printed.
pub(super) const HIDDEN: &str = "***";

/// The list of tokens. An environment variable has all of it as one text, with the secrets.
const TOKENS: &str = "http.tokens";

/// Schemes that are shown even without `//`.
const SCHEMES: [&str; 7] = [
    "postgres",
    "postgresql",
    "sqlite",
    "mysql",
    "amqp",
    "amqps",
    "http",
];

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
    let secret = ["token", "password", "secret", "headers"]
        .iter()
        .any(|end| key.ends_with(end));
    match kind {
        ValueKind::String(text) if secret && !text.is_empty() => HIDDEN.into(),
        // Endpoints and tokens as one text have their secrets in it.
        ValueKind::String(text)
            if (key.ends_with("endpoints") || key == TOKENS) && !text.trim().is_empty() =>
        {
            HIDDEN.into()
        }
        ValueKind::String(given) if key.ends_with("url") => url(given).into(),
        ValueKind::String(given) if key.ends_with("listen") => address(given).into(),
        ValueKind::String(given) => text(given).into(),
        _ if secret => HIDDEN.into(),
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::Array(values) => values
            .iter()
            .map(|inner: &Value| value(key, &inner.kind))
            .collect(),
        ValueKind::Table(table) => {
            let named =
                |(name, inner): (&String, &Value)| (text(name), value(&format!("{key}.{name}"), &inner.kind));
            Json::Object(table.iter().map(named).collect())
        }
        other => other.to_string().into(),
    }
}

/// A URL without its secrets, or only the scheme of one that does not parse.
pub(super) fn url(text: &str) -> String {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let (path, query) = split(rest, '?');
        return match query {
            None if !may_hold_a_secret(path) => text.to_owned(),
            Some(query) if !may_hold_a_secret(path) => format!("sqlite:{path}?{}", parameters(query)),
            _ if path.starts_with("//") => format!("sqlite://{HIDDEN}"),
            _ => format!("sqlite:{HIDDEN}"),
        };
    }
    match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            format!("{scheme}://{}", server(rest).unwrap_or_else(|| HIDDEN.to_owned()))
        }
        None if is_plain(text) => text.to_owned(),
        _ => match text.split_once(':') {
            Some((scheme, _)) if SCHEMES.contains(&scheme) => format!("{scheme}:{HIDDEN}"),
            _ => HIDDEN.to_owned(),
        },
    }
}

/// The value of a setting that expects an IP address and a port.
pub(super) fn address(text: &str) -> String {
    if is_hosts(text) || text.parse::<IpAddr>().is_ok() {
        text.to_owned()
    } else {
        HIDDEN.to_owned()
    }
}

/// The value of any other setting, which may be a URL by mistake.
pub(super) fn text(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let has_user = text.split_once(':').is_some_and(|(_, rest)| rest.contains('@'));
    if lower.contains("://") || has_user || lower.contains("password") || lower.contains("pwd=") {
        url(text)
    } else {
        text.to_owned()
    }
}

/// The name of a setting or an environment variable, which may be a URL by mistake.
pub(super) fn key(name: &str) -> String {
    let is_word = |part: &str| {
        part.len() <= 64
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let is_harmless = |part: &str| !part.contains([':', '@', '=', ';', '/', '?', ' ']);
    let mut shown: Vec<&str> = Vec::new();
    for part in name.split('.') {
        if !is_word(part) && !is_harmless(part) {
            shown.push(HIDDEN);
            break;
        }
        shown.push(part);
    }
    shown.join(".")
}

/// A library's message, with redacted names between backticks.
pub(super) fn quoted(words: &str) -> String {
    let mut is_inside = true;
    let parts = words.split('`').map(|part| {
        is_inside = !is_inside;
        if is_inside { key(part) } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// The rest of a server's URL after the scheme. None: it does not parse.
fn server(rest: &str) -> Option<String> {
    let (main, fragment) = split(rest, '#');
    let (main, query) = split(main, '?');
    let (authority, path) = main.split_at(main.find('/').unwrap_or(main.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    if !is_hosts(hosts) || !is_path(path) {
        return None;
    }
    // An `@` after the host ends a password that contains a `/`, `?` or `#`.
    if [query, fragment]
        .into_iter()
        .flatten()
        .any(|part| part.contains('@'))
        && user.is_none()
    {
        return None;
    }
    let mut shown = String::new();
    if let Some(user) = user {
        match user.split_once(':') {
            Some((name, _)) if is_name(name) => shown.extend([name, ":", HIDDEN, "@"]),
            None if is_name(user) => shown.extend([user, "@"]),
            _ => return None,
        }
    }
    shown.push_str(hosts);
    shown.push_str(path);
    if let Some(query) = query {
        shown.push('?');
        shown.push_str(&parameters(query));
    }
    if fragment.is_some() {
        shown.push('#');
        shown.push_str(HIDDEN);
    }
    Some(shown)
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn is_scheme(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || b"+-.".contains(&byte))
}

/// Whether text is the name of a file, or a host and port.
fn is_plain(text: &str) -> bool {
    !text.contains([':', '@', '=', ';', '?', '#', ',']) && !text.contains(char::is_whitespace)
        || is_hosts(text)
}

/// Whether a user or host precedes the path of a file, or `;password=…` follows it.
pub(super) fn may_hold_a_secret(path: &str) -> bool {
    let first = path.strip_prefix("//").unwrap_or(path).split('/').next();
    first.is_some_and(|first| first.contains('@')) || path.split(';').skip(1).any(|part| part.contains('='))
}

/// Whether text is a list of hosts, each with a port or none. A password is not a port.
fn is_hosts(text: &str) -> bool {
    text.split(',').all(|host| {
        let host = host.trim();
        let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((address, rest)) if is_address(address) => match rest.strip_prefix(':') {
                Some(port) => ("", port),
                None if rest.is_empty() => ("", "0"),
                None => return false,
            },
            _ => host.rsplit_once(':').unwrap_or((host, "0")),
        };
        is_name(name) && port.parse::<u16>().is_ok()
    })
}

/// Whether text is an IP address, with a zone or without.
fn is_address(text: &str) -> bool {
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    bare.parse::<IpAddr>().is_ok()
}

/// Whether text may be the name of a host, user or database. Percent-encoding is common in paths of sockets.
fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-._~%+$!*'()".contains(&byte))
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_name)
}

fn parameters(query: &str) -> String {
    let parameters: Vec<_> = query.split('&').map(parameter).collect();
    parameters.join("&")
}

fn parameter(parameter: &str) -> String {
    let Some((name, value)) = parameter.split_once('=') else {
        return if parameter.is_empty() {
            String::new()
        } else {
            HIDDEN.to_owned()
        };
    };
    let is_shown = is_path(value) || is_hosts(value) || is_address(value);
    if HARMLESS.contains(&name) && is_shown {
        return parameter.to_owned();
    }
    let name = if name.len() <= 30
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        name
    } else {
        HIDDEN
    };
    format!("{name}={HIDDEN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_urls_are_shown_without_their_passwords() {
        for (text, shown) in [
            ("postgres://u:S3CRET@h:5432/db", "postgres://u:***@h:5432/db"),
            ("postgres://u:S3@CRET@h/db", "postgres://u:***@h/db"),
            (
                "postgres://u@h,[::1]:7/db?sslmode=require",
                "postgres://u@h,[::1]:7/db?sslmode=require",
            ),
            (
                "postgres://u@/db?host=/run/pg&password=S3CRET",
                "postgres://u@/db?host=/run/pg&password=***",
            ),
            (
                "postgres://h/db?hostaddr=::1&user=u",
                "postgres://h/db?hostaddr=::1&user=u",
            ),
            ("postgres://h/db?user=u:S3CRET", "postgres://h/db?user=***"),
            ("postgres://h/db?S3CRET", "postgres://h/db?***"),
            ("amqp://u:S3CRET@h/%2Fv#S3CRET", "amqp://u:***@h/%2Fv#***"),
            ("sqlite:///a/b@c.db", "sqlite:///a/b@c.db"),
            ("sqlite://a.db?mode=ro&S3CRET", "sqlite://a.db?mode=ro&***"),
            ("tenure.db", "tenure.db"),
            ("localhost:5672", "localhost:5672"),
            ("", ""),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn of_anything_else_only_the_scheme_is_shown() {
        for (text, shown) in [
            ("postgres://u:S3CRET", "postgres://***"),
            ("postgres://u:S3CRET/h/db", "postgres://***"),
            ("postgres://u:S3/CRET@h/db", "postgres://***"),
            ("postgres://u:S3?CRET@h/db", "postgres://***"),
            ("postgres://u/S3CRET@h/db", "postgres://***"),
            ("postgres://h/u:S3CRET", "postgres://***"),
            ("postgres:u:S3CRET@h", "postgres:***"),
            ("S3CRET://h", "***"),
            ("sqlite:x.db;password=S3CRET", "sqlite:***"),
            ("sqlite://u:S3CRET@/x", "sqlite://***"),
            ("host=h user=u password=S3CRET", "***"),
            ("Server=h;User Id=u;Password=S3CRET;", "***"),
            ("user=u;password=S3CRET;host=h", "***"),
            ("h:5672 u S3CRET", "***"),
            ("u:S3CRET@h", "***"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn keys_and_addresses_are_shown_unless_they_look_like_a_url() {
        assert_eq!(key("access.idel"), "access.idel");
        assert_eq!(key("store.postgres://u:S3CRET@h/db"), "store.***");
        assert_eq!(
            quoted("duplicate key `postgres://u:S3CRET@h` in `store`"),
            "duplicate key `***` in `store`"
        );
        for shown in ["8080", ":8080", "127.0.0.1", "example.com:8080", "[::]:80", "::1"] {
            assert_eq!(address(shown), shown);
        }
        for hidden in ["u:S3CRET@h:80", "u:S3CRET", "http://u:S3CRET@h"] {
            assert_eq!(address(hidden), HIDDEN);
        }
        assert_eq!(text("postgres://u:S3CRET@h"), "postgres://u:***@h");
        assert_eq!(text("0 1 2 * *"), "0 1 2 * *");
    }
}
