//! The core with nothing around it: whoever drives it says when the wire takes bytes, when TLS is up, and what the
//! hashing thread finds.
//!
//! ```text
//! send · drain · secure · hash · advance · hang_up ──▶ Bare ──▶ Core ──▶ what the peer hears, whether it is closed
//! ```
//!
//! Storage is pumped on the spot. A gate that is shut keeps bytes in the kernel, as `server/` does; what lies there when
//! TLS is put on the socket is no ClientHello. For tests that try every order of events, and for fuzzing.

#![allow(dead_code, reason = "each user has its own part of this")]

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use stonechat::action::Action;
use stonechat::clock::Now;
use stonechat::config::{Config, Registration};
use stonechat::core::{Core, Domains, HashTask, Settings};
use stonechat::ids::ConnId;
use stonechat::im::accounts::{self, Change};
use stonechat::purse::Rates;
use stonechat::random::Random;
use stonechat::sasl::{Credentials, HashOutcome, ITERATIONS_MIN, Mechanism, ScramHash, derive};
use stonechat::storage::{Memory, offline, serve};
use stonechat::stream::{ConflictRule, DomainPolicy};
use stonechat::transport::{TlsInfo, TlsVersion};

pub(crate) const DOMAIN: &str = "localhost";
/// The accounts that there are; all have the password [`PASSWORD`].
pub(crate) const PEOPLE: [&str; 2] = ["juliet", "romeo"];
pub(crate) const PASSWORD: &str = "secret";
/// Any moment will do, as long as it is always the same one.
const START: Now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 };
/// Fewer than one address may have.
const CONNECTIONS_PER_ADDRESS: u32 = 100;
/// Rounds of settling: more than any input causes.
const ROUNDS_MAX: usize = 10_000;

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Flushed, and closed in good order.
    Finish,
    /// Flushed, and closed at once.
    FlushAndDrop,
    /// Closed at once.
    Drop,
}

/// The peer's side of one connection.
#[derive(Debug, Default)]
struct Wire {
    /// What the server has written and the peer has not looked at.
    heard: Vec<u8>,
    /// Reads that wait behind a shut gate.
    kernel: VecDeque<Vec<u8>>,
    gate_shut: bool,
    /// TLS is on the socket, its handshake not complete.
    handshaking: bool,
    encrypted: bool,
    /// It takes nothing.
    stalled: bool,
    end: Option<End>,
}

/// The server, and every peer's side of it.
pub(crate) struct Bare {
    pub(crate) core: Core,
    pub(crate) engine: Memory,
    pub(crate) now: Now,
    /// Whether outboxes are told at once that they have left.
    pub(crate) drains: bool,
    wires: BTreeMap<ConnId, Wire>,
    hashing: VecDeque<HashTask>,
    /// Connections so far.
    connected: u32,
}

/// Both dialects, every password mechanism, TLS required.
pub(crate) fn policy() -> DomainPolicy {
    DomainPolicy {
        name: DOMAIN.into(),
        tls_available: true,
        tls_required: true,
        legacy: true,
        mechanisms: vec![
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha1Plus,
            Mechanism::ScramSha256,
            Mechanism::ScramSha1,
            Mechanism::Plain,
        ],
        external: false,
        iterations: ITERATIONS_MIN,
        sasl_attempts_max: 3,
        bind_attempts_max: 3,
        conflict: ConflictRule::Replace,
        max_stanza_bytes: 65_536,
        registration: Registration::Closed,
        features: Vec::new(),
        idle_seconds: 0,
    }
}

/// The configuration's defaults, without a session's rates: nothing here waits for the clock, and what they would put
/// off has to meet the other bounds.
pub(crate) fn settings() -> Settings {
    let mut settings = stonechat::server::settings(&Config::default());
    settings.rates = Rates::new(0, 0);
    settings.about.scram_iterations = ITERATIONS_MIN;
    settings
}

/// What TLS tells, without a client certificate.
pub(crate) fn tls_info() -> TlsInfo {
    TlsInfo {
        sni: Some(DOMAIN.to_owned()),
        alpn: false,
        version: TlsVersion::Tls13,
        resumed: false,
        exporter: Some([7; 32]),
        server_end_point: Some(vec![9; 32]),
        peer_chain: None,
    }
}

