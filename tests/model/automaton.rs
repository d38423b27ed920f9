//! A small model of negotiation, written from XEP-0035, XEP-0034, XEP-0078 and RFC 6120 §§4–7, and where they leave a
//! choice from the tables of `docs/architecture.md` §1; never from the code.
//!
//! It knows words and no bytes: what a peer says or does goes in, what a server must say comes out.

use super::bare::End;
use super::words::{Op, Word};

/// Logins that the set-up of the test allows on one stream.
pub(crate) const LOGINS_MAX: u8 = 2;

/// Which stream it is, as its header chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Version 1.0.
    Modern,
    /// 2002, in the clear, TLS offered.
    OldOffered,
    /// 2002, in the clear, the namespace not declared.
    OldUnasked,
    /// 2002 inside TLS, with XEP-0034.
    OldSasl,
    /// 2002 inside TLS, with XEP-0078.
    OldPassword,
}

/// Where a negotiation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Before a header.
    Opening,
    Open(Kind),
    /// A SCRAM challenge is out; whether it can be answered.
    Exchanging(Kind),
    /// XEP-0034: SCRAM's last word is out as a challenge.
    Confirming,
    /// A password is being looked at.
    Hashing(Kind),
    /// RFC 6120: logged in, before the header that follows.
    Welcome,
    /// Logged in, no session yet.
    Known(Kind),
    Bound(Kind),
    /// The go-ahead is written and has not left.
    GoAhead,
    Handshake,
    /// The server's last word is out.
    Closing,
    Gone,
    /// Half a stanza was read: what comes next is inside it, and beyond this model.
    Lost,
}

/// What must come out.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// Words in order; alternatives behind `|`.
    pub(crate) words: Vec<&'static str>,
    /// Whether the connection must be closed now; `None`: it may.
    pub(crate) end: Option<Option<End>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Model {
    tls_required: bool,
    pub(crate) is_secure: bool,
    pub(crate) place: Place,
    pub(crate) logins: u8,
    sasl_failed: bool,
    /// What was said through a shut gate, and waits in the kernel.
    pub(crate) kernel: Vec<Word>,
}

const FIRST_WORD: &str =
    "error not-well-formed|error invalid-namespace|error bad-format|error restricted-xml|error invalid-xml";

/// The same, or nothing.
const ANY_ERROR: &str = "error not-well-formed|";

impl Model {
    pub(crate) fn new(tls_required: bool, direct: bool) -> Self {
        let place = if direct { Place::Handshake } else { Place::Opening };
        Self { tls_required, is_secure: false, place, logins: 0, sasl_failed: false, kernel: Vec::new() }
    }

    /// Whether the operation can happen here at all: TLS cannot complete where there is none.
    pub(crate) fn allows(&self, op: Op) -> bool {
        match op {
            Op::Secure | Op::FailTls => self.place == Place::Handshake,
            Op::HashRight | Op::HashWrong => matches!(self.place, Place::Hashing(_)),
            // A session has rules of its own (RFC 6121).
            // Anywhere else it is the beginning of an element that does not end.
            Op::Say(Word::HeaderBadNamespace) => matches!(self.place, Place::Opening | Place::Welcome),
            Op::Say(word) if matches!(self.place, Place::Bound(_) | Place::Hashing(Kind::OldPassword)) => {
                word.is_header() || matches!(word, Word::EndTag | Word::Space | Word::Garbage | Word::StreamError)
            }
            Op::SayWithSpace(_) | Op::SayWithStanza(_) => matches!(self.place, Place::Open(_)),
            Op::Late => !matches!(self.place, Place::Bound(_)),
            Op::Say(_) | Op::Drain | Op::Shutdown | Op::HangUp => true,
        }
    }

