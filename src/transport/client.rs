//! Client certificates after the handshake: is this chain good for this domain, now, and whom does it name?
//!
//! ```text
//! TlsInfo::peer_chain ──▶ ClientTrust::judge(time) ──▶ xmppAddr values ──▶ SASL EXTERNAL
//! ```
//!
//! Asked when mechanisms are offered and again at `<auth/>`: a chain may expire, or its CA be removed,
//! between a handshake and its resumption. The key was proven in the handshake (`tls_client_auth`).
//!
//! RFC 6120 §13.7.1.4, §13.7.2.3; XEP-0178 §2; RFC 5280 §6.

use super::tls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use super::x509;
use std::fmt;
use std::time::Duration;
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};

pub use crate::limits::{CHAIN_BYTES_MAX, CHAIN_DEPTH_MAX, CLIENT_NAMES_MAX};

/// Why a client's chain is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// No certificate in the chain.
    Empty,
    /// Over [`CHAIN_DEPTH_MAX`] or [`CHAIN_BYTES_MAX`].
    TooLong,
    /// The certificate cannot be read.
    Malformed,
    /// No path to a configured root.
    UnknownIssuer,
    /// Past its last day, or an issuer is.
    Expired,
    /// Before its first day, or an issuer is.
    NotYetValid,
    /// On a revocation list.
    Revoked,
    /// Revocation lists are configured, and none that is current covers it.
    RevocationUnknown,
    /// Not made for authenticating clients (extended key usage).
    WrongPurpose,
    /// Anything else that path validation refuses; its name for it.
    Other(String),
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no client certificate",
            Self::TooLong => "the client's certificate chain is too long",
            Self::Malformed => "the client's certificate cannot be read",
            Self::UnknownIssuer => "the client's certificate is from an unknown issuer",
            Self::Expired => "the client's certificate has expired",
            Self::NotYetValid => "the client's certificate is not valid yet",
            Self::Revoked => "the client's certificate is revoked",
            Self::RevocationUnknown => "no current revocation list covers the client's certificate",
            Self::WrongPurpose => "the client's certificate is not made for client authentication",
            Self::Other(what) => return write!(f, "the client's certificate chain is refused: {what}"),
        })
    }
}

impl std::error::Error for ChainFault {}

/// The roots, revocation lists and purposes that one domain accepts client certificates by.
pub struct ClientTrust {
    roots: Vec<TrustAnchor<'static>>,
    crls: Vec<CertRevocationList<'static>>,
    allow_server_auth: bool,
}

impl ClientTrust {
    /// Builds from DER. `Err` holds the index of the first root or list that cannot be used.
    pub(super) fn new(
        roots: &[CertificateDer<'static>],
        crls: &[Vec<u8>],
        allow_server_auth: bool,
    ) -> Result<Self, TrustFault> {
        let anchor = |(index, der): (usize, &CertificateDer<'static>)| {
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| TrustFault::Root { index, error });
            anchor.map(|anchor| anchor.to_owned())
        };
        let list = |(index, der): (usize, &Vec<u8>)| {
            let list = OwnedCertRevocationList::from_der(der).map_err(|error| TrustFault::Crl { index, error });
            list.map(CertRevocationList::from)
        };
        Ok(Self {
            roots: roots.iter().enumerate().map(anchor).collect::<Result<_, _>>()?,
            crls: crls.iter().enumerate().map(list).collect::<Result<_, _>>()?,
            allow_server_auth,
        })
    }

    /// Judges a chain as it was presented (leaf first) for the time `unix_s`, and returns the xmppAddr
    /// values of its leaf, as they are written there; there may be none.
    ///
    /// With revocation lists configured, every certificate of the path must be covered by one that has
    /// not run out. Work is bounded by the chain's bounds and by the path builder's own budget.
    ///
    /// # Errors
    ///
    /// The [`ChainFault`]; EXTERNAL must not be offered, or must fail with `not-authorized`.
    pub fn judge(&self, chain: &[Vec<u8>], unix_s: u64) -> Result<Vec<String>, ChainFault> {
        let (leaf, intermediates) = chain.split_first().ok_or(ChainFault::Empty)?;
        let bytes: usize = chain.iter().map(Vec::len).sum();
        if chain.len() > CHAIN_DEPTH_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(ChainFault::TooLong);
        }
        let leaf_der = CertificateDer::from(leaf.as_slice());
        let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let end_entity = EndEntityCert::try_from(&leaf_der).map_err(|_| ChainFault::Malformed)?;
        match self.verify(&end_entity, &intermediates, unix_s, KeyUsage::client_auth()) {
            Err(ChainFault::WrongPurpose) if self.allow_server_auth => {
                self.verify(&end_entity, &intermediates, unix_s, KeyUsage::server_auth())?;
            }
            judged => judged?,
        }
        addresses(leaf)
    }

    fn verify(
        &self,
        leaf: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        unix_s: u64,
        usage: KeyUsage,
    ) -> Result<(), ChainFault> {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_s));
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let revocation = revocation(&crls);
        leaf.verify_for_usage(algorithms, &self.roots, intermediates, time, usage, revocation, None)?;
        Ok(())
    }
}

/// Fail closed: who configures lists wants them to count. None without lists.
fn revocation<'a>(crls: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(crls).ok()?;
    let builder = builder.with_depth(RevocationCheckDepth::Chain);
    let builder = builder.with_status_policy(UnknownStatusPolicy::Deny);
    Some(builder.with_expiration_policy(ExpirationPolicy::Enforce).build())
}

fn addresses(leaf: &[u8]) -> Result<Vec<String>, ChainFault> {
    let certificate = x509::parse(leaf).ok_or(ChainFault::Malformed)?;
    let names = x509::names(&certificate, CLIENT_NAMES_MAX).ok_or(ChainFault::Malformed)?;
    Ok(names.xmpp)
}

impl From<Error> for ChainFault {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::CertExpired { .. } => Self::Expired,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::CertRevoked => Self::Revoked,
            Error::UnknownRevocationStatus | Error::CrlExpired { .. } => Self::RevocationUnknown,
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Self::WrongPurpose,
            Error::BadDer => Self::Malformed,
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust")
            .field("roots", &self.roots.len())
            .field("crls", &self.crls.len())
            .field("allow_server_auth", &self.allow_server_auth)
            .finish()
    }
}

/// A root or list that cannot be used.
#[derive(Debug)]
pub(super) enum TrustFault {
    /// The root with this index.
    Root { index: usize, error: Error },
    /// The list with this index.
    Crl { index: usize, error: Error },
}
