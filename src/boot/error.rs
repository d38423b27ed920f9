//! Why a server does not start, said so that the operator knows what to change.

use crate::storage::StoreError;
use crate::transport::{CertError, CertWarning};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What is in the way.
#[derive(Debug)]
pub enum BootError {
    /// The data folder cannot be made or looked into.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// What is named as the data folder is something else.
    NotAFolder {
        /// Its path.
        path: PathBuf,
    },
    /// The control socket would have a path that the system does not take.
    PathTooLong {
        /// The folder.
        data_dir: PathBuf,
        /// By how many bytes.
        over: usize,
    },
    /// The store cannot be opened or read.
    Store {
        /// The folder it is in.
        data_dir: PathBuf,
        /// What the store said.
        error: StoreError,
    },
    /// A domain's certificate cannot be used.
    Certificate {
        /// The domain.
        domain: String,
        /// Whether the server made it, and can make another.
        is_own: bool,
        /// What is wrong.
        error: CertError,
    },
    /// A certificate made here has lost its key.
    HalfAPair {
        /// The domain.
        domain: String,
        /// What is there.
        there: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// The secret of a component cannot be had.
    Secret {
        /// The component.
        component: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate to be taken on a reload is good no more.
    Expired {
        /// Which, and since when.
        warning: CertWarning,
    },
    /// The ports cannot be opened.
    Bind(crate::server::ServeError),
    /// The process cannot become the user that the configuration names.
    User {
        /// The user.
        name: String,
        /// What is in the way.
        why: String,
    },
    /// The kernel refuses the sandbox.
    Sandbox {
        /// What it said.
        why: String,
    },
    /// The configuration cannot be read again.
    Config(crate::config::ConfigError),
}

const NAME_ANOTHER: &str = "name another one in the configuration: data_dir = \"/path/to/folder\"";

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, why } => {
                write!(
                    f,
                    "the data folder {} cannot be used: {why}; give it to the user that runs stonechat, or {NAME_ANOTHER}",
                    path.display()
                )
            }
            Self::NotAFolder { path } => {
                write!(f, "the data folder {} is not a folder; {NAME_ANOTHER}", path.display())
            }
            Self::PathTooLong { data_dir, over } => {
                write!(
                    f,
                    "the path of the data folder {} is {over} bytes too long for a control socket; {NAME_ANOTHER}",
                    data_dir.display()
                )
            }
            Self::Store { data_dir, error } => store(f, data_dir, error),
            Self::Certificate { domain, is_own, error } => {
                write!(f, "no certificate for {domain}: {error}")?;
                if *is_own {
                    f.write_str(" (the server made this one: remove both files, and it makes new ones)")?;
                }
                Ok(())
            }
            Self::HalfAPair { domain, there, missing } => write!(
                f,
                "no certificate for {domain}: {} is there without {}; put the other one back, or remove it too, and a new \
                 pair is made (clients that trust the old fingerprint will have to trust the new one)",
                there.display(),
                missing.display()
            ),
            Self::Secret { component, path, why } => {
                write!(f, "no secret for the component {component}: {}: {why}", path.display())
            }
            Self::Expired { warning } => warning.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::User { name, why } => write!(f, "cannot run as the user {name}: {why}"),
            Self::Sandbox { why } => {
                write!(f, "cannot enter the sandbox: {why}; without it: sandbox = false")
            }
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BootError {}

impl BootError {
    /// Whether another configuration, or other files for it, would do: not so where another process is in the way or
    /// the disk fails.
    pub fn is_of_configuration(&self) -> bool {
        match self {
            Self::NotAFolder { .. }
            | Self::PathTooLong { .. }
            | Self::Certificate { .. }
            | Self::HalfAPair { .. }
            | Self::Secret { .. }
            | Self::Expired { .. }
            | Self::User { .. }
            | Self::Config(_) => true,
            Self::Folder { .. } | Self::Store { .. } | Self::Bind(_) | Self::Sandbox { .. } => false,
        }
    }
}

fn store(f: &mut fmt::Formatter<'_>, data_dir: &std::path::Path, error: &StoreError) -> fmt::Result {
    match error {
        StoreError::Locked { pid, .. } => {
            let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            write!(
                f,
                "the data folder {} is in use by {who}; stop that one first, or {NAME_ANOTHER}",
                data_dir.display()
            )
        }
        StoreError::Missing { .. } => {
            write!(
                f,
                "there is no store in the data folder {}; start the server once, it makes one (or name the right folder with --config or data_dir)",
                data_dir.display()
            )
        }
        StoreError::Io { kind: io::ErrorKind::PermissionDenied, detail } => {
            write!(f, "{detail}; run stonechat as the user that owns the data folder, or give it to this one")
        }
        error => write!(f, "{error}"),
    }
}
