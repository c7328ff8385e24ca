//! Starts and stops a RabbitMQ server.

mod management;
mod script;

pub(super) use script::find_script;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::http;
use super::ports::Ports;
use super::process::{Process, new_folder};
use super::{PATIENCE, PORT_ATTEMPTS, log_tail};

/// How often the management API samples, in milliseconds. The default of five seconds is long for a test that waits for an
/// empty queue.
const COUNT_EVERY_MS: u32 = 200;

/// A one-node broker on ports of 127.0.0.1, user and password `guest`, with the management API and the consistent
/// hash exchange.
pub struct RabbitMq {
    script: PathBuf,
    folder: PathBuf,
    ports: Listening,
    /// `Some` if this is a node of a cluster.
    member: Option<Member>,
    processes: Mutex<Option<Processes>>,
    vhosts: AtomicU32,
}

/// The place of a node in its cluster.
pub(super) struct Member {
    /// The folder with the Erlang cookie.
    pub home: PathBuf,
    /// The nodes that this one forms a cluster with when it starts for the first time, and itself.
    pub peers: Vec<String>,
}

#[derive(Clone, Copy)]
struct Listening {
    amqp: u16,
    management: u16,
    distribution: u16,
    epmd: u16,
}

struct Processes {
    broker: Process,
    /// Erlang's register of nodes. We start one because the machine's must not be involved, and because one that Erlang
    /// starts would become a daemon that nobody stops. `None` if the cluster runs it.
    epmd: Option<Process>,
}

