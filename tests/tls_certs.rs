//! Certificate files: what is accepted, what is refused and in which words, and what we make ourselves.

mod tls_common;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::{Path, PathBuf};
use stonechat::transport::certs::{self, CertWarning, Inspection};
use stonechat::transport::{CertError, DomainTls, TlsDomains};
use tls_common::{Ca, ClientSettings, DAY_S, Folder, Issued, NOW_S, World, connect, date, options, protect};

const DOMAIN: &str = "chat.example";

fn inspect(folder: &Folder, domain: &str, certificate_pem: &str, key_pem: &str) -> Result<Inspection, CertError> {
    let certificate = folder.write("server.crt", certificate_pem);
    let key = folder.write("server.key", key_pem);
    protect(&key);
    certs::inspect(domain, &certificate, &key, NOW_S)
}

fn inspect_issued(domain: &str, issued: &Issued) -> Result<Inspection, CertError> {
    inspect(&Folder::new(), domain, &issued.pem, &issued.key_pem)
}

#[test]
fn a_good_pair_is_described() {
    let ca = Ca::new("root");
    let issued = ca.server(DOMAIN);
    let found = inspect_issued(DOMAIN, &issued).unwrap();
    assert_eq!(found.names, [DOMAIN]);
    assert!(!found.is_self_signed && found.warnings.is_empty());
    assert_eq!(found.fingerprint.len(), 32 * 3 - 1);
    assert!(found.not_after_unix_s > NOW_S);
}

