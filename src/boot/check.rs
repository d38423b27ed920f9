//! `stonechat check`: would it start? Everything is looked at, nothing is made.

use super::{absolute, certificates, components, make_private, tls_options};
use crate::clock::Clock;
use crate::config::{Config, ConfigSource, DomainConfig, ListenerKind, SecretConfig, SocketConfig};
use crate::transport::certs::{self, Inspection};
use crate::transport::{CertError, DomainTls, TlsDomains};
use rustix::fs::{Access, access};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const DAY_S: u64 = 24 * 60 * 60;
/// A shorter secret is worth a warning. A guess: as many letters have what a key of 80 bits has.
const SECRET_CHARS_MIN: usize = 16;

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good(String),
    /// The server starts, but somebody should look.
    Warning(String),
    /// The server does not start.
    Fault(String),
}

/// Looks at everything that a configuration names. Blocks on files; makes nothing in the data folder.
pub fn check(config: &Config) -> Vec<Finding> {
    let data_dir = absolute(&config.data_dir);
    let mut findings = vec![data_folder(&data_dir)];
    if let Err(error) = super::check_socket_path(&data_dir) {
        findings.push(Finding::Fault(error.to_string()));
    }
    findings.extend(config.domains.iter().flat_map(|domain| check_domain(domain, &data_dir)));
    findings.extend(config.listeners.iter().map(|listener| {
        let kind = match listener.kind {
            ListenerKind::StartTls => "STARTTLS",
            ListenerKind::Direct => "direct TLS",
            ListenerKind::Component => "components",
        };
        let addresses: Vec<String> = listener.addresses.iter().map(ToString::to_string).collect();
        Finding::Good(format!("will listen on {} ({kind})", addresses.join(" ")))
    }));
    findings.extend(config.component_sockets.iter().map(socket));
    findings.extend(config.components.iter().map(|component| match components::secret(component) {
        Ok(_) => Finding::Good(format!("the component {} may connect", component.name)),
        Err(error) => Finding::Fault(error.to_string()),
    }));
    findings.extend(component_warnings(config).into_iter().map(Finding::Warning));
    findings
}

/// What somebody should look at before components connect.
pub(super) fn component_warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let of_components = config.listeners.iter().filter(|listener| listener.kind == ListenerKind::Component);
    for address in of_components.flat_map(|listener| &listener.addresses).filter(|one| !one.ip().is_loopback()) {
        warnings.push(format!(
            "components are awaited on {address} in the clear: who can listen on the way reads every message, and who \
             can reach it may guess at secrets"
        ));
    }
    for component in &config.components {
        if let SecretConfig::Words(words) = &component.secret {
            if words.chars().count() < SECRET_CHARS_MIN {
                let name = &component.name;
                warnings.push(format!("the secret of the component {name} is short; `openssl rand -hex 20` makes one"));
            }
            if let ConfigSource::File(path) = &config.source
                && let Ok(mode) = fs::metadata(path).map(|data| data.permissions().mode() & 0o777)
                && mode & 0o007 != 0
            {
                warnings.push(format!(
                    "{}: mode {mode:03o} lets everybody read the secret of the component {}; run chmod 0640 on it, or \
                     use secret_file",
                    path.display(),
                    component.name
                ));
            }
        }
    }
    warnings
}

/// A Unix socket for components: its folder must be there.
fn socket(socket: &SocketConfig) -> Finding {
    let path = absolute(&socket.path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::Good(format!("will listen on {} (components, mode {:04o})", path.display(), socket.mode)),
        Err(why) => Finding::Fault(format!(
            "the socket {} cannot be made: {why}; make its folder, and give it to the user that runs stonechat",
            path.display()
        )),
    }
}

