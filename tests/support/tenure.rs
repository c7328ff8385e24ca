//! Runs the `tenure` binary as a process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::gate::Gate;
use super::terminal::PseudoTerminal;

/// How to run `tenure`: with a clean environment, so that no inherited setting applies.
#[derive(Clone, Debug)]
pub struct Tenure {
    program: PathBuf,
    env: Vec<(String, String)>,
    folder: PathBuf,
}

/// A running `tenure run`. Dropping it kills the process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pub port: u16,
    pub address: String,
    log: PathBuf,
}

impl Tenure {
    /// Runs in this folder, which holds the embedded store, with these settings.
    pub fn new(folder: &Path, env: &[(&str, &str)]) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_tenure").into(),
            env: env
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            folder: folder.to_owned(),
        }
    }

    /// The same with the program of another version.
    pub fn of(mut self, program: &str) -> Self {
        self.program = program.into();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.started(&self.program);
        command.args(args);
        command
    }

    fn started(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command until it exits.
    pub fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary can be started")
    }

    /// The same with arguments that need not be UTF-8.
    pub fn call_os(&self, args: &[&OsStr]) -> Output {
        let mut command = self.command(&[]);
        command.args(args).output().expect("the binary can be started")
    }

    /// Runs a command with this text as its standard input, until it exits.
    pub fn fed(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        // The drop ends the input.
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("the process ends")
    }

    /// Runs a command with the reading ends of both output pipes closed, until it exits.
    pub fn unread(&self, args: &[&str]) -> ExitStatus {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        drop((child.stdout.take(), child.stderr.take()));
        child.wait().expect("the process ends")
    }

    /// Runs a command to its end, with its standard output in this file.
    pub fn printing_into(&self, args: &[&str], stdout: std::fs::File) -> Output {
        let mut command = self.command(args);
        command.stdout(stdout);
        command.output().expect("the binary can be started")
    }

    /// Runs a command, which must succeed, and returns its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(
            output.status.success(),
            "tenure {args:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command with `--json`, which must succeed, and parses its lines.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.ok(&args)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
            .collect()
    }

    /// Starts a command, to read its output while it runs.
    pub fn spawn(&self, args: &[&str]) -> Spawned {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let err = BufReader::new(child.stderr.take().expect("a pipe"));
        Spawned { child, out, err }
    }

    /// Starts a command on a terminal of this size.
    pub fn on_terminal(&self, args: &[&str], columns: u16, rows: u16) -> PseudoTerminal {
        let mut command = self.started("setsid");
        command.arg("--ctty").arg(&self.program).args(args);
        if self.env.iter().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm-256color");
        }
        PseudoTerminal::start(command, columns, rows)
    }

    /// Asserts that every client agrees with the replay of its events.
    pub fn assert_no_drift(&self) {
        let lines = self.json(&["verify"]);
        assert_eq!(lines.last().expect("a summary")["differ"], 0, "{lines:?}");
    }

    /// Starts `tenure run` and waits until it is ready.
    pub fn run(&self) -> Running {
        let running = self.start();
        running.wait_until("ready", || running.get("/readyz").0 == 200);
        running
    }

    /// Starts `tenure run` on a free port.
    pub fn start(&self) -> Running {
        self.launch(self.command(&["run"]))
    }

    /// Starts it so that [`Running::limit_files`] makes writes fail; by default the signal would end the process.
    pub fn start_with_file_limit(&self) -> Running {
        let run = self.command(&["run"]);
        let mut command = self.started("sh");
        command
            .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#])
            .arg(run.get_program())
            .args(run.get_args());
        self.launch(command)
    }

    /// Starts `tenure run` on this port and waits until it is ready.
    pub fn run_at(&self, port: u16) -> Running {
        let running = self.launch_at(self.command(&["run"]), port);
        running.wait_until("ready", || running.get("/readyz").0 == 200);
        running
    }

    fn launch(&self, command: Command) -> Running {
        self.launch_at(command, super::servers::free_port())
    }

    fn launch_at(&self, mut command: Command, port: u16) -> Running {
        let address = format!("127.0.0.1:{port}");
        let log = self.folder.join(format!("tenure-{port}.log"));
        let child = command
            .env("TENURE_HTTP__LISTEN", &address)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log file"))
            .spawn()
            .expect("the binary can be started");
        Running {
            child,
            port,
            address,
            log,
        }
    }
}

