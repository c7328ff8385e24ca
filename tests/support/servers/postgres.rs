//! Starts, stops and queries a PostgreSQL server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::ports::Ports;
use super::process::{Process, new_folder};
use super::{PATIENCE, PORT_ATTEMPTS, is_root, log_tail, search_path, selected, unique_name, versions};

/// A server on a port of 127.0.0.1, user `postgres`, no password. `fsync` and `synchronous_commit` are on, as in
/// production: tests kill the server and then check that commits survived.
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    /// As `name=value`; they override the settings that all servers here share.
    settings: Vec<String>,
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
    template: Mutex<bool>,
}

impl Postgres {
    /// The server that all tests of this process share. The first caller starts it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::launch(&[])) {
            Ok(server) => server,
            Err(why) => panic!("{why}"),
        }
    }

    /// A server for one test, which may stop and kill it. Dropping it deletes its data.
    pub fn own() -> Self {
        Self::with_settings(&[])
    }

    /// The same with settings, as `name=value`: a benchmark sets the server's memory.
    pub fn with_settings(settings: &[&str]) -> Self {
        Self::launch(settings).unwrap_or_else(|why| panic!("{why}"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database for one test and returns its URL. `hint` becomes a part of its name.
    pub fn database(&self, hint: &str) -> String {
        self.create_database(hint, "template1")
    }

    /// Creates a database for one test as a copy of a template, and returns its URL.
    ///
    /// The first call on a server makes the template: `prepare` gets its URL, applies the migrations, and must leave no
    /// connection open. It runs on its own thread, so that it may start a runtime even if the test has one.
    pub fn prepared_database(&self, hint: &str, prepare: impl FnOnce(&str) + Send) -> String {
        const TEMPLATE: &str = "prepared_template";
        {
            // A panic in `prepare` poisons the lock. The next test then tries again and fails with the same message.
            let mut made = self.template.lock().unwrap_or_else(PoisonError::into_inner);
            if !*made {
                self.sql("postgres", &format!("drop database if exists {TEMPLATE}"));
                self.sql("postgres", &format!("create database {TEMPLATE}"));
                let url = self.url(TEMPLATE);
                std::thread::scope(|scope| {
                    scope
                        .spawn(|| prepare(&url))
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                });
                *made = true;
            }
        }
        self.create_database(hint, TEMPLATE)
    }

    fn create_database(&self, hint: &str, template: &str) -> String {
        let name = unique_name(hint, self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} template {template}"));
        self.url(&name)
    }

    /// Runs SQL in a database with psql, as superuser. Returns the rows, with their fields separated by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let done = self.psql(database, statements);
        done.unwrap_or_else(|why| panic!("psql on {database}: {why}\n{statements}"))
    }

    /// Backs up a database to a file with `pg_dump`.
    pub fn dump(&self, database: &str, file: &Path) {
        let mut command = self.client("pg_dump");
        command.args(["--format=custom", "--file"]).arg(file);
        command.arg("--dbname").arg(self.url(database));
        succeed(command);
    }

    /// Restores a backup into a new database of this name.
    pub fn restore(&self, database: &str, file: &Path) {
        self.sql("postgres", &format!("create database {database}"));
        let mut command = self.client("pg_restore");
        command
            .args(["--single-transaction", "--dbname"])
            .arg(self.url(database));
        command.arg(file);
        succeed(command);
    }

    /// Replaces the contents of a database with a backup.
    pub fn restore_over(&self, database: &str, file: &Path) {
        let mut command = self.client("pg_restore");
        command.args(["--clean", "--if-exists", "--single-transaction", "--dbname"]);
        command.arg(self.url(database)).arg(file);
        succeed(command);
    }

    /// A client program: the one of the server's version if it is installed, else the one on the PATH.
    fn client(&self, program: &str) -> Command {
        let same_version = self.programs.join(program);
        without_settings(if same_version.is_file() {
            Command::new(same_version)
        } else {
            Command::new(program)
        })
    }

    /// Adds a superuser that must give a password. No other user has one.
    pub fn add_user(&self, user: &str, password: &str) {
        self.sql(
            "postgres",
            &format!("create role {user} superuser login password '{password}'"),
        );
        let file = self.folder.join("data/pg_hba.conf");
        let rules = fs::read_to_string(&file).expect("the server's rules");
        let rules = format!("host all {user} 127.0.0.1/32 scram-sha-256\n{rules}");
        fs::write(&file, rules).expect("the server's rules");
        self.sql("postgres", "select pg_reload_conf()");
        // The server reloads in another process: wait until it refuses the user without a password.
        let url = format!("postgres://{user}@127.0.0.1:{}/postgres", self.port);
        self.wait_until("a server that asks for a password", || {
            run_psql(self.client("psql"), &url, "select 1").is_err_and(|why| why.contains("no password"))
        });
    }

    fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(
                Instant::now() < end,
                "timed out waiting for {what}{}",
                log_tail(&[self.log()])
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Enables TLS with this certificate and key (PEM).
    pub fn enable_tls(&self, certificate: &str, key: &str) {
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.folder.join("data").join(name);
            fs::write(&path, pem).expect("the server's data folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our file");
            if is_root() {
                let owned = Command::new("chown").arg(server_user()).arg(&path).status();
                assert!(
                    owned.is_ok_and(|status| status.success()),
                    "chown {}",
                    path.display()
                );
            }
        }
        self.sql("postgres", "alter system set ssl = on");
        self.sql("postgres", "select pg_reload_conf()");
        self.wait_until("TLS", || self.sql("postgres", "show ssl") == "on");
    }

    /// Terminates all connections to a database, as an administrator would. Returns their number.
    pub fn close_all_connections(&self, database: &str) -> usize {
        let terminate = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{database}' and pid <> pg_backend_pid()"
        );
        self.sql("postgres", &terminate).lines().count()
    }

    /// Starts the stopped server on the same port and data. Returns when it accepts queries.
    pub fn start(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "PostgreSQL runs already");
        let started = self.spawn().unwrap_or_else(|why| panic!("{why}"));
        *process = Some(started);
    }

    /// Starts a hot standby of this server, which follows until it is promoted. Replication is synchronous: a commit here
    /// waits for the standby.
    pub fn standby(&self) -> Self {
        let folder = new_folder("standby");
        let mut command = as_server_user(&self.programs.join("pg_basebackup"));
        command
            .args(["--host=127.0.0.1", "--username=postgres", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync"])
            .arg(format!("--port={}", self.port))
            .arg("--pgdata")
            .arg(folder.join("data"));
        if is_root() {
            let owned = Command::new("chown").arg(server_user()).arg(&folder).status();
            assert!(
                owned.is_ok_and(|status| status.success()),
                "chown {}",
                folder.display()
            );
        }
        let copied = command.current_dir(&folder).stdin(Stdio::null()).output();
        let copied = copied.expect("pg_basebackup can be started");
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let standby =
            Self::launch_on(self.programs.clone(), folder, &[]).unwrap_or_else(|why| panic!("{why}"));
        self.sql("postgres", "alter system set synchronous_standby_names = '*'");
        self.sql("postgres", "select pg_reload_conf()");
        standby.wait_until("a synchronous standby", || {
            self.sql("postgres", "select sync_state from pg_stat_replication") == "sync"
        });
        standby
    }

    /// Promotes a standby to primary. Returns when it accepts writes.
    pub fn promote(&self) {
        self.sql("postgres", "alter system reset synchronous_standby_names");
        assert_eq!(self.sql("postgres", "select pg_promote()"), "t");
    }

    /// Makes new transactions read-only, in open sessions too. The sessions stay open.
    pub fn turn_read_only(&self) {
        self.sql("postgres", "alter system set default_transaction_read_only = on");
        self.sql("postgres", "select pg_reload_conf()");
        self.wait_until("a read-only server", || {
            self.sql("postgres", "show transaction_read_only") == "on"
        });
    }

    /// Starts the stopped server read-only, as a demoted primary.
    pub fn start_read_only(&self) {
        let settings = self.folder.join("data/postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).expect("the server's settings");
        text.push_str("default_transaction_read_only = on\nsynchronous_standby_names = ''\n");
        fs::write(&settings, text).expect("the server's settings");
        self.start();
    }

    /// Stops the server as an administrator would ("fast" mode): it ends sessions and writes a checkpoint.
    pub fn stop(&self) {
        self.end(Signal::SIGINT);
    }

    /// Stops the server at once ("immediate" mode): clients lose their connections, and the next start recovers.
    pub fn stop_immediate(&self) {
        self.end(Signal::SIGQUIT);
    }

    /// Sends SIGKILL to the server and all its backends.
    pub fn kill(&self) {
        if let Some(process) = self.process().take() {
            process.kill();
            self.free_shared_memory();
        }
    }

    fn end(&self, signal: Signal) {
        if let Some(process) = self.process().take() {
            process.end_with(signal, PATIENCE);
        }
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(settings: &[&str]) -> Result<Self, String> {
        let programs = find_programs()?;
        let folder = new_folder("postgres");
        init_cluster(&programs, &folder)?;
        Self::launch_on(programs, folder, settings)
    }

    fn launch_on(programs: PathBuf, folder: PathBuf, settings: &[&str]) -> Result<Self, String> {
        let mut server = Self {
            programs,
            folder,
            port: 0,
            settings: settings.iter().map(ToString::to_string).collect(),
            process: Mutex::new(None),
            databases: AtomicU32::new(1),
            template: Mutex::new(false),
        };
        for attempt in 1.. {
            [server.port] = Ports::hold(1).release();
            match server.spawn() {
                Ok(process) => {
                    server.process = Mutex::new(Some(process));
                    break;
                }
                Err(why) if why.contains("could not bind") && attempt < PORT_ATTEMPTS => {
                    let _ = fs::remove_file(server.log());
                }
                Err(why) => return Err(why),
            }
        }
        Ok(server)
    }

    fn spawn(&self) -> Result<Process, String> {
        let mut command = as_server_user(&self.programs.join("postgres"));
        command.arg("-D").arg(self.folder.join("data"));
        command.arg("-p").arg(self.port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            // The kernel limits the length of a socket's path, and temporary folders may have long ones.
            "unix_socket_directories=",
            // Every test of the process may have an open pool.
            "max_connections=300",
            // In the data folder, so that removing the folder frees it, even after a SIGKILL.
            "dynamic_shared_memory_type=mmap",
        ] {
            command.arg("-c").arg(setting);
        }
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        let mut process = Process::spawn(&self.folder, "postgres", Signal::SIGQUIT, &command, &self.log())
            .map_err(|e| format!("PostgreSQL did not start: {e}"))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let ready = self.psql("postgres", "select 1");
            // Check the process after the query: another program's server may have answered on this port.
            let fault = if process.has_exited() {
                "exited during startup"
            } else if ready.is_ok() {
                break;
            } else if Instant::now() > end {
                "was not ready in time"
            } else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            process.kill();
            self.free_shared_memory();
            let why = ready.err().unwrap_or_default();
            let log = log_tail(&[self.log()]);
            return Err(format!("PostgreSQL {fault}; psql: {why}{log}"));
        }
        Ok(process)
    }

    fn psql(&self, database: &str, statements: &str) -> Result<String, String> {
        run_psql(self.client("psql"), &self.url(database), statements)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Removes the System V segment that a killed server leaves. The next server on the same data would use it to detect a
    /// running one; without a next server it stays until the machine restarts.
    fn free_shared_memory(&self) {
        let lock = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        if let Some(id) = lock.lines().nth(6).and_then(|it| it.split_whitespace().last()) {
            let _ = Command::new("ipcrm")
                .args(["-m", id])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_immediate();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of `initdb` and `postgres`. Debian installs each version into its own folder, outside the PATH.
fn find_programs() -> Result<PathBuf, String> {
    let is_complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    if let Some(folder) = selected("TENURE_TEST_POSTGRES") {
        let name = folder.display().to_string();
        return Some(folder)
            .filter(is_complete)
            .ok_or_else(|| format!("TENURE_TEST_POSTGRES is {name}, which has no initdb and postgres"));
    }
    versions(&["/usr/lib/postgresql"], "")
        .into_iter()
        .map(|version| version.join("bin"))
        // The PATH comes last: it may have a link, or a wrapper that runs in another folder.
        .chain(search_path())
        .find(is_complete)
        .ok_or_else(|| {
            "no PostgreSQL server: looked for initdb and postgres in /usr/lib/postgresql/*/bin and on the PATH. \
             Run tests/run, or install it (Debian: apt-get install postgresql)."
                .to_owned()
        })
}

fn init_cluster(programs: &Path, folder: &Path) -> Result<(), String> {
    let fault = |what: String| format!("cannot create PostgreSQL's data folder: {what}");
    let data = folder.join("data");
    fs::create_dir(&data).map_err(|e| fault(e.to_string()))?;
    if is_root() {
        let owned = Command::new("chown").arg(server_user()).arg(&data).status();
        if !owned.is_ok_and(|status| status.success()) {
            return Err(fault(format!("chown {} failed", server_user())));
        }
    }
    let initdb = programs.join("initdb");
    let help = Command::new(&initdb).arg("--help").output();
    let knows_icu = help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--icu-locale"));
    let mut command = as_server_user(&initdb);
    command.arg("-D").arg(&data).args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]);
    if knows_icu {
        // Most production servers sort text by a locale; SQLite sorts it by bytes. This finds queries that rely on an
        // order of text without a collation.
        command.args(["--locale-provider=icu", "--icu-locale=en-US"]);
    }
    let done = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| fault(e.to_string()))?;
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        return Err(fault(format!("initdb: {stderr}")));
    }
    Ok(())
}

fn run_psql(mut psql: Command, url: &str, statements: &str) -> Result<String, String> {
    let done = psql
        .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-d", url])
        .args(["-c", statements])
        // Another program may listen on the port and never answer.
        .env("PGCONNECT_TIMEOUT", "5")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn succeed(mut command: Command) {
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}: {stderr}", done.status);
}

/// PostgreSQL refuses to run as root. Then it runs as the user from Debian's package.
fn as_server_user(program: &Path) -> Command {
    if !is_root() {
        return without_settings(Command::new(program));
    }
    let user = server_user();
    let mut command = without_settings(Command::new("setpriv"));
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={user}"))
        .arg("--clear-groups")
        .arg("--")
        .arg(program);
    command
}

fn server_user() -> &'static str {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|user| user.starts_with("postgres:")) {
        "postgres"
    } else {
        "nobody"
    }
}

/// Removes environment variables that would lead PostgreSQL's programs to the developer's own server.
fn without_settings(mut command: Command) -> Command {
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("PG") {
            command.env_remove(key);
        }
    }
    // We search for some messages in English.
    command.env("LC_ALL", "C");
    command
}