fn data_folder(path: &Path) -> Finding {
    match fs::metadata(path) {
        Ok(data) if !data.is_dir() => Finding::Fault(super::BootError::NotAFolder { path: path.into() }.to_string()),
        Ok(_) => match fs::read_dir(path) {
            Ok(_) => Finding::Good(format!("the data folder {} is there", path.display())),
            Err(error) => {
                let refusal = super::BootError::Folder { path: path.into(), why: error.to_string() };
                Finding::Fault(refusal.to_string())
            }
        },
        Err(_) => match cannot_be_made(path) {
            None => Finding::Good(format!("the data folder {} will be made at the first start", path.display())),
            Some(why) => Finding::Fault(super::BootError::Folder { path: path.into(), why }.to_string()),
        },
    }
}

/// Why a folder that is not there cannot be made: the nearest folder above it that is there does not let us.
fn cannot_be_made(path: &Path) -> Option<String> {
    let above = path.ancestors().skip(1).find(|above| above.exists())?;
    let refusal = access(above, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!("it is not there, and {} does not let it be made ({refusal})", above.display()))
}

fn check_domain(domain: &DomainConfig, data_dir: &Path) -> Vec<Finding> {
    let name = &domain.name;
    let Some(tls) = certificates::paths(domain, data_dir) else {
        return vec![Finding::Warning(format!("{name} has no certificate: passwords and messages go in the clear"))];
    };
    let mut findings = Vec::new();
    if let Some(error) = certificates::half_a_pair(domain, &tls) {
        return vec![Finding::Fault(error.to_string())];
    }
    let is_made = !domain.self_signed || tls.certificate.exists() && tls.key.exists();
    if is_made {
        findings.extend(pair(name, &tls));
    } else {
        findings.push(Finding::Good(format!("{name}: a self-signed certificate will be made at the first start")));
    }
    if tls.client_roots.is_some() {
        findings.push(match client_roots(name, &tls) {
            Ok(()) => Finding::Good(format!("{name}: the roots for client certificates can be used")),
            Err(error) => Finding::Fault(format!("{name}: {error}")),
        });
    }
    findings
}

/// A certificate and its key, as the server would load them.
fn pair(name: &str, tls: &DomainTls) -> Vec<Finding> {
    let unix_s = Clock::new().now().unix_s();
    match certs::inspect(name, &tls.certificate, &tls.key, unix_s) {
        Ok(inspection) => {
            let warnings = inspection.warnings.iter().map(|warning| Finding::Warning(format!("{name}: {warning}")));
            let good = Finding::Good(format!("{name}: {}", described(&inspection, &tls.certificate, unix_s)));
            std::iter::once(good).chain(warnings).collect()
        }
        Err(error) => vec![Finding::Fault(format!("{name}: {error}"))],
    }
}

fn described(inspection: &Inspection, path: &Path, unix_s: u64) -> String {
    let days = inspection.not_after_unix_s.saturating_sub(unix_s) / DAY_S;
    let mut names = inspection.names.clone();
    names.sort_unstable();
    names.dedup();
    let kind = if inspection.is_self_signed { "self-signed certificate" } else { "certificate" };
    format!("{kind} {} for {}, {days} days left, SHA-256 {}", path.display(), names.join(", "), inspection.fingerprint)
}

/// Whether the roots and lists load. They load with a certificate only, so one is made for the purpose and thrown away.
fn client_roots(name: &str, tls: &DomainTls) -> Result<(), CertError> {
    let scratch = Scratch::new().map_err(|(path, error)| CertError::Write { path, what: error.to_string() })?;
    let trial = DomainTls { certificate: scratch.0.join("trial.pem"), key: scratch.0.join("trial.key"), ..tls.clone() };
    certs::make_self_signed(name, &trial.certificate, &trial.key)?;
    TlsDomains::load(&[trial], &tls_options()).map(|_| ())
}

/// A folder in the system's place for such, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, (PathBuf, std::io::Error)> {
        let name = format!("stonechat-check-{}", crate::random::Random::system().token());
        let path = std::env::temp_dir().join(name);
        make_private(&path).map_err(|error| (path.clone(), error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
