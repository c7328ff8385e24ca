//! Processes that we start, and the watchdog that sees to it that none outlives us.

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

/// Stops what is still running, and removes the folder, once the test process is gone.
///
/// It reads from a pipe whose other end only the test process holds. However that one ends (a return, a failed test,
/// `abort`, SIGKILL), the kernel closes the pipe and the watchdog wakes. A parent-death signal would not do: it
/// reaches the child alone, not what the child has started, and `atexit` does not run after SIGKILL.
///
/// The files it reads are named in `Process::spawn`. SIGQUIT lets PostgreSQL stop its own children and give back its
/// shared memory; whoever has not obeyed after ten seconds is killed.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
# One that is dead but not yet waited for still answers to signals, in a container without an init perhaps for ever.
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

/// The folder of this test process, in which every server has one of its own. The watchdog removes it.
pub fn home() -> &'static Path {
    static HOME: OnceLock<Home> = OnceLock::new();
    let open_home = || -> io::Result<Home> {
        let path = tempfile::Builder::new().prefix("tenure-tests-").tempdir()?.keep();
        // PostgreSQL may run as another user (see there) and has to pass through.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        let mut watchdog = Command::new("sh")
            .arg("-c")
            .arg(WATCHDOG)
            .arg("tenure-tests-watchdog")
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            // Whoever reads our output through a pipe must not have to wait for the watchdog.
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

/// A new folder inside `home()`.
pub fn new_folder(name: &str) -> PathBuf {
    let folder = tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(home())
        .expect("a folder for a server")
        .keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).expect("a folder of our own");
    folder
}

/// A server's process, leader of a process group.
pub struct Process {
    child: Child,
    running: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, its output appended to `log`.
    ///
    /// `name.running` in `folder` holds, for as long as the process runs, its id and the signal that the watchdog is
    /// to send. The child writes it itself before it becomes the server, so there is no moment at which the
    /// server runs and the watchdog does not know of it.
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

    /// Sends `signal` to the server and waits until it is gone; kills it when `patience` is over.
    pub fn end_with(mut self, signal: Signal, patience: Duration) {
        if !self.has_exited() {
            // It may go by itself between the two calls: then there is nobody left to be told.
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

    /// SIGKILL for the process, its group and all that it has started: what the machine's losing its power looks
    /// like to the clients. PostgreSQL's backends lead sessions of their own, so the group alone is not enough.
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

/// The ids of all processes that descend from `ancestor`, out of `/proc`.
fn descendants(ancestor: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // `pid (name) state parent …`, and a name may hold spaces and brackets.
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
