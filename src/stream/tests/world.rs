//! The world around a negotiation under test: policy, accounts, certificates, and a loop without sockets.

use crate::clock::Now;
use crate::jid::Jid;
use crate::random::Random;
use crate::sasl::{
    self, Accounts, Credentials, HashJob, HashOutcome, ITERATIONS_MIN, Lookup, Mechanism, ScramHash, ScramKeys,
    Throttle, VerifierCache,
};
use crate::stream::{
    Ask, BindRefusal, CloseHow, ConflictRule, Context, DomainPolicy, HashSet, Input, Negotiation, Parked, Policy,
    StreamAccounts,
};
use crate::transport::{TlsInfo, TlsVersion};
use crate::xml::{Expect, Scan, Step, XmlLimits};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

pub(super) use super::words::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
/// Before a login.
const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(10_000);

pub(super) const EXPORTER: [u8; 32] = [7; 32];
pub(super) const END_POINT: [u8; 32] = [9; 32];

/// Two domains, and how good the client's certificate is.
pub(super) struct Rules {
    pub(super) domains: Vec<DomainPolicy>,
    /// What judging a chain gives, by its leaf's bytes.
    pub(super) judged: Result<Vec<String>, ()>,
}

impl Rules {
    pub(super) fn capulet(&mut self) -> &mut DomainPolicy {
        &mut self.domains[0]
    }
}

impl Policy for Rules {
    fn domain(&self, name: &str) -> Option<&DomainPolicy> {
        self.domains.iter().find(|domain| domain.name == name)
    }
    fn default_domain(&self) -> &str {
        &self.domains[0].name
    }
    fn sole_domain(&self) -> Option<&DomainPolicy> {
        let [only] = self.domains.as_slice() else { return None };
        Some(only)
    }
    fn judge(&self, _domain: &str, _chain: &[Vec<u8>], _unix_s: u64) -> Result<Vec<String>, ()> {
        self.judged.clone()
    }
}

pub(super) fn domain(name: &str) -> DomainPolicy {
    DomainPolicy {
        name: name.to_owned(),
        tls_available: true,
        tls_required: true,
        legacy: true,
        mechanisms: Mechanism::ALL.into_iter().filter(|mechanism| *mechanism != Mechanism::Anonymous).collect(),
        external: false,
        iterations: ITERATIONS_MIN,
        sasl_attempts_max: 3,
        bind_attempts_max: 5,
        conflict: ConflictRule::Rename,
        max_stanza_bytes: 262_144,
        registration: crate::config::Registration::Closed,
        features: Vec::new(),
        idle_seconds: 0,
    }
}

/// Accounts of `capulet.example`. With `misses` every look-up misses once per input.
#[derive(Default)]
pub(super) struct People {
    pub(super) accounts: BTreeMap<String, Credentials>,
    pub(super) offered: HashSet,
    pub(super) misses: bool,
    fetched: BTreeSet<String>,
    pub(super) missed: usize,
}

impl People {
    fn look<T>(&mut self, key: String, found: Option<T>) -> Lookup<T> {
        if self.misses && self.fetched.insert(key) {
            self.missed += 1;
            return Lookup::Miss;
        }
        found.map_or(Lookup::Absent, Lookup::Found)
    }
}

impl Accounts for People {
    fn credentials(&mut self, domain: &str, localpart: &str) -> Lookup<Credentials> {
        let found = (domain == "capulet.example").then(|| self.accounts.get(localpart).cloned()).flatten();
        self.look(format!("{localpart}@{domain}"), found)
    }
}

impl StreamAccounts for People {
    fn offered_hashes(&mut self, domain: &str) -> Lookup<HashSet> {
        let offered = self.offered;
        self.look(domain.to_owned(), (offered != HashSet::default()).then_some(offered))
    }
}

/// Keys of `password`, the same every time.
pub(super) fn keys(password: &str, hashes: &[ScramHash]) -> Vec<ScramKeys> {
    sasl::derive(password, hashes, ITERATIONS_MIN, &mut Random::seeded(5)).run().derived
}

pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) people: People,
    pub(super) verifiers: VerifierCache,
    pub(super) throttle: Throttle,
    pub(super) now: Now,
    /// Seeds the randomness of the next input, so that a repeated input draws the same.
    pub(super) seed: u64,
}

impl World {
    /// `juliet`, `rob` and `bill` at `capulet.example`; nobody at `montague.example`. Every row is missing at first, so
    /// that every test shows that parking changes nothing.
    pub(super) fn new() -> Self {
        let mut people = People { offered: HashSet::BOTH, misses: true, ..People::default() };
        let users = [("juliet", "r0m30myr0m30"), ("rob", "secret"), ("bill", "Calli0pe")];
        // PBKDF2 is slow by purpose: once for all tests.
        static KEYS: OnceLock<Vec<Vec<ScramKeys>>> = OnceLock::new();
        let keys = KEYS.get_or_init(|| users.iter().map(|(_, password)| keys(password, &ScramHash::ALL)).collect());
        for ((user, _), keys) in users.iter().zip(keys) {
            people.accounts.insert((*user).to_owned(), Credentials { keys: keys.clone(), disabled: false });
        }
        let mut random = Random::seeded(1);
        Self {
            rules: Rules { domains: vec![domain("capulet.example"), domain("montague.example")], judged: Err(()) },
            people,
            verifiers: VerifierCache::new(&mut random, 8, 600),
            throttle: Throttle::new(&mut random, 100),
            now: Now { mono_ms: 1_000, unix_ms: 1_800_000_000_000 },
            seed: 100,
        }
    }
}

