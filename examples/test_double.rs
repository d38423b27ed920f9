//! Stonechat as a test double: a whole XMPP server in a variable, for the tests of a client.
//!
//! ```text
//! client under test ──bytes──▶ Double ──▶ Core ──bytes──▶ client under test
//!                                 ├── Memory store, hashes: done on the spot
//!                                 └── the clock: whatever the test says it is
//! ```
//!
//! No socket, no thread, no disk, no waiting: [`Core`] takes bytes and the time and gives back bytes and actions. With
//! one seed a run is the same every time, stream ids included. `cargo run --example test_double` logs two clients in
//! and lets one write to the other. A real client is connected in the same way: what it would write to its socket goes
//! to [`Double::send`], what it would read comes from [`Double::read`].

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use stonechat::action::Action;
use stonechat::clock::Now;
use stonechat::config::Config;
use stonechat::core::{Core, Domains};
use stonechat::ids::ConnId;
use stonechat::im::accounts::{self, Change};
use stonechat::random::Random;
use stonechat::sasl::client::{ClientBinding, ScramClient};
use stonechat::sasl::{Credentials, ITERATIONS_MIN, Mechanism, ScramHash, base64, derive};
use stonechat::server::settings;
use stonechat::storage::{Memory, offline, serve};
use stonechat::stream::{ConflictRule, DomainPolicy};

const DOMAIN: &str = "example.org";
const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='example.org' version='1.0'>";
/// Any moment will do, as long as it is always the same one.
const START: Now = Now { mono_ms: 1_000, unix_ms: 1_000_000_000_000 };

fn main() -> Result<(), Box<dyn Error>> {
    let mut double = Double::new(&[("juliet", "r0m30"), ("romeo", "jul13t")])?;
    let juliet = double.connect()?;
    let romeo = double.connect()?;
    println!("juliet is {}", log_in(&mut double, juliet, "juliet", "r0m30")?);
    println!("romeo is {}", log_in(&mut double, romeo, "romeo", "jul13t")?);

    double.send(romeo, "<presence/>");
    double.read(romeo);
    double.send(juliet, "<message to='romeo@example.org' type='chat'><body>Wherefore?</body></message>");
    let received = double.read(romeo);
    println!("romeo received {received}");
    assert!(received.contains("from='juliet@example.org/"), "the server says who wrote it");

    double.send(juliet, "<message to='nobody@example.org' type='chat'><body>Hello?</body></message>");
    let error = double.read(juliet);
    assert!(error.contains("<service-unavailable"), "{error}");

    double.send(juliet, "</stream:stream>");
    assert!(double.read(juliet).ends_with("</stream:stream>"));
    assert!(double.has_ended(juliet) && !double.has_ended(romeo));

    // Half a minute goes by at once: who has not logged in by then is sent away.
    let silent = double.connect()?;
    double.advance(30_000);
    assert!(double.read(silent).contains("<connection-timeout"));
    println!("all as expected");
    Ok(())
}

/// The server, its store and its clock.
struct Double {
    core: Core,
    engine: Memory,
    now: Now,
    ended: BTreeSet<ConnId>,
}

impl Double {
    /// A server with these accounts, each a localpart and a password.
    fn new(people: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let mut random = Random::seeded(1);
        let mut engine = Memory::new();
        for (localpart, password) in people {
            let keys = derive(password, &ScramHash::ALL, ITERATIONS_MIN, &mut random).run().derived;
            let account = accounts::account(&Credentials { keys, disabled: false });
            let made = offline::run(&mut engine, |store| accounts::create(store, DOMAIN, localpart, &account))?;
            assert_eq!(made, Change::Done);
        }
        let domains = Domains::new(vec![policy()], None);
        let core = Core::new(settings(&Config::default()), domains, [0; 32], random);
        Ok(Self { core, engine, now: START, ended: BTreeSet::new() })
    }

    fn connect(&mut self) -> Result<ConnId, Box<dyn Error>> {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.core.accept(peer, false, self.now).map_err(|refused| format!("{refused:?}").into())
    }

