//! Messages that wait (XEP-0160), where a transcript cannot look: connections that break, power cuts, a slow disk.
//!
//! ```text
//! alice sends ──▶ rows ──▶ bob comes ──▶ his wire takes it, or does not ──▶ rows gone, or there again
//! ```

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer;
use sim::{Setup, Sim};
use stonechat::im::{motd, offline};
use stonechat::jid::Jid;
use stonechat::limits::LAST_WRITE_MS;
use stonechat::storage::{Memory, offline as offline_store};

fn setup() -> Setup {
    let accounts = ["alice", "bob"].map(|name| (format!("{name}@localhost"), "pw".to_owned()));
    Setup { direct: true, accounts: accounts.into(), ..Setup::default() }
}

fn start() -> Sim {
    let mut sim = Sim::new(&setup());
    sim.log_in("alice", "alice", "pw", "r");
    sim
}

fn say(sim: &mut Sim, text: &str) {
    sim.select("alice");
    sim.send(format!("<message to='bob@localhost' type='chat'><body>{text}</body></message>").as_bytes());
    assert_eq!(sim.received(), b"", "taken without a word");
}

/// Logs in as bob and sends initial presence.
fn come(sim: &mut Sim, client: &str, resource: &str) {
    sim.log_in(client, "bob", "pw", resource);
    sim.send(b"<presence/>");
}

/// The texts of the messages that a client has received, each with whether it was stamped.
fn texts(sim: &mut Sim, client: &str) -> Vec<(String, bool)> {
    sim.select(client);
    let received = String::from_utf8(sim.received()).unwrap();
    let messages = received.split("<message").skip(1);
    let text =
        |message: &str| message.split("<body>").nth(1).and_then(|rest| rest.split("</body>").next()).map(str::to_owned);
    messages.map(|message| (text(message).unwrap(), message.contains("<delay xmlns='urn:xmpp:delay'"))).collect()
}

fn stamped(texts: &[&str]) -> Vec<(String, bool)> {
    texts.iter().map(|text| ((*text).to_owned(), true)).collect()
}

/// What is on disk for bob.
fn rows(sim: &mut Sim) -> usize {
    let bob = Jid::parse("bob@localhost").unwrap();
    let (rows, meta) = offline_store::run(&mut *sim.engine, |store| {
        Ok((offline::list(store, bob.as_ref())?, offline::meta(store, bob.as_ref())?))
    })
    .unwrap();
    assert_eq!(rows.len(), meta.messages as usize);
    assert_eq!(rows.iter().map(|row| row.stanza.len() as u64).sum::<u64>(), meta.bytes);
    rows.len()
}

#[test]
fn messages_that_were_on_their_way_come_again_after_a_break() {
    let mut sim = start();
    say(&mut sim, "one");
    say(&mut sim, "two");
    assert_eq!(rows(&mut sim), 2);
    sim.log_in("desk", "bob", "pw", "desk");
    sim.stuck = Some("desk".into());
    sim.send(b"<presence/>");
    assert_eq!(rows(&mut sim), 2, "they have not left");
    // A second resource does not get what is on its way to the first.
    come(&mut sim, "tab", "tab");
    assert_eq!(texts(&mut sim, "tab"), []);
    sim.select("desk");
    sim.drop_connection();
    sim.stuck = None;
    assert_eq!(rows(&mut sim), 2, "nobody has them");
    come(&mut sim, "phone", "phone");
    assert_eq!(texts(&mut sim, "phone"), stamped(&["one", "two"]));
    assert_eq!(rows(&mut sim), 0);
    come(&mut sim, "late", "late");
    assert_eq!(texts(&mut sim, "late"), []);
}

#[test]
fn what_comes_while_they_are_on_their_way_is_not_deleted_with_them() {
    let mut sim = start();
    say(&mut sim, "one");
    sim.log_in("desk", "bob", "pw", "desk");
    sim.stuck = Some("desk".into());
    sim.send(b"<presence/>");
    sim.send(b"<presence type='unavailable'/>");
    say(&mut sim, "two");
    assert_eq!(rows(&mut sim), 2);
    // The same session listens again before its wire has taken the first.
    sim.select("desk");
    sim.send(b"<presence/>");
    sim.send(b"<presence type='unavailable'/>");
    say(&mut sim, "three");
    sim.stuck = None;
    assert_eq!(texts(&mut sim, "desk"), stamped(&["one", "two"]));
    assert_eq!(rows(&mut sim), 1);
    come(&mut sim, "tab", "tab");
    assert_eq!(texts(&mut sim, "tab"), stamped(&["three"]));
    assert_eq!(rows(&mut sim), 0);
}

