//! One process a store: a lock file beside it that says who.
//!
//! The lock is the kernel's and ends with the process, however it ends; the number in the file is only
//! there to be read by whoever comes second. The file itself stays: removing it would race.

use super::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock of the store at `store`, without waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] with the holder's process number; [`StoreError::Io`] if the file cannot be made.
    pub(super) fn take(store: &Path) -> Result<Self, StoreError> {
        let path = lock_path(store);
        let mut file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .open(&path)
            .map_err(|error| StoreError::io("opening", &path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            // A file system without locks: the database's own lock has to do.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(StoreError::io("locking", &path, &error)),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: store.to_owned(), pid: holder(&mut file) });
            }
        }
        // A full disk is no reason to refuse the store: the number is a courtesy.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// `store.redb` → `store.redb.lock`.
fn lock_path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Files of the store are for their owner only.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
