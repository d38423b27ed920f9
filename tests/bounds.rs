//! Bounds of what an account may keep, where a transcript would be too long.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer;
use sim::{Setup, Sim};

fn start() -> Sim {
    let accounts = [("alice@localhost".to_owned(), "pw".to_owned())];
    let mut sim = Sim::new(&Setup { direct: true, accounts: accounts.into(), ..Setup::default() });
    sim.log_in("alice", "alice", "pw", "r");
    sim
}

fn ask(sim: &mut Sim, iq: &str) -> String {
    sim.send(iq.as_bytes());
    String::from_utf8(sim.received()).unwrap()
}

/// A list that is too long to be told would end the stream of whoever asks for it.
#[test]
fn a_block_list_is_bounded_by_bytes() {
    let mut sim = start();
    let resource = "x".repeat(900);
    let block = |name: &str| {
        let item = |number: usize| format!("<item jid=\"{name}{number}@example.com/{resource}\"/>");
        let items: String = (0..35).map(item).collect();
        format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>")
    };
    assert!(ask(&mut sim, &block("a")).contains("type='result'"));
    assert!(ask(&mut sim, &block("b")).contains("type='result'"));
    assert!(ask(&mut sim, &block("c")).contains("<resource-constraint"));
    let list = ask(&mut sim, "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>");
    assert_eq!(list.matches("<item ").count(), 70);
    assert!(list.ends_with("</iq>"), "told whole");
}

/// What counts is what would be kept: escaped, a short text may be long.
#[test]
fn a_vcard_is_bounded_by_what_it_becomes() {
    let mut sim = start();
    let set = |note: &str| format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'><NOTE>{note}</NOTE></vCard></iq>");
    assert!(ask(&mut sim, &set(&"'".repeat(10_000))).contains("type='result'"));
    assert!(ask(&mut sim, &set(&"'".repeat(11_000))).contains("<not-acceptable"));
    let kept = ask(&mut sim, "<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>");
    assert_eq!(kept.matches("&apos;").count(), 10_000);
}