/// RFC 6120 §13.7.1.2, RFC 9525.
#[test]
fn names() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let xmpp = |name: &str| SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], name.into()));
    let rows = [
        ("its own", DOMAIN, vec![dns(DOMAIN)], true),
        ("among others", DOMAIN, vec![dns("example"), dns(DOMAIN)], true),
        ("in other case", DOMAIN, vec![dns("CHAT.Example")], true),
        ("wildcard", "room.chat.example", vec![dns("*.chat.example")], true),
        ("wildcard, two levels up", "a.room.chat.example", vec![dns("*.chat.example")], false),
        ("wildcard, not below it", DOMAIN, vec![dns("*.chat.example")], false),
        ("xmppAddr alone", DOMAIN, vec![xmpp(DOMAIN)], true),
        ("xmppAddr of somebody", DOMAIN, vec![xmpp("juliet@chat.example")], false),
        ("another", DOMAIN, vec![dns("www.example")], false),
        ("a parent", DOMAIN, vec![dns("example")], false),
        ("none", DOMAIN, vec![], false),
        ("international", "bücher.example", vec![dns("xn--bcher-kva.example")], true),
        ("localhost", "localhost", vec![dns("localhost")], true),
        ("an address", "192.0.2.7", vec![SanType::IpAddress("192.0.2.7".parse().unwrap())], true),
        ("an address in brackets", "[2001:db8::7]", vec![SanType::IpAddress("2001:db8::7".parse().unwrap())], true),
        ("another address", "192.0.2.7", vec![SanType::IpAddress("192.0.2.8".parse().unwrap())], false),
    ];
    let ca = Ca::new("root");
    for (name, domain, names, covered) in rows {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // A common name does not count.
        params.distinguished_name.push(rcgen::DnType::CommonName, DOMAIN);
        params.subject_alt_names = names;
        let result = inspect_issued(domain, &ca.issue(&params));
        match result {
            Ok(_) => assert!(covered, "{name}"),
            Err(CertError::WrongName { .. }) => assert!(!covered, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn kinds_of_keys() {
    let ca = Ca::new("root");
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new([DOMAIN.to_owned()]).unwrap();
        let pem = params.signed_by(&key, &ca.issuer).unwrap().pem();
        assert!(inspect(&Folder::new(), DOMAIN, &pem, &key.serialize_pem()).is_ok(), "{algorithm:?}");
    }
}

/// Each refusal names the file and says what to do.
#[test]
fn refusals() {
    let folder = Folder::new();
    let ca = Ca::new("root");
    let good = ca.server(DOMAIN);
    let other = ca.server(DOMAIN);
    let (certificate, key) = (good.pem.as_str(), good.key_pem.as_str());
    let broken = certificate.replace("MII", "M*I");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted = key.replace("KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\nM");
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let many = certificate.repeat(17);
    let rows: [(&str, &str, &str, &str, &str); 11] = [
        ("empty certificate", "", key, "server.crt", "BEGIN CERTIFICATE"),
        ("key in the certificate's place", key, key, "server.crt", "no certificate"),
        ("certificate in the key's place", certificate, certificate, "server.key", "no private key"),
        ("broken PEM", &broken, key, "server.crt", "broken PEM"),
        ("not X.509", not_x509, key, "server.crt", "X.509"),
        ("too many", &many, key, "server.crt", "17 certificates"),
        ("encrypted key", certificate, encrypted, "server.key", "openssl pkey"),
        ("encrypted key of old", certificate, &old_encrypted, "server.key", "openssl pkey"),
        ("not a key", certificate, not_key, "server.key", "cannot be used"),
        ("key of another", certificate, &other.key_pem, "server.key", "does not belong"),
        ("chain upside down", &format!("{}{certificate}", ca.pem), key, "server.crt", "not for chat.example"),
    ];
    for (name, certificate, key, file, words) in rows {
        let text = inspect(&folder, DOMAIN, certificate, key).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(folder.path(file).to_str().unwrap()), "{name}: {text}");
        assert!(text.contains(words) && text.contains("; "), "{name}: {text}");
    }
    let missing = folder.path("missing.crt");
    let error = certs::inspect(DOMAIN, &missing, &missing, NOW_S).unwrap_err();
    assert!(matches!(&error, CertError::Read { path, .. } if *path == missing), "{error}");
}

#[test]
fn domains_that_are_none_are_refused() {
    let mut world = World::new(&[DOMAIN]);
    let twice = [world.domains.clone(), world.domains.clone()].concat();
    assert!(matches!(TlsDomains::load(&twice, &options()), Err(CertError::Domain { .. })));
    let mut elsewhere = options();
    elsewhere.default_domain = Some("elsewhere.example".to_owned());
    assert!(matches!(TlsDomains::load(&world.domains, &elsewhere), Err(CertError::Domain { .. })));
    for name in ["", "a b.example", "juliet@chat.example", "[example]"] {
        world.domains[0].domain = name.to_owned();
        let refused = TlsDomains::load(&world.domains, &options());
        assert!(matches!(refused, Err(CertError::Domain { .. })), "{name}: {refused:?}");
    }
    // No domain with a certificate: nothing to serve, but no fault.
    let empty = TlsDomains::load(&[], &options()).unwrap();
    assert!(!empty.has(DOMAIN) && empty.client_trust(DOMAIN).is_none());
}

/// DER spliced by hand: no RSA key can be made here, and none is needed to be refused.
#[test]
fn short_rsa_keys_are_refused() {
    for (bits, weak) in [(1024, true), (2040, true), (2048, false), (4096, false)] {
        let pem = with_rsa_key(&Ca::new("root").server(&("a".repeat(60) + "." + DOMAIN)), bits);
        let refused = inspect(&Folder::new(), &("a".repeat(60) + "." + DOMAIN), &pem, "no key").unwrap_err();
        match refused {
            CertError::WeakKey { bits: found, .. } => assert!(weak && found == bits, "{bits}: found {found}"),
            CertError::NoKey { .. } => assert!(!weak, "{bits}"),
            other => panic!("{bits}: {other}"),
        }
    }
}

fn with_rsa_key(issued: &Issued, bits: usize) -> String {
    let der = issued.der.to_vec();
    // SubjectPublicKeyInfo of P-256 is 91 bytes and begins like this.
    let start = [0x30, 0x59, 0x30, 0x13, 0x06, 0x07];
    let at = der.windows(start.len()).position(|window| window == start).unwrap();
    let modulus = [vec![0], vec![0x80], vec![1; bits / 8 - 1]].concat();
    let numbers = [tlv(2, &modulus), tlv(2, &[1, 0, 1])].concat();
    let key = [vec![0], tlv(0x30, &numbers)].concat();
    let algorithm = tlv(0x30, &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0]);
    let spki = tlv(0x30, &[algorithm, tlv(3, &key)].concat());
    let tbs_end = 8 + usize::from(u16::from_be_bytes([der[6], der[7]]));
    assert_eq!((der[1], der[5]), (0x82, 0x82), "two-byte lengths");
    let tbs = tlv(0x30, &[&der[8..at], &spki, &der[at + 91..tbs_end]].concat());
    pem(&tlv(0x30, &[tbs, der[tbs_end..].to_vec()].concat()))
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let head = match value.len() {
        0..=127 => vec![tag, length[1]],
        128..=255 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [head, value.to_vec()].concat()
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn warnings() {
    let ca = Ca::new("root");
    let dated = |from_s: u64, until_s: u64| {
        let mut params = CertificateParams::new([DOMAIN.to_owned()]).unwrap();
        params.not_before = date!(from_s);
        params.not_after = date!(until_s);
        inspect_issued(DOMAIN, &ca.issue(&params)).unwrap().warnings
    };
    assert_eq!(dated(NOW_S - DAY_S, NOW_S + 30 * DAY_S), []);
    assert!(matches!(dated(NOW_S - DAY_S, NOW_S - 1)[..], [CertWarning::Expired { .. }]));
    assert!(matches!(dated(NOW_S - DAY_S, NOW_S + 13 * DAY_S)[..], [CertWarning::ExpiresSoon { .. }]));
    assert!(matches!(dated(NOW_S + 1, NOW_S + DAY_S)[..], [CertWarning::NotYetValid { .. }]));
    // Warnings reach the caller of a load, and an expired certificate is served all the same: clients decide.
    let mut world = World::new(&[DOMAIN]);
    let mut params = CertificateParams::new([DOMAIN.to_owned()]).unwrap();
    params.not_after = date!(NOW_S - DAY_S);
    let expired = ca.issue(&params);
    world.add(DOMAIN, &expired);
    let text = world.load().warnings()[0].to_string();
    assert!(text.contains("chat.example.crt: expired on 2027-01-14"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_key_for_a_group_is_a_warning_and_one_for_all_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(&[DOMAIN]);
    let key = &world.domains[0].key;
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o660, true)] {
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
        let domains = world.load();
        let expected = CertWarning::KeyMode { path: key.clone(), mode };
        assert_eq!(domains.warnings().contains(&expected), warned, "{mode:o}");
    }
    for mode in [0o644, 0o604, 0o602, 0o601] {
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = TlsDomains::load(&world.domains, &options()).unwrap_err();
        assert_eq!(refused, CertError::KeyForAll { path: key.clone(), mode });
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
}

#[test]
fn roots_and_lists_that_cannot_be_used_are_named() {
    let mut world = World::new(&[DOMAIN]);
    let ca = Ca::new("people");
    world.take_clients(DOMAIN, &[&ca]);
    let empty = world.folder.write("empty.pem", "");
    let bad_root = world.folder.write("bad.pem", &format!("{}{}", ca.pem, pem(b"not a certificate")));
    let bad_list = world.folder.write("bad.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    let refused = |world: &World| TlsDomains::load(&world.domains, &options()).unwrap_err();
    world.domain(DOMAIN).crls = vec![bad_list.clone()];
    assert!(matches!(refused(&world), CertError::BadCrl { path, .. } if path == bad_list));
    world.domain(DOMAIN).crls = vec![empty.clone()];
    assert!(matches!(refused(&world), CertError::NoCrl { path } if path == empty));
    world.domain(DOMAIN).crls = Vec::new();
    world.domain(DOMAIN).client_roots = Some(bad_root.clone());
    assert!(matches!(refused(&world), CertError::BadRoot { path, number: 2, .. } if path == bad_root));
    world.domain(DOMAIN).client_roots = Some(empty.clone());
    assert!(matches!(refused(&world), CertError::NoCertificate { path } if path == empty));
}

#[test]
fn a_failed_reload_leaves_the_old_set_working() {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    std::fs::write(&world.domains[0].certificate, "half a fi").unwrap();
    assert!(domains.reload(&world.domains, &options()).is_err());
    connect(&domains, &world.client(), DOMAIN);
}

fn own_pair(domain: &str, folder: &Folder) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.path("own.crt"), folder.path("own.key"));
    certs::make_self_signed(domain, &certificate, &key).unwrap();
    (certificate, key)
}

#[test]
fn a_self_signed_pair_serves_at_once() {
    let domains = [
        ("localhost", "localhost", true),
        ("bücher.example", "xn--bcher-kva.example", true),
        ("[2001:db8::7]", "2001:db8::7", false),
    ];
    for (domain, ascii, is_dns) in domains {
        let folder = Folder::new();
        let (certificate, key) = own_pair(domain, &folder);
        let now_s = stonechat::clock::Clock::new().now().unix_s();
        let found = certs::inspect(domain, &certificate, &key, now_s).unwrap();
        assert!(found.is_self_signed && found.warnings.is_empty(), "{:?}", found.warnings);
        assert_eq!(found.names, if is_dns { vec![ascii, domain] } else { vec![domain] });
        assert!(found.not_after_unix_s > now_s + 3650 * DAY_S);
        assert_eq!(found.fingerprint, certs::fingerprint(&certificate).unwrap());
        assert!(found.fingerprint.bytes().enumerate().all(|(at, byte)| (at % 3 == 2) == (byte == b':')));
        let tls = DomainTls {
            domain: domain.to_owned(),
            certificate: certificate.clone(),
            key,
            client_roots: None,
            crls: Vec::new(),
            client_server_auth: false,
        };
        let domains = TlsDomains::load(&[tls], &options()).unwrap();
        assert_eq!(domains.fingerprint(domain), Some(found.fingerprint));
        // A client that pins it trusts it for its name.
        let der = CertificateDer::from_pem_file(&certificate).unwrap();
        assert!(ServerName::try_from(ascii).is_ok());
        let mut pinned = Ca::new("stands in");
        pinned.der = der;
        connect(&domains, &ClientSettings::new(&pinned), ascii);
    }
}

#[test]
fn made_files_are_whole_and_private_and_a_key_is_never_replaced() {
    let folder = Folder::new();
    let (certificate, key) = own_pair(DOMAIN, &folder);
    let first = certs::fingerprint(&certificate).unwrap();
    assert_eq!(mode(&key), 0o600);
    assert_eq!(mode(&certificate), 0o644);
    // A key that is there is used again: it may be somebody's only copy.
    let text = std::fs::read(&key).unwrap();
    own_pair(DOMAIN, &folder);
    assert_eq!(std::fs::read(&key).unwrap(), text);
    // What a crash left behind does not stand in the way, nor lend its mode to the key.
    std::fs::remove_file(&key).unwrap();
    std::fs::write(folder.path("own.key.new"), "left behind").unwrap();
    own_pair(DOMAIN, &folder);
    assert_eq!(mode(&key), 0o600);
    assert_ne!(certs::fingerprint(&certificate).unwrap(), first);
    let left: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn making_a_pair_fails_with_a_reason() {
    let folder = Folder::new();
    let (certificate, key) = (folder.path("no/such/folder.crt"), folder.path("own.key"));
    let error = certs::make_self_signed(DOMAIN, &certificate, &key).unwrap_err();
    assert!(matches!(&error, CertError::Write { path, .. } if *path == certificate), "{error}");
    let error = certs::make_self_signed("a b", &folder.path("c"), &key).unwrap_err();
    assert!(matches!(error, CertError::Domain { .. }));
    assert!(matches!(certs::fingerprint(&folder.path("none")), Err(CertError::Read { .. })));
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(not(unix))]
fn mode(path: &Path) -> u32 {
    if path.extension().is_some_and(|extension| extension == "key") { 0o600 } else { 0o644 }
}
