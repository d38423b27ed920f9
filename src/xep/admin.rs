//! XEP-0133: Service Administration: the commands, as a table.
//!
//! ```text
//! node, name, fields ──▶ run(form) ──▶ a note, or values
//! ```

use super::IqRequest;
use super::forms::{Field, Kind, Submitted};
use crate::im::accounts::{self, ACCOUNT_PAGE_MAX, Change};
use crate::im::columns::{Columns, Effect};
use crate::im::stop::{Refusal, Stop};
use crate::im::{motd, removal};
use crate::jid::{self, Jid};
use crate::limits::{ADMIN_JIDS_MAX, ADMIN_LIST_MAX};
use crate::sasl::{Credentials, ScramHash, derive};
use crate::stanza::StanzaCondition;
use crate::storage::StoreFull;
use crate::stream::error::StreamCondition;
use crate::xml::Writer;

/// The type of all forms here.
pub const FORM: &str = "http://jabber.org/protocol/admin";

/// What a command says when it is done.
#[derive(Clone, Debug)]
pub enum Said {
    /// A sentence.
    Note(String),
    /// The values of one field.
    Values {
        /// The field.
        var: &'static str,
        /// What it holds.
        kind: Kind,
        /// The values.
        values: Vec<String>,
    },
}

/// What a form already says: the values of its one field.
type Current = fn(&IqRequest<'_>, &mut Columns<'_>) -> Result<Vec<String>, Stop>;

/// Carries a command out. Commands without fields get no form.
type Run = fn(&IqRequest<'_>, &mut Columns<'_>, Option<Submitted<'_>>) -> Result<Said, Stop>;

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The node.
    pub node: &'static str,
    /// What a person reads.
    pub name: &'static str,
    /// What has to be filled in.
    pub fields: &'static [Field],
    /// Whether it changes something.
    pub changes: bool,
    /// What it does.
    pub run: Run,
    /// What its form begins with.
    pub current: Option<Current>,
}

const ONE: Field = Field { var: "accountjid", label: "The Jabber ID of the account", kind: Kind::Jid };
const SEVERAL: Field = Field { var: "accountjids", label: "The Jabber IDs", kind: Kind::Jids };
const PASSWORD: Field = Field { var: "password", label: "The password", kind: Kind::Password };
const AGAIN: Field = Field { var: "password-verify", label: "The password again", kind: Kind::Password };
const TEXT: Field = Field { var: "announcement", label: "The text", kind: Kind::Lines };
const MOTD: Field = Field { var: "motd", label: "The message of the day", kind: Kind::Lines };

macro_rules! commands {
    (@current) => { None };
    (@current $current:expr) => { Some($current) };
    ($($name:literal, $words:literal, [$($field:expr),*], $changes:literal, $run:expr $(, $current:expr)?;)*) => {
        /// All commands.
        pub const COMMANDS: &[Command] = &[$(Command {
            node: concat!("http://jabber.org/protocol/admin#", $name),
            name: $words,
            fields: &[$($field),*],
            changes: $changes,
            run: $run,
            current: commands!(@current $($current)?),
        },)*];
    };
}

commands! {
    "add-user", "Add a user", [ONE, PASSWORD, AGAIN], true, add_user;
    "delete-user", "Delete users", [SEVERAL], true, delete_users;
    "disable-user", "Disable users", [SEVERAL], true, disable_users;
    "reenable-user", "Enable users again", [SEVERAL], true, enable_users;
    "end-user-session", "End sessions of users", [SEVERAL], true, end_sessions;
    "change-user-password", "Change a user's password", [ONE, PASSWORD], true, change_password;
    "get-registered-users-num", "Number of users", [], false, users_number;
    "get-online-users-num", "Number of users online", [], false, online_number;
    "get-registered-users-list", "List of users", [], false, users_list;
    "get-online-users-list", "List of users online", [], false, online_list;
    "announce", "Announce to all who are online", [TEXT], true, announce;
    "set-motd", "Set the message of the day", [MOTD], true, set_motd;
    "edit-motd", "Change the message of the day, for those who have not seen it", [MOTD], true, edit_motd, current_motd;
    "delete-motd", "Take the message of the day back", [], true, delete_motd;
}

const fn refuse(condition: StanzaCondition, text: &'static str) -> Refusal {
    Refusal { condition, error_type: None, text: Some(text), application: None }
}

const NO_FORM: Refusal = refuse(StanzaCondition::BadRequest, "a field is missing");
const NOT_HERE: Refusal = refuse(StanzaCondition::ItemNotFound, "there is no such account here");
const NO_PASSWORD: Refusal = refuse(StanzaCondition::NotAcceptable, "this password cannot be used");
const NOT_THE_SAME: Refusal = refuse(StanzaCondition::NotAcceptable, "the two passwords are not the same");

/// An account address of a hosted domain.
fn account(text: &str, columns: &Columns<'_>) -> Result<Jid, Stop> {
    let jid = Jid::parse(text).map_err(|_| StanzaCondition::JidMalformed)?;
    match jid.localpart().is_some() && columns.hosts.is_hosted(jid.domainpart()) {
        true => Ok(jid),
        false => Err(NOT_HERE.into()),
    }
}

