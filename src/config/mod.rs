//! What an operator decides: the settings, their defaults, and where they are looked for.
//!
//! ```text
//! --config │ ./stonechat.toml │ /etc/stonechat/stonechat.toml │ none ──▶ schema ──▶ Config
//! ```
//!
//! A `Config` that exists is consistent: addresses parse, names are prepared, no domain is there twice,
//! every certificate has its key. Whether the files it names can be read is `boot`'s question.

mod components;
mod defaults;
mod domains;
mod error;
mod keys;
mod limits;
mod listeners;
mod people;
mod read;
mod schema;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, Fault};
pub use limits::Limits;

use crate::jid::Jid;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file looked for in the working directory.
pub const FILE_NAME: &str = "stonechat.toml";
/// The file looked for after it.
pub const SYSTEM_FILE: &str = "/etc/stonechat/stonechat.toml";
/// The data folder unless `data_dir` names one; in the working directory.
pub const DATA_DIR_DEFAULT: &str = "stonechat-data";
/// The domain served when none is named; on loopback only.
pub const DOMAIN_DEFAULT: &str = "localhost";
/// Largest configuration file read: a wrong file named by mistake must not fill the memory.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Everything an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where this came from.
    pub source: ConfigSource,
    /// The hosted domains, at least one, in the order of the file.
    pub domains: Vec<DomainConfig>,
    /// Where clients are awaited, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Accounts, keys made by the server, and the control socket.
    pub data_dir: PathBuf,
    /// The user that the server becomes when root starts it.
    pub user: Option<String>,
    /// Whether it locks itself in, where the kernel can (Landlock).
    pub sandbox: bool,
    /// Whether the 2002 dialect (XEP-0035, XEP-0034, XEP-0078) is spoken.
    pub legacy: bool,
    /// PBKDF2 iterations of new SCRAM keys.
    pub scram_iterations: u32,
    /// How much is logged when `RUST_LOG` does not say.
    pub log_level: log::LevelFilter,
    /// Accounts that may use the commands of XEP-0133; of hosted domains.
    pub admins: Vec<Jid>,
    /// Who may make an account.
    pub registration: Registration,
    /// Contact addresses by the field of their form (XEP-0157).
    pub contacts: Vec<(String, Vec<String>)>,
    /// Programs that answer for a domain of their own (XEP-0114).
    pub components: Vec<ComponentConfig>,
    /// Unix sockets where they are awaited, beside the listeners of their kind.
    pub component_sockets: Vec<SocketConfig>,
    /// Storage settings.
    pub storage: StorageConfig,
    /// Every bound an operator may move.
    pub limits: Limits,
}

/// Who may make an account (XEP-0077).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Nobody but the operator.
    Closed,
    /// Who has an invitation (XEP-0401).
    Invite,
    /// Anybody.
    Open,
}

/// An external component (XEP-0114).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentConfig {
    /// The prepared domain that it answers for.
    pub name: String,
    /// What it proves itself with.
    pub secret: SecretConfig,
}

/// Where a component's secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretConfig {
    /// In the configuration.
    Words(String),
    /// In this file, whose first line it is.
    File(PathBuf),
}

impl std::fmt::Debug for SecretConfig {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(_) => f.write_str("Words"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A Unix socket for components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Where.
    pub path: PathBuf,
    /// Its permissions: 0600 or 0660.
    pub mode: u32,
}

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// No file: the defaults alone.
    Defaults,
    /// This file.
    File(PathBuf),
}

