//! Starting: from a configuration and what was loaded for it to a server that listens.

use super::accept::{Acceptor, Listener, SocketFile};
use super::control::Control;
use super::hasher::Hasher;
use super::link::Buffers;
use super::memory::Memory;
use super::room::{self, Room};
use super::signals::Signals;
use super::{Handle, Reload, Server};
use crate::clock::Clock;
use crate::config::{Config, DomainConfig, Limits, ListenerKind, SaslMechanism, SocketConfig};
use crate::core::{AdmissionLimits, Core, Domains, Settings};
use crate::im::columns::Bounds;
use crate::outbox::OutboxLimits;
use crate::purse::Rates;
use crate::random::Random;
use crate::reactor::listen::{ListenError, ListenUnixError, listen, listen_unix};
use crate::reactor::token::Source;
use crate::sasl::Mechanism;
use crate::storage::keys::{Key, Table};
use crate::storage::{BackupRoom, Engine, StoreError, Thread, offline};
use crate::stream::component::Secret;
use crate::stream::{ConflictRule, DomainPolicy};
use crate::transport::TlsDomains;
use crate::xep::{About, caps};
use crate::xml::XmlLimits;
use mio::{Interest, Poll, Waker};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::limits::{BIND_ATTEMPTS_MAX, ELEMENTS_BEFORE_LOGIN_MAX, HELD_ANSWERS_MAX, THROTTLE_ENTRIES_MAX};

