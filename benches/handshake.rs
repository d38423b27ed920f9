//! What TLS costs this side of a connection: a handshake, full and resumed, and a chat message each way.
//!
//! In memory, with a client in the same process; only calls into the server's side are timed. One
//! certificate, ECDSA P-256; the client's settings are its library's defaults. `cargo bench --bench
//! handshake` for figures; under `cargo test` it runs a few rounds to see that it works.

// A bench reads the clock; the library does not.
#![allow(clippy::disallowed_methods)]

#[path = "../tests/tls_common/mod.rs"]
mod tls_common;

use rustls::SupportedProtocolVersion;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};
use stonechat::transport::{Tls, TlsDomains, TlsEvent};
use tls_common::{ClientSettings, World};

const DOMAIN: &str = "chat.example";
const MESSAGE: &[u8] =
    b"<message to='juliet@capulet.example/balcony' from='romeo@montague.example/orchard' type='chat' \
id='ktx72v49'><body>Art thou not Romeo, and a Montague?</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
<request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='de305d54-75b4-431b'/></message>";

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let rounds = if is_bench { 3000 } else { 5 };
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    for (name, version) in [("tls13", &TLS13), ("tls12", &TLS12)] {
        for resumed in [false, true] {
            handshakes(name, &world, &domains, version, resumed, rounds);
        }
        messages(name, &world, &domains, version, rounds * 20);
    }
}

/// From the first byte of the ClientHello to the plaintext of the client's first message.
fn handshakes(
    name: &str,
    world: &World,
    domains: &TlsDomains,
    version: &'static SupportedProtocolVersion,
    resumed: bool,
    rounds: u32,
) {
    let mut client = ClientSettings::versions(&world.ca, &[version]);
    if !resumed {
        client.config.resumption = Resumption::disabled();
    }
    Side::connect(domains, &client);
    let mut spent = Duration::ZERO;
    let mut sent_bytes = 0;
    for _ in 0..rounds {
        let mut side = Side::connect(domains, &client);
        assert_eq!(side.server.take_info().resumed, resumed);
        spent += side.spent;
        sent_bytes = side.sent_bytes;
    }
    let us = spent.as_secs_f64() * 1e6 / f64::from(rounds);
    let kind = if resumed { "resumed" } else { "full" };
    println!("handshake/{name}_{kind} us={us:.1} per_core_s={:.0} sent_bytes={sent_bytes}", 1e6 / us);
}

/// A message decrypted and sealed again.
fn messages(name: &str, world: &World, domains: &TlsDomains, version: &'static SupportedProtocolVersion, rounds: u32) {
    let mut side = Side::connect(domains, &ClientSettings::versions(&world.ca, &[version]));
    side.spent = Duration::ZERO;
    let mut got = vec![0; MESSAGE.len()];
    for _ in 0..rounds {
        side.client.writer().write_all(MESSAGE).unwrap();
        side.turn();
        let start = Instant::now();
        side.server.seal(black_box(MESSAGE), &mut side.out).unwrap();
        side.spent += start.elapsed();
        side.deliver();
        side.client.reader().read_exact(&mut got).unwrap();
        assert_eq!(got, MESSAGE);
    }
    let ns = side.spent.as_nanos() as f64 / f64::from(rounds);
    println!("handshake/{name}_echo ns={ns:.0} bytes={}", MESSAGE.len());
}

struct Side {
    server: Tls,
    client: rustls::ClientConnection,
    plain: Vec<u8>,
    out: Vec<u8>,
    spent: Duration,
    sent_bytes: usize,
}

impl Side {
    fn connect(domains: &TlsDomains, client: &ClientSettings) -> Self {
        let client = client.connect(DOMAIN);
        let start = Instant::now();
        let server = domains.session(None, false).unwrap();
        let spent = start.elapsed();
        let mut side = Self { server, client, plain: Vec::new(), out: Vec::new(), spent, sent_bytes: 0 };
        while side.server.is_handshaking() {
            side.turn();
        }
        side
    }

    fn turn(&mut self) {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        self.plain.clear();
        let start = Instant::now();
        let event = self.server.feed(black_box(&mut wire), &mut self.plain, &mut self.out).unwrap();
        self.spent += start.elapsed();
        assert_ne!(event, TlsEvent::PeerClosed);
        self.deliver();
    }

    fn deliver(&mut self) {
        self.sent_bytes += self.out.len();
        let mut out = self.out.as_slice();
        while !out.is_empty() {
            self.client.read_tls(&mut out).unwrap();
            self.client.process_new_packets().unwrap();
        }
        self.out.clear();
    }
}
