//! Client certificates and tickets: possession in the handshake, trust later, and what a ticket must not carry over.

mod tls_common;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType, SerialNumber};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error, SignatureScheme};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stonechat::transport::client::{CHAIN_BYTES_MAX, CHAIN_DEPTH_MAX};
use stonechat::transport::{ChainFault, TlsDomains, TlsError};
use tls_common::{Ca, ClientSettings, DAY_S, Issued, NOW_S, Pair, World, client_params, connect, connect_as, options};

const DOMAIN: &str = "chat.example";
const OTHER: &str = "other.example";
const JULIET: &str = "juliet@chat.example";

/// A domain that takes certificates of one CA.
fn world_with_clients() -> (World, Ca) {
    let mut world = World::new(&[DOMAIN]);
    let ca = Ca::new("people");
    world.take_clients(DOMAIN, &[&ca]);
    (world, ca)
}

fn judge(domains: &TlsDomains, chain: &[Vec<u8>], unix_s: u64) -> Result<Vec<String>, ChainFault> {
    domains.client_trust(DOMAIN).unwrap().judge(chain, unix_s)
}

fn chain(parts: &[&CertificateDer<'_>]) -> Vec<Vec<u8>> {
    parts.iter().map(|der| der.to_vec()).collect()
}

#[test]
fn a_good_chain_names_its_addresses_full_and_resumed() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let juliet = ca.client(&[JULIET]);
    for version in [&TLS12, &TLS13] {
        let client = ClientSettings::with_certificate(&world.ca, &[version], &juliet);
        for resumed in [false, true] {
            let (_, info) = connect(&domains, &client, DOMAIN);
            assert_eq!(info.resumed, resumed);
            let presented = info.peer_chain.unwrap();
            assert_eq!(presented, chain(&[&juliet.der]));
            assert_eq!(judge(&domains, &presented, NOW_S), Ok(vec![JULIET.to_owned()]));
        }
    }
}

#[test]
fn no_certificate_is_no_fault() {
    let (world, _) = world_with_clients();
    let domains = world.load();
    for version in [&TLS12, &TLS13] {
        let (_, info) = connect(&domains, &ClientSettings::versions(&world.ca, &[version]), DOMAIN);
        assert_eq!(info.peer_chain, None);
    }
    assert_eq!(judge(&domains, &[], NOW_S), Err(ChainFault::Empty));
}

/// The chain is for SASL to judge; the handshake succeeds whatever it is.
#[test]
fn a_bad_chain_never_fails_the_handshake() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let stranger = Ca::new("strangers").client(&[JULIET]);
    let mut params = client_params(&[JULIET]);
    params.not_after = tls_common::date!(NOW_S - DAY_S);
    let expired = ca.issue(&params);
    params.not_before = tls_common::date!(NOW_S + DAY_S);
    params.not_after = tls_common::date!(NOW_S + 2 * DAY_S);
    let future = ca.issue(&params);
    let self_signed = self_signed(&client_params(&[JULIET]));
    let rows = [
        ("of another CA", &stranger, ChainFault::UnknownIssuer),
        ("expired", &expired, ChainFault::Expired),
        ("not valid yet", &future, ChainFault::NotYetValid),
        ("self-signed", &self_signed, ChainFault::UnknownIssuer),
    ];
    for (name, issued, fault) in rows {
        for version in [&TLS12, &TLS13] {
            let client = ClientSettings::with_certificate(&world.ca, &[version], issued);
            let (_, info) = connect(&domains, &client, DOMAIN);
            assert_eq!(judge(&domains, &info.peer_chain.unwrap(), NOW_S), Err(fault.clone()), "{name}");
        }
    }
}