/// What a server is made of beside its configuration.
pub struct Parts {
    /// Certificates; none if no domain has one.
    pub tls: Option<TlsDomains>,
    /// The components that may connect: the domain of each, and what it proves itself with.
    pub components: Vec<(String, Secret)>,
    /// Loads them again.
    pub reload: Reload,
    /// The database, locked by this process.
    pub engine: Box<dyn Engine>,
    /// Where the control socket goes; none for hosts that need none.
    pub control: Option<PathBuf>,
    /// Whether SIGTERM, SIGINT and SIGHUP are this server's.
    pub signals: bool,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("control", &self.control).field("signals", &self.signals).finish_non_exhaustive()
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub enum ServeError {
    /// An address could not be opened; the text says what to change.
    Listen(ListenError),
    /// A Unix socket could not be opened; the text says what to change.
    ListenUnix(ListenUnixError),
    /// The database does not answer.
    Store(StoreError),
    /// The control socket could not be made.
    Control {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses something that every server needs.
    System(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::ListenUnix(error) => error.fmt(f),
            Self::Store(error) => write!(f, "storage: {error}"),
            Self::Control { path, source } => write!(f, "{}: cannot make the control socket: {source}", path.display()),
            Self::System(error) => write!(f, "the system refuses what a server needs: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Builds a server and opens its listeners; [`Server::run`] serves.
///
/// # Errors
///
/// [`ServeError`], whose text says what to change.
pub fn start(config: &Config, parts: Parts) -> Result<Server, ServeError> {
    start_on(bind(config)?, config, parts)
}

/// Builds a server on ports that are open already.
///
/// # Errors
///
/// [`ServeError`], whose text says what to change.
pub fn start_on(bound: Bound, config: &Config, mut parts: Parts) -> Result<Server, ServeError> {
    let mut random = Random::system();
    let fake_secret = fake_secret(&mut *parts.engine, &mut random).map_err(ServeError::Store)?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
    let listeners = watch(bound, &poll)?;
    let mut settings = settings(config);
    let memory_max = settings.memory_max;
    settings.admission.connections_max = room::connections_max(settings.admission.connections_max);
    let tls = parts.tls.map(Arc::new);
    let domains = Domains::new(policies(config, tls.as_deref()), tls.clone()).with_components(parts.components);
    let control = match parts.control {
        Some(path) => match Control::open(&path, poll.registry()) {
            Ok(control) => Some(control),
            Err(source) => return Err(ServeError::Control { path, source }),
        },
        None => None,
    };
    let signals = if parts.signals { Some(Signals::install(poll.registry())?) } else { None };
    let wake = |waker: &Arc<Waker>| {
        let waker = waker.clone();
        move || {
            // A loop that cannot be woken has ended.
            let _ended = waker.wake();
        }
    };
    Ok(Server {
        events: None,
        clock: Clock::new(),
        core: Core::new(settings, domains, fake_secret, random),
        tls,
        links: Vec::new(),
        listeners,
        accept_again_at_ms: 0,
        place_at_ms: None,
        transport_bytes: 0,
        memory: Memory::default(),
        ready_bound: VecDeque::new(),
        ready_other: VecDeque::new(),
        write_queue: VecDeque::new(),
        closed: Vec::new(),
        buffers: Buffers::new(),
        actions: Vec::new(),
        ends: VecDeque::new(),
        storage: Some(Thread::spawn(parts.engine, Arc::new(wake(&waker))).map_err(ServeError::Store)?),
        requests: Vec::new(),
        hasher: Hasher::start(wake(&waker))?,
        backup: None,
        backup_room: BackupRoom::within(memory_max, config.backup_spare_bytes()),
        control,
        signals,
        reload: parts.reload,
        handle: Handle { stop: Arc::new(AtomicBool::new(false)), waker },
        shutdown_at_ms: None,
        room: Room::default(),
        descriptors: super::descriptors::Table::default(),
        poll,
    })
}

/// Ports that are open, and on which nobody is let in yet.
#[derive(Debug)]
pub struct Bound(Vec<Listener>);

fn watch(Bound(mut listeners): Bound, poll: &Poll) -> io::Result<Vec<Listener>> {
    for (at, listener) in listeners.iter_mut().enumerate() {
        let token = Source::Listener(at).token();
        match &mut listener.socket {
            Acceptor::Tcp(socket, _) => poll.registry().register(socket, token, Interest::READABLE)?,
            Acceptor::Unix(socket, _) => poll.registry().register(socket, token, Interest::READABLE)?,
        }
    }
    Ok(listeners)
}

/// Opens every address, for [`start_on`]: a program that gives up its privileges opens them before. One of the
/// defaults may be missing where the machine has no IPv6.
///
/// # Errors
///
/// [`ServeError`]: an address cannot be opened.
pub fn bind(config: &Config) -> Result<Bound, ServeError> {
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        for &address in &listener.addresses {
            let socket = match listen(address) {
                Ok(socket) => socket,
                Err(error) if error.is_family_missing() && !listener.all_must_open => {
                    log::warn!("{address}: this machine has no IPv6; IPv4 goes on");
                    continue;
                }
                Err(error) => return Err(ServeError::Listen(error)),
            };
            let address = socket.local_addr()?;
            let socket = Acceptor::Tcp(socket, address);
            listeners.push(Listener { socket, kind: listener.kind, is_ready: true });
        }
    }
    for SocketConfig { path, mode } in &config.component_sockets {
        let socket = listen_unix(path, *mode).map_err(ServeError::ListenUnix)?;
        // From here on the file is ours to remove.
        let file = SocketFile(path.clone());
        let socket = Acceptor::Unix(socket, file);
        listeners.push(Listener { socket, kind: ListenerKind::Component, is_ready: true });
    }
    Ok(Bound(listeners))
}

/// The secret behind the salts of accounts that do not exist: made once, kept with the accounts, so
/// that a restart does not tell the made-up ones from the real ones.
fn fake_secret(engine: &mut dyn Engine, random: &mut Random) -> Result<[u8; 32], StoreError> {
    let mut fresh = [0; 32];
    random.fill(&mut fresh);
    let key = Key::new(Table::Secrets).text("salts of accounts that do not exist");
    offline::run(engine, |store| {
        if let Some(known) = store.get(key.as_bytes())?.and_then(|row| <[u8; 32]>::try_from(row).ok()) {
            return Ok(known);
        }
        // An empty overlay has room for one row.
        let _has_room = store.put(key.as_bytes(), &fresh);
        Ok(fresh)
    })
}

/// The core's settings, from the configuration's.
pub fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        admission: AdmissionLimits {
            connections_max: limits.connections as usize,
            connections_before_login_max: limits.connections_before_login as usize,
            handshakes_max: limits.handshakes as usize,
            connections_per_address_max: limits.connections_per_address as usize,
            before_login_per_address_max: limits.connections_before_login_per_address as usize,
            connects_per_address_per_minute_max: limits.connects_per_address_per_minute,
        },
        outbox: OutboxLimits {
            bytes_max: limits.outbox_bytes as usize,
            component_bytes_max: limits.component_outbox_bytes as usize,
            total_bytes_max: bytes(limits.outbox_bytes_total),
            held_max: HELD_ANSWERS_MAX,
        },
        xml_before_login: XmlLimits {
            elements_max: ELEMENTS_BEFORE_LOGIN_MAX,
            ..XmlLimits::with_frame_bytes(limits.stanza_bytes_before_login)
        },
        xml: XmlLimits::with_frame_bytes(limits.stanza_bytes),
        negotiation_timeout_ms: u64::from(limits.negotiation_timeout_s) * 1000,
        ping_after_ms: u64::from(limits.ping_after_s) * 1000,
        ping_timeout_ms: u64::from(limits.ping_timeout_s) * 1000,
        partial_bytes_max: bytes(limits.partial_stanza_bytes_total),
        memory_max: bytes(limits.memory_max),
        store_cache_bytes: bytes(config.storage.cache_bytes),
        rates: Rates::new(limits.session_bytes_per_s, limits.session_stanzas_per_s),
        resources_per_account_max: limits.resources_per_account as usize,
        bounds: Bounds::from(limits),
        about: about(config),
        registrations_per_hour: limits.registrations_per_address_per_hour,
        hashes_waiting_max: limits.hashes_waiting as usize,
        verifiers_max: limits.verifiers as usize,
        verifier_lifetime_s: u64::from(limits.verifier_lifetime_s),
        throttle_entries_max: THROTTLE_ENTRIES_MAX,
        overlay_bytes_max: limits.overlay_bytes as usize,
    }
}

fn policies(config: &Config, tls: Option<&TlsDomains>) -> Vec<DomainPolicy> {
    config.domains.iter().map(|domain| policy(config, domain, tls)).collect()
}

fn policy(config: &Config, domain: &DomainConfig, tls: Option<&TlsDomains>) -> DomainPolicy {
    DomainPolicy {
        name: domain.name.clone(),
        tls_available: tls.is_some_and(|tls| tls.has(&domain.name)),
        tls_required: domain.tls_required,
        legacy: config.legacy,
        mechanisms: domain.mechanisms.iter().map(|&mechanism| mechanism_of(mechanism)).collect(),
        iterations: config.scram_iterations,
        external: domain.mechanisms.contains(&SaslMechanism::External),
        sasl_attempts_max: u8::try_from(config.limits.sasl_attempts).unwrap_or(u8::MAX),
        bind_attempts_max: BIND_ATTEMPTS_MAX,
        conflict: ConflictRule::Replace,
        max_stanza_bytes: config.limits.stanza_bytes,
        registration: config.registration,
        features: caps::feature(&config.contacts),
        idle_seconds: idle_seconds(&config.limits),
    }
}

/// How long a session may say nothing until it is dropped.
fn idle_seconds(limits: &Limits) -> u32 {
    match limits.ping_after_s {
        0 => 0,
        after => after.saturating_add(limits.ping_timeout_s),
    }
}

fn mechanism_of(mechanism: SaslMechanism) -> Mechanism {
    match mechanism {
        SaslMechanism::External => Mechanism::External,
        SaslMechanism::ScramSha256Plus => Mechanism::ScramSha256Plus,
        SaslMechanism::ScramSha1Plus => Mechanism::ScramSha1Plus,
        SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
        SaslMechanism::ScramSha1 => Mechanism::ScramSha1,
        SaslMechanism::Plain => Mechanism::Plain,
        SaslMechanism::Anonymous => Mechanism::Anonymous,
    }
}

/// What the server says about itself, as the configuration has it.
fn about(config: &Config) -> About {
    About {
        contacts: config.contacts.clone(),
        admins: config.admins.iter().map(|admin| admin.as_str().to_owned()).collect(),
        scram_iterations: config.scram_iterations,
        ..About::default()
    }
}
