//! Handshakes in memory: versions, names, ALPN, cuts, and what they tell the layers above.

mod tls_common;

use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CipherSuite, Error, NamedGroup};
use stonechat::crypto::digest;
use stonechat::transport::tls::RECORD_BYTES_MAX;
use stonechat::transport::{TlsDomains, TlsError, TlsInfo, TlsOptions, TlsVersion};
use tls_common::{ClientSettings, Cut, NOW_S, Pair, World, connect, connect_as, options};

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
fn tls_13_is_preferred_and_data_may_ride_with_finished() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let mut pair = Pair::new(world.client().connect(DOMAIN), domains.session(None, false).unwrap());
    std::io::Write::write_all(&mut pair.client.writer(), b"<early?>").unwrap();
    let info = pair.handshake();
    assert_eq!(info.version, TlsVersion::Tls13);
    assert_eq!(pair.plain, b"<early?>");
}

#[test]
fn bulk_data_survives_every_cut() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let data: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
    for version in [&TLS12, &TLS13] {
        for cut in [Cut::Whole, Cut::EveryByte, Cut::Seeded(3)] {
            let client = ClientSettings::versions(&world.ca, &[version]);
            let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
            pair.handshake();
            pair.cut = cut;
            // The client's buffer takes 64 KiB at a time.
            let arrived: Vec<u8> = data.chunks(50_000).flat_map(|chunk| pair.up(chunk)).collect();
            assert_eq!(arrived, data, "{cut:?}");
            assert_eq!(pair.down(&data).0, data, "{cut:?}");
            assert!(pair.server.heap_bytes() < 2 * RECORD_BYTES_MAX, "{cut:?}");
        }
    }
}

#[test]
fn sealing_makes_as_few_records_as_there_can_be() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    for (version, overhead) in [(&TLS13, 5 + 1 + 16), (&TLS12, 5 + 8 + 16)] {
        let client = ClientSettings::versions(&world.ca, &[version]);
        let (mut pair, _) = connect(&domains, &client, DOMAIN);
        for (size, records) in [(1, 1), (16_384, 1), (16_385, 2), (40_000, 3)] {
            let (got, cipher_bytes) = pair.down(&vec![7; size]);
            assert_eq!((got.len(), cipher_bytes), (size, size + records * overhead));
        }
        let mut out = b"before".to_vec();
        pair.server.seal(b"", &mut out).unwrap();
        assert_eq!(out, b"before");
        pair.server.seal(b"x", &mut out).unwrap();
        assert!(out.starts_with(b"before") && out.len() == 6 + 1 + overhead);
    }
}

#[test]
fn nothing_can_be_sealed_before_the_handshake_ends() {
    let world = World::new(&[DOMAIN]);
    let mut server = world.load().session(None, false).unwrap();
    let mut out = Vec::new();
    assert_eq!(server.seal(b"<proceed/>", &mut out), Err(TlsError::WrongState));
    server.close_notify(&mut out);
    assert!(out.is_empty() && server.is_handshaking());
    assert_eq!(server.take_info(), TlsInfo::default());
}

#[test]
fn exporters_are_equal_on_both_sides() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let client = with_provider(&world, |provider| provider.cipher_suites.retain(|own| own.suite() == suite));
        for resumed in [false, true] {
            let (pair, info) = connect(&domains, &client, DOMAIN);
            assert_eq!(info.resumed, resumed, "{suite:?}");
            assert_eq!(info.exporter, Some(pair.client_exporter()), "{suite:?}");
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

/// Two handshakes interleaved step by step must not see each other's secrets.
#[test]
fn interleaved_handshakes_keep_their_secrets_apart() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = world.client();
    let mut pairs: Vec<Pair> =
        (0..2).map(|_| Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap())).collect();
    for _ in 0..2 {
        for pair in &mut pairs {
            let mut wire = Vec::new();
            pair.client.write_tls(&mut wire).unwrap();
            while pair.client.wants_write() {
                pair.client.write_tls(&mut wire).unwrap();
            }
            let mut out = Vec::new();
            pair.feed(&mut wire, &mut out).unwrap();
            pair.deliver(&out).unwrap();
        }
    }
    for pair in &mut pairs {
        assert_eq!(pair.server.take_info().exporter, Some(pair.client_exporter()));
    }
}

#[test]
fn a_retried_hello_is_understood() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = with_provider(&world, |provider| {
        let real = provider.kx_groups.clone();
        provider.kx_groups.insert(0, &UnknownGroup);
        assert!(!real.is_empty());
    });
    for cut in [Cut::Whole, Cut::EveryByte] {
        let mut client = client.clone();
        client.config.resumption = rustls::client::Resumption::disabled();
        let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
        pair.cut = cut;
        let info = pair.handshake();
        assert_eq!(pair.client.handshake_kind(), Some(rustls::HandshakeKind::FullWithHelloRetryRequest));
        assert_eq!(info.exporter, Some(pair.client_exporter()));
        assert_eq!(info.sni.as_deref(), Some(DOMAIN));
    }
}

