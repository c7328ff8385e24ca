//! The setting `http.hosts`: host names and addresses that requests may name.

use std::net::{IpAddr, Ipv6Addr};

use super::error::SettingsError;
use super::reader::Reader;

/// A list of host names and IP addresses, in lower case, without ports.
pub(super) fn read(from: &Reader, key: &str) -> Result<Vec<String>, SettingsError> {
    from.texts(key)
        .and_then(|hosts| hosts.iter().map(|text| host(text)).collect())
        .ok_or_else(|| {
            from.invalid(
                key,
                "a list of host names and IP addresses without scheme or port, such as [\"tenure.example.com\", \"10.0.0.7\"]",
            )
        })
}

fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(address) = bare {
        return address
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| address.to_string());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let fits = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.split('.').all(fits).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_without_a_port() {
        for (text, expected) in [
            ("Tenure.Example.com", Some("tenure.example.com")),
            ("tenure.example.com.", Some("tenure.example.com")),
            ("10.0.0.7", Some("10.0.0.7")),
            ("[2001:DB8::7]", Some("2001:db8::7")),
            ("2001:db8:0::7", Some("2001:db8::7")),
            ("tenure", Some("tenure")),
            ("worker_1", Some("worker_1")),
            ("", None),
            ("*", None),
            ("tenure:8080", None),
            ("https://tenure", None),
            ("tenure/", None),
            ("a..b", None),
            ("bücher.example", None),
        ] {
            assert_eq!(host(text).as_deref(), expected, "{text}");
        }
    }
}
