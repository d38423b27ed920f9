//! The border to components: their content namespace is another, and nothing else of a stanza differs.
//!
//! ```text
//! component stream (jabber:component:accept) ──inward──▶ the server (jabber:client) ──outward──▶ component stream
//! ```
//!
//! What leans on the stream header's default crosses the border without a change: it means the content namespace of
//! whatever stream it is on. Only who writes `xmlns='jabber:component:accept'` (or, the other way, `jabber:client`) on a
//! stanza or on a child of it has those bytes replaced. What stands inside a payload of another namespace, such as a
//! forwarded stanza (XEP-0297), is the payload's own and stays as it came.
//!
//! RFC 6120 §4.8.3; XEP-0114 §2.

use super::framer::{Expect, Scan, Step};
use super::head::{Head, Span};
use super::ns::{CLIENT, COMPONENT, NsRef, StreamNs, declared_prefix, means};
use super::{XmlLimits, ns};

/// The frame `head`, found in `bytes` on a component's stream, as a client would have written it; `None` if it is that
/// already. The copy is to be scanned again.
#[must_use]
pub fn inward(head: &Head, bytes: &[u8]) -> Option<Vec<u8>> {
    translated(head, bytes, COMPONENT, CLIENT)
}

/// Lets `write` append one stanza as for a client's stream, and puts it in a component's words.
pub fn outward(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let written = out.get(start..).unwrap_or_default();
    // Nearly every stanza leans on the header and is done here.
    if memchr::memmem::find(written, ns::CLIENT.as_bytes()).is_none() {
        return;
    }
    let mut scan = Scan::default();
    let limits = XmlLimits::with_frame_bytes(u32::MAX);
    // What the scan refuses now was accepted before it was stamped: it stays as it is.
    if let Ok(Step::Frame { len }) = scan.step(written, Expect::Frames, StreamNs::standard(), &limits)
        && let Some(translated) = translated(scan.head(), written.get(..len).unwrap_or_default(), CLIENT, COMPONENT)
    {
        out.truncate(start);
        out.extend_from_slice(&translated);
    }
}

fn translated(head: &Head, bytes: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let of_top = head.attrs.iter().filter(|attr| declared_prefix(attr.name, bytes).is_some()).map(|attr| attr.value);
    let of_children = head.children.iter().filter_map(|child| match child.ns {
        NsRef::Frame(span) if span.start > child.span.start => Some(span),
        NsRef::Frame(_) | NsRef::Header | NsRef::Xml => None,
    });
    let mut places: Vec<Span> = of_top.chain(of_children).filter(|span| means(span.of(bytes), from)).collect();
    if places.is_empty() {
        return None;
    }
    places.sort_unstable_by_key(|span| span.start);
    let mut out = Vec::with_capacity(bytes.len() + places.len() * to.len());
    let mut copied = 0;
    for place in places {
        let range = place.range();
        out.extend_from_slice(bytes.get(copied..range.start).unwrap_or_default());
        out.extend_from_slice(to.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"<stream:stream xmlns='jabber:component:accept' \
        xmlns:stream='http://etherx.jabber.org/streams' to='c.example'>";

    fn component_ns() -> StreamNs {
        let mut scan = Scan::default();
        scan.step(HEADER, Expect::Header, &StreamNs::new(), &XmlLimits::with_frame_bytes(1_000)).unwrap();
        StreamNs::from_header(scan.head(), HEADER)
    }

    fn came_in(frame: &str) -> Option<String> {
        let mut scan = Scan::default();
        let ns = component_ns().of_component();
        let step = scan.step(frame.as_bytes(), Expect::Frames, &ns, &XmlLimits::with_frame_bytes(10_000));
        assert_eq!(step, Ok(Step::Frame { len: frame.len() }));
        inward(scan.head(), frame.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn went_out(stanza: &str) -> String {
        let mut out = b"before".to_vec();
        outward(&mut out, |out| out.extend_from_slice(stanza.as_bytes()));
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn the_header_of_a_component_is_read_as_a_clients() {
        assert_eq!(component_ns().default_ns(), COMPONENT);
        assert!(component_ns().of_component().is_standard());
        assert!(StreamNs::standard().clone().of_component().is_standard());
    }

    #[test]
    fn what_leans_on_the_header_crosses_as_it_is() {
        for frame in [
            "<message from='a@c.example' to='b@h'><body>jabber:component:accept</body></message>",
            "<iq><query xmlns='jabber:iq:version'/></iq>",
        ] {
            assert_eq!(came_in(frame), None);
            assert_eq!(went_out(frame), frame);
        }
        let text = "<message><body>jabber:client</body></message>";
        assert_eq!(went_out(text), text);
    }

    #[test]
    fn a_content_namespace_that_is_written_down_is_translated() {
        let cases = [
            ("<message xmlns='NS' to='b'><body/></message>", "<message xmlns='TO' to='b'><body/></message>"),
            (
                "<message to='b'><body xmlns=\"NS\">NS</body></message>",
                "<message to='b'><body xmlns=\"TO\">NS</body></message>",
            ),
            (
                "<message xmlns='NS'><subject xmlns='NS'/><body xmlns='NS'>&lt;</body></message>",
                "<message xmlns='TO'><subject xmlns='TO'/><body xmlns='TO'>&lt;</body></message>",
            ),
        ];
        for (frame, expected) in cases {
            let put = |text: &str, ns: &str, to: &str| text.replace("NS", ns).replace("TO", to);
            // In text the word stays what it was.
            let expect = |ns: &str, to: &str| put(expected, ns, to);
            assert_eq!(came_in(&put(frame, COMPONENT, "")).as_deref(), Some(expect(COMPONENT, CLIENT).as_str()));
            assert_eq!(went_out(&put(frame, CLIENT, "")), expect(CLIENT, COMPONENT));
        }
    }

    #[test]
    fn what_is_inside_another_payload_is_its_own() {
        let forwarded = "<message to='b'><forwarded xmlns='urn:xmpp:forward:0'>\
            <message xmlns='jabber:client'><body/></message></forwarded></message>";
        assert_eq!(went_out(forwarded), forwarded);
        assert_eq!(came_in(&forwarded.replace("jabber:client", COMPONENT)), None);
    }
}
