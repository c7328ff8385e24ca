//! The servers of the benchmark, with a vhost and a database for each measurement.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tenure::broker::publisher::Publisher;
use tenure::config::Settings;
use tokio::runtime::Runtime;

use crate::machine;
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::Tenure;

/// PostgreSQL's settings for the benchmark: durable, with memory for the tables and no checkpoint during a measurement.
/// All other settings have their defaults.
const POSTGRES: [&str; 7] = [
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "wal_compression=off",
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=15min",
];

/// The sections of settings that may be tried.
const TRIED: [&str; 2] = ["TENURE_BROKER__", "TENURE_TELEMETRY__"];

/// The servers.
pub struct Environment {
    pub postgres: Postgres,
    /// Its settings, as `name=value`.
    pub postgres_settings: Vec<String>,
    pub rabbit: RabbitMq,
    pub runtime: Runtime,
    /// Tenure's default settings.
    pub defaults: Settings,
    folder: TempDir,
    names: Cell<u32>,
    began: Instant,
    /// The load average before the servers started.
    pub load_before: f64,
    /// The commit that is measured.
    pub commit: String,
}

/// A vhost, which is deleted on drop.
pub struct Vhost<'g> {
    environment: &'g Environment,
    pub url: String,
}

/// A database, which is deleted on drop.
pub struct Database<'g> {
    environment: &'g Environment,
    pub url: String,
}

impl Environment {
    /// Starts the servers. These settings of PostgreSQL, as `name=value`, replace the benchmark's own.
    pub fn new(postgres_settings: &[String]) -> Self {
        let began = Instant::now();
        let load_before = machine::load();
        let name = |setting: &str| setting.split('=').next().map(str::to_owned);
        let replaced: Vec<_> = postgres_settings.iter().map(|setting| name(setting)).collect();
        let postgres_settings: Vec<String> = POSTGRES
            .into_iter()
            .filter(|setting| !replaced.contains(&name(setting)))
            .map(str::to_owned)
            .chain(postgres_settings.iter().cloned())
            .collect();
        let settings_of_server: Vec<&str> = postgres_settings.iter().map(String::as_str).collect();
        let environment = Self {
            postgres: Postgres::with_settings(&settings_of_server),
            postgres_settings,
            rabbit: RabbitMq::own(),
            runtime: Runtime::new().expect("threads"),
            defaults: settings(None),
            folder: tempfile::tempdir().expect("a folder"),
            names: Cell::new(0),
            began,
            load_before,
            commit: machine::commit(),
        };
        environment.progress("PostgreSQL and RabbitMQ are ready");
        environment
    }

    /// Prints a line of progress with the time since the start.
    pub fn progress(&self, what: &str) {
        eprintln!("[{:>6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A vhost with the exchanges and queues that Tenure declares.
    pub fn vhost(&self, hint: &str) -> Vhost<'_> {
        let url = self.rabbit.vhost(hint);
        let broker = settings(Some(&url)).broker;
        self.runtime.block_on(async {
            let publisher = Publisher::connect(&url, &broker).await.expect("a connection");
            publisher.finish().await.expect("nothing was published");
        });
        Vhost {
            environment: self,
            url,
        }
    }

    /// An empty database.
    pub fn database(&self, hint: &str) -> Database<'_> {
        let url = self.postgres.database(hint);
        Database {
            environment: self,
            url,
        }
    }

