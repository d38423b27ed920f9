//! XEP-0203: Delayed Delivery: the stamp on what has waited.

use super::time;
use crate::jid::{Jid, JidRef};
use crate::xml::{Child, Element, Head, StreamNs, Tree, Writer};

const NS: &str = "urn:xmpp:delay";
/// The format before it.
const NS_0091: &str = "jabber:x:delay";

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

/// Whether a message for `to` has a stamp that claims to be its server's, or the account's own: only they say how long
/// it has waited, and clients believe them (§4). The older format of XEP-0091 counts, too.
///
/// The answer must not depend on who is there: nobody may learn from it whether a message waits.
pub fn is_forged(head: &Head, bytes: &[u8], ns: &StreamNs, to: JidRef<'_>, own: &str) -> bool {
    let is_stamp = |child: &Child| child.is(bytes, ns, NS, "delay") || child.is(bytes, ns, NS_0091, "x");
    let are_all_known = head.child_count() as usize == head.children().len();
    if are_all_known && !head.children().iter().any(is_stamp) {
        return false;
    }
    let claims = |stamp: Element<'_>| {
        let from = stamp.attr("from").and_then(|from| Jid::parse(from).ok());
        from.is_some_and(|from| match from.localpart() {
            None => from.domainpart() == to.domainpart(),
            Some(_) => from.bare() == to.bare() && from.bare() != own,
        })
    };
    let stamps = |tree: &Tree| {
        let mut stamps = tree.root().children().filter(|child| child.is(NS, "delay") || child.is(NS_0091, "x"));
        stamps.any(claims)
    };
    // What passed the scan is a tree.
    Tree::parse(bytes, head, ns).is_ok_and(|tree| stamps(&tree))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Expect, Scan, Step, XmlLimits};

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
    fn stamps_that_claim_to_be_ours_are_forged() {
        let delay = |from: &str| format!("<delay xmlns='urn:xmpp:delay' from='{from}' stamp='x'/>");
        let old = "<o:x xmlns:o='jabber:x:delay' from='example.com' stamp='x'/>".to_owned();
        let crowd = "<a/>".repeat(40);
        let (juliet, own) = (Jid::parse("juliet@example.com/phone").unwrap(), "romeo@example.net");
        let judged = |children: &str, own: &str| {
            let stanza = format!("<message>{children}</message>");
            let mut scan = Scan::default();
            let limits = XmlLimits::with_frame_bytes(u32::MAX);
            let step = scan.step(stanza.as_bytes(), Expect::Frames, StreamNs::standard(), &limits);
            assert!(matches!(step, Ok(Step::Frame { .. })), "{step:?}");
            is_forged(scan.head(), stanza.as_bytes(), StreamNs::standard(), juliet.as_ref(), own)
        };
        for from in [
            "example.com",
            "EXAMPLE.com",
            "example.com.",
            "example.com/x",
            "juliet@example.com",
            "juliet@example.com/phone",
        ] {
            assert!(judged(&delay(from), own), "{from}");
            assert!(judged(&format!("{crowd}{}", delay(from)), own), "{from} behind a crowd");
        }
        assert!(judged(&old, own));
        for from in ["room.example.com", "romeo@example.net", "nurse@example.com", "@", ""] {
            assert!(!judged(&format!("<body>b</body>{}", delay(from)), own), "{from}");
        }
        assert!(!judged("<delay xmlns='urn:xmpp:delay' stamp='x'/>", own));
        assert!(!judged(&format!("<f xmlns='urn:xmpp:forward:0'>{}</f>", delay("example.com")), own), "not its own");
        assert!(!judged(&delay("juliet@example.com"), "juliet@example.com"), "a note to oneself");
    }
}
