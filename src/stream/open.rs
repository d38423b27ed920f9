//! What a stream header opens: one function for each cell of the table in `docs/architecture.md` §1.
//!
//! ```text
//! Facts ──plan──▶ Plan (how to log in, whether TLS may be asked for, which mechanisms) ──▶ header, features
//!            └──▶ Fault ──▶ header, error, end tag
//! ```
//!
//! RFC 6120 §4.3, §4.7, §4.9.1.2, §6.4.1; XEP-0035 §2.2; XEP-0034 §2.2, §3.1.

use super::error::{StreamCondition, write_stream_end, write_stream_error};
use super::features::{self, Channel};
use super::header::{self, Answer, Facts, Fault, Version};
use super::interface::{CloseHow, Context, DomainPolicy, HashSet, Parked};
use super::{Account, Dialect, Login, Negotiation, Secured, Stage, StartTls, State, Stream};
use crate::jid::Jid;
use crate::sasl::{Lookup, Mechanism, Offer};
use crate::xml::Head;

/// What a stream is going to be.
struct Plan {
    login: Login,
    starttls: StartTls,
    offer: Offer,
}

impl Plan {
    fn without_sasl(login: Login, starttls: StartTls) -> Self {
        Self { login, starttls, offer: features::nothing() }
    }
}

/// What is said when the configuration leaves no way in.
const NO_WAY_IN: Fault = Fault {
    condition: StreamCondition::InternalServerError,
    text: Some("This domain is set up so that nobody can log in here"),
};

impl Negotiation {
    /// A stream header: answers it, and settles what may happen on this stream.
    pub(super) fn header(&mut self, head: &Head, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Parked> {
        let policy = cx.policy;
        let assumed = match &self.stage {
            Stage::Known(account) => Some(account.jid.domainpart()),
            Stage::Clear | Stage::Secure(_) => None,
        };
        let facts = header::read(head, bytes, policy, assumed);
        match self.plan(&facts, cx)? {
            Ok((domain, plan)) => self.open(facts, domain, plan, cx),
            Err(fault) => self.refuse_header(&facts, fault, cx),
        }
        Ok(())
    }

    fn plan<'p>(
        &self,
        facts: &Facts<'p>,
        cx: &mut Context<'_>,
    ) -> Result<Result<(&'p DomainPolicy, Plan), Fault>, Parked> {
        if let Some(fault) = facts.fault {
            return Ok(Err(fault));
        }
        let Some(domain) = facts.domain else { return Ok(Err(fault(StreamCondition::HostUnknown))) };
        let is_modern = facts.version.is_modern();
        if !is_modern && !domain.legacy {
            let text = Some("Only version='1.0' is spoken for this domain");
            return Ok(Err(Fault { condition: StreamCondition::UnsupportedVersion, text }));
        }
        let plan = match (&self.stage, is_modern) {
            (Stage::Clear, true) => clear_rfc(domain, cx)?,
            (Stage::Clear, false) => Ok(clear_2002(domain, facts)),
            (Stage::Secure(secured), true) => secure_rfc(domain, facts, secured, cx)?,
            (Stage::Secure(secured), false) => Ok(secure_2002(domain, facts, secured, cx)?),
            (Stage::Known(account), _) => after_login(domain, facts, account),
        };
        Ok(plan.map(|plan| (domain, plan)))
    }

