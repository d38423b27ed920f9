//! The file of a backup: a store that is filled in one transaction.
//!
//! One transaction, so that the file is a store when it is whole and never before, and so that pages freed on the way are
//! used again. It is not the store's own transaction: nothing of that is pinned.

use super::{ROWS, fault};
use crate::storage::{Batch, Row, StoreError};
use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use std::fs::File;
use std::io;
use std::path::Path;

use crate::limits::{BACKUP_SYNC_BYTES, DISK_CACHE_BYTES};

/// Stands for the file in errors: whoever opened it knows its name.
const NAME: &str = "the file of the backup";

/// A store that is being written.
pub(in crate::storage) struct DiskCopy {
    // Dropped before the database: whatever ends a copy early takes it back.
    transaction: WriteTransaction,
    database: Database,
    /// The same file, to send to the disk what has been written.
    file: File,
    spare_bytes: u64,
    rows: u64,
    unsynced_bytes: usize,
}

impl DiskCopy {
    /// Begins in an empty file, open for reading and writing. `spare_bytes` of its disk are left free.
    pub(in crate::storage) fn new(file: File, spare_bytes: u64) -> Result<Self, StoreError> {
        let broken = |error: &io::Error| StoreError::io("using", Path::new(NAME), error);
        let data = file.metadata().map_err(|error| broken(&error))?;
        if !data.is_file() || data.len() > 0 {
            return Err(broken(&io::Error::new(io::ErrorKind::InvalidInput, "it must be an empty file")));
        }
        let handle = file.try_clone().map_err(|error| broken(&error))?;
        let mut builder = Database::builder();
        builder.set_cache_size(DISK_CACHE_BYTES);
        let backend = FileBackend::new(file).map_err(|error| told(error.into()))?;
        let database = builder.create_with_backend(backend).map_err(|error| told(error.into()))?;
        let mut transaction = database.begin_write().map_err(|error| told(error.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| told(error.into()))?;
        transaction.set_quick_repair(true);
        Ok(Self { transaction, database, file: handle, spare_bytes, rows: 0, unsynced_bytes: 0 })
    }

    /// Puts rows that are not there yet.
    pub(in crate::storage) fn add(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let bytes = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.write(bytes, rows.iter().map(|(key, value)| (&key[..], Some(&value[..]))))
    }

    /// Puts those of these rows that are not there yet; says how many.
    pub(in crate::storage) fn add_new(&mut self, rows: &[Row]) -> Result<u64, StoreError> {
        let before = self.rows;
        let table = self.transaction.open_table(ROWS).map_err(|error| told(error.into()))?;
        let mut fresh = Vec::new();
        for row in rows {
            if table.get(&*row.0).map_err(|error| told(error.into()))?.is_none() {
                fresh.push(row.clone());
            }
        }
        drop(table);
        self.add(&fresh)?;
        Ok(self.rows - before)
    }

    /// Lays over them what has changed since.
    pub(in crate::storage) fn change(&mut self, changes: &Batch) -> Result<(), StoreError> {
        self.write(changes.bytes(), changes.iter())
    }

    fn write<'a>(
        &mut self,
        bytes: usize,
        rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), StoreError> {
        self.check_space(bytes)?;
        let put = || -> Result<u64, redb::Error> {
            let mut table = self.transaction.open_table(ROWS)?;
            for (key, value) in rows {
                match value {
                    Some(value) => table.insert(key, value)?,
                    None => table.remove(key)?,
                };
            }
            Ok(table.len()?)
        };
        self.rows = put().map_err(told)?;
        self.unsynced_bytes += bytes;
        if self.unsynced_bytes >= BACKUP_SYNC_BYTES {
            // Bit by bit: the last one would else take long, and the store's own syncs with it.
            self.unsynced_bytes = 0;
            self.sync()?;
        }
        Ok(())
    }

    fn check_space(&self, bytes: usize) -> Result<(), StoreError> {
        let Ok(disk) = rustix::fs::fstatvfs(&self.file) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = self.spare_bytes.saturating_add(2 * bytes as u64);
        if free >= needed {
            return Ok(());
        }
        let detail = format!("the backup does not fit its disk: {free} bytes free, {needed} needed to go on");
        Err(StoreError::Io { kind: io::ErrorKind::StorageFull, detail })
    }

    /// How many rows are in it.
    pub(in crate::storage) fn rows(&self) -> u64 {
        self.rows
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| StoreError::io("writing", Path::new(NAME), &error))
    }

    /// Makes it a store, on disk to its last byte. Returns how many rows are in it.
    pub(in crate::storage) fn finish(self) -> Result<u64, StoreError> {
        let Self { transaction, database, file, rows, .. } = self;
        transaction.commit().map_err(|error| told(error.into()))?;
        database.close().map_err(|error| told(error.into()))?;
        file.sync_all().map_err(|error| StoreError::io("writing", Path::new(NAME), &error))?;
        Ok(rows)
    }
}

fn told(error: redb::Error) -> StoreError {
    fault(Path::new(NAME), error)
}
