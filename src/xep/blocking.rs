//! XEP-0191: Blocking Command. Where it is enforced: `dispatch`, `im/announce.rs`, `im/subscribing.rs`.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::blocks::{self, Blocked};
use crate::im::columns::Columns;
use crate::im::directory::Subscribed;
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::jid::{Jid, JidRef};
use crate::stanza::{ErrorType, StanzaCondition};
use crate::xml::{Element, Writer};

const NS: &str = "urn:xmpp:blocking";

/// The list is full.
const TOO_MANY: Refusal = Refusal {
    condition: StanzaCondition::ResourceConstraint,
    error_type: Some(ErrorType::Cancel),
    text: Some("the block list has as many entries as it may have"),
    application: None,
};

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[NS],
    iq: &[
        IqEntry { ns: NS, name: "blocklist", handler: list },
        IqEntry { ns: NS, name: "block", handler: block },
        IqEntry { ns: NS, name: "unblock", handler: unblock },
    ],
};

/// Only for the own account, which must be one that lasts.
fn check(request: &IqRequest<'_>, columns: &Columns<'_>, kind: IqKind) -> Result<bool, Stop> {
    match request.target {
        Target::OwnAccount if request.kind == kind => {}
        Target::OwnAccount | Target::Server => return Ok(false),
        Target::Stranger => return Err(StanzaCondition::Forbidden.into()),
    }
    let sender = columns.directory.session(request.sender).ok_or(StanzaCondition::NotAllowed)?;
    match sender.flags.has(SessionFlags::ANONYMOUS) {
        true => Err(StanzaCondition::NotAllowed.into()),
        false => Ok(true),
    }
}

/// §3.2: from now on the resource hears of changes.
fn list(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if !check(request, columns, IqKind::Get)? {
        return Ok(Outcome::Pass);
    }
    let blocked = blocks::get(columns.store, request.to)?;
    write_list("blocklist", blocked.iter(), out);
    if let Some(mut session) = request.sender.session().and_then(|id| columns.directory.get_mut(id)) {
        session.flags.set(SessionFlags::BLOCK_LIST, true);
    }
    Ok(Outcome::Handled)
}

fn write_list<'a>(name: &str, jids: impl Iterator<Item = &'a Jid>, out: &mut Vec<u8>) {
    let mut xml = Writer::new(out);
    xml.open(name).attr("xmlns", NS);
    for jid in jids {
        xml.open("item").attr("jid", jid.as_str()).close();
    }
    xml.close();
}

fn jids(payload: Element<'_>) -> Result<Blocked, StanzaCondition> {
    let items = payload.children().filter(|child| child.is(NS, "item"));
    let parse = |item: Element<'_>| {
        Jid::parse(item.attr("jid").ok_or(StanzaCondition::BadRequest)?).map_err(|_| StanzaCondition::JidMalformed)
    };
    items.map(parse).collect()
}

/// §3.3: stored, pushed, and whoever is blocked now sees us go.
fn block(request: &IqRequest<'_>, columns: &mut Columns<'_>, _out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if !check(request, columns, IqKind::Set)? {
        return Ok(Outcome::Pass);
    }
    let named = jids(request.payload().ok_or(StanzaCondition::BadRequest)?)?;
    // Nobody blocks their own resources (§5).
    if named.is_empty() || named.iter().any(|jid| jid.bare() == request.to.bare()) {
        return Err(StanzaCondition::BadRequest.into());
    }
    let before = blocks::get(columns.store, request.to)?;
    let blocked: Blocked = before.iter().chain(named.iter()).cloned().collect();
    if blocked.len() > columns.bounds.blocked_max || blocked.bytes() > columns.bounds.blocked_bytes_max {
        return Err(TOO_MANY.into());
    }
    blocks::set(columns.store, request.to, &blocked)?;
    push("block", &named, request.to, columns);
    let account = request.to.bare();
    // Who was blocked before has seen us go: memory still has the old list here.
    let new: Blocked = named.iter().filter(|jid| !before.contains(jid)).cloned().collect();
    for (contact, subscribed) in partners(&new, request.to, columns) {
        if subscribed.from {
            columns.send_unavailable(account, contact.as_ref());
        }
        if subscribed.from && contact.is_bare() {
            columns.directory.settle_directed(account, contact.as_str());
        }
    }
    columns.end_directed(account, &named);
    remember(request.to, columns, blocked);
    Ok(Outcome::Handled)
}

