//! What storage refuses or cannot do, in words for the operator.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a database could not be opened, read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The file is damaged in a way that could not be repaired.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// Too little space is left on the disk for a commit.
    DiskFull {
        /// What is free, in bytes, as far as it is known.
        free: u64,
        /// What must be free, in bytes.
        needed: u64,
    },
    /// Reading or writing failed.
    Io {
        /// The kind of fault.
        kind: io::ErrorKind,
        /// What the system or the database said.
        detail: String,
    },
    /// Another process has the file.
    Locked {
        /// The file.
        path: PathBuf,
        /// The other process, if it wrote its number down.
        pid: Option<u32>,
    },
    /// There is no store, and none was to be made.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the program wrote the file.
    NewerFormat {
        /// The file's format version.
        found: u32,
        /// The highest one known here.
        known: u32,
    },
    /// The file is something else.
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The storage thread is gone.
    Stopped,
    /// After an I/O error the file is closed; it is opened again later.
    Unavailable,
}

impl StoreError {
    /// An error of the system, with what was being done.
    pub(super) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Io { kind: error.kind(), detail: format!("{doing} {}: {error}", path.display()) }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { path, detail } => {
                write!(
                    f,
                    "the store {} is damaged ({detail}); move it away and restore a backup, or save what can be read: stonechat salvage FILE",
                    path.display()
                )
            }
            Self::DiskFull { free, needed } => {
                write!(f, "the disk is full: {free} bytes free, {needed} needed; make room, writing resumes by itself")
            }
            Self::Io { detail, .. } => f.write_str(detail),
            Self::Locked { path, pid: Some(pid) } => {
                write!(f, "the store {} is in use by process {pid}", path.display())
            }
            Self::Locked { path, pid: None } => write!(f, "the store {} is in use by another process", path.display()),
            Self::Missing { path } => write!(f, "there is no store at {}", path.display()),
            Self::NewerFormat { found, known } => write!(
                f,
                "the store has format version {found}, this program knows versions up to {known}; use a newer stonechat"
            ),
            Self::NotAStore { path } => {
                write!(
                    f,
                    "{} is not a Stonechat store; move it away or name another data folder (if it was one: stonechat salvage FILE)",
                    path.display()
                )
            }
            Self::Stopped => f.write_str("the storage thread has stopped"),
            Self::Unavailable => f.write_str("the store is closed after an I/O error and will be opened again"),
        }
    }
}

impl std::error::Error for StoreError {}
