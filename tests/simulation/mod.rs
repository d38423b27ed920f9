//! A world from one seed: clients, network, disk, hashing thread, operator and clock around the core.
//!
//! ```text
//! Client ──Net──▶ Link (reads cut anywhere, flips, ends) ──▶ Core ──▶ outboxes taken in bits ──▶ Client
//! ```
//!
//! The driver's duties are those of `server/`, in its order of a tick; what may vary in reality varies
//! here by chance. After each tick every invariant is checked; `World::end` brings all to an end and
//! looks for what is left over.

mod client;
mod link;
mod met;
mod rng;
mod view;

use crate::sim::{Setup, add_account, add_account_with, credentials, policy, settings};
use crate::tls_common::World as Pki;
use client::{COMPONENT, Client, USERS};
use link::{Ending, Link};
pub(crate) use met::Met;
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use stonechat::admin::{Answer, UserRequest};
use stonechat::clock::Now;
use stonechat::config::Registration;
use stonechat::core::{AdmissionLimits, Core, Domains, HashTask, Settings};
use stonechat::ids::ConnId;
use stonechat::im::columns::Bounds;
use stonechat::im::{accounts, roster};
use stonechat::jid::Jid;
use stonechat::outbox::OutboxLimits;
use stonechat::purse::Rates;
use stonechat::random::Random;
use stonechat::sasl::{HashOutcome, ScramHash};
use stonechat::storage::{Engine as _, Faults, Faulty, Memory, Request, offline, serve};
use stonechat::stream::DomainPolicy;
use stonechat::stream::component::Secret;
use stonechat::transport::TlsDomains;
use stonechat::xep::About;

/// Ticks of one run.
const TICKS: usize = 1500;
/// Ticks in a row that may leave something to do at once.
const OVERDUE_TICKS_MAX: usize = 40;
/// Power cuts in one run, about.
const POWER_CUTS: usize = 3;
/// Clients at a time, about.
const CLIENTS: usize = 12;

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) ticks: usize,
    pub(crate) connections: usize,
    pub(crate) sessions: u64,
    pub(crate) messages: usize,
    pub(crate) parked: u64,
    pub(crate) commits_failed: u64,
    pub(crate) slow_readers: u64,
    pub(crate) refused: u64,
    /// Power cuts: everything that was not synced is gone.
    pub(crate) power_cuts: usize,
    /// Faults of disk, network, clock and threads.
    pub(crate) met: Met,
    /// Promises that were looked for on the disk after a power cut.
    pub(crate) promises: usize,
    /// Of the simulated clock.
    pub(crate) simulated_ms: u64,
    /// Times that a session was slowed down.
    pub(crate) slowed: u64,
    /// Who gave way because memory was short.
    pub(crate) shed: u64,
    /// Most that was ever counted.
    pub(crate) memory: usize,
    /// Of all that the clients have heard: the same seed must give the same.
    pub(crate) digest: u64,
}

