//! Cases of TLS: a connection from its first byte to the first stream inside TLS, and one record each way.
//!
//! The client is rustls's, and works outside of what is measured. Keys are fresh in every run: the arithmetic is the
//! same for all of them, to within some instructions.

use crate::driver::{Driver, HEADER};
use crate::frames::MESSAGE;
use crate::meter::Meter;
use crate::tls_common::{ClientSettings, World};
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, SupportedProtocolVersion};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use stonechat::transport::{Tls, TlsDomains, TlsEvent};

const DOMAIN: &str = "localhost";

/// STARTTLS with a full handshake of TLS 1.3.
pub(crate) fn flip(ops: u32, meter: &mut Meter) {
    flips(ops, meter, &TLS13, false);
}

/// STARTTLS with a ticket.
pub(crate) fn flip_resumed(ops: u32, meter: &mut Meter) {
    flips(ops, meter, &TLS13, true);
}

/// STARTTLS with a full handshake of TLS 1.2.
pub(crate) fn flip_tls12(ops: u32, meter: &mut Meter) {
    flips(ops, meter, &TLS12, false);
}

fn flips(ops: u32, meter: &mut Meter, version: &'static SupportedProtocolVersion, resumed: bool) {
    let world = World::new(&[DOMAIN]);
    let domains = Arc::new(world.load());
    let mut driver = Driver::new(&[], &[], Some(domains.clone()));
    let mut client = ClientSettings::versions(&world.ca, &[version]);
    if !resumed {
        client.config.resumption = Resumption::disabled();
    }
    let mut run = |ops: u32, meter: &mut Meter| {
        (0..ops).map(|_| connect(&mut driver, meter, &domains, client.connect(DOMAIN))).filter(|was| *was).count()
    };
    run(2, &mut Meter::quiet());
    let with_tickets = run(ops, meter);
    assert_eq!(with_tickets, if resumed { ops as usize } else { 0 });
}

/// A connection that negotiates TLS, opens its stream inside it, and goes; says whether the handshake was resumed.
fn connect(driver: &mut Driver, meter: &mut Meter, domains: &TlsDomains, client: ClientConnection) -> bool {
    let id = meter.run(|| driver.accept(false));
    driver.talk(meter, id, HEADER);
    let said = driver.talk(meter, id, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(said.starts_with("<proceed ") && std::mem::take(&mut driver.flip), "{said}");
    let mut side = meter.run(|| {
        driver.core.handshaking(id);
        Side::new(client, domains.session(Some(DOMAIN), false).expect("a session"))
    });
    side.shake_hands(meter);
    let info = side.server.take_info();
    let resumed = info.resumed;
    meter.run(|| driver.core.secured(id, info, driver.now));
    side.client.writer().write_all(HEADER).expect("room");
    side.up(meter);
    let said = driver.talk(meter, id, &side.plain);
    assert!(said.contains("<mechanisms "), "{said}");
    let got = side.down(meter, said.as_bytes());
    assert_eq!(got, said.as_bytes());
    meter.run(|| {
        driver.core.peer_gone(id, driver.now);
        drop(side);
    });
    driver.talk(meter, id, b"");
    resumed
}

/// A record of a chat message opened, and one sealed.
pub(crate) fn record(ops: u32, meter: &mut Meter) {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = ClientSettings::versions(&world.ca, &[&TLS13]).connect(DOMAIN);
    let mut side = Side::new(client, domains.session(None, false).expect("a session"));
    side.shake_hands(&mut Meter::quiet());
    let mut run = |ops: u32, meter: &mut Meter| {
        for _ in 0..ops {
            side.client.writer().write_all(MESSAGE).expect("room");
            side.up(meter);
            assert_eq!(side.plain, MESSAGE);
            assert_eq!(side.down(meter, MESSAGE), MESSAGE);
        }
    };
    run(3, &mut Meter::quiet());
    run(ops, meter);
}

/// A client, the server's end of its TLS, and the buffers of a loop.
struct Side {
    client: ClientConnection,
    server: Tls,
    wire: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Side {
    fn new(client: ClientConnection, server: Tls) -> Self {
        Self { client, server, wire: Vec::new(), plain: Vec::new(), out: Vec::new() }
    }

    fn shake_hands(&mut self, meter: &mut Meter) {
        while self.server.is_handshaking() {
            self.up(meter);
        }
    }

    /// What the client has to say goes to the server, and the server's own answers come back.
    fn up(&mut self, meter: &mut Meter) {
        self.wire.clear();
        while self.client.wants_write() {
            self.client.write_tls(&mut self.wire).expect("memory");
        }
        self.plain.clear();
        let event = meter.run(|| self.server.feed(&mut self.wire, &mut self.plain, &mut self.out)).expect("good TLS");
        assert_ne!(event, TlsEvent::PeerClosed);
        self.deliver();
    }

    /// The server says something; what the client has read.
    fn down(&mut self, meter: &mut Meter, plain: &[u8]) -> Vec<u8> {
        meter.run(|| self.server.seal(plain, &mut self.out)).expect("sealed");
        self.deliver();
        let mut got = vec![0; plain.len()];
        self.client.reader().read_exact(&mut got).expect("all of it");
        got
    }

    fn deliver(&mut self) {
        let mut out = self.out.as_slice();
        while !out.is_empty() {
            self.client.read_tls(&mut out).expect("memory");
            self.client.process_new_packets().expect("good TLS");
        }
        self.out.clear();
    }
}
