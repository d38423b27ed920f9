//! What is served when nobody said otherwise.

use super::{
    Config, ConfigSource, DATA_DIR_DEFAULT, DOMAIN_DEFAULT, DomainConfig, Limits, ListenerConfig, ListenerKind,
    Registration, SaslMechanism, StorageConfig,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// PBKDF2 iterations of new SCRAM keys.
pub(super) const SCRAM_ITERATIONS: u32 = 10_000;
/// The least that RFC 7677 §4 allows.
pub(super) const SCRAM_ITERATIONS_MIN: u32 = 4_096;
/// A guess: past this one login takes seconds on a router.
pub(super) const SCRAM_ITERATIONS_MAX: u32 = 5_000_000;

/// What a domain offers unless it says otherwise; certificates and anonymity are asked for.
pub(super) const MECHANISMS: [SaslMechanism; 5] = [
    SaslMechanism::ScramSha256Plus,
    SaslMechanism::ScramSha1Plus,
    SaslMechanism::ScramSha256,
    SaslMechanism::ScramSha1,
    SaslMechanism::Plain,
];

impl Default for StorageConfig {
    fn default() -> Self {
        Self { cache_bytes: 256 * 1024, reserve_bytes: 4 * 1024 * 1024 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: ConfigSource::Defaults,
            domains: vec![domain(DOMAIN_DEFAULT)],
            listeners: listeners(Reach::Loopback),
            data_dir: PathBuf::from(DATA_DIR_DEFAULT),
            user: None,
            sandbox: false,
            legacy: true,
            scram_iterations: SCRAM_ITERATIONS,
            log_level: log::LevelFilter::Warn,
            admins: Vec::new(),
            registration: Registration::Closed,
            contacts: Vec::new(),
            components: Vec::new(),
            component_sockets: Vec::new(),
            storage: StorageConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// A domain with a certificate of its own making.
pub(super) fn domain(name: &str) -> DomainConfig {
    DomainConfig {
        name: name.to_owned(),
        certificate: None,
        key: None,
        self_signed: true,
        client_roots: None,
        crls: Vec::new(),
        client_server_auth: false,
        tls_required: true,
        mechanisms: MECHANISMS.to_vec(),
        anonymous: false,
    }
}

/// Who may reach the server.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// Programs on this machine.
    Loopback,
    /// Every machine.
    Everybody,
}

/// The two usual ports, IPv4 and IPv6.
pub(super) fn listeners(reach: Reach) -> Vec<ListenerConfig> {
    let hosts: [IpAddr; 2] = match reach {
        Reach::Loopback => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Reach::Everybody => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    [ListenerKind::StartTls, ListenerKind::Direct]
        .into_iter()
        .map(|kind| ListenerConfig {
            kind,
            addresses: hosts.iter().map(|host| SocketAddr::new(*host, kind.port())).collect(),
            all_must_open: false,
        })
        .collect()
}

/// Where components are awaited when nothing else is said: on this machine.
pub(super) fn component_listener() -> ListenerConfig {
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let kind = ListenerKind::Component;
    let addresses = hosts.iter().map(|host| SocketAddr::new(*host, kind.port())).collect();
    ListenerConfig { kind, addresses, all_must_open: false }
}