#[test]
fn resumption_after_expiry_is_judged_by_the_time_now() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let client = ClientSettings::with_certificate(&world.ca, &[&TLS13], &ca.client(&[JULIET]));
    let (_, first) = connect(&domains, &client, DOMAIN);
    assert!(judge(&domains, &first.peer_chain.unwrap(), NOW_S).is_ok());
    let (_, second) = connect(&domains, &client, DOMAIN);
    assert!(second.resumed);
    let restored = second.peer_chain.unwrap();
    assert!(judge(&domains, &restored, NOW_S + 29 * DAY_S).is_ok());
    assert_eq!(judge(&domains, &restored, NOW_S + 31 * DAY_S), Err(ChainFault::Expired));
}

#[test]
fn removing_the_ca_ends_its_tickets_and_its_trust() {
    let (mut world, ca) = world_with_clients();
    let domains = world.load();
    for version in [&TLS12, &TLS13] {
        let client = ClientSettings::with_certificate(&world.ca, &[version], &ca.client(&[JULIET]));
        connect(&domains, &client, DOMAIN);
        world.take_clients(DOMAIN, &[&Ca::new("new people")]);
        let reloaded = domains.reload(&world.domains, &options()).unwrap();
        let (_, info) = connect(&reloaded, &client, DOMAIN);
        assert!(!info.resumed, "a ticket of the old generation was taken");
        assert_eq!(judge(&reloaded, &info.peer_chain.unwrap(), NOW_S), Err(ChainFault::UnknownIssuer));
        world.take_clients(DOMAIN, &[&ca]);
    }
}

/// A ticket survives a reload exactly if nothing changed that it vouches for.
#[test]
fn generations_of_tickets() {
    type Change = fn(&mut World, &Ca);
    let nothing: Change = |_, _| {};
    let roots: Change = |world, ca| world.take_clients(DOMAIN, &[ca, &Ca::new("more people")]);
    let order: Change = |world, _| world.domains.reverse();
    let certificate: Change = |world, ca| {
        let renewed = world.ca.server(DOMAIN);
        world.add(DOMAIN, &renewed);
        world.take_clients(DOMAIN, &[ca]);
    };
    let set: Change = |world, _| world.domains.retain(|domain| domain.domain == DOMAIN);
    let other: Change = |world, ca| world.take_clients(OTHER, &[ca]);
    let rows = [
        ("nothing", nothing, true),
        ("the order in the configuration", order, true),
        ("another domain's roots", other, true),
        ("the client roots", roots, false),
        ("the certificate: its hash is a binding", certificate, false),
        ("the domain set", set, false),
    ];
    for (name, change, survives) in rows {
        let mut world = World::new(&[DOMAIN, OTHER]);
        let ca = Ca::new("people");
        world.take_clients(DOMAIN, &[&ca]);
        let domains = world.load();
        let client = world.client();
        connect(&domains, &client, DOMAIN);
        change(&mut world, &ca);
        let reloaded = domains.reload(&world.domains, &options()).unwrap();
        let (_, info) = connect(&reloaded, &client, DOMAIN);
        assert_eq!(info.resumed, survives, "{name}");
    }
}

#[test]
fn a_fresh_load_takes_no_old_ticket() {
    let world = World::new(&[DOMAIN]);
    let client = world.client();
    connect(&world.load(), &client, DOMAIN);
    let (_, info) = connect(&world.load(), &client, DOMAIN);
    assert!(!info.resumed);
}

