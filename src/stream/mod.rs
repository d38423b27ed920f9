//! Stream negotiation: from the first byte to a bound session, in both dialects. No socket, no clock, no sessions.
//!
//! ```text
//!  direct TLS ─▶ Handshaking ◀─Drained── Proceeding ◀─starttls─┐
//!                    │ Secured                                 │
//!  plain ──────▶ Opening ──header──▶ Open ─────────────────────┘
//!                    ▲                │ auth          ▲ failure
//!                    │                ▼               │
//!                    │            Exchanging ◀──▶ Hashing
//!   RFC 6120: success│                │ success       │ XEP-0078: right password
//!                    └────────────────┤               │
//!         XEP-0034: (Confirming ▶) LoggedIn ──────────┤ session start
//!   RFC 6120: header ──────────────▶ LoggedIn ──bind──┴──▶ Binding ──▶ Bound
//!
//!  everywhere: error, end tag, deadline, shutdown ──▶ Closing
//! ```
//!
//! The two dialects share the automaton and differ in data: which namespaces are answered to, what a go-ahead looks
//! like, how a refusal ends. Each stream header chooses anew; what was learnt in the clear is gone after the flip.
//! What a connection has achieved (`Stage`) stands beside what it is waiting for (`State`).
//!
//! A handler reads before it writes: if an account's row is not in memory it answers [`Parked`] and has changed
//! nothing.
//!
//! RFC 6120 §4–§7; XEP-0035, XEP-0034, XEP-0078; XEP-0178, XEP-0440, XEP-0478.

mod auth;
mod bind;
pub mod component;
mod element;
pub mod error;
mod features;
mod header;
mod interface;
mod legacy;
mod memory;
mod open;
mod reply;
mod starttls;
#[cfg(test)]
mod tests;
mod wire;

pub use header::LANG_BYTES_MAX;
pub use interface::{
    Ask, BindRefusal, BoundStream, CloseHow, ConflictRule, Context, DomainPolicy, HashSet, Input, Parked, Policy,
    StreamAccounts,
};

use crate::jid::Jid;
use crate::sasl::{BindingData, Exchange, Offer};
use crate::xml::{Head, StreamNs, XmlError};
use element::Kind;
use error::{AppCondition, StreamCondition};

pub use crate::limits::NEGOTIATION_ELEMENTS_MAX;

/// Which of the two ways of speaking a stream or an element belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// A header with version 1.0 or above.
    Rfc6120,
    /// A header without version or below 1.0: XEP-0035 with XEP-0034 or XEP-0078, from 2002.
    Xep0035,
}

/// What the negotiation waits for.
#[derive(Debug)]
enum State {
    /// A stream header.
    Opening,
    /// STARTTLS or a login, whichever this stream allows.
    Open,
    /// The go-ahead is in the outbox, the gate shut.
    Proceeding,
    /// TLS is being set up.
    Handshaking,
    /// A SASL mechanism wants the client's next word.
    Exchanging(Box<Running>),
    /// A password is on the hashing thread, the gate shut.
    Hashing(Box<Hashing>),
    /// XEP-0034: the mechanism's last word went out as a challenge, which the client must acknowledge.
    Confirming(Box<Account>),
    /// The login is done; a resource is to be bound.
    LoggedIn,
    /// The core is binding a session, the gate shut.
    Binding(Box<bind::Pending>),
    /// There is a session: [`Negotiation::into_bound`].
    Bound(Jid),
    /// Our end tag is out.
    Closing,
}

/// A SASL mechanism at work.
#[derive(Debug)]
struct Running {
    exchange: Exchange,
    /// The account that it tries, once it has named one.
    localpart: Option<String>,
}

/// What waits for the hashing thread.
#[derive(Debug)]
enum Hashing {
    Sasl(Running),
    IqAuth(legacy::Attempt),
}

/// What the connection has achieved.
#[derive(Debug)]
enum Stage {
    Clear,
    Secure(Box<Secured>),
    Known(Account),
}

