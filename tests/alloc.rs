//! Allocation: none of ours for a relayed message, and how much an idle session keeps.
//!
//! A binary of its own, because it replaces the allocator.

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use counting::{allocations, counted, live_bytes};
use sim::{Setup, Sim, relay};
use stonechat::action::Action;
use stonechat::ids::ConnId;

const MESSAGES: usize = 10_000;
const SESSIONS: usize = 64;
/// A plain session's heap: row, outbox, session, JID, directory entry. The socket's row is the driver's.
const IDLE_SESSION_BYTES_MAX: usize = 700;

fn two_sessions() -> (Sim, ConnId, ConnId) {
    let accounts = ["alice@localhost", "bob@localhost"].map(|jid| (jid.to_owned(), "secret".to_owned()));
    let mut sim = Sim::new(&Setup { accounts: accounts.to_vec(), ..Setup::default() });
    let alice = sim.log_in("alice", "alice", "secret", "phone");
    let bob = sim.log_in("bob", "bob", "secret", "desk");
    (sim, alice, bob)
}

#[test]
fn a_relayed_message_allocates_nothing() {
    let (mut sim, alice, bob) = two_sessions();
    let frame = b"<message to='bob@localhost/desk' type='chat' id='m1'><body>Hello, Bob &amp; all</body>\
        <active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    let mut actions = Vec::new();
    for _ in 0..100 {
        relay(&mut sim, alice, bob, frame, &mut actions);
    }
    let before = allocations();
    let written: usize = counted(|| (0..MESSAGES).map(|_| relay(&mut sim, alice, bob, frame, &mut actions)).sum());
    assert_eq!(allocations() - before, 0, "allocations for {MESSAGES} messages");
    assert!(written > MESSAGES * frame.len(), "the messages arrived, each with its `from`");
}

#[test]
fn a_message_in_pieces_frees_what_it_took() {
    let (mut sim, alice, bob) = two_sessions();
    let frame = b"<message to='bob@localhost/desk'><body>Hello</body></message>";
    let mut actions = Vec::new();
    let now = sim.now;
    let run = |sim: &mut Sim, actions: &mut Vec<Action>| {
        for byte in &frame[..frame.len() - 1] {
            sim.core.receive(alice, &[*byte], now);
        }
        relay(sim, alice, bob, &frame[frame.len() - 1..], actions)
    };
    run(&mut sim, &mut actions);
    let before = live_bytes();
    assert!(counted(|| run(&mut sim, &mut actions)) > 0);
    assert!(live_bytes() - before <= 0, "{} bytes are kept", live_bytes() - before);
}

#[test]
fn an_idle_session_is_small() {
    let accounts = vec![("alice@localhost".to_owned(), "secret".to_owned())];
    let mut setup = Setup { accounts, ..Setup::default() };
    setup.resources_max = SESSIONS + 8;
    let mut sim = Sim::new(&setup);
    for n in 0..8 {
        sim.log_in(&format!("warm{n}"), "alice", "secret", &format!("warm{n}"));
    }
    // The simulation's own books are kept outside of what is counted.
    let before = sim.core.heap_bytes();
    for n in 0..SESSIONS {
        sim.log_in(&format!("c{n}"), "alice", "secret", &format!("resource{n}"));
    }
    let each = (sim.core.heap_bytes() - before) / SESSIONS;
    assert!(each <= IDLE_SESSION_BYTES_MAX, "{each} bytes a session");
}
