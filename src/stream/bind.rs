//! The last step: a resource, and with it a session. Also IQs that come too early.
//!
//! ```text
//! <bind/> (RFC 6120) ─┐
//! jabber:iq:auth ─────┴─▶ Ask::Bind, gate shut ──Bound──▶ result
//!                                              └─BindRefused──▶ error, try again within the bound
//! ```
//!
//! RFC 6120 §7; XEP-0078 §3.1; XEP-0034 §2.5.

use super::element::{self, Iq, IqFate, IqType, Payload};
use super::error::StreamCondition;
use super::interface::{Ask, BindRefusal, ConflictRule, Context, Parked};
use super::reply::{self, ErrorStyle};
use super::{Account, Dialect, Negotiation, Stage, State};
use crate::jid::{self, Jid};
use crate::stanza::StanzaCondition;
use crate::xml::{self, Head, Tree};

/// A request for a resource, while the core looks at it.
#[derive(Debug)]
pub(super) struct Pending {
    id: Box<str>,
    form: Form,
    pub(super) account: Account,
}

impl Pending {
    /// Whether it is a session of this account, a bare JID.
    pub(super) fn is_for(&self, bare: &str) -> bool {
        self.account.jid.as_str() == bare
    }
}

/// What the result looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 6120 §7.6.1: with the full JID.
    Bind,
    /// XEP-0034 §2.5: with an empty query.
    SessionStart,
    /// XEP-0078 §3.1: empty.
    Login,
}

impl Negotiation {
    /// An IQ before there is a session. Requests to the server or the own account are answered once somebody has
    /// logged in; everything else must wait (RFC 6120 §4.3.5, §7.1).
    pub(super) fn iq(&mut self, head: &Head, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Parked> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let account = match &self.stage {
            Stage::Known(account) => Some(&account.jid),
            Stage::Clear | Stage::Secure(_) => None,
        };
        let (dialect, is_known) = (stream.dialect, account.is_some());
        match element::iq(head, bytes, &self.ns, &stream.domain, account) {
            IqFate::Ours(iq) => return self.request(&iq, dialect, is_known, cx),
            IqFate::Ignored if is_known => {}
            IqFate::Malformed(id) if is_known || dialect == Dialect::Xep0035 => {
                reply::error(id.as_deref(), StanzaCondition::BadRequest, style(dialect), None, cx.out);
            }
            IqFate::Malformed(_) | IqFate::Ignored | IqFate::Elsewhere => {
                self.fail(cx, StreamCondition::NotAuthorized, None);
            }
        }
        Ok(())
    }

    fn request(&mut self, iq: &Iq<'_>, dialect: Dialect, is_known: bool, cx: &mut Context<'_>) -> Result<(), Parked> {
        match (iq.payload, dialect) {
            // XEP-0078 §3.1, §6: no way around a SASL login that failed.
            (Payload::IqAuth, _) if self.tries.sasl_failed && !is_known => {
                let text = Some("After a failed SASL login, jabber:iq:auth is no alternative");
                self.fail(cx, StreamCondition::PolicyViolation, text);
            }
            (Payload::IqAuth, Dialect::Xep0035) => return self.iq_auth(iq, cx),
            (Payload::IqAuth, Dialect::Rfc6120) => {
                reply::error(Some(&iq.id), StanzaCondition::ServiceUnavailable, ErrorStyle::WithCode, None, cx.out);
            }
            (Payload::Bind, Dialect::Rfc6120) if is_known => self.bind(iq, cx),
            (Payload::Bind | Payload::Other, _) if is_known => {
                reply::error(Some(&iq.id), StanzaCondition::ServiceUnavailable, style(dialect), None, cx.out);
            }
            (Payload::Bind | Payload::Other, _) => self.fail(cx, StreamCondition::NotAuthorized, None),
        }
        Ok(())
    }

    fn bind(&mut self, iq: &Iq<'_>, cx: &mut Context<'_>) {
        let (Some(stream), Stage::Known(account)) = (&self.stream, &self.stage) else { return };
        let wanted = if iq.kind == IqType::Set { self.wanted(iq) } else { Err(StanzaCondition::BadRequest) };
        match wanted {
            Ok(resource) => {
                let (account, conflict) = (account.clone(), stream.conflict);
                self.ask_for_session(&iq.id, Form::Bind, account, resource, conflict, cx);
            }
            Err(condition) => self.refuse_bind(&iq.id, condition, cx),
        }
    }

