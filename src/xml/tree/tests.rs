//! Trees, and that xml5ever reads the same text as our own unescaper.

use super::*;
use crate::xml::unescape::{Place, unescape};
use crate::xml::{CLIENT, Expect, STREAMS, Scan, Step, XmlLimits};

const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(65_536);

fn parse_on(ns: &StreamNs, xml: &str) -> Tree {
    let mut scan = Scan::default();
    let step = scan.step(xml.as_bytes(), Expect::Frames, ns, &LIMITS);
    assert_eq!(step, Ok(Step::Frame { len: xml.len() }), "{xml}");
    Tree::parse(xml.as_bytes(), scan.head(), ns).unwrap_or_else(|error| panic!("{xml}: {error}"))
}

fn parse(xml: &str) -> Tree {
    parse_on(StreamNs::standard(), xml)
}

#[test]
fn names_and_namespaces() {
    let tree = parse("<iq id='1'><q xmlns='u:q'><p:i xmlns:p='u:p'/><j/></q><stream:k/><xml:l/><m xmlns=''/></iq>");
    let root = tree.root();
    assert!(root.is(CLIENT, "iq"));
    let names: Vec<_> = root.children().map(|child| (child.ns(), child.name())).collect();
    assert_eq!(names, [("u:q", "q"), (STREAMS, "k"), (XML, "l"), ("", "m")]);
    let query = root.child("u:q", "q").unwrap();
    let names: Vec<_> = query.children().map(|child| (child.ns(), child.name())).collect();
    assert_eq!(names, [("u:p", "i"), ("u:q", "j")]);
    assert!(root.child("u:x", "q").is_none());
}

#[test]
fn a_declaration_ends_with_its_element() {
    let tree = parse("<a xmlns='u:1' xmlns:p='u:2'><b xmlns='u:3' xmlns:p='u:4'><p:c/></b><p:d/><e/></a>");
    let names: Vec<_> = tree.root().children().map(|child| (child.ns(), child.name())).collect();
    assert_eq!(names, [("u:3", "b"), ("u:2", "d"), ("u:1", "e")]);
    assert!(tree.root().child("u:3", "b").unwrap().child("u:4", "c").is_some());
}

#[test]
fn attributes() {
    let tree = parse("<a b='1' xml:lang='en' p:b='2' xmlns:p='u:p' p:xmlns='3' c='&lt;&#x80;&#133;\t\r\n&#10;x'/>");
    let root = tree.root();
    assert_eq!(root.attr("b"), Some("1"));
    assert_eq!(root.attr("lang"), None);
    assert_eq!(root.attr_ns(XML, "lang"), Some("en"));
    assert_eq!(root.attr_ns("u:p", "b"), Some("2"));
    assert_eq!(root.attr_ns("u:p", "xmlns"), Some("3"));
    assert_eq!(root.attr("c"), Some("<\u{80}\u{85}  \nx"));
    assert_eq!(root.attrs().count(), 5);
}

#[test]
fn text_of_one_element_is_one_piece() {
    let tree = parse("<a>x&amp;y\r\nz<![CDATA[<c>]]>&#13;<b>no</b>tail</a>");
    assert_eq!(tree.root().text(), "x&y\nz<c>\rtail");
    let tree = parse("<a>x&amp;y\r\nz<![CDATA[<c>]]>&#13;<b>no</b></a>");
    assert!(matches!(tree.root().text(), Cow::Borrowed("x&y\nz<c>\r")));
    assert_eq!(tree.root().child(CLIENT, "b").unwrap().text(), "no");
    assert_eq!(parse("<a/>").root().text(), "");
}

#[test]
fn white_space_and_references_in_values_of_a_normalised_copy() {
    let tree = parse(
        "<a b=\"it's\t'x'\" c='\"\n\"'>it's \"\t\r\n\" <d e='>\t<![CDATA['/><![CDATA[&#x80;'\t]]>&#x80;</a>"
            .replace("<![CDATA['/>", "'/>")
            .as_str(),
    );
    assert_eq!(tree.root().attr("b"), Some("it's 'x'"));
    assert_eq!(tree.root().attr("c"), Some("\" \""));
    assert_eq!(tree.root().text(), "it's \"\t\n\" &#x80;'\t\u{80}");
    assert_eq!(tree.root().child(CLIENT, "d").unwrap().attr("e"), Some("> "));
}

