//! What a first-level element is, whatever the state: by expanded name, from the scanner's head alone.
//!
//! Prefixes are not significant (RFC 6120 §11.2), with one exception that the RFC makes itself: a stanza must not
//! have one (§4.8.5).

use super::Dialect;
use super::error::StreamCondition;
use crate::jid::{self, Jid};
use crate::xml::{Head, StreamNs};
use std::borrow::Cow;

pub(super) const NS_STREAMS: &str = "http://etherx.jabber.org/streams";
pub(super) const NS_CLIENT: &str = "jabber:client";
pub(super) const NS_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub(super) const NS_TLS_2002: &str = "http://www.ietf.org/rfc/rfc2595.txt";
pub(super) const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub(super) const NS_SASL_2002: &str = "http://www.iana.org/assignments/sasl-mechanisms";
pub(super) const NS_IQ_AUTH: &str = "jabber:iq:auth";
pub(super) const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// What a client says in the course of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Auth,
    Response,
    Abort,
}

/// A first-level element, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    StartTls(Dialect),
    Sasl(Dialect, Verb),
    Iq,
    /// A message or presence.
    Stanza,
    /// The peer's `<stream:error/>`.
    StreamError,
    /// Nothing that we know; the condition to close with.
    Unknown(StreamCondition),
}

/// Names the element.
pub(super) fn kind(head: &Head, bytes: &[u8], ns: &StreamNs) -> Kind {
    let uri = head.ns(bytes, ns);
    match (&*uri, head.local(bytes)) {
        (NS_CLIENT, "iq" | "message" | "presence") if head.prefix(bytes).is_some() => {
            Kind::Unknown(StreamCondition::BadNamespacePrefix)
        }
        (NS_CLIENT, "iq") => Kind::Iq,
        (NS_CLIENT, "message" | "presence") => Kind::Stanza,
        (NS_TLS, "starttls") => Kind::StartTls(Dialect::Rfc6120),
        (NS_TLS_2002, "starttls") => Kind::StartTls(Dialect::Xep0035),
        (NS_SASL, local) => sasl(Dialect::Rfc6120, local),
        (NS_SASL_2002, local) => sasl(Dialect::Xep0035, local),
        (NS_STREAMS, "error") => Kind::StreamError,
        // §4.8.3: a content namespace that this stream does not have.
        ("" | "jabber:server" | "jabber:component:accept", _) => Kind::Unknown(StreamCondition::InvalidNamespace),
        _ => Kind::Unknown(StreamCondition::UnsupportedStanzaType),
    }
}

fn sasl(dialect: Dialect, local: &str) -> Kind {
    match local {
        "auth" => Kind::Sasl(dialect, Verb::Auth),
        "response" => Kind::Sasl(dialect, Verb::Response),
        "abort" => Kind::Sasl(dialect, Verb::Abort),
        _ => Kind::Unknown(StreamCondition::UnsupportedStanzaType),
    }
}

/// The `type` of an IQ that wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IqType {
    Get,
    Set,
}

/// An IQ, as far as it matters before a session is bound.
#[derive(Debug)]
pub(super) struct Iq<'a> {
    pub(super) head: &'a Head,
    pub(super) bytes: &'a [u8],
    pub(super) id: Cow<'a, str>,
    pub(super) kind: IqType,
    pub(super) payload: Payload,
}

/// What an IQ carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    IqAuth,
    Bind,
    Other,
}

/// What is to be done with an IQ before anything is bound.
#[derive(Debug)]
pub(super) enum IqFate<'a> {
    /// It is a request to the server or to the own account.
    Ours(Iq<'a>),
    /// It is not a request: `type`, `id` or the number of children is wrong (RFC 6120 §8.2.3). Carries the id.
    Malformed(Option<Cow<'a, str>>),
    /// A result or an error: never answered.
    Ignored,
    /// For somebody else, which must wait until a session is bound (RFC 6120 §7.1).
    Elsewhere,
}

/// Looks at an IQ on a stream to `domain`; `account` is who logged in, if somebody has.
pub(super) fn iq<'a>(
    head: &'a Head,
    bytes: &'a [u8],
    ns: &StreamNs,
    domain: &str,
    account: Option<&Jid>,
) -> IqFate<'a> {
    if !is_ours(head, bytes, domain, account) {
        return IqFate::Elsewhere;
    }
    let id = head.attr(bytes, "id").filter(|id| !id.is_empty());
    let kind = match head.attr(bytes, "type").as_deref() {
        Some("get") => IqType::Get,
        Some("set") => IqType::Set,
        Some("result" | "error") => return IqFate::Ignored,
        _ => return IqFate::Malformed(id),
    };
    let ([child], 1, Some(id)) = (head.children(), head.child_count(), id.clone()) else {
        return IqFate::Malformed(id);
    };
    let payload = if child.is(bytes, ns, NS_IQ_AUTH, "query") {
        Payload::IqAuth
    } else if child.is(bytes, ns, NS_BIND, "bind") {
        Payload::Bind
    } else {
        Payload::Other
    };
    IqFate::Ours(Iq { head, bytes, id, kind, payload })
}

fn is_ours(head: &Head, bytes: &[u8], domain: &str, account: Option<&Jid>) -> bool {
    let Some(to) = head.attr(bytes, "to") else { return true };
    let mut scratch = String::new();
    let Ok(to) = jid::prepare(&to, &mut scratch) else { return false };
    to.as_str() == domain || account.is_some_and(|account| account.as_str() == to.bare())
}
