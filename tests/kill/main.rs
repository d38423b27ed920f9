//! Kills the whole server with SIGKILL, again and again, while clients write over real sockets: what was
//! acknowledged is there after the restart, in whole and in order, and the rosters of two sides mirror each other.
//!
//! `KILLS=200 cargo test --test kill` is the long form; `SEED=7` chooses other operations. Acknowledged is what
//! `docs/architecture.md` §5 says: a result, a roster push; and for all that has no answer of its own, a message
//! for somebody who is away, the result of a later request on the same stream.

#[allow(dead_code, reason = "others use more of it")]
mod client;
mod model;
#[path = "../simulation/rng.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod rng;
mod server;
#[path = "../simulation/view.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod view;
mod world;

use world::World;

/// Enough to meet a commit in every state, and short enough for every run of the tests.
const KILLS: u64 = 6;

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, kills) = (number("SEED").unwrap_or(1), number("KILLS").unwrap_or(KILLS));
    let mut world = World::new(seed);
    for kill in 0..kills {
        if let Err(fault) = world.run_and_kill() {
            panic!("SEED={seed}, kill {kill}: {fault}");
        }
    }
    let done = world.finish();
    println!(
        "kill/server kills={kills} writes={} acknowledged={} subscriptions={} accounts={} messages={} lost=0",
        done.writes, done.acknowledged, done.subscriptions, done.accounts, done.messages
    );
    assert!(done.acknowledged > 10 * kills && done.acknowledged < done.writes, "kills fall into writes: {done:?}");
    assert!(done.subscriptions > 0 && done.messages > kills && done.accounts > 0, "{done:?}");
}
