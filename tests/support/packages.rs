//! Packages from the registries of Node, Python and Rust, which `tests/packages` installs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::repository;

/// A folder with the `node_modules` that the lock file in this folder names. None, with a line on standard error: they cannot be
/// installed here, and the test that needs them does not run.
pub fn node(folder: &str) -> Option<PathBuf> {
    install("node", folder)
}

/// The command that runs `program`, a module of this folder, with its packages. None: as for [`node`].
pub fn module(folder: &str, program: &str) -> Option<Command> {
    let packages = node(folder)?;
    Some(module_in(
        &packages,
        &repository::read(format!("{folder}/{program}")),
    ))
}

/// The command that runs the text of a module in a folder with packages, beside which a module looks for them.
pub fn module_in(packages: &Path, text: &str) -> Command {
    let mut command = Command::new("node");
    // The arguments of the program begin behind its name.
    command
        .current_dir(packages)
        .args(["--input-type=module", "--eval", text, "--", "program"]);
    command
}

/// A folder for `PYTHONPATH` with the packages that this requirements file names. None: as for [`node`].
pub fn python(requirements: &str) -> Option<PathBuf> {
    install("python", requirements)
}

/// A folder with the `bin` of the program that this file names. None: as for [`node`].
pub fn cargo(file: &str) -> Option<PathBuf> {
    install("cargo", file)
}

/// Reports a test that does not run. `cargo test` hides what a passing test prints, but not this. `tests/run` lists the file's
/// lines at its end.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let skipped = format!("{}: {}\n", thread.name().unwrap_or("a test"), why.trim_end());
    let _ = write!(std::io::stderr(), "DID NOT RUN: {skipped}");
    if let Some(list) = std::env::var_os("TENURE_TEST_SKIPPED") {
        let list = OpenOptions::new().append(true).open(list);
        let written = list.and_then(|mut list| list.write_all(skipped.as_bytes()));
        written.expect("the list of skipped tests can be written");
    }
}

fn install(kind: &str, from: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("tests/packages"))
        .args([kind, from])
        .output()
        .expect("tests/packages can be started");
    match output.status.code() {
        Some(0) => Some(PathBuf::from(
            String::from_utf8(output.stdout).expect("text").trim_end(),
        )),
        Some(3) => {
            skip(&String::from_utf8_lossy(&output.stderr));
            None
        }
        _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}
