//! The core: the whole server without a socket, a clock or a disk.
//!
//! ```text
//!            accept · receive · secured · drained · peer_gone · expire · completed · hashed
//! driver ────────────────────────────────────────────────────────────────────────────────▶ Core
//!        ◀──────────────────── outboxes · actions · storage requests · hash tasks ─────────
//! ```
//!
//! The driver (`server.rs` with mio, or a test with simulated clients) brings bytes and the time, and
//! carries out what the core asks for. Everything that happens is decided here, on one thread, from
//! what was handed in; so a run can be replayed.
//!
//! The core owns the columns of `docs/architecture.md`; each file of this folder is one part of its
//! work: `input` frames, `negotiate` before the session and `answering` there, `bound` with it, `waiting`
//! for storage and hashes, `ending`.

mod administration;
mod admission;
mod answering;
mod audit;
mod bound;
mod components;
mod domains;
mod ending;
mod hashing;
mod input;
mod memory;
mod negotiate;
mod rates;
mod register;
mod shedding;
mod silence;
mod waiting;

pub use admission::{AdmissionLimits, Refused};
pub use domains::Domains;
pub use hashing::HashTask;
pub use memory::{DriverMemory, MemoryUse, Strain};
pub use waiting::{StoreAccounts, TICK_BYTES_MAX};

use crate::action::Action;
use crate::clock::Now;
use crate::conn::{AddressKey, Conn, Flags, Gates, Negotiating, Phase, Registering};
use crate::dispatch::Dispatch;
use crate::ids::{ConnId, Table};
use crate::im::columns::{Bounds, Effect, Scratch};
use crate::im::directory::{Directory, Replay};
use crate::im::last::Goodbyes;
use crate::jid::Jid;
use crate::metrics::Metrics;
use crate::outbox::{OutboxLimits, Outboxes};
use crate::purse::{Purse, Rates};
use crate::random::Random;
use crate::reactor::timers::Timers;
use crate::sasl::{HashOutcome, Throttle, VerifierCache};
use crate::storage::{FetchId, Store, Ticket};
use crate::stream::{Ask, Input, Negotiation};
use crate::transport::{TlsDomains, TlsInfo};
use crate::xep::About;
use crate::xml::{Scan, XmlLimits};
use admission::{Admission, Keyed};
use hashing::HashQueue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

pub use crate::limits::{FIN_WAIT_MS, HELD_TIMEOUT_MS, LINGER_MS};

/// Lends the columns for one run. A macro, so that what the frame borrows (the connection) stays free.
macro_rules! lend {
    ($core:expr, $now:expr, $hashed:expr) => {
        crate::dispatch::Dispatch {
            columns: crate::im::columns::Columns {
                directory: &mut $core.directory,
                outboxes: &mut $core.outboxes,
                store: &mut $core.store,
                hosts: &$core.domains,
                bounds: &$core.settings.bounds,
                random: &mut $core.random,
                metrics: &mut $core.metrics,
                now: $now,
                effects: &mut $core.effects,
                hashed: $hashed,
                goodbyes: &mut $core.goodbyes,
                scratch: &mut $core.scratch,
            },
            about: &$core.about,
        }
    };
}
pub(crate) use lend;

/// What the core is told to be. Units are in the names; each is a bound of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections, in all and from one address.
    pub admission: AdmissionLimits,
    /// Outboxes.
    pub outbox: OutboxLimits,
    /// The scanner before login.
    pub xml_before_login: XmlLimits,
    /// The scanner for bound sessions.
    pub xml: XmlLimits,
    /// From accept to a bound session.
    pub negotiation_timeout_ms: u64,
    /// How long a session may be silent before it is asked whether it is there; 0: as long as it likes.
    pub ping_after_ms: u64,
    /// How long it has to answer.
    pub ping_timeout_ms: u64,
    /// Bytes of unfinished frames of all connections.
    pub partial_bytes_max: usize,
    /// Bytes of memory of the whole process.
    pub memory_max: usize,
    /// Those of them that the database's cache takes.
    pub store_cache_bytes: usize,
    /// What one session may send in a second.
    pub rates: Rates,
    /// Sessions of one account.
    pub resources_per_account_max: usize,
    /// What is kept for accounts and sessions.
    pub bounds: Bounds,
    /// What the server says about itself, and who may administer it.
    pub about: About,
    /// Accounts that one address may make in an hour.
    pub registrations_per_hour: u32,
    /// Passwords that wait to be hashed.
    pub hashes_waiting_max: usize,
    /// Passwords remembered as a keyed hash.
    pub verifiers_max: usize,
    /// How long one is remembered.
    pub verifier_lifetime_s: u64,
    /// Accounts, and addresses, whose failed logins are remembered.
    pub throttle_entries_max: usize,
    /// Bytes of writes not yet on disk.
    pub overlay_bytes_max: usize,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The connection's own: negotiation or linger.
    Conn(ConnId),
    /// An answer that leaves later.
    Delayed(ConnId),
}

