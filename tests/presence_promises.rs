//! Presence and rosters beside what waits for the disk, block lists, and accounts that end.
//!
//! What clients say and hear line by line is in `tests/transcripts/presence_*.txt`; here are the moments between.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim};

const ROSTER: &str = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";

/// A server with three accounts, and these pairs of friends.
fn server(friends: &[(&str, &str)]) -> Sim {
    let at = |name: &str| format!("{name}@localhost");
    Sim::new(&Setup {
        direct: true,
        accounts: ["alice", "bob", "carol"].map(|name| (at(name), "secret".to_owned())).to_vec(),
        friends: friends.iter().map(|(one, other)| (at(one), at(other))).collect(),
        ..Setup::default()
    })
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

/// Each logs in, with the resource `r`, asks for the roster and is available.
fn log_in(sim: &mut Sim, users: &[&str]) {
    for user in users {
        sim.log_in(user, user, "secret", "r");
        say(sim, user, ROSTER);
        say(sim, user, "<presence/>");
    }
    for user in users {
        heard(sim, user);
    }
}

fn block(sim: &mut Sim, user: &str, whom: &str, verb: &str) -> String {
    let set =
        format!("<iq type='set' id='b'><{verb} xmlns='urn:xmpp:blocking'><item jid='{whom}@localhost'/></{verb}></iq>");
    say(sim, user, &set)
}

/// Where each part stands in what was heard; all of them, in this order.
fn assert_order(heard: &str, parts: &[&str]) {
    let mut rest = heard;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part}, or not here: {heard}"));
        rest = &rest[at + part.len()..];
    }
}

/// Bob approves alice, changes his presence and goes, all before the approval is on disk. What alice hears last is
/// that he has gone: nothing older may come after it.
#[test]
fn presence_does_not_overtake_an_approval_that_waits_for_the_disk() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice", "bob"]);
    say(&mut sim, "alice", "<presence to='bob@localhost' type='subscribe'/>");
    sim.commits_go_on = false;
    say(&mut sim, "bob", "<presence to='alice@localhost' type='subscribed'/>");
    say(&mut sim, "bob", "<presence><show>away</show></presence>");
    say(&mut sim, "bob", "<presence to='alice@localhost'><show>dnd</show></presence>");
    sim.select("bob");
    sim.drop_connection();
    assert_eq!(heard(&mut sim, "alice").matches("from='bob").count(), 0);
    sim.commits_go_on = true;
    sim.settle();
    let heard = heard(&mut sim, "alice");
    assert_order(
        &heard,
        &[
            "type='subscribed'/>",
            "subscription='to'/>",
            "<presence from='bob@localhost/r' to='alice@localhost'/>",
            "<show>away</show>",
            "<show>dnd</show>",
            "<presence from='bob@localhost/r' to='alice@localhost' type='unavailable'/>",
        ],
    );
    assert_eq!(heard.matches("type='unavailable'").count(), 1, "{heard}");
}

/// The same with a resource that ends behind the answer that shows it, for somebody who was blocked.
#[test]
fn presence_does_not_overtake_an_unblocking_that_waits_for_the_disk() {
    let mut sim = server(&[("alice", "bob")]);
    log_in(&mut sim, &["alice", "bob"]);
    block(&mut sim, "bob", "alice", "block");
    heard(&mut sim, "alice");
    sim.commits_go_on = false;
    block(&mut sim, "bob", "alice", "unblock");
    say(&mut sim, "bob", "<presence type='unavailable'/>");
    sim.commits_go_on = true;
    sim.settle();
    assert_order(
        &heard(&mut sim, "alice"),
        &["<presence from='bob@localhost/r' to='alice@localhost'/>", "to='alice@localhost' type='unavailable'/>"],
    );
}

