//! Peers that mean harm, or speak something else: an alert where one is due, an error, no panic, bounded memory.

mod tls_common;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ContentType, Error, SupportedProtocolVersion};
use std::io::Write as _;
use stonechat::transport::tls::{HANDSHAKE_SAVED_BYTES_MAX, IDLE_RECORDS_MAX, RECORD_BYTES_MAX};
use stonechat::transport::{Tls, TlsDomains, TlsError, TlsEvent, TlsVersion};
use tls_common::{ClientSettings, Cut, Pair, RawClient, World, next};

const DOMAIN: &str = "chat.example";
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;

fn world() -> (World, TlsDomains) {
    let world = World::new(&[DOMAIN]);
    let domains = world.load();
    (world, domains)
}

fn client_hello(world: &World, version: &'static SupportedProtocolVersion) -> Vec<u8> {
    let mut client = ClientSettings::versions(&world.ca, &[version]).connect(DOMAIN);
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    wire
}

/// Feeds a fresh connection; returns its error and what it sent.
fn feed(domains: &TlsDomains, bytes: &[u8], cut: Cut) -> (Result<TlsEvent, TlsError>, Vec<u8>) {
    let mut server = domains.session(None, false).unwrap();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    let mut rest = bytes.to_vec();
    let mut result = Ok(TlsEvent::Nothing);
    let size = if matches!(cut, Cut::Whole) { rest.len().max(1) } else { 1 };
    for piece in rest.chunks_mut(size) {
        result = server.feed(piece, &mut plain, &mut out);
        if result.is_err() {
            assert_eq!(server.feed(&mut [22, 3, 1], &mut plain, &mut out), Err(TlsError::Closed));
            assert_eq!(server.seal(b"x", &mut out), Err(TlsError::Closed));
            break;
        }
    }
    assert!(plain.is_empty());
    (result, out)
}

/// The alert at the end of what was sent in the clear.
fn last_alert(out: &[u8]) -> Option<u8> {
    match out.rchunks(7).next() {
        Some([ALERT, 3, _, 0, 2, 2, description]) => Some(*description),
        _ => None,
    }
}
/// RFC 8446 §6: what is no ClientHello gets an alert and no XML.
#[test]
fn garbage_instead_of_a_client_hello() {
    let (_, domains) = world();
    let rows: [(&str, &[u8], u8); 10] = [
        ("a stream header", b"<?xml version='1.0'?><stream:stream>", DECODE_ERROR),
        ("half a stanza", b"<message", DECODE_ERROR),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", DECODE_ERROR),
        ("zeros", &[0; 64], DECODE_ERROR),
        ("ones", &[255; 64], DECODE_ERROR),
        ("an SSL 2 hello", &[0x80, 0x2e, 1, 3, 1, 0, 21, 0, 0, 0, 16], DECODE_ERROR),
        ("application data", &[23, 3, 3, 0, 3, 1, 2, 3], UNEXPECTED_MESSAGE),
        ("change cipher spec", &[20, 3, 3, 0, 1, 1], UNEXPECTED_MESSAGE),
        ("an empty handshake record", &[HANDSHAKE, 3, 1, 0, 0], DECODE_ERROR),
        ("a Finished", &[HANDSHAKE, 3, 3, 0, 8, 20, 0, 0, 4, 1, 2, 3, 4], UNEXPECTED_MESSAGE),
    ];
    for (name, bytes, alert) in rows {
        for cut in [Cut::Whole, Cut::EveryByte] {
            let (result, out) = feed(&domains, bytes, cut);
            assert!(result.is_err(), "{name}, {cut:?}");
            assert_eq!(last_alert(&out), Some(alert), "{name}, {cut:?}: {result:?}");
        }
    }
}
/// Downgrade: POODLE (CVE-2014-3566), triple handshakes (CVE-2014-1295; RFC 7627), RFC 8996.
#[test]
fn old_versions_and_missing_extensions() {
    let (world, domains) = world();
    let hello = client_hello(&world, &TLS12);
    // client_version lies behind the record header and the handshake header.
    let mut tls_11 = hello.clone();
    tls_11[9..11].copy_from_slice(&[3, 2]);
    let tls_11 = without_extension(&tls_11, 43);
    let (result, out) = feed(&domains, &tls_11, Cut::Whole);
    assert!(matches!(result, Err(TlsError::Incompatible(_))), "{result:?}");
    assert_eq!(last_alert(&out), Some(PROTOCOL_VERSION));
    let (result, out) = feed(&domains, &without_extension(&hello, 23), Cut::Whole);
    assert_eq!(result, Err(TlsError::Incompatible("ExtendedMasterSecretExtensionRequired".to_owned())));
    assert_eq!(last_alert(&out), Some(HANDSHAKE_FAILURE));
}