/// Deleting what has left takes commits of its own, many if it is much; who comes meanwhile finds rows still there.
#[test]
fn what_has_left_comes_to_nobody_else_while_its_rows_are_deleted() {
    let mut sim = Sim::new(&Setup { offline_messages: 300, ..setup() });
    sim.log_in("alice", "alice", "pw", "r");
    let stanza = |number: u32| format!("<message to='bob@localhost' type='chat'><body>{number}</body></message>");
    for part in 0..6 {
        sim.send((part * 50..part * 50 + 50).map(stanza).collect::<String>().as_bytes());
    }
    assert_eq!(rows(&mut sim), 300);
    sim.log_in("desk", "bob", "pw", "desk");
    sim.log_in("tab", "bob", "pw", "tab");
    sim.select("desk");
    sim.commits_go_on = false;
    sim.send(b"<presence/>");
    assert_eq!(texts(&mut sim, "desk").len(), 300);
    assert_eq!(rows(&mut sim), 300, "the disk is behind");
    sim.select("tab");
    sim.send(b"<presence/>");
    assert_eq!(texts(&mut sim, "tab"), []);
    sim.commits_go_on = true;
    assert_eq!(texts(&mut sim, "tab"), []);
    assert_eq!(rows(&mut sim), 0);
    // What comes later is not held back.
    for client in ["desk", "tab"] {
        sim.select(client);
        sim.send(b"<presence type='unavailable'/>");
    }
    say(&mut sim, "later");
    sim.select("tab");
    sim.received();
    sim.send(b"<presence/>");
    assert_eq!(texts(&mut sim, "tab"), stamped(&["later"]));
    assert_eq!(rows(&mut sim), 0);
}

#[test]
fn messages_outlive_the_process() {
    let mut sim = start();
    say(&mut sim, "one");
    let engine = std::mem::replace(&mut sim.engine, Box::new(Memory::default()));
    let mut sim = Sim::new(&Setup { accounts: Vec::new(), ..setup() });
    sim.engine = engine;
    come(&mut sim, "desk", "desk");
    assert_eq!(texts(&mut sim, "desk"), stamped(&["one"]));
    assert_eq!(rows(&mut sim), 0);
}

/// Messages that are not on disk yet leave at once, and nothing overtakes them.
#[test]
fn a_slow_disk_does_not_turn_the_order_around() {
    let mut sim = start();
    offline_store::run(&mut *sim.engine, |store| Ok(motd::set(store, "localhost", 1, "news"))).unwrap().unwrap();
    sim.log_in("desk", "bob", "pw", "desk");
    sim.commits_go_on = false;
    say(&mut sim, "one");
    say(&mut sim, "two");
    sim.select("desk");
    sim.send(b"<presence/>");
    say(&mut sim, "live");
    let heard = texts(&mut sim, "desk");
    let texts: Vec<&str> = heard.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["news", "one", "two", "live"]);
    sim.commits_go_on = true;
    sim.settle();
    assert_eq!(rows(&mut sim), 0);
    // The message of the day has been seen.
    come(&mut sim, "tab", "tab");
    assert_eq!(self::texts(&mut sim, "tab"), []);
}

#[test]
fn a_message_of_the_day_that_did_not_arrive_is_shown_again() {
    let mut sim = start();
    offline_store::run(&mut *sim.engine, |store| Ok(motd::set(store, "localhost", 7, "news"))).unwrap().unwrap();
    sim.log_in("desk", "bob", "pw", "desk");
    sim.stuck = Some("desk".into());
    sim.send(b"<presence/>");
    sim.drop_connection();
    sim.stuck = None;
    come(&mut sim, "tab", "tab");
    assert_eq!(texts(&mut sim, "tab"), [("news".to_owned(), false)]);
    come(&mut sim, "phone", "phone");
    assert_eq!(texts(&mut sim, "phone"), []);
}

/// More than one page of rows, and more than one run deletes.
#[test]
fn a_long_line_leaves_whole_and_is_deleted_in_parts() {
    let mut sim = Sim::new(&Setup { offline_messages: 600, ..setup() });
    sim.log_in("alice", "alice", "pw", "r");
    let all: Vec<String> = (0..600).map(|number| format!("m{number}")).collect();
    for text in &all {
        say(&mut sim, text);
    }
    assert_eq!(rows(&mut sim), 600);
    come(&mut sim, "desk", "desk");
    let heard: Vec<String> = texts(&mut sim, "desk").into_iter().map(|(text, _)| text).collect();
    assert_eq!(heard, all);
    assert_eq!(rows(&mut sim), 0);
}

