//! Answers to IQs before there is a session: they carry nothing but the id and what was asked for.
//!
//! Errors never repeat the request: it may hold a password (XEP-0078 §3.1).
//!
//! RFC 6120 §8.2.3, §8.3; XEP-0086 for the codes.

use crate::stanza::StanzaCondition;
use crate::xml;

/// Opens a result; the caller writes its payload and [`close_result`].
pub(super) fn open_result(id: &str, out: &mut Vec<u8>) {
    open("result", Some(id), out);
    out.push(b'>');
}

pub(super) fn close_result(out: &mut Vec<u8>) {
    out.extend_from_slice(b"</iq>");
}

/// A result without payload.
pub(super) fn empty_result(id: &str, out: &mut Vec<u8>) {
    open("result", Some(id), out);
    out.extend_from_slice(b"/>");
}

/// How an error is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorStyle {
    /// RFC 6120's.
    Plain,
    /// The same with the number that clients before 2003 look at.
    WithCode,
}

/// An error, with an application-specific condition of `urn:xmpp:errors` if there is one.
pub(super) fn error(
    id: Option<&str>,
    condition: StanzaCondition,
    style: ErrorStyle,
    app: Option<&'static str>,
    out: &mut Vec<u8>,
) {
    open("error", id, out);
    out.extend_from_slice(b"><error");
    if style == ErrorStyle::WithCode {
        out.extend_from_slice(b" code='");
        out.extend_from_slice(condition.legacy_code().to_string().as_bytes());
        out.push(b'\'');
    }
    out.extend_from_slice(b" type='");
    out.extend_from_slice(condition.default_type().name().as_bytes());
    out.extend_from_slice(b"'><");
    out.extend_from_slice(condition.name().as_bytes());
    out.extend_from_slice(b" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
    if let Some(app) = app {
        out.push(b'<');
        out.extend_from_slice(app.as_bytes());
        out.extend_from_slice(b" xmlns='urn:xmpp:errors'/>");
    }
    out.extend_from_slice(b"</error></iq>");
}

fn open(kind: &str, id: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<iq type='");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'\'');
    if let Some(id) = id {
        out.extend_from_slice(b" id='");
        xml::escape_attr(id, out);
        out.push(b'\'');
    }
}
