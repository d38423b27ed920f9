//! `jabber:iq:roster`: RFC 6121 §2. The rules of the RFC, in the form of an extension's table.
//!
//! ```text
//! get ──▶ interested; whole list, or nothing and then what has changed (§2.6)      set ──▶ im/subscribing
//! ```

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::roster::{self, Item, Meta};
use crate::im::session::SessionFlags;
use crate::im::stop::Stop;
use crate::im::subscribing::{NS_ROSTER, Subscribing, write_item, write_push};
use crate::jid::Jid;
use crate::stanza::StanzaCondition;
use crate::xml::{Element, Writer};

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[],
    account_features: &[],
    iq: &[IqEntry { ns: NS_ROSTER, name: "query", handler: query }],
};

fn query(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    match request.target {
        Target::OwnAccount => {}
        // The same for a roster that is somebody's and one that is nobody's (§2.1.5).
        Target::Stranger => return Err(StanzaCondition::Forbidden.into()),
        Target::Server => return Ok(Outcome::Pass),
    }
    let sender = columns.directory.session(request.sender).ok_or(StanzaCondition::ItemNotFound)?;
    if sender.flags.has(SessionFlags::ANONYMOUS) {
        return Err(StanzaCondition::NotAllowed.into());
    }
    match request.kind {
        IqKind::Get => get(request, columns, out)?,
        IqKind::Set => set(request, columns)?,
    }
    Ok(Outcome::Handled)
}

fn get(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
    let meta = roster::meta(columns.store, request.to)?;
    let ver = request.payload_attr("ver");
    let known = ver.and_then(|ver| meta.parse_ver(ver)).filter(|known| *known >= meta.removals_from);
    if known == Some(meta.version) {
        note_interest(request, columns, true);
        return Ok(());
    }
    let items = roster::list(columns.store, request.to)?;
    let listed: Vec<&(String, Item)> = items.iter().filter(|(_, item)| item.listed).collect();
    if let Some(known) = known {
        let gone = roster::removed_since(columns.store, request.to, known)?;
        let changed = listed.iter().filter(|(_, item)| item.version > known).count() + gone.len();
        // Where as much has changed as there is, the whole list is shorter.
        if changed <= listed.len() {
            note_interest(request, columns, true);
            return Ok(());
        }
    }
    note_interest(request, columns, ver.is_some());
    let ver = ver.map(|_| meta.ver());
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_ROSTER).attr_opt("ver", ver.as_deref());
    for (contact, item) in listed {
        write_item(contact, Some(item), &mut xml);
    }
    xml.close();
    Ok(())
}

/// From now on it gets pushes (§2.2).
fn note_interest(request: &IqRequest<'_>, columns: &mut Columns<'_>, is_versioned: bool) {
    if let Some(mut session) = request.sender.session().and_then(|id| columns.directory.get_mut(id)) {
        session.flags.set(SessionFlags::INTERESTED, true);
        session.flags.set(SessionFlags::VERSIONED, is_versioned);
    }
}

/// What has changed since the version that the client knows, as pushes behind the empty result (§2.6.3). Dispatch calls
/// it when the result is written.
///
/// # Errors
///
/// [`Stop`]: a row is missing.
pub fn catch_up(request: &IqRequest<'_>, columns: &mut Columns<'_>) -> Result<(), Stop> {
    let meta: Meta = roster::meta(columns.store, request.to)?;
    let ver = request.payload_attr("ver").and_then(|ver| meta.parse_ver(ver));
    let Some(known) = ver.filter(|known| *known >= meta.removals_from && *known < meta.version) else {
        return Ok(());
    };
    let items = roster::list(columns.store, request.to)?;
    let gone = roster::removed_since(columns.store, request.to, known)?;
    let listed = items.iter().filter(|(_, item)| item.listed);
    let newer = listed.clone().filter(|(_, item)| item.version > known);
    if newer.clone().count() + gone.len() > listed.count() {
        return Ok(());
    }
    let mut changes: Vec<(u64, &str, Option<&Item>)> =
        newer.map(|(contact, item)| (item.version, contact.as_str(), Some(item))).collect();
    // Who was removed and added again is in the list.
    let is_back = |contact: &str| items.iter().any(|(other, item)| other == contact && item.listed);
    changes.extend(
        gone.iter().filter(|(_, contact)| !is_back(contact)).map(|(at, contact)| (*at, contact.as_str(), None)),
    );
    changes.sort_by_key(|(version, ..)| *version);
    let Some(id) = request.sender.session() else { return Ok(()) };
    let Some(full) = columns.directory.get(id).map(|session| session.jid.clone()) else { return Ok(()) };
    for (version, contact, item) in changes {
        let ver = Meta { version, ..meta }.ver();
        columns.send(id, |out| write_push(full.as_str(), contact, item, version, Some(&ver), out));
    }
    Ok(())
}

fn set(request: &IqRequest<'_>, columns: &mut Columns<'_>) -> Result<(), Stop> {
    let query = request.tree.root().children().next().ok_or(StanzaCondition::BadRequest)?;
    let mut items = query.children();
    let (Some(item), None) = (items.next(), items.next()) else { return Err(StanzaCondition::BadRequest.into()) };
    if !item.is(NS_ROSTER, "item") {
        return Err(StanzaCondition::BadRequest.into());
    }
    let jid = item.attr("jid").ok_or(StanzaCondition::BadRequest)?;
    let contact = Jid::parse(jid).map_err(|_| StanzaCondition::JidMalformed)?.to_bare();
    if contact.as_ref() == request.to {
        // Nobody is a contact of their own.
        return Err(StanzaCondition::NotAllowed.into());
    }
    if item.attr("subscription") == Some("remove") {
        let mut subscribing = Subscribing::new(columns);
        subscribing.remove_item(request.to, contact.as_ref())?;
        subscribing.finish();
        return Ok(());
    }
    let name = item.attr("name").unwrap_or_default();
    if name.len() > columns.bounds.roster_name_bytes_max {
        return Err(StanzaCondition::NotAcceptable.into());
    }
    let groups = groups(item, columns)?;
    let mut subscribing = Subscribing::new(columns);
    subscribing.set_item(request.to, contact.as_ref(), name, &groups)?;
    subscribing.finish();
    Ok(())
}

/// The groups of an item (§2.3.3): each once, none empty, none too long.
fn groups(item: Element<'_>, columns: &Columns<'_>) -> Result<Vec<String>, StanzaCondition> {
    let mut groups: Vec<String> = Vec::new();
    for group in item.children().filter(|child| child.is(NS_ROSTER, "group")) {
        let text = group.text();
        if text.is_empty() || text.len() > columns.bounds.roster_name_bytes_max {
            return Err(StanzaCondition::NotAcceptable);
        }
        if groups.iter().any(|other| *other == *text) {
            return Err(StanzaCondition::BadRequest);
        }
        if groups.len() >= columns.bounds.roster_groups_max {
            return Err(StanzaCondition::NotAcceptable);
        }
        groups.push(text.into_owned());
    }
    Ok(groups)
}