/// What the loop does by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Auto {
    /// Everything that is asked for, at once.
    All,
    /// The same, but for the hashing: every password is right.
    Trusting,
    /// Nothing: the test hands in the answers.
    Nothing,
}

/// One connection, with a loop around it.
pub(super) struct Link {
    pub(super) negotiation: Negotiation,
    pub(super) world: World,
    pub(super) auto: Auto,
    pub(super) tls: TlsInfo,
    scan: Scan,
    inbox: Vec<u8>,
    expect: Expect,
    gate: bool,
    out: Vec<u8>,
    pub(super) job: Option<HashJob>,
    /// Asks of note, in order, as text.
    pub(super) asked: Vec<String>,
    pub(super) filled: Vec<(Jid, Vec<ScramKeys>)>,
    pub(super) closed: Option<CloseHow>,
    pub(super) in_use: Vec<String>,
}

/// What TLS 1.3 tells, without a client certificate.
pub(super) fn tls_info() -> TlsInfo {
    TlsInfo {
        sni: Some("capulet.example".to_owned()),
        alpn: false,
        version: TlsVersion::Tls13,
        resumed: false,
        exporter: Some(EXPORTER),
        server_end_point: Some(END_POINT.to_vec()),
        peer_chain: None,
    }
}

impl Link {
    pub(super) fn new(world: World) -> Self {
        Self::with(world, false)
    }

    pub(super) fn with(world: World, direct_tls: bool) -> Self {
        Self {
            negotiation: Negotiation::new(direct_tls),
            world,
            auto: Auto::All,
            tls: tls_info(),
            scan: Scan::default(),
            inbox: Vec::new(),
            expect: Expect::Header,
            gate: true,
            out: Vec::new(),
            job: None,
            asked: Vec::new(),
            filled: Vec::new(),
            closed: None,
            in_use: Vec::new(),
        }
    }

    /// Inside TLS, before a header.
    pub(super) fn secure(world: World) -> Self {
        let mut link = Self::with(world, true);
        let info = link.tls.clone();
        link.input(Input::Secured(info));
        link.asked.clear();
        link
    }

    /// A client whose certificate names these addresses.
    pub(super) fn with_certificate(mut world: World, addresses: &[&str]) -> Self {
        world.rules.capulet().external = true;
        world.rules.judged = Ok(addresses.iter().map(|address| (*address).to_owned()).collect());
        let mut link = Self::with(world, true);
        link.tls.peer_chain = Some(vec![b"leaf".to_vec()]);
        let info = link.tls.clone();
        link.input(Input::Secured(info));
        link.asked.clear();
        link
    }

    /// One read: everything in `text` arrives together.
    pub(super) fn send(&mut self, text: &str) -> &mut Self {
        self.inbox.extend_from_slice(text.as_bytes());
        while self.gate && self.closed.is_none() && !self.inbox.is_empty() {
            let inbox = std::mem::take(&mut self.inbox);
            let mut scan = std::mem::take(&mut self.scan);
            let step = scan.step(&inbox, self.expect, self.negotiation.ns(), &LIMITS);
            let len = match step {
                Ok(Step::Incomplete) => {
                    (self.inbox, self.scan) = (inbox, scan);
                    return self;
                }
                Ok(Step::Whitespace { len }) => {
                    self.input(Input::Whitespace);
                    len
                }
                Ok(Step::Header { len }) => {
                    self.expect = Expect::Frames;
                    self.retry(|| Input::Header { head: scan.head(), bytes: &inbox[..len] });
                    len
                }
                Ok(Step::Frame { len }) => {
                    let trailing = inbox.len() > len;
                    self.retry(|| Input::Element { head: scan.head(), bytes: &inbox[..len], trailing });
                    len
                }
                Ok(Step::StreamEnd { len }) => {
                    self.input(Input::StreamEnd);
                    len
                }
                Err(fault) => {
                    self.input(Input::XmlFault(fault));
                    inbox.len()
                }
            };
            scan.restart();
            self.scan = scan;
            self.inbox = inbox[len..].to_vec();
        }
        self
    }

