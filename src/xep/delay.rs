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

/// A message as it is kept: without stamps that claim to be the domain's (§4). `None` if one hides behind more
/// children than are recorded.
pub fn without_claims(stanza: Vec<u8>, domain: &str) -> Option<Vec<u8>> {
    let mut scan = Scan::default();
    let limits = XmlLimits::with_frame_bytes(u32::MAX);
    let Ok(Step::Frame { .. }) = scan.step(&stanza, Expect::Frames, StreamNs::standard(), &limits) else {
        return None;
    };
    let (head, ns) = (scan.head(), StreamNs::standard());
    let are_all_known = head.child_count() as usize == head.children().len();
    if are_all_known && !head.children().iter().any(|child| child.is(&stanza, ns, NS, "delay")) {
        return Some(stanza);
    }
    let tree = Tree::parse(&stanza, head, ns).ok()?;
    let mut claimed: Vec<Range<usize>> = Vec::new();
    for (at, child) in tree.root().children().enumerate() {
        if child.is(NS, "delay") && child.attr("from") == Some(domain) {
            claimed.push(head.children().get(at)?.span());
        }
    }
    let mut kept = stanza;
    for span in claimed.into_iter().rev() {
        kept.drain(span);
    }
    Some(kept)
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
        let kept = without_claims(stanza.into_bytes(), "example.com").unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), format!("<message><body>b</body>{other}</message>"));
        let crowd = "<a/>".repeat(40);
        let hidden = format!("<message>{crowd}{ours}</message>");
        assert_eq!(without_claims(hidden.into_bytes(), "example.com"), None);
        let honest = format!("<message>{ours}{crowd}{other}</message>");
        let kept = without_claims(honest.into_bytes(), "example.com").unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), format!("<message>{crowd}{other}</message>"));
    }
}
