//! The scanner, the tree and relay against rxml, a strict parser that nobody here wrote.
//!
//! Good frames are mutated from a fixed seed. Both must give the same verdict on every result; what both accept must
//! be the same document to xml5ever's tree and to rxml; and what is relayed must be the same document again on a
//! stream with the usual header. `ROUNDS=…` and `SEED=…` make it longer or another.

#[path = "common/xml_pair.rs"]
mod xml_pair;

use xml_pair::{END, HEADERS, Verdict, compare, outcome};

const FRAMES: [&str; 14] = [
    "<message to='a@b' type='chat' id='1'><body>Hi &amp; bye</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "<message from='x'\n\tto=\"b\"><body xml:lang='de'>Grüße, 😀 &#x80;&#13;\r\nx</body><p:x p:y='1' z=''/></message>",
    "<c:message xmlns:c='jabber:client' from='f' xml:lang='de'><c:body>a</c:body><b/></c:message>",
    "<c:presence><c:show>away</c:show><p:q xmlns:p='u2'/><e xmlns=''/></c:presence>",
    "<iq type='set' id='b'><query xmlns='jabber:iq:roster'><item jid='a@b'><group>G</group></item></query></iq>",
    "<message xmlns='jabber:client' to='a'><![CDATA[<x>&y;]]]]><![CDATA[>]]></message>",
    "<message xmlns = 'jabber:client' from='a'/>",
    "<c:iq xmlns='jabber:client' id='&quot;'><a/></c:iq>",
    "<message><a xmlns:n='u1' n:b='1' b='2'><n:c xmlns:m='u2' n:d='1' m:d='2'/></a></message>",
    "<a b='&lt;&gt;&apos;&#65;&#x42;'>]] &gt; ></a>",
    "<a\r\nb='c'\r\n></a\n>\r\n<stream:x q:y='z'/>",
    "<имя ñ='1'><名.1/>\u{2028}\u{85}\u{FEFF}\u{FFFD}</имя>",
    "<a xml:lang='en' xml:space='preserve'><xml:b/></a> <b xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
];

/// What mutations put in.
const PIECES: [&str; 48] = [
    "<",
    ">",
    "/",
    "'",
    "\"",
    "=",
    "&",
    ";",
    ":",
    " ",
    "\n",
    "\r",
    "\t",
    "]]>",
    "<!",
    "<?",
    "</",
    "/>",
    "]",
    "!",
    "-->",
    "<!--",
    "<![CDATA[",
    "&amp;",
    "&lt",
    "&#",
    "x",
    "0",
    "1",
    "-",
    ".",
    "\u{1}",
    "\u{0}",
    "\u{7F}",
    "\u{FFFE}",
    "\u{D7}",
    "\u{300}",
    "é",
    "xmlns=''",
    " xmlns:p='u'",
    " xmlns:p=''",
    " xmlns='jabber:client'",
    " p:b='1'",
    " q:b='2'",
    "p:",
    "c:",
    "&#x;",
    "&#xFFFE;",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(bytes.len() + 1);
    let end = (place + random.below(6)).min(bytes.len());
    match random.below(6) {
        0 | 1 => drop(bytes.splice(place..place, PIECES[random.below(PIECES.len())].bytes())),
        2 => drop(bytes.drain(place..end)),
        3 => drop(bytes.splice(place..end, PIECES[random.below(PIECES.len())].bytes())),
        4 => {
            let copy = bytes[place..end].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, copy));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = random.below(256) as u8;
            }
        }
    }
}

#[test]
fn verdicts_documents_and_relayed_documents_agree() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (rounds, mut random) = (number("ROUNDS", 12_000), Random(number("SEED", 0x5222)));
    let (mut accepted, mut gaps) = (0, 0);
    for round in 0..rounds {
        let header = HEADERS[random.below(HEADERS.len())];
        let mut frame = FRAMES[random.below(FRAMES.len())].as_bytes().to_vec();
        (0..random.below(4)).for_each(|_| mutate(&mut frame, &mut random));
        let bytes = [header.as_bytes(), &frame, END].concat();
        match compare(&bytes, &format!("round {round}")) {
            Verdict::Accepted => accepted += 1,
            Verdict::Gap => gaps += 1,
            Verdict::Refused | Verdict::Skipped => {}
        }
    }
    assert!(accepted > rounds / 6 && gaps < rounds / 50, "{accepted} accepted, {gaps} gaps, {rounds} rounds");
}

#[test]
fn cuts_change_nothing() {
    let mut random = Random(0x35);
    for round in 0..6_000 {
        let header = HEADERS[random.below(HEADERS.len())];
        let mut frame = FRAMES[random.below(FRAMES.len())].as_bytes().to_vec();
        (0..random.below(4)).for_each(|_| mutate(&mut frame, &mut random));
        let bytes = [header.as_bytes(), &frame, END].concat();
        let whole = outcome(&bytes, || bytes.len());
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(outcome(&bytes, || 1), whole, "round {round}, byte by byte: {text:?}");
        let seeded = outcome(&bytes, || 1 + random.below(40));
        assert_eq!(seeded, whole, "round {round}, seeded: {text:?}");
    }
}
