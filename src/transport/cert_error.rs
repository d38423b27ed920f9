//! What can be wrong with certificate files, said so that an operator can act on it.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why a certificate, key, root or list cannot be used. The text names the file and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// The file cannot be written.
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// A PEM block is broken.
    BadPem {
        /// The file.
        path: PathBuf,
        /// What is broken.
        what: String,
    },
    /// No certificate in the file.
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// More certificates than a chain has.
    TooManyCertificates {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The certificate is not X.509 that clients can read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No private key in the file.
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key needs a passphrase.
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// Every user of the machine may use the private key.
    KeyForAll {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The private key is of a kind that cannot be used.
    BadKey {
        /// The file.
        path: PathBuf,
        /// What the provider said.
        what: String,
    },
    /// An RSA key that is too short.
    WeakKey {
        /// The certificate's file.
        path: PathBuf,
        /// Its length.
        bits: usize,
    },
    /// The key belongs to another certificate.
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate is for other names.
    WrongName {
        /// The certificate's file.
        path: PathBuf,
        /// The domain wanted.
        domain: String,
        /// The names found.
        found: Vec<String>,
    },
    /// A root for client certificates cannot be used.
    BadRoot {
        /// The file.
        path: PathBuf,
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong.
        what: String,
    },
    /// No revocation list in the file.
    NoCrl {
        /// The file.
        path: PathBuf,
    },
    /// A revocation list cannot be used.
    BadCrl {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The domain is no DNS name, is given twice, or is the default and not hosted.
    Domain {
        /// The domain.
        domain: String,
    },
    /// The crypto provider failed.
    Provider {
        /// What it said.
        what: String,
    },
}

impl CertError {
    pub(super) fn read(path: &Path, error: &io::Error) -> Self {
        Self::Read { path: path.into(), what: error.to_string() }
    }

    pub(super) fn bad_pem(path: &Path, error: &io::Error) -> Self {
        Self::BadPem { path: path.into(), what: error.to_string() }
    }

    pub(super) fn unreadable(path: &Path, error: impl fmt::Display) -> Self {
        Self::Unreadable { path: path.into(), what: error.to_string() }
    }

    pub(super) fn unusable_root(path: &Path, index: usize, what: String) -> Self {
        Self::BadRoot { path: path.into(), number: index + 1, what }
    }

    pub(super) fn unusable_crl(path: &Path, what: String) -> Self {
        Self::BadCrl { path: path.into(), what }
    }

    pub(super) fn domain(domain: &str) -> Self {
        Self::Domain { domain: domain.to_owned() }
    }
}

impl CertError {
    /// The file to change; none if it is the configuration.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::BadPem { path, .. }
            | Self::NoCertificate { path }
            | Self::TooManyCertificates { path, .. }
            | Self::Unreadable { path, .. }
            | Self::NoKey { path }
            | Self::EncryptedKey { path }
            | Self::KeyForAll { path, .. }
            | Self::BadKey { path, .. }
            | Self::WeakKey { path, .. }
            | Self::KeyMismatch { key: path, .. }
            | Self::WrongName { path, .. }
            | Self::BadRoot { path, .. }
            | Self::NoCrl { path }
            | Self::BadCrl { path, .. } => Some(path),
            Self::Domain { .. } | Self::Provider { .. } => None,
        }
    }

    /// What to do about it.
    fn cure(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path, and that the server's user may read it",
            Self::Write { .. } => "check that the server's user may write to its folder",
            Self::BadPem { .. } => "export the file again as PEM text",
            Self::NoCertificate { .. } => {
                "it must hold -----BEGIN CERTIFICATE----- blocks, the server's own first, then its intermediates"
            }
            Self::TooManyCertificates { .. } => "keep the server's own certificate and its intermediates",
            Self::Unreadable { .. } => "the first block must be the server's own certificate, X.509 version 3",
            Self::NoKey { .. } => "it must hold a -----BEGIN PRIVATE KEY----- block",
            Self::EncryptedKey { .. } => {
                "write it without one: openssl pkey -in KEY -out KEY.plain, and protect the file: chmod 600"
            }
            Self::KeyForAll { .. } => "run chmod 600 on it, and get a new key if somebody may have read it",
            Self::BadKey { .. } => "use ECDSA P-256, or RSA of 2048 bits or more",
            Self::WeakKey { .. } => "get a certificate for an ECDSA P-256 key, or RSA of 2048 bits or more",
            Self::KeyMismatch { .. } => {
                "name the pair that was made together; the server's own certificate comes first in its file"
            }
            Self::WrongName { .. } => "get a certificate with the domain as dNSName",
            Self::BadRoot { .. } => "remove or replace it",
            Self::NoCrl { .. } => "it must hold a -----BEGIN X509 CRL----- block; from DER: openssl crl -inform der",
            Self::BadCrl { .. } => "fetch it again from the CA",
            Self::Domain { .. } => "correct the domain in the configuration",
            Self::Provider { .. } => "this is not the configuration's fault",
        }
    }
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.path() {
            write!(f, "{}: ", path.display())?;
        }
        match self {
            Self::Read { what, .. } => write!(f, "cannot be read: {what}"),
            Self::Write { what, .. } => write!(f, "cannot be written: {what}"),
            Self::BadPem { what, .. } => write!(f, "broken PEM: {what}"),
            Self::NoCertificate { .. } => f.write_str("no certificate in it"),
            Self::TooManyCertificates { count, .. } => write!(f, "{count} certificates, which is no chain"),
            Self::Unreadable { what, .. } => write!(f, "not a usable X.509 certificate: {what}"),
            Self::NoKey { .. } => f.write_str("no private key in it"),
            Self::EncryptedKey { .. } => f.write_str("the private key needs a passphrase"),
            Self::KeyForAll { mode, .. } => {
                write!(f, "mode {mode:03o} lets every user of this machine at the private key")
            }
            Self::BadKey { what, .. } => write!(f, "a private key that cannot be used: {what}"),
            Self::WeakKey { bits, .. } => write!(f, "an RSA key of {bits} bits, which is too short"),
            Self::KeyMismatch { certificate, .. } => {
                write!(f, "does not belong to the certificate in {}", certificate.display())
            }
            Self::WrongName { domain, found, .. } => write!(f, "not for {domain} but for {}", listed(found)),
            Self::BadRoot { number, what, .. } => {
                write!(f, "certificate {number} cannot be a root for client certificates: {what}")
            }
            Self::NoCrl { .. } => f.write_str("no revocation list in it"),
            Self::BadCrl { what, .. } => write!(f, "a revocation list that cannot be used: {what}"),
            Self::Domain { domain } => write!(f, "{domain}: not a DNS name, named twice, or not hosted"),
            Self::Provider { what } => write!(f, "the crypto provider failed: {what}"),
        }?;
        write!(f, "; {}", self.cure())
    }
}