    /// A copy of a database without connections. Every copy starts right after a checkpoint.
    pub fn copy(&self, template: &Database<'_>, hint: &str) -> Database<'_> {
        self.names.set(self.names.get() + 1);
        let name = format!("copy{}_{hint}", self.names.get());
        // The only strategy before version 15.
        let version: u32 = self
            .sql("postgres", "show server_version_num")
            .parse()
            .unwrap_or(0);
        let way = if version >= 150_000 {
            "strategy file_copy"
        } else {
            ""
        };
        self.sql(
            "postgres",
            &format!("create database {name} template {} {way}", name_in(&template.url)),
        );
        self.sql("postgres", "checkpoint");
        let url = self.postgres.url(&name);
        Database {
            environment: self,
            url,
        }
    }

    fn sql(&self, database: &str, statement: &str) -> String {
        self.postgres.sql(database, statement)
    }

    /// The real binary with this vhost and database, and more settings. Sweeps are off; a section of their own measures
    /// them.
    pub fn tenure(&self, vhost: &Vhost<'_>, database: &Database<'_>, env: &[(&str, &str)]) -> Tenure {
        let servers = [
            ("DATABASE_URL", database.url.as_str()),
            ("AMQP_URL", vhost.url.as_str()),
            ("TENURE_SWEEPS__ACCESS_EXPIRY__ENABLED", "false"),
            ("TENURE_SWEEPS__SUBSCRIPTION_END__ENABLED", "false"),
            ("TENURE_SWEEPS__TERMINATED_CLEANUP__ENABLED", "false"),
            ("TENURE_SWEEPS__STALLED_INVITATIONS__ENABLED", "false"),
        ];
        // Pass some settings of the environment on, to try others.
        let tried: Vec<(String, String)> = std::env::vars()
            .filter(|(name, _)| TRIED.iter().any(|section| name.starts_with(section)))
            .collect();
        let tried: Vec<(&str, &str)> = tried
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Tenure::new(self.folder.path(), &[&servers, tried.as_slice(), env].concat())
    }
}

/// Tenure's default settings, with this RabbitMQ.
fn settings(amqp: Option<&str>) -> Settings {
    let env = amqp.map(|url| ("AMQP_URL".to_owned(), url.to_owned()));
    Settings::load(None, env.into_iter()).expect("the defaults are good")
}

impl Vhost<'_> {
    pub fn name(&self) -> &str {
        name_in(&self.url)
    }

    /// The number of messages in a queue, as RabbitMQ last counted them.
    pub fn depth(&self, queue: &str) -> Option<u64> {
        self.environment.rabbit.queue_depth(self.name(), queue)
    }

    /// Waits until a queue has this number of messages.
    pub fn expect_depth(&self, queue: &str, messages: u64) {
        let limit = Duration::from_mins(1);
        self.environment
            .rabbit
            .wait_for_depth(self.name(), queue, messages, limit);
    }
}

impl Database<'_> {
    /// Runs SQL; returns the rows, with fields separated by `|`.
    pub fn sql(&self, statement: &str) -> String {
        self.environment.sql(name_in(&self.url), statement)
    }

    /// Runs statements concurrently, each on its own connection.
    pub fn sql_at_once(&self, statements: &[String]) {
        let (postgres, database) = (&self.environment.postgres, name_in(&self.url));
        std::thread::scope(|scope| {
            for statement in statements {
                scope.spawn(move || postgres.sql(database, statement));
            }
        });
    }

    /// Loads data without crash safety. Otherwise, after every checkpoint, each page that a random row is written to
    /// would be written to the WAL as well.
    pub fn load(&self, statements: &[String]) {
        for setting in ["full_page_writes = off", "max_wal_size = '2GB'"] {
            self.sql(&format!("alter system set {setting}"));
        }
        self.sql("select pg_reload_conf()");
        self.sql_at_once(statements);
        self.sql("alter system reset all");
        self.sql("select pg_reload_conf()");
    }

    /// The result of a query that returns one number.
    pub fn number(&self, statement: &str) -> f64 {
        let outcome = self.sql(statement);
        outcome
            .parse()
            .unwrap_or_else(|_| panic!("{statement}: {outcome}"))
    }

    /// The number of rows in a table.
    pub fn count(&self, table: &str) -> usize {
        let outcome = self.sql(&format!("select count(*) from {table}"));
        outcome.parse().expect("a count")
    }
}

impl Drop for Vhost<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let path = format!("vhosts/{}", self.name());
            self.environment.rabbit.manage("DELETE", &path, None);
        }
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let name = name_in(&self.url);
            self.environment
                .sql("postgres", &format!("drop database {name} with (force)"));
        }
    }
}
