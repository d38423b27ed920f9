//! The end of an account: all its rows, and its place in others' rosters.
//!
//! ```text
//! roster ──▶ each contact: unsubscribe, unsubscribed, unavailable ──▶ rows of every table ──▶ the account itself
//! ```
//!
//! One unit, whoever asks for it: the account (XEP-0077), an admin (XEP-0133), the command line.

use crate::im::accounts::{self, Change};
use crate::im::columns::{Columns, Effect};
use crate::im::stop::Stop;
use crate::im::subscribing::Subscribing;
use crate::im::{blocks, roster};
use crate::jid::{Jid, JidRef};
use crate::stanza::StanzaCondition;
use crate::storage::StoreFull;
use crate::storage::keys::{Key, Table};

/// Tables whose rows begin with domain ‖ localpart.
const TABLES: [Table; 14] = [
    Table::Roster,
    Table::RosterMeta,
    Table::Requests,
    Table::RosterGone,
    Table::Offline,
    Table::OfflineMeta,
    Table::Blocks,
    Table::VCards,
    Table::VCardPhotos,
    Table::Private,
    Table::PrivateMeta,
    Table::LastActivity,
    Table::MotdSeen,
    Table::Accounts,
];
/// Rows asked of the store at a time.
const PAGE_ROWS: u32 = 256;

/// Removes an account. Its sessions end when the run has.
///
/// # Errors
///
/// [`Stop`]: a row is missing, there is no room, or there is no such account.
pub fn remove(columns: &mut Columns<'_>, account: JidRef<'_>) -> Result<(), Stop> {
    let localpart = account.localpart().ok_or(StanzaCondition::ItemNotFound)?;
    let domain = account.domainpart();
    if accounts::get(columns.store, domain, localpart)?.is_none() {
        return Err(StanzaCondition::ItemNotFound.into());
    }
    let items = roster::list(columns.store, account)?;
    let contacts: Vec<(Jid, &roster::Item)> =
        items.iter().map(|(contact, item)| (JidRef::of_prepared(contact).to_owned(), item)).collect();
    let hosted = contacts.iter().filter(|(contact, _)| columns.hosts.is_hosted(contact.domainpart()));
    let keys: Vec<Key> = hosted.flat_map(|(contact, _)| keys_of(contact.as_ref(), account)).collect();
    columns.store.need(keys)?;
    let mut subscribing = Subscribing::new(columns);
    for (contact, item) in &contacts {
        subscribing.part(account, contact.as_ref(), item)?;
    }
    let columns = &mut *subscribing.columns;
    for table in TABLES.into_iter().filter(|table| *table != Table::Accounts) {
        delete_rows(columns, &Key::new(table).text(domain).text(localpart))?;
    }
    match accounts::delete(columns.store, domain, localpart)? {
        Change::Done | Change::Absent | Change::Exists => {}
        Change::Full => return Err(StoreFull.into()),
    }
    columns.effects.push(Effect::AccountGone { bare: account.as_str().to_owned() });
    columns.goodbyes.forget(&account.to_owned());
    subscribing.finish();
    Ok(())
}

/// What a contact's side of the parting reads.
fn keys_of(contact: JidRef<'_>, account: JidRef<'_>) -> [Key; 4] {
    let localpart = contact.localpart().unwrap_or_default();
    [
        accounts::key(contact.domainpart(), localpart),
        blocks::key(contact),
        roster::key(contact, account.as_str()),
        roster::meta_key(contact),
    ]
}

fn delete_rows(columns: &mut Columns<'_>, prefix: &Key) -> Result<(), Stop> {
    let mut range = prefix.range(PAGE_ROWS);
    loop {
        let rows = columns.store.range(&range)?;
        for (key, _) in &rows {
            columns.store.delete(key)?;
        }
        match rows.last() {
            Some((key, _)) if rows.len() >= PAGE_ROWS as usize => range = range.behind(key),
            _ => return Ok(()),
        }
    }
}
