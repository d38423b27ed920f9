//! Certificates and keys as files: read, checked, inspected, and made.
//!
//! ```text
//! PEM ──load_pair──▶ chain and key, held to be usable for the domain ──▶ tls_domains
//! make_self_signed ──▶ PEM, for a first start and for tests
//! ```
//!
//! The only file that knows PEM. A pair is refused if a client could not use it; what only may trouble
//! clients is a [`CertWarning`]. Every error names the file and what to change.
//!
//! RFC 6120 §13.7.1, RFC 9525, RFC 9325 §4.5.

use super::x509::{self, Names};
use crate::clock::Clock;
use crate::crypto::digest;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

pub use super::cert_error::{CertError, CertWarning};

use crate::limits::SERVER_NAMES_MAX;
pub use crate::limits::{PEM_FILE_BYTES_MAX, RSA_BITS_MIN, SERVER_CHAIN_DEPTH_MAX};
/// A self-signed certificate lives this long: nobody renews it, and clients pin it.
pub const SELF_SIGNED_DAYS: u64 = 3653;
/// From here on `check` and the log remind of renewal. ACME clients renew with 30 days left.
pub const EXPIRY_WARNING_DAYS: u64 = 14;

const DAY_S: u64 = 24 * 60 * 60;

/// A configured pair that passed the checks.
pub(super) struct Pair {
    pub(super) certified: CertifiedKey,
    pub(super) warnings: Vec<CertWarning>,
}

/// What `check` shows of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of the leaf in colon hex.
    pub fingerprint: String,
    /// The names the leaf is good for: dNSName, SRVName and xmppAddr as written.
    pub names: Vec<String>,
    /// The last second it is valid, since 1970.
    pub not_after_unix_s: u64,
    /// Whether it is its own issuer.
    pub is_self_signed: bool,
    /// What the operator should know.
    pub warnings: Vec<CertWarning>,
}

/// Loads and checks a pair for `domain`, as the server will.
///
/// # Errors
///
/// [`CertError`]: the server would not start with this.
pub fn inspect(domain: &str, certificate: &Path, key: &Path, unix_s: u64) -> Result<Inspection, CertError> {
    let pair = load_pair(domain, certificate, key, &super::tls_settings::provider(), unix_s)?;
    let leaf = pair.certified.cert.first().map(|der| der.to_vec()).unwrap_or_default();
    let parsed = parse(&leaf, certificate)?;
    let Names { dns, srv, xmpp } = x509::names(&parsed, SERVER_NAMES_MAX).unwrap_or_default();
    let fields = parsed.tbs_certificate();
    Ok(Inspection {
        fingerprint: colon_hex(&leaf),
        names: [dns, srv, xmpp].concat(),
        not_after_unix_s: fields.validity().not_after.to_unix_duration().as_secs(),
        is_self_signed: fields.issuer() == fields.subject(),
        warnings: pair.warnings,
    })
}

/// The SHA-256 fingerprint of the first certificate in a file, as `AB:CD:…`.
///
/// # Errors
///
/// [`CertError`] if the file cannot be read or holds no certificate.
pub fn fingerprint(certificate: &Path) -> Result<String, CertError> {
    let chain = load_certificates(certificate)?;
    Ok(chain.first().map(|der| colon_hex(der)).unwrap_or_default())
}

/// Makes a self-signed certificate for `domain`, good for ten years, and writes it. It is for the key at `key`;
/// where there is none, one is made first (ECDSA P-256, mode 0600). Each file is written whole or not at all.
///
/// # Errors
///
/// [`CertError`] if the domain is no DNS name, the key that is there cannot be used, or a file cannot be
/// written. An existing certificate is replaced, an existing key never.
pub fn make_self_signed(domain: &str, certificate: &Path, key: &Path) -> Result<(), CertError> {
    let pair = match fs::read_to_string(key).map(Zeroizing::new) {
        Ok(pem) => {
            KeyPair::from_pem(&pem).map_err(|error| CertError::BadKey { path: key.into(), what: error.to_string() })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = KeyPair::generate().map_err(|error| CertError::Provider { what: error.to_string() })?;
            write_whole(key, Zeroizing::new(made.serialize_pem()).as_bytes(), 0o600)?;
            made
        }
        Err(error) => return Err(CertError::Read { path: key.into(), what: error.to_string() }),
    };
    let pem = self_signed(domain, &pair, Clock::new().now().unix_s())?;
    write_whole(certificate, pem.as_bytes(), 0o644)
}