    fn open(&mut self, facts: Facts<'_>, domain: &DomainPolicy, plan: Plan, cx: &mut Context<'_>) {
        let Facts { ns, version, from, lang, tls_prefix, sasl_prefix, .. } = facts;
        let dialect = if version.is_modern() { Dialect::Rfc6120 } else { Dialect::Xep0035 };
        let is_2002 = dialect == Dialect::Xep0035;
        let tls_prefix = tls_prefix.filter(|_| is_2002 && plan.starttls == StartTls::Offered);
        let sasl_prefix = sasl_prefix.filter(|_| is_2002 && plan.login == Login::Sasl);
        Answer {
            from: &domain.name,
            to: from.as_ref().map(Jid::as_str),
            id: &cx.random.token(),
            version,
            tls_prefix: tls_prefix.as_deref(),
            sasl_prefix: sasl_prefix.as_deref(),
        }
        .write(cx.out);
        let is_secure = !matches!(self.stage, Stage::Clear);
        let stream = Stream {
            dialect,
            domain: domain.name.as_str().into(),
            from: from.filter(|_| is_secure),
            lang,
            login: plan.login,
            starttls: plan.starttls,
            sasl_prefix: sasl_prefix.unwrap_or_default(),
            offer: plan.offer,
            sasl_attempts_max: domain.sasl_attempts_max,
            bind_attempts_max: domain.bind_attempts_max,
            conflict: domain.conflict,
        };
        features::write(&stream, domain, cx.out);
        self.ns = ns;
        self.stream = Some(Box::new(stream));
        self.state = if plan.login == Login::Done { State::LoggedIn } else { State::Open };
    }

    /// RFC 6120 §4.9.1.2: a header of ours first, then the error.
    fn refuse_header(&mut self, facts: &Facts<'_>, fault: Fault, cx: &mut Context<'_>) {
        let from = facts.domain.map_or(cx.policy.default_domain(), |domain| &domain.name);
        let to = facts.from.as_ref().map(Jid::as_str);
        let id = cx.random.token();
        Answer { from, to, id: &id, version: facts.version, tls_prefix: None, sasl_prefix: None }.write(cx.out);
        write_stream_error(cx.out, facts.version.is_modern(), fault.condition, fault.text, None);
        write_stream_end(cx.out);
        self.close(cx, CloseHow::Linger);
    }

    /// A header for an error that comes before one was read.
    pub(super) fn write_header_for_error(&self, cx: &mut Context<'_>) {
        let from = match &self.stage {
            Stage::Known(account) => account.jid.domainpart(),
            Stage::Clear | Stage::Secure(_) => cx.policy.default_domain(),
        };
        let id = cx.random.token();
        Answer { from, to: None, id: &id, version: Version::Modern, tls_prefix: None, sasl_prefix: None }.write(cx.out);
    }
}

fn fault(condition: StreamCondition) -> Fault {
    Fault { condition, text: None }
}

/// Version 1.0 before TLS. The namespaces of 2002 mean nothing here.
fn clear_rfc(domain: &DomainPolicy, cx: &mut Context<'_>) -> Result<Result<Plan, Fault>, Parked> {
    let starttls = if domain.tls_available { StartTls::Offered } else { StartTls::Unavailable };
    if domain.tls_required {
        let plan = Plan::without_sasl(Login::TlsFirst, starttls);
        return Ok(if domain.tls_available { Ok(plan) } else { Err(NO_WAY_IN) });
    }
    let hashes = hashes_of_all(domain, cx)?;
    let offer = features::offer(domain, hashes, &Channel::CLEAR);
    Ok(match (offer.mechanisms.is_empty(), starttls) {
        (false, _) => Ok(Plan { login: Login::Sasl, starttls, offer }),
        (true, StartTls::Offered) => Ok(Plan::without_sasl(Login::TlsFirst, starttls)),
        (true, _) => Err(NO_WAY_IN),
    })
}

/// No version, before TLS: the namespace is what a client asks with. No SASL namespace is given back.
fn clear_2002(domain: &DomainPolicy, facts: &Facts<'_>) -> Plan {
    let starttls = match (domain.tls_available, &facts.tls_prefix) {
        (false, _) => StartTls::Unavailable,
        (true, None) => StartTls::Unasked,
        (true, Some(_)) => StartTls::Offered,
    };
    // XEP-0078 shows the password: never in the clear, whatever else is allowed there.
    Plan::without_sasl(Login::TlsFirst, starttls)
}

/// Version 1.0 inside TLS.
fn secure_rfc(
    domain: &DomainPolicy,
    facts: &Facts<'_>,
    secured: &Secured,
    cx: &mut Context<'_>,
) -> Result<Result<Plan, Fault>, Parked> {
    let hashes = hashes(domain, facts.from.as_ref(), cx)?;
    let offer = features::offer(domain, hashes, &channel(domain, secured, true, cx));
    let is_empty = offer.mechanisms.is_empty();
    Ok(if is_empty { Err(NO_WAY_IN) } else { Ok(Plan { login: Login::Sasl, starttls: StartTls::Done, offer }) })
}

