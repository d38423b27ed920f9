//! The loop around the core without sockets: a tick as `server/` takes it, and the clients at the other end.
//!
//! The storage thread's work, passwords to hash and all that a client computes happen outside of what is measured.

use crate::meter::Meter;
use crate::scram::{Hash, Keys, Scram};
use crate::sim::{EXPORTER, Setup, fill, policy};
use crate::tls_common::NOW_S;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use stonechat::action::Action;
use stonechat::clock::Now;
use stonechat::config::Config;
use stonechat::core::{Core, Domains};
use stonechat::ids::ConnId;
use stonechat::random::Random;
use stonechat::sasl::base64;
use stonechat::storage::{Memory, Request, serve};
use stonechat::transport::{TlsDomains, TlsInfo, TlsVersion};

pub(crate) const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xml:lang='en' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const PASSWORD: &str = "secret";
/// Between two ticks: long enough that no session here is slowed down, short enough that none is asked for a sign of life.
const TICK_MS: u64 = 3;

/// How a client proves who it is.
#[derive(Clone, Copy)]
pub(crate) enum Proof {
    Plain,
    ScramSha256,
}

/// The core, what it is driven with, and what its clients have received.
pub(crate) struct Driver {
    pub(crate) core: Core,
    engine: Memory,
    pub(crate) now: Now,
    requests: Vec<Request>,
    actions: Vec<Action>,
    keys: Keys,
    /// What the client that spoke last was answered.
    heard: Vec<u8>,
    /// Bytes for anybody.
    pub(crate) written: usize,
    /// The core has asked for TLS on the socket of who spoke last.
    pub(crate) flip: bool,
}

impl Driver {
    /// A server with the configuration's defaults, these accounts, and those among them that see each other.
    pub(crate) fn new(accounts: &[String], friends: &[(String, String)], tls: Option<Arc<TlsDomains>>) -> Self {
        let setup = Setup {
            accounts: accounts.iter().map(|name| (format!("{name}@localhost"), PASSWORD.to_owned())).collect(),
            friends: friends.iter().map(|(a, b)| (format!("{a}@localhost"), format!("{b}@localhost"))).collect(),
            ..Setup::default()
        };
        let mut engine = Memory::new();
        fill(&mut engine, &setup);
        let domains = Domains::new(vec![policy("localhost", &setup)], tls);
        let settings = stonechat::server::settings(&Config::default());
        Self {
            core: Core::new(settings, domains, [3; 32], Random::seeded(0x5222)),
            engine,
            now: Now { mono_ms: 1_000, unix_ms: NOW_S * 1000 },
            requests: Vec::new(),
            actions: Vec::new(),
            keys: Keys::default(),
            heard: Vec::new(),
            written: 0,
            flip: false,
        }
    }

    /// A connection; `direct`: TLS begins with its first byte.
    pub(crate) fn accept(&mut self, direct: bool) -> ConnId {
        self.core.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), direct, self.now).expect("there is room")
    }

    /// A connection whose handshake is complete, as far as the core knows.
    pub(crate) fn accept_secured(&mut self) -> ConnId {
        let id = self.accept(true);
        self.core.handshaking(id);
        let info = TlsInfo {
            sni: Some("localhost".to_owned()),
            alpn: true,
            version: TlsVersion::Tls13,
            resumed: false,
            exporter: Some(EXPORTER),
            server_end_point: None,
            peer_chain: None,
        };
        self.core.secured(id, info, self.now);
        id
    }

    /// A tick in which one client says something: read, act, submit, write, free.
    pub(crate) fn tick(&mut self, from: ConnId, bytes: &[u8]) {
        self.now.mono_ms += TICK_MS;
        self.now.unix_ms += TICK_MS;
        self.core.receive(from, bytes, self.now);
        self.core.expire(self.now);
        self.core.go_on(self.now);
        self.end_tick(from);
    }

    fn end_tick(&mut self, from: ConnId) {
        self.core.close_overflown(self.now);
        self.core.submit(self.now, &mut self.requests);
        while let Some(conn) = self.core.outboxes().next_dirty() {
            let pending = self.core.outboxes().pending(conn);
            let count = pending.len();
            self.written += count;
            if conn == from {
                self.heard.extend_from_slice(pending);
            }
            if self.core.outboxes().consume(conn, count) {
                self.core.drained(conn, self.now);
            }
        }
        self.core.take_actions(&mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Flip { .. } => self.flip = true,
                // Nobody here speaks before the answer.
                Action::ReadGate { .. } => {}
                Action::Finish { conn } | Action::FlushAndDrop { conn } | Action::Drop { conn } => {
                    self.core.free(conn, self.now);
                }
            }
        }
    }

    /// A client speaks, and hears what there is to hear when all that follows has been done.
    pub(crate) fn talk(&mut self, meter: &mut Meter, from: ConnId, bytes: &[u8]) -> String {
        meter.run(|| self.tick(from, bytes));
        loop {
            if let Some(task) = self.core.next_hash() {
                let outcome = task.job.run();
                meter.run(|| self.core.hashed(task.conn, outcome, self.now));
            } else if !self.requests.is_empty() {
                let done: Vec<_> = self.requests.drain(..).map(|request| serve(&mut self.engine, request)).collect();
                meter.run(|| done.into_iter().for_each(|completion| self.core.completed(completion, self.now)));
            } else {
                break;
            }
            meter.run(|| self.end_tick(from));
        }
        String::from_utf8(std::mem::take(&mut self.heard)).expect("XML is UTF-8")
    }

    /// What was written since this was asked last.
    pub(crate) fn take_written(&mut self) -> usize {
        self.heard.clear();
        std::mem::take(&mut self.written)
    }

    /// From the accepted connection to a session.
    pub(crate) fn log_in(&mut self, meter: &mut Meter, user: &str, proof: Proof) -> ConnId {
        let id = meter.run(|| self.accept_secured());
        self.talk(meter, id, HEADER);
        let said = match proof {
            Proof::Plain => {
                let data = base64::encode(format!("\0{user}\0{PASSWORD}"));
                let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{data}</auth>");
                self.talk(meter, id, auth.as_bytes())
            }
            Proof::ScramSha256 => self.scram(meter, id, user),
        };
        assert!(said.starts_with("<success"), "{said}");
        self.talk(meter, id, HEADER);
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
            <resource>phone</resource></bind></iq>";
        let said = self.talk(meter, id, bind.as_bytes());
        assert!(said.contains(&format!("{user}@localhost/phone")), "{said}");
        id
    }

    fn scram(&mut self, meter: &mut Meter, id: ConnId, user: &str) -> String {
        let mut client = Scram::new(Hash::Sha256, user);
        let first = base64::encode(client.first());
        let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{first}</auth>");
        let said = self.talk(meter, id, auth.as_bytes());
        let challenge = said.split(['>', '<']).nth(2).and_then(base64::decode_strict).expect("a challenge");
        let challenge = std::str::from_utf8(&challenge).expect("text");
        let answer = client.answer(challenge, PASSWORD, &mut self.keys).expect("an answer");
        let answer =
            format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>", base64::encode(answer));
        self.talk(meter, id, answer.as_bytes())
    }

    /// Closes the stream; the connection is gone afterwards.
    pub(crate) fn log_out(&mut self, meter: &mut Meter, id: ConnId) {
        let said = self.talk(meter, id, b"</stream:stream>");
        assert_eq!(said, "</stream:stream>");
    }
}
