//! The message of the day: the rows (XEP-0133 §4.24 to §4.26).
//!
//! ```text
//! domain ──▶ its number and text      domain ‖ localpart ──▶ the number that it has seen
//! ```

use crate::im::columns::Columns;
use crate::jid::JidRef;
use crate::storage::keys::{Key, Table};
use crate::storage::{Miss, Store, StoreFull};
use crate::xml::Writer;
use std::collections::BTreeSet;

/// The format of the rows; their first byte.
const ROW_VERSION: u8 = 1;

/// The key of a domain's row.
pub fn key(domain: &str) -> Key {
    Key::new(Table::Motd).text(domain)
}

/// The key of the row that says which one an account has seen.
pub fn seen_key(account: JidRef<'_>) -> Key {
    Key::new(Table::MotdSeen).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// Reads a domain's message: its number and its text.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, domain: &str) -> Result<Option<(u64, String)>, Miss> {
    let row = store.get(key(domain).as_bytes())?;
    Ok(row.and_then(|row| {
        let (number, text) = row.get(1..)?.split_first_chunk()?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        (!text.is_empty()).then_some((u64::from_be_bytes(*number), text))
    }))
}

/// Reads the message of its domain that an account has not seen yet.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn unseen(store: &mut Store, account: JidRef<'_>) -> Result<Option<(u64, String)>, Miss> {
    let Some((number, text)) = get(store, account.domainpart())? else { return Ok(None) };
    let seen = store.get(seen_key(account).as_bytes())?;
    let seen = seen.and_then(|row| Some(u64::from_be_bytes(*row.get(1..)?.first_chunk()?)));
    Ok((seen != Some(number)).then_some((number, text)))
}

/// Notes that an account has seen the message.
///
/// # Errors
///
/// [`StoreFull`]: nothing is written.
pub fn see(store: &mut Store, account: JidRef<'_>, number: u64) -> Result<(), StoreFull> {
    store.put(seen_key(account).as_bytes(), &numbered(number, ""))
}

/// Sets the message of a domain; `number` must be another one if everybody is to see it. An empty text takes it back.
///
/// # Errors
///
/// [`StoreFull`]: nothing is written.
pub fn set(store: &mut Store, domain: &str, number: u64, text: &str) -> Result<(), StoreFull> {
    store.put(key(domain).as_bytes(), &numbered(number, text))
}

/// Appends the message for one session.
pub fn write(to: JidRef<'_>, text: &str, out: &mut Vec<u8>) {
    let mut xml = Writer::new(out);
    xml.open("message").attr("from", to.domainpart()).attr("to", to.as_str()).attr("type", "headline");
    xml.leaf("subject", "Message of the day").leaf("body", text).close();
}

/// Sets the message of a domain and shows it at once to everybody who is there (XEP-0133 §4.24): they have seen it then.
///
/// # Errors
///
/// [`StoreFull`]: nothing is written.
pub fn proclaim(columns: &mut Columns<'_>, domain: &str, text: &str) -> Result<(), StoreFull> {
    let number = columns.random.next_u64();
    let Columns { store, directory, outboxes, .. } = columns;
    set(store, domain, number, text)?;
    let mut accounts = BTreeSet::new();
    for (_, session) in directory.iter() {
        if session.jid.domainpart() != domain || !session.is_available() {
            continue;
        }
        outboxes.append(session.conn, |out| write(session.jid.as_ref(), text, out));
        accounts.insert(session.jid.bare());
    }
    for bare in accounts {
        // Without room for the note it is shown once more at the next login, and the message stands all the same.
        if see(store, JidRef::of_prepared(bare), number).is_err() {
            break;
        }
    }
    Ok(())
}

fn numbered(number: u64, text: &str) -> Vec<u8> {
    let mut row = vec![ROW_VERSION];
    row.extend(number.to_be_bytes());
    row.extend_from_slice(text.as_bytes());
    row
}
