//! Allocation: none of ours for a relayed message, none for each who hears a presence, and how much an idle session
//! keeps.
//!
//! A binary of its own, because it replaces the allocator.

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer as _;
use counting::{allocations, counted, live_bytes};
use sim::{Setup, Sim, relay};
use stonechat::action::Action;
use stonechat::ids::ConnId;
use stonechat::limits::LAST_WRITE_MS;

const MESSAGES: usize = 10_000;
const SESSIONS: usize = 64;
/// A plain session's heap: row, outbox, session, JID, directory entry. The socket's row is the driver's.
const IDLE_SESSION_BYTES_MAX: usize = 700;
/// A session of an account of its own that has sent presence, with its contacts: all that the core owns for it.
const PRESENT_SESSION_BYTES_MAX: usize = 700;
/// Contacts of such an account.
const CONTACTS: usize = 20;
/// What the core may own more after a crowd of twice as many has left.
const LEFT_BEHIND_BYTES_MAX: usize = 1024;

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

/// A hub whose `contacts` see it, all of them there.
fn hub(contacts: usize) -> (Sim, ConnId) {
    let address = |n: usize| format!("c{n}@localhost");
    let mut accounts = vec![("hub@localhost".to_owned(), "secret".to_owned())];
    accounts.extend((0..contacts).map(|n| (address(n), "secret".to_owned())));
    let friends = (0..contacts).map(|n| ("hub@localhost".to_owned(), address(n))).collect();
    let mut sim = Sim::new(&Setup { accounts, friends, direct: true, ..Setup::default() });
    for n in 0..contacts {
        sim.log_in(&format!("c{n}"), &format!("c{n}"), "secret", "r");
        sim.send(b"<presence/>");
    }
    let hub = sim.log_in("hub", "hub", "secret", "r");
    sim.send(b"<presence/>");
    (sim, hub)
}

/// What the loop does for one presence: read, broadcast, write to all; returns the bytes written.
fn broadcast(sim: &mut Sim, hub: ConnId, frame: &[u8], actions: &mut Vec<Action>) -> usize {
    let now = sim.now;
    sim.core.receive(hub, frame, now);
    sim.core.close_overflown(now);
    sim.core.take_actions(actions);
    sim.core.submit(now, &mut Vec::new());
    let mut written = 0;
    while let Some(conn) = sim.core.outboxes().next_dirty() {
        let count = sim.core.outboxes().pending(conn).len();
        written += count;
        sim.core.outboxes().consume(conn, count);
    }
    written
}

/// Allocations of a hundred changes of presence, and what all of them put on wires.
fn broadcasts(contacts: usize) -> (usize, usize) {
    let (mut sim, hub) = hub(contacts);
    let frames: [&[u8]; 2] = [
        b"<presence><show>away</show><status>out</status><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
          node='n' ver='v'/></presence>",
        b"<presence><priority>5</priority></presence>",
    ];
    let mut actions = Vec::new();
    let mut run =
        |times: usize| -> usize { (0..times).map(|n| broadcast(&mut sim, hub, frames[n % 2], &mut actions)).sum() };
    run(10);
    let before = allocations();
    let written = counted(|| run(100));
    (allocations() - before, written)
}

#[test]
fn presence_allocates_nothing_for_each_who_hears_it() {
    let ((few, _), (many, written)) = (broadcasts(2), broadcasts(30));
    // Tables grow now and then; 28 more hear each of a hundred.
    assert!(many.abs_diff(few) < 28, "a hundred broadcasts: {few} to two, {many} to thirty");
    assert!(written > 100 * 30 * 100, "all have heard it: {written} bytes");
    println!("{} allocations a broadcast", many as f64 / 100.0);
}

/// Sessions that say the same share the bytes of it.
#[test]
fn equal_presence_is_kept_once() {
    let address = |n: usize| format!("c{n}@localhost");
    let accounts = (0..20).map(|n| (address(n), "secret".to_owned())).collect();
    let mut sim = Sim::new(&Setup { accounts, direct: true, ..Setup::default() });
    let presence = format!("<presence><status>{}</status></presence>", "x".repeat(8_000));
    let mut sizes = Vec::new();
    for n in 0..20 {
        sim.log_in(&format!("c{n}"), &format!("c{n}"), "secret", "r");
        let before = sim.core.heap_bytes();
        sim.send(presence.as_bytes());
        sizes.push(sim.core.heap_bytes().saturating_sub(before));
    }
    assert!(sizes[0] > 8_000, "it is kept: {sizes:?}");
    // Tables grow now and then.
    let small = sizes[1..].iter().filter(|bytes| **bytes < 100).count();
    assert!(small >= 17 && sizes[1..].iter().sum::<usize>() < 16_000, "and kept once: {sizes:?}");
}

/// So many accounts in a ring: each is a contact of its twenty neighbours.
fn neighbours(count: usize) -> Sim {
    let name = |at: usize| format!("user{:04}@localhost", at % count);
    let friends = (0..count).flat_map(|at| (1..=CONTACTS / 2).map(move |step| (name(at), name(at + step))));
    let setup = Setup {
        accounts: (0..count).map(|at| (name(at), "secret".to_owned())).collect(),
        friends: friends.collect(),
        direct: true,
        ..Setup::default()
    };
    Sim::new(&setup)
}

fn come(sim: &mut Sim, count: usize) {
    for at in 0..count {
        let user = format!("user{at:04}");
        sim.log_in(&user, &user, "secret", "resource");
        sim.send(
            b"<presence id='7f2c'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' \
              ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>",
        );
    }
}

/// All that the core of a simulation owns: what comes free when it goes.
fn owned_bytes(mut sim: Sim) -> usize {
    let fresh = Sim::new(&Setup::default());
    let core = std::mem::replace(&mut sim.core, fresh.core);
    let before = live_bytes();
    counted(|| drop(core));
    usize::try_from(before - live_bytes()).unwrap()
}

#[test]
fn a_session_with_presence_and_contacts_is_small() {
    let [few, many] = [SESSIONS, 2 * SESSIONS].map(|count| {
        let mut sim = neighbours(count);
        come(&mut sim, count);
        assert_eq!(sim.core.sessions(), count);
        assert_eq!(sim.core.counters()["connections"], count as u64);
        sim.core.shrink(sim.now);
        owned_bytes(sim)
    });
    let each = (many - few) / SESSIONS;
    println!("alloc/present_session heap_bytes={each} contacts={CONTACTS} sessions={}", 2 * SESSIONS);
    assert!(each <= PRESENT_SESSION_BYTES_MAX, "{each} bytes a session");
}

/// What the core owns more than at first when so many have come and gone.
fn left_behind(count: usize) -> usize {
    let mut sim = neighbours(count);
    come(&mut sim, count);
    for at in 0..count {
        sim.select(&format!("user{at:04}"));
        sim.send(b"</stream:stream>");
    }
    assert_eq!(sim.core.connections(), 0);
    sim.advance(LAST_WRITE_MS + 1);
    sim.core.shrink(sim.now);
    owned_bytes(sim).saturating_sub(owned_bytes(neighbours(count)))
}

/// Something does stay: keys of the last logins, so that the next is quick; no more for a large crowd.
#[test]
fn nothing_of_a_crowd_stays_behind() {
    let [few, many] = [SESSIONS, 2 * SESSIONS].map(left_behind);
    println!("alloc/left_behind heap_bytes={many} heap_bytes_half={few} sessions={}", 2 * SESSIONS);
    assert!(many <= few + LEFT_BEHIND_BYTES_MAX, "{many} bytes stay behind of twice as many as leave {few}");
}
