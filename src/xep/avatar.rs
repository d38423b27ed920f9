//! XEP-0153: vCard-Based Avatars: the photo's hash in presence, put there by the server as XEP-0398 §4 has it.

use crate::xml::{Head, StreamNs, Tree, Writer};
use std::fmt::Write as _;

/// The namespace of the element.
pub const NS: &str = "vcard-temp:x:update";

/// Adds the hash of the account's photo to a presence payload, unless the client says something about its photo
/// itself. `head`, `bytes` and `ns` are the client's stanza, `out` is the payload made of it.
pub fn inject(head: &Head, bytes: &[u8], ns: &StreamNs, hash: &[u8; 20], out: &mut Vec<u8>) {
    if head.child(bytes, ns, NS, "x").is_some() && says_something(head, bytes, ns) {
        return;
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
    Tree::parse(bytes, head, ns)
        .is_ok_and(|tree| tree.root().child(NS, "x").is_some_and(|x| x.child(NS, "photo").is_some()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
