//! Finds and runs PostgreSQL's programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::{is_root, search_path, selected, versions};

/// The folder of `initdb` and `postgres`. Debian installs each version into its own folder, outside the PATH.
pub fn find_programs() -> Result<PathBuf, String> {
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

pub fn init_cluster(programs: &Path, folder: &Path) -> Result<(), String> {
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

pub fn run_psql(mut psql: Command, url: &str, statements: &str) -> Result<String, String> {
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

pub fn succeed(mut command: Command) {
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}: {stderr}", done.status);
}

/// PostgreSQL refuses to run as root. Then it runs as the user from Debian's package.
pub fn as_server_user(program: &Path) -> Command {
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

pub fn server_user() -> &'static str {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|user| user.starts_with("postgres:")) {
        "postgres"
    } else {
        "nobody"
    }
}

/// Removes environment variables that would lead PostgreSQL's programs to the developer's own server.
pub fn without_settings(mut command: Command) -> Command {
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("PG") {
            command.env_remove(key);
        }
    }
    // We search for some messages in English.
    command.env("LC_ALL", "C");
    command
}
