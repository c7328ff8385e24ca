//! Starts and stops a PostgreSQL server.

mod databases;
mod programs;
mod standby;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::ports::Ports;
use super::process::{Process, new_folder};
use super::{PATIENCE, PORT_ATTEMPTS, is_root, log_tail};
use programs::{as_server_user, find_programs, init_cluster, run_psql, server_user, without_settings};

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

    /// Starts the stopped server on the same port and data. Returns when it accepts queries.
    pub fn start(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "PostgreSQL runs already");
        let started = self.spawn().unwrap_or_else(|why| panic!("{why}"));
        *process = Some(started);
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
