//! Gives a process its own clock, with libfaketime.

use std::path::{Path, PathBuf};

/// The environment that shifts the clock of a process by the contents of `file`, such as `+0`, `+400d` or `-10m`. The process
/// reads the file at each call. The monotonic clock stays real.
///
/// # Panics
/// If libfaketime is not installed; the message says how to install it.
pub fn env(file: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("LD_PRELOAD", library().to_string_lossy().into_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_string_lossy().into_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// tests/run looks in the same places.
fn library() -> PathBuf {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let found = folders.iter().flat_map(|folder| {
        let below = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let below = below.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
        below.chain([Path::new(folder).join("faketime/libfaketime.so.1")])
    });
    found.into_iter().find(|library| library.is_file()).unwrap_or_else(|| {
        panic!(
            "no libfaketime: looked for faketime/libfaketime.so.1 in /usr/lib, /usr/lib/*, /usr/lib64 and /usr/local/lib. Run \
             tests/run, or install it (Debian: apt-get install faketime)."
        )
    })
}
