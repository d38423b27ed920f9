//! An account's end: all that is kept for it, and what its contacts hear.
//!
//! ```text
//! remove ──▶ rows below domain ‖ localpart gone ──▶ each contact: unsubscribe, unsubscribed, unavailable
//!                                               ──▶ Effect::AccountGone: its sessions end
//! ```
//!
//! One unit: whoever makes an account of the same name later finds nothing of this one. The rows go first, so that
//! what the contacts' side answers by itself finds nobody (RFC 6121 §2.5.2; XEP-0077 §3.2). It is the same whoever
//! asks for it: the account, an admin (XEP-0133), the command line.

use crate::im::accounts;
use crate::im::columns::{Columns, Effect};
use crate::im::roster::{self, Item};
use crate::im::session::SessionFlags;
use crate::im::stop::Stop;
use crate::im::subscribing::Subscribing;
use crate::im::subscription::State;
use crate::jid::{Jid, JidRef};
use crate::stanza::StanzaCondition;
use crate::storage::keys::{Key, Table};
use crate::storage::{Batch, Miss, Store, StoreFull};

/// The tables that have rows below domain ‖ localpart, but for the account itself.
pub const TABLES: [Table; 13] = [
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
];
/// Rows asked of the store at a time.
const PAGE_ROWS: u32 = 256;

/// Removes an account and all that is kept for it, and tells its contacts. Its sessions end when the run has.
///
/// # Errors
///
/// [`Stop`]: a row is missing, there is no room, or (`item-not-found`) there is no such account.
pub fn remove(columns: &mut Columns<'_>, account: JidRef<'_>) -> Result<(), Stop> {
    let localpart = account.localpart().ok_or(StanzaCondition::ItemNotFound)?;
    let domain = account.domainpart();
    let store = &mut *columns.store;
    if accounts::get(store, domain, localpart)?.is_none() {
        return Err(StanzaCondition::ItemNotFound.into());
    }
    let keys = keys(store, account)?;
    let contacts = contacts(store, account)?;
    let mut subscribing = Subscribing::new(columns);
    let told = contacts.iter().flat_map(|(contact, _)| subscribing.keys_of_receiver(contact.as_ref(), account));
    subscribing.columns.store.need(told)?;
    let mut batch = Batch::new();
    for key in &keys {
        batch.delete(key);
    }
    let store = &mut *subscribing.columns.store;
    store.apply(batch)?;
    match accounts::delete(store, domain, localpart)? {
        accounts::Change::Done | accounts::Change::Exists => {}
        accounts::Change::Absent => return Err(StanzaCondition::ItemNotFound.into()),
        accounts::Change::Full => return Err(StoreFull.into()),
    }
    for (contact, item) in &contacts {
        subscribing.part(account, contact.as_ref(), item)?;
    }
    subscribing.finish();
    columns.directory.flag_all(account.as_str(), SessionFlags::GONE);
    columns.effects.push(Effect::AccountGone { bare: account.as_str().to_owned() });
    columns.goodbyes.forget(&account.to_owned());
    Ok(())
}

/// Those who must hear of it: a subscription or a request stands between them and the account.
fn contacts(store: &mut Store, account: JidRef<'_>) -> Result<Vec<(Jid, Item)>, Miss> {
    let items = roster::list(store, account)?.into_iter().filter(|(_, item)| item.state != State::None);
    Ok(items.filter_map(|(contact, item)| Some((Jid::parse(&contact).ok()?, item))).collect())
}

/// The keys of all rows of the account but its own. What is missing of all tables is missed at once.
fn keys(store: &mut Store, account: JidRef<'_>) -> Result<Vec<Vec<u8>>, Miss> {
    let (mut keys, mut missed) = (Vec::new(), None::<Miss>);
    for table in TABLES {
        if let Err(miss) = keys_of(store, table, account, &mut keys) {
            missed = Some(match missed {
                Some(missed) => missed.and(miss),
                None => miss,
            });
        }
    }
    missed.map_or(Ok(keys), Err)
}

