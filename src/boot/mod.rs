//! Everything that must be there before the first connection: folder, store, keys, certificates.
//!
//! ```text
//! Config ──prepare──▶ Boot { data folder, store, TLS } ──▶ server
//! SIGHUP ──reload───▶ certificates and log level again; the old ones stay when anything is wrong
//! ```
//!
//! Only serving makes a data folder. The store is opened, and with it locked, before anything is written beside it, so
//! that two servers cannot make keys for one folder. It blocks; nothing is served yet.

mod certificates;
mod check;
mod components;
mod error;
mod privileges;
mod reload;
pub mod sandbox;

#[cfg(test)]
mod tests;

pub use certificates::BootDomain;
pub use check::{Finding, check};
pub use error::BootError;
pub use privileges::{drop_to_user, must_drop};
pub use reload::{Reloaded, reload};

use crate::admin;
use crate::clock::Clock;
use crate::config::{Config, StorageConfig};
use crate::im::accounts;
pub use crate::limits::SOCKET_PATH_BYTES_MAX;
use crate::limits::STORE_VERIFIED_BYTES_MAX;
use crate::server::Bound;
use crate::storage::{Disk, DiskOptions, STORE_FILE_NAME};
use crate::storage::{Miss, Store, offline};
use crate::stream::component::Secret;
use crate::transport::{TlsDomains, TlsOptions};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Permission bits that nobody but the owner of a data folder should have.
const OTHERS: u32 = 0o077;

/// What a server starts with.
#[derive(Debug)]
pub struct Boot {
    /// The data folder, absolute.
    pub data_dir: PathBuf,
    /// Whether it was made just now.
    pub data_dir_is_new: bool,
    /// The hosted domains in the order of the configuration.
    pub domains: Vec<BootDomain>,
    /// All certificates, loaded; none if no domain has one.
    pub tls: Option<TlsDomains>,
    /// The components that may connect, and what each proves itself with.
    pub components: Vec<(String, Secret)>,
    /// The store, open and locked.
    pub store: Disk,
    /// Whether any domain has an account.
    pub has_accounts: bool,
    /// Who decides how much is logged.
    pub log_rule: LogRule,
    /// The ports, where they had to be opened before this process gave up its privileges.
    pub bound: Option<Bound>,
}

/// Who decides how much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRule {
    /// `log_level` of the configuration, again with each reload.
    Config,
    /// `RUST_LOG`, for as long as the process lives.
    Environment,
}

impl LogRule {
    /// Sets the level of the configuration, if that decides.
    pub fn apply(self, level: log::LevelFilter) {
        match self {
            Self::Config => log::set_max_level(level),
            Self::Environment => {}
        }
    }
}

impl Boot {
    /// Makes what is missing and loads what is there. Blocks.
    ///
    /// # Errors
    ///
    /// [`BootError`]: what is in the way and what to change. What was made stays for the next try.
    pub fn prepare(config: &Config, log_rule: LogRule) -> Result<Self, BootError> {
        let data_dir = absolute(&config.data_dir);
        check_socket_path(&data_dir)?;
        let (bound, was_made) = privileges::give_up(config, &data_dir)?;
        let data_dir_is_new = make_folder(&data_dir)? || was_made;
        let mut store = open_store(&data_dir, &config.storage, true)?;
        let domains = certificates::resolve(config, &data_dir)?;
        let tls = certificates::load(&domains)?;
        for warning in tls.iter().flat_map(TlsDomains::warnings) {
            log::warn!("{warning}");
        }
        let components = components::secrets(config)?;
        for warning in check::component_warnings(config) {
            log::warn!("{warning}");
        }
        let has_accounts = has_accounts(config, &mut store)?;
        Ok(Self { data_dir, data_dir_is_new, domains, tls, components, store, has_accounts, log_rule, bound })
    }