/// The library compares SNI only, and without SNI two domains look alike to it.
#[test]
fn a_ticket_of_one_domain_is_nothing_at_another_without_sni() {
    // One certificate good for both, so that the client is willing to redeem its ticket at either.
    let mut world = World::new(&[]);
    let both = CertificateParams::new([DOMAIN.to_owned(), OTHER.to_owned()]).unwrap();
    let (for_domain, for_other) = (world.ca.issue(&both), world.ca.issue(&both));
    world.add(DOMAIN, &for_domain);
    world.add(OTHER, &for_other);
    let people = Ca::new("people");
    world.take_clients(DOMAIN, &[&people]);
    world.take_clients(OTHER, &[&people]);
    let domains = world.load();
    let juliet = people.client(&[JULIET]);
    for version in [&TLS12, &TLS13] {
        let client = ClientSettings::with_certificate(&world.ca, &[version], &juliet).without_sni();
        let (_, first) = connect_as(&domains, &client, DOMAIN, Some(DOMAIN), false);
        assert!(!first.resumed);
        let (_, same) = connect_as(&domains, &client, DOMAIN, Some(DOMAIN), false);
        assert!(same.resumed, "the ticket is good where it came from");
        let (_, across) = connect_as(&domains, &client, DOMAIN, Some(OTHER), false);
        assert!(!across.resumed, "a ticket crossed domains");
        assert_ne!(across.server_end_point, first.server_end_point);
    }
}

#[test]
fn tickets_hold_across_the_two_kinds_of_listener() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    let client = world.client().alpn(&["xmpp-client"]);
    let (_, first) = connect_as(&domains, &client, DOMAIN, Some(DOMAIN), false);
    let (_, second) = connect_as(&domains, &client, DOMAIN, None, true);
    assert_eq!((first.resumed, first.alpn), (false, false));
    assert_eq!((second.resumed, second.alpn), (true, true));
}

/// Presents a certificate and signs with another key.
#[derive(Debug)]
struct Impostor {
    shown: CertificateDer<'static>,
    own: Arc<CertifiedKey>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Impostor {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        Some(Arc::new(CertifiedKey::new(vec![self.shown.clone()], self.own.key.clone())))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(issued: &Issued) -> Arc<CertifiedKey> {
    let provider = tls_common::provided::default_provider();
    Arc::new(CertifiedKey::from_der(vec![issued.der.clone()], issued.key_der(), &provider).unwrap())
}

#[test]
fn a_certificate_without_its_key_fails_the_handshake() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let (juliet, mallory) = (ca.client(&[JULIET]), ca.client(&["mallory@chat.example"]));
    for version in [&TLS12, &TLS13] {
        let mut client = ClientSettings::versions(&world.ca, &[version]);
        let impostor =
            Impostor { shown: juliet.der.clone(), own: certified(&mallory), asked: Arc::new(AtomicBool::new(false)) };
        client.config.client_auth_cert_resolver = Arc::new(impostor);
        let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
        assert_eq!(pair.run(), Err(TlsError::Forged));
        assert_eq!(
            pair.client.process_new_packets().unwrap_err(),
            Error::AlertReceived(AlertDescription::DecryptError)
        );
        assert_eq!(pair.server.take_info().peer_chain, None);
    }
}

/// Who is asked for a certificate: an unneeded question opens dialogs at clients.
#[test]
fn certificates_are_requested_only_where_they_are_taken() {
    let mut world = World::new(&[DOMAIN, OTHER]);
    let ca = Ca::new("people");
    let none_take_them = world.load();
    world.take_clients(DOMAIN, &[&ca]);
    let one_takes_them = world.load();
    let juliet = ca.client(&[JULIET]);
    let rows = [
        ("nobody takes them", &none_take_them, DOMAIN, Some(DOMAIN), false, false),
        ("nobody takes them, direct", &none_take_them, DOMAIN, None, true, false),
        ("STARTTLS to one that does", &one_takes_them, DOMAIN, Some(DOMAIN), false, true),
        ("STARTTLS to one that does not", &one_takes_them, OTHER, Some(OTHER), false, false),
        ("STARTTLS to nobody in particular", &one_takes_them, DOMAIN, None, false, true),
        ("direct", &one_takes_them, DOMAIN, None, true, true),
        ("direct, to one that does not", &one_takes_them, OTHER, None, true, true),
    ];
    for version in [&TLS12, &TLS13] {
        for (name, domains, to, hint, direct, expected) in rows {
            let asked = Arc::new(AtomicBool::new(false));
            let mut client = ClientSettings::versions(&world.ca, &[version]);
            let resolver = Impostor { shown: juliet.der.clone(), own: certified(&juliet), asked: Arc::clone(&asked) };
            client.config.client_auth_cert_resolver = Arc::new(resolver);
            let (_, info) = connect_as(domains, &client, to, hint, direct);
            assert_eq!(asked.load(Ordering::Relaxed), expected, "{name}");
            assert_eq!(info.peer_chain.is_some(), expected, "{name}");
        }
    }
    assert!(one_takes_them.client_trust(DOMAIN).is_some());
    assert!(one_takes_them.client_trust(OTHER).is_none());
    assert!(one_takes_them.client_trust("nobody.example").is_none());
}

#[test]
fn chains_over_the_bounds_are_not_kept() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let juliet = ca.client(&[JULIET]);
    let deep = vec![juliet.der.clone(); CHAIN_DEPTH_MAX + 1];
    let allowed = vec![juliet.der.clone(); CHAIN_DEPTH_MAX];
    let mut params = client_params(&[]);
    params.subject_alt_names = vec![SanType::DnsName("a".repeat(CHAIN_BYTES_MAX).try_into().unwrap())];
    let long = ca.issue(&params);
    let rows = [
        ("as deep as allowed", allowed, &juliet, Ok(())),
        ("too deep", deep, &juliet, Err(TlsError::BadClientCertificate)),
        ("too long", vec![long.der.clone()], &long, Err(TlsError::BadClientCertificate)),
    ];
    for version in [&TLS12, &TLS13] {
        for (name, chain, key, expected) in rows.clone() {
            let client = ClientSettings::build(&world.ca, &[version], Some((chain, key.key_der())));
            let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
            assert_eq!(pair.run(), expected, "{name}");
        }
    }
    let bytes = vec![vec![0; CHAIN_BYTES_MAX + 1]];
    assert_eq!(judge(&domains, &bytes, NOW_S), Err(ChainFault::TooLong));
    let depth = vec![juliet.der.to_vec(); CHAIN_DEPTH_MAX + 1];
    assert_eq!(judge(&domains, &depth, NOW_S), Err(ChainFault::TooLong));
}

