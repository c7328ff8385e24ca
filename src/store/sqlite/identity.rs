//! Identity of the store's files: whether the database and its write-ahead log are the ones that this process opened,
//! and whether they belong together.
//!
//! SQLite does not check either. Two fields of the database header, which applications may set, link the files
//! (docs/decisions/0011-sqlite-files-are-marked.md): `user_version` holds a random mark, `application_id` the mark of the
//! database file that the log builds on. Every generation of the log begins with a new mark.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};

use super::session::Transaction;
use super::{PATIENCE, primary_code};
use crate::store::{Result, StoreError};

/// How often the marks are read before files count as foreign: another process may be between a checkpoint and its next mark.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What identifies the files of a store.
pub(super) struct Identity {
    path: PathBuf,
    main: OnceLock<Arc<MainFile>>,
    /// Set once the store is open for writing.
    watched: OnceLock<Watched>,
}

/// The files as they were when this process opened them.
struct Watched {
    main: Arc<MainFile>,
    wal: PathBuf,
    wal_id: FileId,
    /// Reads the marks as the log has them. SQLite removes the log with the last connection, and while this one is open
    /// the log stays the same file.
    reader: tokio::sync::Mutex<Option<SqliteConnection>>,
    /// The header of the database file that was last found to belong to the log.
    accepted: Mutex<Header>,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self(found.dev(), found.ino()))
    }
}

/// The fields of the database header that identify a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// `user_version`. Zero: no version of Tenure that sets marks has written the file.
    mark: i32,
    /// `application_id`: the mark of the database file when this mark was set.
    base: i32,
    /// Changes with the schema. SQLite's own copies (`.backup`, `vacuum into`) have another one than their source.
    schema_cookie: u32,
}

impl Header {
    /// Length of the header of a database file.
    const LENGTH: usize = 100;

    /// None: not the header of a SQLite database.
    fn parse(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let field = |at: usize| bytes[at..at + 4].try_into().map(u32::from_be_bytes).ok();
        bytes.starts_with(b"SQLite format 3\0").then_some(())?;
        Some(Self {
            mark: field(60)?.cast_signed(),
            base: field(68)?.cast_signed(),
            schema_cookie: field(40)?,
        })
    }

    /// The header with the transactions of the log.
    async fn with_log(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        // In one transaction, so that all three are of one moment.
        let mut transaction = connection.begin().await?;
        let header = Self::read(&mut transaction).await?;
        transaction.rollback().await?;
        Ok(header)
    }

    async fn read(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let mark = sqlx::query_scalar("pragma user_version")
            .fetch_one(&mut *connection)
            .await?;
        let base = sqlx::query_scalar("pragma application_id")
            .fetch_one(&mut *connection)
            .await?;
        let schema_cookie = sqlx::query_scalar("pragma schema_version")
            .fetch_one(&mut *connection)
            .await?;
        Ok(Self {
            mark,
            base,
            schema_cookie,
        })
    }

    /// Whether a database file with the header `file` belongs to a log with this one: no page of the log was copied into
    /// the file since the mark was set, or a checkpoint copied them.
    fn belongs_to(self, file: Self) -> bool {
        let copied = file.mark == self.mark && (self.mark == 0 || file.schema_cookie == self.schema_cookie);
        copied || file.mark == self.base
    }
}

/// A handle on the database file. The process has one for each file, and closes it with its last store: closing any
/// handle on the file would release the locks that SQLite holds for the whole process.
struct MainFile {
    file: File,
    id: FileId,
}

impl MainFile {
    fn open(path: &Path) -> io::Result<Arc<Self>> {
        static OPEN: Mutex<Option<HashMap<FileId, Weak<MainFile>>>> = Mutex::new(None);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        open.retain(|_, file| file.strong_count() > 0);
        let known = FileId::of(path).and_then(|id| open.get(&id)?.upgrade());
        if let Some(known) = known {
            return Ok(known);
        }
        let file = File::open(path)?;
        let found = file.metadata()?;
        let id = FileId(found.dev(), found.ino());
        let opened = Arc::new(Self { file, id });
        open.insert(id, Arc::downgrade(&opened));
        Ok(opened)
    }

