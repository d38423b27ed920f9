//! The whole server inside a test: simulated clients, disk, hashing thread and clock around the core.
//!
//! ```text
//! Peer calls ──▶ Sim ──▶ Core ──outboxes, actions──▶ Sim ──▶ what each client has received
//!                 ├── Memory engine, pumped on the spot
//!                 └── hashes, run on the spot
//! ```
//!
//! The driver's duties that matter to the protocol are kept here as `server.rs` keeps them: bytes
//! behind a shut gate wait unread, a flip happens when the go-ahead has left, bytes that were waiting
//! then belong to TLS and are no ClientHello.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use crate::common::script::{Peer, Script};
use crate::tls_common::{Ca, DAY_S, Issued, NOW_S, World, client_params, date};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use stonechat::action::Action;
use stonechat::clock::Now;
use stonechat::config::Registration;
use stonechat::core::{AdmissionLimits, Core, Domains, Settings};
use stonechat::ids::ConnId;
use stonechat::im::columns::Bounds;
use stonechat::im::subscription::State;
use stonechat::im::{accounts, invites, roster};
use stonechat::jid::Jid;
use stonechat::outbox::OutboxLimits;
use stonechat::port::rows::Import;
use stonechat::port::{Source as _, prosody};
use stonechat::purse::Rates;
use stonechat::random::Random;
use stonechat::sasl::{Credentials, Mechanism, ScramHash, ScramKeys, derive};
use stonechat::storage::{Engine, Memory, Request, offline, serve};
use stonechat::stream::component::Secret;
use stonechat::stream::{ConflictRule, DomainPolicy};
use stonechat::transport::{TlsDomains, TlsInfo, TlsVersion};
use stonechat::xep::{About, caps};
use stonechat::xml::XmlLimits;

/// What the exporter gives on every simulated connection.
pub(crate) const EXPORTER: [u8; 32] = [7; 32];
/// What the hash of the server's certificate is there.
pub(crate) const END_POINT: [u8; 32] = [9; 32];
/// PBKDF2 rounds of the test accounts: the least that is allowed, to be quick.
const ITERATIONS: u32 = 4096;

/// Bytes of a roster: a quarter of an outbox here, too.
pub(crate) const ROSTER_BYTES_MAX: u64 = 64 * 1024;

/// The server and its clients.
pub(crate) struct Sim {
    pub(crate) core: Core,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) now: Now,
    /// Whether the storage thread gets on with reads, with commits, and the hashing thread with passwords.
    pub(crate) reads_go_on: bool,
    pub(crate) commits_go_on: bool,
    pub(crate) hashes_go_on: bool,
    /// A client whose wire takes nothing.
    pub(crate) stuck: Option<String>,
    /// Passwords that were hashed.
    pub(crate) hashed: usize,
    requests: Vec<Request>,
    clients: BTreeMap<String, Client>,
    current: String,
    direct: bool,
    chain: Option<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Client {
    id: Option<ConnId>,
    received: Vec<u8>,
    /// Reads that wait behind a shut gate: in the kernel, as it were.
    waiting: Vec<Vec<u8>>,
    gate_shut: bool,
    flip: bool,
    closed: bool,
}

/// Whether a client of this name is a component, and connects where those are awaited.
pub(crate) fn is_component(client: &str) -> bool {
    client.starts_with("component")
}

