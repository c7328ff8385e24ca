//! Who runs a command, and why, for the audit log.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use nix::unistd::{Uid, User};

use crate::engine::Authority;
use crate::store::AuditHow;

/// The longest name and reason, in characters.
const LONGEST: usize = 2_000;

/// The user of the system that runs this command. With `sudo`, also who called it.
pub fn user() -> String {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten();
    let name = user.map_or_else(|| format!("uid {uid}"), |user| user.name);
    match std::env::var("SUDO_USER") {
        Ok(caller) if uid.is_root() && !caller.is_empty() => format!("{name} (sudo: {caller})"),
        _ => name,
    }
}

/// The user, and a reason.
pub fn authority(reason: Option<String>) -> Authority {
    let reason = reason.map(|reason| reason.trim().chars().take(LONGEST).collect::<String>());
    Authority {
        who: user().chars().take(LONGEST).collect(),
        how: AuditHow::Cli,
        reason: reason.filter(|reason| !reason.is_empty()),
        request_id: None,
    }
}

/// Asks for a reason on a terminal. None: nobody can answer, or the answer is empty.
pub fn ask_reason() -> Option<String> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return None;
    }
    let mut err = stderr();
    write!(err, "Reason, for the audit log (--reason): ").ok()?;
    err.flush().ok()?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line).ok()?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}
