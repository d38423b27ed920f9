//! Stores that earlier versions wrote are opened, brought up to date, and their users log in.

#[path = "common/process.rs"]
mod process;

#[path = "common/sim.rs"]
mod sim;

mod common;
mod storage_scratch;
mod tls_common;

use common::script::Peer as _;
use process::Folder;
use sim::{Setup, Sim};
use std::fs;
use stonechat::im::removal;
use stonechat::storage::keys::{Key, Table};
use stonechat::storage::{Batch, Disk, DiskOptions, Engine, FORMAT_VERSION};

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/format1.redb");

fn format(engine: &mut dyn Engine) -> u32 {
    let row = engine.get(Key::new(Table::Meta).text("format").as_bytes()).unwrap().unwrap();
    u32::from_be_bytes(row.try_into().unwrap())
}

/// With everything that is kept for accounts today: a roster, a vCard, a message that waits.
#[test]
fn users_of_format_1_log_in_and_have_what_users_have_today() {
    let folder = storage_scratch::Folder::new();
    fs::copy(FORMAT_1, folder.store()).unwrap();
    let mut sim = Sim::new(&Setup::default());
    sim.engine = Box::new(Disk::open(&folder.store(), DiskOptions::default()).unwrap());
    sim.log_in("alice", "alice", "secret", "phone");
    sim.send(b"<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='juliet@localhost'/></query></iq>");
    assert!(String::from_utf8(sim.received()).unwrap().contains("<iq type='result' id='r'"));
    sim.send(b"<message to='juliet@localhost' type='chat' id='m'><body>Are you there?</body></message>");
    sim.log_in("juliet", "juliet", "pencil", "desk");
    sim.send(b"<presence/>");
    assert!(String::from_utf8(sim.received()).unwrap().contains("Are you there?"));
    assert_eq!(format(&mut *sim.engine), FORMAT_VERSION);
    assert_eq!(sim.engine.range(&Key::new(Table::Roster).range(9)).unwrap().rows.len(), 1);
}

/// What the command line does, and what it says of a store that is too new for it.
#[test]
fn the_command_line_upgrades_a_store_and_refuses_a_newer_one() {
    let folder = Folder::new("formats");
    let store = folder.data().join("store.redb");
    fs::copy(FORMAT_1, &store).unwrap();
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\njuliet@localhost\n");
    let mut disk = Disk::open(&store, DiskOptions::default()).unwrap();
    assert_eq!(format(&mut disk), FORMAT_VERSION);
    let mut newer = Batch::new();
    newer.put(Key::new(Table::Meta).text("format").as_bytes(), &(FORMAT_VERSION + 1).to_be_bytes());
    disk.commit(&newer).unwrap();
    drop(disk);
    for words in [&["user", "list"][..], &["backup", "copy.redb"], &[]] {
        let (code, _, err) = folder.run(words, "");
        let version = format!("the store has format version {}", FORMAT_VERSION + 1);
        assert!(code == 1 && err.contains(&version) && err.contains("use a newer stonechat"), "{words:?}: {err}");
    }
    assert!(!folder.0.join("copy.redb").exists() && !folder.0.join("copy.redb.new").exists());
}

/// The tables of an account are those that its removal empties: a new one must be added there.
#[test]
fn every_table_is_of_an_account_or_known_not_to_be() {
    use Table::{AccountCounters, Accounts, Invites, Meta, Motd, Secrets};
    let others = [Meta, Accounts, AccountCounters, Secrets, Motd, Invites].map(|table| table as u8);
    let of_accounts = removal::TABLES.map(|table| table as u8);
    let mut known: Vec<u8> = others.into_iter().chain(of_accounts).collect();
    known.sort_unstable();
    let all: Vec<u8> = (0..).take_while(|byte| Table::ALL.iter().any(|table| *table as u8 == *byte)).collect();
    assert_eq!(known, all);
    assert_eq!(all.len(), Table::ALL.len());
}