/// What a script or a test sets up.
pub(crate) struct Setup {
    pub(crate) domains: Vec<String>,
    pub(crate) accounts: Vec<(String, String)>,
    /// Pairs of accounts that see each other.
    pub(crate) friends: Vec<(String, String)>,
    /// Components that may connect, and their secrets.
    pub(crate) components: Vec<(String, String)>,
    /// A Unix socket for them, where there are sockets.
    pub(crate) component_socket: Option<PathBuf>,
    /// Accounts that may use an admin's commands.
    pub(crate) admins: Vec<String>,
    /// Contact addresses by their field.
    pub(crate) contacts: Vec<(String, Vec<String>)>,
    pub(crate) offline_messages: u32,
    /// A folder of Prosody's data below `tests/`, taken over.
    pub(crate) prosody: Option<String>,
    pub(crate) direct: bool,
    pub(crate) certificate: bool,
    pub(crate) tls_required: bool,
    pub(crate) registration: Registration,
    /// Invitations: a token, then the username that it is for, `domain=` where it is good, `expired`.
    pub(crate) invites: Vec<Vec<String>>,
    pub(crate) legacy: bool,
    pub(crate) anonymous: bool,
    pub(crate) client_certificate: Option<Vec<String>>,
    pub(crate) seed: u64,
    pub(crate) resources_max: usize,
    pub(crate) negotiation_timeout_ms: u64,
    /// Changes bounds that nothing above names.
    pub(crate) tune: fn(&mut Settings),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            domains: vec!["localhost".into()],
            accounts: Vec::new(),
            friends: Vec::new(),
            components: Vec::new(),
            component_socket: None,
            admins: Vec::new(),
            contacts: Vec::new(),
            offline_messages: 100,
            prosody: None,
            direct: false,
            certificate: true,
            tls_required: true,
            registration: Registration::Closed,
            invites: Vec::new(),
            legacy: true,
            anonymous: false,
            client_certificate: None,
            seed: 0x5222,
            resources_max: 4,
            negotiation_timeout_ms: 30_000,
            tune: |_| {},
        }
    }
}

impl Setup {
    /// What a script's `@` lines ask for.
    pub(crate) fn of(script: &Script) -> Self {
        let mut setup = Self::default();
        let mut domains = Vec::new();
        for setting in &script.settings {
            let word = |at: usize| setting.words.get(at).cloned().unwrap_or_default();
            match setting.name.as_str() {
                "about" => {}
                "domain" => domains.push(word(0)),
                "account" => setup.accounts.push((word(0), word(1))),
                "friends" => setup.friends.push((word(0), word(1))),
                "component" => setup.components.push((word(0), word(1))),
                "admin" => setup.admins.push(word(0)),
                "contact" => setup.contacts.push((word(0), setting.words.iter().skip(1).cloned().collect())),
                "offline-messages" => setup.offline_messages = word(0).parse().unwrap(),
                "prosody" => setup.prosody = Some(word(0)),
                "listener" => setup.direct = word(0) == "direct",
                "certificate" => setup.certificate = word(0) != "none",
                "registration" if word(0) == "open" => setup.registration = Registration::Open,
                "registration" => setup.registration = Registration::Invite,
                "invite" => setup.invites.push(setting.words.clone()),
                "tls-required" => setup.tls_required = word(0) != "no",
                "legacy" => setup.legacy = word(0) != "no",
                "anonymous" => setup.anonymous = word(0) == "yes",
                "client-certificate" => setup.client_certificate = Some(setting.words.clone()),
                other => panic!("{}:{}: no setting is called @{other}", script.name, setting.line),
            }
        }
        if !domains.is_empty() {
            setup.domains = domains;
        }
        setup
    }
}