/// The server without its sockets.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    domains: Domains,
    about: About,
    conns: Table<ConnId, Conn>,
    outboxes: Outboxes,
    directory: Directory,
    store: Store,
    admission: Admission,
    administration: administration::Administration,
    timers: Timers<Timer>,
    verifiers: VerifierCache,
    throttle: Throttle,
    registrations: register::Registrations,
    fake_secret: [u8; 32],
    random: Random,
    hashes: HashQueue,
    parked: BTreeMap<FetchId, ConnId>,
    /// Logins that wait for their account's rows.
    binding: BTreeMap<FetchId, (ConnId, negotiate::Wanted)>,
    /// Connections whose stanzas wait for the next tick, in turn.
    paused: VecDeque<ConnId>,
    /// What one connection may append when it is turned to; and where that ends for the one that is.
    visit_bytes: usize,
    visit_ends: usize,
    /// Connections that do not read, and are not read meanwhile.
    congested: Vec<ConnId>,
    /// Connections that have sent more than they may.
    slowed: rates::Slowed,
    recipients: rates::Recipients,
    budget: memory::Budget,
    resuming: BTreeMap<ConnId, FetchId>,
    /// Answers before login that wait for a commit: what for, and whose.
    held: BTreeSet<(Ticket, ConnId)>,
    /// Keys that wait for their account's row.
    fill_ins: BTreeMap<FetchId, waiting::FillIn>,
    /// Whose row could not be read, while its frame runs again.
    unreadable: Option<ConnId>,
    /// Outcomes for bound frames that run again; `None`: the password lost its place in the queue.
    bound_hashes: BTreeMap<ConnId, Option<HashOutcome>>,
    /// Connections that are not read until the disk has caught up.
    pressed: Vec<ConnId>,
    /// What bound streams have written that is not on disk, answered or not: answers to their requests wait for it.
    owed: BTreeMap<ConnId, Ticket>,
    /// What has left for an account, and cannot be settled just now.
    delivered: Vec<(Jid, Replay)>,
    /// The same, waiting for rows.
    settling: BTreeMap<FetchId, (Jid, Replay)>,
    /// Whether the store has got work since the tick handed its work over.
    wants_tick: bool,
    /// What has got its rows and has not gone on yet.
    fetched: VecDeque<FetchId>,
    /// When accounts were last there, as far as it is not in the store yet.
    goodbyes: Goodbyes,
    /// What handlers have left to be done.
    effects: Vec<Effect>,
    /// The same, waiting for the disk.
    held_effects: Vec<(Ticket, Effect)>,
    actions: Vec<Action>,
    /// Bytes in the partial frames of all connections.
    partial_bytes: usize,
    scan: Scan,
    out: Vec<u8>,
    asks: Vec<Ask>,
    scratch: Scratch,
    metrics: Metrics,
    is_shutting_down: bool,
}

impl Core {
    /// A server without connections. `fake_secret` must be the same after a restart: it makes the
    /// salts of accounts that do not exist.
    pub fn new(settings: Settings, domains: Domains, fake_secret: [u8; 32], mut random: Random) -> Self {
        let mut keys = || (random.next_u64(), random.next_u64());
        let (directory_keys, admission_keys, recipient_keys) = (keys(), keys(), keys());
        let mut about = settings.about.clone();
        random.fill(&mut about.key);
        Self {
            outboxes: Outboxes::new(settings.outbox),
            directory: Directory::new(directory_keys),
            store: Store::new(settings.overlay_bytes_max),
            admission: Admission::new(settings.admission, Keyed(admission_keys.0, admission_keys.1)),
            verifiers: VerifierCache::new(&mut random, settings.verifiers_max, settings.verifier_lifetime_s),
            throttle: Throttle::new(&mut random, settings.throttle_entries_max),
            registrations: register::Registrations::default(),
            hashes: HashQueue::new(settings.hashes_waiting_max),
            administration: administration::Administration::default(),
            conns: Table::new(),
            timers: Timers::default(),
            parked: BTreeMap::new(),
            binding: BTreeMap::new(),
            paused: VecDeque::new(),
            visit_bytes: usize::MAX,
            visit_ends: usize::MAX,
            congested: Vec::new(),
            slowed: rates::Slowed::new(),
            recipients: rates::Recipients::new(recipient_keys),
            budget: memory::Budget::default(),
            resuming: BTreeMap::new(),
            held: BTreeSet::new(),
            fill_ins: BTreeMap::new(),
            unreadable: None,
            bound_hashes: BTreeMap::new(),
            pressed: Vec::new(),
            owed: BTreeMap::new(),
            delivered: Vec::new(),
            settling: BTreeMap::new(),
            wants_tick: false,
            fetched: VecDeque::new(),
            goodbyes: Goodbyes::default(),
            effects: Vec::new(),
            held_effects: Vec::new(),
            actions: Vec::new(),
            partial_bytes: 0,
            scan: Scan::default(),
            out: Vec::new(),
            asks: Vec::new(),
            scratch: Scratch::default(),
            about,
            metrics: Metrics::default(),
            is_shutting_down: false,
            settings,
            domains,
            fake_secret,
            random,
        }
    }