/// §3.4, §3.5: stored, pushed, and whoever is no longer blocked sees us again, as we see them.
fn unblock(request: &IqRequest<'_>, columns: &mut Columns<'_>, _out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if !check(request, columns, IqKind::Set)? {
        return Ok(Outcome::Pass);
    }
    let named = jids(request.payload().ok_or(StanzaCondition::BadRequest)?)?;
    let before = blocks::get(columns.store, request.to)?;
    let is_gone = |jid: &&Jid| named.is_empty() || named.contains(jid);
    let gone: Blocked = before.iter().filter(is_gone).cloned().collect();
    let blocked: Blocked = before.iter().filter(|jid| !is_gone(jid)).cloned().collect();
    blocks::set(columns.store, request.to, &blocked)?;
    // An empty push means that nobody is blocked any more: it is not for those who were not.
    if named.is_empty() || !gone.is_empty() {
        push("unblock", if named.is_empty() { &named } else { &gone }, request.to, columns);
    }
    remember(request.to, columns, blocked);
    let account = request.to.bare();
    for (contact, subscribed) in partners(&gone, request.to, columns) {
        if subscribed.from {
            columns.send_current(account, contact.as_ref());
        }
        if subscribed.to && columns.directory.subscribed(contact.bare(), account).from {
            columns.send_current_of(contact.as_ref(), request.to);
        }
    }
    Ok(Outcome::Handled)
}

/// The contacts whom these entries concern. Where an entry names a resource, those resources that are there: a list of
/// such entries and a roster, each as long as it may be, are not to be multiplied.
fn partners(entries: &Blocked, account: JidRef<'_>, columns: &mut Columns<'_>) -> Vec<(Jid, Subscribed)> {
    let Columns { directory, hosts, metrics, .. } = columns;
    let mut partners = Vec::new();
    metrics.contacts_walked += directory.edges(account.bare()) as u64;
    for contact in directory.contacts(account.bare()) {
        let jid = JidRef::of_prepared(contact.bare);
        if entries.matches(jid) {
            partners.push((jid.to_owned(), contact.subscribed));
        } else if hosts.is_component(jid.domainpart()) {
            // Its resources are not known here, and it is told of the bare JID: once is enough.
            let full = entries.resource_of(jid).and_then(|resource| jid.to_owned().with_resource(resource).ok());
            partners.extend(full.map(|full| (full, contact.subscribed)));
        } else {
            let resources = directory.resources_of(contact).map(|(_, session)| &session.jid);
            let named = resources.filter(|full| entries.matches(full.as_ref()));
            partners.extend(named.map(|full| (full.clone(), contact.subscribed)));
        }
    }
    partners
}

/// Routing looks at what is in memory.
fn remember(account: JidRef<'_>, columns: &mut Columns<'_>, blocked: Blocked) {
    if let Some(mut online) = columns.directory.online_mut(account.bare()) {
        online.blocked = (!blocked.is_empty()).then(|| Box::new(blocked));
    }
}

/// To all resources that have asked for the list.
fn push(name: &str, jids: &Blocked, account: JidRef<'_>, columns: &mut Columns<'_>) {
    let id = columns.random.token();
    columns.send_to_flagged(account.bare(), SessionFlags::BLOCK_LIST, |full, out| {
        let mut list = Vec::new();
        write_list(name, jids.iter(), &mut list);
        Writer::new(out).open("iq").attr("type", "set").attr("id", &id).attr("to", full).raw(&list).close();
    });
}
