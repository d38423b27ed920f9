//! SIGHUP: certificates and log level again, without dropping a connection.
//!
//! Everything else of the configuration keeps its old value until a restart, which is said once. What does not load
//! changes nothing.

use super::certificates::{self, BootDomain};
use super::{BootError, tls_options};
use crate::config::{Config, ConfigSource};
use crate::transport::{CertWarning, TlsDomains};
use std::path::Path;

/// What takes the place of the old.
#[derive(Debug)]
pub struct Reloaded {
    /// All certificates, loaded again.
    pub tls: TlsDomains,
    /// The domains, with their fingerprints now.
    pub domains: Vec<BootDomain>,
    /// For [`super::LogRule::apply`].
    pub log_level: log::LevelFilter,
    /// The file says more than a reload can follow: it needs a restart. To be logged.
    pub needs_restart: bool,
}

/// Reads the configuration that `running` came from, and the certificates it names, again. Blocks on files.
///
/// `data_dir` and `old_tls` are those in use; where nothing changed, session tickets stay good.
///
/// # Errors
///
/// [`BootError`]: go on with the old ones, and log it as an error.
pub fn reload(running: &Config, data_dir: &Path, old_tls: Option<&TlsDomains>) -> Result<Reloaded, BootError> {
    let read = match &running.source {
        ConfigSource::File(path) => Config::load(path).map_err(BootError::Config)?,
        ConfigSource::Defaults => running.clone(),
    };
    let followed = follow(running, &read);
    let domains = certificates::resolve(&followed, data_dir)?;
    let wanted = certificates::wanted(&domains);
    let tls = match old_tls {
        Some(old) => old.reload(&wanted, &tls_options()),
        None => TlsDomains::load(&wanted, &tls_options()),
    };
    let tls = tls.map_err(|error| certificates::blame(&domains, error))?;
    if let Some(warning) = tls.warnings().iter().find(|warning| is_news(warning, old_tls)) {
        return Err(BootError::Expired { warning: warning.clone() });
    }
    Ok(Reloaded { tls, domains, log_level: read.log_level, needs_restart: followed != read })
}

/// Whether a certificate has expired that those in use do not have already: better the old one, which some clients may
/// still take.
fn is_news(warning: &CertWarning, old_tls: Option<&TlsDomains>) -> bool {
    matches!(warning, CertWarning::Expired { .. }) && !old_tls.is_some_and(|old| old.warnings().contains(warning))
}

/// The running configuration with what a reload takes from the file: the log level, and the files of each running
/// domain. Whether a domain has TLS, and asks for client certificates, stays: what is offered was made for that.
fn follow(running: &Config, read: &Config) -> Config {
    let mut followed = running.clone();
    followed.log_level = read.log_level;
    for domain in &mut followed.domains {
        let Some(new) = read.domain(&domain.name) else { continue };
        if domain.has_tls() && new.has_tls() {
            domain.certificate.clone_from(&new.certificate);
            domain.key.clone_from(&new.key);
            domain.self_signed = new.self_signed;
        }
        if domain.client_roots.is_some() && new.client_roots.is_some() {
            domain.client_roots.clone_from(&new.client_roots);
            domain.crls.clone_from(&new.crls);
            domain.client_server_auth = new.client_server_auth;
        }
    }
    followed
}
