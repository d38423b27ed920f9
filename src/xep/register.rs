//! XEP-0077: In-Band Registration, with the invitations of XEP-0445.
//!
//! ```text
//! before login: fields ─▶ username, password ─▶ hashed ─▶ account        token ─▶ shown to be good, used by the account
//! with a session: password, or <remove/>
//! ```
//!
//! Off unless the configuration says otherwise; only inside TLS.

use super::admin::{credentials, set_password};
use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::config::Registration;
use crate::im::accounts::{self, Change};
use crate::im::columns::Columns;
use crate::im::invites::{self, Invite};
use crate::im::removal;
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::im::subscribing::Subscribing;
use crate::jid::{self, Jid, JidRef};
use crate::stanza::{ErrorType, StanzaCondition};
use crate::storage::StoreFull;
use crate::xml::{Element, Tree, Writer};

/// The namespace of registration.
pub const NS: &str = "jabber:iq:register";
/// The namespace of invitations.
const NS_PREAUTH: &str = "urn:xmpp:pars:0";

/// The payloads that a stream without a session may send: namespace and name.
pub const PAYLOADS: [(&str, &str); 2] = [(NS, "query"), (NS_PREAUTH, "preauth")];

/// The table. A session may change its password and cancel its account, whether others may register or not.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[],
    iq: &[IqEntry { ns: NS, name: "query", handler: query }],
};

/// Who asks for an account, and how far it may go.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// The domain.
    pub domain: &'a str,
    /// Who may make accounts there.
    pub registration: Registration,
    /// The invitation that was good when it was shown.
    pub invitation: Option<&'a str>,
    /// PBKDF2 rounds for the password.
    pub iterations: u32,
    /// Bare JIDs of admins: nobody becomes one by being the first to take the name.
    pub admins: &'a [String],
}

/// What has been done for a newcomer; `payload` is what the answer holds.
#[derive(Debug)]
pub enum Done {
    /// It was told what to fill in.
    Fields(Vec<u8>),
    /// There is an account.
    Account {
        /// Its address.
        jid: Jid,
        /// Nothing.
        payload: Vec<u8>,
    },
    /// Its invitation is good.
    Invited {
        /// The token.
        token: String,
        /// Nothing.
        payload: Vec<u8>,
    },
}

const fn refuse(condition: StanzaCondition, text: &'static str) -> Refusal {
    Refusal { condition, error_type: None, text: Some(text), application: None }
}

const NO_TOKEN: Refusal = refuse(StanzaCondition::ItemNotFound, "the provided token is invalid or expired");
const INCOMPLETE: Refusal = refuse(StanzaCondition::NotAcceptable, "a username and a password are needed");
const BAD_NAME: Refusal = refuse(StanzaCondition::NotAcceptable, "this username cannot be used");
const BY_INVITATION: Refusal = Refusal {
    condition: StanzaCondition::NotAllowed,
    error_type: Some(ErrorType::Cancel),
    text: Some("an invitation is needed to register here"),
    application: None,
};

/// A request before the login.
///
/// # Errors
///
/// [`Stop`], as for a stanza of a session.
pub fn before_login(tree: &Tree, newcomer: &Newcomer<'_>, columns: &mut Columns<'_>) -> Result<Done, Stop> {
    let stanza = tree.root();
    let is_set = match stanza.attr("type") {
        Some("get") => false,
        Some("set") => true,
        _ => return Err(StanzaCondition::BadRequest.into()),
    };
    let payload = stanza.children().next().ok_or(StanzaCondition::BadRequest)?;
    if stanza.attr("id").is_none() {
        return Err(StanzaCondition::BadRequest.into());
    }
    match (payload.ns() == NS_PREAUTH, is_set) {
        (true, true) => show_invitation(payload, newcomer, columns),
        (true, false) => Err(StanzaCondition::BadRequest.into()),
        (false, false) => Ok(Done::Fields(fields())),
        (false, true) => make_account(payload, newcomer, columns),
    }
}

/// XEP-0445 §4: the token is looked at now, and used when there is an account.
fn show_invitation(payload: Element<'_>, newcomer: &Newcomer<'_>, columns: &mut Columns<'_>) -> Result<Done, Stop> {
    let token = payload.attr("token").ok_or(StanzaCondition::BadRequest)?;
    let invite = invites::get(columns.store, token)?;
    let now_s = columns.now.unix_s();
    let good = invite.filter(|invite| invite.expires_unix_s > now_s && invite.domain == newcomer.domain);
    good.ok_or(NO_TOKEN)?;
    Ok(Done::Invited { token: token.to_owned(), payload: Vec::new() })
}

fn fields() -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").attr("xmlns", NS);
    xml.leaf("instructions", "Choose a username and a password.");
    xml.open("username").close().open("password").close().close();
    drop(xml);
    out
}

