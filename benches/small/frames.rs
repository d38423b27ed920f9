//! Cases of XML: reads cut anywhere, one frame checked, relayed, made into a tree.

use crate::meter::Meter;
use crate::tls_common::next;
use std::hint::black_box;
use stonechat::xml::{Expect, Scan, Step, StreamNs, Tree, XmlLimits, relay};

/// A chat message as a phone sends it.
pub(crate) const MESSAGE: &[u8] = b"<message to='romeo@localhost/phone' type='chat' id='ktx72v49' xml:lang='en'>\
<body>Art thou not Romeo, and a Montague?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>";

const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(256 * 1024);
const FROM: &str = "juliet@localhost/balcony";
/// The longest of the reads that a stream is cut into; TCP's segments are of this order.
const READ_BYTES_MAX: u64 = 1400;

/// A stanza of a stream of chat that comes in reads cut anywhere, as the core takes it: whole frames where they lie,
/// the unfinished rest kept and gone on with.
pub(crate) fn framer(ops: u32, meter: &mut Meter) {
    let (mut stream, mut frames, mut seed) = (Vec::new(), 0, 0x5222);
    let texts =
        [chat("O Romeo, Romeo! wherefore art thou Romeo?"), long_message(&"But soft! ".repeat(40)), archive_query()];
    while frames < ops {
        let text = match next(&mut seed) % 10 {
            0 => &texts[2],
            1 => &texts[1],
            _ => &texts[0],
        };
        stream.extend_from_slice(text);
        frames += 1;
    }
    let mut reads = Vec::new();
    let mut rest = stream.as_slice();
    while !rest.is_empty() {
        let (read, after) = rest.split_at(rest.len().min(1 + (next(&mut seed) % READ_BYTES_MAX) as usize));
        reads.push(read);
        rest = after;
    }
    let mut scan = Scan::default();
    let mut partial = Vec::with_capacity(stream.len().min(8 * 1024));
    let found: u32 = meter.run(|| reads.iter().map(|read| take_read(&mut scan, &mut partial, read)).sum());
    assert!(found == ops && partial.is_empty(), "{found} frames of {ops}");
}

/// Frames that end in this read.
fn take_read(scan: &mut Scan, partial: &mut Vec<u8>, read: &[u8]) -> u32 {
    let (mut at, mut frames) = (0, 0);
    let whole = partial.is_empty();
    if !whole {
        partial.extend_from_slice(read);
    }
    let bytes = if whole { read } else { partial.as_slice() };
    while let Step::Frame { len } =
        scan.step(&bytes[at..], Expect::Frames, StreamNs::standard(), &LIMITS).expect("good XML")
    {
        black_box(scan.head());
        scan.restart();
        at += len;
        frames += 1;
        if at == bytes.len() {
            break;
        }
    }
    if whole {
        partial.extend_from_slice(&read[at..]);
    } else {
        partial.drain(..at);
    }
    frames
}

/// A chat message, whole.
pub(crate) fn check(ops: u32, meter: &mut Meter) {
    checks(ops, meter, MESSAGE);
}

/// A stanza that is mostly attributes and declarations.
pub(crate) fn check_attributes(ops: u32, meter: &mut Meter) {
    let attributes: String =
        (0..20).map(|n| format!(" attribute{n:02}='value &amp; {n}' p:other{n}=\"another\"")).collect();
    let frame = format!(
        "<iq type='set' id='a1' to='localhost'><query xmlns='urn:example:query' xmlns:p='urn:example:p'{attributes}>\
         <p:item xmlns:q='urn:example:q' q:kind='x'/><item xmlns='urn:example:r'/></query></iq>"
    );
    checks(ops, meter, frame.as_bytes());
}

/// 4 KiB of text, much of which is not ASCII's.
pub(crate) fn check_text(ops: u32, meter: &mut Meter) {
    checks(ops, meter, &long_message(&"Но что за блеск I see on yonder balcony? &amp; so on. ".repeat(64)));
}

fn checks(ops: u32, meter: &mut Meter, frame: &[u8]) {
    let mut scan = Scan::default();
    let mut run = |ops: u32| (0..ops).for_each(|_| step(&mut scan, frame));
    run(3);
    meter.run(|| run(ops));
}

fn step(scan: &mut Scan, frame: &[u8]) {
    let step = scan.step(black_box(frame), Expect::Frames, StreamNs::standard(), &LIMITS);
    assert_eq!(step, Ok(Step::Frame { len: frame.len() }));
}

/// The head of a checked message rewritten, and its payload copied.
pub(crate) fn relayed(ops: u32, meter: &mut Meter) {
    let (mut scan, mut out) = (Scan::default(), Vec::new());
    step(&mut scan, MESSAGE);
    let mut run = |ops: u32| {
        for _ in 0..ops {
            out.clear();
            relay(scan.head(), black_box(MESSAGE), StreamNs::standard(), FROM, Some("en"), &mut out);
            assert!(black_box(&out).len() > MESSAGE.len());
        }
    };
    run(3);
    meter.run(|| run(ops));
}

/// A checked IQ made into a tree.
pub(crate) fn tree(ops: u32, meter: &mut Meter) {
    let (mut scan, frame) = (Scan::default(), archive_query());
    step(&mut scan, &frame);
    let run = |ops: u32| {
        for _ in 0..ops {
            let tree = Tree::parse(black_box(&frame), scan.head(), StreamNs::standard()).expect("it was checked");
            assert_eq!(black_box(tree.root().name()), "iq");
        }
    };
    run(3);
    meter.run(|| run(ops));
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

fn chat(text: &str) -> Vec<u8> {
    format!(
        "<message to='romeo@localhost/phone' type='chat' id='ktx72v49'><body>{text}</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>"
    )
    .into_bytes()
}

fn long_message(text: &str) -> Vec<u8> {
    format!("<message to='romeo@localhost' type='chat' id='1'><body>{text}</body></message>").into_bytes()
}