    /// Does it, and says what must come of it.
    pub(crate) fn apply(&mut self, op: Op) -> Expected {
        let mut expected = Expected { words: Vec::new(), end: Some(None) };
        if matches!(self.place, Place::Gone | Place::Lost) {
            return expected;
        }
        match op {
            Op::Say(word) => self.say(word, &mut expected),
            Op::SayWithSpace(word) | Op::SayWithStanza(word) => self.say_more(word, op, &mut expected),
            Op::Drain if self.place == Place::GoAhead => {
                // Everything said in the clear is forgotten.
                (self.place, self.logins, self.sasl_failed) = (Place::Handshake, 0, false);
                if !self.kernel.is_empty() {
                    self.gone(End::FlushAndDrop, &mut expected);
                }
            }
            Op::Drain => {}
            Op::Secure => {
                self.is_secure = true;
                self.place = Place::Opening;
            }
            Op::FailTls => self.gone(End::FlushAndDrop, &mut expected),
            Op::HashRight | Op::HashWrong => {
                self.hashed(op == Op::HashRight, &mut expected);
                self.read_on(&mut expected);
                self.linger(&mut expected);
            }
            Op::Late => {
                self.interrupted("error connection-timeout", &mut expected);
                self.linger(&mut expected);
            }
            Op::Shutdown => {
                self.interrupted("error system-shutdown", &mut expected);
                self.read_on(&mut expected);
            }
            Op::HangUp if self.place == Place::Closing => self.gone(End::Finish, &mut expected),
            Op::HangUp => self.gone(End::Drop, &mut expected),
        }
        expected
    }

    fn gone(&mut self, end: End, expected: &mut Expected) {
        self.place = Place::Gone;
        self.kernel.clear();
        expected.end = Some(Some(end));
    }

    /// The server's last words; the peer may end its side.
    fn fail(&mut self, error: &'static str, expected: &mut Expected) {
        expected.words.extend([error, "end"]);
        self.place = Place::Closing;
    }

    /// The same where there may be no stream yet: it is opened for the error (RFC 6120 §4.9.1.2).
    fn interrupted(&mut self, error: &'static str, expected: &mut Expected) {
        match self.place {
            // §5.4.3: no XML from the go-ahead to the end of the handshake.
            Place::GoAhead | Place::Handshake => self.gone(End::Drop, expected),
            Place::Closing => {}
            Place::Opening | Place::Welcome => {
                expected.words.push("header(1.0)");
                self.fail(error, expected);
                // There is no stream of the peer's whose end could come.
                self.gone(End::Finish, expected);
            }
            _ => self.fail(error, expected),
        }
    }

    /// Seconds go by: where the peer does not end its stream, TCP ends all the same.
    fn linger(&mut self, expected: &mut Expected) {
        if self.place == Place::Closing {
            self.gone(End::Finish, expected);
        }
    }

    /// The gate is open again: what has waited is read.
    fn read_on(&mut self, expected: &mut Expected) {
        while !self.kernel.is_empty() && !matches!(self.place, Place::Hashing(_) | Place::GoAhead | Place::Gone) {
            let word = self.kernel.remove(0);
            self.say(word, expected);
        }
    }

