//! Rows of the store, as a damaged or a foreign file may have them: read, or passed over, never a panic.

use super::Bytes;
use stonechat::im::{accounts, offline as messages, roster};
use stonechat::jid::Jid;
use stonechat::sasl::Credentials;
use stonechat::storage::keys::{Key, Table};
use stonechat::storage::{Batch, Engine as _, Memory, offline};

pub const SEEDS: &[&[u8]] = &[
    b"\x04\x01\x03romeo@montague.example\xFFRomeo\xFFFriends",
    b"\x08\x01\0\0\x01\x9a\0\0\0\0<message to='juliet@capulet.example'/>",
    b"\x01\x01\x02\0\0\x10\0",
];

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let account = Jid::parse("juliet@capulet.example").expect("an address");
    let of = |table| Key::new(table).text("capulet.example").text("juliet");
    let mut batch = Batch::new();
    for number in 0..4 {
        let value = bytes.chunk();
        batch.put(of(Table::Accounts).as_bytes(), value);
        batch.put(of(Table::RosterMeta).as_bytes(), value);
        batch.put(of(Table::OfflineMeta).as_bytes(), value);
        batch.put(of(Table::Roster).text(&format!("c{number}@x.example")).as_bytes(), value);
        batch.put(of(Table::Roster).part(value).as_bytes(), b"\x01");
        batch.put(of(Table::Requests).text(&format!("c{number}@x.example")).as_bytes(), value);
        batch.put(of(Table::RosterGone).number(number).as_bytes(), value);
        batch.put(of(Table::Offline).number(number).as_bytes(), value);
        batch.put(of(Table::Offline).part(value).as_bytes(), value);
        if let Some(credentials) = Credentials::decode(value) {
            assert_eq!(Credentials::decode(&credentials.encode()).as_ref(), Some(&credentials));
        }
    }
    let mut engine = Memory::new();
    engine.commit(&batch).expect("memory takes everything");
    let account = account.as_ref();
    let read = offline::run(&mut engine, |store| {
        let _ = roster::list(store, account)?;
        let meta = roster::meta(store, account)?;
        let _ = roster::removed_since(store, account, meta.parse_ver("0").unwrap_or(0))?;
        let _ = roster::requests(store, account)?;
        let _ = messages::meta(store, account)?;
        let waiting = messages::list(store, account)?;
        let _ = messages::delete(store, account, waiting.last().map_or(3, |last| last.number))?;
        let _ = accounts::get(store, "capulet.example", "juliet")?;
        let _ = messages::add(store, account, 1, b"<message/>", (u32::MAX, u64::MAX))?;
        let mut change = roster::Change::of(store, account, 1)?;
        let mut item = roster::Item { listed: true, ..roster::Item::default() };
        change.put(account, "new@x.example", None, &mut item);
        let _ = change.write(store, account);
        Ok(())
    });
    read.expect("rows are there");
}
