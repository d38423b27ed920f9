//! The stream of an external component: a header, a handshake, and from then on stanzas (XEP-0114). No socket, no clock.
//!
//! ```text
//! Opening ──header for a free name──▶ Greeted ──right handshake──▶ Joined: [`ComponentStream::into_joined`]
//!
//! everywhere: error, end tag, deadline, shutdown ──▶ Closing
//! ```
//!
//! There is one attempt a stream, and no TLS and no SASL: the protocol has neither, so whoever listens for it listens on
//! this machine only. Its streams have no version: errors carry a text, and no features are sent. A name whose component
//! is connected already is refused with `conflict` (§3 allows that): the one that works goes on working, and two programs
//! with one name do not throw each other out for ever.
//!
//! XEP-0114 §3; RFC 6120 §4.4, §4.8, §4.9.

use super::element::NS_STREAMS;
use super::error::{AppCondition, StreamCondition, app_condition, write_stream_end, write_stream_error};
use super::header::{attr, lang};
use super::interface::{CloseHow, Input};
use crate::crypto::digest;
use crate::jid;
use crate::random::Random;
use crate::xml::{CLIENT, COMPONENT, Head, StreamNs, Tree};
use std::fmt;
use std::mem;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What a component proves itself with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// These words.
    #[must_use]
    pub fn new(words: String) -> Self {
        Self(Zeroizing::new(words))
    }

    /// What a component that knows it says on the stream `id`: the lower-case hexadecimal SHA-1 of both (§3).
    #[must_use]
    pub fn handshake(&self, id: &str) -> String {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(id.as_bytes());
        context.update(self.0.as_bytes());
        let mut hex = String::with_capacity(40);
        for byte in context.finish().as_ref() {
            for digit in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        hex
    }

    /// Whether `said` is that, in a time that tells nothing about where it differs.
    fn is_proven_by(&self, id: &str, said: &str) -> bool {
        self.handshake(id).as_bytes().ct_eq(said.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A component that the operator knows.
#[derive(Clone, Copy, Debug)]
pub struct KnownComponent<'a> {
    /// What it proves itself with.
    pub secret: &'a Secret,
    /// Whether it is connected.
    pub is_connected: bool,
}

/// The components that the operator knows.
pub trait Components {
    /// The one of this name; `name` is a prepared domainpart.
    fn known(&self, name: &str) -> Option<KnownComponent<'_>>;
    /// Who speaks where the name is not known.
    fn speaker(&self) -> &str;
}

/// What a step may look at and write to.
pub struct ComponentContext<'a> {
    /// Who may connect.
    pub components: &'a dyn Components,
    /// Stream ids.
    pub random: &'a mut Random,
    /// Bytes for the peer are appended here.
    pub out: &'a mut Vec<u8>,
}

/// What the caller has to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    GoOn,
    /// The component is who it says: [`ComponentStream::into_joined`].
    Joined,
    /// The stream ends with this error.
    Refused {
        /// What it was told.
        condition: StreamCondition,
        /// How the connection ends.
        how: CloseHow,
    },
    /// The connection ends.
    Close(CloseHow),
}

#[derive(Debug)]
enum State {
    Opening,
    Greeted { name: Box<str>, id: Box<str> },
    Joined { name: Box<str> },
    Closing,
}

/// The automaton of one connection, until the component is in.
#[derive(Debug)]
pub struct ComponentStream {
    state: State,
    ns: StreamNs,
    lang: Option<Box<str>>,
}

/// What is left of it once the component is in.
#[derive(Debug)]
pub struct JoinedStream {
    /// The domain that the component answers for.
    pub name: Box<str>,
    /// The header's declarations, `jabber:client` in the place of the component's content namespace; none if those are
    /// the usual ones.
    pub ns: Option<Box<StreamNs>>,
    /// The peer's `xml:lang`.
    pub lang: Option<Box<str>>,
}

impl JoinedStream {
    /// The namespaces of the stream header, `jabber:client` in the place of the component's.
    #[must_use]
    pub fn ns(&self) -> &StreamNs {
        self.ns.as_deref().unwrap_or(StreamNs::standard())
    }
}

