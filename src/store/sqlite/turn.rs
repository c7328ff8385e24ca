//! Turns to write. SQLite has one writer and no queue: waiting processes poll, and the process that has just ended a
//! transaction wins again with its next one.
//!
//! So a writer first locks a file next to the database, until it has SQLite's write lock. A writer with more to do sees
//! from that lock that another one waits, in this process or another: it ends its transaction and queues behind it. The
//! operating system releases the lock with its process. It serves fairness only: without it, everybody continues.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a waiting writer polls.
const AGAIN: Duration = Duration::from_millis(5);

/// The file that is locked.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Path>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<File>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // Closing the file would unlock it too.
            let _ = file.unlock();
        }
    }
}

impl Turns {
    pub fn beside(database: &Path) -> Self {
        let mut name = OsString::from(database);
        name.push("-turn");
        Self(PathBuf::from(name).into())
    }

    /// Waits for a turn, at most for `patience`.
    pub async fn acquire(&self, patience: Duration) -> Turn {
        let Some(file) = self.open() else {
            return Turn(None);
        };
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Turn(Some(file)),
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(_) => return Turn(None),
            }
        }
    }

    /// Whether another writer waits.
    pub fn others_wait(&self) -> bool {
        let Some(file) = self.open() else {
            return false;
        };
        let locked = file.try_lock();
        matches!(locked, Err(TryLockError::WouldBlock))
    }

    /// Removes the file, unless it is locked: a closed store is one file. The next writer creates it again.
    pub fn remove(&self) {
        if let Some(file) = self.open()
            && file.try_lock().is_ok()
        {
            // A leftover file does no harm.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// Each turn has its own handle: the lock belongs to the handle, so it also works within a process.
    fn open(&self) -> Option<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiting_writer_is_detected_and_goes_next() {
        let folder = tempfile::tempdir().unwrap();
        let turns = Turns::beside(&folder.path().join("t.db"));
        let other = Turns::beside(&folder.path().join("t.db"));
        assert!(!turns.others_wait());
        let turn = turns.acquire(Duration::ZERO).await;
        assert!(turn.0.is_some() && other.others_wait());
        assert!(other.acquire(Duration::from_millis(20)).await.0.is_none());
        drop(turn);
        assert!(!other.others_wait());
        assert!(other.acquire(Duration::ZERO).await.0.is_some());
        turns.remove();
        assert!(!turns.0.exists());
    }

    #[tokio::test]
    async fn without_the_file_writers_do_not_wait() {
        let turns = Turns::beside(Path::new("/nowhere/t.db"));
        assert!(turns.acquire(Duration::ZERO).await.0.is_none());
        assert!(!turns.others_wait());
    }
}
