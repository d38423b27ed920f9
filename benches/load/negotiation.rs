//! A client's way from the first byte to a bound session, in each dialect, without a socket.
//!
//! ```text
//! frames ──Token──▶ Negotiation ──▶ bytes to send, Step (flip to TLS, restart the stream, ready)
//! ```
//!
//! It sends one thing at a time and waits for the answer, as most clients do. What the server does not offer
//! is [`Failure::Unsupported`], so that a scenario can be skipped and not fail.
//!
//! RFC 6120 §4–7; XEP-0035 §2, XEP-0078.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::frames::{Token, between, has};
use crate::plan::{Dialect, Goal, Mechanism, Plan};
use crate::scram::{Keys, Scram};

const TLS_NS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const TLS_2002_NS: &str = "http://www.ietf.org/rfc/rfc2595.txt";
const SASL_NS: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND_NS: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const SESSION_NS: &str = "urn:ietf:params:xml:ns:xmpp-session";

/// What the connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sends what was written and waits.
    Wait,
    /// Puts TLS on the socket, then calls [`Negotiation::secured`].
    Flip,
    /// Expects a new stream header.
    Restart,
    /// The goal is reached.
    Ready,
}

/// Why a negotiation ended before its goal.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The server does not offer what was asked for.
    Unsupported(String),
    /// It went wrong.
    Broken(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    ClearHeader,
    ClearFeatures,
    Proceed,
    GoAhead,
    Handshake,
    Header,
    Features,
    Sasl,
    BoundHeader,
    BindFeatures,
    Bind,
    Session,
    LegacyHeader,
    LegacyAuth,
}

/// One client's negotiation; dropped once it is ready.
#[derive(Debug)]
pub(crate) struct Negotiation {
    plan: Arc<Plan>,
    stage: Stage,
    account: u32,
    resource: String,
    scram: Option<Scram>,
    wants_session: bool,
    jid: String,
}

impl Negotiation {
    /// A negotiation that has not begun.
    pub(crate) fn new(plan: Arc<Plan>, account: u32, resource: String) -> Self {
        let (stage, jid) = (Stage::Handshake, String::new());
        Self { plan, stage, account, resource, scram: None, wants_session: false, jid }
    }

    /// Whose session it will be.
    pub(crate) fn account(&self) -> u32 {
        self.account
    }

    /// The full JID, once ready.
    pub(crate) fn jid(&self) -> &str {
        &self.jid
    }

    /// Where it stands, for messages.
    pub(crate) fn stage(&self) -> String {
        format!("{:?}", self.stage)
    }

    /// The socket is connected and not to be secured first.
    pub(crate) fn connected(&mut self, out: &mut Vec<u8>) -> Step {
        self.stage = match self.plan.dialect {
            Dialect::Plain => Stage::Header,
            _ => Stage::ClearHeader,
        };
        self.write_header(out);
        Step::Wait
    }

    /// TLS is up.
    pub(crate) fn secured(&mut self, out: &mut Vec<u8>) -> Step {
        if self.plan.goal == Goal::Secured {
            return Step::Ready;
        }
        self.stage = match self.plan.dialect {
            Dialect::Xep0035 => Stage::LegacyHeader,
            _ => Stage::Header,
        };
        self.write_header(out);
        Step::Restart
    }

    /// Takes the next token that the server sent.
    pub(crate) fn token(
        &mut self,
        token: Token,
        bytes: &[u8],
        keys: &mut Keys,
        out: &mut Vec<u8>,
    ) -> Result<Step, Failure> {
        use Stage::*;
        match (self.stage, token) {
            (ClearHeader, Token::Header) => self.clear_header(bytes, out),
            (ClearFeatures, Token::Element) if has(bytes, TLS_NS) => {
                self.ask(Proceed, format!("<starttls xmlns='{TLS_NS}'/>"), out)
            }
            (ClearFeatures, Token::Element) => Err(lacks("STARTTLS")),
            (Proceed, Token::Element) if bytes.starts_with(b"<proceed") => self.flip(),
            (GoAhead, Token::End) => self.flip(),
            (Header | LegacyHeader, Token::Header) if self.plan.goal == Goal::Greeted => Ok(Step::Ready),
            (Header, Token::Header) => self.wait_for(Features),
            (Features, Token::Element) => self.authenticate(bytes, out),
            (Sasl, Token::Element) => self.sasl(bytes, keys, out),
            (BoundHeader, Token::Header) => self.wait_for(BindFeatures),
            (BindFeatures, Token::Element) => self.bind(bytes, out),
            (Bind, Token::Element) if is_result(bytes) => self.bound(bytes, out),
            (Session, Token::Element) if is_result(bytes) => self.ready(out),
            (LegacyHeader, Token::Header) => self.legacy_auth(out),
            (LegacyAuth, Token::Element) if is_result(bytes) => {
                self.jid = self.own_jid();
                self.ready(out)
            }
            _ => Err(Failure::Broken(format!("{:?}: got {}", self.stage, excerpt(bytes)))),
        }
    }

    fn wait_for(&mut self, stage: Stage) -> Result<Step, Failure> {
        self.stage = stage;
        Ok(Step::Wait)
    }

    fn ask(&mut self, stage: Stage, question: String, out: &mut Vec<u8>) -> Result<Step, Failure> {
        out.extend_from_slice(question.as_bytes());
        self.wait_for(stage)
    }

    fn flip(&mut self) -> Result<Step, Failure> {
        self.stage = Stage::Handshake;
        Ok(Step::Flip)
    }

