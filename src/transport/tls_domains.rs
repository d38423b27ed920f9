//! The loaded set: a certificate, ticket keys and client trust for each domain, and the settings of TLS.
//!
//! ```text
//! DomainTls (paths) ──load──▶ TlsDomains ──session──▶ Tls, one per connection
//!                               └─reload─▶ a new TlsDomains; connections keep what they have
//! ```
//!
//! Settings: TLS 1.2 and 1.3, forward secrecy only, extended master secret required, no 0-RTT, one
//! stateless ticket a handshake, nothing stored on our side. ALPN on direct TLS only: a STARTTLS
//! listener ignores what a client offers, a direct one refuses a foreign protocol.
//!
//! Ticket keys belong to one domain and to one generation of everything a ticket vouches for: the
//! domain set, the domain's certificate (its hash is a channel binding, and a resumed client holds
//! the old one) and its client roots (a ticket carries the client's chain). A reload that changes
//! none of these keeps the keys.
//!
//! RFC 7590, RFC 9325 §3 and §4, XEP-0368 §2, RFC 7301.

use super::certs::{self, CertError, CertWarning};
use super::client::{ClientTrust, TrustFault};
use super::tls::Tls;
use super::tls_client_auth::ProvesPossession;
use super::tls_handshake::{Handshake, Hint};
use super::{TlsError, binding};
use crate::crypto::digest;
use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, UnbufferedServerConnection,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ServerConfig};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The protocol name of client connections on direct TLS (XEP-0368 §2).
const ALPN_CLIENT: &[u8] = b"xmpp-client";
/// Tickets sent after a full or resumed TLS 1.3 handshake. A client uses one per connection.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// What one domain brings: paths, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainTls {
    /// The domain in prepared form.
    pub domain: String,
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM, not encrypted.
    pub key: PathBuf,
    /// PEM; set where SASL EXTERNAL is configured.
    pub client_roots: Option<PathBuf>,
    /// PEM revocation lists for client certificates; if any is given, all issuers must be covered.
    pub crls: Vec<PathBuf>,
    /// Accept client certificates made for servers only.
    pub client_server_auth: bool,
}

/// What concerns all domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whose certificate is served if the client names nobody, neither by SNI nor in a clear header.
    /// Without it, the only domain if there is exactly one, else nobody's.
    pub default_domain: Option<String>,
    /// The time, to warn of certificates that have run out.
    pub unix_s: u64,
}

/// One domain, ready to be served.
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) server_end_point: Option<Vec<u8>>,
    pub(super) tickets: Arc<dyn ProducesTickets>,
    /// A digest of what the tickets vouch for.
    generation: [u8; 32],
    trust: Option<ClientTrust>,
}

/// The domains by index and by name.
pub(super) struct DomainSet {
    domains: Vec<Domain>,
    by_name: HashMap<String, usize>,
    default: Option<usize>,
}

impl DomainSet {
    pub(super) fn get(&self, index: usize) -> Option<&Domain> {
        self.domains.get(index)
    }

    /// Finds a domain by its prepared or its ASCII name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_name.get(&certs::ascii_domain(name).ok()?)).copied()
    }

    pub(super) fn default_domain(&self) -> Option<usize> {
        self.default
    }
}

/// Everything that TLS needs, loaded; swapped whole on reload.
pub struct TlsDomains {
    set: Arc<DomainSet>,
    /// Settings for connections that are not, and that are, asked for a client certificate.
    quiet: ServerConfig,
    asking: ServerConfig,
    warnings: Vec<CertWarning>,
}

impl TlsDomains {
    /// Loads and checks all certificates. Blocks on files: for start-up and SIGHUP.
    ///
    /// # Errors
    ///
    /// [`CertError`], naming the file and what to change. Nothing is half loaded.
    pub fn load(domains: &[DomainTls], options: &TlsOptions) -> Result<Self, CertError> {
        Self::build(domains, options, None)
    }

    /// Loads again, keeping the ticket keys of each domain for which nothing changed that tickets vouch
    /// for. Existing connections are not touched: they hold nothing of a `TlsDomains` after their handshake.
    ///
    /// # Errors
    ///
    /// As [`TlsDomains::load`]; the caller goes on with the old ones.
    pub fn reload(&self, domains: &[DomainTls], options: &TlsOptions) -> Result<Self, CertError> {
        Self::build(domains, options, Some(&self.set))
    }

