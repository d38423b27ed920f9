//! Memory: what one idle established connection keeps on the heap, and what a message allocates.
//!
//! A binary of its own, because it replaces the allocator. Only calls into the server's side are
//! counted, so the client in the same process does not matter.

#[path = "common/counting.rs"]
mod counting;
mod tls_common;

use counting::{allocations, counted, live_blocks, live_bytes};

use rustls::version::{TLS12, TLS13};
use std::io::Write as _;
use stonechat::transport::{Tls, TlsEvent};
use tls_common::{Ca, ClientSettings, World};

const DOMAIN: &str = "chat.example";
/// The bound: one connection without a client certificate, its own box included.
const IDLE_BYTES_MAX: usize = 3700;
const PAIRS: usize = 20;
/// AWS-LC keeps its keys on the C heap, where this allocator does not see them; ring's are all seen.
const SEES_ALL: bool = cfg!(feature = "ring");

struct Measured {
    server: Box<Tls>,
    client: rustls::ClientConnection,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Measured {
    fn new(domains: &stonechat::transport::TlsDomains, client: &ClientSettings) -> Self {
        // The caller's scratch is not the connection's: it is there before.
        let (plain, out) = (Vec::with_capacity(64 * 1024), Vec::with_capacity(64 * 1024));
        let server = counted(|| Box::new(domains.session(Some(DOMAIN), false).unwrap()));
        let mut pair = Self { server, client: client.connect(DOMAIN), plain, out };
        while pair.step() {}
        assert!(!pair.server.is_handshaking());
        pair
    }

    /// One flight each way. False if the client had nothing to send.
    fn step(&mut self) -> bool {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        let sent = !wire.is_empty();
        for piece in wire.chunks_mut(700) {
            if counted(|| self.server.feed(piece, &mut self.plain, &mut self.out)).unwrap() == TlsEvent::Established {
                counted(|| drop(self.server.take_info()));
            }
        }
        let mut out = self.out.as_slice();
        while !out.is_empty() {
            self.client.read_tls(&mut out).unwrap();
            self.client.process_new_packets().unwrap();
        }
        self.out.clear();
        self.plain.clear();
        sent
    }

    fn echo(&mut self, bytes: &[u8]) {
        self.client.writer().write_all(bytes).unwrap();
        self.step();
        counted(|| self.server.seal(bytes, &mut self.out)).unwrap();
        self.step();
        let mut got = vec![0; bytes.len()];
        std::io::Read::read_exact(&mut self.client.reader(), &mut got).unwrap();
        assert_eq!(got, bytes);
    }
}

#[test]
fn idle_connections_are_small() {
    let mut world = World::new(&[DOMAIN]);
    let plain = world.load();
    let people = Ca::new("people");
    world.take_clients(DOMAIN, &[&people]);
    let asking = world.load();
    let juliet = people.client(&["juliet@chat.example"]);
    let chain_bytes = juliet.der.len() + 100;
    let rows = [
        ("tls13", &plain, ClientSettings::versions(&world.ca, &[&TLS13]), 0),
        ("tls12", &plain, ClientSettings::versions(&world.ca, &[&TLS12]), 0),
        ("tls13_asked", &asking, ClientSettings::versions(&world.ca, &[&TLS13]), 0),
        ("tls13_certificate", &asking, ClientSettings::with_certificate(&world.ca, &[&TLS13], &juliet), chain_bytes),
        ("tls12_certificate", &asking, ClientSettings::with_certificate(&world.ca, &[&TLS12], &juliet), chain_bytes),
    ];
    println!("tls_idle/struct bytes={}", size_of::<Tls>());
    for (name, domains, client, extra) in rows {
        // What is made once (lazy statics of the provider) is not per connection.
        let mut warm = Measured::new(domains, &client);
        warm.echo(b"warm");
        let (bytes, blocks) = (live_bytes(), live_blocks());
        let mut pairs: Vec<Measured> = (0..PAIRS).map(|_| Measured::new(domains, &client)).collect();
        for pair in &mut pairs {
            // Long enough to be cut in pieces on the way, so that a tail was saved in between.
            pair.echo(&[b'x'; 3000]);
        }
        let bytes = (live_bytes() - bytes) as usize / PAIRS;
        let blocks = (live_blocks() - blocks) as usize / PAIRS;
        println!("tls_idle/{name} bytes={bytes} blocks={blocks}");
        assert!(bytes <= IDLE_BYTES_MAX + extra, "{name}: {bytes} bytes in {blocks} blocks");
        let told = size_of::<Tls>() + pairs[0].server.heap_bytes();
        assert!(!SEES_ALL || told.abs_diff(bytes) * 10 < bytes, "{name}: says {told}, holds {bytes}");
        let freed = live_bytes();
        counted(|| pairs.into_iter().for_each(|pair| drop(pair.server)));
        assert!(freed - live_bytes() >= (bytes * PAIRS) as isize, "{name}: all of it is given back");
    }
}

/// Half-open connections are what a flood is made of.
#[test]
fn a_handshake_under_way_holds_what_it_says() {
    let mut world = World::new(&[DOMAIN]);
    let people = Ca::new("people");
    world.take_clients(DOMAIN, &[&people]);
    let domains = world.load();
    for (name, version) in [("tls12", &TLS12), ("tls13", &TLS13)] {
        let client = ClientSettings::versions(&world.ca, &[version]);
        Measured::new(&domains, &client);
        for (step, hello) in [("silent", false), ("half", true)] {
            let before = live_bytes();
            let (mut plain, mut out) = (Vec::with_capacity(1024), Vec::with_capacity(64 * 1024));
            let mut server = counted(|| Box::new(domains.session(Some(DOMAIN), false).unwrap()));
            if hello {
                let mut wire = Vec::new();
                client.connect(DOMAIN).write_tls(&mut wire).unwrap();
                counted(|| server.feed(&mut wire, &mut plain, &mut out)).unwrap();
            }
            let bytes = (live_bytes() - before) as usize;
            let told = size_of::<Tls>() + server.heap_bytes();
            println!("tls_handshaking/{name}_{step} bytes={bytes} told={told}");
            assert!(
                !SEES_ALL || bytes <= told + 64 && told < bytes * 5 / 4,
                "{name} {step}: says {told}, holds {bytes}"
            );
            counted(|| drop(server));
        }
    }
}

/// The library allocates once for each record, in either direction; we add nothing.
#[test]
fn a_message_allocates_what_the_library_does() {
    let world = World::new(&[DOMAIN]);
    let mut pair = Measured::new(&world.load(), &ClientSettings::versions(&world.ca, &[&TLS13]));
    for _ in 0..10 {
        pair.echo(b"warm");
    }
    let before = allocations();
    const MESSAGES: usize = 100;
    for _ in 0..MESSAGES {
        pair.echo(&[b'x'; 300]);
    }
    let per_message = (allocations() - before) as f64 / MESSAGES as f64;
    println!("tls_echo allocations={per_message}");
    assert!(per_message <= 2.0, "{per_message}");
}
