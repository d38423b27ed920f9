//! A test PKI, made anew by every test, and a TLS client in memory to go with it.
#![allow(dead_code, unused_imports, unused_macros)] // Every test binary uses its own part.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use stonechat::transport::{DomainTls, Tls, TlsDomains, TlsError, TlsEvent, TlsInfo, TlsOptions};

/// A moment in the type that rcgen wants.
macro_rules! date {
    ($unix_s:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs($unix_s)
    };
}
pub(crate) use date;

/// A moment at which the certificates of this file are valid.
pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const DAY_S: u64 = 86_400;

/// A folder that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stonechat-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        // Keys are among them, and those must not be everybody's.
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate authority.
pub(crate) struct Ca {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (pem, der) = (issuer.pem(), issuer.der().clone());
        Self { issuer, pem, der }
    }

    /// A CA under this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let (pem, der) = (issuer.pem(), issuer.der().clone());
        Self { issuer, pem, der }
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { pem: certificate.pem(), der: certificate.der().clone(), key_pem: key.serialize_pem(), key }
    }

    pub(crate) fn server(&self, domain: &str) -> Issued {
        let name = stonechat::jid::domain_to_ascii(domain).map_or(domain.to_owned(), |name| name.into_owned());
        self.issue(&CertificateParams::new([name]).unwrap())
    }

    /// A client certificate with these xmppAddr values.
    pub(crate) fn client(&self, addresses: &[&str]) -> Issued {
        self.issue(&client_params(addresses))
    }

    /// A revocation list with these serial numbers, current until `until_s`.
    pub(crate) fn crl(&self, serials: &[u64], until_s: u64) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date!(NOW_S - DAY_S),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date!(NOW_S - 30 * DAY_S),
            next_update: date!(until_s),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

pub(crate) fn client_params(addresses: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let xmpp_addr = |address: &&str| SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], (*address).into()));
    params.subject_alt_names = addresses.iter().map(xmpp_addr).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date!(NOW_S - 30 * DAY_S);
    params.not_after = date!(NOW_S + 30 * DAY_S);
    params
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key_pem: String,
    pub(crate) key: KeyPair,
}

impl Issued {
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

/// A server's files and the CA behind them.
pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) ca: Ca,
    pub(crate) domains: Vec<DomainTls>,
}

impl World {
    /// One certificate a domain, from one CA.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut world = Self { folder: Folder::new(), ca: Ca::new("server root"), domains: Vec::new() };
        for name in names {
            let issued = world.ca.server(name);
            world.add(name, &issued);
        }
        world
    }

    /// Adds a domain, or replaces its files.
    pub(crate) fn add(&mut self, name: &str, issued: &Issued) {
        let certificate = self.folder.write(&format!("{name}.crt"), &issued.pem);
        let key = self.folder.write(&format!("{name}.key"), &issued.key_pem);
        protect(&key);
        let domain = DomainTls {
            domain: name.to_owned(),
            certificate,
            key,
            client_roots: None,
            crls: Vec::new(),
            client_server_auth: false,
        };
        self.domains.retain(|other| other.domain != name);
        self.domains.push(domain);
    }

    /// Lets a domain take client certificates of these roots.
    pub(crate) fn take_clients(&mut self, name: &str, roots: &[&Ca]) {
        let pem: String = roots.iter().map(|ca| ca.pem.as_str()).collect();
        let path = self.folder.write(&format!("{name}.roots"), &pem);
        self.domain(name).client_roots = Some(path);
    }

    pub(crate) fn domain(&mut self, name: &str) -> &mut DomainTls {
        self.domains.iter_mut().find(|domain| domain.domain == name).unwrap()
    }

    pub(crate) fn load(&self) -> TlsDomains {
        TlsDomains::load(&self.domains, &options()).unwrap()
    }

    pub(crate) fn client(&self) -> ClientSettings {
        ClientSettings::new(&self.ca)
    }
}

pub(crate) fn options() -> TlsOptions {
    TlsOptions { default_domain: None, unix_s: NOW_S }
}