/// What a session says between the end of its account and the commit is nobody's: whoever has the name next finds
/// nothing of it, and nobody else hears it.
#[test]
fn an_account_that_is_no_more_says_nothing() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice", "bob"]);
    sim.log_in("tab", "alice", "secret", "tab");
    sim.commits_go_on = false;
    let rest = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query></iq>\
        <presence to='bob@localhost' type='subscribe'/><presence to='bob@localhost/r'/>\
        <message to='bob@localhost'><body>boo</body></message>\
        <iq type='set' id='p'><query xmlns='jabber:iq:private'><a xmlns='b'/></query></iq>";
    say(
        &mut sim,
        "alice",
        &format!("<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>{rest}"),
    );
    say(&mut sim, "tab", rest);
    sim.commits_go_on = true;
    sim.settle();
    let last = heard(&mut sim, "alice");
    assert_order(&last, &["<iq type='result' id='x'", "<not-authorized ", "</stream:stream>"]);
    assert_eq!(last.matches("<iq").count(), 1, "{last}");
    assert_eq!(heard(&mut sim, "bob"), "");
    sim::add_account(&mut *sim.engine, "alice@localhost", "secret");
    sim.log_in("next", "alice", "secret", "r");
    let roster = say(&mut sim, "next", ROSTER);
    assert!(roster.ends_with("<query xmlns='jabber:iq:roster'/></iq>"), "{roster}");
}

/// A login that was through before its account ended does not become a session of it.
#[test]
fn nobody_binds_to_an_account_that_is_no_more() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice"]);
    let header = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'>";
    let auth = stonechat::sasl::base64::encode(b"\0alice\0secret");
    say(&mut sim, "late", header);
    say(&mut sim, "late", &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{auth}</auth>"));
    assert!(say(&mut sim, "late", header).contains("<bind"));
    sim.commits_go_on = false;
    say(&mut sim, "alice", "<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let refused = say(&mut sim, "late", bind);
    assert!(refused.contains("<not-allowed "), "{refused}");
}

/// Whoever is blocked cannot have the last word by leaving, and learns at once that the other is not there for them.
#[test]
fn directed_presence_ends_at_a_block_list() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice", "bob"]);
    say(&mut sim, "alice", "<presence to='bob@localhost/r'/><presence to='bob@localhost'/>");
    say(&mut sim, "bob", "<presence to='alice@localhost/r'/>");
    heard(&mut sim, "alice");
    block(&mut sim, "bob", "alice", "block");
    let gone = "<presence from='bob@localhost/r' to='alice@localhost/r' type='unavailable'/>";
    assert_eq!(heard(&mut sim, "alice"), gone);
    say(&mut sim, "alice", "<presence type='unavailable'><status>insult</status></presence>");
    assert_eq!(heard(&mut sim, "bob"), "");
    sim.select("bob");
    sim.drop_connection();
    assert_eq!(heard(&mut sim, "alice"), "", "it has heard that before");
}

/// Alice sees bob, who does not see alice: blocking and unblocking him tells him nothing of her.
#[test]
fn a_block_list_shows_presence_to_nobody_who_may_not_see_it() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice", "bob"]);
    say(&mut sim, "alice", "<presence to='bob@localhost' type='subscribe'/>");
    say(&mut sim, "bob", "<presence to='alice@localhost' type='subscribed'/>");
    heard(&mut sim, "bob");
    block(&mut sim, "alice", "bob", "block");
    block(&mut sim, "alice", "bob", "unblock");
    assert_eq!(heard(&mut sim, "bob"), "");
}

/// A request that waits is not shown while who has sent it is blocked.
#[test]
fn a_request_of_somebody_who_is_blocked_waits_unseen() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice"]);
    say(&mut sim, "alice", "<presence to='bob@localhost' type='subscribe'/>");
    sim.log_in("bob", "bob", "secret", "r");
    block(&mut sim, "bob", "alice", "block");
    assert!(!say(&mut sim, "bob", "<presence/>").contains("subscribe"));
    block(&mut sim, "bob", "alice", "unblock");
    say(&mut sim, "bob", "<presence type='unavailable'/>");
    assert!(say(&mut sim, "bob", "<presence/>").contains("type='subscribe'"));
}

/// A goodbye is multiplied by all who hear it, as presence is: it is bounded as presence is.
#[test]
fn a_goodbye_is_no_longer_than_presence_may_be() {
    let mut sim = server(&[("alice", "bob")]);
    log_in(&mut sim, &["alice", "bob"]);
    let goodbye = |bytes: usize| format!("<presence type='unavailable'><status>{:x<bytes$}</status></presence>", "");
    let refused = say(&mut sim, "alice", &goodbye(20_000));
    assert!(refused.contains("<policy-violation "), "{refused}");
    assert_eq!(heard(&mut sim, "bob"), "");
    say(&mut sim, "alice", &goodbye(10_000));
    assert_eq!(heard(&mut sim, "bob").matches("type='unavailable'").count(), 1);
}

