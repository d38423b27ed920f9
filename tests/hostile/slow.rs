//! Who takes its time: a deadline from accept to a session that no traffic extends.

use super::{STREAM, auth, server};
use crate::bare::Bare;
use stonechat::ids::ConnId;

/// The default, and the seconds that an orderly end may take behind it.
const DEADLINE_MS: u64 = 30_000;
const END_MS: u64 = 5_000;

/// How a connection comes to a stage, and what it then sends byte by byte to look busy.
type Stage = (&'static str, bool, fn(&mut Bare, ConnId), &'static str);

fn nothing(_: &mut Bare, _: ConnId) {}

fn open(bare: &mut Bare, id: ConnId) {
    bare.send(id, STREAM.as_bytes());
}

fn asked(bare: &mut Bare, id: ConnId) {
    open(bare, id);
    bare.drains = false;
    bare.send(id, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
}

fn flipped(bare: &mut Bare, id: ConnId) {
    asked(bare, id);
    bare.drain(id);
    bare.drains = true;
}

fn secure(bare: &mut Bare, id: ConnId) {
    bare.secure(id);
    open(bare, id);
}

fn exchanging(bare: &mut Bare, id: ConnId) {
    secure(bare, id);
    bare.send(id, b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1hLHI9Yg==</auth>");
}

fn hashing(bare: &mut Bare, id: ConnId) {
    secure(bare, id);
    bare.send(id, auth("juliet").as_bytes());
}

fn welcome(bare: &mut Bare, id: ConnId) {
    hashing(bare, id);
    bare.hash(true);
}

fn known(bare: &mut Bare, id: ConnId) {
    welcome(bare, id);
    open(bare, id);
}

fn old(bare: &mut Bare, id: ConnId) {
    bare.secure(id);
    bare.send(id, STREAM.replace(" version='1.0'", "").as_bytes());
}

/// Slowloris (2009), for each stage of a negotiation: a byte each second, white space, half a header, half an element,
/// or nothing at all.
#[test]
fn slow_at_every_stage() {
    let stages: [Stage; 13] = [
        ("silent", false, nothing, ""),
        ("white space before a header", false, nothing, " "),
        ("half a header", false, nothing, STREAM),
        ("open, silent", false, open, ""),
        ("open, white space", false, open, "\n"),
        ("open, half an element", false, open, "<iq type='get' id='1'><query xmlns='jabber:iq:auth'>"),
        ("the go-ahead is not read", false, asked, ""),
        ("no handshake", false, flipped, ""),
        ("direct TLS, no handshake", true, nothing, ""),
        ("inside TLS, white space", true, secure, " "),
        ("inside TLS, an endless login", true, exchanging, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"),
        ("logged in, no header", true, welcome, " "),
        ("logged in, no session", true, known, " "),
    ];
    for (what, direct, way, drip) in stages {
        end_in_time(what, direct, way, drip);
    }
    end_in_time("a password that the hashing thread has lost", true, hashing, "");
    end_in_time("2002, white space", true, old, " ");
}

fn end_in_time(what: &str, direct: bool, way: fn(&mut Bare, ConnId), drip: &str) {
    let mut bare = server();
    let id = bare.connect(direct);
    way(&mut bare, id);
    let mut drops = drip.bytes().cycle();
    for second in 0.. {
        if bare.end(id).is_some() {
            break;
        }
        assert!(second * 1_000 <= DEADLINE_MS + END_MS, "{what}: still there after {second} s");
        if let Some(byte) = drops.next().filter(|_| bare.is_read(id)) {
            bare.send(id, &[byte]);
        }
        bare.advance(1_000);
    }
    assert!(bare.now.mono_ms <= 1_000 + DEADLINE_MS + END_MS, "{what}");
    assert_eq!((bare.core.connections(), bare.core.sessions()), (0, 0), "{what}");
}

/// Slowloris with something to say: logging in again and again does not buy time: the deadline counts from accept, not
/// from the last word.
#[test]
fn words_buy_no_time() {
    let mut bare = server();
    let id = bare.connect(true);
    secure(&mut bare, id);
    let mut seconds = 0;
    while bare.end(id).is_none() {
        bare.send(id, b"<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>");
        bare.advance(1_000);
        seconds += 1;
        assert!(seconds * 1_000 <= DEADLINE_MS + END_MS);
    }
}
