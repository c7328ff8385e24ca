//! Splits the URL of a RabbitMQ cluster, which lists several hosts, into one URL per host.

/// One URL per host: `amqp://u:p@a:5672,b/v` becomes `amqp://u:p@a:5672/v` and `amqp://u:p@b/v`. None: the list of hosts
/// is malformed.
#[must_use]
pub fn each_host(url: &str) -> Option<Vec<String>> {
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some(vec![url.to_owned()]);
    };
    // A second URL instead of a second host.
    if rest.contains("://") {
        return None;
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains('@') && user.contains(',') => return None,
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    if !hosts.contains(',') {
        return Some(vec![url.to_owned()]);
    }
    hosts
        .split(',')
        .map(str::trim)
        .map(|host| (!host.is_empty()).then(|| format!("{scheme}://{user}{host}{tail}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_gets_the_user_the_vhost_and_the_query() {
        for (url, expected) in [
            ("amqp://h", Some(&["amqp://h"][..])),
            (
                "amqp://u:p@a:5672,b,[::1]:5673/v?heartbeat=7",
                Some(&[
                    "amqp://u:p@a:5672/v?heartbeat=7",
                    "amqp://u:p@b/v?heartbeat=7",
                    "amqp://u:p@[::1]:5673/v?heartbeat=7",
                ]),
            ),
            ("amqps://a, b", Some(&["amqps://a", "amqps://b"])),
            // A comma in the password does not separate hosts.
            ("amqp://u:p,q@a/v", Some(&["amqp://u:p,q@a/v"])),
            (
                "amqp://u:p,q@a,b/v",
                Some(&["amqp://u:p,q@a/v", "amqp://u:p,q@b/v"]),
            ),
            ("amqp://a,,b", None),
            ("amqp://u:p@a,u:p@b/v", None),
            ("amqp://u:p@a/v,amqp://u:p@b/v", None),
            ("amqp://a;amqp://b", None),
        ] {
            let hosts = each_host(url);
            let hosts = hosts
                .as_ref()
                .map(|hosts| hosts.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(hosts.as_deref(), expected, "{url}");
        }
    }
}
