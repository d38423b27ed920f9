//! XEP-0203: Delayed Delivery: the stamp on what has waited.

use super::time;
use crate::xml::{Expect, Scan, Step, StreamNs, Tree, Writer, XmlLimits};
use std::ops::Range;

const NS: &str = "urn:xmpp:delay";

/// Appends a message that has waited, with a stamp of the domain's as its last child.
pub fn write(stanza: &[u8], domain: &str, unix_ms: u64, out: &mut Vec<u8>) {
    let is_empty = stanza.ends_with(b"/>");
    let end = match is_empty {
        true => stanza.len() - 2,
        // The end tag is the last thing of a stanza.
        false => stanza.windows(2).rposition(|two| two == b"</").unwrap_or(stanza.len()),
    };
    let (front, back) = stanza.split_at_checked(end).unwrap_or((stanza, &[]));
    out.extend_from_slice(front);
    if is_empty {
        out.push(b'>');
    }
    let stamp = time::stamp_ms(unix_ms);
    Writer::new(out).open("delay").attr("xmlns", NS).attr("from", domain).attr("stamp", &stamp).close();
    out.extend_from_slice(if is_empty { b"</message>" } else { back });
}

/// A message as it is kept: without stamps that claim to be the domain's (§4).
pub fn without_claims(stanza: Vec<u8>, domain: &str) -> Vec<u8> {
    let mut scan = Scan::default();
    let limits = XmlLimits::with_frame_bytes(u32::MAX);
    let Ok(Step::Frame { .. }) = scan.step(&stanza, Expect::Frames, StreamNs::standard(), &limits) else {
        return stanza;
    };
    let head = scan.head();
    let ns = StreamNs::standard();
    if !head.children().iter().any(|child| child.is(&stanza, ns, NS, "delay")) {
        return stanza;
    }
    let Ok(tree) = Tree::parse(&stanza, head, ns) else { return stanza };
    let spans = head.children().iter().map(super::super::xml::Child::span);
    let claims = tree.root().children().map(|child| child.is(NS, "delay") && child.attr("from") == Some(domain));
    let claimed: Vec<Range<usize>> = spans.zip(claims).filter(|(_, claims)| *claims).map(|(span, _)| span).collect();
    let mut kept = stanza;
    for span in claimed.into_iter().rev() {
        kept.drain(span);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_the_last_child() {
        let cases = [
            ("<message to='b'><body>&lt;/x</body></message>", "<message to='b'><body>&lt;/x</body>", "</message>"),
            ("<message><a/></message >", "<message><a/>", "</message >"),
            ("<message to='b'/>", "<message to='b'>", "</message>"),
        ];
        for (stanza, front, back) in cases {
            let mut out = Vec::new();
            write(stanza.as_bytes(), "example.com", 1_031_699_305_123, &mut out);
            let stamp = "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='2002-09-10T23:08:25.123Z'/>";
            assert_eq!(String::from_utf8(out).unwrap(), format!("{front}{stamp}{back}"));
        }
    }

    #[test]
    fn stamps_that_claim_to_be_ours_are_taken_out() {
        let ours = "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='x'/>";
        let other = "<delay xmlns='urn:xmpp:delay' from='room.example.com' stamp='x'/>";
        let stanza = format!("<message>{ours}<body>b</body>{other}{ours}</message>");
        let kept = without_claims(stanza.into_bytes(), "example.com");
        assert_eq!(String::from_utf8(kept).unwrap(), format!("<message><body>b</body>{other}</message>"));
    }
}