/// PBKDF2 is slow by purpose: once for all runs.
fn credentials() -> Credentials {
    static KEYS: std::sync::OnceLock<Credentials> = std::sync::OnceLock::new();
    let derived = || derive(PASSWORD, &ScramHash::ALL, ITERATIONS_MIN, &mut Random::seeded(1)).run().derived;
    KEYS.get_or_init(|| Credentials { keys: derived(), disabled: false }).clone()
}

impl Bare {
    /// A server with its accounts and no connection.
    pub(crate) fn new(policy: DomainPolicy, settings: Settings, seed: u64) -> Self {
        let mut engine = Memory::new();
        for localpart in PEOPLE {
            let account = accounts::account(&credentials());
            let made = offline::run(&mut engine, |store| accounts::create(store, DOMAIN, localpart, &account));
            assert_eq!(made.unwrap(), Change::Done);
        }
        Self {
            core: Core::new(settings, Domains::new(vec![policy], None), [3; 32], Random::seeded(seed)),
            engine,
            now: START,
            drains: true,
            wires: BTreeMap::new(),
            hashing: VecDeque::new(),
            connected: 0,
        }
    }

    /// A connection; `direct`: it begins with TLS. So many come from one address as may.
    pub(crate) fn connect(&mut self, direct: bool) -> ConnId {
        let address = Ipv4Addr::from_bits(0x0A00_0001 + self.connected / CONNECTIONS_PER_ADDRESS);
        self.connected += 1;
        let id = self.core.accept(address.into(), direct, self.now).unwrap();
        self.wires.insert(id, Wire { handshaking: direct, ..Wire::default() });
        if direct {
            self.core.handshaking(id);
        }
        id
    }

    fn wire(&mut self, id: ConnId) -> &mut Wire {
        self.wires.entry(id).or_default()
    }

    /// The peer writes one segment.
    pub(crate) fn send(&mut self, id: ConnId, bytes: &[u8]) {
        self.wire(id).kernel.push_back(bytes.to_vec());
        self.settle();
    }

    /// Everything written so far has left.
    pub(crate) fn drain(&mut self, id: ConnId) {
        self.core.drained(id, self.now);
        self.settle();
    }

    /// The TLS handshake is complete. Whether it could be is the caller's to know.
    pub(crate) fn secure(&mut self, id: ConnId) {
        let wire = self.wire(id);
        (wire.handshaking, wire.encrypted) = (false, true);
        self.core.secured(id, tls_info(), self.now);
        self.settle();
    }

    /// The TLS handshake fails.
    pub(crate) fn fail_tls(&mut self, id: ConnId) {
        self.core.transport_failed(id, self.now);
        self.settle();
    }

    /// The hashing thread is done with what has waited longest, for whomever it was.
    pub(crate) fn hash(&mut self, verified: bool) {
        if let Some(task) = self.hashing.pop_front() {
            self.core.hashed(task.conn, HashOutcome { verified, derived: Vec::new() }, self.now);
        }
        self.settle();
    }

    /// The hashing thread does its work.
    pub(crate) fn hash_honestly(&mut self) {
        while let Some(task) = self.hashing.pop_front() {
            self.core.hashed(task.conn, task.job.run(), self.now);
            self.settle();
        }
    }

    /// Passwords on the hashing thread.
    pub(crate) fn hashing(&self) -> usize {
        self.hashing.len()
    }

