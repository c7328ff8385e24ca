//! A pseudo-terminal with a program on it, and what the program has drawn.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long a program may take to draw something, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program on a pseudo-terminal. Dropping it kills the program.
pub struct PseudoTerminal {
    child: Child,
    master: File,
    /// Keeps the terminal open after the program has ended.
    slave: OwnedFd,
    before: Termios,
    drawn: Arc<Mutex<Drawn>>,
}

struct Drawn {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

fn size(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).expect("a size")
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl PseudoTerminal {
    /// Starts a command, whose program `setsid` starts with the terminal as its controlling one.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let path = ptsname(&master, Vec::new()).expect("a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let slave = rustix::fs::open(&path, flags, Mode::empty()).expect("the other end");
        tcsetwinsize(&master, winsize(columns, rows)).expect("a size");
        let before = tcgetattr(&slave).expect("its attributes");
        let end = || slave.try_clone().expect("a copy");
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("it can be started");
        let master = File::from(master);
        let drawn = Arc::new(Mutex::new(Drawn {
            parser: vt100::Parser::new(size(rows), size(columns), 0),
            bytes: Vec::new(),
        }));
        let (mut from, into) = (master.try_clone().expect("a copy"), drawn.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails when the other end is closed.
            while let Ok(read) = from.read(&mut bytes) {
                let mut drawn = into.lock().expect("no panic");
                drawn.parser.process(&bytes[..read]);
                drawn.bytes.extend_from_slice(&bytes[..read]);
            }
        });
        Self {
            child,
            master,
            slave,
            before,
            drawn,
        }
    }

    pub fn screen(&self) -> vt100::Screen {
        self.drawn.lock().expect("no panic").parser.screen().clone()
    }

    /// Everything that the program has written.
    pub fn bytes(&self) -> Vec<u8> {
        self.drawn.lock().expect("no panic").bytes.clone()
    }

    /// Waits until the screen is as expected.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut(&vt100::Screen) -> bool) {
        let drawn = super::tenure::wait_until(PATIENCE, || done(&self.screen()));
        assert!(
            drawn.is_ok(),
            "no {what} on the screen:\n{}",
            self.screen().contents()
        );
    }

    /// Waits until the screen shows a text.
    pub fn wait_for(&self, text: &str) {
        self.wait_until(&format!("{text:?}"), |screen| screen.contents().contains(text));
    }

    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("written");
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        nix::sys::signal::kill(Pid::from_raw(id), signal).expect("it runs");
    }

    /// The kernel tells the program.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut drawn = self.drawn.lock().expect("no panic");
        drawn.parser.set_size(size(rows), size(columns));
        tcsetwinsize(&self.master, winsize(columns, rows)).expect("a size");
    }

    /// Waits until the program has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = super::tenure::wait_until(PATIENCE, || {
            status = self.child.try_wait().expect("the process is ours");
            status.is_some()
        });
        ended.unwrap_or_else(|()| panic!("it does not end:\n{}", self.screen().contents()));
        status.expect("it has ended")
    }

    /// Everything that the program has written until it ended.
    pub fn printed(&mut self) -> (ExitStatus, String) {
        const END: &[u8] = b"\x01the end\x01";
        let status = self.ended();
        // It comes after everything else.
        let mut slave = File::from(self.slave.try_clone().expect("a copy"));
        slave.write_all(END).expect("written");
        let read = super::tenure::wait_until(PATIENCE, || self.bytes().ends_with(END));
        assert!(read.is_ok(), "the terminal was not read to its end");
        let bytes = self.bytes();
        let text = String::from_utf8(bytes[..bytes.len() - END.len()].to_vec());
        (status, text.expect("UTF-8"))
    }

    /// Whether the terminal is as it was before the program started: its modes, its screen, its cursor.
    pub fn is_restored(&self) -> bool {
        let after = tcgetattr(&self.slave).expect("its attributes");
        let screen = self.screen();
        format!("{after:?}") == format!("{:?}", self.before)
            && !screen.alternate_screen()
            && !screen.hide_cursor()
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
