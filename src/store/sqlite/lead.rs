//! The relay's lead: a lock on a file beside the database, `tenure.db-relay`.
//!
//! The operating system releases the lock when the process ends, however it ends. A row with a lease would outlive its
//! holder and would depend on two clocks. The lock is not on the database file: closing a second handle on that file would
//! release SQLite's own locks. Network file systems need no care here: SQLite's write-ahead log does not work on them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Result, StoreError};

pub(super) struct Lead {
    database: PathBuf,
    held: Mutex<Option<Held>>,
}

struct Held {
    file: File,
    path: PathBuf,
}

impl Lead {
    pub fn of(database: &Path) -> Self {
        Self {
            database: database.to_owned(),
            held: Mutex::default(),
        }
    }

    /// Takes the lead, or checks that this process still has it. False: another process has it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the lock file cannot be opened or locked.
    pub fn acquire(&self) -> Result<bool> {
        let mut held = self.held();
        if held.as_ref().is_some_and(Held::is_in_place) {
            return Ok(true);
        }
        *held = None;
        let path = lock_file(&self.database).map_err(|error| unavailable(&self.database, &error))?;
        *held = try_lock(path.clone()).map_err(|error| unavailable(&path, &error))?;
        Ok(held.is_some())
    }

    /// Whether the lead is lost that this process had: somebody removed the lock file.
    pub fn is_lost(&self) -> bool {
        self.held().as_ref().is_some_and(|held| !held.is_in_place())
    }

    /// Releases the lead, and removes the file: a closed store is one file.
    pub fn release(&self) {
        if let Some(held) = self.held().take_if(|held| held.is_in_place()) {
            // Removed while it is locked, so that nobody else's lock is removed. A file that stays does no harm.
            let _ = fs::remove_file(&held.path);
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether the file that is locked is still the one that others find under its name.
    fn is_in_place(&self) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.file.metadata(), fs::metadata(&self.path)) else {
            return false;
        };
        (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
    }
}

/// Beside the database itself, as SQLite's own files are: workers may know it by different links.
fn lock_file(database: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(database.canonicalize()?);
    name.push("-relay");
    Ok(name.into())
}

fn try_lock(path: PathBuf) -> io::Result<Option<Held>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => {
            let held = Held { file, path };
            // Whoever had the lead may have removed the file since it was opened here. Then the next attempt makes it anew.
            Ok(held.is_in_place().then_some(held))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "the relay's lock file beside the database cannot be used: {}: {error}; the worker must be able to write to \
         the folder, and the file system must support file locks",
        path.display()
    ))
}