fn keys_of(store: &mut Store, table: Table, account: JidRef<'_>, keys: &mut Vec<Vec<u8>>) -> Result<(), Miss> {
    let prefix = Key::new(table).text(account.domainpart()).text(account.localpart().unwrap_or_default());
    let mut range = prefix.range(PAGE_ROWS);
    loop {
        let rows = store.range(&range)?;
        let is_last = rows.len() < PAGE_ROWS as usize;
        keys.extend(rows.into_iter().map(|(key, _)| key));
        match keys.last() {
            Some(last) if !is_last => range = range.behind(last),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::im::accounts::{Account, Summary};
    use crate::im::offline;
    use crate::im::subscription::Ask;
    use crate::im::unattended::Unattended;
    use crate::storage::{Engine as _, KeyRange, Memory};

    fn run<T>(engine: &mut Memory, mut handler: impl FnMut(&mut Columns<'_>) -> Result<T, Stop>) -> Result<T, Stop> {
        let mut columns = Unattended::new(["a.example".to_owned(), "b.example".to_owned()], Default::default());
        crate::storage::offline::run(engine, |store| match handler(&mut columns.lend(store)) {
            Err(Stop::Miss(miss)) => Err(miss),
            other => Ok(other),
        })
        .unwrap()
    }

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn make(engine: &mut Memory, address: &str) {
        let address = jid(address);
        let account = Account { summary: Summary::default(), credentials: Vec::new() };
        let made = run(engine, |columns| {
            let localpart = address.localpart().unwrap_or_default();
            Ok(accounts::create(columns.store, address.domainpart(), localpart, &account)?)
        });
        assert_eq!(made.unwrap(), accounts::Change::Done);
    }

    fn say(engine: &mut Memory, from: &str, to: &str, ask: Ask) {
        let (from, to) = (jid(from), jid(to));
        run(engine, |columns| {
            let mut subscribing = Subscribing::new(columns);
            subscribing.send(from.as_ref(), to.as_ref(), ask, b"<presence/>")?;
            subscribing.finish();
            Ok(())
        })
        .unwrap();
    }

    fn items(engine: &mut Memory, account: &str) -> Vec<(String, State)> {
        let account = jid(account);
        let rows = run(engine, |columns| Ok(roster::list(columns.store, account.as_ref())?)).unwrap();
        rows.into_iter().map(|(contact, item)| (contact, item.state)).collect()
    }

    #[test]
    fn nothing_of_an_account_is_left_and_its_contacts_know() {
        let engine = &mut Memory::new();
        let (gone, friend) = ("gone@a.example", "friend@b.example");
        for address in [gone, friend, "asker@a.example", "asked@a.example", "gone@b.example", "gone2@a.example"] {
            make(engine, address);
        }
        for (one, other) in [(gone, friend), (friend, gone)] {
            say(engine, one, other, Ask::Subscribe);
            say(engine, other, one, Ask::Subscribed);
        }
        say(engine, "asker@a.example", gone, Ask::Subscribe);
        say(engine, gone, "asked@a.example", Ask::Subscribe);
        for bystander in ["gone@b.example", "gone2@a.example"] {
            say(engine, bystander, friend, Ask::Subscribe);
        }
        run(engine, |columns| {
            let removed = jid("removed@a.example");
            let mut subscribing = Subscribing::new(columns);
            subscribing.set_item(jid(gone).as_ref(), removed.as_ref(), "R", &[])?;
            subscribing.remove_item(jid(gone).as_ref(), removed.as_ref())?;
            subscribing.finish();
            let kept = offline::add(columns.store, jid(gone).as_ref(), 1, b"<message/>", (9, 999))?;
            assert_eq!(kept, offline::Kept::Yes);
            Ok(())
        })
        .unwrap();
        assert!(items(engine, friend).contains(&(gone.to_owned(), State::Both)));

        let effects = run(engine, |columns| {
            remove(columns, jid("gone@a.example").as_ref())?;
            Ok(std::mem::take(columns.effects))
        });
        assert_eq!(effects.unwrap(), [Effect::AccountGone { bare: gone.to_owned() }]);
        for (table, domain, localpart) in TABLES.map(|table| (table, "a.example", "gone")) {
            let range: KeyRange = Key::new(table).text(domain).text(localpart).range(9);
            assert_eq!(engine.range(&range).unwrap().rows, [], "{table:?}");
        }
        let kept: Vec<_> = items(engine, friend).into_iter().filter(|(contact, _)| contact != gone).collect();
        assert_eq!(kept, [("gone2@a.example".to_owned(), State::NoneIn), ("gone@b.example".to_owned(), State::NoneIn)]);
        assert!(items(engine, friend).contains(&(gone.to_owned(), State::None)), "the item is the friend's own");
        assert_eq!(items(engine, "asker@a.example"), [(gone.to_owned(), State::None)]);
        assert_eq!(items(engine, "asked@a.example"), [], "the request is taken back");
        let asked = run(engine, |columns| Ok(roster::meta(columns.store, jid("asked@a.example").as_ref())?)).unwrap();
        assert_eq!((asked.items, asked.requests), (0, 0));
        let again = run(engine, |columns| remove(columns, jid("gone@a.example").as_ref()));
        assert!(matches!(again, Err(Stop::Refuse(refusal)) if refusal.condition == StanzaCondition::ItemNotFound));
    }

    #[test]
    fn a_long_roster_is_read_in_few_steps() {
        let engine = &mut Memory::new();
        make(engine, "hub@a.example");
        for number in 0..300 {
            let fan = format!("fan{number}@b.example");
            make(engine, &fan);
            say(engine, &fan, "hub@a.example", Ask::Subscribe);
            say(engine, "hub@a.example", &fan, Ask::Subscribed);
        }
        let mut runs = 0;
        let mut columns = Unattended::new(["a.example".to_owned(), "b.example".to_owned()], Default::default());
        crate::storage::offline::run(engine, |store| {
            runs += 1;
            match remove(&mut columns.lend(store), jid("hub@a.example").as_ref()) {
                Err(Stop::Miss(miss)) => Err(miss),
                other => {
                    assert!(other.is_ok(), "{other:?}");
                    Ok(())
                }
            }
        })
        .unwrap();
        assert!(runs <= 8, "{runs} runs");
        assert_eq!(items(engine, "fan299@b.example"), [("hub@a.example".to_owned(), State::None)]);
    }
}
