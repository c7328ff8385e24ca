//! Environment variables that Kubernetes and Docker set for neighbouring services. They begin with the service's name,
//! so for a service or release called `tenure` they look like settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Whether name and value both look like a service link: `TENURE_HTTP_PORT=8080` is a misspelt setting,
/// `TENURE_HTTP_PORT=tcp://10.0.0.7:8080` is a link.
pub(super) fn is_service_link(name: &str, value: &str, environment: &BTreeMap<String, String>) -> bool {
    is_link_itself(name, value) || is_of_linked_container(name, environment)
}

fn is_link_itself(name: &str, value: &str) -> bool {
    if let Some((service, port_name)) = name.split_once("_SERVICE_PORT") {
        let is_named = port_name.is_empty() || port_name.len() > 1 && port_name.starts_with('_');
        if is_service(service) && is_named && is_port(value) {
            return true;
        }
    }
    if let Some(service) = name.strip_suffix("_SERVICE_HOST") {
        return is_service(service) && is_host(value);
    }
    if name.strip_suffix("_PORT").is_some_and(is_service) && is_endpoint(value) {
        return true;
    }
    is_container_name(name, value) || is_port_link(name, value)
}

/// `TENURE_DB_ENV_POSTGRES_PASSWORD`: Docker copies the environment of a linked container. Such a variable is a link only next
/// to the container's `_NAME` or `_PORT`.
fn is_of_linked_container(name: &str, environment: &BTreeMap<String, String>) -> bool {
    name.match_indices("_ENV_").any(|(at, _)| {
        let container = &name[..at];
        ["_NAME", "_PORT"].iter().any(|link| {
            let sibling = format!("{container}{link}");
            environment
                .get_key_value(&sibling)
                .is_some_and(|(name, value)| is_link_itself(name, value))
        })
    })
}

/// Whether a prefix may be the name of a service, which may contain two hyphens (`TENURE__DB`) but does not end with one. So
/// `TENURE_HTTP__PORT` is a misspelt setting.
fn is_service(prefix: &str) -> bool {
    !prefix.ends_with('_')
}

/// `…_PORT_5432_TCP`, optionally followed by `_PROTO`, `_PORT` or `_ADDR`. For a range of ports, Docker adds `_START` and `_END`.
fn is_port_link(name: &str, value: &str) -> bool {
    // From the right, because a service may be called `tenure-port`.
    let name = ["_PORT_START", "_PORT_END"]
        .iter()
        .find_map(|end| name.strip_suffix(*end).map(|rest| format!("{rest}_PORT")))
        .unwrap_or_else(|| name.to_owned());
    let name = ["_START", "_END"]
        .iter()
        .find_map(|end| name.strip_suffix(*end))
        .unwrap_or(&name);
    let Some((service, rest)) = name.rsplit_once("_PORT_") else {
        return false;
    };
    let mut words = rest.split('_');
    let (Some(port), Some(protocol)) = (words.next(), words.next()) else {
        return false;
    };
    let is_protocol = PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol));
    if !is_service(service) || !is_port(port) || !is_protocol {
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
fn is_container_name(name: &str, value: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let parts = value
        .strip_prefix('/')
        .map_or_else(Vec::new, |path| path.split('/').collect());
    name.strip_suffix("_NAME").is_some_and(is_service) && parts.len() == 2 && parts.into_iter().all(is_part)
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

/// Whether text is an IP address. A link-local one may name its interface: `fe80::1%eth0`.
fn is_host(value: &str) -> bool {
    match value.split_once('%') {
        Some((address, zone)) => !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok(),
        None => value.parse::<IpAddr>().is_ok(),
    }
}

fn is_port(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_link_itself;

    #[test]
    fn service_links_are_recognized_by_name_and_value() {
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
            ("TENURE__DB_SERVICE_HOST", "10.0.0.1"),
            ("TENURE__DB_PORT_5432_TCP", "tcp://10.0.0.1:5432"),
            ("TENURE_PORT_8080_TCP_START", "tcp://1.2.3.4:8080"),
            ("TENURE_PORT_8080_TCP_END", "tcp://1.2.3.4:8090"),
            ("TENURE_PORT_8080_TCP_PORT_START", "8080"),
            ("TENURE_PORT_8080_TCP_PORT_END", "8090"),
            ("TENURE_PORT_8080_TCP_ADDR", "fe80::1%eth0"),
            ("TENURE_PORT_8080_TCP", "tcp://[fe80::1%eth0]:8080"),
        ] {
            assert!(is_link_itself(name, value), "{name}={value}");
        }
    }

    #[test]
    fn similar_variables_are_not_service_links() {
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
            ("TENURE_HTTP__PORT", "tcp://10.0.0.9:8080x"),
            ("TENURE_PORT_8080_TCP_START", "8080"),
            ("TENURE_PORT_8080_TCP_PORT_END", "tcp://1.2.3.4:8080"),
            ("TENURE_START", "tcp://1.2.3.4:8080"),
            ("TENURE_PORT_8080_TCP_ADDR", "1.2.3.4%eth0"),
            ("TENURE_DB_ENV_POSTGRES_PASSWORD", "x"),
        ] {
            assert!(!is_link_itself(name, value), "{name}={value}");
        }
    }
}