/// Renames an extension of a ClientHello to one that nobody knows.
fn without_extension(hello: &[u8], kind: u16) -> Vec<u8> {
    let mut hello = hello.to_vec();
    let mut at = 9 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at += 1 + usize::from(hello[at]) + 2;
    while at + 4 <= hello.len() {
        if u16::from_be_bytes([hello[at], hello[at + 1]]) == kind {
            hello[at..at + 2].copy_from_slice(&[0xfe, 0xed]);
        }
        at += 4 + usize::from(u16::from_be_bytes([hello[at + 2], hello[at + 3]]));
    }
    hello
}

/// Handshakes by a fuzzer, for the class of Heartbleed (CVE-2014-0160). Flips, cuts, repeats and splices in what a
/// client sends, at every step of the handshake.
#[test]
fn mutated_handshakes_never_panic() {
    let (world, domains) = world();
    let mut failures = 0;
    for round in 0..1200u64 {
        let mut state = round;
        let version = if round % 2 == 0 { &TLS13 } else { &TLS12 };
        let client = ClientSettings::versions(&world.ca, &[version]);
        let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, round % 3 == 0).unwrap());
        pair.cut = if round % 5 == 0 { Cut::Seeded(round) } else { Cut::Whole };
        let target = next(&mut state) % 4;
        for step in 0..6 {
            let mut wire = Vec::new();
            while pair.client.wants_write() {
                pair.client.write_tls(&mut wire).unwrap();
            }
            if wire.is_empty() {
                break;
            }
            if step == target {
                mutate(&mut wire, &mut state);
            }
            let mut out = Vec::new();
            let fed = pair.feed(&mut wire, &mut out);
            assert!(pair.server.heap_bytes() < 3 * HANDSHAKE_SAVED_BYTES_MAX);
            if fed.is_err() {
                failures += 1;
                assert_eq!(pair.server.feed(&mut [0], &mut Vec::new(), &mut out), Err(TlsError::Closed));
                break;
            }
            if pair.deliver(&out).is_err() {
                break;
            }
            if !pair.server.is_handshaking() && !pair.client.is_handshaking() {
                pair.client.writer().write_all(b"<presence/>").unwrap();
            }
        }
    }
    assert!(failures > 600, "the mutations must bite: {failures}");
}

fn mutate(wire: &mut Vec<u8>, state: &mut u64) {
    let at = (next(state) as usize) % wire.len();
    match next(state) % 6 {
        0 => wire[at] ^= 1 << (next(state) % 8),
        1 => wire[at] = next(state) as u8,
        2 => wire.truncate(at),
        3 => wire.extend_from_within(at..),
        4 => wire.insert(at, next(state) as u8),
        _ => {
            wire.remove(at);
        }
    }
}