fn one(form: Option<Submitted<'_>>, columns: &Columns<'_>) -> Result<Jid, Stop> {
    let text = form.and_then(|form| form.value(ONE.var)).ok_or(NO_FORM)?;
    Ok(account(&text, columns)?.to_bare())
}

fn several(form: Option<Submitted<'_>>, columns: &Columns<'_>) -> Result<Vec<Jid>, Stop> {
    let texts = form.map(|form| form.values(SEVERAL.var)).unwrap_or_default();
    if texts.is_empty() || texts.len() > ADMIN_JIDS_MAX {
        return Err(NO_FORM.into());
    }
    // Naming somebody twice is naming them.
    let mut jids = Vec::with_capacity(texts.len());
    for text in texts {
        let jid = account(&text, columns)?;
        if !jids.contains(&jid) {
            jids.push(jid);
        }
    }
    Ok(jids)
}

/// The keys of a new password: asked of the hashing thread by the first run, there in the second.
///
/// # Errors
///
/// [`Stop`]: the password cannot be used, or is being hashed.
pub fn credentials(password: &str, iterations: u32, columns: &mut Columns<'_>) -> Result<Credentials, Stop> {
    if let Some(hashed) = columns.hashed {
        return Ok(Credentials { keys: hashed.derived.clone(), disabled: false });
    }
    let prepared = jid::prepare_password(password).map_err(|_| NO_PASSWORD)?;
    Err(Stop::Hash(Box::new(derive(&prepared, &ScramHash::ALL, iterations, columns.random))))
}

fn changed(change: Change) -> Result<(), Stop> {
    match change {
        Change::Done => Ok(()),
        Change::Absent => Err(NOT_HERE.into()),
        Change::Exists => Err(StanzaCondition::Conflict.into()),
        Change::Full => Err(StoreFull.into()),
    }
}

fn add_user(request: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let (jid, form) = (one(form, columns)?, form.ok_or(NO_FORM)?);
    let password = form.value(PASSWORD.var).ok_or(NO_FORM)?;
    if form.value(AGAIN.var).is_some_and(|again| again != password) {
        return Err(NOT_THE_SAME.into());
    }
    let localpart = jid.localpart().unwrap_or_default();
    if accounts::get(columns.store, jid.domainpart(), localpart)?.is_some() {
        return Err(StanzaCondition::Conflict.into());
    }
    let credentials = credentials(&password, request.about.scram_iterations, columns)?;
    changed(accounts::create(columns.store, jid.domainpart(), localpart, &accounts::account(&credentials))?)?;
    Ok(Said::Note(format!("{jid} was added")))
}

fn change_password(
    request: &IqRequest<'_>,
    columns: &mut Columns<'_>,
    form: Option<Submitted<'_>>,
) -> Result<Said, Stop> {
    let (jid, form) = (one(form, columns)?, form.ok_or(NO_FORM)?);
    let password = form.value(PASSWORD.var).ok_or(NO_FORM)?;
    set_password(&jid, &password, request.about.scram_iterations, columns)?;
    Ok(Said::Note(format!("{jid} has a new password")))
}

/// Gives an account another password; whether it is disabled stays.
///
/// # Errors
///
/// [`Stop`]: a row is missing, the password is being hashed or cannot be used, or there is no room.
pub fn set_password(jid: &Jid, password: &str, iterations: u32, columns: &mut Columns<'_>) -> Result<(), Stop> {
    let (domain, localpart) = (jid.domainpart(), jid.localpart().unwrap_or_default());
    let old = accounts::get(columns.store, domain, localpart)?.ok_or(NOT_HERE)?;
    let new = Credentials { disabled: old.summary.disabled, ..credentials(password, iterations, columns)? };
    changed(accounts::set(columns.store, domain, localpart, &accounts::account(&new))?)?;
    columns.effects.push(Effect::PasswordChanged { bare: jid.bare().to_owned() });
    Ok(())
}

fn delete_users(_: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let jids = several(form, columns)?;
    for jid in &jids {
        removal::remove(columns, jid.as_ref().to_bare())?;
    }
    Ok(Said::Note(format!("{} deleted", jids.len())))
}

fn disable_users(_: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let jids = several(form, columns)?;
    for jid in &jids {
        set_disabled(jid, true, columns)?;
    }
    Ok(Said::Note(format!("{} disabled", jids.len())))
}

fn enable_users(_: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let jids = several(form, columns)?;
    for jid in &jids {
        set_disabled(jid, false, columns)?;
    }
    Ok(Said::Note(format!("{} enabled", jids.len())))
}

/// Lets an account log in, or not; what it has stays.
///
/// # Errors
///
/// [`Stop`]: a row is missing, there is no such account, or there is no room.
pub fn set_disabled(jid: &Jid, disabled: bool, columns: &mut Columns<'_>) -> Result<(), Stop> {
    let (domain, localpart) = (jid.domainpart(), jid.localpart().unwrap_or_default());
    let mut account = accounts::get(columns.store, domain, localpart)?.ok_or(NOT_HERE)?;
    account.summary.disabled = disabled;
    let credentials = Credentials { disabled, ..accounts::credentials(&account) };
    changed(accounts::set(columns.store, domain, localpart, &accounts::account(&credentials))?)?;
    if disabled {
        columns.effects.push(Effect::PasswordChanged { bare: jid.bare().to_owned() });
        let sessions = columns.directory.resources(jid.bare()).map(|(session, _)| session);
        let end = |session| Effect::EndSession { session, condition: StreamCondition::NotAuthorized };
        columns.effects.extend(sessions.map(end));
    }
    Ok(())
}

