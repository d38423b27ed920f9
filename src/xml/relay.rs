//! Relaying: an accepted frame as bytes for another stream.
//!
//! ```text
//! <message to='b' from='forged'>…   ──▶   <message from='a@x/1' xml:lang='en' to='b'>…
//! ```
//!
//! Only the top tag changes; the rest is copied byte for byte. What the frame took from its own stream's header
//! (prefixes, default namespace, language) is written into the top tag, so that the frame means the same on any
//! stream whose default namespace is `jabber:client`. Allocates nothing but the growth of `out`.
//!
//! RFC 6120 §4.7.4 (language), §4.8.5 (prefixes), §8.1.2.1 (`from`), §8.4.

use super::head::{Attr, Head};
use super::ns::{CLIENT, StreamNs, means};
use super::write::escape_attr;

/// Appends the frame `head`, found in `bytes` on a stream with the scope `ns`, for a stream whose default namespace
/// is `jabber:client`.
///
/// `from` replaces what the sender wrote. `lang` is the sender's stream's language; it is added if the frame names
/// none itself. The frame's own namespace must be `jabber:client`.
pub fn relay(head: &Head, bytes: &[u8], ns: &StreamNs, from: &str, lang: Option<&str>, out: &mut Vec<u8>) {
    relay_as(head, bytes, ns, Top { from: Some(from), ..Top::default() }, lang, out);
}

/// What the top tag says instead of what the sender wrote.
#[derive(Clone, Copy, Debug, Default)]
pub struct Top<'a> {
    /// The `from`; none leaves it out.
    pub from: Option<&'a str>,
    /// Another `to`; none leaves the sender's.
    pub to: Option<&'a str>,
    /// Whether the `id` is left out.
    pub without_id: bool,
}

/// The same, with more of the top tag replaced: see [`relay`].
pub fn relay_as(head: &Head, bytes: &[u8], ns: &StreamNs, top: Top<'_>, lang: Option<&str>, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(head.name.whole(bytes));
    if let Some(from) = top.from {
        write_attr(b"from", from, out);
    }
    if let Some(to) = top.to {
        write_attr(b"to", to, out);
    }
    if let Some(lang) = lang.filter(|_| head.find(bytes, b"xml:lang").is_none()) {
        write_attr(b"xml:lang", lang, out);
    }
    redeclare(head, bytes, ns, out);
    // Runs of bytes that stay are copied whole, the white space in front of an attribute with it.
    let mut copied = (head.name.start + u32::from(head.name.len)) as usize;
    let mut before = copied;
    for attr in &head.attrs {
        let end = attr.value.range().end + 1;
        if is_dropped(attr, bytes, top) {
            out.extend_from_slice(bytes.get(copied..before).unwrap_or_default());
            copied = end;
        }
        before = end;
    }
    out.extend_from_slice(bytes.get(copied..head.len as usize).unwrap_or_default());
}

/// The sender's `from`, and the declaration that every client stream has as its default.
fn is_dropped(attr: &Attr, bytes: &[u8], top: Top<'_>) -> bool {
    match attr.name.whole(bytes) {
        b"from" => true,
        b"to" => top.to.is_some(),
        b"id" => top.without_id,
        b"xmlns" => means(attr.value.of(bytes), CLIENT),
        _ => false,
    }
}

/// Declares what the frame leans on and the next stream may not have.
fn redeclare(head: &Head, bytes: &[u8], ns: &StreamNs, out: &mut Vec<u8>) {
    // A declaration on the top tag leaves nothing that leans on the header's default.
    if head.leans_on_default && ns.default_ns() != CLIENT {
        write_attr(b"xmlns", ns.default_ns(), out);
    }
    for prefix in head.header_prefixes.iter().map(|span| span.of(bytes)) {
        out.extend_from_slice(b" xmlns:");
        out.extend_from_slice(prefix);
        write_value(ns.lookup_bytes(prefix).unwrap_or(""), out);
    }
}

fn write_attr(name: &[u8], value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name);
    write_value(value, out);
}