#[test]
fn purposes() {
    let (mut world, ca) = world_with_clients();
    let strict = world.load();
    world.domain(DOMAIN).client_server_auth = true;
    let lenient = world.load();
    let good = Ok(vec![JULIET.to_owned()]);
    let wrong = Err(ChainFault::WrongPurpose);
    let rows: [(&str, &[ExtendedKeyUsagePurpose], _, _); 4] = [
        ("clientAuth", &[ExtendedKeyUsagePurpose::ClientAuth], &good, &good),
        ("none given", &[], &good, &good),
        ("serverAuth", &[ExtendedKeyUsagePurpose::ServerAuth], &wrong, &good),
        ("another", &[ExtendedKeyUsagePurpose::CodeSigning], &wrong, &wrong),
    ];
    for (name, purposes, by_strict, by_lenient) in rows {
        let mut params = client_params(&[JULIET]);
        params.extended_key_usages = purposes.to_vec();
        let issued = ca.issue(&params);
        let chain = chain(&[&issued.der]);
        assert_eq!(&judge(&strict, &chain, NOW_S), by_strict, "{name}");
        assert_eq!(&judge(&lenient, &chain, NOW_S), by_lenient, "{name}");
    }
}

#[test]
fn addresses() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let rows: [(&str, &[&str]); 4] = [
        ("none", &[]),
        ("one", &[JULIET]),
        ("several, in their order", &["b@chat.example", "a@chat.example"]),
        ("of any script", &["жульетта@chat.example"]),
    ];
    for (name, addresses) in rows {
        let issued = ca.client(addresses);
        let expected: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        assert_eq!(judge(&domains, &chain(&[&issued.der]), NOW_S), Ok(expected), "{name}");
    }
    // Other names are not addresses: e-mail, DNS, and other kinds of otherName.
    let mut params = client_params(&[JULIET]);
    params.subject_alt_names.push(SanType::Rfc822Name("romeo@chat.example".try_into().unwrap()));
    params.subject_alt_names.push(SanType::DnsName("romeo.example".try_into().unwrap()));
    params.subject_alt_names.push(SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "romeo@chat".into())));
    let issued = ca.issue(&params);
    assert_eq!(judge(&domains, &chain(&[&issued.der]), NOW_S), Ok(vec![JULIET.to_owned()]));
}