/// The PEM of a self-signed certificate for `domain` and this key.
fn self_signed(domain: &str, key: &KeyPair, unix_s: u64) -> Result<String, CertError> {
    let ascii = ascii_domain(domain)?;
    let mut params = CertificateParams::new([ascii]).map_err(|_| CertError::domain(domain))?;
    // RFC 6120 §13.7.1.2: clients may look for the domain as it is written in addresses, too.
    let xmpp_addr = SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], domain.into()));
    params.subject_alt_names.push(xmpp_addr);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, domain);
    // A day back, for clients whose clocks are slow.
    let start = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s.saturating_sub(DAY_S));
    params.not_before = start;
    params.not_after = start + Duration::from_secs(SELF_SIGNED_DAYS * DAY_S);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let made = params.self_signed(key).map_err(|error| CertError::Provider { what: error.to_string() })?;
    Ok(made.pem())
}

/// Loads a pair and holds it against the rules.
pub(super) fn load_pair(
    domain: &str,
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
    unix_s: u64,
) -> Result<Pair, CertError> {
    let mut warnings = Vec::new();
    let chain = load_certificates(certificate)?;
    if chain.len() > SERVER_CHAIN_DEPTH_MAX {
        return Err(CertError::TooManyCertificates { path: certificate.into(), count: chain.len() });
    }
    let leaf = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
    check_leaf(domain, &leaf, certificate, unix_s, &mut warnings)?;
    let key_der = load_key(key)?;
    judge_mode(key, &mut warnings)?;
    let signing = provider.key_provider.load_private_key(key_der);
    let signing = signing.map_err(|error| CertError::BadKey { path: key.into(), what: error.to_string() })?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(CertError::KeyMismatch { certificate: certificate.into(), key: key.into() }),
    }
    Ok(Pair { certified, warnings })
}

fn check_leaf(
    domain: &str,
    leaf: &CertificateDer<'_>,
    path: &Path,
    unix_s: u64,
    warnings: &mut Vec<CertWarning>,
) -> Result<(), CertError> {
    let parsed = parse(leaf, path)?;
    if let Some(bits) = x509::rsa_bits(&parsed).filter(|bits| *bits < RSA_BITS_MIN) {
        return Err(CertError::WeakKey { path: path.into(), bits });
    }
    let names = x509::names(&parsed, SERVER_NAMES_MAX).unwrap_or_default();
    if !covers(domain, leaf, &names, path)? {
        let found = [names.dns, names.srv, names.xmpp].concat();
        return Err(CertError::WrongName { path: path.into(), domain: domain.to_owned(), found });
    }
    if x509::has_broken_signature(&parsed) {
        warnings.push(CertWarning::WeakSignature { path: path.into() });
    }
    let validity = parsed.tbs_certificate().validity();
    let end = validity.not_after;
    if unix_s < validity.not_before.to_unix_duration().as_secs() {
        warnings.push(CertWarning::NotYetValid { path: path.into(), from: validity.not_before.to_string() });
    } else if unix_s > end.to_unix_duration().as_secs() {
        warnings.push(CertWarning::Expired { path: path.into(), until: end.to_string() });
    } else if unix_s + EXPIRY_WARNING_DAYS * DAY_S > end.to_unix_duration().as_secs() {
        warnings.push(CertWarning::ExpiresSoon { path: path.into(), until: end.to_string() });
    }
    Ok(())
}

