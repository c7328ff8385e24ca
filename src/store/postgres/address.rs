//! The address of one server or several: `postgres://user:password@a,b:5433/name?target_session_attrs=read-write`, as
//! libpq reads it. sqlx reads URLs of one host, so each host gets its own URL.

use sqlx::postgres::PgConnectOptions;

use crate::store::{Result, StoreError};

/// Accepted values of `target_session_attrs`. Tenure writes, so all of them mean a writable server.
const SESSIONS: [&str; 3] = ["read-write", "primary", "any"];

/// A server that may be writable.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Host and port, for logs and errors.
    pub label: String,
    pub options: PgConnectOptions,
}

/// Parses a URL. Returns its hosts in order.
///
/// # Errors
/// [`StoreError::Url`](crate::store::StoreError::Url).
pub(super) fn hosts(url: &str) -> Result<Vec<Host>> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, address) = address
        .split_once("://")
        .ok_or_else(|| refused("it has no ://"))?;
    let (authority, path) = address
        .split_once('/')
        .map_or((address, None), |(a, p)| (a, Some(p)));
    let (user, hosts) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    let hosts = list(hosts);
    let parameters = parameters(query)?;
    let count = parameters
        .iter()
        .map(|(_, values)| values.len())
        .fold(hosts.len(), usize::max);
    let of = |values: &[String], n: usize| match values {
        [one] => Ok(one.clone()),
        many if many.len() == count => Ok(many[n].clone()),
        _ => Err(refused("the numbers of its hosts, ports and addresses differ")),
    };
    (0..count)
        .map(|n| {
            let mut one = format!("{scheme}://");
            if let Some(user) = user {
                one.push_str(user);
                one.push('@');
            }
            let host = of(&hosts, n)?;
            if count > 1 && hosts.len() > 1 && host.is_empty() {
                return Err(refused("one of its hosts is empty"));
            }
            one.push_str(&host);
            if let Some(path) = path {
                one.push('/');
                one.push_str(path);
            }
            for (place, (name, values)) in parameters.iter().enumerate() {
                one.push(if place == 0 { '?' } else { '&' });
                one.push_str(name);
                one.push('=');
                one.push_str(&of(values, n)?);
            }
            one_host(&one)
        })
        .collect()
}

/// The parameters of a URL, in order. Those of hosts have a list of values, all others have one.
fn parameters(query: &str) -> Result<Vec<(&str, Vec<String>)>> {
    let mut parameters = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "target_session_attrs" if SESSIONS.contains(&value) => {}
            "target_session_attrs" => {
                return Err(refused(
                    "Tenure writes: target_session_attrs must be read-write, primary or any",
                ));
            }
            "host" | "hostaddr" | "port" => parameters.push((name, list(value))),
            _ => parameters.push((name, vec![value.to_owned()])),
        }
    }
    Ok(parameters)
}

fn one_host(url: &str) -> Result<Host> {
    let options: PgConnectOptions = url
        .parse()
        .map_err(|error: sqlx::Error| refused(&error.to_string()))?;
    // A URL has an IPv6 address in brackets, which are not part of a name in a certificate.
    let bare = options.get_host().trim_matches(['[', ']']).to_owned();
    let label = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None if bare.contains(':') => format!("[{bare}]:{}", options.get_port()),
        None => format!("{bare}:{}", options.get_port()),
    };
    // No float is read as text here, and poolers may reject the parameter.
    let options = options.host(&bare).extra_float_digits(None);
    Ok(Host { label, options })
}

fn list(values: &str) -> Vec<String> {
    values
        .replace("%2C", ",")
        .replace("%2c", ",")
        .split(',')
        .map(str::to_owned)
        .collect()
}

fn refused(why: &str) -> StoreError {
    StoreError::Url(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::hosts;

    fn labels(url: &str) -> Vec<String> {
        hosts(url)
            .expect(url)
            .into_iter()
            .map(|host| host.label)
            .collect()
    }

    #[test]
    fn a_url_names_one_host_or_several() {
        for (url, expected) in [
            ("postgres://u:p@a/n", &["a:5432"][..]),
            ("postgres://u:p@a:5433/n?sslmode=require", &["a:5433"]),
            (
                "postgres://u:p@a,b:5433/n?target_session_attrs=read-write",
                &["a:5432", "b:5433"],
            ),
            ("postgresql://a:1,b:2,c:3", &["a:1", "b:2", "c:3"]),
            ("postgres://u@[::1]:5433/n", &["[::1]:5433"]),
            ("postgres://u@[::1],[fe80::2]:7/n", &["[::1]:5432", "[fe80::2]:7"]),
            ("postgres:///n?host=a,b&port=5433", &["a:5433", "b:5433"]),
            ("postgres:///n?host=a,b&port=1,2&user=u", &["a:1", "b:2"]),
            ("postgres:///n?host=/run/postgresql", &["/run/postgresql"]),
            (
                "postgres://h/n?hostaddr=::1,127.0.0.1",
                &["[::1]:5432", "127.0.0.1:5432"],
            ),
        ] {
            assert_eq!(labels(url), expected, "{url}");
        }
    }

    #[test]
    fn each_host_gets_the_user_and_the_database() {
        for host in hosts("postgres://me:p%40ss@a,b/name?dbname=other").expect("a URL") {
            assert_eq!(host.options.get_username(), "me");
            assert_eq!(host.options.get_database(), Some("other"));
        }
    }

    #[test]
    fn an_ipv6_address_loses_its_brackets() {
        let host = &hosts("postgres://u@[::1]:5433/n").expect("a URL")[0];
        assert_eq!(host.options.get_host(), "::1");
    }

    #[test]
    fn an_invalid_url_is_refused() {
        for url in [
            "postgres://a,,b/n",
            "postgres://a:port,b/n",
            "postgres://a,b/n?port=1,2,3",
            "postgres://a,b/n?target_session_attrs=standby",
            "postgres",
        ] {
            assert!(hosts(url).is_err(), "{url}");
        }
    }
}