#[cfg(unix)]
pub(crate) fn protect(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
pub(crate) fn protect(_path: &Path) {}

#[cfg(feature = "ring")]
pub(crate) use rustls::crypto::ring as provided;

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
pub(crate) use rustls::crypto::aws_lc_rs as provided;

/// How a client connects; keeps its tickets between connections.
#[derive(Clone)]
pub(crate) struct ClientSettings {
    pub(crate) config: ClientConfig,
}

impl ClientSettings {
    pub(crate) fn new(ca: &Ca) -> Self {
        Self::build(ca, &[&TLS13, &TLS12], None)
    }

    pub(crate) fn versions(ca: &Ca, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::build(ca, versions, None)
    }

    pub(crate) fn build(
        ca: &Ca,
        versions: &[&'static SupportedProtocolVersion],
        certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        Self::build_with(provided::default_provider(), ca, versions, certificate)
    }

    pub(crate) fn build_with(
        provider: CryptoProvider,
        ca: &Ca,
        versions: &[&'static SupportedProtocolVersion],
        certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Self { config }
    }

    /// For [`RawClient`]: its keys may be taken. ChaCha20 only, since AWS-LC does not let another take over
    /// the explicit nonces of AES-GCM in TLS 1.2.
    pub(crate) fn open(ca: &Ca, version: &'static SupportedProtocolVersion) -> Self {
        let mut provider = provided::default_provider();
        provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("CHACHA20"));
        let mut settings = Self::build_with(provider, ca, &[version], None);
        settings.config.enable_secret_extraction = true;
        settings
    }

    pub(crate) fn with_certificate(ca: &Ca, versions: &[&'static SupportedProtocolVersion], issued: &Issued) -> Self {
        Self::build(ca, versions, Some((vec![issued.der.clone()], issued.key_der())))
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Sends no SNI, but still checks the certificate for the name given to `connect`.
    pub(crate) fn without_sni(mut self) -> Self {
        self.config.enable_sni = false;
        self
    }

    pub(crate) fn connect(&self, name: &str) -> ClientConnection {
        // On the wire a name is made of A-labels (RFC 6066 §3).
        let name = ServerName::try_from(idna::domain_to_ascii(name).unwrap()).unwrap();
        ClientConnection::new(Arc::new(self.config.clone()), name).unwrap()
    }
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    EveryByte,
    /// Pieces of pseudo-random length, from this seed.
    Seeded(u64),
}

/// A client and a server with a wire between them.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: Tls,
    pub(crate) cut: Cut,
    pub(crate) events: Vec<TlsEvent>,
    /// What the server decrypted.
    pub(crate) plain: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(client: ClientConnection, server: Tls) -> Self {
        Self { client, server, cut: Cut::Whole, events: Vec::new(), plain: Vec::new() }
    }

    /// Moves bytes both ways until nothing moves. `Err`: the server's error, its alert delivered.
    pub(crate) fn run(&mut self) -> Result<(), TlsError> {
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            if wire.is_empty() {
                return Ok(());
            }
            let mut out = Vec::new();
            let fed = self.feed(&mut wire, &mut out);
            let delivered = self.deliver(&out);
            fed?;
            if delivered.is_err() {
                return Ok(());
            }
        }
    }

    /// Feeds the server in pieces.
    pub(crate) fn feed(&mut self, wire: &mut [u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut rest = wire;
        let mut state = match self.cut {
            Cut::Seeded(seed) => seed,
            Cut::Whole | Cut::EveryByte => 0,
        };
        while !rest.is_empty() {
            let size = match self.cut {
                Cut::Whole => rest.len(),
                Cut::EveryByte => 1,
                Cut::Seeded(_) => 1 + (next(&mut state) % 97) as usize,
            };
            let (piece, after) = rest.split_at_mut(size.min(rest.len()));
            let event = self.server.feed(piece, &mut self.plain, out)?;
            if event != TlsEvent::Nothing {
                self.events.push(event);
            }
            rest = after;
        }
        Ok(())
    }

    /// Gives bytes to the client.
    pub(crate) fn deliver(&mut self, bytes: &[u8]) -> Result<(), rustls::Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.client.read_tls(&mut rest).unwrap() == 0 {
                break;
            }
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Runs the handshake to its end and takes what it showed.
    pub(crate) fn handshake(&mut self) -> TlsInfo {
        self.run().unwrap();
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
        assert_eq!(self.events, [TlsEvent::Established]);
        self.events.clear();
        self.server.take_info()
    }

    /// Client to server; returns what arrived.
    pub(crate) fn up(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(bytes).unwrap();
        self.run().unwrap();
        std::mem::take(&mut self.plain)
    }

    /// Server to client; returns what arrived and how many bytes of ciphertext it took.
    pub(crate) fn down(&mut self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        self.server.seal(bytes, &mut out).unwrap();
        let mut got = Vec::new();
        // In pieces: the client takes a bounded amount of plaintext before it must be read.
        for piece in out.chunks(4096) {
            self.deliver(piece).unwrap();
            let mut buffer = [0; 32 * 1024];
            loop {
                match self.client.reader().read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(size) => got.extend_from_slice(&buffer[..size]),
                }
            }
        }
        (got, out.len())
    }

    /// What the client derives for `tls-exporter`.
    pub(crate) fn client_exporter(&self) -> [u8; 32] {
        self.client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap()
    }
}

/// Connects, completes the handshake, and returns both sides.
pub(crate) fn connect(domains: &TlsDomains, client: &ClientSettings, name: &str) -> (Pair, TlsInfo) {
    connect_as(domains, client, name, None, false)
}

pub(crate) fn connect_as(
    domains: &TlsDomains,
    client: &ClientSettings,
    name: &str,
    hint: Option<&str>,
    direct: bool,
) -> (Pair, TlsInfo) {
    let mut pair = Pair::new(client.connect(name), domains.session(hint, direct).unwrap());
    let info = pair.handshake();
    // Lets the client see its ticket.
    assert_eq!(pair.down(b"hello").0, b"hello");
    (pair, info)
}

/// A seeded stream of numbers (splitmix64), for cuts and mutations.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A client that breaks the rules: encrypts whatever record it is told to.
pub(crate) struct RawClient {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl RawClient {
    /// Takes the keys out of a client whose settings allow it (`enable_secret_extraction`).
    pub(crate) fn new(client: ClientConnection) -> Self {
        let suite = client.negotiated_cipher_suite().unwrap();
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let (key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => unreachable!("no other suites are offered"),
        };
        let encrypter = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let (fixed, explicit) = iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
                suite.aead_alg.encrypter(key, fixed, explicit)
            }
        };
        Self { encrypter, sequence }
    }

    pub(crate) fn record(&mut self, kind: ContentType, payload: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ: kind, version, payload: OutboundChunks::Single(payload) };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        record.encode()
    }
}