/// Whether the leaf names the domain: by dNSName (wildcards included), else by SRVName or xmppAddr.
fn covers(domain: &str, leaf: &CertificateDer<'_>, names: &Names, path: &Path) -> Result<bool, CertError> {
    let ascii = ascii_domain(domain)?;
    let name = ServerName::try_from(ascii.as_str()).map_err(|_| CertError::domain(domain))?;
    let end_entity = webpki::EndEntityCert::try_from(leaf).map_err(|error| CertError::unreadable(path, error))?;
    let by_dns = end_entity.verify_is_valid_for_subject_name(&name).is_ok();
    let srv = format!("_xmpp-client.{ascii}");
    let by_srv = names.srv.iter().any(|name| name.eq_ignore_ascii_case(&srv));
    let by_xmpp = names.xmpp.iter().any(|name| name == domain || name.eq_ignore_ascii_case(&ascii));
    Ok(by_dns || by_srv || by_xmpp)
}

/// A domain as certificates and SNI write it: IDNA's ASCII form, lower case; an address without its
/// brackets (RFC 7622 §3.2 allows addresses as domainparts; small networks use them).
pub(super) fn ascii_domain(domain: &str) -> Result<String, CertError> {
    let bare = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let ascii = idna::domain_to_ascii(domain).map_err(|_| CertError::domain(domain))?;
    if DnsName::try_from(ascii.as_str()).is_ok() { Ok(ascii) } else { Err(CertError::domain(domain)) }
}

fn parse(leaf: &[u8], path: &Path) -> Result<x509::Certificate, CertError> {
    x509::parse(leaf).ok_or_else(|| CertError::unreadable(path, webpki::Error::BadDer))
}

/// All certificates of a PEM file, in order; at least one.
pub(super) fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    let certificates = certificates.map_err(|error| CertError::bad_pem(path, &error))?;
    if certificates.is_empty() {
        return Err(CertError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

/// All revocation lists of a PEM file; at least one.
pub(super) fn load_crls(path: &Path) -> Result<Vec<Vec<u8>>, CertError> {
    let pem = read(path)?;
    let lists: Result<Vec<_>, _> = rustls_pemfile::crls(&mut pem.as_slice()).collect();
    let lists = lists.map_err(|error| CertError::bad_pem(path, &error))?;
    if lists.is_empty() {
        return Err(CertError::NoCrl { path: path.into() });
    }
    Ok(lists.iter().map(|der| der.to_vec()).collect())
}

fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertError> {
    let pem = read(path)?;
    let says = |words: &str| memchr::memmem::find(&pem, words.as_bytes()).is_some();
    // PKCS #8 says so in the label, OpenSSL's older format in a header of the block.
    if says("BEGIN ENCRYPTED PRIVATE KEY") || says("Proc-Type: 4,ENCRYPTED") {
        return Err(CertError::EncryptedKey { path: path.into() });
    }
    let key = rustls_pemfile::private_key(&mut pem.as_slice()).map_err(|error| CertError::bad_pem(path, &error))?;
    key.ok_or_else(|| CertError::NoKey { path: path.into() })
}

/// A file, wiped when dropped: it may hold a key.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertError> {
    let size = fs::metadata(path).map_err(|error| CertError::read(path, &error))?.len();
    if size > PEM_FILE_BYTES_MAX {
        return Err(CertError::read(path, &io::Error::other("too large for PEM")));
    }
    fs::read(path).map(Zeroizing::new).map_err(|error| CertError::read(path, &error))
}

#[cfg(unix)]
fn judge_mode(path: &Path, warnings: &mut Vec<CertWarning>) -> Result<(), CertError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode()) & 0o777;
    // A group may be the one that exists for such keys; everybody is nobody's group.
    if mode & 0o007 != 0 {
        return Err(CertError::KeyForAll { path: path.into(), mode });
    }
    if mode & 0o070 != 0 {
        warnings.push(CertWarning::KeyMode { path: path.into(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn judge_mode(_path: &Path, _warnings: &mut Vec<CertWarning>) -> Result<(), CertError> {
    Ok(())
}

/// Writes a file beside the one wanted and renames it: readers see the old one or the new one.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = write_new(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path)).and_then(|()| sync(path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        CertError::Write { path: path.into(), what: error.to_string() }
    })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename last through a power cut, where folders can be synced.
fn sync(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

pub(super) fn colon_hex(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, der);
    let pairs: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
