//! Leads: work that one worker at a time does. The relay's is a lock on the file `tenure.db-relay`, next to the database, and that of
//! webhooks a lock on `tenure.db-webhooks`.
//!
//! The operating system releases the lock when the process ends, however it ends. A row with a lease would outlive its
//! holder, and would depend on two clocks. The lock is not on the database file: closing a second handle on that file
//! would release SQLite's own locks. Network file systems do not matter: SQLite's write-ahead log does not work on
//! them.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use crate::store::{Result, StoreError};

pub(super) struct Lead {
    database: PathBuf,
    /// What the name of its file ends with.
    suffix: &'static str,
    held: Mutex<Option<Held>>,
}

struct Held {
    file: File,
    path: PathBuf,
}

impl Lead {
    pub fn relay(database: &Path) -> Self {
        Self::of(database, "-relay")
    }

    pub fn delivery(database: &Path) -> Self {
        Self::of(database, "-webhooks")
    }

    fn of(database: &Path, suffix: &'static str) -> Self {
        Self {
            database: database.to_owned(),
            suffix,
            held: Mutex::default(),
        }
    }

    /// Acquires the lead, or checks that this process still has it. False: another process has it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the lock file cannot be opened or locked.
    pub fn acquire(&self) -> Result<bool> {
        let mut held = self.held();
        if held.as_ref().is_some_and(Held::is_in_place) {
            return Ok(true);
        }
        *held = None;
        let path =
            lock_file(&self.database, self.suffix).map_err(|error| unavailable(&self.database, &error))?;
        *held = try_lock(path.clone()).map_err(|error| unavailable(&path, &error))?;
        Ok(held.is_some())
    }

    /// Whether this process has lost its lead: somebody removed the lock file.
    pub fn is_lost(&self) -> bool {
        self.held().as_ref().is_some_and(|held| !held.is_in_place())
    }

    /// Releases the lead, and removes the file: a closed store is one file.
    pub fn release(&self) {
        if let Some(held) = self.held().take_if(|held| held.is_in_place()) {
            // Removed while locked, so that no other process's lock is removed. A leftover file does no harm.
            let _ = fs::remove_file(&held.path);
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether the locked file is still the one under its name.
    fn is_in_place(&self) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.file.metadata(), fs::metadata(&self.path)) else {
            return false;
        };
        (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
    }
}

/// Next to the database itself, as SQLite's own files: workers may use different links to it.
fn lock_file(database: &Path, suffix: &str) -> io::Result<PathBuf> {
    let mut name = OsString::from(database.canonicalize()?);
    name.push(suffix);
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
            // The last leader may have removed the file after it was opened here. Then the next attempt creates it.
            Ok(held.is_in_place().then_some(held))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "a lock file next to the database cannot be used: {}: {error}; let the worker write to the folder, \
         and use a file system with file locks",
        path.display()
    ))
}