fn write_value(value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"='");
    escape_attr(value, out);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Expect, Scan, Step, XmlLimits};

    const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(10_000);
    const USUAL: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

    /// Relays `frame`, received on a stream opened with `header`.
    fn relayed(header: &str, frame: &str, lang: Option<&str>) -> String {
        let mut scan = Scan::default();
        let step = scan.step(header.as_bytes(), Expect::Header, &StreamNs::new(), &LIMITS);
        assert_eq!(step, Ok(Step::Header { len: header.len() }));
        let ns = StreamNs::from_header(scan.head(), header.as_bytes());
        let step = scan.step(frame.as_bytes(), Expect::Frames, &ns, &LIMITS);
        assert_eq!(step, Ok(Step::Frame { len: frame.len() }), "{frame}");
        let mut out = Vec::new();
        // What follows in the same read is none of the frame's.
        let read = [frame, "<next/>"].concat();
        relay(scan.head(), read.as_bytes(), &ns, "j@x/'b'", lang, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn frames_on_a_usual_stream() {
        let cases = [
            ("<message/>", "<message from='j@x/&apos;b&apos;'/>"),
            (
                "<message to='b'><body>&lt;\r\n</body></message>",
                "<message from='j@x/&apos;b&apos;' to='b'><body>&lt;\r\n</body></message>",
            ),
            ("<message  from=\"forged\"\tto='b'></message >", "<message from='j@x/&apos;b&apos;'\tto='b'></message >"),
            ("<message to='b' from = '' />", "<message from='j@x/&apos;b&apos;' to='b' />"),
            ("<message xmlns='jabber:client' to='b'/>", "<message from='j@x/&apos;b&apos;' to='b'/>"),
            ("<message to='b' xmlns='jabber:&#99;lient'/>", "<message from='j@x/&apos;b&apos;' to='b'/>"),
            ("<m:message xmlns:m='jabber:client'/>", "<m:message from='j@x/&apos;b&apos;' xmlns:m='jabber:client'/>"),
            ("<message x:from='a' xmlns:x='u'/>", "<message from='j@x/&apos;b&apos;' x:from='a' xmlns:x='u'/>"),
            (
                "<message><stream:a/><b stream:c='d'/></message>",
                "<message from='j@x/&apos;b&apos;' xmlns:stream='http://etherx.jabber.org/streams'>\
                 <stream:a/><b stream:c='d'/></message>",
            ),
        ];
        for (frame, expected) in cases {
            assert_eq!(relayed(USUAL, frame, None), expected);
        }
    }

    #[test]
    fn the_top_tag_can_be_another() {
        let mut scan = Scan::default();
        let (frame, ns) =
            (&b"<presence to='b/r' id='1' type='subscribe'><status/></presence>"[..], StreamNs::standard());
        scan.step(frame, Expect::Frames, ns, &LIMITS).unwrap();
        let mut out = Vec::new();
        relay_as(scan.head(), frame, ns, Top { from: Some("a"), to: Some("b"), without_id: false }, None, &mut out);
        assert_eq!(out, b"<presence from='a' to='b' id='1' type='subscribe'><status/></presence>");
        out.clear();
        relay_as(scan.head(), frame, ns, Top { without_id: true, ..Top::default() }, None, &mut out);
        assert_eq!(out, b"<presence to='b/r' type='subscribe'><status/></presence>");
    }

    #[test]
    fn language_is_added_only_if_none_is_there() {
        assert_eq!(relayed(USUAL, "<iq/>", Some("d'e")), "<iq from='j@x/&apos;b&apos;' xml:lang='d&apos;e'/>");
        assert_eq!(
            relayed(USUAL, "<iq xml:lang=''/>", Some("de")),
            "<iq from='j@x/&apos;b&apos;' xml:lang=''/>",
            "an empty language is one"
        );
        assert_eq!(
            relayed(USUAL, "<iq lang='en'><a xml:lang='fr'/></iq>", Some("de")),
            "<iq from='j@x/&apos;b&apos;' xml:lang='de' lang='en'><a xml:lang='fr'/></iq>"
        );
    }

    #[test]
    fn frames_that_lean_on_their_header() {
        let prefixed = "<stream:stream xmlns='u&amp;d' xmlns:c='jabber:client' xmlns:p='u:&apos;' \
                        xmlns:stream='http://etherx.jabber.org/streams'>";
        let cases = [
            ("<c:iq/>", "<c:iq from='j@x/&apos;b&apos;' xmlns:c='jabber:client'/>"),
            ("<c:iq><a/></c:iq>", "<c:iq from='j@x/&apos;b&apos;' xmlns='u&amp;d' xmlns:c='jabber:client'><a/></c:iq>"),
            (
                "<c:iq><a xmlns='v' p:b=''/></c:iq>",
                "<c:iq from='j@x/&apos;b&apos;' xmlns:c='jabber:client' xmlns:p='u:&apos;'><a xmlns='v' p:b=''/></c:iq>",
            ),
            (
                "<iq xmlns='jabber:client'><a/><p:b xmlns:p='w'/></iq>",
                "<iq from='j@x/&apos;b&apos;'><a/><p:b xmlns:p='w'/></iq>",
            ),
        ];
        for (frame, expected) in cases {
            assert_eq!(relayed(prefixed, frame, None), expected);
        }
        let without_default = "<stream:stream xmlns:c='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
        assert_eq!(
            relayed(without_default, "<c:iq><a/></c:iq>", None),
            "<c:iq from='j@x/&apos;b&apos;' xmlns='' xmlns:c='jabber:client'><a/></c:iq>"
        );
    }

    #[test]
    fn a_warm_relay_allocates_nothing() {
        let (mut scan, mut out, ns) = (Scan::default(), Vec::new(), StreamNs::standard());
        let frame = b"<message from='a' xml:lang='en'><body>b</body><stream:x/></message>";
        let mut run = |out: &mut Vec<u8>| {
            out.clear();
            scan.step(frame, Expect::Frames, ns, &LIMITS).unwrap();
            relay(scan.head(), frame, ns, "j@x", None, out);
            (scan.heap_bytes(), out.capacity())
        };
        (0..3).for_each(|_| _ = run(&mut out));
        let warm = run(&mut out);
        assert!((0..100).all(|_| run(&mut out) == warm));
    }
}