    /// Time goes by, timer after timer.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while let Some(next) = self.core.next_deadline_ms().filter(|next| *next <= end) {
            let step = next.saturating_sub(self.now.mono_ms);
            self.now.mono_ms += step;
            self.now.unix_ms += step;
            self.core.expire(self.now);
            self.settle();
        }
        self.now.unix_ms += end - self.now.mono_ms;
        self.now.mono_ms = end;
        self.settle();
    }

    /// The peer is gone.
    pub(crate) fn hang_up(&mut self, id: ConnId) {
        self.core.peer_gone(id, self.now);
        self.settle();
    }

    /// The peer's wire takes nothing any more.
    pub(crate) fn stall(&mut self, id: ConnId) {
        self.wire(id).stalled = true;
    }

    /// Nobody will ask about this connection again.
    pub(crate) fn forget(&mut self, id: ConnId) {
        self.wires.remove(&id);
    }

    /// What the peer has heard since it last listened.
    pub(crate) fn heard(&mut self, id: ConnId) -> String {
        String::from_utf8(std::mem::take(&mut self.wire(id).heard)).expect("XML is UTF-8")
    }

    /// How the connection ended, if it has.
    pub(crate) fn end(&self, id: ConnId) -> Option<End> {
        self.wires[&id].end
    }

    /// Whether TLS is on the socket, and whether its handshake is complete.
    pub(crate) fn tls(&self, id: ConnId) -> (bool, bool) {
        let wire = &self.wires[&id];
        (wire.handshaking || wire.encrypted, wire.encrypted)
    }

    /// Whether the server reads this connection.
    pub(crate) fn is_read(&self, id: ConnId) -> bool {
        !self.wires[&id].gate_shut
    }

    /// Lets everything happen that follows from what has come in.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.core.close_overflown(self.now);
            let busy = self.work() | self.write() | self.act() | self.read();
            if !busy {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    fn work(&mut self) -> bool {
        while let Some(task) = self.core.next_hash() {
            self.hashing.push_back(task);
        }
        let mut requests = Vec::new();
        self.core.submit(self.now, &mut requests);
        let busy = !requests.is_empty();
        for request in requests {
            self.core.completed(serve(&mut self.engine, request), self.now);
        }
        busy
    }

    fn write(&mut self) -> bool {
        let mut busy = false;
        while let Some(id) = self.core.outboxes().next_dirty() {
            let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.end.is_none() && !wire.stalled) else {
                continue;
            };
            let bytes = self.core.outboxes().pending(id).to_vec();
            assert!(bytes.is_empty() || !wire.handshaking, "bytes during the handshake: {bytes:?}");
            busy |= !bytes.is_empty();
            let drained = self.core.outboxes().consume(id, bytes.len());
            wire.heard.extend_from_slice(&bytes);
            if drained && self.drains {
                self.core.drained(id, self.now);
            }
        }
        busy
    }

    fn act(&mut self) -> bool {
        let mut actions = Vec::new();
        self.core.take_actions(&mut actions);
        let busy = !actions.is_empty();
        for action in actions {
            let id = action.conn();
            let (now, core) = (self.now, &mut self.core);
            let wire = self.wires.get_mut(&id).expect("an action for somebody");
            let end = match action {
                Action::Flip { .. } => {
                    assert!(core.outboxes().pending(id).is_empty(), "a flip before the go-ahead has left");
                    wire.handshaking = true;
                    wire.gate_shut = false;
                    core.handshaking(id);
                    continue;
                }
                Action::ReadGate { open, .. } => {
                    wire.gate_shut = !open;
                    continue;
                }
                Action::Finish { .. } => End::Finish,
                Action::FlushAndDrop { .. } => End::FlushAndDrop,
                Action::Drop { .. } => End::Drop,
            };
            if end != End::Drop && !wire.handshaking {
                wire.heard.extend_from_slice(core.outboxes().pending(id));
            }
            (wire.end, wire.handshaking) = (Some(end), false);
            wire.kernel.clear();
            core.free(id, now);
        }
        busy
    }

    fn read(&mut self) -> bool {
        let ready = self.wires.iter_mut().find(|(_, wire)| !wire.gate_shut && !wire.kernel.is_empty());
        let Some((id, wire)) = ready else { return false };
        let (id, bytes) = (*id, wire.kernel.pop_front().unwrap_or_default());
        match (wire.end, wire.handshaking) {
            (Some(_), _) => wire.kernel.clear(),
            (None, true) => self.core.transport_failed(id, self.now),
            (None, false) => self.core.receive(id, &bytes, self.now),
        }
        true
    }
}