/// A group that no server has, so that it must ask for another.
#[derive(Debug)]
struct UnknownGroup;

impl SupportedKxGroup for UnknownGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(UnknownShare))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe42)
    }
}

struct UnknownShare;

impl ActiveKeyExchange for UnknownShare {
    fn complete(self: Box<Self>, _peer: &[u8]) -> Result<SharedSecret, Error> {
        Err(Error::General("nobody has this group".into()))
    }

    fn pub_key(&self) -> &[u8] {
        &[1; 32]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe42)
    }
}

#[test]
fn tls_12_has_no_exporter_but_the_certificate() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = ClientSettings::versions(&world.ca, &[&TLS12]);
    for resumed in [false, true] {
        let (pair, info) = connect(&domains, &client, DOMAIN);
        assert_eq!((info.resumed, info.exporter), (resumed, None));
        assert_eq!(info.server_end_point, Some(leaf_hash(&pair)));
    }
}

#[test]
fn the_end_point_is_that_of_the_certificate_sent() {
    let world = World::new(&["one.example", "two.example"]);
    let domains = world.load();
    let (one, one_info) = connect(&domains, &world.client(), "one.example");
    let (two, two_info) = connect_as(&domains, &world.client(), "two.example", Some("one.example"), false);
    assert_eq!(one_info.server_end_point, Some(leaf_hash(&one)));
    assert_eq!(two_info.server_end_point, Some(leaf_hash(&two)));
    assert_ne!(one_info.server_end_point, two_info.server_end_point);
}

#[test]
fn information_is_taken_once() {
    let world = World::new(&[DOMAIN]);
    let (mut pair, mut info) = connect(&world.load(), &world.client(), DOMAIN);
    assert!(info.exporter.is_some() && info.server_end_point.is_some());
    let again = pair.server.take_info();
    assert_eq!((again.exporter, again.server_end_point, again.sni), (None, None, None));
    assert!(!format!("{info:?}").contains(&format!("{:?}", pair.client_exporter())));
    info.wipe();
    assert_eq!((info.exporter, info.server_end_point, info.peer_chain), (None, None, None));
}

#[test]
fn one_ticket_a_handshake_and_no_early_data() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let mut client = world.client();
    client.config.enable_early_data = true;
    for _ in 0..2 {
        let mut connection = client.connect(DOMAIN);
        assert!(connection.early_data().is_none());
        let mut pair = Pair::new(connection, domains.session(None, false).unwrap());
        pair.handshake();
        pair.down(b"hello");
        assert_eq!(pair.client.tls13_tickets_received(), 1);
    }
}

/// Which certificate is chosen, by SNI, hint and default.
#[test]
fn names() {
    const ONE: &str = "one.example";
    const TWO: &str = "two.example";
    let world = World::new(&[ONE, TWO]);
    let with_default = TlsOptions { default_domain: Some(TWO.to_owned()), unix_s: NOW_S };
    let two_domains = world.load();
    let with_default = TlsDomains::load(&world.domains, &with_default).unwrap();
    let only_one = TlsDomains::load(&world.domains[..1], &options()).unwrap();
    let sent = Ok(());
    let unknown = Err(TlsError::UnknownName);
    let rows = [
        // domains, client checks for, sends SNI, hint, expected
        ("SNI alone", &two_domains, TWO, true, None, &sent),
        ("SNI wins over the hint", &two_domains, TWO, true, Some(ONE), &sent),
        ("the hint, without SNI", &two_domains, TWO, false, Some(TWO), &sent),
        ("the hint wins over the default", &with_default, ONE, false, Some(ONE), &sent),
        ("the only domain", &only_one, ONE, false, None, &sent),
        ("the default domain", &with_default, TWO, false, None, &sent),
        ("neither, and several domains", &two_domains, ONE, false, None, &Err(TlsError::NoName)),
        ("SNI not hosted", &two_domains, "three.example", true, None, &unknown),
        ("SNI not hosted, in spite of a hint", &two_domains, "three.example", true, Some(ONE), &unknown),
        ("SNI not hosted, with one domain", &only_one, TWO, true, None, &unknown),
        ("hint not hosted, without SNI", &with_default, TWO, false, Some("three.example"), &unknown),
        ("hint not hosted, SNI is", &two_domains, ONE, true, Some("three.example"), &sent),
    ];
    for (name, domains, expected, sni, hint, outcome) in rows {
        let client = if sni { world.client() } else { world.client().without_sni() };
        let mut pair = Pair::new(client.connect(expected), domains.session(hint, false).unwrap());
        let result = pair.run();
        assert_eq!(&result, outcome, "{name}");
        if result.is_ok() {
            // The client checked the certificate for `expected`.
            assert!(!pair.client.is_handshaking(), "{name}");
        } else {
            let error = pair.client.process_new_packets().unwrap_err();
            assert_eq!(error, Error::AlertReceived(AlertDescription::UnrecognisedName), "{name}");
        }
    }
}