/// What TLS told us. Only the login needs it; dropped with it.
#[derive(Debug)]
struct Secured {
    bindings: BindingData,
    /// The client's certificates; empty if it presented none.
    chain: Vec<Vec<u8>>,
}

/// Who logged in.
#[derive(Clone, Debug)]
struct Account {
    /// A bare JID.
    jid: Jid,
    anonymous: bool,
}

/// What the header of the present stream settled.
#[derive(Debug)]
struct Stream {
    dialect: Dialect,
    /// The hosted domain that it is for.
    domain: Box<str>,
    /// The client's bare JID, if it gave one inside TLS.
    from: Option<Jid>,
    lang: Option<Box<str>>,
    login: Login,
    starttls: StartTls,
    /// XEP-0034's prefix as the client wrote it.
    sasl_prefix: Box<str>,
    /// What was really sent.
    offer: Offer,
    sasl_attempts_max: u8,
    bind_attempts_max: u8,
    conflict: ConflictRule,
}

impl Stream {
    /// Without a version, before TLS, there is one thing to say (docs/architecture.md §1).
    fn must_ask_for_tls(&self) -> bool {
        self.dialect == Dialect::Xep0035 && self.login == Login::TlsFirst
    }
}

/// How one logs in on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// Not before TLS.
    TlsFirst,
    /// By SASL.
    Sasl,
    /// By `jabber:iq:auth` with a password (XEP-0078).
    Password,
    /// Not at all: the client did not ask for SASL, and passwords are not allowed.
    Nothing,
    /// Already done, on the stream before.
    Done,
}

/// What this stream's header said about STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartTls {
    /// It may be asked for.
    Offered,
    /// The domain has no certificate.
    Unavailable,
    /// A header of 2002 that did not declare the namespace.
    Unasked,
    /// TLS is there.
    Done,
}

/// What a stream may not do without end.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    elements: u8,
    logins: u8,
    binds: u8,
    /// A SASL attempt came to nothing: `jabber:iq:auth` is no way around it (XEP-0078 §6).
    sasl_failed: bool,
}

/// The automaton of one connection, until it has a session.
#[derive(Debug)]
pub struct Negotiation {
    state: State,
    stage: Stage,
    ns: StreamNs,
    /// None while there is no stream.
    stream: Option<Box<Stream>>,
    tries: Tries,
}

impl Negotiation {
    /// A new connection. `direct_tls`: TLS comes before the first header (XEP-0368).
    #[must_use]
    pub fn new(direct_tls: bool) -> Self {
        let state = if direct_tls { State::Handshaking } else { State::Opening };
        Self { state, stage: Stage::Clear, ns: StreamNs::new(), stream: None, tries: Tries::default() }
    }

    /// The namespaces that the present stream's header declared.
    #[must_use]
    pub fn ns(&self) -> &StreamNs {
        &self.ns
    }

