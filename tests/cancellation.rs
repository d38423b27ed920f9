//! XEP-0077 §3.2: an account's end leaves no row of it, in any table.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim};
use std::collections::BTreeMap;
use stonechat::im::removal;
use stonechat::storage::keys::{Parts, Table};
use stonechat::storage::{KeyRange, Row};

/// Every row of the store.
fn rows(sim: &mut Sim) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let range = KeyRange::under(b"", 1_000);
        let range = rows.last().map_or_else(|| range.clone(), |(key, _)| range.clone().behind(key));
        let read = sim.engine.range(&range).unwrap();
        rows.extend(read.rows);
        if read.complete {
            return rows;
        }
    }
}

/// How many rows each table has below an account's name.
fn rows_of(sim: &mut Sim, account: &str) -> BTreeMap<u8, usize> {
    let (localpart, domain) = account.split_once('@').unwrap();
    let mut counts = BTreeMap::new();
    for (key, _) in rows(sim) {
        let table = Table::ALL.into_iter().find(|table| *table as u8 == key[0]).unwrap();
        let mut parts = Parts::of(&key, table).unwrap();
        if parts.text().as_deref() == Some(domain) && parts.text().as_deref() == Some(localpart) {
            *counts.entry(key[0]).or_insert(0) += 1;
        }
    }
    counts
}

/// A life that leaves rows in every table there is for accounts.
fn live(sim: &mut Sim) {
    sim.log_in("bob", "bob", "pw", "r");
    sim.log_in("alice", "alice", "pw", "r");
    for set in [
        "<query xmlns='jabber:iq:roster'><item jid='carol@localhost'/></query>",
        "<query xmlns='jabber:iq:roster'><item jid='dave@localhost'/></query>",
        "<query xmlns='jabber:iq:roster'><item jid='dave@localhost' subscription='remove'/></query>",
        "<block xmlns='urn:xmpp:blocking'><item jid='mallory@localhost'/></block>",
        "<vCard xmlns='vcard-temp'><FN>Alice</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>aGk=</BINVAL></PHOTO></vCard>",
        "<query xmlns='jabber:iq:private'><notes xmlns='urn:x'>secret thoughts</notes></query>",
    ] {
        sim.send(format!("<iq type='set' id='s'>{set}</iq>").as_bytes());
        let said = String::from_utf8(sim.received()).unwrap();
        assert!(said.contains("<iq type='result'"), "{set}: {said}");
    }
    sim.send(b"<presence/>");
    assert!(String::from_utf8(sim.received()).unwrap().contains("Be kind."));
    sim.send(b"<presence type='unavailable'>gone</presence></stream:stream>");
    sim.advance(120_000);
    sim.select("bob");
    sim.send(b"<presence to='alice@localhost' type='subscribe'/>");
    sim.send(b"<message to='alice@localhost' type='chat'><body>Are you there?</body></message>");
    sim.settle();
}

#[test]
fn a_cancelled_account_leaves_no_row_in_any_table() {
    let accounts = ["alice", "bob", "carol"].map(|name| (format!("{name}@localhost"), "pw".to_owned()));
    let friends = vec![("alice@localhost".to_owned(), "carol@localhost".to_owned())];
    let mut sim = Sim::new(&Setup { direct: true, accounts: accounts.into(), friends, ..Setup::default() });
    stonechat::storage::offline::run(&mut *sim.engine, |store| {
        Ok(stonechat::im::motd::set(store, "localhost", 7, "Be kind."))
    })
    .unwrap()
    .unwrap();
    live(&mut sim);

    let before = rows_of(&mut sim, "alice@localhost");
    let expected: Vec<u8> = removal::TABLES.into_iter().chain([Table::Accounts]).map(|table| table as u8).collect();
    for table in expected {
        assert!(before.contains_key(&table), "the test puts nothing into table {table:#04x}: {before:?}");
    }

    sim.log_in("again", "alice", "pw", "r");
    sim.send(b"<iq type='set' id='end'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    let said = String::from_utf8(sim.received()).unwrap();
    assert!(said.contains("<iq type='result' id='end'") && said.contains("<not-authorized"), "{said}");
    sim.advance(120_000);
    assert_eq!(rows_of(&mut sim, "alice@localhost"), BTreeMap::new());
    // Nor does anything that she has written stand anywhere else; others keep her address in their own lists.
    for (key, value) in rows(&mut sim) {
        for word in ["secret thoughts", "aGk=", "Are you there?"] {
            let holds = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!holds(&key) && !holds(&value), "{word} is in {key:?}");
        }
    }

    // Whoever gets the name next begins with nothing.
    sim::add_account(&mut *sim.engine, "alice@localhost", "other");
    sim.log_in("new", "alice", "other", "r");
    sim.send(b"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
    let said = String::from_utf8(sim.received()).unwrap();
    assert!(!said.contains("carol@localhost"), "{said}");
}
