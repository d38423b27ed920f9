//! What a peer can say or do, one class of input each.

use super::automaton::LOGINS_MAX;
use super::bare::{Bare, PASSWORD};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use stonechat::ids::ConnId;
use stonechat::sasl::client::{ClientBinding, ScramClient};
use stonechat::sasl::{ScramHash, base64};

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Header10,
    Header2002Tls,
    Header2002Sasl,
    Header2002Bare,
    HeaderBadHost,
    HeaderBadVersion,
    HeaderBadNamespace,
    StartTls,
    StartTls2002,
    AuthPlain,
    AuthScram,
    AuthUnknown,
    Response,
    /// The right answer to the challenge that came last; rubbish if there was none.
    Proof,
    Abort,
    AuthPlain2002,
    AuthScram2002,
    AuthUnknown2002,
    Response2002,
    Proof2002,
    Abort2002,
    IqAuthGet,
    IqAuthPassword,
    IqAuthResource,
    IqBind,
    IqOther,
    IqResult,
    Message,
    Presence,
    Unknown,
    StreamError,
    EndTag,
    Space,
    Garbage,
    Comment,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Say(Word),
    /// The word, and white space behind it in the same segment.
    SayWithSpace(Word),
    /// The word, and half a stanza behind it in the same segment.
    SayWithStanza(Word),
    /// What the server has written has left.
    Drain,
    Secure,
    FailTls,
    HashRight,
    HashWrong,
    /// No session in time.
    Late,
    Shutdown,
    HangUp,
}

impl Word {
    pub(crate) const ALL: [Self; 35] = {
        use Word::*;
        [
            Header10,
            Header2002Tls,
            Header2002Sasl,
            Header2002Bare,
            HeaderBadHost,
            HeaderBadVersion,
            HeaderBadNamespace,
            StartTls,
            StartTls2002,
            AuthPlain,
            AuthScram,
            AuthUnknown,
            Response,
            Proof,
            Abort,
            AuthPlain2002,
            AuthScram2002,
            AuthUnknown2002,
            Response2002,
            Proof2002,
            Abort2002,
            IqAuthGet,
            IqAuthPassword,
            IqAuthResource,
            IqBind,
            IqOther,
            IqResult,
            Message,
            Presence,
            Unknown,
            StreamError,
            EndTag,
            Space,
            Garbage,
            Comment,
        ]
    };

    pub(crate) fn is_header(self) -> bool {
        use Word::*;
        matches!(
            self,
            Header10
                | Header2002Tls
                | Header2002Sasl
                | Header2002Bare
                | HeaderBadHost
                | HeaderBadVersion
                | HeaderBadNamespace
        )
    }

    fn text(self) -> String {
        use Word::*;
        let header = |attrs: &str| {
            format!("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' {attrs}>")
        };
        let sasl = |name: &str, rest: &str| format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{rest}");
        let old =
            |name: &str, rest: &str| format!("<{name} xmlns='http://www.iana.org/assignments/sasl-mechanisms'{rest}");
        let plain = || format!(" mechanism='PLAIN'>{}</auth>", base64::encode(format!("\0juliet\0{PASSWORD}")));
        let scram = || format!(" mechanism='SCRAM-SHA-1'>{}</auth>", base64::encode(client().first()));
        let iq_auth = |kind: &str, fields: &str| {
            format!(
                "<iq xmlns='jabber:client' type='{kind}' id='a'><query xmlns='jabber:iq:auth'>{fields}</query></iq>"
            )
        };
        match self {
            Header10 => header("to='localhost' version='1.0'"),
            Header2002Tls => header("to='localhost' xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt'"),
            Header2002Sasl => header("to='localhost' xmlns:s='http://www.iana.org/assignments/sasl-mechanisms'"),
            Header2002Bare => header("to='localhost'"),
            HeaderBadHost => header("to='elsewhere.example' version='1.0'"),
            HeaderBadVersion => header("to='localhost' version='one'"),
            HeaderBadNamespace => {
                "<stream:stream xmlns='jabber:client' xmlns:stream='urn:x' to='localhost' version='1.0'>".into()
            }
            StartTls => "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".into(),
            StartTls2002 => "<starttls xmlns='http://www.ietf.org/rfc/rfc2595.txt'/>".into(),
            AuthPlain => sasl("auth", &plain()),
            AuthScram => sasl("auth", &scram()),
            AuthUnknown => sasl("auth", " mechanism='X-UNKNOWN'/>"),
            Response => sasl("response", "/>"),
            Proof | Proof2002 => unreachable!("made from the challenge"),
            Abort => sasl("abort", "/>"),
            AuthPlain2002 => old("auth", &plain()),
            AuthScram2002 => old("auth", &scram()),
            AuthUnknown2002 => old("auth", " mechanism='X-UNKNOWN'/>"),
            Response2002 => old("response", "/>"),
            Abort2002 => old("abort", "/>"),
            IqAuthGet => iq_auth("get", ""),
            IqAuthPassword => iq_auth(
                "set",
                &format!("<username>juliet</username><password>{PASSWORD}</password><resource>r</resource>"),
            ),
            IqAuthResource => iq_auth("set", "<username>juliet</username><resource>r</resource>"),
            IqBind => "<iq xmlns='jabber:client' type='set' id='b'>\
                <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
                .into(),
            IqOther => "<iq xmlns='jabber:client' type='get' id='o'><ping xmlns='urn:xmpp:ping'/></iq>".into(),
            IqResult => "<iq xmlns='jabber:client' type='result' id='r'/>".into(),
            Message => "<message xmlns='jabber:client' to='romeo@localhost'/>".into(),
            Presence => "<presence xmlns='jabber:client'/>".into(),
            Unknown => "<x xmlns='urn:x'/>".into(),
            StreamError => "<error xmlns='http://etherx.jabber.org/streams'/>".into(),
            EndTag => "</stream:stream>".into(),
            Space => " \n".into(),
            Garbage => "<a b=c/>".into(),
            Comment => "<!-- a comment -->".into(),
        }
    }
}

