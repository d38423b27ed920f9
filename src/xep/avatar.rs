//! XEP-0153: vCard-Based Avatars: the photo's hash in presence, put there by the server as XEP-0398 §4 has it.

use crate::xml::{Child, Head, StreamNs, Tree, Writer};
use std::fmt::Write as _;

/// The namespace of the element.
pub const NS: &str = "vcard-temp:x:update";

/// Adds the hash of the account's photo to a presence, unless the client says something about its photo itself; an
/// `<x/>` that says nothing is replaced. `head`, `bytes` and `ns` are the client's stanza, `out` is what has been made
/// of it: another top tag, and the rest as it came.
pub fn inject(head: &Head, bytes: &[u8], ns: &StreamNs, hash: &[u8; 20], out: &mut Vec<u8>) {
    if head.child(bytes, ns, NS, "x").is_some() {
        if says_something(head, bytes, ns) {
            return;
        }
        take_out(head, bytes, ns, out);
    }
    let is_empty = out.ends_with(b"/>");
    let end = match is_empty {
        true => out.len().saturating_sub(2),
        false => out.windows(2).rposition(|two| two == b"</").unwrap_or(out.len()),
    };
    let back = out.split_off(end);
    if is_empty {
        out.push(b'>');
    }
    Writer::new(out).open("x").attr("xmlns", NS).leaf("photo", &hex(hash)).close();
    out.extend_from_slice(if is_empty { b"</presence>" } else { &back });
}

/// An `<x/>` with a `<photo/>`: an empty one means that the client is not ready, a full one is its own.
fn says_something(head: &Head, bytes: &[u8], ns: &StreamNs) -> bool {
    let speaks = |tree: Tree| tree.root().children().any(|x| x.is(NS, "x") && x.child(NS, "photo").is_some());
    Tree::parse(bytes, head, ns).is_ok_and(speaks)
}

/// Takes the client's elements out, the last first: behind the top tag all stands where it came, only further on.
fn take_out(head: &Head, bytes: &[u8], ns: &StreamNs, out: &mut Vec<u8>) {
    let added = out.len() as isize - bytes.len() as isize;
    let empty = head.children().iter().filter(|child| child.is(bytes, ns, NS, "x"));
    for span in empty.rev().map(Child::span) {
        let (start, end) = (span.start.checked_add_signed(added), span.end.checked_add_signed(added));
        let (Some(start), Some(end)) = (start, end) else { return };
        if out.get(start..end) == bytes.get(span) {
            out.drain(start..end);
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