impl ComponentStream {
    /// A new connection.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Opening, ns: StreamNs::new(), lang: None }
    }

    /// What the scanner resolves names with.
    #[must_use]
    pub fn ns(&self) -> &StreamNs {
        &self.ns
    }

    /// What routing needs of all this; none before the handshake.
    #[must_use]
    pub fn into_joined(self) -> Option<JoinedStream> {
        let State::Joined { name } = self.state else { return None };
        Some(JoinedStream { name, ns: (!self.ns.is_standard()).then(|| Box::new(self.ns)), lang: self.lang })
    }

    /// Takes one input and writes replies.
    pub fn handle(&mut self, input: Input<'_>, cx: &mut ComponentContext<'_>) -> Outcome {
        use {Input as I, State as S};
        match (&self.state, input) {
            (S::Closing, I::StreamEnd | I::XmlFault(_)) => Outcome::Close(CloseHow::AfterFlush),
            (S::Closing, _) | (_, I::Whitespace) => Outcome::GoOn,
            (S::Opening, I::Header { head, bytes }) => self.header(head, bytes, cx),
            (S::Greeted { .. }, I::Element { head, bytes, .. }) => self.element(head, bytes, cx),
            (_, I::Header { .. }) => self.fail(cx, StreamCondition::UnsupportedStanzaType, None),
            (_, I::StreamEnd) => self.end(cx),
            (_, I::XmlFault(fault)) => self.break_off(cx, fault.into(), None, app_condition(fault)),
            (_, I::Timeout) => self.fail(cx, StreamCondition::ConnectionTimeout, None),
            (_, I::Shutdown) => self.fail(cx, StreamCondition::SystemShutdown, None),
            (_, I::Conflict) => self.fail(cx, StreamCondition::Conflict, None),
            (_, I::Fault(condition)) => self.fail(cx, condition, None),
            // What only a client's stream is ever told.
            (
                _,
                I::Element { .. }
                | I::Drained
                | I::Secured(_)
                | I::Hashed(_)
                | I::Overloaded
                | I::Bound(_)
                | I::BindRefused(_),
            ) => self.fail(cx, StreamCondition::InternalServerError, None),
        }
    }

    /// §3: whether a component of that name is served, and free.
    fn header(&mut self, head: &Head, bytes: &[u8], cx: &mut ComponentContext<'_>) -> Outcome {
        let ns = StreamNs::from_header(head, bytes);
        let is_stream = head.ns(bytes, &ns) == NS_STREAMS;
        let is_served = is_stream && ns.default_ns() == COMPONENT;
        self.ns = ns.of_component();
        self.lang = lang(head, bytes);
        if !is_served {
            return self.fail(cx, StreamCondition::InvalidNamespace, Some(COMPONENTS_ONLY));
        }
        if head.local(bytes) != "stream" {
            return self.fail(cx, StreamCondition::BadFormat, None);
        }
        let Some(to) = head.attr(bytes, "to") else {
            return self.fail(cx, StreamCondition::HostUnknown, Some(NAME_YOURSELF));
        };
        let Ok(name) = jid::prepare_domainpart(&to) else {
            return self.fail(cx, StreamCondition::ImproperAddressing, None);
        };
        let id = cx.random.token();
        match cx.components.known(&name).map(|known| known.is_connected) {
            None => self.fail(cx, StreamCondition::HostUnknown, Some(NOT_CONFIGURED)),
            Some(is_connected) => {
                write_header(&name, &id, cx.out);
                self.state = State::Greeted { name: name.into(), id: id.into() };
                if is_connected { self.fail(cx, StreamCondition::Conflict, Some(CONNECTED)) } else { Outcome::GoOn }
            }
        }
    }

    fn element(&mut self, head: &Head, bytes: &[u8], cx: &mut ComponentContext<'_>) -> Outcome {
        let uri = head.ns(bytes, &self.ns);
        match (&*uri, head.local(bytes)) {
            (CLIENT | COMPONENT, "handshake") => self.handshake(head, bytes, cx),
            (CLIENT | COMPONENT, "iq" | "message" | "presence") => {
                self.fail(cx, StreamCondition::NotAuthorized, Some("The handshake comes first"))
            }
            (NS_STREAMS, "error") => self.end(cx),
            _ => self.fail(cx, StreamCondition::UnsupportedStanzaType, None),
        }
    }

    fn handshake(&mut self, head: &Head, bytes: &[u8], cx: &mut ComponentContext<'_>) -> Outcome {
        let State::Greeted { name, id } = mem::replace(&mut self.state, State::Closing) else { return Outcome::GoOn };
        let said = Tree::parse(bytes, head, &self.ns).map(|tree| Zeroizing::new(tree.root().text().into_owned()));
        let known = cx.components.known(&name);
        let is_right = known.is_some_and(|known| said.is_ok_and(|said| known.secret.is_proven_by(&id, &said)));
        let is_taken = known.is_some_and(|known| known.is_connected);
        self.state = State::Greeted { name, id };
        if !is_right {
            return self.fail(cx, StreamCondition::NotAuthorized, Some("The handshake does not fit the secret"));
        }
        // Another one was faster between the header and this.
        if is_taken {
            return self.fail(cx, StreamCondition::Conflict, Some(CONNECTED));
        }
        if let State::Greeted { name, .. } = mem::replace(&mut self.state, State::Closing) {
            self.state = State::Joined { name };
        }
        cx.out.extend_from_slice(b"<handshake/>");
        Outcome::Joined
    }

    fn end(&mut self, cx: &mut ComponentContext<'_>) -> Outcome {
        if !matches!(self.state, State::Opening) {
            write_stream_end(cx.out);
        }
        self.state = State::Closing;
        Outcome::Close(CloseHow::Linger)
    }

    fn fail(&mut self, cx: &mut ComponentContext<'_>, condition: StreamCondition, text: Option<&str>) -> Outcome {
        self.break_off(cx, condition, text, None)
    }

    /// A stream error, inside a header of ours even if there is none yet, and the end.
    fn break_off(
        &mut self,
        cx: &mut ComponentContext<'_>,
        condition: StreamCondition,
        text: Option<&str>,
        app: Option<AppCondition>,
    ) -> Outcome {
        if matches!(self.state, State::Opening) {
            let id = cx.random.token();
            write_header(cx.components.speaker(), &id, cx.out);
        }
        write_stream_error(cx.out, false, condition, text, app);
        write_stream_end(cx.out);
        self.state = State::Closing;
        Outcome::Refused { condition, how: CloseHow::Linger }
    }
}

impl Default for ComponentStream {
    fn default() -> Self {
        Self::new()
    }
}

const COMPONENTS_ONLY: &str = "Components only, in the namespace jabber:component:accept";
const NAME_YOURSELF: &str = "The header says in `to` which component it is";
const NOT_CONFIGURED: &str = "No component of this name is in the configuration";
const CONNECTED: &str = "A component of this name is connected already";

/// Our header, as §3 has it: without a version.
fn write_header(from: &str, id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream");
    for (name, value) in [("xmlns", COMPONENT), ("xmlns:stream", NS_STREAMS), ("from", from), ("id", id)] {
        attr(out, name, value);
    }
    out.push(b'>');
}

#[cfg(test)]
mod tests;
