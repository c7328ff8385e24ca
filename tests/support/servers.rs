//! Servers of the tests' own: a PostgreSQL and a RabbitMQ that nobody else uses.
//!
//! A mock would agree with whatever we believe about a server. So the tests talk to real ones, started from the
//! installed binaries on free ports of 127.0.0.1, with their data in a temporary folder; whatever else runs on the
//! machine is never touched. `Postgres::shared()` and `RabbitMq::shared()` are started by the first test that asks and
//! serve all tests of the process (so keep the integration tests in one binary, and run them with `cargo test`: under
//! a runner with a process for each test every test would wait for servers of its own). Each test gets a database
//! or a vhost for itself. A test that wants to stop or kill its server starts one with `own()`.
//!
//! Nothing here needs an async runtime, and everything blocks; from an async test call it as it is, it is over soon,
//! or through `spawn_blocking` where something else must go on meanwhile.

mod cluster;
mod http;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
mod rabbitmq;

pub use cluster::{RabbitCluster, VHOST};
pub use http::{exchange, send_as};
pub use pgbouncer::{PgBouncer, PoolMode};
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let [port] = ports::Ports::hold(1).release();
    port
}

/// How long a server may take to be ready, or to be gone. Generous: RabbitMQ needs seven seconds on an idle machine
/// and a good minute on one that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Another program may take a port between our letting go of it and the server's taking it. Then we try others.
const PORT_ATTEMPTS: usize = 5;

/// The last lines of a log, to be put beneath an error: without them "did not start" sends people hunting in a folder
/// that is already gone.
fn log_tail(logs: &[PathBuf]) -> String {
    let mut tail = String::new();
    for log in logs {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(40)..];
        let _ = write!(tail, "\n--- {} ---\n{}\n", log.display(), shown.join("\n"));
    }
    tail
}

/// Makes a name for a database or a vhost out of what a test calls itself; the number keeps two tests with the same
/// hint apart. At most 48 characters (PostgreSQL cuts names at 63).
fn unique_name(hint: &str, number: u32) -> String {
    let hint: String = hint
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .take(40)
        .collect();
    format!("t{number}_{hint}")
}

/// The database or vhost that a URL given out by a server here leads to.
pub fn name_in(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// The folders out of `parents` whose name begins with `prefix`, newest version first.
fn versions(parents: &[&str], prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = parents
        .iter()
        .filter_map(|parent| Path::new(parent).read_dir().ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?;
            let numbers = version.split('.').map(|part| part.parse().ok());
            Some((numbers.collect::<Option<Vec<u32>>>()?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// The folders of the PATH.
fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// Is this process root's? (The owner of `/proc/self` is whoever runs us; it saves a dependency on libc.)
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}