pub(crate) struct World {
    core: Core,
    engine: Faulty<Memory>,
    faults: Faults,
    rng: Rng,
    now: Now,
    links: BTreeMap<ConnId, Link>,
    /// Who has come and is not let in yet, and from where.
    backlog: Vec<(Client, bool, &'static str)>,
    /// Ticks for which the disk stands still.
    disk_still: usize,
    /// Ids that must reach nobody any more.
    freed: BTreeSet<ConnId>,
    requests: VecDeque<Request>,
    hashing: Vec<HashTask>,
    /// Every full JID that was ever bound.
    jids: BTreeSet<String>,
    asked: BTreeSet<u64>,
    next_caller: u64,
    next_serial: usize,
    is_down: bool,
    /// Ticks in a row that left something to do at once.
    overdue: usize,
    memory_max: usize,
    /// How often a client misbehaves by itself, in a million ticks.
    unrest: usize,
    /// What clients were promised: serial, account, how often asked, the last that was confirmed.
    promises: BTreeMap<usize, (&'static str, usize, usize)>,
    /// Accounts that clients were told to have.
    registered: BTreeSet<String>,
    policy: DomainPolicy,
    outcome: Outcome,
}

/// Bounds that a small run meets.
fn tight(memory_max: usize) -> Settings {
    Settings {
        admission: AdmissionLimits {
            connections_max: 14,
            connections_before_login_max: 14,
            handshakes_max: 4,
            before_login_per_address_max: 5,
            connections_per_address_max: 6,
            connects_per_address_per_minute_max: 10_000_000,
        },
        outbox: OutboxLimits {
            bytes_max: 8 * 1024,
            component_bytes_max: 8 * 1024,
            total_bytes_max: 24 * 1024,
            held_max: 4,
        },
        negotiation_timeout_ms: 20_000,
        partial_bytes_max: 24 * 1024,
        memory_max,
        rates: Rates::new(4_000, 200),
        resources_per_account_max: 3,
        bounds: Bounds { directed_max: 3, offline_messages_max: 12, requests_max: 4, ..Bounds::default() },
        registrations_per_hour: 1_000,
        ping_after_ms: 600_000,
        ping_timeout_ms: 60_000,
        about: About { scram_iterations: 4096, ..About::default() },
        hashes_waiting_max: 3,
        verifiers_max: 3,
        verifier_lifetime_s: 20,
        overlay_bytes_max: 3 * 1024,
        ..settings()
    }
}

/// The one domain, and a component.
fn domains(policy: &DomainPolicy) -> Domains {
    let (name, secret) = COMPONENT;
    Domains::new(vec![policy.clone()], None).with_components([(name.to_owned(), Secret::new(secret.to_owned()))])
}

/// What a reload may bring. Made once: keys take their time.
fn certificates() -> &'static [Arc<TlsDomains>; 2] {
    static CERTIFICATES: OnceLock<[Arc<TlsDomains>; 2]> = OnceLock::new();
    CERTIFICATES.get_or_init(|| [(); 2].map(|()| Arc::new(Pki::new(&["localhost"]).load())))
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let unrest = rng.pick(&[100, 1000, 8000]);
        // Plenty, or so little that somebody has to go.
        let room = [64 * 1024 * 1024, 160_000, 100_000, 60_000][(seed % 4) as usize];
        let registration = Registration::Open;
        let setup = Setup { anonymous: true, tls_required: !rng.often(200), registration, ..Setup::default() };
        let policy = policy("localhost", &setup);
        let domains = domains(&policy);
        let empty = Core::new(tight(usize::MAX), Domains::new(Vec::new(), None), [3; 32], Random::seeded(seed));
        // Seven eighths are where it begins to matter.
        let memory_max = empty.memory().all() / 7 * 8 + room;
        let faults = Faults::none();
        let mut engine = Faulty::new(Memory::default(), faults.clone());
        for user in ["anna", "ben", "cleo", "dora"] {
            add_account(&mut engine, &format!("{user}@localhost"), "secret");
        }
        add_account_with(&mut engine, "old@localhost", "secret", &[ScramHash::Sha1]);
        Self {
            core: Core::new(tight(memory_max), domains, [3; 32], Random::seeded(seed)),
            engine,
            faults,
            rng,
            now: Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 },
            links: BTreeMap::new(),
            backlog: Vec::new(),
            disk_still: 0,
            freed: BTreeSet::new(),
            requests: VecDeque::new(),
            hashing: Vec::new(),
            jids: BTreeSet::new(),
            asked: BTreeSet::new(),
            next_caller: 0,
            next_serial: 0,
            is_down: false,
            overdue: 0,
            memory_max,
            unrest,
            promises: BTreeMap::new(),
            registered: BTreeSet::new(),
            policy,
            outcome: Outcome::default(),
        }
    }

    /// Runs from the first tick to the end of everything.
    pub(crate) fn run(mut self) -> Result<Outcome, String> {
        let shutdown_at = if self.rng.often(300) { self.rng.below(TICKS) } else { TICKS };
        for tick in 0..TICKS {
            if tick == shutdown_at {
                self.shut_down();
            }
            self.chance();
            if !self.is_down && self.rng.below(TICKS) < POWER_CUTS {
                self.power_cut().map_err(|fault| format!("power cut at {tick}: {fault}"))?;
            }
            self.tick().map_err(|fault| format!("tick {tick}: {fault}"))?;
        }
        self.end()?;
        self.take_counters();
        self.check_promises()?;
        Ok(self.outcome)
    }

    /// A core's counters end with it.
    fn take_counters(&mut self) {
        let metrics = self.core.metrics();
        self.outcome.sessions += metrics.bound;
        self.outcome.parked += metrics.parked;
        self.outcome.slow_readers += metrics.slow_readers;
        self.outcome.refused += metrics.refused;
        self.outcome.slowed += metrics.slowed;
        self.outcome.shed += metrics.shed_before_login + metrics.shed_partial + metrics.shed_sessions;
        self.outcome.commits_failed += self.core.counters()["commits_failed"];
    }

    /// The machine is off, and on again: what was synced is there, all else is not. The work that the disk had in hand
    /// may have been done or not; nobody was told.
    fn power_cut(&mut self) -> Result<(), String> {
        self.outcome.power_cuts += 1;
        self.take_counters();
        if self.rng.often(500)
            && let Some(request) = self.requests.pop_front()
        {
            serve(&mut self.engine, request);
        }
        for (id, link) in std::mem::take(&mut self.links) {
            self.gone(id, &link)?;
        }
        self.requests.clear();
        self.hashing.clear();
        self.asked.clear();
        self.freed.clear();
        self.overdue = 0;
        self.backlog.clear();
        self.disk_still = 0;
        self.core = Core::new(tight(self.memory_max), domains(&self.policy), [3; 32], Random::seeded(self.rng.next()));
        self.check_promises()
    }

    /// Nothing that was confirmed is lost.
    fn check_promises(&mut self) -> Result<(), String> {
        self.faults.fill_disk(0);
        self.faults.lose_answers(0);
        self.faults.fail_fetches(0);
        for (serial, (user, sent, acked)) in &self.promises {
            let account = Jid::parse(&format!("{user}@localhost")).map_err(|error| error.to_string())?;
            let contact = format!("s{serial}@away.example");
            let item = offline::run(&mut self.engine, |store| roster::get(store, account.as_ref(), &contact));
            let item = item.map_err(|error| error.to_string())?;
            let found = item.map_or(0, |item| item.name.parse().unwrap_or(0));
            self.outcome.promises += usize::from(*acked > 0);
            if found < *acked || found > *sent {
                return Err(format!("{user}: {contact} was set {sent} times, {acked} is confirmed, {found} is there"));
            }
        }
        for name in &self.registered {
            let account = offline::run(&mut self.engine, |store| accounts::get(store, "localhost", name));
            self.outcome.promises += 1;
            if account.map_err(|error| error.to_string())?.is_none() {
                return Err(format!("{name} was told to have an account"));
            }
        }
        self.engine.count().map_err(|error| error.to_string())?;
        Ok(())
    }

    fn shut_down(&mut self) {
        self.is_down = true;
        self.core.shut_down(self.now);
    }

    /// What happens outside: people come and go, disks fill, the operator types.
    fn chance(&mut self) {
        let ms = match self.rng.below(200) {
            0 => 10_000 + self.rng.below(60_000) as u64,
            1..=4 => {
                let next = self.core.next_deadline_ms().unwrap_or_default();
                next.saturating_sub(self.now.mono_ms) + self.rng.below(2) as u64
            }
            _ => self.rng.below(60) as u64,
        };
        self.now.mono_ms += ms;
        self.outcome.simulated_ms += ms;
        self.outcome.met.sleeps += u64::from(ms >= 10_000);
        self.now.unix_ms += ms;
        while self.people() < CLIENTS + 6 && self.rng.often(if self.people() < CLIENTS { 300 } else { 30 }) {
            self.come();
        }
        self.accept();
        self.trouble();
        let online: Vec<String> = self.jids.iter().cloned().collect();
        for link in self.links.values_mut() {
            link.client.act(&online, self.unrest, &mut self.rng);
        }
    }

    /// What the machine does to the server, beside its network.
    fn trouble(&mut self) {
        let met = &mut self.outcome.met;
        match self.rng.below(600) {
            0 | 1 => {
                let commits = 1 + self.rng.below(11) as u32;
                self.faults.fill_disk(commits);
                met.disk_full += 1;
            }
            2 | 3 => {
                self.faults.lose_answers(1);
                met.answers_lost += 1;
            }
            4..=7 => {
                self.faults.fail_fetches(1);
                met.fetches_failed += 1;
            }
            8..=15 => self.administer(),
            16 => {
                self.disk_still = self.rng.below(200);
                met.disk_still += 1;
            }
            17 => {
                self.now.unix_ms = self.now.unix_ms.saturating_sub(3_600_000);
                met.clock_back += 1;
            }
            18 => {
                self.now.unix_ms += 86_400_000;
                met.clock_forward += 1;
            }
            19 => {
                self.core.note_resident(self.memory_max - self.memory_max / 64);
                met.memory_scares += 1;
            }
            20..=40 => self.core.note_resident(0),
            41 => {
                let certificates = certificates();
                self.core.reload_tls(certificates[self.rng.below(certificates.len())].clone());
                met.reloads += 1;
            }
            _ => {}
        }
    }

    /// Those who are there, let in or not.
    fn people(&self) -> usize {
        self.links.len() + self.backlog.len()
    }

    /// Somebody comes, and waits to be let in.
    fn come(&mut self) {
        self.next_serial += 1;
        let peer = self.rng.pick(&["192.0.2.1", "192.0.2.2", "2001:db8::1", "127.0.0.1"]);
        if self.rng.often(60) {
            return self.backlog.push((Client::component(self.next_serial, &mut self.rng), false, "127.0.0.1"));
        }
        let direct = self.rng.often(500);
        self.backlog.push((Client::new(self.next_serial, direct, &mut self.rng), direct, peer));
    }

    /// Lets in who waits, in any order.
    fn accept(&mut self) {
        self.core.make_place(self.now);
        while !self.backlog.is_empty() && self.rng.often(600) {
            let at = self.rng.below(self.backlog.len());
            self.outcome.met.reordered_accepts += u64::from(at > 0);
            let (client, direct, peer) = self.backlog.remove(at);
            self.connect(client, direct, peer);
        }
    }

    fn connect(&mut self, client: Client, direct: bool, peer: &str) {
        let peer = peer.parse().unwrap();
        let admitted = match client.is_component() {
            true => self.core.accept_component(peer, self.now),
            false => self.core.accept(peer, direct, self.now),
        };
        let Ok(id) = admitted else { return };
        self.outcome.met.components += u64::from(client.is_component());
        self.outcome.connections += 1;
        if self.rng.often(20) {
            // The system did not want to watch it.
            self.freed.insert(id);
            return self.core.free(id, self.now);
        }
        if direct {
            self.core.handshaking(id);
        }
        self.links.insert(id, Link::new(client, direct, &mut self.rng));
    }

    fn administer(&mut self) {
        let address = Jid::parse(&format!("{}@localhost", self.rng.pick(&USERS))).unwrap();
        let hashes: &[ScramHash] = if self.rng.often(300) { &[ScramHash::Sha1] } else { &ScramHash::ALL };
        let credentials = credentials("secret", hashes);
        let request = match self.rng.below(4) {
            0 => UserRequest::Add { address, credentials },
            1 => UserRequest::Passwd { address, credentials },
            // The accounts that promises are made to stay.
            2 if !matches!(address.localpart(), Some("anna" | "ben")) => UserRequest::Del { address },
            _ => UserRequest::List { domain: "localhost".into(), after: None },
        };
        self.next_caller += 1;
        self.asked.insert(self.next_caller);
        self.core.administer(self.next_caller, request, self.now);
    }

    fn tick(&mut self) -> Result<(), String> {
        self.outcome.ticks += 1;
        self.finished_elsewhere();
        self.core.share_tick(self.rng.below(12));
        self.read();
        self.core.expire(self.now);
        self.core.close_overflown(self.now);
        self.act()?;
        let mut requests = Vec::new();
        self.core.submit(self.now, &mut requests);
        self.requests.extend(requests);
        while self.hashing.len() < 2 {
            let Some(task) = self.core.next_hash() else { break };
            self.hashing.push(task);
        }
        self.take_answers()?;
        self.write()?;
        self.act()?;
        self.free()?;
        self.check()
    }

    fn finished_elsewhere(&mut self) {
        self.disk_still = self.disk_still.saturating_sub(1);
        while self.disk_still == 0 && !self.requests.is_empty() && self.rng.often(400) {
            let Some(request) = self.requests.pop_front() else { break };
            let completion = serve(&mut self.engine, request);
            self.core.completed(completion, self.now);
        }
        for task in std::mem::take(&mut self.hashing) {
            match self.rng.below(1000) {
                // Lost: the connection has its deadline.
                0..=4 => self.outcome.met.hashes_lost += 1,
                5..=300 => self.hashed(&task),
                _ => self.hashing.push(task),
            }
        }
    }

    fn hashed(&mut self, task: &HashTask) {
        // Who is gone is answered too: the outcome must reach nobody.
        let link = self.links.get(&task.conn);
        if link.is_some_and(|link| link.client.registers) {
            let derived = credentials("secret", &ScramHash::ALL).keys;
            return self.core.hashed(task.conn, HashOutcome { verified: false, derived }, self.now);
        }
        let verified = link.is_some_and(|link| link.client.password_is_right && link.client.user != "nobody");
        let derived = match link {
            Some(link) if verified && link.client.user == "old" => {
                credentials("secret", &ScramHash::ALL).keys.into_iter().filter(|keys| keys.hash == ScramHash::Sha256)
            }
            .collect(),
            _ => Vec::new(),
        };
        self.core.hashed(task.conn, HashOutcome { verified, derived }, self.now);
    }

    fn read(&mut self) {
        let mut ids: Vec<ConnId> = self.links.keys().copied().collect();
        while !ids.is_empty() {
            let id = ids.swap_remove(self.rng.below(ids.len()));
            let Some(link) = self.links.get_mut(&id).filter(|_| self.rng.often(700)) else { continue };
            link.read(id, &mut self.core, self.now, &mut self.rng);
        }
    }

    /// Carries out actions, and holds them to their rules.
    fn act(&mut self) -> Result<(), String> {
        let mut actions = Vec::new();
        self.core.take_actions(&mut actions);
        for action in actions {
            let id = action.conn();
            if self.freed.contains(&id) {
                return Err(format!("{action:?} for a connection that is freed"));
            }
            let Some(link) = self.links.get_mut(&id) else { return Err(format!("{action:?} for nobody")) };
            link.act(&action, &mut self.core, self.now).map_err(|fault| link.blame(id, &fault))?;
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Result<(), String> {
        let mut answers: Vec<(u64, Answer)> = Vec::new();
        self.core.take_answers(&mut answers);
        for (caller, answer) in answers {
            if !self.asked.remove(&caller) {
                return Err(format!("{answer:?} to caller {caller}, who has an answer already or never asked"));
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        while self.core.outboxes().next_dirty().is_some() {}
        for (id, link) in &mut self.links {
            link.write(*id, &mut self.core, self.now, &mut self.rng).map_err(|fault| link.blame(*id, &fault))?;
            let client = &link.client;
            self.jids.extend(client.jid.clone());
            if client.kept_sent > 0 && matches!(client.user, "anna" | "ben") {
                self.promises.insert(client.serial, (client.user, client.kept_sent, client.kept_acked));
            }
            if client.has_registered {
                self.registered.insert(client.new_name());
            }
        }
        Ok(())
    }

    fn free(&mut self) -> Result<(), String> {
        let gone: Vec<ConnId> =
            self.links.iter().filter(|(_, link)| link.ending == Ending::Gone).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(link) = self.links.remove(&id) else { continue };
            self.gone(id, &link)?;
            self.core.free(id, self.now);
            self.freed.insert(id);
            if !self.core.outboxes().pending(id).is_empty() || self.core.wants_read(id) || self.core.is_bound(id) {
                return Err(format!("{id} is freed and still something"));
            }
        }
        Ok(())
    }

    /// What a client has heard, and in which order, is judged when it is gone.
    fn gone(&mut self, id: ConnId, link: &Link) -> Result<(), String> {
        let log = link.client.log.join("\n");
        self.outcome.digest = log
            .bytes()
            .fold(self.outcome.digest, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
        self.outcome.messages += link.client.messages.len();
        self.outcome.met.add(&link.met);
        link.check_messages().map_err(|fault| link.blame(id, &fault))
    }

    /// The invariants of every tick.
    fn check(&mut self) -> Result<(), String> {
        self.core.audit()?;
        let limits = tight(self.memory_max);
        let counted = [
            ("bytes of outboxes", self.core.outboxes().total_bytes(), 2 * limits.outbox.total_bytes_max),
            ("connections", self.core.connections(), limits.admission.connections_max),
            ("bytes that are not on disk yet", self.core.store().overlay_bytes(), 2 * limits.overlay_bytes_max),
        ];
        if let Some((what, found, max)) = counted.into_iter().find(|(_, found, max)| found > max) {
            return Err(format!("{what}: {found}, at most {max}"));
        }
        let memory = self.core.memory().all();
        self.outcome.memory = self.outcome.memory.max(memory);
        if memory > self.memory_max {
            return Err(format!("{memory} bytes of {} are held: {:?}", self.memory_max, self.core.memory()));
        }
        if self.core.connections() != self.links.len() {
            return Err(format!("{} connections, {} sockets", self.core.connections(), self.links.len()));
        }
        // What a full tick has left over goes on at once, and comes to an end.
        let next = self.core.next_deadline_ms().filter(|next| *next <= self.now.mono_ms);
        self.overdue = if next.is_some() { self.overdue + 1 } else { 0 };
        if let Some(next) = next.filter(|_| self.overdue > OVERDUE_TICKS_MAX) {
            return Err(format!("the loop spins: a deadline at {next} is over at {}", self.now.mono_ms));
        }
        for (id, link) in &self.links {
            if link.ending != Ending::Gone && self.core.wants_read(*id) != link.core_gate_open {
                return Err(link.blame(*id, "what was said of its gate is not how it is"));
            }
        }
        Ok(())
    }

    /// Everything comes to an end: at a calm disk nothing may be left.
    fn end(&mut self) -> Result<(), String> {
        self.faults.fill_disk(0);
        self.faults.lose_answers(0);
        self.faults.fail_fetches(0);
        self.core.note_resident(0);
        self.disk_still = 0;
        self.backlog.clear();
        if self.rng.often(500) && !self.is_down {
            self.shut_down();
        }
        for link in self.links.values_mut() {
            link.leaves(&mut self.rng);
        }
        // Who was not read for long has much to say.
        for step in 0..4_000 {
            self.now.mono_ms += 500;
            self.now.unix_ms += 500;
            self.tick().map_err(|fault| format!("end {step}: {fault}"))?;
            let is_over = self.links.is_empty() && self.core.store().is_idle() && self.asked.is_empty();
            // The last goodbyes are written within a minute.
            let is_written = self.core.next_deadline_ms().is_none();
            if is_over && is_written && self.requests.is_empty() {
                return self.nothing_is_left();
            }
        }
        let stuck: Vec<String> = self.links.iter().map(|(id, link)| link.blame(*id, "is still there")).collect();
        Err(format!("no end: asked {:?}, {}", self.asked, stuck.join("\n")))
    }

    fn nothing_is_left(&mut self) -> Result<(), String> {
        let counters = self.core.counters();
        let names = [
            "connections",
            "sessions",
            "timers",
            "hashes_waiting",
            "outbox_bytes",
            "partial_bytes",
            "overlay_bytes",
            "frames_parked",
        ];
        if let Some(name) = names.into_iter().find(|name| counters[*name] != 0) {
            return Err(format!("left over: {name}={}", counters[name]));
        }
        let store = self.core.store();
        if store.parked() != 0 || store.fetched_bytes() != 0 {
            return Err(format!("left over: {} parked, {} bytes fetched", store.parked(), store.fetched_bytes()));
        }
        match self.core.next_deadline_ms() {
            Some(next) => Err(format!("an empty server wakes up at {next}")),
            None => Ok(()),
        }
    }
}