/// The same for the hello: every single byte of the hello replaced: each ends in an answer, an alert, or waiting.
#[test]
fn every_byte_of_the_hello_may_be_wrong() {
    let (world, domains) = world();
    for version in [&TLS12, &TLS13] {
        let hello = client_hello(&world, version);
        for at in 0..hello.len() {
            let mut bent = hello.clone();
            bent[at] ^= 0x55;
            let (result, out) = feed(&domains, &bent, Cut::Whole);
            if let Err(error) = result {
                assert!(!out.is_empty(), "no alert for {error:?} at {at}");
                assert!(!matches!(error, TlsError::Internal(_)), "{error:?} at {at}");
            }
        }
    }
}
/// RFC 8446 §5.1: a hello may come in many records.
#[test]
fn a_hello_in_many_records_is_read_and_bounded() {
    let (world, domains) = world();
    let hello = client_hello(&world, &TLS13);
    let split: Vec<u8> = hello[5..].iter().flat_map(|byte| [HANDSHAKE, 3, 1, 0, 1, *byte]).collect();
    for cut in [Cut::Whole, Cut::EveryByte] {
        let (result, out) = feed(&domains, &split, cut);
        assert_eq!(result, Ok(TlsEvent::Nothing));
        assert_eq!(out.first(), Some(&HANDSHAKE), "the server hello");
    }
}
/// Memory before a login: a hello that promises 16 MiB (RFC 8446 §4 gives it three bytes of length).
#[test]
fn an_endless_hello_ends_at_the_bound() {
    let (_, domains) = world();
    // A ClientHello of 65535 bytes, so legal for the library, in records that never end.
    let mut server = domains.session(None, false).unwrap();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    let mut first = vec![HANDSHAKE, 3, 1, 0, 4, 1, 0, 255, 255];
    server.feed(&mut first, &mut plain, &mut out).unwrap();
    let mut fed = first.len();
    let error = loop {
        let mut record = vec![HANDSHAKE, 3, 1, 0, 1, 0];
        fed += record.len();
        assert!(server.heap_bytes() < 4 * HANDSHAKE_SAVED_BYTES_MAX);
        if let Err(error) = server.feed(&mut record, &mut plain, &mut out) {
            break error;
        }
    };
    assert_eq!(error, TlsError::TooLong);
    assert!(fed <= HANDSHAKE_SAVED_BYTES_MAX + 6);
    assert_eq!(last_alert(&out), Some(RECORD_OVERFLOW));
    assert_eq!(server.heap_bytes() / 1024, 2, "what was saved is given back: {}", server.heap_bytes());
    // One that announces more than the library takes is refused at once.
    let (result, out) = feed(&domains, &[HANDSHAKE, 3, 1, 0, 4, 1, 1, 0, 0], Cut::Whole);
    assert_eq!(result, Err(TlsError::TooLong));
    assert!(last_alert(&out).is_some());
}
/// RFC 8446 §5.1, §5.2: records above the bound, `record_overflow`.
#[test]
fn oversize_records() {
    let (world, domains) = world();
    let (result, out) = feed(&domains, &[HANDSHAKE, 3, 1, 0x48, 1], Cut::EveryByte);
    assert_eq!(result, Err(TlsError::TooLong));
    assert_eq!(last_alert(&out), Some(DECODE_ERROR));
    for version in [&TLS12, &TLS13] {
        let (mut pair, _) = established(&world, &domains, version);
        let mut header = [23, 3, 3, 0x48, 1];
        let mut out = Vec::new();
        assert_eq!(pair.server.feed(&mut header, &mut Vec::new(), &mut out), Err(TlsError::TooLong));
        let error = pair.deliver(&out).unwrap_err();
        assert_eq!(error, Error::AlertReceived(AlertDescription::DecodeError));
    }
}

/// A pair past its handshake whose client lets its keys be taken.
fn established(world: &World, domains: &TlsDomains, version: &'static SupportedProtocolVersion) -> (Pair, TlsVersion) {
    let client = ClientSettings::open(&world.ca, version);
    let mut pair = Pair::new(client.connect(DOMAIN), domains.session(None, false).unwrap());
    let info = pair.handshake();
    (pair, info.version)
}