    /// A request for a session that is refused here, within the bound.
    pub(super) fn refuse_bind(&mut self, id: &str, condition: StanzaCondition, cx: &mut Context<'_>) {
        if !self.count_bind() {
            return self.too_many(cx);
        }
        let dialect = self.stream.as_ref().map_or(Dialect::Rfc6120, |stream| stream.dialect);
        reply::error(Some(id), condition, style(dialect), None, cx.out);
    }

    /// The resource that `<bind/>` asks for, prepared; none means that the server makes one.
    fn wanted(&self, iq: &Iq<'_>) -> Result<Option<String>, StanzaCondition> {
        let tree = Tree::parse(iq.bytes, iq.head, &self.ns).map_err(|_| StanzaCondition::BadRequest)?;
        let bind = tree.root().child(element::NS_BIND, "bind");
        let mut resources =
            bind.iter().flat_map(|bind| bind.children()).filter(|child| child.is(element::NS_BIND, "resource"));
        let Some(resource) = resources.next() else { return Ok(None) };
        if resources.next().is_some() {
            return Err(StanzaCondition::BadRequest);
        }
        let text = resource.text();
        if text.is_empty() {
            return Ok(None);
        }
        let prepared = jid::prepare_resourcepart(&text).map_err(|_| StanzaCondition::BadRequest)?;
        Ok(Some(prepared.into_owned()))
    }

    /// Asks the core for a session, within the bound (§7.7.3).
    pub(super) fn ask_for_session(
        &mut self,
        id: &str,
        form: Form,
        account: Account,
        resource: Option<String>,
        conflict: ConflictRule,
        cx: &mut Context<'_>,
    ) {
        if !self.count_bind() {
            return self.too_many(cx);
        }
        cx.asks.push(Ask::ReadGate(false));
        cx.asks.push(Ask::Bind { account: account.jid.clone(), resource, anonymous: account.anonymous, conflict });
        self.state = State::Binding(Box::new(Pending { id: id.into(), form, account }));
    }

    /// Counts an attempt to bind; false if it is one too many.
    fn count_bind(&mut self) -> bool {
        let max = self.stream.as_ref().map_or(1, |stream| stream.bind_attempts_max.max(1));
        let fits = self.tries.binds < max;
        self.tries.binds = self.tries.binds.saturating_add(1);
        fits
    }

    /// There is a session.
    pub(super) fn bound(&mut self, jid: &Jid, cx: &mut Context<'_>) {
        let State::Binding(pending) = std::mem::replace(&mut self.state, State::Bound(jid.clone())) else { return };
        match pending.form {
            Form::Bind => {
                reply::open_result(&pending.id, cx.out);
                cx.out.extend_from_slice(b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>");
                xml::escape(jid.as_str(), cx.out);
                cx.out.extend_from_slice(b"</jid></bind>");
                reply::close_result(cx.out);
            }
            Form::SessionStart => {
                reply::open_result(&pending.id, cx.out);
                cx.out.extend_from_slice(b"<query xmlns='jabber:iq:auth'/>");
                reply::close_result(cx.out);
            }
            Form::Login => reply::empty_result(&pending.id, cx.out),
        }
        self.stage = Stage::Known(pending.account);
        cx.asks.push(Ask::ReadGate(true));
    }

    /// There is none; the client may ask again.
    pub(super) fn bind_refused(&mut self, refusal: BindRefusal, cx: &mut Context<'_>) {
        let State::Binding(pending) = std::mem::replace(&mut self.state, State::Open) else { return };
        let (condition, app) = match refusal {
            BindRefusal::Conflict => (StanzaCondition::Conflict, None),
            BindRefusal::NotAllowed => (StanzaCondition::NotAllowed, None),
            BindRefusal::ResourceConstraint => (StanzaCondition::ResourceConstraint, Some("resource-limit-exceeded")),
            BindRefusal::InternalServerError => (StanzaCondition::InternalServerError, None),
        };
        let style = if pending.form == Form::Bind { ErrorStyle::Plain } else { ErrorStyle::WithCode };
        reply::error(Some(&pending.id), condition, style, app, cx.out);
        if matches!(self.stage, Stage::Known(_)) {
            self.state = State::LoggedIn;
        }
        cx.asks.push(Ask::ReadGate(true));
    }
}

fn style(dialect: Dialect) -> ErrorStyle {
    match dialect {
        Dialect::Rfc6120 => ErrorStyle::Plain,
        Dialect::Xep0035 => ErrorStyle::WithCode,
    }
}
