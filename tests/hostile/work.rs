//! What costs the server more than it costs who asks for it.
//!
//! No source but the rule of RFC 6120 §13.12 and XEP-0205 §2 that what a peer can cause must be bounded: each was found
//! here, by asking of every stanza what the longest thing is that it makes the server go through.

use super::counting::{allocations, counted};
use super::{Bare, ask, is_served, log_in, server, two};
use crate::bare::{policy, settings};
use stonechat::core::Settings;
use stonechat::im::roster::{self, Change, Item};
use stonechat::im::subscription::State;
use stonechat::jid::Jid;
use stonechat::limits::RATE_BURST_S;
use stonechat::purse::Rates;
use stonechat::storage::offline;

/// Contacts, and entries of a block list: as many as there may be of either.
const MANY: usize = 1_000;
/// What a session may do at once here, in stanzas: a tenth of what it may where nothing else is configured.
const BURST: usize = 4_000;
/// Fewer of both where much is asked again and again: a debug build counts and builds slowly.
const FRIENDS: usize = 300;
const BYTES_PER_S: u64 = 512 * 1024;

/// Fills juliet's roster with people who see her and are not there.
fn befriend(bare: &mut Bare, count: usize) {
    let juliet = Jid::parse("juliet@localhost").unwrap();
    let changed = offline::run(&mut bare.engine, |store| {
        let mut change = Change::of(store, juliet.as_ref(), 7)?;
        for number in 0..count {
            let mut item = Item { state: State::Both, listed: true, name: "A Friend".into(), ..Item::default() };
            change.put(juliet.as_ref(), &format!("friend-number-{number}@localhost"), None, &mut item);
        }
        Ok(change.write(store, juliet.as_ref()))
    });
    changed.unwrap().unwrap();
    let items = offline::run(&mut bare.engine, |store| roster::list(store, juliet.as_ref())).unwrap();
    assert_eq!(items.len(), count);
}

/// As long a list as there may be of entries that each concern every contact: a domain with a resource. Both were
/// multiplied: a small stanza made a million addresses.
#[test]
fn a_block_list_is_not_multiplied_by_a_roster() {
    let mut bare = server();
    befriend(&mut bare, MANY);
    let [juliet, romeo] = two(&mut bare);
    let entries: String = (0..MANY).map(|number| format!("<item jid='localhost/r{number}'/>")).collect();
    let block = format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{entries}</block></iq>");
    let unblock = "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>";
    for question in [block.as_str(), unblock] {
        let before = allocations();
        let heard = counted(|| ask(&mut bare, juliet, question));
        assert!(heard.contains("type='result'"), "{heard}");
        let made = allocations() - before;
        assert!(made < 100 * MANY, "{made} allocations for {} bytes", question.len());
    }
    assert!(is_served(&mut bare, romeo));
}

/// The answers that juliet gets at once, of a question that she asks again and again.
fn at_once(bare: &mut Bare, question: &str) -> usize {
    let juliet = log_in(bare, "juliet", "r");
    let mut answers = 0;
    // Several in one read: whoever floods does so.
    let questions = question.repeat((16_000 / question.len()).max(1));
    while bare.is_read(juliet) && answers < BURST {
        let heard = ask(bare, juliet, &questions);
        answers += heard.matches("type='result'").count();
    }
    bare.hang_up(juliet);
    answers
}

/// A short question with a long answer is paid for by the answer, and one that has to be read again by each time.
#[test]
fn a_question_costs_what_its_answer_does() {
    let rated = || {
        let settings = Settings { rates: Rates::new(BYTES_PER_S, BURST as u64 / RATE_BURST_S), ..settings() };
        let mut bare = Bare::new(policy(), settings, 1);
        befriend(&mut bare, FRIENDS);
        bare
    };
    let roster = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>";
    let padding = "<item jid='a@b'/>".repeat(2_000);
    let padded = format!("<iq type='get' id='g'><query xmlns='jabber:iq:roster'>{padding}</query></iq>");
    let vcard = "x".repeat(60_000);
    let long = "x".repeat(100_000);
    let entries: String = (0..MANY).map(|number| format!("<item jid='someone-{number}@localhost'/>")).collect();
    let setting = |payload: &str| format!("<iq type='set' id='s'>{payload}</iq>");
    let rows = [
        ("a roster", String::new(), roster.to_owned(), 25),
        // Without this it would be read, and built as a tree, once for each page of the roster at the price of one.
        ("a padded question", String::new(), padded, 25),
        (
            "a vCard",
            setting(&format!("<vCard xmlns='vcard-temp'><DESC>{vcard}</DESC></vCard>")),
            "<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>".to_owned(),
            150,
        ),
        (
            "private XML",
            setting(&format!("<query xmlns='jabber:iq:private'><x xmlns='urn:x'>{long}</x></query>")),
            "<iq type='get' id='g'><query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query></iq>".to_owned(),
            100,
        ),
        (
            "a block list",
            setting(&format!("<block xmlns='urn:xmpp:blocking'>{entries}</block>")),
            "<iq type='get' id='g'><blocklist xmlns='urn:xmpp:blocking'/></iq>".to_owned(),
            200,
        ),
    ];
    for (what, set_up, question, most) in rows {
        let mut bare = rated();
        if !set_up.is_empty() {
            let juliet = log_in(&mut bare, "juliet", "first");
            assert!(ask(&mut bare, juliet, &set_up).contains("type='result'"), "{what}");
            bare.hang_up(juliet);
        }
        let answers = at_once(&mut bare, &question);
        assert!((1..=most).contains(&answers), "{what}: {answers} answers at once, at most {most}");
    }
    // Whoever logs in and asks for all of it, as clients do, is far from that.
    let mut bare = rated();
    let juliet = log_in(&mut bare, "juliet", "r");
    for question in [roster, "<presence/>", roster, "<presence/>", roster] {
        ask(&mut bare, juliet, question);
    }
    assert!(bare.is_read(juliet));
    let ping = "<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert!(at_once(&mut rated(), ping) > BURST / 4 * 3, "a ping costs one stanza");
}
