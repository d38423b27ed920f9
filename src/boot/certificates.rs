//! Which certificate each domain is served with: the operator's, one made here, or none.

use super::{BootError, make_private, tls_options};
use crate::config::{Config, DomainConfig};
use crate::transport::certs;
use crate::transport::{CertError, DomainTls, TlsDomains};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A hosted domain and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootDomain {
    /// The prepared domainpart.
    pub name: String,
    /// Where its certificate is; none if it has no TLS.
    pub tls: Option<DomainTls>,
    /// SHA-256 of the certificate, as `AB:CD:…`.
    pub fingerprint: Option<String>,
    /// Whether the server made the certificate.
    pub self_signed: bool,
    /// Whether it made it just now.
    pub is_new: bool,
}

/// Finds each domain's certificate; makes those that the server is to make and that are not there.
pub(super) fn resolve(config: &Config, data_dir: &Path) -> Result<Vec<BootDomain>, BootError> {
    config.domains.iter().map(|domain| resolve_one(domain, data_dir)).collect()
}

fn resolve_one(domain: &DomainConfig, data_dir: &Path) -> Result<BootDomain, BootError> {
    let refuse = |error| BootError::Certificate { domain: domain.name.clone(), is_own: domain.self_signed, error };
    let tls = paths(domain, data_dir);
    let mut is_new = false;
    let mut fingerprint = None;
    if let Some(tls) = &tls {
        if let Some(error) = half_a_pair(domain, tls) {
            return Err(error);
        }
        if domain.self_signed && !tls.certificate.exists() {
            make(&domain.name, tls, data_dir).map_err(refuse)?;
            is_new = true;
        }
        fingerprint = Some(certs::fingerprint(&tls.certificate).map_err(refuse)?);
    }
    Ok(BootDomain { name: domain.name.clone(), tls, fingerprint, self_signed: domain.self_signed, is_new })
}

/// A certificate without its key, where the server makes its own: a new pair would change the fingerprint that clients
/// trust. (A key without certificate is what a crash leaves; it gets a certificate.)
pub(super) fn half_a_pair(domain: &DomainConfig, tls: &DomainTls) -> Option<BootError> {
    let is_half = domain.self_signed && tls.certificate.exists() && !tls.key.exists();
    let error = || BootError::HalfAPair {
        domain: domain.name.clone(),
        there: tls.certificate.clone(),
        missing: tls.key.clone(),
    };
    is_half.then(error)
}

fn make(domain: &str, tls: &DomainTls, data_dir: &Path) -> Result<(), CertError> {
    let folder = data_dir.join(FOLDER);
    if !folder.is_dir() {
        make_private(&folder).map_err(|error| CertError::Write { path: folder.clone(), what: error.to_string() })?;
    }
    certs::make_self_signed(domain, &tls.certificate, &tls.key)
}

/// Loads every certificate, with a domain's name before what is wrong with its files.
pub(super) fn load(domains: &[BootDomain]) -> Result<Option<TlsDomains>, BootError> {
    match wanted(domains).as_slice() {
        [] => Ok(None),
        wanted => TlsDomains::load(wanted, &tls_options()).map(Some).map_err(|error| blame(domains, error)),
    }
}

/// What the domains with TLS bring.
pub(super) fn wanted(domains: &[BootDomain]) -> Vec<DomainTls> {
    domains.iter().filter_map(|domain| domain.tls.clone()).collect()
}

/// Finds whose files an error is about, by loading each alone.
pub(super) fn blame(domains: &[BootDomain], error: CertError) -> BootError {
    for domain in domains {
        let Some(tls) = &domain.tls else { continue };
        if let Err(error) = TlsDomains::load(std::slice::from_ref(tls), &tls_options()) {
            return BootError::Certificate { domain: domain.name.clone(), is_own: domain.self_signed, error };
        }
    }
    BootError::Certificate { domain: "the domains".to_owned(), is_own: false, error }
}

/// Where a domain's certificate is, or will be made; none if it has no TLS.
pub(super) fn paths(domain: &DomainConfig, data_dir: &Path) -> Option<DomainTls> {
    let (certificate, key) = match (&domain.certificate, &domain.key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ if domain.self_signed => own_pair(&domain.name, data_dir),
        _ => return None,
    };
    Some(DomainTls {
        domain: domain.name.clone(),
        certificate,
        key,
        client_roots: domain.client_roots.clone(),
        crls: domain.crls.clone(),
        client_server_auth: domain.client_server_auth,
    })
}

/// The folder, in the data folder, of the certificates made here.
const FOLDER: &str = "certificates";

/// The files of a certificate made here.
fn own_pair(domain: &str, data_dir: &Path) -> (PathBuf, PathBuf) {
    let name = file_name(domain);
    let folder = data_dir.join(FOLDER);
    (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
}

/// A domain as a file name: letters of any script stay, what could mean something to a file system does not.
fn file_name(domain: &str) -> String {
    let mut name = String::with_capacity(domain.len());
    for (at, letter) in domain.char_indices() {
        if letter.is_alphanumeric() || letter == '-' || (letter == '.' && at > 0) {
            name.push(letter);
        } else {
            let _ = write!(name, "%{:02X}", u32::from(letter));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_domain_leaves_the_folder_or_hides_in_it() {
        let rows = [
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("bücher.example", "bücher.example"),
            ("[::1]", "%5B%3A%3A1%5D"),
            ("..", "%2E."),
            ("a%b", "a%25b"),
        ];
        for (domain, expected) in rows {
            assert_eq!(file_name(domain), expected);
        }
    }
}