impl std::error::Error for CertError {}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

/// What is usable but may trouble clients, or is dangerous as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertWarning {
    /// Past its last day: clients will refuse it.
    Expired {
        /// The file.
        path: PathBuf,
        /// Its last moment.
        until: String,
    },
    /// Within [`super::certs::EXPIRY_WARNING_DAYS`] of its last day.
    ExpiresSoon {
        /// The file.
        path: PathBuf,
        /// Its last moment.
        until: String,
    },
    /// Before its first day.
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its first moment.
        from: String,
    },
    /// Others may read the key.
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Signed with MD5 or SHA-1.
    WeakSignature {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for CertWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { path, until } => {
                write!(f, "{}: expired on {until}; clients will refuse it: renew it and reload", path.display())
            }
            Self::ExpiresSoon { path, until } => {
                write!(f, "{}: expires on {until}; renew it and reload", path.display())
            }
            Self::NotYetValid { path, from } => {
                write!(f, "{}: not valid before {from}; check it, and this machine's clock", path.display())
            }
            Self::KeyMode { path, mode } => {
                write!(
                    f,
                    "{}: mode {mode:03o} lets its group at the private key; if that is not meant, run chmod 600 on it",
                    path.display()
                )
            }
            Self::WeakSignature { path } => {
                write!(f, "{}: signed with MD5 or SHA-1; clients may refuse it: get a new one", path.display())
            }
        }
    }
}
