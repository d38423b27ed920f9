//! Random walks: lists of inputs that nobody thought of, in any order, replayable from their seed.
//!
//! The table holds one step from each state; a walk holds many. Nothing may panic, nothing may be said after the end,
//! nobody may be logged in who did not show a password.

use super::table::{apply, events};
use super::world::*;
use crate::random::Random;

const WALKS: u64 = 400;
const STEPS: usize = 25;

#[test]
fn walks_end_well() {
    let events = events();
    for seed in 0..WALKS {
        let mut random = Random::seeded(seed);
        let mut world = World::new();
        world.rules.capulet().tls_required = seed % 3 != 0;
        let mut link = if seed.is_multiple_of(2) { Link::new(world) } else { Link::secure(world) };
        let mut walk = Vec::new();
        let mut has_shown_password = false;
        for _ in 0..STEPS {
            let (name, event) = events[usize::try_from(random.next_u64()).unwrap_or(0) % events.len()];
            walk.push(name);
            link.auto = if random.next_u64().is_multiple_of(2) { Auto::All } else { Auto::Nothing };
            has_shown_password |= name.contains("plain") || name.contains("password");
            let was_closing = link.negotiation.is_closing();
            link.closed = None;
            apply(&mut link, event);
            let out = link.take_raw();
            assert!(!was_closing || out.is_empty(), "seed {seed}: {walk:?}: {out}");
            assert!(!link.negotiation.is_authenticated() || has_shown_password, "seed {seed}: {walk:?}");
            if link.closed.is_some() {
                assert!(link.negotiation.is_closing(), "seed {seed}: {walk:?}");
            }
        }
    }
}
