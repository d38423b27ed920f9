//! XML that is not what it looks like.

use super::counting::{counted, live_bytes};
use super::{STREAM, ask, is_served, log_in, server, stanzas, two};
use crate::bare::Bare;
use stonechat::ids::ConnId;

/// Heap that an attack may leave behind on one connection beyond its own bytes.
const LEFT_BYTES_MAX: isize = 16 * 1024;

/// A connection at each place where XML is read: in the clear, inside TLS, in a session.
fn places(bare: &mut Bare) -> Vec<(&'static str, ConnId)> {
    let clear = bare.connect(false);
    bare.send(clear, STREAM.as_bytes());
    let secure = bare.connect(true);
    bare.secure(secure);
    bare.send(secure, STREAM.as_bytes());
    let bound = log_in(bare, "juliet", "r");
    let all = vec![("in the clear", clear), ("inside TLS", secure), ("in a session", bound)];
    for (_, id) in &all {
        bare.heard(*id);
    }
    all
}

/// CVE-2003-1564 ("billion laughs"); in XMPP servers CVE-2011-1753 (ejabberd), CVE-2011-1755 (jabberd2), CVE-2011-2205
/// (Prosody).
#[test]
fn entity_bombs() {
    let laughs: String =
        (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    let bomb = format!("<!DOCTYPE lolz [<!ENTITY l0 \"lol\">{laughs}]><message><body>&l9;</body></message>");
    let blowup =
        format!("<!DOCTYPE b [<!ENTITY a \"{}\">]><message>{}</message>", "a".repeat(4_000), "&a;".repeat(1_000));
    let external =
        "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><message><body>&e;</body></message>".to_owned();
    for attack in [bomb, blowup, external] {
        let mut bare = server();
        for (place, id) in places(&mut bare) {
            let before = live_bytes();
            let heard = counted(|| ask(&mut bare, id, &attack));
            assert!(heard.contains("<restricted-xml"), "{place}: {heard}");
            drop(heard);
            assert!(live_bytes() - before < LEFT_BYTES_MAX, "{place}: {} bytes are left", live_bytes() - before);
        }
    }
    // Entities that nobody has declared are none.
    for entity in
        ["&l9;", "&nbsp;", "&LT;", "&#0;", "&#xD800;", "&#x110000;", "&#x0000000000000000000000000000000041;", "&"]
    {
        let mut bare = server();
        for (place, id) in places(&mut bare) {
            let heard = ask(&mut bare, id, &format!("<message><body>{entity}</body></message>"));
            assert!(heard.contains("<stream:error>"), "{place}: {entity}: {heard}");
        }
    }
}

/// RFC 6120 §11.1: comments, processing instructions, DTDs, in each place where XML would allow them.
#[test]
fn restricted_xml_in_every_place() {
    let things = ["<!-- x -->", "<?x y?>", "<!DOCTYPE x>", "<?xml version='1.0'?>", "<!ENTITY x 'y'>"];
    for thing in things {
        for text in [
            thing.to_owned(),
            format!("<message>{thing}</message>"),
            format!("<message><body>a{thing}b</body></message>"),
            format!("<message><body/>{thing}</message>"),
            format!("<presence/>{thing}<presence/>"),
        ] {
            let mut bare = server();
            for (place, id) in places(&mut bare) {
                let heard = ask(&mut bare, id, &text);
                assert!(heard.contains("<stream:error>"), "{place}: {text}: {heard}");
                assert!(!heard.contains("<internal-server-error"), "{place}: {text}: {heard}");
            }
        }
    }
}

/// "XMPP stanza smuggling" (Fratric, 2022; CVE-2022-22784 to 22787): server and client disagree about where a stanza
/// ends, or what stands in it. Bytes that are no UTF-8 swallow the `<` behind them in one parser and not in another.
#[test]
fn bytes_that_are_no_utf8_reach_nobody() {
    let broken: [&[u8]; 13] = [
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xE0\x80\x80",
        b"\xE0\x9F\xBF",
        b"\xED\xA0\x80",
        b"\xF0\x80\x80\x80",
        b"\xF4\x90\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\x80",
        b"\xEB",
        b"\xEB\x80",
        b"\xF0\x90\x80",
        b"\xFF\xFE",
    ];
    for broken in broken {
        let (name, at): (&[u8], &[u8]) = (b"<message to='romeo@localhost/r'><body>", b"</body></message>");
        let attribute: (&[u8], &[u8]) = (b"<message to='romeo@localhost/r' id='", b"'><body/></message>");
        let tag: (&[u8], &[u8]) = (b"<message to='romeo@localhost/r'><a", b"/></message>");
        for (before, behind) in [(name, at), attribute, tag] {
            let mut bare = server();
            let [juliet, romeo] = two(&mut bare);
            bare.send(juliet, &[before, broken, behind].concat());
            assert_eq!(bare.heard(romeo), "", "{broken:?} in {:?}", String::from_utf8_lossy(before));
            assert!(bare.heard(juliet).contains("<stream:error>"), "{broken:?}");
            assert!(is_served(&mut bare, romeo));
        }
    }
}

/// The same by means of XML itself: what is text, a value, or inside another element for the server must be so for an
/// independent parser.
#[test]
fn one_stanza_in_is_one_stanza_out() {
    let inner = "</body></message><message from='localhost' to='romeo@localhost/r'><body>smuggled";
    let escaped = inner.replace('<', "&lt;");
    let numbers: String = inner.chars().map(|char| format!("&#{};", u32::from(char))).collect();
    for text in [
        format!("<message to='romeo@localhost/r'><body>{escaped}</body></message>"),
        format!("<message to='romeo@localhost/r'><body>{numbers}</body></message>"),
        format!("<message to='romeo@localhost/r'><body><![CDATA[{inner}]]></body></message>"),
        format!("<message to='romeo@localhost/r' id='{escaped}'><body/></message>"),
        format!("<message to='romeo@localhost/r' id=\"{}\"><body/></message>", escaped.replace('"', "&quot;")),
        "<message to='romeo@localhost/r'><message from='localhost' to='romeo@localhost/r'/></message>".to_owned(),
        "<message to='romeo@localhost/r'><stream:stream xmlns:stream='http://etherx.jabber.org/streams'/></message>"
            .into(),
        "<message to='romeo@localhost/r'><x xmlns:stream='urn:x'><stream:error/></x></message>".into(),
        "<message xmlns:stream='urn:other' to='romeo@localhost/r'><stream:x/></message>".into(),
        "<message to='romeo@localhost/r' xmlns='jabber:client'><body xmlns='jabber:server'/></message>".into(),
        "<message to='romeo@localhost/r'\u{85}/>".into(),
        "<message to='romeo@localhost/r'><a\u{B7}b/></message>".into(),
        "<message to='romeo@localhost/r'><body>]]&gt;\u{FFFD}\u{FEFF}\u{2028}</body></message>".into(),
    ] {
        let mut bare = server();
        let [juliet, romeo] = two(&mut bare);
        bare.send(juliet, text.as_bytes());
        let found = stanzas(&bare.heard(romeo));
        assert!(found.len() <= 1, "{text}: {found:?}");
        for stanza in found {
            assert_eq!(stanza.attr("from"), Some("juliet@localhost/r"), "{text}");
        }
        // Cut anywhere, the same.
        let mut bare = server();
        let [juliet, romeo] = two(&mut bare);
        text.as_bytes().chunks(1).for_each(|byte| bare.send(juliet, byte));
        assert!(stanzas(&bare.heard(romeo)).len() <= 1, "{text}");
    }
}

/// Found by fuzzing here: a tree in XML's own namespace was written with it as the default one, which no parser may
/// accept; so whoever fetched such a vCard lost its stream.
#[test]
fn a_vcard_breaks_no_reader() {
    let mut bare = server();
    let [juliet, romeo] = two(&mut bare);
    for inside in
        ["<xml:b/>", "<xml:b xml:c='1'><FN/></xml:b>", "<FN xml:space='preserve'>&#13;&#9;</FN>", "<FN xmlns=''/>"]
    {
        ask(&mut bare, juliet, &format!("<iq type='set' id='s'><vCard xmlns='vcard-temp'>{inside}</vCard></iq>"));
        let heard =
            ask(&mut bare, romeo, "<iq type='get' id='g' to='juliet@localhost'><vCard xmlns='vcard-temp'/></iq>");
        assert_eq!(stanzas(&heard).len(), 1, "{inside}: {heard}");
    }
}

/// The same by private XML: a name in XML's own namespace can be nobody's default.
#[test]
fn private_xml_breaks_no_reader() {
    let mut bare = server();
    let [juliet, _] = two(&mut bare);
    for inside in
        ["<xml:b/>", "<x xmlns='urn:x'><xml:b/></x>", "<x xmlns='urn:x' xmlns:p='urn:p' p:a='&#10;'>&#13;</x>"]
    {
        for kind in ["set", "get"] {
            let query = format!("<iq type='{kind}' id='1'><query xmlns='jabber:iq:private'>{inside}</query></iq>");
            assert_eq!(stanzas(&ask(&mut bare, juliet, &query)).len(), 1, "{kind} {inside}");
        }
    }
}

/// CVE-2026-43507 (Prosody): small input, large tree. Bounded in depth, attributes, names and declarations, whatever
/// the bytes; before a login far tighter.
#[test]
fn names_attributes_and_depth_have_bounds() {
    let attacks = [
        ("depth", "<a>".repeat(200)),
        ("attributes", format!("<a{}/>", (0..200).map(|n| format!(" b{n}=''")).collect::<String>())),
        ("declarations", format!("<a{}/>", (0..60).map(|n| format!(" xmlns:b{n}='u'")).collect::<String>())),
        ("a name", format!("<{}/>", "a".repeat(9_000))),
        ("an attribute's name", format!("<a {}='1'/>", "b".repeat(9_000))),
        ("a value", format!("<a b='{}'/>", "c".repeat(9_000))),
        ("a namespace", format!("<a xmlns='{}'/>", "u".repeat(9_000))),
        ("a prefix", format!("<{0}:a xmlns:{0}='u'/>", "p".repeat(4_500))),
        ("elements", format!("<a>{}</a>", "<b/>".repeat(20_000))),
    ];
    for (what, attack) in attacks {
        let mut bare = server();
        for (place, id) in places(&mut bare) {
            let before = live_bytes();
            let heard = counted(|| ask(&mut bare, id, &attack));
            assert!(heard.contains("<policy-violation"), "{what} {place}: {heard}");
            drop(heard);
            assert!(live_bytes() - before < LEFT_BYTES_MAX, "{what} {place}: {} bytes", live_bytes() - before);
        }
    }
}