    /// The header as it is in the file, without the log. None: the file is not a database, or is being overwritten.
    fn header(&self) -> Option<Header> {
        let mut bytes = [0; Header::LENGTH];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        Header::parse(&bytes)
    }

    /// Whether the file belongs to the log that this connection reads.
    async fn belongs(&self, connection: &mut SqliteConnection) -> Result<Option<Header>> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            let Some(header) = self.header() else {
                return Ok(None);
            };
            match Header::with_log(connection).await {
                Ok(with_log) if with_log.belongs_to(header) => return Ok(Some(header)),
                Ok(_) => {}
                // Pages of two databases.
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

impl Identity {
    pub fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            main: OnceLock::new(),
            watched: OnceLock::new(),
        }
    }

    /// Checks the files before SQLite opens them: it would copy the pages of any log into any database.
    ///
    /// # Errors
    /// [`StoreError::ForeignLog`] when a log is there that does not belong to the database.
    pub async fn admit(&self) -> Result<()> {
        let wal = self.wal();
        if is_empty(&wal) {
            return Ok(());
        }
        let foreign = || StoreError::ForeignLog(self.path.display().to_string());
        if is_empty(&self.path) {
            return Err(foreign());
        }
        let main = self.main()?;
        let mut connection = self.reader().await?;
        let belongs = main.belongs(&mut connection).await;
        // A connection that only reads leaves the log as it is.
        let _ = connection.close().await;
        belongs?.map(drop).ok_or_else(foreign)
    }

    /// Whether no log is there: nobody has the store open, or nobody has written to it yet.
    pub fn has_no_log(&self) -> bool {
        is_empty(&self.wal())
    }

    /// Sets a new mark, as part of a transaction that writes.
    pub async fn mark(&self, transaction: &mut SqliteConnection) -> Result<()> {
        let base = self.main()?.header().map_or(0, |header| header.mark);
        set_mark(transaction, base).await
    }

    /// Copies the log into the database, and marks the log that begins then. A copy of the database that was made while
    /// nobody had it open has another mark from now on.
    pub async fn renew(&self, writer: &SqlitePool) -> Result<()> {
        // It may leave a part to the next checkpoint, if another process reads meanwhile.
        writer.execute("pragma wal_checkpoint(passive)").await?;
        let main = self.main()?;
        self.mark_new_log(&main, writer).await
    }

    /// Watches the files from now on. The log is there, because migrating wrote to it.
    pub async fn watch(&self) -> Result<()> {
        if self.watched.get().is_some() {
            return Ok(());
        }
        let main = self.main()?;
        let mut reader = self.reader().await?;
        let wal = self.wal();
        let (Some(accepted), Some(wal_id)) = (main.belongs(&mut reader).await?, FileId::of(&wal)) else {
            return Err(self.replaced());
        };
        let _ = self.watched.set(Watched {
            main,
            wal,
            wal_id,
            reader: tokio::sync::Mutex::new(Some(reader)),
            accepted: Mutex::new(accepted),
        });
        Ok(())
    }