    /// Hands in an input again and again until its rows are there. A parked input must have changed nothing.
    pub(super) fn retry<'i>(&mut self, input: impl Fn() -> Input<'i>) {
        for _ in 0..8 {
            let before = format!("{:?}", self.negotiation);
            let (out, asked) = (self.out.len(), self.asked.len());
            match self.raw(input()) {
                Ok(()) => return,
                Err(Parked) => {
                    assert_eq!(before, format!("{:?}", self.negotiation));
                    assert_eq!((out, asked), (self.out.len(), self.asked.len()));
                }
            }
        }
        panic!("parked for ever");
    }

    /// Hands in an input that needs no rows.
    pub(super) fn input(&mut self, input: Input<'_>) {
        assert_eq!(self.raw(input), Ok(()));
    }

    /// Hands in an input and does what it asks for.
    pub(super) fn raw(&mut self, input: Input<'_>) -> Result<(), Parked> {
        let mut asks = Vec::new();
        let world = &mut self.world;
        let result = self.negotiation.handle(
            input,
            &mut Context {
                now: world.now,
                direct_tls: false,
                peer: PEER,
                policy: &world.rules,
                accounts: &mut world.people,
                random: &mut Random::seeded(world.seed),
                verifiers: &mut world.verifiers,
                throttle: &mut world.throttle,
                fake_secret: &[3; 32],
                out: &mut self.out,
                asks: &mut asks,
            },
        );
        if result.is_err() {
            assert!(asks.is_empty());
            return result;
        }
        world.seed += 1;
        world.people.fetched.clear();
        for ask in asks {
            self.obey(ask);
        }
        result
    }

    fn obey(&mut self, ask: Ask) {
        assert_eq!(self.closed, None, "nothing is asked after the end");
        let is_auto = self.auto != Auto::Nothing;
        match ask {
            Ask::ReadGate(open) => self.gate = open,
            Ask::TellDrained => {
                self.asked.push("tell-drained".to_owned());
                if is_auto {
                    self.input(Input::Drained);
                }
            }
            Ask::Flip { hint } => {
                assert!(!self.gate, "reading is shut until the flip");
                self.asked.push(format!("flip {}", hint.unwrap_or_default()));
                if is_auto {
                    let info = self.tls.clone();
                    self.input(Input::Secured(info));
                }
            }
            Ask::NewStream => self.expect = Expect::Header,
            Ask::Hash(job) => {
                assert!(!self.gate);
                self.asked.push("hash".to_owned());
                self.job = Some(job);
                match self.auto {
                    Auto::All => self.run_job(),
                    Auto::Trusting => self.hashed(HashOutcome { verified: true, derived: Vec::new() }),
                    Auto::Nothing => {}
                }
            }
            Ask::Delay { ms } => self.asked.push(format!("delay {ms}")),
            Ask::Bind { account, resource, anonymous, conflict } => {
                assert!(!self.gate);
                let wanted = resource.clone().unwrap_or_default();
                let kind = if anonymous { " anonymous" } else { "" };
                self.asked.push(format!("bind {account} {wanted:?} {conflict:?}{kind}"));
                if is_auto {
                    self.bind(&account, resource, conflict);
                }
            }
            Ask::FillIn { account, keys, proven_by } => {
                assert!(!proven_by.is_empty());
                self.filled.push((account, keys));
            }
            Ask::Close(how) => self.closed = Some(how),
        }
    }

    pub(super) fn run_job(&mut self) {
        let outcome = self.job.take().map(HashJob::run).unwrap_or_default();
        self.hashed(outcome);
    }

    pub(super) fn hashed(&mut self, outcome: HashOutcome) {
        self.input(Input::Hashed(outcome));
    }

    fn bind(&mut self, account: &Jid, resource: Option<String>, conflict: ConflictRule) {
        let taken = resource.as_ref().is_some_and(|resource| self.in_use.contains(resource));
        let resource = match (resource, taken, conflict) {
            (_, true, ConflictRule::Refuse) => return self.input(Input::BindRefused(BindRefusal::Conflict)),
            (None, ..) | (_, true, ConflictRule::Rename) => "made-here".to_owned(),
            (Some(resource), ..) => resource,
        };
        let jid = account.with_resource(&resource).unwrap();
        self.input(Input::Bound(&jid));
    }

    /// What was written since the last time.
    pub(super) fn take_raw(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    /// The same with the stream's id as `ID`.
    pub(super) fn take(&mut self) -> String {
        let text = self.take_raw();
        let Some((before, rest)) = text.split_once(" id='").filter(|_| text.contains("<stream:stream ")) else {
            return text;
        };
        let (id, after) = rest.split_once('\'').unwrap();
        assert_eq!(id.len(), 22, "a stream id is a token");
        format!("{before} id='ID'{after}")
    }

    /// Sends, and gives back what is answered.
    pub(super) fn ask(&mut self, text: &str) -> String {
        self.send(text).take()
    }

    /// Through STARTTLS in RFC 6120's way, up to the features inside TLS.
    pub(super) fn to_sasl(world: World) -> Self {
        let mut link = Self::secure(world);
        link.ask(HEADER_1_0);
        link
    }

    /// Logged in as juliet in RFC 6120's way, up to the features that offer `<bind/>`.
    pub(super) fn to_bind(world: World) -> Self {
        let mut link = Self::to_sasl(world);
        link.send(&auth("PLAIN", b"\0juliet\0r0m30myr0m30")).send(HEADER_1_0);
        link.take();
        link.asked.clear();
        link
    }
}
