//! Handshakes in memory: versions, names, ALPN, cuts, and what they tell the layers above.
#![allow(clippy::unwrap_used)]

mod tls_common;

use rustls::version::{TLS12, TLS13};
use stonechat::transport::TlsVersion;
use tls_common::{ClientSettings, Cut, Pair, World, connect};

const DOMAIN: &str = "chat.example";

#[test]
fn both_versions_in_every_cut() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    for (version, expected) in [(&TLS12, TlsVersion::Tls12), (&TLS13, TlsVersion::Tls13)] {
        for cut in [Cut::Whole, Cut::EveryByte, Cut::Seeded(1), Cut::Seeded(2)] {
            let client = ClientSettings::versions(&world.ca, &[version]);
            let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
            pair.cut = cut;
            let info = pair.handshake();
            assert_eq!(info.version, expected, "{cut:?}");
            assert_eq!(info.sni.as_deref(), Some(DOMAIN), "{cut:?}");
            assert_eq!(pair.up(b"<stream>"), b"<stream>", "{cut:?}");
            assert_eq!(pair.down(b"<answer/>").0, b"<answer/>", "{cut:?}");
        }
    }
}

#[test]
fn a_resumed_handshake_has_its_own_exporter() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = world.client();
    let (first_pair, first) = connect(&domains, &client, DOMAIN);
    let (second_pair, second) = connect(&domains, &client, DOMAIN);
    assert!(!first.resumed && second.resumed);
    assert_eq!(first.exporter, Some(first_pair.client_exporter()));
    assert_eq!(second.exporter, Some(second_pair.client_exporter()));
    assert_ne!(first.exporter, second.exporter);
}
