//! Starts and ends server processes, with a watchdog that ends them when the test process is gone.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Ends the remaining servers and removes the folder when the test process is gone.
///
/// The watchdog reads from a pipe whose other end only the test process holds. However the test process ends (a return, a
/// failed test, `abort`, SIGKILL), the kernel closes the pipe and the watchdog wakes. A parent-death signal would reach the
/// child but not the child's children, and `atexit` does not run after SIGKILL.
///
/// `Process::spawn` documents the files that it reads. SIGQUIT lets PostgreSQL stop its own children and free its shared
/// memory. Servers that still run after ten seconds are killed.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
# A zombie still accepts signals, and in a container without an init it may never be reaped.
alive() {
    [ -r "/proc/$1/status" ] && ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null
}
left=
for file in "$1"/*/*.running; do
    [ -f "$file" ] || continue
    read -r signal pid < "$file" || continue
    kill -s "$signal" -- "-$pid" 2>/dev/null && left="$left $pid"
done
for pid in $left; do
    tries=0
    while [ $tries -lt 100 ] && alive "$pid"; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -s KILL -- "-$pid" 2>/dev/null
done
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
"#;

struct Home {
    path: PathBuf,
    _watchdog_until_closed: ChildStdin,
}

/// The folder of this test process, with a subfolder for each server. The watchdog removes it.
pub fn home() -> &'static Path {
    static HOME: OnceLock<Home> = OnceLock::new();
    let open_home = || -> io::Result<Home> {
        let path = tempfile::Builder::new().prefix("tenure-tests-").tempdir()?.keep();
        // PostgreSQL may run as another user, who must be able to enter.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        let mut watchdog = Command::new("sh")
            .arg("-c")
            .arg(WATCHDOG)
            .arg("tenure-tests-watchdog")
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            // A reader of our output must not have to wait for the watchdog.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of a Ctrl-C at the terminal.
            .process_group(0)
            .spawn()?;
        let stdin = watchdog.stdin.take().expect("asked for a pipe");
        Ok(Home {
            path,
            _watchdog_until_closed: stdin,
        })
    };
    let home = HOME.get_or_init(|| open_home().expect("a temporary folder with a watchdog"));
    &home.path
}

/// A new folder for a server, inside `home()`.
///
/// # Panics
/// With `TENURE_TEST_SERVERS=none`: every server needs a folder, so no server starts.
pub fn new_folder(name: &str) -> PathBuf {
    assert!(
        super::are_allowed(),
        "this test starts a server ({name}), which TENURE_TEST_SERVERS=none forbids: `just quick` skips names with `postgres`"
    );
    let folder = tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(home())
        .expect("a folder for a server")
        .keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).expect("our own folder");
    folder
}

/// A server process, the leader of its process group.
pub struct Process {
    child: Child,
    running: PathBuf,
}

impl Process {
    /// Starts `command` in a new process group and appends its output to `log`.
    ///
    /// While the process runs, `name.running` in `folder` holds the signal for the watchdog to send and the process id. The
    /// child writes that file before it executes the server, so the watchdog knows every server that runs.
    pub fn spawn(
        folder: &Path,
        name: &str,
        at_the_end: Signal,
        command: &Command,
        log: &Path,
    ) -> io::Result<Self> {
        let running = folder.join(format!("{name}.running"));
        let output = fs::File::options().create(true).append(true).open(log)?;
        let mut wrapped = Command::new("sh");
        wrapped
            .arg("-c")
            .arg(r#"echo "$0 $$" > "$1" && shift && exec "$@""#)
            .arg(at_the_end.as_str().trim_start_matches("SIG"))
            .arg(&running)
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        let child = wrapped
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        Ok(Self { child, running })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends `signal` to the server and waits until it exits; kills it after `patience`.
    pub fn end_with(mut self, signal: Signal, patience: Duration) {
        if !self.has_exited() {
            // The process may exit between the two calls: then there is nothing to signal.
            let _ = kill(self.pid(), signal);
        }
        let end = Instant::now() + patience;
        while !self.has_exited() {
            if Instant::now() > end {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_file(&self.running);
    }

    /// Sends SIGKILL to the process, its group and its descendants. To clients it looks like a power failure. PostgreSQL's
    /// backends lead their own sessions, so a signal to the group does not reach them.
    pub fn kill(mut self) {
        if !self.has_exited() {
            let family = descendants(self.child.id());
            let _ = killpg(self.pid(), Signal::SIGKILL);
            for pid in family {
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.running);
    }
}

/// The ids of all descendants of `ancestor`, from `/proc`.
fn descendants(ancestor: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // `pid (name) state parent …`; the name may contain spaces and brackets.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(processes.iter().filter(|it| it.1 == parent).map(|it| it.0));
        next += 1;
    }
    family.split_off(1)
}
