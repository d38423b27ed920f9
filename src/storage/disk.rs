//! The real store: one redb file. The only file that names the database crate.
//!
//! ```text
//! open: lock ▶ (make) ▶ redb ▶ format version ▶ migrations
//! commit: free space? ▶ one transaction ▶ fsync        error ▶ close ▶ back-off ▶ open again
//! ```
//!
//! redb refuses every further write after an I/O error until its file is opened anew, so any error
//! closes the handle. A commit that failed may be on disk: the caller commits the same batch again.
//! Quick repair is on: it costs a commit its second fsync, and makes the open after a crash read a few
//! pages instead of the whole file.

mod copy;

pub(super) use copy::DiskCopy;

use super::flight::retry_ms;
use super::keys::{Key, Table};
use super::lock::{LockFile, private};
use super::{Batch, Engine, FETCH_BYTES_MAX, KeyRange, Row, Rows, StoreError};
use crate::clock::Clock;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _,
    TableDefinition,
};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::COMPACT_ROUNDS_MAX;
pub use crate::limits::{DISK_CACHE_BYTES, DISK_RESERVE_BYTES};
/// The version of what is in the file; each migration leads to the next.
pub const FORMAT_VERSION: u32 = 1 + MIGRATIONS.len() as u32;

/// All rows of all tables.
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// Turns the rows of one format version into those of the next, in one transaction.
type Migration = fn(&mut RowsToWrite<'_>) -> Result<(), redb::Error>;
type RowsToWrite<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;
/// The migration at index `n` leads from version `n + 1` to `n + 2`.
///
/// | version | what is in the rows |
/// |---|---|
/// | 1 | accounts, their counters, secrets: logging in, nothing else |
/// | 2 | the same rows, and those of instant messaging beside them |
const MIGRATIONS: &[Migration] = &[instant_messaging];

/// No row changes. A program of version 1 would remove an account and leave its roster and messages to the next one of the
/// same name: the version tells it to keep away.
fn instant_messaging(_: &mut RowsToWrite<'_>) -> Result<(), redb::Error> {
    Ok(())
}

/// How a [`Disk`] is opened.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Most bytes of pages kept in memory.
    pub cache_bytes: usize,
    /// Space that a commit leaves free on the disk, beside twice its own size.
    pub reserve_bytes: u64,
    /// Whether a store is made where there is none.
    pub create: bool,
    /// Whether an open after a crash is fast, for a second fsync a commit.
    pub quick_repair: bool,
    /// Whether every page's checksum is verified on opening. Reads the whole file.
    pub verify: bool,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            cache_bytes: DISK_CACHE_BYTES,
            reserve_bytes: DISK_RESERVE_BYTES,
            create: false,
            quick_repair: true,
            verify: false,
        }
    }
}

/// An engine on a file.
pub struct Disk {
    path: PathBuf,
    options: DiskOptions,
    /// `None` after an I/O error, until it is opened again.
    database: Option<Database>,
    failures: u32,
    reopen_at_ms: u64,
    system: Box<dyn System>,
    // Dropped last: the file is closed before the lock is given up.
    _lock: LockFile,
}

/// What the store asks of the machine; another one in tests.
trait System: Send {
    /// Milliseconds since some start.
    fn now_ms(&mut self) -> u64;
    /// Space left for this process where `path` is, if the system says.
    fn free_bytes(&mut self, path: &Path) -> Option<u64>;
    /// Opens the database in an existing file, or makes one in an empty file.
    fn open(&mut self, builder: &mut Builder, file: File) -> Result<Database, DatabaseError>;
}

/// The machine itself.
struct Machine(Clock);

impl System for Machine {
    fn now_ms(&mut self) -> u64 {
        self.0.now().mono_ms
    }

