//! Prosody's own storage: its internal data folder, and its SQLite file.
//!
//! ```text
//! folder: .dat, .list ──lua──▶  ┐                      keys, roster, vCard, private XML,
//! database: rows ──JSON, XML──▶ ├ Stores ──person──▶ Person    block list, messages
//! ```
//!
//! Prosody 0.9 to 13, as its modules write: `mod_auth_internal_hashed` and `_plain`, `rostermanager`, `mod_vcard`,
//! `mod_private`, `mod_blocklist`, `mod_offline`, `util.stanza`'s `preserialize`.

mod database;
mod folder;
mod json;
pub mod lua;
mod sqlite;

pub use database::Database;
pub use folder::Folder;

use super::element::{Attr, Element, Node};
use super::{Contact, Person, stamp};
use crate::limits::LUA_DEPTH_MAX;
use crate::sasl::{ScramHash, ScramKeys};
use crate::xml::{CLIENT, XML};
use lua::{Table, Value};

/// The stores that are read, each by its name in Prosody.
const STORES: [&str; 5] = ["accounts", "roster", "vcard", "private", "blocklist"];
/// The store of messages that wait: a list, in SQL in the table of archives.
const OFFLINE: &str = "offline";

/// What Prosody keeps of one user.
#[derive(Debug, Default)]
struct Stores {
    accounts: Option<Table>,
    roster: Option<Table>,
    vcard: Option<Table>,
    private: Option<Table>,
    blocklist: Option<Table>,
    offline: Vec<Stored>,
}

/// A message that waits: when it came, if that is known apart from the stanza.
#[derive(Debug)]
struct Stored {
    stamp_ms: Option<u64>,
    stanza: Option<Element>,
}

impl Stores {
    fn of(&mut self, store: &str) -> Option<&mut Option<Table>> {
        Some(match store {
            "accounts" => &mut self.accounts,
            "roster" => &mut self.roster,
            "vcard" => &mut self.vcard,
            "private" => &mut self.private,
            "blocklist" => &mut self.blocklist,
            _ => return None,
        })
    }

    /// Reads all of it; none if it is no account. What cannot be taken over is told.
    fn person(self, host: &str, user: &str, mut tell: impl FnMut(String)) -> Option<Person> {
        let Some(accounts) = &self.accounts else {
            tell("there is data of this user, but no account with a password (another source of accounts?)".to_owned());
            return None;
        };
        let mut person = Person::new(host, user).map_err(&mut tell).ok()?;
        let mut results = vec![keys(&mut person, accounts)];
        if let Some(roster) = &self.roster {
            results.extend(contacts(&mut person, roster));
            results.extend(requests(&mut person, roster));
        }
        if let Some(vcard) = self.vcard.filter(|vcard| *vcard != Table::default()) {
            results.push(
                element(&vcard, "", 0)
                    .ok_or("its vCard does not read".into())
                    .and_then(|vcard| person.set_vcard(vcard)),
            );
        }
        for (key, value) in self.private.iter().flat_map(Table::named) {
            let read = value.table().and_then(|table| element(table, "", 0));
            let read = read.ok_or_else(|| format!("its private element {key:?} does not read"));
            results.push(read.and_then(|element| person.add_private(element)));
        }
        for (jid, _) in self.blocklist.iter().flat_map(Table::named) {
            results.push(person.add_block(jid));
        }
        for stored in self.offline {
            let stanza = stored.stanza.ok_or("a stored message does not read".into());
            results.push(stanza.and_then(|stanza| person.add_offline(stanza, stored.stamp_ms)));
        }
        results.into_iter().filter_map(Result::err).for_each(tell);
        person.offline.sort_by_key(|message| message.stamp_ms);
        Some(person)
    }
}

/// `stored_key`, `server_key` in hex, `salt` as it is, `iteration_count`; or `password`.
fn keys(person: &mut Person, accounts: &Table) -> Result<(), String> {
    person.disabled = accounts.get("disabled") == Some(&Value::Bool(true));
    let text = |key| accounts.get(key).and_then(Value::text);
    if let Some(password) = text("password").filter(|password| !password.is_empty()) {
        return person.set_password(password);
    }
    let (Some(stored_key), Some(server_key)) = (text("stored_key"), text("server_key")) else { return Ok(()) };
    let keys = (|| {
        let (stored_key, server_key) = (hex(stored_key)?, hex(server_key)?);
        let hash = ScramHash::ALL.into_iter().find(|hash| hash.output_bytes() == stored_key.len())?;
        let Value::Text(salt) = accounts.get("salt")? else { return None };
        let iterations = u32::try_from(accounts.get("iteration_count")?.whole()?).ok()?;
        Some(ScramKeys { hash, iterations, salt: salt.clone(), stored_key, server_key })
    })();
    person.add_keys(keys.ok_or("its SCRAM keys do not read")?)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? * 16 + digit(low)?),
        _ => None,
    });
    pairs.collect()
}