#[test]
fn a_byte_order_mark_is_text() {
    assert_eq!(parse("<a>\u{FEFF}b</a>").root().text(), "\u{FEFF}b");
}

#[test]
fn deep_and_wide() {
    let deep = format!("{}{}", "<a>".repeat(64), "</a>".repeat(64));
    let tree = parse(&deep);
    let mut depth = 1;
    let mut element = tree.root();
    while let Some(child) = element.children().next() {
        (element, depth) = (child, depth + 1);
    }
    assert_eq!(depth, 64);
    let wide = format!("<a>{}</a>", "<b/>x".repeat(5_000));
    let tree = parse(&wide);
    assert_eq!(tree.root().children().count(), 5_000);
    assert_eq!(tree.root().text().len(), 5_000);
}

/// Of XML's own namespace with its prefix only: as a default it would break the stream of whoever is sent it.
#[test]
fn what_is_written_means_the_same() {
    for (xml, written) in [
        ("<a xml:lang='en'><xml:b xml:c='1'/></a>", "<a xmlns='jabber:client' xml:lang='en'><xml:b xml:c='1'/></a>"),
        (
            "<x xmlns='u'><xml:b>&#13;<y/><z xmlns=''/></xml:b></x>",
            "<x xmlns='u'><xml:b>&#13;<y/><z xmlns=''/></xml:b></x>",
        ),
        ("<xml:b><c/></xml:b>", "<xml:b><c xmlns='jabber:client'/></xml:b>"),
    ] {
        let mut out = Vec::new();
        parse(xml).root().write(usize::MAX, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), written);
        let mut again = Vec::new();
        parse(written).root().write(usize::MAX, &mut again).unwrap();
        assert_eq!(String::from_utf8(again).unwrap(), written);
    }
}

#[test]
fn what_the_scanner_refuses_is_not_repaired() {
    let mut scan = Scan::default();
    let good = b"<a></a>";
    scan.step(good, Expect::Frames, StreamNs::standard(), &LIMITS).unwrap();
    for bad in ["<a></a", "<a>&x;<", "<a/><b/", "</a></", "<a><b/>", "<!----", "<a b c>"] {
        let result = Tree::parse(bad.as_bytes(), scan.head(), StreamNs::standard());
        assert_eq!(result.map(|_| ()), Err(XmlError::ParserDisagrees { offset: 0 }), "{bad}");
    }
}

/// Pieces of text that mean something special to one reader or the other.
const PIECES: [&str; 30] = [
    "x",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "&amp;",
    "&lt;",
    "&gt;",
    "&apos;",
    "&quot;",
    "&#9;",
    "&#10;",
    "&#13;",
    "&#x20;",
    "&#x80;",
    "&#x85;",
    "&#159;",
    "&#xFDD0;",
    "&#x1FFFE;",
    "&#65;",
    "\u{80}",
    "\u{85}",
    "\u{2028}",
    "\u{FEFF}",
    "\u{FFFD}",
    "é",
    "😀",
    ";",
    "]",
];

#[test]
fn xml5ever_reads_what_our_unescaper_reads() {
    let mut state: u64 = 0x5222;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..6_000 {
        let raw: String = (0..random(7)).map(|_| PIECES[random(PIECES.len())]).collect();
        // In a CDATA section a reference is text, and its end must not come early.
        let cdata = raw.replace(']', "");
        let xml = format!("<a b='{raw}' c=\"{raw}\">{raw}<b/><![CDATA[{cdata}]]></a>");
        let tree = parse(&xml);
        let value = unescape(raw.as_bytes(), Place::Value);
        assert_eq!(tree.root().attr("b"), Some(&*value), "round {round}: {xml:?}");
        assert_eq!(tree.root().attr("c"), Some(&*value), "round {round}: {xml:?}");
        let cdata = cdata.replace("\r\n", "\n").replace('\r', "\n");
        let text = format!("{}{cdata}", unescape(raw.as_bytes(), Place::Text));
        assert_eq!(tree.root().text(), text, "round {round}: {xml:?}");
    }
}
