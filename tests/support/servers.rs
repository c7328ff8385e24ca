//! Servers for the tests: a PostgreSQL and a RabbitMQ that nobody else uses.
//!
//! A mock agrees with whatever we believe about a server, so the tests use real ones. They start the installed programs on
//! free ports of 127.0.0.1, with the data in a temporary folder, and never touch a server that already runs.
//! `Postgres::shared()` and `RabbitMq::shared()` start on first use and serve all tests of the process. That is why all
//! integration tests are one binary, and why they run with `cargo test`: a runner that starts a process for each test would
//! start servers for each test. Each test gets its own database or vhost. A test that stops or kills its server starts one
//! with `own()`.
//!
//! `TENURE_TEST_POSTGRES` (a folder with `initdb` and `postgres`) and `TENURE_TEST_RABBITMQ` (the path of a
//! `rabbitmq-server` script) select other programs than the installed ones. With `TENURE_TEST_SERVERS=none` a test that
//! starts a server fails: the quick tier runs without servers.
//!
//! Everything here blocks and needs no async runtime. An async test calls it directly, since it returns soon, or through
//! `spawn_blocking` if something else must run meanwhile.

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

/// Whether tests may start servers: not with `TENURE_TEST_SERVERS=none`.
pub fn are_allowed() -> bool {
    std::env::var_os("TENURE_TEST_SERVERS").is_none_or(|servers| servers != "none")
}

/// A port on which nobody listens.
pub fn free_port() -> u16 {
    let [port] = ports::Ports::hold(1).release();
    port
}

/// How long a server may take to start or to stop. RabbitMQ starts in seven seconds on an idle machine and in more than a
/// minute on one that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Another program may bind a port after we release it and before the server binds it. Then we try other ports.
const PORT_ATTEMPTS: usize = 5;

/// The last lines of each log, for an error message: the folder with the logs is gone by the time someone reads it.
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

/// A name for a database or a vhost. The number distinguishes two tests that pass the same hint. At most 48 characters:
/// PostgreSQL truncates names at 63.
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

/// The database or vhost in a URL from one of these servers.
pub fn name_in(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// The programs that an environment variable selects; `None` if it is not set.
fn selected(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// The subfolders of `parents` with this prefix and a version in their names, newest version first.
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

/// Whether this process runs as root: it owns `/proc/self`, which saves a dependency on libc.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}