    fn say(&mut self, word: Word, expected: &mut Expected) {
        use Word::*;
        match (self.place, word) {
            (Place::Gone | Place::Lost, _) => {}
            (Place::GoAhead | Place::Hashing(_), _) => self.kernel.push(word),
            // What is not TLS fails the handshake.
            (Place::Handshake, _) => self.gone(End::FlushAndDrop, expected),
            (Place::Closing, EndTag | Garbage | Comment) => self.gone(End::Finish, expected),
            (Place::Closing, _) => {}
            (_, Space) => {}
            (Place::Opening | Place::Welcome, _) => self.header(word, expected),
            (_, EndTag | StreamError) => {
                expected.words.push("end");
                self.place = Place::Closing;
                // Both sides have said their end tag, or need not: TCP may follow.
                expected.end = None;
            }
            (_, Garbage | Comment) => {
                let error = if word == Garbage { "error not-well-formed" } else { "error restricted-xml" };
                self.fail(error, expected);
                // There is nothing left to understand.
                expected.end = None;
            }
            (Place::Bound(_), _) => self.fail("error unsupported-stanza-type", expected),
            (Place::Open(kind @ (Kind::OldOffered | Kind::OldUnasked)), _) => self.old_clear(kind, word, expected),
            (_, StartTls | StartTls2002) => self.starttls(word, expected),
            (_, word) if word.is_header() => self.fail("error unsupported-stanza-type", expected),
            (_, Unknown) => self.fail("error unsupported-stanza-type", expected),
            (Place::Known(kind), _) => self.known(kind, word, expected),
            (Place::Open(kind) | Place::Exchanging(kind), _) => self.open(kind, word, expected),
            (Place::Confirming, _) => self.open(Kind::OldSasl, word, expected),
        }
    }