/// The server of an established pair, and a client that encrypts what it is told to.
fn raw(world: &World, domains: &TlsDomains, version: &'static SupportedProtocolVersion) -> (Tls, RawClient) {
    let (pair, _) = established(world, domains, version);
    (pair.server, RawClient::new(pair.client))
}
/// RFC 8446 §5.2: a record that somebody in the middle has changed, `bad_record_mac`.
#[test]
fn a_forged_record_ends_the_connection() {
    let (world, domains) = world();
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = raw(&world, &domains, version);
        let mut genuine = client.record(ContentType::ApplicationData, b"genuine");
        let mut forged = client.record(ContentType::ApplicationData, b"forged");
        *forged.last_mut().unwrap() ^= 1;
        genuine.extend_from_slice(&forged);
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        assert_eq!(server.feed(&mut genuine, &mut plain, &mut out), Err(TlsError::Forged));
        assert_eq!(plain, b"genuine");
        assert!(!out.is_empty(), "bad_record_mac, encrypted");
        let mut again = client.record(ContentType::ApplicationData, b"again");
        assert_eq!(server.feed(&mut again, &mut plain, &mut out), Err(TlsError::Closed));
    }
    // The alert is readable by the client.
    let (mut pair, _) = established(&world, &domains, &TLS13);
    pair.client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    *wire.last_mut().unwrap() ^= 1;
    let mut out = Vec::new();
    assert_eq!(pair.feed(&mut wire, &mut out), Err(TlsError::Forged));
    let error = pair.deliver(&out).unwrap_err();
    assert_eq!(error, Error::AlertReceived(AlertDescription::from(BAD_RECORD_MAC)));
}
/// RFC 8446 §4.6.3: key updates are answered before the next data.
#[test]
fn key_updates_are_answered_before_the_next_data() {
    let (world, domains) = world();
    let (mut pair, _) = established(&world, &domains, &TLS13);
    for round in 0..20 {
        pair.client.refresh_traffic_keys().unwrap();
        assert_eq!(pair.up(b"under new keys"), b"under new keys", "{round}");
        assert_eq!(pair.down(b"so do we").0, b"so do we", "{round}");
    }
}
/// RFC 8446 §4.6.3, asked for without end: each costs the server a key and an answer.
#[test]
fn floods_of_key_updates_end() {
    let (world, domains) = world();
    // Bare: the library's own bound.
    let (mut pair, _) = established(&world, &domains, &TLS13);
    let refused = (0..100).find_map(|_| {
        pair.client.refresh_traffic_keys().unwrap();
        pair.run().err()
    });
    assert_eq!(refused, Some(TlsError::TooManyMessages));
    // With a byte of data between: ours. Data in earnest pays for as many as one likes.
    for (size, expected) in [(1, Some(TlsError::TooManyMessages)), (1024, None)] {
        let (mut pair, _) = established(&world, &domains, &TLS13);
        let refused = (0..2 * IDLE_RECORDS_MAX).find_map(|_| {
            pair.client.refresh_traffic_keys().unwrap();
            pair.client.writer().write_all(&vec![32; size]).unwrap();
            pair.run().err()
        });
        assert_eq!(refused, expected, "{size} bytes between");
    }
}
/// CVE-2016-8610 (OpenSSL, "death alert"), and empty records (RFC 8446 §5.4) in the same way.
#[test]
fn floods_of_empty_records_and_warnings_end() {
    let (world, domains) = world();
    const USER_CANCELED: [u8; 2] = [1, 90];
    for version in [&TLS12, &TLS13] {
        let rows: [(&str, ContentType, &[u8]); 2] =
            [("empty data", ContentType::ApplicationData, b""), ("warnings", ContentType::Alert, &USER_CANCELED)];
        for (name, kind, payload) in rows {
            let (mut server, mut client) = raw(&world, &domains, version);
            let refused = (0..IDLE_RECORDS_MAX + 1).find_map(|_| {
                let mut record = client.record(kind, payload);
                server.feed(&mut record, &mut Vec::new(), &mut Vec::new()).err()
            });
            assert!(refused.is_some(), "{name}");
        }
        // With data between, so that the library's count of consecutive ones starts anew.
        let (mut server, mut client) = raw(&world, &domains, version);
        let refused = (0..IDLE_RECORDS_MAX + 1).find_map(|_| {
            let mut records = client.record(ContentType::ApplicationData, b"");
            records.extend(client.record(ContentType::ApplicationData, b" "));
            server.feed(&mut records, &mut Vec::new(), &mut Vec::new()).err()
        });
        assert_eq!(refused, Some(TlsError::TooManyMessages));
    }
}

/// RFC 8446 §5.1: a key update in one-byte records, with everything else going on between them.
#[test]
fn a_fragmented_key_update_is_held_while_we_write() {
    let (world, domains) = world();
    const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];
    for cut in [Cut::Whole, Cut::EveryByte] {
        let (mut server, mut client) = raw(&world, &domains, &TLS13);
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        for byte in KEY_UPDATE {
            let mut record = client.record(ContentType::Handshake, &[byte]);
            let size = if matches!(cut, Cut::Whole) { record.len() } else { 1 };
            for piece in record.chunks_mut(size) {
                server.feed(piece, &mut plain, &mut out).unwrap();
                server.seal(b"between the fragments", &mut out).unwrap();
            }
        }
        // The client's keys are new now; what is sealed with the old ones is forged.
        let mut stale = client.record(ContentType::ApplicationData, b"old keys");
        assert_eq!(server.feed(&mut stale, &mut plain, &mut out), Err(TlsError::Forged));
    }
}
/// RFC 8446 §5.1: data amid a message of the handshake.
#[test]
fn data_amid_a_fragmented_message_is_refused() {
    let (world, domains) = world();
    let (mut server, mut client) = raw(&world, &domains, &TLS13);
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    server.feed(&mut client.record(ContentType::Handshake, &[24, 0]), &mut plain, &mut out).unwrap();
    let mut data = client.record(ContentType::ApplicationData, b"amid");
    let refused = server.feed(&mut data, &mut plain, &mut out);
    assert!(matches!(refused, Err(TlsError::Misbehaved(_))), "{refused:?}");
    assert!(plain.is_empty());
    server.close_notify(&mut out);
    assert_eq!(server.seal(b"x", &mut out), Err(TlsError::Closed));
}