    /// What loads the certificates of `config`, which this came from, again: for SIGHUP. It is given those in use, so
    /// that session tickets stay good where nothing changed; it sets the log level, and logs what needs a restart. Its
    /// error is a sentence for the operator; the certificates in use then stay.
    pub fn reloader(&self, config: &Config) -> impl FnMut(Option<&TlsDomains>) -> Result<TlsDomains, String> + use<> {
        let (running, data_dir, log_rule) = (config.clone(), self.data_dir.clone(), self.log_rule);
        move |old| {
            let reloaded = reload(&running, &data_dir, old).map_err(|error| error.to_string())?;
            log_rule.apply(reloaded.log_level);
            if reloaded.needs_restart {
                log::warn!("the configuration has changes beside certificates and log level: they need a restart");
            }
            for warning in reloaded.tls.warnings() {
                log::warn!("{warning}");
            }
            Ok(reloaded.tls)
        }
    }

    /// Where the control socket belongs.
    pub fn socket_path(&self) -> PathBuf {
        admin::socket_path(&self.data_dir)
    }
}

/// The options for [`TlsDomains`] now.
fn tls_options() -> TlsOptions {
    // Nobody's certificate is served to a client that names nobody, unless there is only one.
    TlsOptions { default_domain: None, unix_s: Clock::new().now().unix_s() }
}

/// The path from the root, for messages and for a process that may change its folder.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Where the store of a data folder is.
pub fn store_path(data_dir: &Path) -> PathBuf {
    data_dir.join(STORE_FILE_NAME)
}

/// Opens the store of a data folder; makes it only if `create` says so.
///
/// # Errors
///
/// [`BootError::Store`], such as another process's lock.
pub fn open_store(data_dir: &Path, storage: &StorageConfig, create: bool) -> Result<Disk, BootError> {
    let path = store_path(data_dir);
    // The database trusts a file that was closed: what has been damaged since then is found now, or ends the process when
    // it is come across. All of a large one would take too long.
    let verify = create && fs::metadata(&path).is_ok_and(|data| data.len() <= STORE_VERIFIED_BYTES_MAX);
    let options = DiskOptions {
        cache_bytes: usize::try_from(storage.cache_bytes).unwrap_or(usize::MAX),
        reserve_bytes: storage.reserve_bytes,
        create,
        verify,
        ..DiskOptions::default()
    };
    Disk::open(&path, options).map_err(|error| BootError::Store { data_dir: data_dir.to_owned(), error })
}

/// Refuses a folder whose control socket no process could open.
fn check_socket_path(data_dir: &Path) -> Result<(), BootError> {
    let bytes = admin::socket_path(data_dir).as_os_str().as_bytes().len();
    if bytes <= SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(BootError::PathTooLong { data_dir: data_dir.to_owned(), over: bytes - SOCKET_PATH_BYTES_MAX })
}

/// Makes the data folder, for its owner only. Says whether it is new.
fn make_folder(path: &Path) -> Result<bool, BootError> {
    let refuse = |error: &io::Error| BootError::Folder { path: path.to_owned(), why: error.to_string() };
    match fs::metadata(path) {
        Ok(data) if !data.is_dir() => Err(BootError::NotAFolder { path: path.to_owned() }),
        Ok(data) => {
            let mode = data.permissions().mode() & 0o777;
            if mode & OTHERS != 0 {
                log::warn!("{}: mode {mode:03o} lets others in; run chmod 700 on it", path.display());
            }
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The folders above it get the usual mode: they may be everybody's, such as /var/lib.
            if let Some(above) = path.parent() {
                fs::create_dir_all(above).map_err(|error| refuse(&error))?;
            }
            make_private(path).map_err(|error| refuse(&error))?;
            Ok(true)
        }
        Err(error) => Err(refuse(&error)),
    }
}

/// One folder for its owner only, whatever the umask is.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

fn has_accounts(config: &Config, store: &mut Disk) -> Result<bool, BootError> {
    let any = |store: &mut Store| -> Result<bool, Miss> {
        for domain in &config.domains {
            if accounts::offered(store, &domain.name)?.accounts > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    };
    offline::run(store, any).map_err(|error| BootError::Store { data_dir: absolute(&config.data_dir), error })
}