#[test]
fn international_domains_are_found_in_both_forms() {
    let mut world = World::new(&[]);
    let issued = world.ca.server("xn--bcher-kva.example");
    world.add("bücher.example", &issued);
    let domains = world.load();
    assert!(domains.has("bücher.example") && domains.has("xn--bcher-kva.example"));
    assert!(!domains.has("bucher.example") && !domains.has(""));
    let (_, info) = connect(&domains, &world.client(), "xn--bcher-kva.example");
    assert_eq!(info.sni.as_deref(), Some("xn--bcher-kva.example"));
    let client = world.client().without_sni();
    connect_as(&domains, &client, "xn--bcher-kva.example", Some("bücher.example"), false);
}

/// XEP-0368 §2, RFC 7301 §3.2.
#[test]
fn alpn() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let refused = Err(TlsError::NoApplicationProtocol);
    let rows: [(&str, bool, &[&str], _, _); 7] = [
        ("direct, xmpp-client", true, &["xmpp-client"], Ok(()), true),
        ("direct, among others", true, &["h2", "xmpp-client"], Ok(()), true),
        ("direct, none", true, &[], Ok(()), false),
        ("direct, foreign", true, &["h2", "http/1.1"], refused.clone(), false),
        ("direct, server to server", true, &["xmpp-server"], refused, false),
        ("STARTTLS, xmpp-client", false, &["xmpp-client"], Ok(()), false),
        ("STARTTLS, foreign", false, &["h2"], Ok(()), false),
    ];
    for version in [&TLS12, &TLS13] {
        for (name, direct, protocols, outcome, agreed) in rows.clone() {
            let client = ClientSettings::versions(&world.ca, &[version]).alpn(protocols);
            let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, direct).unwrap());
            assert_eq!(pair.run(), outcome, "{name}");
            if outcome.is_ok() {
                assert_eq!(pair.server.take_info().alpn, agreed, "{name}");
            } else {
                let error = pair.client.process_new_packets().unwrap_err();
                assert_eq!(error, Error::AlertReceived(AlertDescription::NoApplicationProtocol), "{name}");
            }
        }
    }
}

#[test]
fn our_order_of_suites_wins() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    // The client would rather have SHA-384 and puts our favourites last.
    let client = with_provider(&world, |provider| {
        provider.cipher_suites.sort_by_key(|suite| u16::from(suite.suite()) != 0x1302);
    });
    let (pair, _) = connect(&domains, &client, DOMAIN);
    let agreed = pair.client.negotiated_cipher_suite().unwrap().suite();
    assert_ne!(agreed, CipherSuite::TLS13_AES_256_GCM_SHA384);
}

#[test]
fn a_reload_leaves_connections_alone_and_serves_the_new_certificate() {
    let mut world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = world.client();
    let (mut old_pair, old) = connect(&domains, &client, DOMAIN);
    let mut half = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
    let renewed = world.ca.server(DOMAIN);
    world.add(DOMAIN, &renewed);
    let reloaded = domains.reload(&world.domains, &options()).unwrap();
    drop(domains);
    assert_eq!(old_pair.up(b"still here"), b"still here");
    assert_eq!(old_pair.down(b"indeed").0, b"indeed");
    // One that was under way goes on with what it started with.
    assert_eq!(half.handshake().server_end_point, old.server_end_point);
    let (new_pair, new) = connect(&reloaded, &world.client(), DOMAIN);
    assert_eq!(new_pair.client.peer_certificates().unwrap()[0], renewed.der);
    assert_ne!(new.server_end_point, old.server_end_point);
}

fn with_provider(world: &World, change: impl Fn(&mut rustls::crypto::CryptoProvider)) -> ClientSettings {
    let mut provider = tls_common::provided::default_provider();
    change(&mut provider);
    ClientSettings::build_with(provider, &world.ca, &[&TLS13], None)
}

fn leaf_hash(pair: &Pair) -> Vec<u8> {
    let leaf = &pair.client.peer_certificates().unwrap()[0];
    digest::digest(&digest::SHA256, leaf).as_ref().to_vec()
}