/// Memory after a login (RFC 8446 §4.6): after the handshake one record may be kept, and a message of the handshake
/// layer no longer than that.
#[test]
fn long_messages_after_the_handshake_end_at_the_bound() {
    let (world, domains) = world();
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = raw(&world, &domains, version);
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let mut record = client.record(ContentType::Handshake, &[24, 0, 255, 255]);
        let mut result = server.feed(&mut record, &mut plain, &mut out);
        let mut fed = 0;
        while result.is_ok() && fed < 4 * RECORD_BYTES_MAX {
            let mut record = client.record(ContentType::Handshake, &[0; 1000]);
            fed += record.len();
            result = server.feed(&mut record, &mut plain, &mut out);
        }
        assert_eq!(result, Err(TlsError::TooLong));
        assert!(fed <= RECORD_BYTES_MAX + 1100);
    }
}

/// RFC 6120 §5.3.5: a renegotiation ends the connection.
#[test]
fn renegotiation_is_refused() {
    let (world, domains) = world();
    let (mut server, mut client) = raw(&world, &domains, &TLS12);
    let hello = client_hello(&world, &TLS12);
    let mut record = client.record(ContentType::Handshake, &hello[5..]);
    let mut out = Vec::new();
    assert_eq!(server.feed(&mut record, &mut Vec::new(), &mut out), Err(TlsError::Renegotiation));
    assert_eq!(out.first(), Some(&ALERT));
    // TLS 1.3 has none.
    let (mut server, mut client) = raw(&world, &domains, &TLS13);
    let hello = client_hello(&world, &TLS13);
    let mut record = client.record(ContentType::Handshake, &hello[5..]);
    let refused = server.feed(&mut record, &mut Vec::new(), &mut out);
    assert!(matches!(refused, Err(TlsError::Misbehaved(_))), "{refused:?}");
}
/// RFC 8446 §6.2: a fatal alert is named and ends it.
#[test]
fn a_fatal_alert_is_named() {
    let (world, domains) = world();
    let (result, out) = feed(&domains, &[ALERT, 3, 1, 0, 2, 2, 40], Cut::EveryByte);
    assert_eq!(result, Err(TlsError::Alert(40)));
    assert!(out.is_empty(), "a fatal alert is not answered");
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = raw(&world, &domains, version);
        let mut record = client.record(ContentType::Alert, &[2, 49]);
        assert_eq!(server.feed(&mut record, &mut Vec::new(), &mut Vec::new()), Err(TlsError::Alert(49)));
    }
}
/// Truncation (RFC 8446 §6.1): an end without `close_notify` is no end of a stream.
#[test]
fn closing() {
    let (world, domains) = world();
    for version in [&TLS12, &TLS13] {
        // The peer closes: told once, late data ignored, we may still send, then close too.
        let (mut server, mut client) = raw(&world, &domains, version);
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let mut wire = client.record(ContentType::ApplicationData, b"</stream:stream>");
        wire.extend(client.record(ContentType::Alert, &[1, 0]));
        wire.extend(client.record(ContentType::ApplicationData, b"late"));
        assert_eq!(server.feed(&mut wire, &mut plain, &mut out), Ok(TlsEvent::PeerClosed));
        assert!(server.peer_has_closed());
        assert_eq!(server.feed(&mut [1, 2, 3], &mut plain, &mut out), Ok(TlsEvent::Nothing));
        assert_eq!(plain, b"</stream:stream>");
        server.seal(b"</stream:stream>", &mut out).unwrap();
        let sealed = out.len();
        server.close_notify(&mut out);
        assert!(out.len() > sealed);
        let closed = out.len();
        server.close_notify(&mut out);
        assert_eq!(out.len(), closed, "once");
        assert_eq!(server.seal(b"more", &mut out), Err(TlsError::Closed));

        // We close first; what the peer still says is read.
        let (mut pair, _) = established(&world, &domains, version);
        let mut out = Vec::new();
        pair.server.close_notify(&mut out);
        pair.deliver(&out).unwrap();
        assert_eq!(pair.up(b"a last word"), b"a last word");
        pair.client.send_close_notify();
        pair.run().unwrap();
        assert_eq!(pair.events, [TlsEvent::PeerClosed]);
    }
}
/// The same in the middle of a handshake, and of a write.
#[test]
fn closing_at_odd_moments() {
    let (world, domains) = world();
    // During the handshake nothing is authentic yet: a warning like others, and few are taken.
    const CLOSE_NOTIFY: [u8; 7] = [ALERT, 3, 1, 0, 2, 1, 0];
    assert_eq!(feed(&domains, &CLOSE_NOTIFY, Cut::Whole).0, Ok(TlsEvent::Nothing));
    assert_eq!(feed(&domains, &CLOSE_NOTIFY.repeat(5), Cut::Whole).0, Err(TlsError::TooManyMessages));
    // Together with the end of the handshake: both are told, one a call.
    let client = ClientSettings::versions(&world.ca, &[&TLS13]).connect(DOMAIN);
    let mut pair = Pair::new(client, domains.session(None, false).unwrap());
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    let mut out = Vec::new();
    pair.feed(&mut wire, &mut out).unwrap();
    pair.deliver(&out).unwrap();
    pair.client.writer().write_all(b"bye").unwrap();
    pair.client.send_close_notify();
    let mut wire = Vec::new();
    while pair.client.wants_write() {
        pair.client.write_tls(&mut wire).unwrap();
    }
    let mut plain = Vec::new();
    assert_eq!(pair.server.feed(&mut wire, &mut plain, &mut out), Ok(TlsEvent::Established));
    assert!(pair.server.peer_has_closed());
    assert_eq!(pair.server.feed(&mut [], &mut plain, &mut out), Ok(TlsEvent::PeerClosed));
    assert_eq!(plain, b"bye");
}

