//! Relay: one message through the whole core, from the sender's bytes to the target's outbox.
//!
//! No socket and no TLS: what is left is scanning, routing and writing, the server's own share of a
//! message. Prints nanoseconds, bytes and allocations a message, and heap bytes an idle session.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/counting.rs"]
mod counting;
#[path = "../tests/common/sim.rs"]
mod sim;
#[path = "../tests/tls_common/mod.rs"]
mod tls_common;

use counting::{allocations, counted};
use sim::{Setup, Sim, relay};
use stonechat::clock::Clock;

/// A chat message as a phone sends it.
const MESSAGE: &[u8] = b"<message to='bob@localhost/desk' type='chat' id='ktx72v49'>\
    <body>Art thou not Romeo, and a Montague?</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/></message>";
const SESSIONS: usize = 1_000;

fn main() {
    let rounds: u32 = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500_000);
    let accounts = ["alice@localhost", "bob@localhost"].map(|jid| (jid.to_owned(), "secret".to_owned()));
    let setup = Setup { accounts: accounts.to_vec(), resources_max: SESSIONS + 1, ..Setup::default() };
    let mut sim = Sim::new(&setup);
    let alice = sim.log_in("alice", "alice", "secret", "phone");
    let bob = sim.log_in("bob", "bob", "secret", "desk");
    let mut actions = Vec::new();
    let warm_up: usize = (0..1_000).map(|_| relay(&mut sim, alice, bob, MESSAGE, &mut actions)).sum();
    assert!(warm_up > 1_000 * MESSAGE.len(), "every message arrives, with its `from`");

    let before = allocations();
    let clock = Clock::new();
    let start = clock.now().mono_ms;
    let written: usize = counted(|| (0..rounds).map(|_| relay(&mut sim, alice, bob, MESSAGE, &mut actions)).sum());
    let ns = (clock.now().mono_ms - start) as f64 * 1e6 / f64::from(rounds);
    let per_message = (allocations() - before) as f64 / f64::from(rounds);
    let bytes = written / rounds as usize;
    println!("relay/core_message ns={ns:.0} bytes_in={} bytes_out={bytes} allocations={per_message}", MESSAGE.len());

    let before = sim.core.heap_bytes();
    for n in 0..SESSIONS - 8 {
        sim.log_in(&format!("c{n}"), "alice", "secret", &format!("resource{n}"));
    }
    let each = (sim.core.heap_bytes() - before) / (SESSIONS - 8);
    println!("relay/idle_session heap_bytes={each} sessions={SESSIONS}");
}