/// One hosted domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainConfig {
    /// The prepared domainpart.
    pub name: String,
    /// PEM certificate chain, leaf first. Set together with `key`.
    pub certificate: Option<PathBuf>,
    /// PEM private key. Set together with `certificate`.
    pub key: Option<PathBuf>,
    /// The server makes its own certificate. Never set together with `certificate`; where neither is set the domain
    /// has no TLS, which is only accepted when `tls_required` is off.
    pub self_signed: bool,
    /// PEM roots that client certificates must lead to; set exactly when EXTERNAL is among `mechanisms`.
    pub client_roots: Option<PathBuf>,
    /// PEM revocation lists for client certificates.
    pub crls: Vec<PathBuf>,
    /// Client certificates with the purpose serverAuth alone are good too.
    pub client_server_auth: bool,
    /// Nothing but STARTTLS is answered before TLS.
    pub tls_required: bool,
    /// What is offered, in order of preference; ANONYMOUS is last exactly when `anonymous` is set.
    pub mechanisms: Vec<SaslMechanism>,
    /// Whether anybody may log in under a made-up address.
    pub anonymous: bool,
}

/// A SASL mechanism that a domain may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// A client certificate (XEP-0178).
    External,
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
    /// RFC 5802 with channel binding.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616, inside TLS.
    Plain,
    /// RFC 4505.
    Anonymous,
}

/// Addresses of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// How TLS begins here.
    pub kind: ListenerKind,
    /// Where to listen; port 0 takes any free one.
    pub addresses: Vec<SocketAddr>,
    /// Whether every address must open: those of a file must, of the defaults IPv6 may be missing.
    pub all_must_open: bool,
}

/// How TLS begins on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// In the stream, when the client asks (5222).
    StartTls,
    /// With the first byte (XEP-0368, 5223).
    Direct,
    /// Not at all: external components, which belong on this machine (XEP-0114, 5347).
    Component,
}

/// Storage settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// The database's page cache.
    pub cache_bytes: u64,
    /// Free space below which nothing more is written.
    pub reserve_bytes: u64,
}

impl Config {
    /// Room that a backup leaves on its disk: if it is the store's own, commits never find it full because of a backup.
    pub fn backup_spare_bytes(&self) -> u64 {
        self.storage.reserve_bytes.saturating_add(self.limits.overlay_bytes.saturating_mul(2))
    }

    /// Looks in the usual places, `named` (from `--config`) first, and reads the first file that is there.
    ///
    /// # Errors
    ///
    /// As [`Config::load`]; a file in a usual place that cannot be read is an error and never passed over.
    pub fn find(named: Option<&Path>) -> Result<Self, ConfigError> {
        Self::find_in(named, &[Path::new(FILE_NAME), Path::new(SYSTEM_FILE)])
    }

    fn find_in(named: Option<&Path>, places: &[&Path]) -> Result<Self, ConfigError> {
        if let Some(path) = named {
            return Self::load(path);
        }
        for place in places {
            // Whatever is there is read; `load` says so when it cannot be.
            if place.symlink_metadata().is_ok() {
                return Self::load(place);
            }
        }
        Ok(Self::default())
    }

    /// Reads one file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unreadable`] for the file, [`ConfigError::Faults`] for what it says.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read::file(path)?;
        Self::parse(&text, path)
    }

    /// Judges the text of a file; paths in it are relative to the folder of `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Faults`]: every fault found, in the order of the file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        schema::parse(text, path).map_err(|faults| ConfigError::Faults { file: path.to_owned(), faults })
    }

    /// The hosted domain of that prepared name.
    pub fn domain(&self, name: &str) -> Option<&DomainConfig> {
        self.domains.iter().find(|domain| domain.name == name)
    }
}

impl DomainConfig {
    /// Whether TLS can be had for this domain.
    pub fn has_tls(&self) -> bool {
        self.self_signed || self.certificate.is_some()
    }
}

impl ListenerKind {
    /// The port when an address names none.
    pub fn port(self) -> u16 {
        match self {
            Self::StartTls => 5222,
            Self::Direct => 5223,
            Self::Component => 5347,
        }
    }

    /// The name in the configuration file.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Direct => "direct",
            Self::Component => "component",
        }
    }
}

impl SaslMechanism {
    /// Every mechanism, the preferred first.
    pub const ALL: [Self; 7] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
        Self::Anonymous,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// The mechanism of that registered name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}
