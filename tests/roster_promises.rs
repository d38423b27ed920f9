//! Rosters and subscriptions across restarts, commits that wait, and the end of an account.
//!
//! The whole core with simulated clients, on the in-memory and on the real store. What clients say and hear line by
//! line is in `tests/transcripts/roster_*.txt` and `subscription_*.txt`.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod storage_scratch;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim, add_account};
use stonechat::admin::{Answer, UserRequest};
use stonechat::jid::Jid;
use stonechat::storage::{Engine, Memory};
use storage_scratch::on_both;

const ROSTER: &str = "<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver=''/></iq>";

/// A server over this disk; the first one makes the accounts.
fn server(engine: Box<dyn Engine>, is_first: bool) -> Sim {
    let mut sim = Sim::new(&Setup { direct: true, ..Setup::default() });
    sim.engine = engine;
    for user in ["alice", "bob"].iter().filter(|_| is_first) {
        add_account(&mut *sim.engine, &format!("{user}@localhost"), "secret");
    }
    sim
}

/// The server is gone, as in a power cut; the disk is not.
fn restarted(mut sim: Sim) -> Sim {
    server(std::mem::replace(&mut sim.engine, Box::new(Memory::new())), false)
}

/// The client says something, and this is what it hears of it.
fn say(sim: &mut Sim, client: &str, text: &str) -> String {
    sim.select(client);
    sim.send(text.as_bytes());
    heard(sim, client)
}

fn heard(sim: &mut Sim, client: &str) -> String {
    sim.select(client);
    String::from_utf8(sim.received()).unwrap()
}

fn log_in(sim: &mut Sim, client: &str, user: &str, resource: &str) -> String {
    sim.log_in(client, user, "secret", resource);
    let roster = say(sim, client, ROSTER);
    say(sim, client, "<presence/>");
    roster
}

fn befriend(sim: &mut Sim) {
    for (one, other) in [("alice", "bob"), ("bob", "alice")] {
        say(sim, one, &format!("<presence to='{other}@localhost' type='subscribe'/>"));
        say(sim, other, &format!("<presence to='{one}@localhost' type='subscribed'/>"));
    }
    heard(sim, "alice");
    heard(sim, "bob");
}

fn delete(sim: &mut Sim, user: &str) -> Vec<Answer> {
    sim.core.administer(1, UserRequest::Del { address: Jid::parse(&format!("{user}@localhost")).unwrap() }, sim.now);
    sim.settle();
    let mut answers = Vec::new();
    sim.core.take_answers(&mut answers);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The `ver` of a roster or a push.
fn ver(xml: &str) -> &str {
    xml.split(" ver='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_else(|| panic!("no ver in {xml}"))
}

#[test]
fn rosters_requests_and_versions_outlive_the_server() {
    on_both(|name, engine| {
        let mut sim = server(engine, true);
        log_in(&mut sim, "alice", "alice", "phone");
        let set = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x@localhost' name='X'><group>G\
            </group></item></query></iq>";
        let pushed = say(&mut sim, "alice", set);
        say(&mut sim, "alice", "<presence to='bob@localhost' type='subscribe'><status>me</status></presence>");

        let mut sim = restarted(sim);
        let get = format!("<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='{}'/></iq>", ver(&pushed));
        sim.log_in("alice", "alice", "secret", "phone");
        let delta = say(&mut sim, "alice", &get);
        assert!(delta.contains("jid='bob@localhost'") && delta.contains("ask='subscribe'"), "{name}: {delta}");
        assert!(!delta.contains("x@localhost"), "{name}: known already: {delta}");
        sim.log_in("bob", "bob", "secret", "desk");
        let request = say(&mut sim, "bob", "<presence/>");
        assert!(request.contains("<status>me</status>"), "{name}: {request}");
        say(&mut sim, "bob", "<presence to='alice@localhost' type='subscribed'/>");

        let mut sim = restarted(sim);
        let roster = log_in(&mut sim, "alice", "alice", "phone");
        assert!(roster.contains("name='X'") && roster.contains("<group>G</group>"), "{name}: {roster}");
        sim.log_in("bob", "bob", "secret", "desk");
        let own = say(&mut sim, "bob", "<presence/>");
        assert!(!own.contains("subscribe"), "{name}: it is answered: {own}");
        let seen = heard(&mut sim, "alice");
        assert!(seen.contains("from='bob@localhost/desk'"), "{name}: edges are loaded at bind: {seen}");
    });
}

#[test]
fn nobody_hears_of_a_change_before_it_is_on_disk() {
    on_both(|name, engine| {
        let mut sim = server(engine, true);
        log_in(&mut sim, "alice", "alice", "phone");
        log_in(&mut sim, "bob", "bob", "desk");
        sim.commits_go_on = false;
        let asked = say(&mut sim, "alice", "<presence to='bob@localhost' type='subscribe'/>");
        assert_eq!((asked.as_str(), heard(&mut sim, "bob").as_str()), ("", ""), "{name}");
        sim.commits_go_on = true;
        sim.settle();
        assert!(heard(&mut sim, "alice").contains("ask='subscribe'"), "{name}");
        assert!(heard(&mut sim, "bob").contains("type='subscribe'"), "{name}");
    });
}

#[test]
fn the_end_of_an_account_is_heard_once_and_leaves_nothing() {
    on_both(|name, engine| {
        let mut sim = server(engine, true);
        log_in(&mut sim, "alice", "alice", "phone");
        log_in(&mut sim, "bob", "bob", "desk");
        befriend(&mut sim);
        let old = ver(&say(&mut sim, "alice", ROSTER)).to_owned();
        assert_eq!(delete(&mut sim, "alice"), [Answer::Done], "{name}");
        let bob = heard(&mut sim, "bob");
        let parts = ["type='unavailable'", "type='unsubscribe'", "type='unsubscribed'", "subscription='none'"];
        for part in parts {
            assert_eq!(bob.matches(part).count(), 1, "{name}: {part} in {bob}");
        }
        sim.select("alice");
        let last = String::from_utf8(sim.received()).unwrap();
        assert!(last.contains("<not-authorized ") && !last.contains("jabber:iq:roster"), "{name}: {last}");

        // Whoever has the name next has nothing of it, not even after the goodbyes are written.
        sim.advance(120_000);
        add_account(&mut *sim.engine, "alice@localhost", "secret");
        let mut sim = restarted(sim);
        sim.log_in("alice", "alice", "secret", "phone");
        let roster = say(&mut sim, "alice", &ROSTER.replace("ver=''", &format!("ver='{old}'")));
        assert!(
            roster.contains("<query xmlns='jabber:iq:roster' ver=") && !roster.contains("<item"),
            "{name}: {roster}"
        );
        let last =
            say(&mut sim, "alice", "<iq type='get' id='l' to='alice@localhost'><query xmlns='jabber:iq:last'/></iq>");
        assert!(!last.contains("<status"), "{name}: {last}");
        let set = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query></iq>";
        let new = say(&mut sim, "alice", set);
        assert_ne!(ver(&new).split('-').next(), old.split('-').next(), "{name}: another roster");
        sim.log_in("bob", "bob", "secret", "desk");
        let bob = say(&mut sim, "bob", ROSTER);
        assert!(bob.contains("<item jid='alice@localhost' subscription='none'/>"), "{name}: {bob}");
    });
}