    /// A TCP connection has come in. `direct`: TLS begins with its first byte (XEP-0368), so the
    /// driver puts TLS on it at once; otherwise its first bytes are XML.
    ///
    /// # Errors
    ///
    /// [`Refused`]: the socket is closed without a word.
    pub fn accept(&mut self, peer: IpAddr, direct: bool, now: Now) -> Result<ConnId, Refused> {
        let automaton = Negotiation::new(direct);
        let negotiating = Negotiating {
            automaton,
            peer,
            delayed: None,
            waiting_hash: None,
            registering: Registering::default(),
            ticket: Ticket::NONE,
            counted: 0,
        };
        let mut flags = Flags::default();
        flags.set(Flags::DIRECT, direct);
        self.admit(peer, Phase::Negotiating(Box::new(negotiating)), flags, now)
    }

    /// Lets a connection in, if there is room for it.
    fn admit(&mut self, peer: IpAddr, phase: Phase, mut flags: Flags, now: Now) -> Result<ConnId, Refused> {
        let address = AddressKey::of(peer);
        let admitted = match () {
            () if self.is_shutting_down => Err(Refused::ShuttingDown),
            () if self.is_full() => Err(Refused::Full),
            () => self.admission.admit(address, now.mono_ms),
        };
        if let Err(refused) = admitted {
            self.metrics.refused += 1;
            return Err(refused);
        }
        flags.set(Flags::HEADER, true);
        flags.set(Flags::UNAUTHENTICATED, true);
        let deadline_ms = now.mono_ms + self.settings.negotiation_timeout_ms;
        let id = self.conns.insert(Conn {
            phase,
            partial: None,
            gates: Gates::default(),
            flags,
            deadline_ms,
            address,
            heard_slot: 0,
            purse: Purse::default(),
        });
        self.timers.set(Timer::Conn(id), 0, deadline_ms);
        self.outboxes.open(id);
        self.welcome(id);
        self.metrics.accepted += 1;
        Ok(id)
    }

    /// The handshake is complete: what comes next is a new stream.
    pub fn secured(&mut self, id: ConnId, info: TlsInfo, now: Now) {
        self.metrics.handshakes += 1;
        if let Some(conn) = self.conns.get_mut(id) {
            self.budget.handshakes -= usize::from(conn.flags.has(Flags::HANDSHAKING));
            conn.flags.set(Flags::HANDSHAKING, false);
        }
        // A step that needs no row cannot park.
        let _parked = self.negotiate(id, Input::Secured(info), now);
    }

    /// The outbox has been written out to the last byte.
    pub fn drained(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        // It is read again in the next tick.
        self.wants_tick |= conn.gates.has(Gates::CONGESTED);
        if conn.flags.has(Flags::TELL_DRAINED) {
            let is_bound = matches!(conn.phase, Phase::Bound(_));
            if is_bound && self.outboxes.has_held(id) {
                // Some of it has not left: it waits for the disk.
                return;
            }
            conn.flags.set(Flags::TELL_DRAINED, false);
            if is_bound {
                return self.bound_drained(id);
            }
            let _parked = self.negotiate(id, Input::Drained, now);
        }
    }