    /// Whether somebody has logged in.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        matches!(self.stage, Stage::Known(_))
    }

    /// Whether it has logged in to this account (a bare JID), or is about to.
    #[must_use]
    pub fn concerns(&self, bare: &str) -> bool {
        let tries = |localpart: Option<&str>| {
            let own = bare.strip_suffix(self.domain().unwrap_or_default()).and_then(|own| own.strip_suffix('@'));
            own.is_some() && own == localpart
        };
        let is_known = matches!(&self.stage, Stage::Known(account) if account.jid.as_str() == bare);
        is_known
            || match &self.state {
                State::Exchanging(running) => tries(running.localpart.as_deref()),
                State::Hashing(hashing) => match &**hashing {
                    Hashing::Sasl(running) => tries(running.localpart.as_deref()),
                    Hashing::IqAuth(attempt) => tries(attempt.localpart()),
                },
                State::Confirming(account) => account.jid.as_str() == bare,
                State::Binding(pending) => pending.is_for(bare),
                State::Opening
                | State::Open
                | State::Proceeding
                | State::Handshaking
                | State::LoggedIn
                | State::Bound(_)
                | State::Closing => false,
            }
    }

    /// The domain at which an account may be asked for on this stream: inside TLS, before a login, while none is under
    /// way. Whether the domain allows it is the caller's to know.
    #[must_use]
    pub fn may_register(&self) -> Option<&str> {
        let is_before_login = matches!((&self.state, &self.stage), (State::Open, Stage::Secure(_)));
        let stream = self.stream.as_deref().filter(|_| is_before_login)?;
        match stream.login {
            Login::Sasl | Login::Password => Some(&stream.domain),
            Login::TlsFirst | Login::Nothing | Login::Done => None,
        }
    }

    /// Whether the present stream is inside TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.stream.as_deref().is_some_and(|stream| stream.starttls == StartTls::Done)
    }

    /// Whether a session is bound: time for [`Negotiation::into_bound`].
    #[must_use]
    pub fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    /// Whether our end tag is out.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Whether the present stream is one of RFC 6120; none yet counts as one.
    #[must_use]
    pub fn is_version_1(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.dialect == Dialect::Rfc6120)
    }

    /// The domain that the present stream is for.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.stream.as_ref().map(|stream| &*stream.domain)
    }

    /// What the session needs of all this; none if no session is bound.
    #[must_use]
    pub fn into_bound(self) -> Option<BoundStream> {
        let State::Bound(jid) = self.state else { return None };
        let stream = self.stream?;
        Some(BoundStream {
            ns: (!self.ns.is_standard()).then(|| Box::new(self.ns)),
            lang: stream.lang,
            jid,
            version_1: stream.dialect == Dialect::Rfc6120,
            anonymous: matches!(&self.stage, Stage::Known(account) if account.anonymous),
        })
    }

    /// Takes one input, writes replies, asks for what it cannot do itself.
    ///
    /// # Errors
    ///
    /// [`Parked`]: a row is not in memory. Neither this nor anything in `cx` has changed; hand in the same input
    /// again once it is.
    pub fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) -> Result<(), Parked> {
        use {Input as I, State as S};
        match (&mut self.state, input) {
            // §4.4: the last word was ours. The peer's end tag, or the end of all sense, is worth knowing.
            (S::Closing, I::StreamEnd | I::XmlFault(_)) => self.close(cx, CloseHow::AfterFlush),
            (S::Closing, _) => {}

            // §5.4.3: no XML from the go-ahead to the end of the handshake, in no direction.
            (S::Proceeding, I::Drained) => self.flip(cx),
            (S::Handshaking, I::Secured(info)) => self.secured(info, cx),
            (S::Proceeding | S::Handshaking, _) => self.close(cx, CloseHow::Now),

            (S::Opening, I::Header { head, bytes }) => return self.header(head, bytes, cx),
            (S::Open | S::Exchanging(_) | S::Confirming(_) | S::LoggedIn, I::Element { head, bytes, trailing }) => {
                return self.element(head, bytes, trailing, cx);
            }
            (S::Open | S::Exchanging(_) | S::Confirming(_) | S::LoggedIn, I::Header { .. }) => self.header_again(cx),
            (S::Hashing(_), I::Hashed(outcome)) => self.hashed(&outcome, cx),
            (S::Hashing(_), I::Overloaded) => self.overloaded(cx),
            (S::Binding(_), I::Bound(jid)) => self.bound(jid, cx),
            (S::Binding(_), I::BindRefused(refusal)) => self.bind_refused(refusal, cx),

            (_, I::Whitespace) => {}
            (_, I::StreamEnd) => self.end(cx),
            (_, I::XmlFault(fault)) => self.xml_fault(fault, cx),
            (_, I::Timeout) => self.fail(cx, StreamCondition::ConnectionTimeout, None),
            (_, I::Shutdown) => self.fail(cx, StreamCondition::SystemShutdown, None),
            (_, I::Conflict) => self.fail(cx, StreamCondition::Conflict, None),
            (_, I::Fault(condition)) => self.fail(cx, condition, None),
            // The caller broke the rules: something arrived through a shut gate, or was never asked for.
            (
                _,
                I::Header { .. }
                | I::Element { .. }
                | I::Drained
                | I::Secured(_)
                | I::Hashed(_)
                | I::Overloaded
                | I::Bound(_)
                | I::BindRefused(_),
            ) => self.fail(cx, StreamCondition::InternalServerError, None),
        }
        Ok(())
    }

    /// A first-level element on an open stream, within the bound.
    fn element(&mut self, head: &Head, bytes: &[u8], trailing: bool, cx: &mut Context<'_>) -> Result<(), Parked> {
        if self.tries.elements >= NEGOTIATION_ELEMENTS_MAX {
            self.too_many(cx);
            return Ok(());
        }
        self.look_at(head, bytes, trailing, cx)?;
        self.tries.elements += 1;
        Ok(())
    }

    fn look_at(&mut self, head: &Head, bytes: &[u8], trailing: bool, cx: &mut Context<'_>) -> Result<(), Parked> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let dialect = stream.dialect;
        let kind = element::kind(head, bytes, &self.ns);
        let must_ask_for_tls = stream.must_ask_for_tls();
        match kind {
            Kind::StreamError => self.end(cx),
            Kind::StartTls(asked) if asked == dialect => self.starttls(head, trailing, cx),
            Kind::StartTls(_) if !must_ask_for_tls || stream.starttls == StartTls::Offered => {
                self.fail(cx, StreamCondition::UnsupportedStanzaType, None);
            }
            _ if must_ask_for_tls => self.tls_first(cx),
            Kind::Sasl(spoken, verb) if spoken == dialect => return self.sasl(verb, head, bytes, cx),
            Kind::Iq => return self.iq(head, bytes, cx),
            Kind::Stanza => self.fail(cx, StreamCondition::NotAuthorized, None),
            Kind::StartTls(_) | Kind::Sasl(..) => self.fail(cx, StreamCondition::UnsupportedStanzaType, None),
            Kind::Unknown(condition) => self.fail(cx, condition, None),
        }
        Ok(())
    }

    /// A header where none belongs: the stream that it opens would be inside this one.
    fn header_again(&mut self, cx: &mut Context<'_>) {
        match &self.stream {
            Some(stream) if stream.must_ask_for_tls() => self.tls_first(cx),
            _ => self.fail(cx, StreamCondition::UnsupportedStanzaType, None),
        }
    }

    /// The peer is done, or has an error: our stream ends too (§4.4, §4.9.1.1).
    fn end(&mut self, cx: &mut Context<'_>) {
        if self.stream.is_some() {
            error::write_stream_end(cx.out);
        }
        self.close(cx, CloseHow::Linger);
    }

    fn xml_fault(&mut self, fault: XmlError, cx: &mut Context<'_>) {
        self.break_off(cx, fault.into(), None, error::app_condition(fault), CloseHow::Linger);
    }

    /// More attempts than the policy allows (§6.4.5, §7.7.3).
    fn too_many(&mut self, cx: &mut Context<'_>) {
        self.fail(cx, StreamCondition::PolicyViolation, Some("Too many attempts"));
    }

    /// A stream error; the peer may finish what it is saying.
    fn fail(&mut self, cx: &mut Context<'_>, condition: StreamCondition, text: Option<&str>) {
        self.break_off(cx, condition, text, None, CloseHow::Linger);
    }

    /// A stream error, inside a header of ours even if there is none yet (§4.9.1.2), and the end.
    fn break_off(
        &mut self,
        cx: &mut Context<'_>,
        condition: StreamCondition,
        text: Option<&str>,
        app: Option<AppCondition>,
        how: CloseHow,
    ) {
        if self.stream.is_none() {
            self.write_header_for_error(cx);
        }
        error::write_stream_error(cx.out, self.is_version_1(), condition, text, app);
        error::write_stream_end(cx.out);
        self.close(cx, how);
    }

    /// What is not needed any more is dropped at once: a lingering connection should cost little.
    fn close(&mut self, cx: &mut Context<'_>, how: CloseHow) {
        if !self.is_authenticated() {
            self.stage = Stage::Clear;
        }
        self.stream = None;
        self.state = State::Closing;
        cx.asks.push(Ask::Close(how));
    }
}