/// Half-open handshakes: a connection dropped at every byte of a handshake leaves nothing that panics.
#[test]
fn a_drop_at_every_byte() {
    let (world, domains) = world();
    for version in [&TLS12, &TLS13] {
        let hello = client_hello(&world, version);
        for at in 0..hello.len() {
            let (result, out) = feed(&domains, &hello[..at], Cut::Whole);
            assert_eq!((result, out.len()), (Ok(TlsEvent::Nothing), 0));
        }
    }
}

/// Everything that has no name yet: records of all kinds in any order and any cut, while we write: no panic, and what
/// arrives is what was sent.
#[test]
fn random_walks_after_the_handshake() {
    let (world, domains) = world();
    let mut delivered = 0;
    for seed in 0..150u64 {
        let mut state = seed;
        let version = if seed % 3 == 0 { &TLS12 } else { &TLS13 };
        let (mut server, mut client) = raw(&world, &domains, version);
        let (mut sent, mut plain, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let mut wire = Vec::new();
        for step in 0..12u8 {
            let size = (next(&mut state) % 4000) as usize;
            let data = vec![step; size];
            let record = match next(&mut state) % 12 {
                0..=6 => {
                    sent.extend_from_slice(&data);
                    client.record(ContentType::ApplicationData, &data)
                }
                7 => client.record(ContentType::Handshake, &[24, 0, 0]),
                8 => client.record(ContentType::Handshake, &[24, 0, 0, 1, 0]),
                9 => client.record(ContentType::Alert, &[1, 90]),
                10 => client.record(ContentType::ChangeCipherSpec, &[1]),
                _ => data,
            };
            wire.extend_from_slice(&record);
            let mut rest = wire.as_mut_slice();
            // The end of this round's bytes may wait for the next.
            let keep = (next(&mut state) as usize) % 40;
            let ready = rest.len().saturating_sub(keep);
            let mut fed = 0;
            while fed < ready {
                let size = (1 + (next(&mut state) as usize) % 3000).min(ready - fed);
                let (piece, after) = rest.split_at_mut(size);
                fed += size;
                rest = after;
                let _ = server.feed(piece, &mut plain, &mut out);
                let _ = server.seal(b"meanwhile", &mut out);
                assert!(server.heap_bytes() < 3 * RECORD_BYTES_MAX);
            }
            wire.drain(..fed);
        }
        server.close_notify(&mut out);
        assert!(sent.starts_with(&plain), "seed {seed}");
        delivered += plain.len();
    }
    assert!(delivered > 500_000, "the walks must go somewhere: {delivered}");
}