    /// What the client writes; everything that follows from it has happened on return.
    fn send(&mut self, conn: ConnId, xml: &str) {
        self.core.receive(conn, xml.as_bytes(), self.now);
        self.settle();
    }

    /// What the client has to read.
    fn read(&mut self, conn: ConnId) -> String {
        let bytes = self.core.outboxes().pending(conn).to_vec();
        self.core.outboxes().consume(conn, bytes.len());
        self.core.drained(conn, self.now);
        self.settle();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the server has closed the connection.
    fn has_ended(&self, conn: ConnId) -> bool {
        self.ended.contains(&conn)
    }

    /// Lets time go by.
    fn advance(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
        self.core.expire(self.now);
        self.settle();
    }

    /// What `server` does in a tick, without sockets and threads, until nothing is left to do.
    fn settle(&mut self) {
        let (mut requests, mut actions) = (Vec::new(), Vec::new());
        loop {
            self.core.close_overflown(self.now);
            self.core.take_actions(&mut actions);
            self.core.submit(self.now, &mut requests);
            let hash = self.core.next_hash();
            if actions.is_empty() && requests.is_empty() && hash.is_none() {
                return;
            }
            for action in actions.drain(..) {
                self.act(action);
            }
            for request in requests.drain(..) {
                self.core.completed(serve(&mut self.engine, request), self.now);
            }
            if let Some(task) = hash {
                self.core.hashed(task.conn, task.job.run(), self.now);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            // Bytes that come while the gate is shut are kept by the core.
            Action::ReadGate { .. } => {}
            // The row stays until the double is dropped, so that the last words can still be read.
            Action::Finish { conn } | Action::FlushAndDrop { conn } | Action::Drop { conn } => {
                self.ended.insert(conn);
            }
            Action::Flip { .. } => unreachable!("this domain has no certificate, so nobody is offered STARTTLS"),
        }
    }
}

/// One domain without TLS: SCRAM is then offered in the clear, PLAIN never is.
fn policy() -> DomainPolicy {
    DomainPolicy {
        name: DOMAIN.into(),
        tls_available: false,
        tls_required: false,
        legacy: true,
        mechanisms: vec![Mechanism::ScramSha256, Mechanism::ScramSha1],
        external: false,
        iterations: ITERATIONS_MIN,
        sasl_attempts_max: 4,
        bind_attempts_max: 4,
        conflict: ConflictRule::Replace,
        max_stanza_bytes: 262_144,
        registration: stonechat::config::Registration::Closed,
        features: stonechat::xep::caps::feature(&[]),
        idle_seconds: 0,
    }
}

/// What a client of RFC 6120 does until it is bound; returns its full JID.
fn log_in(double: &mut Double, conn: ConnId, username: &str, password: &str) -> Result<String, Box<dyn Error>> {
    double.send(conn, HEADER);
    let features = double.read(conn);
    assert!(features.contains("<mechanism>SCRAM-SHA-256</mechanism>"), "{features}");

    let mut scram = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, username, password, "nonce");
    let first = base64::encode(scram.first());
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    double.send(conn, &format!("<auth {sasl} mechanism='SCRAM-SHA-256'>{first}</auth>"));
    let challenge = data(&double.read(conn))?;
    let answer = base64::encode(scram.answer(&challenge)?);
    double.send(conn, &format!("<response {sasl}>{answer}</response>"));
    scram.verify(&data(&double.read(conn))?)?;

    double.send(conn, HEADER);
    double.read(conn);
    double.send(conn, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    let bound = double.read(conn);
    let jid = bound.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>"));
    jid.map(|(jid, _)| jid.to_owned()).ok_or_else(|| format!("not bound: {bound}").into())
}

/// The base64 inside one SASL element.
fn data(element: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let text = element.split_once('>').and_then(|(_, rest)| rest.split_once('<')).map(|(text, _)| text);
    let data = text.and_then(base64::decode_strict).ok_or_else(|| format!("no data in {element}"))?;
    Ok(data.to_vec())
}