    fn build(domains: &[DomainTls], options: &TlsOptions, old: Option<&DomainSet>) -> Result<Self, CertError> {
        let provider = Arc::new(provider());
        let mut warnings = Vec::new();
        let mut loaded = Vec::with_capacity(domains.len());
        let mut by_name = HashMap::new();
        let names = digest_of_names(domains);
        for (index, wanted) in domains.iter().enumerate() {
            let domain = load_domain(wanted, &provider, &names, old, options.unix_s, &mut warnings)?;
            let ascii = certs::ascii_domain(&wanted.domain)?;
            let doubled = by_name.insert(ascii.clone(), index).is_some();
            if doubled || (ascii != wanted.domain && by_name.insert(wanted.domain.clone(), index).is_some()) {
                return Err(CertError::domain(&wanted.domain));
            }
            loaded.push(domain);
        }
        let mut set = DomainSet { domains: loaded, by_name, default: None };
        set.default = match &options.default_domain {
            Some(name) => Some(set.find(name).ok_or_else(|| CertError::domain(name))?),
            None => (set.domains.len() == 1).then_some(0),
        };
        let quiet = settings(Arc::clone(&provider), false)?;
        let asking = settings(provider, true)?;
        Ok(Self { set: Arc::new(set), quiet, asking, warnings })
    }

    /// Whether this domain has a certificate here.
    pub fn has(&self, domain: &str) -> bool {
        self.set.find(domain).is_some()
    }

    /// What the operator should know about the loaded files; to be logged once.
    pub fn warnings(&self) -> &[CertWarning] {
        &self.warnings
    }

    /// The SHA-256 fingerprint of a domain's certificate, as `AB:CD:…`.
    pub fn fingerprint(&self, domain: &str) -> Option<String> {
        let domain = self.set.get(self.set.find(domain)?)?;
        domain.certified.cert.first().map(|leaf| certs::colon_hex(leaf))
    }

    /// How client certificates are judged for the domain of the stream inside TLS; none if the domain
    /// has no client roots, and EXTERNAL is not to be offered.
    pub fn client_trust(&self, domain: &str) -> Option<&ClientTrust> {
        self.set.get(self.set.find(domain)?)?.trust.as_ref()
    }

    /// Starts the server's side of one connection.
    ///
    /// `hint` is the domain named in the clear (`to` of the stream header), for clients without SNI.
    /// `direct`: TLS from the first byte; `xmpp-client` is negotiated by ALPN if the client has ALPN.
    ///
    /// A client certificate is asked for if the hinted domain takes them, or, where no hosted domain
    /// is hinted, if any does.
    ///
    /// # Errors
    ///
    /// [`TlsError::Internal`]; no peer can cause it.
    pub fn session(&self, hint: Option<&str>, direct: bool) -> Result<Tls, TlsError> {
        let hint = match hint {
            None => Hint::None,
            Some(name) => self.set.find(name).map_or(Hint::Unknown, Hint::Domain),
        };
        let handshake = Arc::new(Handshake::new(Arc::clone(&self.set), hint));
        let mut config = if self.asks(hint, direct) { self.asking.clone() } else { self.quiet.clone() };
        config.cert_resolver = handshake.clone();
        config.ticketer = handshake.clone();
        config.key_log = handshake.clone();
        if direct {
            config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
        }
        match UnbufferedServerConnection::new(Arc::new(config)) {
            Ok(connection) => Ok(Tls::new(connection, handshake)),
            Err(error) => Err(TlsError::Internal(format!("{error:?}"))),
        }
    }

    fn asks(&self, hint: Hint, direct: bool) -> bool {
        match hint {
            Hint::Domain(index) if !direct => self.set.get(index).is_some_and(|domain| domain.trust.is_some()),
            _ => self.set.domains.iter().any(|domain| domain.trust.is_some()),
        }
    }
}

impl fmt::Debug for TlsDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.set.domains.iter().map(|domain| &domain.name);
        f.debug_tuple("TlsDomains").field(&names.collect::<Vec<_>>()).finish()
    }
}

fn load_domain(
    wanted: &DomainTls,
    provider: &CryptoProvider,
    names: &[u8; 32],
    old: Option<&DomainSet>,
    unix_s: u64,
    warnings: &mut Vec<CertWarning>,
) -> Result<Domain, CertError> {
    let pair = certs::load_pair(&wanted.domain, &wanted.certificate, &wanted.key, provider, unix_s)?;
    warnings.extend(pair.warnings);
    let (trust, roots) = load_trust(wanted)?;
    let leaf = pair.certified.cert.first().map(|der| der.to_vec()).unwrap_or_default();
    let generation = generation(names, &leaf, &roots);
    Ok(Domain {
        name: wanted.domain.clone(),
        server_end_point: binding::server_end_point(&leaf),
        certified: Arc::new(pair.certified),
        tickets: tickets(&wanted.domain, &generation, old)?,
        generation,
        trust,
    })
}

/// The trust, and a digest of its roots.
fn load_trust(wanted: &DomainTls) -> Result<(Option<ClientTrust>, [u8; 32]), CertError> {
    let Some(path) = &wanted.client_roots else { return Ok((None, [0; 32])) };
    let roots = certs::load_certificates(path)?;
    let mut crls = Vec::new();
    let mut origins = Vec::new();
    for path in &wanted.crls {
        for der in certs::load_crls(path)? {
            crls.push(der);
            origins.push(path);
        }
    }
    let trust = ClientTrust::new(&roots, &crls, wanted.client_server_auth).map_err(|fault| match fault {
        TrustFault::Root { index, error } => CertError::unusable_root(path, index, error.to_string()),
        TrustFault::Crl { index, error } => {
            let path = origins.get(index).copied().unwrap_or(path);
            CertError::unusable_crl(path, error.to_string())
        }
    })?;
    let mut digests: Vec<_> = roots.iter().map(|der| sha256(&[der])).collect();
    digests.sort_unstable();
    let parts: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
    Ok((Some(trust), sha256(&parts)))
}

