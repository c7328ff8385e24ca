//! Starts `PgBouncer` in front of a PostgreSQL server of the tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::ports::Ports;
use super::process::{Process, new_folder};
use super::{PATIENCE, Postgres, is_root, log_tail, search_path};

/// When the pooler assigns a session to another client.
#[derive(Clone, Copy, Debug)]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

/// A pooler on a port of 127.0.0.1, with four sessions for each database.
pub struct PgBouncer {
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

impl PgBouncer {
    pub fn before(server: &Postgres, mode: PoolMode) -> Self {
        Self::launch(server, mode).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The URL of a database of the server, through the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn launch(server: &Postgres, mode: PoolMode) -> Result<Self, String> {
        let program = find_program()?;
        let folder = new_folder("pgbouncer");
        let [port] = Ports::hold(1).release();
        let mode = format!("{mode:?}").to_lowercase();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = \
             {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 4\n",
            server.port()
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings).map_err(|why| why.to_string())?;
        // It refuses to run as root.
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg(&file);
        let log = folder.join("pgbouncer.log");
        let process = Process::spawn(&folder, "pgbouncer", Signal::SIGTERM, &command, &log)
            .map_err(|why| format!("PgBouncer did not start: {why}"))?;
        let mut pooler = Self {
            port,
            folder,
            process: Some(process),
        };
        pooler.wait_until_it_listens()?;
        Ok(pooler)
    }

    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let has_exited = self.process.as_mut().is_none_or(Process::has_exited);
            if has_exited || Instant::now() > end {
                return Err(format!(
                    "PgBouncer does not listen{}",
                    log_tail(&[self.folder.join("pgbouncer.log")])
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Debian installs it outside the PATH of users.
fn find_program() -> Result<PathBuf, String> {
    ["/usr/sbin", "/usr/local/sbin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(search_path())
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            "no PgBouncer: looked for pgbouncer in /usr/sbin, /usr/local/sbin and on the PATH. Run tests/run, or install \
             it (Debian: apt-get install pgbouncer)."
                .to_owned()
        })
}