fn contacts(person: &mut Person, roster: &Table) -> Vec<Result<(), String>> {
    // Long ago the requests stood beside the contacts, under this word.
    let items = roster.named().filter(|(jid, _)| *jid != "pending");
    let mut results = Vec::new();
    for (jid, value) in items {
        let contact = value.table().ok_or_else(|| format!("the contact {jid:?} does not read"));
        results.push(contact.and_then(|item| contact_of(jid, item)).and_then(|contact| person.add_contact(contact)));
    }
    results
}

fn contact_of(jid: &str, item: &Table) -> Result<Contact, String> {
    let text = |key| item.get(key).and_then(Value::text);
    let groups = item.get("groups").and_then(Value::table);
    let mut contact = Contact {
        jid: jid.to_owned(),
        name: text("name").unwrap_or_default().to_owned(),
        asks: text("ask") == Some("subscribe"),
        approved: matches!(item.get("approved"), Some(Value::Bool(true))) || text("approved") == Some("true"),
        groups: groups.into_iter().flat_map(Table::named).map(|(group, _)| group.to_owned()).collect(),
        ..Contact::default()
    };
    contact.subscribe(text("subscription").unwrap_or("none"))?;
    Ok(contact)
}

/// Who waits for an answer: under the key `false`, or in rosters of before 0.10 under `pending`; `true` or a stanza.
fn requests(person: &mut Person, roster: &Table) -> Vec<Result<(), String>> {
    let legacy = roster.get("pending").and_then(Value::table).filter(|table| table.get("subscription").is_none());
    let pending = roster.metadata().and_then(|metadata| metadata.get("pending")).and_then(Value::table);
    let mut results = Vec::new();
    for (jid, value) in pending.into_iter().chain(legacy).flat_map(Table::named) {
        let stanza = match value {
            Value::Table(table) => element(table, CLIENT, 0),
            _ => Some(Element { ns: CLIENT.to_owned(), name: "presence".to_owned(), ..Element::default() }),
        };
        let stanza = stanza.ok_or_else(|| format!("the subscription request of {jid:?} does not read"));
        results.push(stanza.and_then(|mut stanza| {
            stanza.set_attr("from", jid);
            person.add_request(stanza)
        }));
    }
    results
}

/// A stanza as `preserialize` left it: `name`, `attr`, and children by place.
fn element(table: &Table, inherited: &str, depth: usize) -> Option<Element> {
    if depth > LUA_DEPTH_MAX {
        return None;
    }
    let mut element = Element {
        ns: inherited.to_owned(),
        name: table.get("name")?.text()?.to_owned(),
        attrs: Vec::new(),
        children: Vec::new(),
    };
    for (key, value) in table.get("attr").and_then(Value::table).into_iter().flat_map(Table::named) {
        let value = value.text()?;
        match (key, key.split_once(['\u{1}', '|'])) {
            ("xmlns", _) => value.clone_into(&mut element.ns),
            // Prefixes mean nothing here: each name says its namespace.
            (key, _) if key.starts_with("xmlns:") => {}
            (_, Some((ns, name))) => element.attrs.push(attr(ns, name, value)),
            (key, None) => match key.split_once(':') {
                Some(("xml", name)) => element.attrs.push(attr(XML, name, value)),
                Some(_) => {}
                None => element.attrs.push(attr("", key, value)),
            },
        }
    }
    for child in &table.list {
        element.children.push(match child {
            Value::Table(child) => Node::Element(self::element(child, &element.ns, depth + 1)?),
            child => Node::Text(child.text()?.to_owned()),
        });
    }
    Some(element)
}

fn attr(ns: &str, name: &str, value: &str) -> Attr {
    Attr { ns: ns.to_owned(), name: name.to_owned(), value: value.to_owned() }
}

/// A message of a list: the time is `when`, or long ago an attribute.
fn stored(item: &Value) -> Stored {
    let Some(table) = item.table() else { return Stored { stamp_ms: None, stanza: None } };
    let mut stanza = element(table, CLIENT, 0);
    let mut stamp_ms = table.get("when").and_then(Value::millis);
    if let Some(stanza) = &mut stanza {
        let taken = stanza.attr("stamp").or(stanza.attr("stamp_legacy")).and_then(stamp::parse);
        stamp_ms = stamp_ms.or(taken);
        stanza.attrs.retain(|attr| !attr.ns.is_empty() || !matches!(attr.name.as_str(), "stamp" | "stamp_legacy"));
    }
    Stored { stamp_ms, stanza }
}

#[cfg(test)]
mod tests;
