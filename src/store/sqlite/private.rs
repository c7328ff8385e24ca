//! Who may read the file: the user that Tenure runs as, and nobody else.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes an empty file for this user alone, before SQLite would make one for everybody. SQLite gives the files beside it
/// (`-wal`, `-shm`) the same permissions. A file that is there already keeps its own; if others may read it, the log says
/// so.
///
/// Where no file can be made, SQLite says why when it opens it.
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
            "other users of this machine can read the store; run `chmod 600` on the file and on those beside it that end \
             in -wal and -shm"
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