/// Limits as the defaults of the configuration have them, small where a test wants to meet them.
pub(crate) fn settings() -> Settings {
    let xml = |bytes: u32, elements: u32| XmlLimits {
        frame_bytes_max: bytes,
        tag_bytes_max: 8 * 1024,
        depth_max: 64,
        attributes_max: 64,
        namespaces_max: 32,
        elements_max: elements,
    };
    Settings {
        admission: AdmissionLimits {
            connections_max: 2000,
            connections_before_login_max: 2000,
            handshakes_max: 2000,
            before_login_per_address_max: 2000,
            connections_per_address_max: 2000,
            connects_per_address_per_minute_max: 1000,
        },
        outbox: OutboxLimits {
            bytes_max: 256 * 1024,
            component_bytes_max: 512 * 1024,
            total_bytes_max: 4 * 1024 * 1024,
            held_max: 16,
        },
        xml_before_login: xml(10_000, 32),
        xml: xml(64 * 1024, 4096),
        negotiation_timeout_ms: 30_000,
        partial_bytes_max: 1024 * 1024,
        memory_max: 64 * 1024 * 1024,
        store_cache_bytes: 0,
        rates: Rates::new(0, 0),
        resources_per_account_max: 4,
        bounds: Bounds { directed_max: 8, roster_bytes_max: ROSTER_BYTES_MAX, ..Bounds::default() },
        registrations_per_hour: 3,
        ping_after_ms: 600_000,
        ping_timeout_ms: 60_000,
        about: About { scram_iterations: 4096, ..About::default() },
        hashes_waiting_max: 8,
        verifiers_max: 16,
        verifier_lifetime_s: 60,
        throttle_entries_max: 64,
        overlay_bytes_max: 64 * 1024,
    }
}

/// The policy of one domain, everything switched on that the setup does not switch off.
pub(crate) fn policy(name: &str, setup: &Setup) -> DomainPolicy {
    let mut mechanisms = vec![
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::Plain,
    ];
    if setup.anonymous {
        mechanisms.push(Mechanism::Anonymous);
    }
    DomainPolicy {
        name: name.to_owned(),
        tls_available: setup.certificate,
        tls_required: setup.tls_required && setup.certificate,
        legacy: setup.legacy,
        mechanisms,
        iterations: ITERATIONS,
        external: setup.client_certificate.is_some(),
        sasl_attempts_max: 3,
        bind_attempts_max: 3,
        conflict: ConflictRule::Replace,
        max_stanza_bytes: 64 * 1024,
        registration: setup.registration,
        features: caps::feature(&setup.contacts),
        idle_seconds: 0,
    }
}

impl Sim {
    pub(crate) fn new(setup: &Setup) -> Self {
        let list = setup.domains.iter().map(|name| policy(name, setup)).collect();
        let (tls, chain) = setup.client_certificate.as_ref().map(|addresses| client_pki(setup, addresses)).unzip();
        let components = setup.components.iter().map(|(name, secret)| (name.clone(), Secret::new(secret.clone())));
        let domains = Domains::new(list, tls).with_components(components);
        let mut settings = Settings {
            resources_per_account_max: setup.resources_max,
            negotiation_timeout_ms: setup.negotiation_timeout_ms,
            ..settings()
        };
        settings.bounds.offline_messages_max = setup.offline_messages;
        settings.about.admins.clone_from(&setup.admins);
        settings.about.contacts.clone_from(&setup.contacts);
        (setup.tune)(&mut settings);
        let core = Core::new(settings, domains, [3; 32], Random::seeded(setup.seed));
        let mut engine: Box<dyn Engine> = Box::new(Memory::default());
        fill(&mut *engine, setup);
        let now = Now { mono_ms: 1_000, unix_ms: NOW_S * 1000 };
        Self {
            core,
            engine,
            now,
            reads_go_on: true,
            commits_go_on: true,
            hashes_go_on: true,
            stuck: None,
            hashed: 0,
            requests: Vec::new(),
            clients: BTreeMap::new(),
            current: String::new(),
            direct: setup.direct,
            chain,
        }
    }