/// A roster that would not fit an outbox could never be fetched again: it does not grow to that.
#[test]
fn a_roster_stays_as_small_as_what_can_be_sent() {
    let mut sim = server(&[]);
    log_in(&mut sim, &["alice"]);
    let groups: String = (0..32).map(|n| format!("<group>{n:&<250}</group>").replace('&', "&amp;")).collect();
    let set = |jid: &str, groups: &str| {
        format!(
            "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='{jid}@localhost'>{groups}</item></query></iq>"
        )
    };
    let few: String = groups[..groups.len() / 4].rsplit_once("<group>").unwrap().0.to_owned();
    let mut fitted = 0;
    while say(&mut sim, "alice", &set(&format!("x{fitted}"), &few)).contains("type='result'") {
        fitted += 1;
        assert!(fitted < 20, "bounded");
    }
    let full = say(&mut sim, "alice", &set("one-more", &few));
    assert!(full.contains("<resource-constraint "), "{full}");
    let roster = say(&mut sim, "alice", ROSTER);
    assert_eq!(roster.matches("<item ").count(), fitted, "it can be fetched: {} bytes", roster.len());
    assert!(roster.len() <= sim::ROSTER_BYTES_MAX as usize);
    // What shrinks it is taken, and what is gone makes room.
    assert!(say(&mut sim, "alice", &set("x0", "")).contains("type='result'"));
    assert!(say(&mut sim, "alice", &set("one-more", &few)).contains("type='result'"));
    let remove = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x1@localhost' subscription='remove'/>\
        </query></iq>";
    assert!(say(&mut sim, "alice", remove).contains("type='result'"));
    assert!(say(&mut sim, "alice", &set("another", &few)).contains("type='result'"));
}

/// To a stranger an account that is there, one that is away and none at all are the same: byte for byte in what is
/// answered, and in how often the disk is asked, which would be told by the clock.
#[test]
fn a_stranger_learns_nothing_by_words_or_by_waiting() {
    let stanzas = [
        "<presence to='NAME@localhost'/>",
        "<presence to='NAME@localhost/x' type='unavailable'/>",
        "<presence to='NAME@localhost' type='probe' id='p'/>",
        "<presence to='NAME@localhost/r' type='probe' id='p'/>",
        "<presence to='NAME@localhost' type='unsubscribe' id='u'/>",
        "<presence to='NAME@localhost' type='unsubscribed' id='u'/>",
        "<presence to='NAME@localhost' type='subscribe' id='s'/>",
        "<presence to='NAME@localhost' type='subscribe' id='s'/>",
        "<presence to='NAME@localhost' type='probe' id='p'/>",
        "<presence to='NAME@localhost' type='unsubscribe' id='u'/>",
        "<presence to='NAME@localhost' type='subscribed' id='u'/>",
        "<presence to='NAME@localhost' type='error'><error type='cancel'/></presence>",
        "<iq type='get' id='i' to='NAME@localhost/r'><query xmlns='jabber:iq:version'/></iq>",
        "<iq type='set' id='i' to='NAME@localhost'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>",
        "<iq type='get' id='i' to='NAME@localhost/r'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='set' id='i'><query xmlns='jabber:iq:roster'><item jid='NAME@localhost' name='N'/></query></iq>",
        "<iq type='set' id='i'><query xmlns='jabber:iq:roster'><item jid='NAME@localhost' subscription='remove'/>\
         </query></iq>",
    ];
    let told = |name: &str| -> Vec<(String, u64, u64)> {
        let mut sim = server(&[]);
        log_in(&mut sim, &["bob", "alice"]);
        let say_it = |sim: &mut Sim, stanza: &&str| {
            let counters = |sim: &Sim| (sim.counter("misses"), sim.counter("commits"));
            let before = counters(sim);
            let answer = say(sim, "alice", &stanza.replace("NAME", name)).replace(name, "NAME");
            let after = counters(sim);
            (answer, after.0 - before.0, after.1 - before.1)
        };
        stanzas.iter().map(|stanza| say_it(&mut sim, stanza)).collect()
    };
    let (there, away, nobody) = (told("bob"), told("carol"), told("nobody"));
    assert!(there.iter().any(|(answer, ..)| answer.contains("ask='subscribe'")), "{there:?}");
    for (at, stanza) in stanzas.iter().enumerate() {
        assert_eq!(there[at], nobody[at], "one that is there, and none: {stanza}");
        assert_eq!(away[at], nobody[at], "one that is away, and none: {stanza}");
    }
}
