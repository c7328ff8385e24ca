//! Whose turn it is to write. SQLite has one writer, and lets no one know that others wait: they ask again and again, and
//! whoever has just ended a transaction is faster with the next.
//!
//! So whoever wants to write first locks a file beside the database, and holds it until it has the right to write. One that
//! has it, and has much more to do, sees from that lock that somebody waits, in this process or another; it ends its
//! transaction, and comes behind them. The lock is the system's: it goes with the process that held it. It is for
//! fairness alone. Where it cannot be had, everybody goes on without.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often whoever waits asks again.
const AGAIN: Duration = Duration::from_millis(5);

/// The file that is locked.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Path>);

/// The turn of whoever holds it, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<File>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // It would end with the file, too.
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

    /// Waits until it is our turn to ask for the right to write, and at most as long as that may take.
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

    /// Whether somebody waits for the right to write.
    pub fn others_wait(&self) -> bool {
        let Some(file) = self.open() else {
            return false;
        };
        let locked = file.try_lock();
        matches!(locked, Err(TryLockError::WouldBlock))
    }

    /// Removes the file, unless somebody holds it: a closed store is one file. Whoever comes next makes it anew.
    pub fn remove(&self) {
        if let Some(file) = self.open()
            && file.try_lock().is_ok()
        {
            // A file that stays does no harm.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// Each has a handle of its own: the lock belongs to the handle, and so it works within a process as well.
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
    async fn whoever_waits_is_seen_and_the_next_comes_behind() {
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
    async fn without_the_file_everybody_goes_on() {
        let turns = Turns::beside(Path::new("/nowhere/t.db"));
        assert!(turns.acquire(Duration::ZERO).await.0.is_none());
        assert!(!turns.others_wait());
    }
}