    /// What is counted under this name.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.core.counters().get(name).copied().unwrap()
    }

    /// The connection of a client.
    pub(crate) fn conn(&self, client: &str) -> ConnId {
        self.clients[client].id.unwrap()
    }

    /// Takes a client through RFC 6120 and STARTTLS (or what the setup's listener has instead) to a session.
    pub(crate) fn log_in(&mut self, client: &str, user: &str, password: &str, resource: &str) -> ConnId {
        const HEADER: &[u8] = b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
            xmlns:stream='http://etherx.jabber.org/streams'>";
        self.select(client);
        if !self.direct {
            self.send(HEADER);
            self.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            self.flip();
        }
        self.send(HEADER);
        let plain = stonechat::sasl::base64::encode(format!("\0{user}\0{password}").as_bytes());
        self.send(
            format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>").as_bytes(),
        );
        self.send(HEADER);
        let bind = format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        );
        self.send(bind.as_bytes());
        let said = String::from_utf8(self.received()).unwrap();
        assert!(said.contains(&format!("{user}@localhost/{resource}")), "{said}");
        self.conn(client)
    }

    /// A client of that name is a new one from now on.
    pub(crate) fn forget(&mut self, client: &str) {
        self.clients.remove(client);
    }

    fn client(&mut self) -> &mut Client {
        self.clients.entry(self.current.clone()).or_default()
    }

    /// Lets everything happen that follows from what has come in.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut busy = self.work_elsewhere();
            self.core.close_overflown(self.now);
            busy |= self.deliver();
            busy |= self.act();
            busy |= self.go_on();
            if !busy {
                return self.core.audit().unwrap();
            }
        }
        panic!("the server does not come to rest");
    }

    fn work_elsewhere(&mut self) -> bool {
        let mut busy = false;
        while let Some(task) = self.hashes_go_on.then(|| self.core.next_hash()).flatten() {
            let outcome = task.job.run();
            self.core.hashed(task.conn, outcome, self.now);
            self.hashed += 1;
            busy = true;
        }
        self.core.submit(self.now, &mut self.requests);
        for request in std::mem::take(&mut self.requests) {
            let goes_on = match request {
                Request::Fetch(_) => self.reads_go_on,
                Request::Commit { .. } => self.commits_go_on,
            };
            if goes_on {
                self.core.completed(serve(&mut *self.engine, request), self.now);
                busy = true;
            } else {
                self.requests.push(request);
            }
        }
        busy
    }

    fn deliver(&mut self) -> bool {
        let mut busy = false;
        for (name, client) in &mut self.clients {
            let Some(id) = client.id.filter(|_| self.stuck.as_ref() != Some(name)) else { continue };
            let bytes = self.core.outboxes().pending(id).to_vec();
            self.core.outboxes().consume(id, bytes.len());
            busy |= !bytes.is_empty();
            if !client.closed {
                client.received.extend_from_slice(&bytes);
            }
            self.core.drained(id, self.now);
        }
        while self.core.outboxes().next_dirty().is_some() {}
        busy
    }

    fn act(&mut self) -> bool {
        let mut actions = Vec::new();
        self.core.take_actions(&mut actions);
        let busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::Flip { conn, .. } => self.with(conn, |client| client.flip = true),
                Action::ReadGate { conn, open } => self.with(conn, |client| client.gate_shut = !open),
                Action::Finish { conn } | Action::FlushAndDrop { conn } | Action::Drop { conn } => {
                    self.deliver();
                    self.with(conn, |client| {
                        client.closed = true;
                        client.id = None;
                    });
                    self.core.free(conn, self.now);
                }
            }
        }
        busy
    }

    fn with(&mut self, conn: ConnId, change: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.values_mut().find(|client| client.id == Some(conn)) {
            change(client);
        }
    }

    /// Reads what has waited behind gates that are open again.
    fn go_on(&mut self) -> bool {
        let mut reads = Vec::new();
        for client in self.clients.values_mut() {
            if let (Some(id), false, false, false) =
                (client.id, client.gate_shut, client.flip, client.waiting.is_empty())
            {
                reads.push((id, client.waiting.remove(0)));
            }
        }
        for (id, bytes) in &reads {
            self.core.receive(*id, bytes, self.now);
        }
        !reads.is_empty()
    }

    pub(crate) fn info(&self) -> TlsInfo {
        TlsInfo {
            sni: None,
            alpn: self.direct,
            version: TlsVersion::Tls13,
            resumed: false,
            exporter: Some(EXPORTER),
            server_end_point: Some(END_POINT.to_vec()),
            peer_chain: self.chain.clone(),
        }
    }
}

