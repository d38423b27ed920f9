//! XEP-0191: Blocking Command. Where it is enforced: `dispatch`, `im/announce.rs`, `im/subscribing.rs`.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::blocks::{self, Blocked};
use crate::im::columns::Columns;
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
    if let Some(session) = request.sender.session().and_then(|id| columns.directory.get_mut(id)) {
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

fn jids(payload: Element<'_>) -> Result<Vec<Jid>, StanzaCondition> {
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
    let jids = jids(request.payload().ok_or(StanzaCondition::BadRequest)?)?;
    // Nobody blocks their own resources (§5).
    if jids.is_empty() || jids.iter().any(|jid| jid.bare() == request.to.bare()) {
        return Err(StanzaCondition::BadRequest.into());
    }
    let mut blocked = blocks::get(columns.store, request.to)?;
    let before = blocked.clone();
    let new: Vec<Jid> = jids.iter().filter(|jid| blocked.add((*jid).clone())).cloned().collect();
    if blocked.len() > columns.bounds.blocked_max {
        return Err(TOO_MANY.into());
    }
    blocks::set(columns.store, request.to, &blocked)?;
    push("block", &jids, request.to, columns);
    for contact in partners(&new, request.to, columns) {
        if !before.matches(contact.as_ref()) {
            columns.send_unavailable(request.to.bare(), contact.as_ref());
            columns.directory.settle_directed(request.to.bare(), contact.as_str());
        }
    }
    let mut added = Blocked::default();
    for jid in new {
        added.add(jid);
    }
    columns.end_directed(request.to.bare(), &added);
    remember(request.to, columns, blocked);
    Ok(Outcome::Handled)
}

/// §3.4, §3.5: stored, pushed, and whoever is no longer blocked sees us again.
fn unblock(request: &IqRequest<'_>, columns: &mut Columns<'_>, _out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if !check(request, columns, IqKind::Set)? {
        return Ok(Outcome::Pass);
    }
    let jids = jids(request.payload().ok_or(StanzaCondition::BadRequest)?)?;
    let before = blocks::get(columns.store, request.to)?;
    let mut blocked = before.clone();
    let gone: Vec<Jid> = match jids.is_empty() {
        true => std::mem::take(&mut blocked).iter().cloned().collect(),
        false => jids.iter().filter(|jid| blocked.remove(jid)).cloned().collect(),
    };
    blocks::set(columns.store, request.to, &blocked)?;
    push("unblock", &jids, request.to, columns);
    let partners = partners(&gone, request.to, columns);
    remember(request.to, columns, blocked);
    for contact in partners {
        columns.send_current(request.to.bare(), contact.as_ref());
    }
    Ok(Outcome::Handled)
}

/// The contacts with From whom these entries concern.
fn partners(entries: &[Jid], account: JidRef<'_>, columns: &Columns<'_>) -> Vec<Jid> {
    let concerned = |bare: &str| {
        let contact = JidRef::of_prepared(bare);
        entries.iter().any(|entry| {
            let entry = entry.as_ref();
            let same_local = entry.localpart().is_none_or(|localpart| contact.localpart() == Some(localpart));
            entry.domainpart() == contact.domainpart() && same_local && entry.resourcepart().is_none()
        })
    };
    let contacts = columns.directory.contacts(account.bare()).filter(|contact| contact.subscribed.from);
    contacts
        .filter(|contact| concerned(contact.bare))
        .map(|contact| JidRef::of_prepared(contact.bare).to_owned())
        .collect()
}

/// Routing looks at what is in memory.
fn remember(account: JidRef<'_>, columns: &mut Columns<'_>, blocked: Blocked) {
    if let Some(online) = columns.directory.online_mut(account.bare()) {
        online.blocked = (!blocked.is_empty()).then(|| Box::new(blocked));
    }
}

/// To all resources that have asked for the list.
fn push(name: &str, jids: &[Jid], account: JidRef<'_>, columns: &mut Columns<'_>) {
    let id = columns.random.token();
    columns.send_to_flagged(account.bare(), SessionFlags::BLOCK_LIST, |full, out| {
        let mut list = Vec::new();
        write_list(name, jids.iter(), &mut list);
        Writer::new(out).open("iq").attr("type", "set").attr("id", &id).attr("to", full).raw(&list).close();
    });
}