    fn free_bytes(&mut self, path: &Path) -> Option<u64> {
        let disk = rustix::fs::statvfs(path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn open(&mut self, builder: &mut Builder, file: File) -> Result<Database, DatabaseError> {
        builder.create_with_backend(FileBackend::new(file)?)
    }
}

impl Disk {
    /// Opens the store at `path`; repairs it after a crash, brings an older format up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] with the sentence for the operator; the file is then as it was, or repaired.
    pub fn open(path: &Path, options: DiskOptions) -> Result<Self, StoreError> {
        Self::open_on(path, options, Box::new(Machine(Clock::new())))
    }

    fn open_on(path: &Path, options: DiskOptions, system: Box<dyn System>) -> Result<Self, StoreError> {
        // Before the lock: asking for a store that is not there leaves no file behind.
        if !options.create && !has_store(path)? {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let lock = LockFile::take(path)?;
        let path = path.to_owned();
        let mut disk = Self { path, options, database: None, failures: 0, reopen_at_ms: 0, system, _lock: lock };
        if !has_store(&disk.path)? {
            disk.make()?;
        }
        let database = disk.open_file(&disk.path.clone(), false)?;
        migrate(&database, &disk.path, MIGRATIONS)?;
        disk.database = Some(database);
        Ok(disk)
    }

    /// Makes an empty store. It gets its name when it is complete: a crash leaves no half a store.
    fn make(&mut self) -> Result<(), StoreError> {
        let new = self.path.with_extension("new");
        let _ = fs::remove_file(&new);
        let database = self.open_file(&new, true)?;
        stamp(&database).map_err(|error| fault(&new, error))?;
        database.close().map_err(|error| fault(&new, error.into()))?;
        fs::rename(&new, &self.path).map_err(|error| StoreError::io("renaming", &new, &error))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| StoreError::io("writing", folder, &error))
    }

    fn open_file(&mut self, path: &Path, create: bool) -> Result<Database, StoreError> {
        let file = private(OpenOptions::new().read(true).write(true).create(create).truncate(false))
            .open(path)
            .map_err(|error| StoreError::io("opening", path, &error))?;
        let mut builder = Database::builder();
        builder.set_cache_size(self.options.cache_bytes);
        if self.options.verify {
            builder.set_check_integrity_on_open(true);
        } else {
            let path = path.to_owned();
            builder.set_repair_callback(move |repair| {
                if repair.progress() == 0.0 {
                    log::warn!(
                        "the store {} was not closed: checking all of it, which can take a while",
                        path.display()
                    );
                }
            });
        }
        self.system.open(&mut builder, file).map_err(|error| fault(path, error.into()))
    }

    /// Rewrites the file so that it takes no more room than its rows need. For a store that serves nobody.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the disk; the rows are safe in any case.
    pub fn compact(&mut self) -> Result<Compacted, StoreError> {
        let bytes_before = self.file_bytes()?;
        self.with_database(|database| {
            for _ in 0..COMPACT_ROUNDS_MAX {
                if !database.compact()? {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(Compacted { bytes_before, bytes_after: self.file_bytes()? })
    }

    fn file_bytes(&self) -> Result<u64, StoreError> {
        let data = fs::metadata(&self.path).map_err(|error| StoreError::io("reading", &self.path, &error))?;
        Ok(data.len())
    }

    /// Does `work` on the open database. Any error closes it: redb wants its file opened anew.
    fn with_database<T>(
        &mut self,
        work: impl FnOnce(&mut Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut database = match self.database.take() {
            Some(database) => database,
            None => self.reopen()?,
        };
        match work(&mut database) {
            Ok(done) => {
                self.database = Some(database);
                Ok(done)
            }
            Err(error) => {
                self.back_off();
                Err(fault(&self.path, error))
            }
        }
    }

    /// Opens the file again after an I/O error, unless that was tried too short a time ago.
    fn reopen(&mut self) -> Result<Database, StoreError> {
        if self.system.now_ms() < self.reopen_at_ms {
            return Err(StoreError::Unavailable);
        }
        let path = self.path.clone();
        // An empty file in its place would pass for a new store.
        let opened = match has_store(&path) {
            Ok(true) => self.open_file(&path, false),
            Ok(false) => Err(StoreError::Missing { path }),
            Err(error) => Err(error),
        };
        opened.inspect_err(|_| self.back_off())
    }

    fn back_off(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.reopen_at_ms = self.system.now_ms().saturating_add(retry_ms(self.failures));
    }

    fn check_space(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let needed = self.options.reserve_bytes.saturating_add(2 * batch.bytes() as u64);
        match self.system.free_bytes(&self.path) {
            Some(free) if free < needed => Err(StoreError::DiskFull { free, needed }),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).field("is_open", &self.database.is_some()).finish()
    }
}

impl Engine for Disk {
    fn fetch(&mut self, ranges: &[KeyRange]) -> Result<Vec<Rows>, StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(ROWS)?;
            let mut budget = FETCH_BYTES_MAX;
            ranges.iter().map(|range| read(&table, range, &mut budget)).collect()
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.check_space(batch)?;
        let quick_repair = self.options.quick_repair;
        self.with_database(|database| {
            write(database, quick_repair, |table| {
                for (key, value) in batch.iter() {
                    match value {
                        Some(value) => table.insert(key, value)?,
                        None => table.remove(key)?,
                    };
                }
                Ok(())
            })
        })?;
        self.failures = 0;
        Ok(())
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        self.with_database(|database| Ok(database.begin_read()?.open_table(ROWS)?.len()?))
    }
}

/// What [`Disk::compact`] did to the size of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub bytes_before: u64,
    /// After.
    pub bytes_after: u64,
}

/// Whether there is a file with anything in it.
fn has_store(path: &Path) -> Result<bool, StoreError> {
    match fs::metadata(path) {
        Ok(data) => Ok(data.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("reading", path, &error)),
    }
}

fn read(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: &KeyRange,
    budget: &mut usize,
) -> Result<Rows, redb::Error> {
    if range.is_empty() {
        return Ok(Rows { rows: Vec::new(), complete: true });
    }
    let rows = table.range::<&[u8]>(&*range.from..&*range.to)?;
    let owned = |row: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, _>), _>| -> Result<Row, redb::Error> {
        let (key, value): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>) = row?;
        Ok((key.value().to_vec(), value.value().to_vec()))
    };
    if range.reverse {
        Rows::collect(range, rows.rev().map(owned), budget)
    } else {
        Rows::collect(range, rows.map(owned), budget)
    }
}

/// One transaction, durable on return.
fn write(
    database: &Database,
    quick_repair: bool,
    work: impl FnOnce(&mut RowsToWrite<'_>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(quick_repair);
    work(&mut transaction.open_table(ROWS)?)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn version_key() -> Key {
    Key::new(Table::Meta).text("format")
}

/// Writes the format version into an empty database.
fn stamp(database: &Database) -> Result<(), redb::Error> {
    write(database, true, |table| set_version(table, FORMAT_VERSION))
}

fn set_version(table: &mut RowsToWrite<'_>, version: u32) -> Result<(), redb::Error> {
    table.insert(version_key().as_bytes(), &version.to_be_bytes()[..])?;
    Ok(())
}

/// The format version, or `None` if the file has none: it is another program's.
fn version(database: &Database) -> Result<Option<u32>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(ROWS) {
        Err(redb::TableError::TableDoesNotExist(_) | redb::TableError::TableTypeMismatch { .. }) => return Ok(None),
        table => table?,
    };
    let row = table.get(version_key().as_bytes())?;
    Ok(row.and_then(|row| row.value().try_into().ok()).map(u32::from_be_bytes))
}

/// Checks the format version, and runs what leads from an older one to the one behind the last of
/// `migrations`. Each step is one transaction with its version: a crash between two is continued.
fn migrate(database: &Database, path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let known = 1 + migrations.len() as u32;
    let found = version(database).map_err(|error| fault(path, error))?;
    let found = found.filter(|found| *found > 0).ok_or_else(|| StoreError::NotAStore { path: path.to_owned() })?;
    if found > known {
        return Err(StoreError::NewerFormat { found, known });
    }
    for (to, migration) in (2..).zip(migrations).skip(found as usize - 1) {
        log::info!("the store {} is brought from format version {} to {to}", path.display(), to - 1);
        let step = write(database, true, |table| {
            migration(table)?;
            set_version(table, to)
        });
        step.map_err(|error| fault(path, error))?;
    }
    Ok(())
}

/// What redb says, in our words.
fn fault(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => StoreError::Locked { path, pid: None },
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => StoreError::NotAStore { path },
        redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::Corrupt { path, detail: "it ends too early".to_owned() }
        }
        redb::Error::Io(error) => StoreError::io("using", &path, &error),
        redb::Error::Corrupted(detail) => StoreError::Corrupt { path, detail },
        error @ (redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted) => {
            StoreError::Corrupt { path, detail: error.to_string() }
        }
        error => StoreError::Io { kind: io::ErrorKind::Other, detail: format!("using {}: {error}", path.display()) },
    }
}

#[cfg(test)]
mod tests;