impl RabbitMq {
    /// The broker that all tests of this process share. The first caller starts it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<RabbitMq, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::launch) {
            Ok(server) => server,
            Err(why) => panic!("{why}"),
        }
    }

    /// A broker for one test, which may stop and kill it. Dropping it deletes its data.
    pub fn own() -> Self {
        Self::launch().unwrap_or_else(|why| panic!("{why}"))
    }

    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// The AMQP URL of a vhost.
    pub fn url(&self, vhost: &str) -> String {
        let vhost = http::segment(vhost);
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.ports.amqp)
    }

    /// Restarts the broker with a TLS listener too, with this certificate and key (PEM). It requires a client certificate
    /// signed by this authority. Returns the port.
    pub fn enable_tls(&self, authority: &str, certificate: &str, key: &str) -> u16 {
        self.stop();
        let [port] = Ports::hold(1).release();
        let mut settings = format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n"
        );
        for (name, pem) in [
            ("cacertfile", authority),
            ("certfile", certificate),
            ("keyfile", key),
        ] {
            let path = self.folder.join(name);
            fs::write(&path, pem).expect("the broker's folder");
            let _ = writeln!(settings, "ssl_options.{name} = {}", path.display());
        }
        fs::File::options()
            .append(true)
            .open(self.folder.join("rabbitmq.conf"))
            .and_then(|mut file| file.write_all(settings.as_bytes()))
            .expect("the broker's settings");
        self.start();
        port
    }

    /// Starts the stopped broker on the same ports and data. Returns when it accepts connections.
    pub fn start(&self) {
        let mut processes = self.processes();
        assert!(processes.is_none(), "RabbitMQ runs already");
        let started = self.spawn().unwrap_or_else(|why| panic!("{why}"));
        *processes = Some(started);
    }

    /// Stops the broker as an administrator would: clients get 320 `CONNECTION_FORCED`, and everything is on disk.
    pub fn stop(&self) {
        self.end(|broker| broker.end_with(Signal::SIGTERM, PATIENCE));
    }

    /// Stops the broker at once: Erlang halts, and clients lose their connections.
    pub fn stop_immediate(&self) {
        self.end(|broker| broker.end_with(Signal::SIGQUIT, PATIENCE));
    }

    /// Sends SIGKILL to the broker and its children.
    pub fn kill(&self) {
        self.end(Process::kill);
    }

    fn end(&self, how: impl FnOnce(Process)) {
        if let Some(Processes { broker, epmd }) = self.processes().take() {
            how(broker);
            if let Some(epmd) = epmd {
                epmd.kill();
            }
        }
    }

    fn processes(&self) -> std::sync::MutexGuard<'_, Option<Processes>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch() -> Result<Self, String> {
        let script = find_script()?;
        let folder = new_folder("rabbitmq");
        for attempt in 1.. {
            let [amqp, management, distribution, epmd] = Ports::hold(4).release();
            let server = Self {
                script: script.clone(),
                folder: folder.clone(),
                ports: Listening {
                    amqp,
                    management,
                    distribution,
                    epmd,
                },
                member: None,
                processes: Mutex::new(None),
                vhosts: AtomicU32::new(1),
            };
            server
                .write_settings()
                .map_err(|e| format!("cannot write RabbitMQ's settings: {e}"))?;
            match server.spawn() {
                Ok(processes) => {
                    *server.processes() = Some(processes);
                    return Ok(server);
                }
                Err(why) if attempt < PORT_ATTEMPTS && is_port_conflict(&why) => {
                    // Dropping the server removes its folder.
                    drop(server);
                    fs::create_dir(&folder).map_err(|e| e.to_string())?;
                }
                Err(why) => return Err(why),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// A node of a cluster, on free ports. It does not start yet.
    pub(super) fn member(
        script: PathBuf,
        [amqp, management, distribution, epmd]: [u16; 4],
        member: Member,
    ) -> Self {
        let server = Self {
            script,
            folder: new_folder("rabbitmq"),
            ports: Listening {
                amqp,
                management,
                distribution,
                epmd,
            },
            member: Some(member),
            processes: Mutex::new(None),
            vhosts: AtomicU32::new(1),
        };
        server.write_settings().expect("the node's settings");
        server
    }

    fn write_settings(&self) -> std::io::Result<()> {
        let write = |name: &str, text: String| fs::write(self.folder.join(name), text);
        let mut settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n",
            self.ports.amqp, self.ports.management
        );
        for (number, node) in self
            .member
            .iter()
            .flat_map(|member| member.peers.iter().enumerate())
        {
            let _ = writeln!(
                settings,
                "cluster_formation.peer_discovery_backend = classic_config\n\
                 cluster_formation.classic_config.nodes.{} = {node}",
                number + 1
            );
        }
        write("rabbitmq.conf", settings)?;
        // RabbitMQ 3.10 accepts none of these in rabbitmq.conf.
        write(
            "advanced.config",
            format!(
                "[{{rabbit, [{{collect_statistics_interval, {COUNT_EVERY_MS}}}, \
                 {{quorum_tick_interval, {COUNT_EVERY_MS}}}]}},\n \
                 {{rabbitmq_management, [{{sample_retention_policies, \
                 [{{global, [{{60, 1}}]}}, {{basic, [{{60, 1}}]}}, {{detailed, [{{60, 1}}]}}]}}]}}].\n"
            ),
        )?;
        write(
            "enabled_plugins",
            "[rabbitmq_consistent_hash_exchange,rabbitmq_management].\n".to_owned(),
        )?;
        // Replaces the machine's /etc/rabbitmq/rabbitmq-env.conf, which would override our settings.
        write("rabbitmq-env.conf", String::new())?;
        let _ = fs::create_dir(self.folder.join("home"));
        Ok(())
    }

    fn spawn(&self) -> Result<Processes, String> {
        let fault = |e: std::io::Error| format!("RabbitMQ did not start: {e}");
        let log = self.folder.join("output.log");
        let start = |name: &str, command: &Command| {
            Process::spawn(&self.folder, name, Signal::SIGKILL, command, &log).map_err(fault)
        };
        let epmd = match &self.member {
            None => Some(start("epmd", &self.with_environment("epmd".as_ref()))?),
            Some(_) => None,
        };
        let broker = match start("broker", &self.with_environment(&self.script)) {
            Ok(broker) => broker,
            Err(why) => {
                if let Some(epmd) = epmd {
                    epmd.kill();
                }
                return Err(why);
            }
        };
        let mut processes = Processes { broker, epmd };
        let end = Instant::now() + PATIENCE;
        loop {
            let ready = self.is_ready();
            // Check the processes after the handshake: another program's broker may have answered on this port.
            let fault = if processes.epmd.as_mut().is_some_and(Process::has_exited) {
                "lost its epmd"
            } else if processes.broker.has_exited() {
                "exited during startup"
            } else if ready.is_ok() {
                break;
            } else if Instant::now() > end {
                "was not ready in time"
            } else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            processes.broker.kill();
            if let Some(epmd) = processes.epmd {
                epmd.kill();
            }
            let why = ready.err().unwrap_or_default();
            let log = log_tail(&[log, self.folder.join("log").join(self.node() + ".log")]);
            return Err(format!("RabbitMQ {fault}; {why}{log}"));
        }
        Ok(processes)
    }

    /// The broker listens before it answers, and answers before its management API does.
    fn is_ready(&self) -> Result<(), String> {
        let fault = |e: std::io::Error| format!("AMQP handshake: {e}");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.amqp)).map_err(fault)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .map_err(fault)?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").map_err(fault)?;
        let mut frame = [0; 11];
        stream.read_exact(&mut frame).map_err(fault)?;
        // A method frame (1) on channel 0 with connection.start (class 10, method 10).
        if frame[..3] != [1, 0, 0] || frame[7..] != [0, 10, 0, 10] {
            return Err(format!("AMQP handshake answered with {frame:?}"));
        }
        self.try_manage("GET", "overview", None).map(drop)
    }

    fn node(&self) -> String {
        node(self.ports.amqp)
    }

    pub(super) fn with_environment(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            // Settings for a developer's own broker, and the systemd socket to which Erlang would report.
            if name.starts_with("RABBITMQ_") || name.starts_with("ERL_") || name == "NOTIFY_SOCKET" {
                command.env_remove(&key);
            }
        }
        command
            .env("RABBITMQ_NODENAME", self.node())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            // Makes the script exec Erlang instead of waiting for it, so that our signals reach it.
            .env("RUNNING_UNDER_SYSTEMD", "true");
        for (key, file) in [
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "broker.pid"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_CONF_ENV_FILE", "rabbitmq-env.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
        ] {
            command.env(key, self.folder.join(file));
        }
        // The folder with the Erlang cookie.
        let own = self.folder.join("home");
        command.env("HOME", self.member.as_ref().map_or(&own, |member| &member.home));
        command
    }
}

/// The name of a node: the port makes it unique on this machine.
pub(super) fn node(amqp: u16) -> String {
    format!("tenure-tests-{amqp}@localhost")
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The messages of a listener, of Erlang's distribution and of epmd when another program has bound their port.
fn is_port_conflict(why: &str) -> bool {
    ["eaddrinuse", "in use by another process", "lost its epmd"]
        .iter()
        .any(|words| why.contains(words))
}