    /// Whether the bytes of this connection may be read now.
    pub fn wants_read(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.gates.is_open())
    }

    /// Whether it carries stanzas, a session's or a component's: such connections are read first.
    pub fn is_bound(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.phase.carries_stanzas())
    }

    /// Deadlines that have passed.
    pub fn expire(&mut self, now: Now) {
        while let Some(timer) = self.timers.expired(now.mono_ms) {
            match timer {
                Timer::Conn(id) => self.deadline(id, now),
                Timer::Delayed(id) => self.delay_is_over(id, now),
            }
        }
        self.speed_up(now);
        self.expire_answers(now);
        self.write_goodbyes(now);
        for id in self.outboxes.overdue(now.mono_ms) {
            log::error!("{id}: an answer has waited {HELD_TIMEOUT_MS} ms for the disk; its stream ends");
            self.end_stream(id, crate::stream::error::StreamCondition::InternalServerError, None, now);
        }
    }

    /// When [`Core::expire`] must be called next, if nothing else happens.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if !self.paused.is_empty() || !self.fetched.is_empty() || self.wants_tick {
            return Some(0);
        }
        let goodbyes = Some(self.goodbyes.due_ms).filter(|due| *due > 0);
        let slowed = self.speed_up_at_ms();
        let held = [self.outboxes.next_deadline_ms(), self.answers_deadline_ms(), goodbyes, slowed];
        [self.timers.next_ms(), self.store.retry_at_ms()].into_iter().chain(held).flatten().min()
    }

    /// The bytes to send.
    pub fn outboxes(&mut self) -> &mut Outboxes {
        &mut self.outboxes
    }

    /// Closes the streams of those who did not read what they were sent, and sees to it that memory suffices:
    /// to be called in the tick, before the actions are taken.
    pub fn close_overflown(&mut self, now: Now) {
        self.end_overflown(now);
        self.relieve(now);
    }

    pub(super) fn end_overflown(&mut self, now: Now) {
        while let Some(id) = self.outboxes.next_overflown() {
            self.metrics.slow_readers += 1;
            log::debug!("{id}: does not read; its outbox is full");
            if self.outboxes.is_broken(id) {
                self.break_off(id, now);
            } else {
                self.end_stream(id, crate::stream::error::StreamCondition::ResourceConstraint, None, now);
            }
        }
    }

    /// Takes what the driver has to do, in order.
    pub fn take_actions(&mut self, into: &mut Vec<Action>) {
        into.append(&mut self.actions);
    }

    /// The store, for the driver's storage thread and for administration.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The hosted domains.
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// Puts newly loaded certificates in place.
    pub fn reload_tls(&mut self, tls: Arc<TlsDomains>) {
        self.domains.reload_tls(tls);
    }

    /// Takes note of how long a round of the driver's loop took.
    pub fn ticked(&mut self, us: u64) {
        self.metrics.tick_longest_us = self.metrics.tick_longest_us.max(us);
    }

    /// Counters.
    pub fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// All counters and sizes by name, for whoever watches.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let store = self.store.counters();
        let mut counters: BTreeMap<String, u64> =
            self.metrics.named().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let sizes = [
            ("connections", self.conns.len()),
            ("connections_before_login", self.admission.before_login()),
            ("sessions", self.directory.len()),
            ("components", self.domains.connected().count()),
            ("timers", self.timers.len()),
            ("hashes_waiting", self.hashes.len()),
            ("outbox_bytes", self.outboxes.total_bytes()),
            ("partial_bytes", self.partial_bytes),
            ("overlay_bytes", self.store.overlay_bytes()),
            ("frames_parked", self.parked.len()),
            ("heap_bytes", self.heap_bytes()),
        ];
        let sizes = sizes.into_iter().chain(self.memory_counters());
        counters.extend(sizes.map(|(name, value)| (name.to_owned(), value as u64)));
        let logins = self.throttle.totals();
        counters.insert("logins".into(), logins.good);
        counters.insert("logins_failed".into(), logins.failed);
        counters.insert("misses".into(), store.misses);
        counters.insert("commits".into(), store.commits);
        counters.insert("commits_failed".into(), store.commits_failed);
        counters
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is no place left: who comes now does better to wait in the kernel's queue.
    pub fn is_full(&self) -> bool {
        self.admission.is_full() || self.is_full_of_newcomers() || self.strain() > Strain::Calm
    }

    fn is_full_of_newcomers(&self) -> bool {
        self.admission.is_full_before_login() || self.admission.is_full_of_handshakes(self.budget.handshakes)
    }

    /// One more than the highest slot that a connection has.
    pub fn slots(&self) -> usize {
        self.conns.slots()
    }

    /// Sessions that are bound.
    pub fn sessions(&self) -> usize {
        self.directory.len()
    }

    /// Bytes behind the columns, the buffers and the partial frames.
    pub fn heap_bytes(&self) -> usize {
        self.conns.heap_bytes() + self.outboxes.heap_bytes() + self.directory.heap_bytes() + self.partial_bytes
    }

    fn dispatch(&mut self, now: Now) -> Dispatch<'_> {
        lend!(self, now, None)
    }

    fn set_deadline(&mut self, id: ConnId, deadline_ms: u64) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.timers.set(Timer::Conn(id), conn.deadline_ms, deadline_ms);
            conn.deadline_ms = deadline_ms;
        }
    }

    /// Shuts or opens one gate; the driver hears of it when reading as a whole stops or may go on.
    fn set_gate(&mut self, id: ConnId, gate: Gates, shut: bool) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let was_open = conn.gates.is_open();
        conn.gates.set(gate, shut);
        let open = conn.gates.is_open();
        if was_open != open {
            self.actions.push(Action::ReadGate { conn: id, open });
        }
    }
}
