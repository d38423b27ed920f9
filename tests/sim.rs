//! Deterministic simulation: the whole core against clients, a network, a disk and a clock that all
//! misbehave, from one seed.
//!
//! `SEED=123 cargo test --test sim` replays a run; `SEEDS=5000` tries so many fresh ones.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod simulation;
mod tls_common;

use simulation::{Met, Outcome, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Runs that are always made: the first few, and every one that once found a bug.
const SEEDS: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 1_795_389_667_165_025_761, 1_795_389_709_385_675_244];
/// Fresh runs, where none are asked for.
const FRESH: u64 = 8;

fn run(seed: u64) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(fault)) => panic!("SEED={seed} finds: {fault}"),
        Err(_) => panic!("SEED={seed} panics"),
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a fresh seed, and how fast it went; the runs themselves have no clock")]
fn nothing_that_peers_do_breaks_the_core() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => {
            let fresh = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            SEEDS.iter().copied().chain((0..count.unwrap_or(FRESH)).map(|at| fresh.wrapping_add(at))).collect()
        }
    };
    let began = Instant::now();
    let outcomes: Vec<Outcome> = seeds.iter().map(|seed| run(*seed)).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let ticks = sum(|one| one.ticks as u64);
    println!("ticks={ticks} ticks_per_s={:.0}", ticks as f64 / began.elapsed().as_secs_f64());
    println!(
        "simulation/all runs={} ticks={ticks} ticks_per_seed={} hours={} power_cuts={} commits_failed={} messages={} \
         sessions={} shed={} slowed={} promises={}",
        outcomes.len(),
        ticks / outcomes.len() as u64,
        sum(|one| one.simulated_ms) / 3_600_000,
        sum(|one| one.power_cuts as u64),
        sum(|one| one.commits_failed),
        sum(|one| one.messages as u64),
        sum(|one| one.sessions),
        sum(|one| one.shed),
        sum(|one| one.slowed),
        sum(|one| one.promises as u64),
    );
    let met: Vec<String> = met(&outcomes).named().iter().map(|(name, count)| format!("{name}={count}")).collect();
    println!("simulation/faults {}", met.join(" "));
    for (seed, outcome) in seeds.iter().zip(&outcomes).take(50) {
        println!("SEED={seed} {outcome:?}");
    }
}

/// What all runs together have met.
fn met(outcomes: &[Outcome]) -> Met {
    let mut met = Met::default();
    outcomes.iter().for_each(|outcome| met.add(&outcome.met));
    met
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// A run that meets nothing shows nothing.
#[test]
fn the_runs_go_everywhere() {
    let outcomes: Vec<Outcome> = SEEDS.iter().map(|seed| run(*seed)).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|one| one.sessions) > 20, "{outcomes:?}");
    assert!(sum(|one| one.messages as u64) > 100, "{outcomes:?}");
    assert!(sum(|one| one.parked) > 20, "{outcomes:?}");
    assert!(sum(|one| one.commits_failed) > 0, "{outcomes:?}");
    assert!(sum(|one| one.refused) > 0, "{outcomes:?}");
    assert!(sum(|one| one.slow_readers) > 0, "{outcomes:?}");
    assert!(sum(|one| one.power_cuts as u64) > 3, "{outcomes:?}");
    assert!(sum(|one| one.promises as u64) > 20, "{outcomes:?}");
    assert!(sum(|one| one.slowed) > 0, "{outcomes:?}");
    assert!(sum(|one| one.shed) > 0, "{outcomes:?}");
    let met = met(&outcomes);
    if let Some((name, _)) = met.named().into_iter().find(|(_, count)| *count == 0) {
        panic!("no run meets {name}: {met:?}");
    }
}