/// What the loop does for one message: read, route, write, nothing else.
pub(crate) fn relay(sim: &mut Sim, from: ConnId, to: ConnId, frame: &[u8], actions: &mut Vec<Action>) -> usize {
    let now = sim.now;
    sim.core.receive(from, frame, now);
    sim.core.close_overflown(now);
    sim.core.take_actions(actions);
    // Nothing is written to the store: the tick ends without a request.
    sim.core.submit(now, &mut Vec::new());
    let mut written = 0;
    while let Some(conn) = sim.core.outboxes().next_dirty() {
        assert_eq!(conn, to);
        let count = sim.core.outboxes().pending(conn).len();
        written += count;
        sim.core.outboxes().consume(conn, count);
    }
    written
}

/// A CA for clients, and a client's certificate with these addresses.
pub(crate) fn client_chain(addresses: &[String]) -> (Ca, Issued) {
    let ca = Ca::new("client root");
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut params = client_params(&addresses);
    // Good in the simulation's time and in ours.
    (params.not_before, params.not_after) = (date!(NOW_S - 3650 * DAY_S), date!(NOW_S + 3650 * DAY_S));
    let issued = ca.issue(&params);
    (ca, issued)
}

/// Domains that trust a CA with clients, and the chain of a client with these addresses.
fn client_pki(setup: &Setup, addresses: &[String]) -> (Arc<TlsDomains>, Vec<Vec<u8>>) {
    let (ca, issued) = client_chain(addresses);
    let names: Vec<&str> = setup.domains.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    for name in &names {
        world.take_clients(name, &[&ca]);
    }
    (Arc::new(world.load()), vec![issued.der.to_vec()])
}

/// Puts what a set-up has before the first connection on disk.
pub(crate) fn fill(engine: &mut dyn Engine, setup: &Setup) {
    for (address, password) in &setup.accounts {
        add_account(engine, address, password);
    }
    for words in &setup.invites {
        invite(engine, &setup.domains[0], words);
    }
    for (one, other) in &setup.friends {
        befriend(engine, one, other);
        befriend(engine, other, one);
    }
    if let Some(folder) = &setup.prosody {
        take_over(engine, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder));
    }
}

/// Imports a folder of Prosody's data.
fn take_over(engine: &mut dyn Engine, folder: &Path) {
    let mut problems = Vec::new();
    let mut source = prosody::Folder::open(folder).unwrap();
    let mut import = Import::new(engine, false, Random::seeded(1));
    let mut skipped = |bare| panic!("{bare} is there already");
    while let Some(person) = source.next(&mut problems).unwrap() {
        import.add(person, &mut skipped).unwrap();
    }
    import.finish(&mut skipped).unwrap();
    assert_eq!(problems, []);
}

/// Puts an invitation on disk, good until long after the tests unless its words say otherwise.
fn invite(engine: &mut dyn Engine, domain: &str, words: &[String]) {
    let (domain, localpart, inviter) = (domain.to_owned(), None, None);
    let mut invite = invites::Invite { domain, localpart, inviter, expires_unix_s: u64::MAX, uses: 1 };
    for word in &words[1..] {
        match (word.as_str(), word.strip_prefix("domain=")) {
            ("expired", _) => invite.expires_unix_s = 1,
            (_, Some(domain)) => invite.domain = domain.to_owned(),
            (name, None) => invite.localpart = Some(name.to_owned()),
        }
    }
    offline::run(engine, |store| invites::add(store, &words[0], &invite, 0)).unwrap().unwrap();
}

/// Puts a contact that sees and is seen into a roster.
fn befriend(engine: &mut dyn Engine, account: &str, contact: &str) {
    let account = Jid::parse(account).unwrap();
    let written = offline::run(engine, |store| {
        let mut change = roster::Change::of(store, account.as_ref(), 1)?;
        let mut item = roster::Item { state: State::Both, listed: true, ..roster::Item::default() };
        change.put(account.as_ref(), contact, None, &mut item);
        Ok(change.write(store, account.as_ref()))
    });
    written.unwrap().unwrap();
}

