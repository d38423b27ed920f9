//! `jabber:iq:auth` in both its roles: a login with a password, and the session start behind a SASL login of 2002.
//!
//! ```text
//! XEP-0078: get ─▶ username, password, resource    set with all three ─▶ (hashing) ─▶ session
//! XEP-0034: get ─▶ username, resource              set with both, SASL done ───────▶ session
//! ```
//!
//! `get` answers the same for every username, whether anybody has it or not. There is no digest: it needs passwords in
//! clear on the disk.
//!
//! XEP-0078; XEP-0034 §2.5.

use super::auth::sasl_context;
use super::bind::Form;
use super::element::{Iq, IqType, NS_IQ_AUTH};
use super::interface::{Ask, ConflictRule, Context, Parked};
use super::reply::{self, ErrorStyle};
use super::{Hashing, Login, Negotiation, Stage, State};
use crate::jid;
use crate::sasl::{Exchange, SaslCondition, SaslStep, check_password};
use crate::stanza::StanzaCondition;
use crate::xml::{self, Tree};
use zeroize::Zeroizing;

/// A login with a password, while the hashing thread looks at it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) exchange: Exchange,
    id: Box<str>,
    pub(super) localpart: Option<String>,
    /// Prepared.
    resource: String,
}

/// What a query says; empty elements are as good as none.
struct Query {
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    resource: Option<String>,
}

impl Attempt {
    /// The account that it tries.
    pub(super) fn localpart(&self) -> Option<&str> {
        self.localpart.as_deref()
    }
}