/// No version, inside TLS: SASL if the header declares its namespace, else a password if that is allowed. There is no
/// way to announce channel bindings here, and XEP-0474 hashes what was announced: so none are offered.
fn secure_2002(
    domain: &DomainPolicy,
    facts: &Facts<'_>,
    secured: &Secured,
    cx: &mut Context<'_>,
) -> Result<Plan, Parked> {
    if facts.sasl_prefix.is_some() {
        let hashes = hashes(domain, facts.from.as_ref(), cx)?;
        let offer = features::offer(domain, hashes, &channel(domain, secured, false, cx));
        if !offer.mechanisms.is_empty() {
            return Ok(Plan { login: Login::Sasl, starttls: StartTls::Done, offer });
        }
    }
    let is_allowed = domain.mechanisms.contains(&Mechanism::Plain);
    Ok(Plan::without_sasl(if is_allowed { Login::Password } else { Login::Nothing }, StartTls::Done))
}

/// The stream behind a login in RFC 6120's way: it must go on in that way, for the same account.
fn after_login(domain: &DomainPolicy, facts: &Facts<'_>, account: &Account) -> Result<Plan, Fault> {
    let is_other = |from: &Jid| from.localpart().is_some() && *from != account.jid;
    if !facts.version.is_modern() {
        let text = Some("The login was version 1.0's: go on in that version");
        return Err(Fault { condition: StreamCondition::UnsupportedVersion, text });
    }
    if domain.name != account.jid.domainpart() {
        let text = Some("The login was for another domain");
        return Err(Fault { condition: StreamCondition::NotAuthorized, text });
    }
    if !account.anonymous && facts.from.as_ref().is_some_and(is_other) {
        return Err(fault(StreamCondition::InvalidFrom));
    }
    Ok(Plan::without_sasl(Login::Done, StartTls::Done))
}

fn channel(domain: &DomainPolicy, secured: &Secured, announces: bool, cx: &Context<'_>) -> Channel {
    let has_exporter = announces && secured.bindings.exporter.is_some();
    let has_end_point = announces && secured.bindings.server_end_point.is_some();
    Channel { is_secure: true, external: is_trusted(domain, secured, cx), has_exporter, has_end_point }
}

/// Whether the client's certificates are good enough to offer EXTERNAL. Which address they name, if any, is asked again
/// at `<auth/>` (XEP-0178 §2).
fn is_trusted(domain: &DomainPolicy, secured: &Secured, cx: &Context<'_>) -> bool {
    domain.external
        && !secured.chain.is_empty()
        && cx.policy.judge(&domain.name, &secured.chain, cx.now.unix_s()).is_ok()
}

/// The hashes to offer: the account's own if the header inside TLS names one, else those that all accounts have.
///
/// A name that nobody has is treated like a new account, which has both: whoever tries names must not learn which exist.
fn hashes(domain: &DomainPolicy, from: Option<&Jid>, cx: &mut Context<'_>) -> Result<HashSet, Parked> {
    let named = from.filter(|from| from.domainpart() == domain.name).and_then(Jid::localpart);
    let Some(localpart) = named else { return hashes_of_all(domain, cx) };
    match cx.accounts.credentials(&domain.name, localpart) {
        Lookup::Miss => Err(Parked),
        Lookup::Absent => Ok(HashSet::BOTH),
        Lookup::Found(credentials) => Ok(features::hashes_of(&credentials)),
    }
}

fn hashes_of_all(domain: &DomainPolicy, cx: &mut Context<'_>) -> Result<HashSet, Parked> {
    match cx.accounts.offered_hashes(&domain.name) {
        Lookup::Miss => Err(Parked),
        Lookup::Absent => Ok(HashSet::BOTH),
        Lookup::Found(hashes) => Ok(hashes),
    }
}
