//! Framer, check and relay on what clients send most: the floor under every relayed stanza.
//!
//! One line a case: nanoseconds a frame, the frame's bytes. Every result is checked.

use std::hint::black_box;
use stonechat::clock::Clock;
use stonechat::xml::{Expect, Scan, Step, StreamNs, Tree, XmlLimits, relay};

/// A chat message of 193 bytes as a phone sends it.
const MESSAGE: &[u8] = b"<message to='romeo@example.net/orchard' type='chat' id='ktx72v49' xml:lang='en'>\
<body>Art thou not Romeo, and a Montague?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>";

const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(256 * 1024);
const FROM: &str = "juliet@example.com/balcony";

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let archive_query = archive_query();
    let ascii = long_message(&"But soft, what light through yonder window breaks? ".repeat(80));
    let cyrillic = long_message(&"Но что за блеск я вижу на балконе? &amp; ".repeat(60));
    for (name, frame) in
        [("message", MESSAGE), ("archive_query", &archive_query), ("ascii_4k", &ascii), ("cyrillic_4k", &cyrillic)]
    {
        bench(&format!("xml/check_{name}"), rounds, frame, check);
        bench(&format!("xml/check_and_relay_{name}"), rounds, frame, check_and_relay);
    }
    bench("xml/check_by_byte_message", rounds / 20, MESSAGE, check_by_byte);
    bench("xml/check_and_tree_message", rounds / 20, MESSAGE, check_and_tree);
}

/// What a case keeps from round to round.
#[derive(Default)]
struct Warm {
    scan: Scan,
    out: Vec<u8>,
}

fn bench(name: &str, rounds: u32, frame: &[u8], run: impl Fn(&mut Warm, &[u8])) {
    let mut warm = Warm::default();
    // Two vectors take turns, so that the second round grows too.
    (0..3).for_each(|_| run(&mut warm, frame));
    let heap_bytes = warm.scan.heap_bytes();
    let clock = Clock::new();
    let start = clock.now();
    for _ in 0..rounds {
        run(&mut warm, black_box(frame));
    }
    let ns = (clock.now().mono_ms - start.mono_ms) as f64 * 1e6 / f64::from(rounds);
    assert_eq!(warm.scan.heap_bytes(), heap_bytes, "a warm scan does not grow");
    println!("{name} ns={ns:.0} bytes={} rounds={rounds} scan_heap_bytes={heap_bytes}", frame.len());
}

fn check(warm: &mut Warm, frame: &[u8]) {
    let step = warm.scan.step(frame, Expect::Frames, StreamNs::standard(), &LIMITS);
    assert_eq!(black_box(step), Ok(Step::Frame { len: frame.len() }));
}

fn check_and_relay(warm: &mut Warm, frame: &[u8]) {
    check(warm, frame);
    warm.out.clear();
    relay(warm.scan.head(), frame, StreamNs::standard(), FROM, Some("en"), &mut warm.out);
    assert!(black_box(&warm.out).len() > frame.len());
}

fn check_by_byte(warm: &mut Warm, frame: &[u8]) {
    for len in 1..frame.len() {
        let step = warm.scan.step(&frame[..len], Expect::Frames, StreamNs::standard(), &LIMITS);
        assert_eq!(black_box(step), Ok(Step::Incomplete));
    }
    check(warm, frame);
}

fn check_and_tree(warm: &mut Warm, frame: &[u8]) {
    check(warm, frame);
    let tree = Tree::parse(frame, warm.scan.head(), StreamNs::standard()).expect("the scanner has accepted it");
    assert_eq!(black_box(tree.root().name()), "message");
}

fn archive_query() -> Vec<u8> {
    let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
    let fields = field("FORM_TYPE", "urn:xmpp:mam:2") + &field("with", "juliet@capulet.lit");
    format!(
        "<iq type='set' id='juliet1'><query xmlns='urn:xmpp:mam:2' queryid='f27'><x xmlns='jabber:x:data' \
         type='submit'>{fields}</x><set xmlns='http://jabber.org/protocol/rsm'><max>10</max></set></query></iq>"
    )
    .into_bytes()
}

fn long_message(text: &str) -> Vec<u8> {
    format!("<message to='romeo@example.net' type='chat' id='1'><body>{text}</body></message>").into_bytes()
}