    /// Checks the files. What was committed before a successful check is in the files that others find under their names.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub async fn check(&self) -> Result<()> {
        let Some(watched) = self.watched.get() else {
            return Ok(());
        };
        if !watched.are_in_place(&self.path) {
            return Err(self.replaced());
        }
        let header = watched.main.header().ok_or_else(|| self.replaced())?;
        if header == *watched.accepted() {
            return Ok(());
        }
        let mut reader = watched.reader.lock().await;
        let Some(reader) = reader.as_mut() else {
            return Ok(());
        };
        watched
            .main
            .belongs(reader)
            .await?
            .map(drop)
            .ok_or_else(|| self.replaced())
    }

    /// The same before a write. The first one after a checkpoint may begin a new log, and marks it.
    ///
    /// # Errors
    /// As [`Identity::check`].
    pub async fn check_to_write(&self, writer: &SqlitePool) -> Result<()> {
        self.check().await?;
        if let Some(watched) = self.watched.get()
            && let Some(header) = watched.main.header()
            && header != *watched.accepted()
        {
            self.mark_new_log(&watched.main, writer).await?;
            *watched.accepted() = header;
        }
        Ok(())
    }

    /// Stops watching. False: closing the last connection would copy the log into a database that is not its own, or
    /// remove the log of another process.
    pub async fn close(&self) -> bool {
        let Some(watched) = self.watched.get() else {
            return true;
        };
        let mut held = watched.reader.lock().await;
        let Some(mut reader) = held.take() else {
            return watched.is_safe_to_close(&self.path);
        };
        let is_safe = watched.is_moved(&self.path)
            || watched.has_no_other_log() && matches!(watched.main.belongs(&mut reader).await, Ok(Some(_)));
        if is_safe {
            let _ = reader.close().await;
        } else {
            *held = Some(reader);
        }
        is_safe
    }

    /// The same where nothing can be awaited; doubt counts as no.
    pub fn is_safe_to_close(&self) -> bool {
        self.watched
            .get()
            .is_none_or(|watched| watched.is_safe_to_close(&self.path))
    }

    /// Sets a new mark, unless another process has set one since the checkpoint.
    async fn mark_new_log(&self, main: &MainFile, writer: &SqlitePool) -> Result<()> {
        let mut transaction = Transaction::begin(writer).await?;
        let with_log = Header::read(&mut transaction).await?;
        if let Some(header) = main.header()
            && header.mark == with_log.mark
        {
            set_mark(&mut transaction, header.mark).await?;
        }
        transaction.commit().await
    }

    fn main(&self) -> Result<Arc<MainFile>> {
        if let Some(main) = self.main.get() {
            return Ok(main.clone());
        }
        let main = MainFile::open(&self.path)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", self.path.display())))?;
        Ok(self.main.get_or_init(|| main).clone())
    }

    async fn reader(&self) -> Result<SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(PATIENCE)
            .read_only(true);
        Ok(options.connect().await?)
    }

    /// SQLite follows links before it names the log.
    fn wal(&self) -> PathBuf {
        let mut name = OsString::from(self.path.canonicalize().unwrap_or_else(|_| self.path.clone()));
        name.push("-wal");
        name.into()
    }

    fn replaced(&self) -> StoreError {
        StoreError::Replaced(self.path.display().to_string())
    }
}

impl Watched {
    fn are_in_place(&self, path: &Path) -> bool {
        FileId::of(path) == Some(self.main.id) && FileId::of(&self.wal) == Some(self.wal_id)
    }

    /// Whether the database file is no longer under its name. SQLite notices that, and then copies and removes nothing.
    fn is_moved(&self, path: &Path) -> bool {
        FileId::of(path) != Some(self.main.id)
    }

    /// Whether the log is ours, or was removed: then closing the last connection saves its transactions.
    fn has_no_other_log(&self) -> bool {
        FileId::of(&self.wal).is_none_or(|id| id == self.wal_id)
    }

    fn is_safe_to_close(&self, path: &Path) -> bool {
        self.is_moved(path) || self.has_no_other_log() && self.main.header() == Some(*self.accepted())
    }

    fn accepted(&self) -> MutexGuard<'_, Header> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pragma takes no parameters.
async fn set_mark(transaction: &mut SqliteConnection, base: i32) -> Result<()> {
    let mark = loop {
        match rand::random::<i32>() {
            0 => {}
            mark if mark == base => {}
            mark => break mark,
        }
    };
    let set = format!("pragma user_version = {mark}; pragma application_id = {base}");
    transaction.execute(set.as_str()).await?;
    Ok(())
}

/// Whether a file is damaged, or is not a database.
fn is_damage(error: &sqlx::Error) -> bool {
    const SQLITE_CORRUPT: i32 = 11;
    const SQLITE_NOTADB: i32 = 26;
    matches!(primary_code(error), Some(SQLITE_CORRUPT | SQLITE_NOTADB))
}

/// Whether a file is empty, or is not there.
fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.len() == 0)
}