#[test]
fn paths_through_intermediates() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let middle = ca.intermediate("people of the middle");
    let juliet = middle.client(&[JULIET]);
    let good = Ok(vec![JULIET.to_owned()]);
    let stranger = Ca::new("stranger");
    assert_eq!(judge(&domains, &chain(&[&juliet.der, &middle.der]), NOW_S), good);
    assert_eq!(judge(&domains, &chain(&[&juliet.der, &stranger.der, &middle.der]), NOW_S), good);
    assert_eq!(judge(&domains, &chain(&[&juliet.der]), NOW_S), Err(ChainFault::UnknownIssuer));
    assert_eq!(judge(&domains, &chain(&[&juliet.der, &stranger.der]), NOW_S), Err(ChainFault::UnknownIssuer));
}

#[test]
fn revocation() {
    let (mut world, ca) = world_with_clients();
    let mut params = client_params(&[JULIET]);
    params.serial_number = Some(SerialNumber::from(4711));
    let bad = ca.issue(&params);
    params.serial_number = Some(SerialNumber::from(4712));
    let good = ca.issue(&params);
    let middle = ca.intermediate("people of the middle");
    let below = middle.client(&[JULIET]);
    let without_lists = world.load();
    assert!(judge(&without_lists, &chain(&[&bad.der]), NOW_S).is_ok());

    let list = world.folder.write("people.crl", &ca.crl(&[4711], NOW_S + DAY_S));
    world.domain(DOMAIN).crls = vec![list.clone()];
    let domains = world.load();
    assert_eq!(judge(&domains, &chain(&[&bad.der]), NOW_S), Err(ChainFault::Revoked));
    assert!(judge(&domains, &chain(&[&good.der]), NOW_S).is_ok());
    // Past its nextUpdate, and for an issuer without one: unknown is no.
    let fault = Err(ChainFault::RevocationUnknown);
    assert_eq!(judge(&domains, &chain(&[&good.der]), NOW_S + 2 * DAY_S), fault);
    assert_eq!(judge(&domains, &chain(&[&below.der, &middle.der]), NOW_S), fault);

    let both = world.folder.write("middle.crl", &middle.crl(&[], NOW_S + DAY_S));
    world.domain(DOMAIN).crls = vec![list, both];
    assert!(judge(&world.load(), &chain(&[&below.der, &middle.der]), NOW_S).is_ok());
}

#[test]
fn what_is_not_a_certificate_is_malformed() {
    let (world, ca) = world_with_clients();
    let domains = world.load();
    let juliet = ca.client(&[JULIET]).der;
    assert_eq!(judge(&domains, &[Vec::new()], NOW_S), Err(ChainFault::Malformed));
    assert_eq!(judge(&domains, &[b"<iq/>".to_vec()], NOW_S), Err(ChainFault::Malformed));
    // Every truncation and every flipped byte is refused, one way or another, and nothing panics.
    for at in 0..juliet.len() {
        assert!(judge(&domains, &[juliet[..at].to_vec()], NOW_S).is_err(), "cut at {at}");
        let mut flipped = juliet.to_vec();
        flipped[at] ^= 0x41;
        assert!(judge(&domains, &[flipped], NOW_S).is_err(), "flipped at {at}");
    }
}

fn self_signed(params: &CertificateParams) -> Issued {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Issued { pem: certificate.pem(), der: certificate.der().clone(), key_pem: key.serialize_pem(), key }
}