/// A running command. Dropping it kills the process.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Spawned {
    /// Its standard input, which stays open until the returned handle is dropped.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe")
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for this text on standard output, and returns what was printed up to the end of its line.
    pub fn wait_for_stdout(&mut self, words: &str) -> String {
        until(&mut self.out, words)
    }

    /// Waits for this text on standard error.
    pub fn wait_for_stderr(&mut self, words: &str) {
        until(&mut self.err, words);
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("the process is there");
    }

    /// Waits until it exits. Returns the exit code and the rest of standard output and standard error.
    pub fn end(mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.out.read_to_string(&mut stdout).expect("text");
        self.err.read_to_string(&mut stderr).expect("text");
        let status = ended(&mut self.child, Duration::from_mins(2));
        (status.expect("the process ends").code(), stdout, stderr)
    }

    /// Waits until it exits.
    pub fn code(mut self) -> Option<i32> {
        let status = ended(&mut self.child, Duration::from_mins(2));
        status.expect("the process ends").code()
    }
}

fn until(from: &mut impl BufRead, words: &str) -> String {
    let mut text = String::new();
    while !text.contains(words) {
        let read = from.read_line(&mut text).expect("text");
        assert!(read > 0, "exited without `{words}`: {text}");
    }
    text
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Status and body of a GET; status 0 without a response.
    pub fn get(&self, path: &str) -> (u16, String) {
        super::servers::exchange(self.port, "GET", path, None).unwrap_or((0, String::new()))
    }

    /// The sum of a metric over all labels; 0 if it does not exist. Without a response it is not a number, so no comparison
    /// with it holds.
    pub fn metric(&self, name: &str) -> f64 {
        let (status, page) = self.get("/metrics");
        if status != 200 {
            return f64::NAN;
        }
        page.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Sends one event, which adds a client. Returns the status and the body; status 0 without a response.
    pub fn add_client(&self, client: &str) -> (u16, String) {
        let event = serde_json::json!({
            "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
            "subject": format!("p/{client}"), "time": "2026-01-05T09:00:00Z", "data": { "name": client },
        });
        let media_type = "application/cloudevents+json";
        super::servers::send_as(self.port, "POST", "/v1/events", media_type, &event.to_string())
            .unwrap_or((0, String::new()))
    }

    /// Status and body of a POST; status 0 without a response.
    pub fn post(&self, path: &str, media_type: &str, body: &str) -> (u16, String) {
        super::servers::send_as(self.port, "POST", path, media_type, body).unwrap_or((0, String::new()))
    }

    /// Limits the size of the files that this process writes, in bytes; `None` removes the limit.
    pub fn limit_files(&self, bytes: Option<u64>) {
        self.limit("fsize", bytes);
    }

    /// Limits the number of files that this process has open.
    pub fn limit_open_files(&self, files: u64) {
        self.limit("nofile", Some(files));
    }

    fn limit(&self, resource: &str, most: Option<u64>) {
        let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        let set = Command::new("prlimit")
            .arg(format!("--{resource}={most}:"))
            .arg(format!("--pid={}", self.id()))
            .status()
            .expect("prlimit, of util-linux");
        assert!(set.success(), "prlimit: {set}");
    }

    pub fn wait_until(&self, what: &str, done: impl FnMut() -> bool) {
        wait_until(Duration::from_mins(2), done)
            .unwrap_or_else(|()| panic!("timed out after two minutes: {what}\n{}", self.log()));
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("the process is there");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its command line, which every user of the machine can read.
    pub fn command_line(&self) -> String {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.child.id())).expect("the process is there");
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Sends SIGTERM and waits until it exits.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.child.wait().expect("the process ends")
    }

    /// Sends SIGTERM while it waits at a gate, opens the gate when it has begun to stop, and waits until it exits.
    pub fn stop_at(mut self, gate: Gate<'_>) -> ExitStatus {
        self.wait_until("at the gate", || gate.is_reached());
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait_until("stopping", || {
            self.log().contains("finishing the work in progress")
        });
        gate.open();
        self.child.wait().expect("the process ends")
    }

    /// Its exit status, if it exits within this time.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        ended(&mut self.child, limit)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit status of a process, if it exits within this time.
fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    let _ = wait_until(limit, || {
        status = child.try_wait().expect("the process is ours");
        status.is_some()
    });
    status
}

/// Waits until `done` returns true; fails after `limit`.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> Result<(), ()> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > limit {
            return Err(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