fn generation(names: &[u8; 32], leaf: &[u8], roots: &[u8; 32]) -> [u8; 32] {
    sha256(&[names, &sha256(&[leaf]), roots])
}

fn digest_of_names(domains: &[DomainTls]) -> [u8; 32] {
    let mut digests: Vec<_> = domains.iter().map(|domain| sha256(&[domain.domain.as_bytes()])).collect();
    digests.sort_unstable();
    let parts: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
    sha256(&parts)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

fn tickets(name: &str, generation: &[u8; 32], old: Option<&DomainSet>) -> Result<Arc<dyn ProducesTickets>, CertError> {
    let before = old.and_then(|set| set.domains.iter().find(|domain| domain.name == name));
    match before {
        Some(domain) if domain.generation == *generation => Ok(Arc::clone(&domain.tickets)),
        _ => new_ticketer().map_err(|error| CertError::Provider { what: error.to_string() }),
    }
}

#[cfg(feature = "ring")]
use rustls::crypto::ring as provided;

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
use rustls::crypto::aws_lc_rs as provided;

fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    provided::Ticketer::new()
}

/// The provider of the chosen feature, its suites in our order.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = provided::default_provider();
    let order = suite_order(has_aes());
    let place = |suite: CipherSuite| order.iter().position(|wanted| *wanted == suite);
    provider.cipher_suites.retain(|suite| place(suite.suite()).is_some());
    provider.cipher_suites.sort_by_key(|suite| place(suite.suite()));
    provider
}

/// Best first, for both versions. All have forward secrecy and an AEAD (RFC 9325 §4.2). SHA-384 suites
/// come last: they cost a fifth of a handshake and protect nothing that the rest does not.
fn suite_order(has_aes: bool) -> [CipherSuite; 9] {
    use CipherSuite::*;
    let [first, second] = if has_aes {
        [
            [TLS13_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
            CHACHA20_SUITES,
        ]
    } else {
        [
            CHACHA20_SUITES,
            [TLS13_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        ]
    };
    let last =
        [TLS13_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
    let [a, b, c] = first;
    let [d, e, f] = second;
    let [g, h, i] = last;
    [a, b, c, d, e, f, g, h, i]
}

const CHACHA20_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Whether the CPU has instructions for AES-GCM; without them ChaCha20 is several times faster.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

/// The settings shared by all connections; [`TlsDomains::session`] fills in the rest in a copy.
fn settings(provider: Arc<CryptoProvider>, ask_client: bool) -> Result<ServerConfig, CertError> {
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| CertError::Provider { what: error.to_string() })?;
    let builder = if ask_client {
        builder.with_client_cert_verifier(Arc::new(ProvesPossession { algorithms }))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(Nobody));
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    config.max_early_data_size = 0;
    config.require_ems = true;
    config.cert_compression_cache = Arc::new(rustls::compress::CompressionCache::Disabled);
    Ok(config)
}

/// Stands in the shared settings until a connection puts its own resolver there.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_forward_secrecy_and_none_is_lost() {
        let all = provided::default_provider().cipher_suites;
        let ours = provider().cipher_suites;
        assert_eq!(ours.len(), all.len(), "a suite that the order does not name");
        for suite in ours {
            let name = format!("{:?}", suite.suite());
            assert!(suite.tls13().is_some() || name.starts_with("TLS_ECDHE_"), "{name}");
        }
    }

    #[test]
    fn the_cpu_decides_which_cipher_is_first() {
        use CipherSuite::*;
        assert_eq!(suite_order(true)[0], TLS13_AES_128_GCM_SHA256);
        assert_eq!(suite_order(false)[0], TLS13_CHACHA20_POLY1305_SHA256);
        for has_aes in [true, false] {
            let order = suite_order(has_aes);
            assert!(order.iter().enumerate().all(|(index, suite)| !order[..index].contains(suite)));
            assert_eq!(order[6], TLS13_AES_256_GCM_SHA384);
        }
        let first = provider().cipher_suites[0].suite();
        assert_eq!(first, suite_order(has_aes())[0]);
    }

    #[test]
    fn settings_are_strict() {
        for asks in [false, true] {
            let config = settings(Arc::new(provider()), asks).expect("settings");
            assert!(config.require_ems && config.ignore_client_order);
            assert_eq!((config.max_early_data_size, config.send_tls13_tickets, config.max_tls13_tickets), (0, 1, 0));
            assert!(!config.session_storage.can_cache() && !config.send_half_rtt_data);
            assert!(!config.enable_secret_extraction && config.alpn_protocols.is_empty());
        }
    }
}
