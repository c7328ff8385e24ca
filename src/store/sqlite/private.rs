//! Permissions of the file: only the user that runs Tenure may read it.

use std::fs;
use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Creates an empty file for this user alone, before SQLite would create one for everybody. SQLite gives its other
/// files (`-wal`, `-shm`) the same permissions. An existing file keeps its permissions; the log warns if others may
/// read it.
///
/// If no file can be created, SQLite reports why when it opens it.
pub(super) fn make(path: &Path) {
    let path = &target(path);
    let new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    if new.is_ok() {
        return;
    }
    let Ok(found) = fs::metadata(path) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if found.is_file() && mode & 0o044 != 0 {
        tracing::warn!(
            file = %path.display(),
            mode = format!("{mode:o}"),
            "other users of this machine can read the store; run `chmod 600` on the file and on its -wal and -shm files"
        );
    }
}

/// Follows links whose target does not exist yet: a new file cannot be made through them.
fn target(path: &Path) -> PathBuf {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&target) else {
            break;
        };
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    target
}