impl Negotiation {
    /// A `jabber:iq:auth` request on a stream of 2002 that may log in.
    pub(super) fn iq_auth(&mut self, iq: &Iq<'_>, cx: &mut Context<'_>) -> Result<(), Parked> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let login = stream.login;
        let Ok(query) = self.query(iq) else {
            refuse(&iq.id, StanzaCondition::BadRequest, cx);
            return Ok(());
        };
        match (login, iq.kind) {
            (Login::Nothing | Login::TlsFirst | Login::Done, _) => {
                refuse(&iq.id, StanzaCondition::ServiceUnavailable, cx);
            }
            (Login::Sasl | Login::Password, IqType::Get) => self.fields(iq, &query, login, cx),
            (Login::Sasl, IqType::Set) => self.session_start(iq, query, cx),
            (Login::Password, IqType::Set) => return self.password(iq, &query, cx),
        }
        Ok(())
    }

    fn query(&self, iq: &Iq<'_>) -> Result<Query, ()> {
        let tree = Tree::parse(iq.bytes, iq.head, &self.ns).map_err(|_| ())?;
        let query = tree.root().child(NS_IQ_AUTH, "query").ok_or(())?;
        let text = |name| {
            let text = query.child(NS_IQ_AUTH, name)?.text();
            (!text.is_empty()).then(|| text.into_owned())
        };
        Ok(Query {
            username: text("username"),
            password: text("password").map(Zeroizing::new),
            resource: text("resource"),
        })
    }

    /// What a set must hold. The username is given back as it came; whoever came without a name is told the own one.
    fn fields(&self, iq: &Iq<'_>, query: &Query, login: Login, cx: &mut Context<'_>) {
        let own = match &self.stage {
            Stage::Known(account) => account.jid.localpart(),
            Stage::Clear | Stage::Secure(_) => None,
        };
        reply::open_result(&iq.id, cx.out);
        cx.out.extend_from_slice(b"<query xmlns='jabber:iq:auth'>");
        match query.username.as_deref().or(own) {
            Some(username) => {
                cx.out.extend_from_slice(b"<username>");
                xml::escape(username, cx.out);
                cx.out.extend_from_slice(b"</username>");
            }
            None => cx.out.extend_from_slice(b"<username/>"),
        }
        if login == Login::Password {
            cx.out.extend_from_slice(b"<password/>");
        }
        cx.out.extend_from_slice(b"<resource/></query>");
        reply::close_result(cx.out);
    }

    /// XEP-0034 §2.5: who logged in by SASL says under which resource.
    fn session_start(&mut self, iq: &Iq<'_>, query: Query, cx: &mut Context<'_>) {
        let Stage::Known(account) = &self.stage else {
            return self.too_early(&iq.id, cx);
        };
        let account = account.clone();
        let resource = query.resource.and_then(|resource| prepared(&resource));
        let is_own = match &query.username {
            Some(username) => {
                let username = jid::prepare_localpart(username).ok();
                account.anonymous || username.as_deref() == account.jid.localpart()
            }
            None if account.anonymous => true, // It cannot know the name it was given.
            None => return self.refuse_bind(&iq.id, StanzaCondition::NotAcceptable, cx),
        };
        match resource {
            _ if !is_own => self.refuse_bind(&iq.id, StanzaCondition::NotAuthorized, cx),
            None => self.refuse_bind(&iq.id, StanzaCondition::NotAcceptable, cx),
            Some(resource) => {
                self.ask_for_session(&iq.id, Form::SessionStart, account, Some(resource), ConflictRule::Replace, cx);
            }
        }
    }

    /// A session start before SASL: 401, and one login less.
    fn too_early(&mut self, id: &str, cx: &mut Context<'_>) {
        if !self.has_login_left() {
            return self.too_many(cx);
        }
        self.tries.logins += 1;
        refuse(id, StanzaCondition::NotAuthorized, cx);
    }

    /// XEP-0078 §3.1: all three, or 406. A digest alone is not enough.
    fn password(&mut self, iq: &Iq<'_>, query: &Query, cx: &mut Context<'_>) -> Result<(), Parked> {
        if !self.has_login_left() {
            self.too_many(cx);
            return Ok(());
        }
        let resource = query.resource.as_deref().and_then(prepared);
        let (Some(username), Some(password), Some(resource)) = (&query.username, &query.password, resource) else {
            self.tries.logins += 1;
            refuse(&iq.id, StanzaCondition::NotAcceptable, cx);
            return Ok(());
        };
        let Some(stream) = &self.stream else { return Ok(()) };
        let domain = cx.policy.domain(&stream.domain);
        let mut sasl = sasl_context(stream, &self.stage, domain, &[], cx);
        let (exchange, step) = check_password(username, password, &mut sasl);
        if matches!(step, SaslStep::Miss) && !cx.accounts.is_unreadable() {
            return Err(Parked);
        }
        self.tries.logins += 1;
        let localpart = jid::prepare_localpart(username).ok().map(std::borrow::Cow::into_owned);
        self.iq_auth_stepped(Attempt { exchange, id: iq.id.as_ref().into(), localpart, resource }, step, cx);
        Ok(())
    }

    /// Does what the check of a password decided.
    pub(super) fn iq_auth_stepped(&mut self, attempt: Attempt, step: SaslStep, cx: &mut Context<'_>) {
        match step {
            SaslStep::Hash(job) => {
                cx.asks.push(Ask::ReadGate(false));
                cx.asks.push(Ask::Hash(job));
                self.state = State::Hashing(Box::new(Hashing::IqAuth(attempt)));
            }
            SaslStep::Success(login) => match self.welcome(login, cx) {
                Some(account) => {
                    let (id, resource) = (attempt.id, Some(attempt.resource));
                    self.ask_for_session(&id, Form::Login, account, resource, ConflictRule::Replace, cx);
                }
                None => refuse(&attempt.id, StanzaCondition::InternalServerError, cx),
            },
            SaslStep::Failure(condition) => {
                if condition == SaslCondition::NotAuthorized {
                    self.blame(attempt.localpart.as_deref(), cx);
                }
                refuse(&attempt.id, stanza_condition(condition), cx);
            }
            SaslStep::Miss => refuse(&attempt.id, stanza_condition(SaslCondition::TemporaryAuthFailure), cx),
            SaslStep::Challenge(_) => refuse(&attempt.id, StanzaCondition::InternalServerError, cx),
        }
    }
}

fn prepared(resource: &str) -> Option<String> {
    jid::prepare_resourcepart(resource).ok().map(std::borrow::Cow::into_owned)
}

fn refuse(id: &str, condition: StanzaCondition, cx: &mut Context<'_>) {
    reply::error(Some(id), condition, ErrorStyle::WithCode, None, cx.out);
}

/// XEP-0078 knows 401, 406 and 409; beyond wrong credentials the nearest of RFC 6120.
fn stanza_condition(condition: SaslCondition) -> StanzaCondition {
    match condition {
        SaslCondition::AccountDisabled | SaslCondition::CredentialsExpired => StanzaCondition::Forbidden,
        SaslCondition::TemporaryAuthFailure => StanzaCondition::ResourceConstraint,
        SaslCondition::Aborted
        | SaslCondition::EncryptionRequired
        | SaslCondition::IncorrectEncoding
        | SaslCondition::InvalidAuthzid
        | SaslCondition::InvalidMechanism
        | SaslCondition::MalformedRequest
        | SaslCondition::MechanismTooWeak
        | SaslCondition::NotAuthorized => StanzaCondition::NotAuthorized,
    }
}
