//! Environment variables that Kubernetes and Docker set for neighbouring services. They begin with the service's name,
//! so for a service or release called `tenure` they look like settings.

use std::net::IpAddr;

/// Whether name and value both look like a service link: `TENURE_HTTP_PORT=8080` is a misspelt setting,
/// `TENURE_HTTP_PORT=tcp://10.0.0.7:8080` is a link.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    // Two underscores separate section and key: a misspelt setting.
    if name.contains("__") {
        return false;
    }
    if let Some((_, port_name)) = name.split_once("_SERVICE_PORT") {
        let is_named = port_name.is_empty() || port_name.len() > 1 && port_name.starts_with('_');
        if is_named && is_port(value) {
            return true;
        }
    }
    if name.ends_with("_SERVICE_HOST") {
        return is_host(value);
    }
    if name.ends_with("_PORT") && is_endpoint(value) {
        return true;
    }
    if is_legacy_name(name, value) {
        return true;
    }
    is_port_link(name, value)
}

/// `…_PORT_5432_TCP`, optionally followed by `_PROTO`, `_PORT` or `_ADDR`.
fn is_port_link(name: &str, value: &str) -> bool {
    // From the right, because a service may be called `tenure-port`.
    let Some((_, rest)) = name.rsplit_once("_PORT_") else {
        return false;
    };
    let mut words = rest.split('_');
    let (Some(port), Some(protocol)) = (words.next(), words.next()) else {
        return false;
    };
    if !is_port(port) || !PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
        return false;
    }
    match (words.next(), words.next()) {
        (None, _) => is_endpoint(value),
        (Some("PROTO"), None) => value.eq_ignore_ascii_case(protocol),
        (Some("PORT"), None) => is_port(value),
        (Some("ADDR"), None) => is_host(value),
        _ => false,
    }
}

/// Docker's `--link` names a container: `TENURE_DB_NAME=/worker/tenure_db`.
fn is_legacy_name(name: &str, value: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let parts = value
        .strip_prefix('/')
        .map_or_else(Vec::new, |path| path.split('/').collect());
    name.ends_with("_NAME") && parts.len() == 2 && parts.into_iter().all(is_part)
}

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// `tcp://10.0.0.7:8080`, `udp://[fd00::7]:53`.
fn is_endpoint(value: &str) -> bool {
    let Some((protocol, address)) = value.split_once("://") else {
        return false;
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    PROTOCOLS.contains(&protocol) && is_host(host) && is_port(port)
}

fn is_host(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

fn is_port(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_service_link;

    #[test]
    fn a_link_matches_by_name_and_value() {
        for (name, value) in [
            ("TENURE_SERVICE_HOST", "10.0.0.9"),
            ("TENURE_SERVICE_HOST", "fd00::9"),
            ("TENURE_SERVICE_PORT", "8080"),
            ("TENURE_SERVICE_PORT_HTTP", "8080"),
            ("TENURE_PORT", "tcp://10.0.0.9:8080"),
            ("TENURE_PORT_8080_TCP", "tcp://[fd00::9]:8080"),
            ("TENURE_PORT_8080_TCP_ADDR", "10.0.0.9"),
            ("TENURE_PORT_8080_TCP_PORT", "8080"),
            ("TENURE_PORT_8080_TCP_PROTO", "tcp"),
            ("TENURE_RABBITMQ_HEADLESS_PORT_53_UDP", "udp://10.0.0.9:53"),
            ("TENURE_SERVICE_PORT_SERVICE_HOST", "10.0.0.9"),
            ("TENURE_HOST_PORT_PORT_9_SCTP_PROTO", "sctp"),
            ("TENURE_POSTGRESQL_SERVICE_PORT_TCP_POSTGRESQL", "5432"),
            ("TENURE_DB_NAME", "/worker/tenure_db"),
        ] {
            assert!(is_service_link(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_misspelt_setting_is_not_a_link() {
        for (name, value) in [
            ("TENURE_PORT", "8080"),
            ("TENURE_HTTP_PORT", "8080"),
            ("TENURE_HTTP_PORT", "tcp://example.com:8080"),
            ("TENURE_HTTP_PORT", "tcp://10.0.0.7:80800"),
            ("TENURE_SERVICE_HOST", "tenure.example.com"),
            ("TENURE_SERVICE_PORT", "http"),
            ("TENURE_SERVICE_PORTS", "8080"),
            ("TENURE_SERVICE_PORT_", "8080"),
            ("TENURE_SERVICE_NAME", "tenure"),
            ("TENURE_HTTP__SERVICE_PORT", "8080"),
            ("TENURE_PORT_8080_TCP_NAME", "tcp"),
            ("TENURE_PORT_8080_HTTP", "http://10.0.0.9:8080"),
            ("TENURE_PORT_8080_TCP_PROTO", "udp"),
            ("TENURE_DB_NAME", "tenure"),
            ("TENURE_DB_NAME", "/var/lib/tenure"),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
    }
}