    fn clear_header(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, Failure> {
        if self.plan.dialect != Dialect::Xep0035 {
            return self.wait_for(Stage::ClearFeatures);
        }
        if !has(bytes, TLS_2002_NS) {
            return Err(lacks("the STARTTLS of XEP-0035"));
        }
        self.ask(Stage::GoAhead, "<tls:starttls/>".to_owned(), out)
    }

    fn authenticate(&mut self, features: &[u8], out: &mut Vec<u8>) -> Result<Step, Failure> {
        let mechanism = self.plan.mechanism;
        if !has(features, &format!(">{}<", mechanism.name())) {
            return Err(lacks(mechanism.name()));
        }
        let user = self.plan.localpart(self.account);
        let initial = match mechanism.hash() {
            Some(hash) => self.scram.insert(Scram::new(hash, &user)).first(),
            // The certificate says who it is.
            None if mechanism == Mechanism::External => String::new(),
            None => format!("\0{user}\0{}", self.plan.password),
        };
        // RFC 6120 §6.4.2: an empty initial response is "=".
        let data = if initial.is_empty() { "=".to_owned() } else { BASE64_STANDARD.encode(initial) };
        self.ask(Stage::Sasl, format!("<auth xmlns='{SASL_NS}' mechanism='{}'>{data}</auth>", mechanism.name()), out)
    }

    fn sasl(&mut self, bytes: &[u8], keys: &mut Keys, out: &mut Vec<u8>) -> Result<Step, Failure> {
        let data = || between(bytes, b">", b"</").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let text = || data().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        if bytes.starts_with(b"<challenge") {
            let scram = self.scram.as_mut().ok_or_else(|| Failure::Broken("a challenge, not to SCRAM".to_owned()))?;
            let answer = scram.answer(&text(), &self.plan.password, keys).map_err(Failure::Broken)?;
            let data = BASE64_STANDARD.encode(answer);
            return self.ask(Stage::Sasl, format!("<response xmlns='{SASL_NS}'>{data}</response>"), out);
        }
        if !bytes.starts_with(b"<success") {
            return Err(Failure::Broken(format!("SASL: {}", excerpt(bytes))));
        }
        if self.scram.take().is_some_and(|scram| !scram.verify(&text())) {
            return Err(Failure::Broken("SCRAM: the server's signature is wrong".to_owned()));
        }
        self.stage = Stage::BoundHeader;
        self.write_header(out);
        Ok(Step::Restart)
    }

    fn bind(&mut self, features: &[u8], out: &mut Vec<u8>) -> Result<Step, Failure> {
        if !has(features, BIND_NS) {
            return Err(lacks("resource binding"));
        }
        // RFC 6120 has no session request any more; servers that offer it as optional do not wait for it.
        self.wants_session = has(features, SESSION_NS) && !has(features, "optional");
        let resource = format!("<resource>{}</resource>", self.resource);
        self.ask(Stage::Bind, format!("<iq type='set' id='bind'><bind xmlns='{BIND_NS}'>{resource}</bind></iq>"), out)
    }

    fn bound(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, Failure> {
        let jid = between(bytes, b"<jid>", b"</jid>").map(String::from_utf8_lossy);
        self.jid = jid.map_or_else(|| self.own_jid(), |jid| jid.into_owned());
        if self.wants_session {
            let session = format!("<iq type='set' id='session'><session xmlns='{SESSION_NS}'/></iq>");
            return self.ask(Stage::Session, session, out);
        }
        self.ready(out)
    }

    fn legacy_auth(&mut self, out: &mut Vec<u8>) -> Result<Step, Failure> {
        let (user, password, resource) = (self.plan.localpart(self.account), &self.plan.password, &self.resource);
        let names =
            format!("<username>{user}</username><password>{password}</password><resource>{resource}</resource>");
        let question = format!("<iq type='set' id='auth'><query xmlns='jabber:iq:auth'>{names}</query></iq>");
        self.ask(Stage::LegacyAuth, question, out)
    }

    fn ready(&mut self, out: &mut Vec<u8>) -> Result<Step, Failure> {
        if self.plan.presence {
            out.extend_from_slice(b"<presence/>");
        }
        Ok(Step::Ready)
    }

    fn own_jid(&self) -> String {
        format!("{}@{}/{}", self.plan.localpart(self.account), self.plan.domain, self.resource)
    }

    /// The stream header that belongs to the stage.
    fn write_header(&self, out: &mut Vec<u8>) {
        let domain = &self.plan.domain;
        let more = match self.stage {
            Stage::ClearHeader if self.plan.dialect == Dialect::Xep0035 => format!(" xmlns:tls='{TLS_2002_NS}'"),
            Stage::LegacyHeader => String::new(),
            // RFC 6120 §4.7.1: no `from` before the stream is secure.
            Stage::ClearHeader => " version='1.0'".to_owned(),
            _ if self.plan.dialect == Dialect::Plain => " version='1.0'".to_owned(),
            _ => format!(" from='{}@{domain}' version='1.0'", self.plan.localpart(self.account)),
        };
        let names = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
        let header = format!("<?xml version='1.0'?><stream:stream to='{domain}'{more} {names}>");
        out.extend_from_slice(header.as_bytes());
    }
}

fn lacks(what: &str) -> Failure {
    Failure::Unsupported(format!("the server does not offer {what}"))
}

fn is_result(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<iq") && (has(bytes, "type='result'") || has(bytes, "type=\"result\""))
}

/// The start of what a server sent, for an error message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    text.escape_debug().to_string()
}