/// The server's answer to alice about bob, whose roster lets her see him.
fn last(sim: &mut Sim) -> String {
    sim.select("alice");
    sim.received();
    sim.send(b"<iq type='get' id='l' to='bob@localhost'><query xmlns='jabber:iq:last'/></iq>");
    let answer = String::from_utf8(sim.received()).unwrap();
    answer.split("<query").nth(1).unwrap_or(&answer).to_owned()
}

fn friends() -> Setup {
    Setup { friends: vec![("alice@localhost".into(), "bob@localhost".into())], ..setup() }
}

/// XEP-0012: goodbyes are written together, once a minute.
#[test]
fn goodbyes_do_not_cost_a_commit_each() {
    let mut sim = Sim::new(&friends());
    sim.log_in("alice", "alice", "pw", "r");
    let commits = sim.counter("commits");
    for round in 0..5 {
        come(&mut sim, &format!("desk{round}"), "desk");
        sim.send(b"<presence type='unavailable'><status>tea</status></presence></stream:stream>");
        sim.advance(1_000);
    }
    assert_eq!(sim.counter("commits"), commits);
    assert_eq!(last(&mut sim), " xmlns='jabber:iq:last' seconds='1'>tea</query></iq>");
    sim.advance(LAST_WRITE_MS);
    assert_eq!(sim.counter("commits"), commits + 1);
    assert_eq!(last(&mut sim), " xmlns='jabber:iq:last' seconds='61'>tea</query></iq>");
    assert_eq!(
        sim.core.next_deadline_ms().filter(|due| *due <= sim.now.mono_ms + LAST_WRITE_MS),
        None,
        "no timer ticks on"
    );
}

#[test]
fn a_goodbye_outlives_the_process_if_it_ends_in_good_order() {
    let mut sim = Sim::new(&friends());
    come(&mut sim, "desk", "desk");
    let now = sim.now;
    sim.core.shut_down(now);
    sim.settle();
    let engine = std::mem::replace(&mut sim.engine, Box::new(Memory::default()));
    let mut sim = Sim::new(&Setup { accounts: Vec::new(), ..setup() });
    sim.engine = engine;
    sim.log_in("alice", "alice", "pw", "r");
    assert_eq!(last(&mut sim), " xmlns='jabber:iq:last' seconds='0'/></iq>");
}

/// Found by simulation: messages have left, and the disk is so far behind that they cannot be deleted yet. Whoever says
/// goodbye and comes again in that time had them twice.
#[test]
fn a_disk_that_is_behind_does_not_bring_them_twice() {
    const WRITERS: usize = 12;
    let mut sim = Sim::new(&Setup { resources_max: WRITERS + 2, ..setup() });
    sim.log_in("alice", "alice", "pw", "r");
    let writers: Vec<String> = (0..WRITERS).map(|at| format!("writer{at}")).collect();
    for writer in &writers {
        sim.log_in(writer, "alice", "pw", writer);
    }
    say(&mut sim, "once");
    sim.commits_go_on = false;
    // Each writer waits behind its own write: so many, ever smaller, until there is no room for anything.
    let mut size = 30_000;
    for writer in &writers {
        sim.select(writer);
        let body = "x".repeat(size);
        let text = format!(
            "<iq type='set' id='1'><query xmlns='jabber:iq:private'><x xmlns='urn:{writer}'>{body}</x></query></iq>"
        );
        sim.send(text.as_bytes());
        size /= 2;
    }
    come(&mut sim, "bob", "r");
    assert_eq!(texts(&mut sim, "bob"), stamped(&["once"]));
    sim.send(b"<presence type='unavailable'/><presence/>");
    assert_eq!(texts(&mut sim, "bob"), [], "they have left already");
    come(&mut sim, "other", "other");
    assert_eq!(texts(&mut sim, "other"), []);
    sim.commits_go_on = true;
    sim.settle();
    assert_eq!(rows(&mut sim), 0);
    // What comes later comes.
    for client in ["bob", "other"] {
        sim.select(client);
        sim.send(b"<presence type='unavailable'/>");
        sim.received();
    }
    say(&mut sim, "later");
    sim.select("bob");
    sim.send(b"<presence/>");
    assert_eq!(texts(&mut sim, "bob"), stamped(&["later"]));
}
