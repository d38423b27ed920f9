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
    out.push(b'<');
    out.extend_from_slice(head.name.whole(bytes));
    write_attr(b"from", from, out);
    if let Some(lang) = lang.filter(|_| head.find(bytes, b"xml:lang").is_none()) {
        write_attr(b"xml:lang", lang, out);
    }
    redeclare(head, bytes, ns, out);
    let mut copied = (head.name.start + u32::from(head.name.len)) as usize;
    for attr in &head.attrs {
        let end = attr.value.range().end + 1;
        if !is_dropped(attr, bytes) {
            out.extend_from_slice(bytes.get(copied..end).unwrap_or_default());
        }
        copied = end;
    }
    out.extend_from_slice(bytes.get(copied..head.len as usize).unwrap_or_default());
}

/// The sender's `from`, and the declaration that every client stream has as its default.
fn is_dropped(attr: &Attr, bytes: &[u8]) -> bool {
    match attr.name.whole(bytes) {
        b"from" => true,
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