fn make_account(query: Element<'_>, newcomer: &Newcomer<'_>, columns: &mut Columns<'_>) -> Result<Done, Stop> {
    let text = |name: &str| query.child(NS, name).map(|child| child.text().into_owned());
    let (Some(username), Some(password)) = (text("username"), text("password")) else { return Err(INCOMPLETE.into()) };
    if username.is_empty() || password.is_empty() {
        return Err(INCOMPLETE.into());
    }
    let localpart = jid::prepare_localpart(&username).map_err(|_| BAD_NAME)?.into_owned();
    let invite = match newcomer.invitation {
        Some(token) => invites::get(columns.store, token)?.map(|invite| (token, invite)),
        None => None,
    };
    if newcomer.registration == Registration::Invite && invite.is_none() {
        return Err(BY_INVITATION.into());
    }
    if let Some(name) = invite.as_ref().and_then(|(_, invite)| invite.localpart.as_deref())
        && name != localpart
    {
        return Err(refuse(StanzaCondition::NotAcceptable, "the invitation is for another username").into());
    }
    let is_named = invite.as_ref().is_some_and(|(_, invite)| invite.localpart.is_some());
    let is_admins = newcomer.admins.iter().any(|admin| {
        let admin = JidRef::of_prepared(admin);
        admin.localpart() == Some(&*localpart) && admin.domainpart() == newcomer.domain
    });
    if is_admins && !is_named {
        return Err(StanzaCondition::Conflict.into());
    }
    let reserved = invites::reserved(columns.store, newcomer.domain, &localpart, columns.now.unix_s())?;
    let is_own = reserved.as_deref() == invite.as_ref().map(|(token, _)| *token);
    if (reserved.is_some() && !is_own) || accounts::get(columns.store, newcomer.domain, &localpart)?.is_some() {
        return Err(StanzaCondition::Conflict.into());
    }
    let credentials = credentials(&password, newcomer.iterations, columns)?;
    let row = accounts::account(&credentials);
    match accounts::create(columns.store, newcomer.domain, &localpart, &row)? {
        Change::Done => {}
        Change::Exists | Change::Absent => return Err(StanzaCondition::Conflict.into()),
        Change::Full => return Err(StoreFull.into()),
    }
    let jid = Jid::from_parts(Some(&localpart), newcomer.domain, None).map_err(|_| BAD_NAME)?;
    if let Some((token, invite)) = invite {
        use_invitation(token, &invite, &jid, columns)?;
    }
    Ok(Done::Account { jid, payload: Vec::new() })
}

/// The invitation is used up, and who has invited gets the newcomer as a contact (XEP-0401 §6).
fn use_invitation(token: &str, invite: &Invite, jid: &Jid, columns: &mut Columns<'_>) -> Result<(), Stop> {
    invites::use_once(columns.store, token, invite)?;
    let Some(inviter) = invite.inviter.as_deref().and_then(|text| Jid::parse(text).ok()) else { return Ok(()) };
    if accounts::get(columns.store, inviter.domainpart(), inviter.localpart().unwrap_or_default())?.is_some() {
        let mut subscribing = Subscribing::new(columns);
        subscribing.befriend(inviter.as_ref(), jid.as_ref())?;
        subscribing.finish();
    }
    Ok(())
}

/// With a session: §3.1.1 (already registered), §3.2 (cancellation), §3.3 (another password).
fn query(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.target == Target::Stranger {
        return Ok(Outcome::Pass);
    }
    let sender = columns.directory.session(request.sender).ok_or(StanzaCondition::NotAllowed)?;
    let own = sender.jid.to_bare();
    if sender.flags.has(SessionFlags::ANONYMOUS) {
        return Err(StanzaCondition::NotAllowed.into());
    }
    let query = request.payload().ok_or(StanzaCondition::BadRequest)?;
    if request.kind == IqKind::Get {
        let mut xml = Writer::new(out);
        xml.open("query").attr("xmlns", NS).open("registered").close();
        xml.leaf("username", own.localpart().unwrap_or_default()).open("password").close().close();
        return Ok(Outcome::Handled);
    }
    if query.child(NS, "remove").is_some() {
        if query.children().count() != 1 {
            return Err(StanzaCondition::BadRequest.into());
        }
        removal::remove(columns, own.as_ref())?;
        return Ok(Outcome::Handled);
    }
    let text = |name: &str| query.child(NS, name).map(|child| child.text().into_owned());
    let (Some(username), Some(password)) = (text("username"), text("password")) else {
        return Err(StanzaCondition::BadRequest.into());
    };
    let is_own = jid::prepare_localpart(&username).is_ok_and(|name| Some(&*name) == own.localpart());
    if !is_own || !request.sender.session().is_some_and(|id| columns.is_encrypted(id)) {
        return Err(StanzaCondition::NotAllowed.into());
    }
    set_password(&own, &password, request.about.scram_iterations, columns)?;
    Ok(Outcome::Handled)
}
