//! XEP-0050: Ad-Hoc Commands, with those of XEP-0133 for admins.
//!
//! ```text
//! execute ──▶ a form, or done at once ──submit──▶ done: a note, or a form of results
//! ```
//!
//! Nothing is kept between the stages: the session id is a keyed hash of who asks for what, and each stage checks
//! again who asks. Everything that changes something is logged, passwords never.

use super::admin::{self, COMMANDS, Command, Said};
use super::forms::{self, Submitted};
use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::stop::{Refusal, Stop};
use crate::stanza::StanzaCondition;
use crate::xml::Writer;

/// The namespace.
pub const NS: &str = "http://jabber.org/protocol/commands";
const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";
const NS_INFO: &str = "http://jabber.org/protocol/disco#info";

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[],
    iq: &[IqEntry { ns: NS, name: "command", handler: command }],
};

/// A refusal with a condition of XEP-0050 §4.2.
const fn refusal(condition: StanzaCondition, application: &'static str) -> Refusal {
    Refusal { condition, error_type: None, text: None, application: Some((application, NS)) }
}

const MALFORMED_ACTION: Refusal = refusal(StanzaCondition::BadRequest, "malformed-action");
const BAD_PAYLOAD: Refusal = refusal(StanzaCondition::BadRequest, "bad-payload");
const BAD_SESSION: Refusal = refusal(StanzaCondition::BadRequest, "bad-sessionid");

/// Whether who asks is an admin.
fn is_admin(request: &IqRequest<'_>, columns: &Columns<'_>) -> bool {
    let sender = columns.directory.session(request.sender);
    sender.is_some_and(|sender| request.about.admins.iter().any(|admin| admin == sender.jid.bare()))
}

fn command(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.target != Target::Server || request.kind != IqKind::Set {
        return Ok(Outcome::Pass);
    }
    let payload = request.payload().ok_or(StanzaCondition::BadRequest)?;
    let node = payload.attr("node").ok_or(StanzaCondition::BadRequest)?;
    // Who is no admin does not learn which commands there are.
    if !is_admin(request, columns) {
        return Err(StanzaCondition::Forbidden.into());
    }
    let command = COMMANDS.iter().find(|command| command.node == node).ok_or(StanzaCondition::ItemNotFound)?;
    let session = session_id(request, columns, node);
    if payload.attr("sessionid").is_some_and(|given| given != session) {
        return Err(BAD_SESSION.into());
    }
    match payload.attr("action") {
        Some("cancel") => return Ok(canceled(node, &session, out)),
        None | Some("execute" | "complete" | "next") => {}
        Some(_) => return Err(MALFORMED_ACTION.into()),
    }
    let form = Submitted::find(payload, admin::FORM);
    if form.is_none() && !command.fields.is_empty() {
        if payload.child(forms::NS, "x").is_some() {
            return Err(BAD_PAYLOAD.into());
        }
        let current = command.current.map_or_else(|| Ok(Vec::new()), |current| current(request, columns))?;
        ask(command, &session, &current, out);
        return Ok(Outcome::Handled);
    }
    let said = (command.run)(request, columns, form)?;
    if command.changes {
        let who = columns.directory.session(request.sender).map(|session| session.jid.as_str());
        log::info!("{} ran the command {}", who.unwrap_or_default(), command.name);
    }
    complete(command, &session, &said, out);
    Ok(Outcome::Handled)
}

/// What a session is told by: who asks for what.
fn session_id(request: &IqRequest<'_>, columns: &Columns<'_>, node: &str) -> String {
    let who = columns.directory.session(request.sender).map_or("", |session| session.jid.as_str());
    request.about.sign(&[who, node])
}

fn open<'w>(node: &'w str, session: &str, status: &str, out: &'w mut Vec<u8>) -> Writer<'w> {
    let mut xml = Writer::new(out);
    xml.open("command").attr("xmlns", NS).attr("node", node).attr("sessionid", session).attr("status", status);
    xml
}

fn canceled(node: &str, session: &str, out: &mut Vec<u8>) -> Outcome {
    open(node, session, "canceled", out).close();
    Outcome::Handled
}

fn ask(command: &Command, session: &str, current: &[String], out: &mut Vec<u8>) {
    let mut xml = open(command.node, session, "executing", out);
    xml.open("actions").attr("execute", "complete").open("complete").close().close();
    forms::write_form(admin::FORM, command.name, command.fields, current, &mut xml);
    xml.close();
}

fn complete(command: &Command, session: &str, said: &Said, out: &mut Vec<u8>) {
    let mut xml = open(command.node, session, "completed", out);
    match said {
        Said::Note(note) => {
            xml.open("note").attr("type", "info").text(note).close();
        }
        Said::Values { var, kind, values } => forms::write_result(admin::FORM, var, *kind, values, &mut xml),
    }
    xml.close();
}

/// disco#items of a node of the server: the list of commands, for those who may use them.
///
/// # Errors
///
/// `item-not-found`: no such node.
pub fn node_items(
    request: &IqRequest<'_>,
    columns: &mut Columns<'_>,
    node: &str,
    out: &mut Vec<u8>,
) -> Result<Outcome, Stop> {
    let is_command = COMMANDS.iter().any(|command| command.node == node);
    if node != NS && !(is_command && is_admin(request, columns)) {
        return Err(StanzaCondition::ItemNotFound.into());
    }
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_ITEMS).attr("node", node);
    if node == NS && is_admin(request, columns) {
        for command in COMMANDS {
            xml.open("item").attr("jid", request.to.as_str()).attr("node", command.node);
            xml.attr("name", command.name).close();
        }
    }
    xml.close();
    Ok(Outcome::Handled)
}

/// disco#info of a node of the server.
///
/// # Errors
///
/// `item-not-found`: no such node.
pub fn node_info(
    request: &IqRequest<'_>,
    columns: &mut Columns<'_>,
    node: &str,
    out: &mut Vec<u8>,
) -> Result<Outcome, Stop> {
    let command = COMMANDS.iter().find(|command| command.node == node && is_admin(request, columns));
    let (kind, name) = match command {
        Some(command) => ("command-node", command.name),
        None if node == NS => ("command-list", "Commands"),
        None => return Err(StanzaCondition::ItemNotFound.into()),
    };
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_INFO).attr("node", node);
    xml.open("identity").attr("category", "automation").attr("type", kind).attr("name", name).close();
    for feature in [NS, forms::NS] {
        xml.open("feature").attr("var", feature).close();
    }
    xml.close();
    Ok(Outcome::Handled)
}