/// A login whose nonce is always the same: runs are to be repeatable.
fn client() -> ScramClient {
    ScramClient::new(ScramHash::Sha1, ClientBinding::Unsupported, "juliet", PASSWORD, "fyko")
}

/// One connection under the model's eyes.
pub(crate) struct Peer {
    pub(crate) bare: Bare,
    pub(crate) id: ConnId,
    challenge: Option<Vec<u8>>,
}

/// The negotiation's deadline. Failed logins are slowed, and each of them lets ten seconds go by.
pub(crate) const LATE_MS: u64 = 600_000;
/// Longer than any answer is held back.
const PATIENCE_MS: u64 = 10_000;

impl Peer {
    pub(crate) fn new(tls_required: bool, direct: bool) -> Self {
        let policy =
            stonechat::stream::DomainPolicy { tls_required, sasl_attempts_max: LOGINS_MAX, ..super::bare::policy() };
        let settings = stonechat::core::Settings { negotiation_timeout_ms: LATE_MS, ..super::bare::settings() };
        let mut bare = Bare::new(policy, settings, 0x5222);
        bare.drains = false;
        let id = bare.connect(direct);
        Self { bare, id, challenge: None }
    }

    /// Does it, and gives back what was heard.
    pub(crate) fn apply(&mut self, op: Op) -> String {
        let (bare, id) = (&mut self.bare, self.id);
        match op {
            Op::Say(word) => self.say(word, ""),
            Op::SayWithSpace(word) => self.say(word, "\n"),
            Op::SayWithStanza(word) => self.say(word, "<message to='romeo@localhost'><bo"),
            Op::Drain => bare.drain(id),
            Op::Secure => bare.secure(id),
            Op::FailTls => bare.fail_tls(id),
            Op::HashRight | Op::HashWrong => {
                bare.hash(op == Op::HashRight);
                bare.advance(PATIENCE_MS);
            }
            Op::Late => bare.advance(LATE_MS + PATIENCE_MS),
            Op::Shutdown => {
                bare.core.shut_down(bare.now);
                bare.settle();
            }
            Op::HangUp => bare.hang_up(id),
        }
        let heard = self.bare.heard(self.id);
        if let Some((_, data)) = heard.split_once("challenge").and_then(|(_, rest)| rest.split_once('>')) {
            self.challenge = data.split('<').next().and_then(base64::decode_strict).map(|data| data.to_vec());
        }
        heard
    }

    fn say(&mut self, word: Word, behind: &str) {
        let text = match word {
            Word::Proof => self.proof("urn:ietf:params:xml:ns:xmpp-sasl"),
            Word::Proof2002 => self.proof("http://www.iana.org/assignments/sasl-mechanisms"),
            word => word.text(),
        };
        self.bare.send(self.id, format!("{text}{behind}").as_bytes());
    }

    fn proof(&mut self, ns: &str) -> String {
        let answer = self.challenge.take().and_then(answered);
        format!("<response xmlns='{ns}'>{}</response>", base64::encode(answer.unwrap_or_else(|| b"rubbish".to_vec())))
    }
}

/// The proof that a challenge asks for; one that was computed before is not computed again.
fn answered(challenge: Vec<u8>) -> Option<Vec<u8>> {
    static KNOWN: Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(challenge).or_insert_with_key(|challenge| client().answer(challenge).ok()).clone()
}