    fn header(&mut self, word: Word, expected: &mut Expected) {
        use Word::*;
        let is_welcome = self.place == Place::Welcome;
        let (words, place): (&[&'static str], _) = match (word, self.is_secure) {
            (HeaderBadHost, _) => (&["header(1.0)", "error host-unknown", "end"], Place::Closing),
            (HeaderBadVersion, _) => (&["header(1.0)", "error unsupported-version", "end"], Place::Closing),
            (HeaderBadNamespace, _) => (&["header(1.0)", "error invalid-namespace", "end"], Place::Closing),
            (Header10, _) if is_welcome => (&["header(1.0)", "features(bind)"], Place::Known(Kind::Modern)),
            (Header2002Tls | Header2002Sasl | Header2002Bare, _) if is_welcome => {
                (&["header(none)", "error unsupported-version", "end"], Place::Closing)
            }
            (Header10, false) if self.tls_required => (&["header(1.0)", "features(tls!)"], Place::Open(Kind::Modern)),
            // RFC 6120 §13.8.3: PLAIN never in the clear.
            (Header10, false) => (&["header(1.0)", "features(tls sasl)"], Place::Open(Kind::Modern)),
            (Header10, true) => (&["header(1.0)", "features(sasl plain)"], Place::Open(Kind::Modern)),
            (Header2002Tls, false) => (&["header(none tls)"], Place::Open(Kind::OldOffered)),
            (Header2002Sasl | Header2002Bare, false) => (&["header(none)"], Place::Open(Kind::OldUnasked)),
            (Header2002Sasl, true) => (&["header(none sasl)", "old-mechanisms"], Place::Open(Kind::OldSasl)),
            (Header2002Tls | Header2002Bare, true) => (&["header(none)"], Place::Open(Kind::OldPassword)),
            // Nobody can have ended what nobody has opened; there is nothing that must be said to that.
            (EndTag, _) => (&["header(1.0)|", ANY_ERROR, "end|"], Place::Closing),
            // What is no header is answered like one without, or with, a version.
            _ => (&["header(1.0)|header(none)", FIRST_WORD, "end"], Place::Closing),
        };
        expected.words.extend(words);
        self.place = place;
        if place == Place::Closing {
            expected.end = None;
        }
    }

    /// 2002 before TLS: there is one thing to say.
    fn old_clear(&mut self, kind: Kind, word: Word, expected: &mut Expected) {
        match (kind, word) {
            (Kind::OldOffered, Word::StartTls2002) => {
                // The go-ahead of 2002, and TCP stays open.
                expected.words.push("end");
                self.place = Place::GoAhead;
            }
            (Kind::OldOffered, Word::StartTls) => self.fail("error unsupported-stanza-type", expected),
            (_, Word::StartTls2002) => {
                self.fail("error policy-violation", expected);
                self.gone(End::FlushAndDrop, expected);
            }
            _ => self.fail("error policy-violation", expected),
        }
    }

    fn starttls(&mut self, word: Word, expected: &mut Expected) {
        let is_offered =
            !self.is_secure && matches!(self.place, Place::Open(Kind::Modern) | Place::Exchanging(Kind::Modern));
        if is_offered && word == Word::StartTls {
            expected.words.push("proceed");
            self.place = Place::GoAhead;
        } else {
            self.fail("error unsupported-stanza-type", expected);
        }
    }

    /// Bytes behind the word, in the same segment.
    fn say_more(&mut self, word: Word, op: Op, expected: &mut Expected) {
        let is_request = match self.place {
            Place::Open(Kind::Modern) => !self.is_secure && word == Word::StartTls,
            Place::Open(Kind::OldOffered) => word == Word::StartTls2002,
            _ => false,
        };
        if is_request {
            // Refused, and without what could be taken for a go-ahead.
            let is_modern = self.place == Place::Open(Kind::Modern);
            expected.words.push(if is_modern { "starttls-failure" } else { "error policy-violation" });
            expected.words.push("end");
            return self.gone(End::FlushAndDrop, expected);
        }
        self.say(word, expected);
        if op != Op::SayWithSpace(word) {
            expected.end = None;
            self.place = Place::Lost;
        }
    }

    /// One more login; false if it is one too many.
    fn may_log_in(&mut self, expected: &mut Expected) -> bool {
        if self.logins == LOGINS_MAX {
            self.fail("error policy-violation", expected);
            return false;
        }
        self.logins += 1;
        true
    }

    fn sasl_fails(&mut self, kind: Kind, failure: &'static str, expected: &mut Expected) {
        expected.words.push(if kind == Kind::Modern { failure } else { "old-failure" });
        self.sasl_failed = true;
        self.place = Place::Open(kind);
    }

    fn open(&mut self, kind: Kind, word: Word, expected: &mut Expected) {
        use Word::*;
        let has_sasl = self.is_secure || !self.tls_required;
        let plain_is_safe = self.is_secure;
        let word = match (kind, spoken(word)) {
            (Kind::Modern, Some((Kind::Modern, word))) | (Kind::OldSasl, Some((Kind::OldSasl, word))) => word,
            (_, Some(_)) => return self.fail("error unsupported-stanza-type", expected),
            (_, None) => word,
        };
        match word {
            AuthPlain | AuthScram | AuthUnknown | Response | Proof | Abort if !has_sasl => {
                if self.may_log_in(expected) {
                    self.sasl_fails(kind, "failure encryption-required", expected);
                }
            }
            AuthPlain => {
                if self.may_log_in(expected) {
                    match plain_is_safe {
                        true => self.place = Place::Hashing(kind),
                        false => self.sasl_fails(kind, "failure encryption-required", expected),
                    }
                }
            }
            AuthUnknown => {
                if self.may_log_in(expected) {
                    self.sasl_fails(kind, "failure invalid-mechanism", expected);
                }
            }
            AuthScram => {
                if self.may_log_in(expected) {
                    expected.words.push(if kind == Kind::Modern { "challenge" } else { "old-challenge" });
                    self.place = Place::Exchanging(kind);
                }
            }
            Abort => self.sasl_fails(kind, "failure aborted", expected),
            Response | Proof => self.response(kind, word, expected),
            IqAuthGet | IqAuthPassword | IqAuthResource => self.iq_auth(kind, word, expected),
            _ => self.fail("error not-authorized", expected),
        }
    }

    fn response(&mut self, kind: Kind, word: Word, expected: &mut Expected) {
        match (self.place, word) {
            (Place::Exchanging(Kind::Modern), Word::Proof) => {
                expected.words.push("success");
                self.place = Place::Welcome;
            }
            (Place::Exchanging(_), Word::Proof) => {
                expected.words.push("old-challenge");
                self.place = Place::Confirming;
            }
            (Place::Confirming, Word::Response) => {
                expected.words.push("old-success");
                self.place = Place::Known(Kind::OldSasl);
            }
            _ => self.sasl_fails(kind, "failure malformed-request|failure not-authorized", expected),
        }
    }

    /// Before a login.
    fn iq_auth(&mut self, kind: Kind, word: Word, expected: &mut Expected) {
        match (kind, word) {
            // XEP-0078 §6: no way around SASL.
            (Kind::Modern | Kind::OldSasl, _) if self.sasl_failed => self.fail("error policy-violation", expected),
            (Kind::Modern, _) => expected.words.push("iq-error service-unavailable 503"),
            (_, Word::IqAuthGet) => expected.words.push("result fields"),
            (Kind::OldSasl, _) => {
                if self.may_log_in(expected) {
                    expected.words.push("iq-error not-authorized 401");
                }
            }
            (_, Word::IqAuthResource) => {
                if self.may_log_in(expected) {
                    expected.words.push("iq-error not-acceptable 406");
                }
            }
            _ => {
                if self.may_log_in(expected) {
                    self.place = Place::Hashing(kind);
                }
            }
        }
    }

    fn hashed(&mut self, verified: bool, expected: &mut Expected) {
        let Place::Hashing(kind) = self.place else { return };
        match (kind, verified) {
            (Kind::OldPassword, true) => {
                expected.words.push("result session");
                self.place = Place::Bound(kind);
            }
            (Kind::OldPassword, false) => {
                expected.words.push("iq-error not-authorized 401");
                self.place = Place::Open(kind);
            }
            (Kind::OldSasl, true) => {
                expected.words.push("old-success");
                self.place = Place::Known(kind);
            }
            (_, true) => {
                expected.words.push("success");
                self.place = Place::Welcome;
            }
            (_, false) => self.sasl_fails(kind, "failure not-authorized", expected),
        }
    }

    fn known(&mut self, kind: Kind, word: Word, expected: &mut Expected) {
        use Word::*;
        let is_old = kind == Kind::OldSasl;
        match (spoken(word), word) {
            // XEP-0034 §2.4: a failure, and the stream goes on.
            (Some((Kind::OldSasl, _)), _) if is_old => expected.words.push("old-failure"),
            (Some((Kind::Modern, _)), _) if !is_old => self.fail("error not-authorized", expected),
            (Some(_), _) => self.fail("error unsupported-stanza-type", expected),
            (_, IqAuthGet) if is_old => expected.words.push("result fields"),
            (_, IqAuthPassword | IqAuthResource) if is_old => {
                expected.words.push("result session");
                self.place = Place::Bound(kind);
            }
            (_, IqBind) if !is_old => {
                expected.words.push("result bound");
                self.place = Place::Bound(kind);
            }
            (_, IqResult) => {}
            // The old code stands wherever the question or the stream is old.
            (_, IqAuthGet | IqAuthPassword | IqAuthResource) => expected.words.push("iq-error service-unavailable 503"),
            (_, IqBind | IqOther) if is_old => expected.words.push("iq-error service-unavailable 503"),
            (_, IqBind | IqOther) => expected.words.push("iq-error service-unavailable"),
            _ => self.fail("error not-authorized", expected),
        }
    }
}

/// Whether a word is SASL: whose, and which one it would be on a stream of version 1.0.
fn spoken(word: Word) -> Option<(Kind, Word)> {
    use Word::*;
    Some(match word {
        AuthPlain | AuthScram | AuthUnknown | Response | Proof | Abort => (Kind::Modern, word),
        AuthPlain2002 => (Kind::OldSasl, AuthPlain),
        AuthScram2002 => (Kind::OldSasl, AuthScram),
        AuthUnknown2002 => (Kind::OldSasl, AuthUnknown),
        Response2002 => (Kind::OldSasl, Response),
        Proof2002 => (Kind::OldSasl, Proof),
        Abort2002 => (Kind::OldSasl, Abort),
        _ => return None,
    })
}