/// Puts an account with both SCRAM sets on disk.
pub(crate) fn add_account(engine: &mut dyn Engine, address: &str, password: &str) {
    add_account_with(engine, address, password, &ScramHash::ALL);
}

/// What a password gives with these SCRAM sets. Derived once a password: it is slow by purpose.
pub(crate) fn credentials(password: &str, hashes: &[ScramHash]) -> Credentials {
    type Derived = Mutex<BTreeMap<(String, Vec<ScramHash>), Vec<ScramKeys>>>;
    static DERIVED: Derived = Mutex::new(BTreeMap::new());
    let mut derived = DERIVED.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = derived
        .entry((password.to_owned(), hashes.to_vec()))
        .or_insert_with(|| derive(password, hashes, ITERATIONS, &mut Random::seeded(1)).run().derived);
    Credentials { keys: keys.clone(), disabled: false }
}

/// Puts an account with these SCRAM sets on disk.
pub(crate) fn add_account_with(engine: &mut dyn Engine, address: &str, password: &str, hashes: &[ScramHash]) {
    let jid = Jid::parse(address).unwrap();
    let account = accounts::account(&credentials(password, hashes));
    let created =
        offline::run(engine, |store| accounts::create(store, jid.domainpart(), jid.localpart().unwrap(), &account));
    assert_eq!(created.unwrap(), accounts::Change::Done);
}

impl Peer for Sim {
    fn select(&mut self, client: &str) {
        self.current = client.to_owned();
        let direct = self.direct;
        if self.clients.contains_key(client) {
            return;
        }
        let peer = "192.0.2.1".parse().unwrap();
        if is_component(client) {
            let id = self.core.accept_component(peer, self.now).unwrap();
            self.client().id = Some(id);
            return;
        }
        let id = self.core.accept(peer, direct, self.now).unwrap();
        self.client().id = Some(id);
        if direct {
            let (info, now) = (self.info(), self.now);
            self.core.handshaking(id);
            self.core.secured(id, info, now);
            self.settle();
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let client = self.client();
        if client.id.is_some() {
            client.waiting.push(bytes.to_vec());
        }
        self.settle();
    }

    fn received(&mut self) -> Vec<u8> {
        self.settle();
        std::mem::take(&mut self.client().received)
    }

    fn flip(&mut self) {
        self.settle();
        let (info, now) = (self.info(), self.now);
        let client = self.client();
        assert!(client.flip, "the server has not put TLS on this connection");
        client.flip = false;
        client.gate_shut = false;
        let Some(id) = client.id else { return };
        if client.waiting.is_empty() {
            self.core.handshaking(id);
            self.core.secured(id, info, now);
        } else {
            // Whatever was in the kernel is no ClientHello.
            self.core.handshaking(id);
            self.core.transport_failed(id, now);
        }
        self.settle();
    }

    fn closed(&self) -> bool {
        self.clients.get(&self.current).is_some_and(|client| client.closed)
    }

    fn advance(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        loop {
            self.settle();
            let next = self.core.next_deadline_ms().filter(|deadline| *deadline <= end);
            let Some(next) = next else { break };
            let step = next.saturating_sub(self.now.mono_ms);
            self.now.mono_ms += step;
            self.now.unix_ms += step;
            self.core.expire(self.now);
        }
        self.now.unix_ms += end - self.now.mono_ms;
        self.now.mono_ms = end;
        self.settle();
    }

    fn drop_connection(&mut self) {
        if let Some(id) = self.client().id {
            self.core.peer_gone(id, self.now);
        }
        self.settle();
    }

    fn channel_binding(&mut self, kind: &str) -> Option<Vec<u8>> {
        match kind {
            "tls-exporter" => Some(EXPORTER.to_vec()),
            "tls-server-end-point" => Some(END_POINT.to_vec()),
            _ => None,
        }
    }
}