fn end_sessions(_: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let jids = several(form, columns)?;
    let mut ended = 0;
    for jid in &jids {
        let sessions = columns.directory.resources(jid.bare());
        let named = sessions.filter(|(_, session)| jid.is_bare() || session.jid.resourcepart() == jid.resourcepart());
        for (session, _) in named {
            columns.effects.push(Effect::EndSession { session, condition: StreamCondition::PolicyViolation });
            ended += 1;
        }
    }
    Ok(Said::Note(format!("{ended} sessions ended")))
}

fn users_number(request: &IqRequest<'_>, columns: &mut Columns<'_>, _: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let number = accounts::offered(columns.store, request.to.domainpart())?.accounts;
    Ok(Said::Values { var: "registeredusersnum", kind: Kind::Text, values: vec![number.to_string()] })
}

fn online_number(request: &IqRequest<'_>, columns: &mut Columns<'_>, _: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let sessions = columns.directory.iter().filter(|(_, session)| session.jid.domainpart() == request.to.domainpart());
    Ok(Said::Values { var: "onlineusersnum", kind: Kind::Text, values: vec![sessions.count().to_string()] })
}

fn users_list(request: &IqRequest<'_>, columns: &mut Columns<'_>, _: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let domain = request.to.domainpart();
    let mut values: Vec<String> = Vec::new();
    let mut after: Option<String> = None;
    while values.len() < ADMIN_LIST_MAX {
        let page = accounts::list(columns.store, domain, after.as_deref(), ACCOUNT_PAGE_MAX)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        values.extend(page.into_iter().map(|(localpart, _)| format!("{localpart}@{domain}")));
    }
    values.truncate(ADMIN_LIST_MAX);
    Ok(Said::Values { var: "registereduserjids", kind: Kind::Jids, values })
}

fn online_list(request: &IqRequest<'_>, columns: &mut Columns<'_>, _: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let sessions = columns.directory.iter().filter(|(_, session)| session.jid.domainpart() == request.to.domainpart());
    let mut values: Vec<String> =
        sessions.map(|(_, session)| session.jid.as_str().to_owned()).take(ADMIN_LIST_MAX).collect();
    values.sort();
    Ok(Said::Values { var: "onlineuserjids", kind: Kind::Jids, values })
}

fn text(form: Option<Submitted<'_>>, field: Field) -> Result<String, Stop> {
    let text = form.map(|form| form.values(field.var).join("\n")).unwrap_or_default();
    if text.trim().is_empty() { Err(NO_FORM.into()) } else { Ok(text) }
}

fn announce(request: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let text = text(form, TEXT)?;
    let told = announce_to_all(request.to.domainpart(), &text, columns);
    Ok(Said::Note(format!("{told} sessions told")))
}

/// A headline to every session of a domain; returns to how many.
pub fn announce_to_all(domain: &str, text: &str, columns: &mut Columns<'_>) -> usize {
    let Columns { directory, outboxes, .. } = columns;
    let mut told = 0;
    for (_, session) in directory.iter().filter(|(_, session)| session.jid.domainpart() == domain) {
        outboxes.append(session.conn, |out| {
            let mut xml = Writer::new(out);
            xml.open("message").attr("from", domain).attr("to", session.jid.as_str()).attr("type", "headline");
            xml.leaf("body", text).close();
        });
        told += 1;
    }
    told
}

fn set_motd(request: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let text = text(form, MOTD)?;
    motd::proclaim(columns, request.to.domainpart(), &text)?;
    Ok(Said::Note("the message of the day is set".into()))
}

fn edit_motd(request: &IqRequest<'_>, columns: &mut Columns<'_>, form: Option<Submitted<'_>>) -> Result<Said, Stop> {
    let text = text(form, MOTD)?;
    let domain = request.to.domainpart();
    let (number, _) = motd::get(columns.store, domain)?.ok_or(StanzaCondition::ItemNotFound)?;
    motd::set(columns.store, domain, number, &text)?;
    Ok(Said::Note("the message of the day is changed".into()))
}

/// §4.25: the form has the message as it is.
fn current_motd(request: &IqRequest<'_>, columns: &mut Columns<'_>) -> Result<Vec<String>, Stop> {
    let (_, text) = motd::get(columns.store, request.to.domainpart())?.ok_or(StanzaCondition::ItemNotFound)?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn delete_motd(request: &IqRequest<'_>, columns: &mut Columns<'_>, _: Option<Submitted<'_>>) -> Result<Said, Stop> {
    motd::set(columns.store, request.to.domainpart(), 0, "")?;
    Ok(Said::Note("there is no message of the day any more".into()))
}
