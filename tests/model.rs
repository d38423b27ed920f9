//! The negotiation automaton against an independent model, and what may not cross the flip.
//!
//! ```text
//! operations ──▶ core (sans-IO) ──bytes──▶ heard::words ─┐
//!            └─▶ automaton::Model ──words────────────────┴─▶ the same, or the list of operations is shown
//! ```
//!
//! The model is written from the documents. Walks are exhaustive (every state that it can be in × every operation; all
//! short sequences) and random. `SEED=… cargo test --test model` replays a random walk, `WALKS=…` makes so many.

#[path = "model/automaton.rs"]
mod automaton;
#[path = "common/bare.rs"]
mod bare;
#[path = "model/heard.rs"]
mod heard;
#[path = "model/injection.rs"]
mod injection;
#[path = "model/pair.rs"]
mod pair;
#[path = "model/words.rs"]
mod words;

use automaton::Model;
use pair::{Pair, WORLDS, operations};
use std::collections::BTreeSet;
use stonechat::random::Random;
use words::{Op, Word};

/// Random walks, where no number is given.
const WALKS: u64 = 300;
/// Operations of one: fewer than the elements that a negotiation may have.
const STEPS: usize = 40;

/// Every state that the model can be in, each with every operation: the whole product, by shortest ways.
#[test]
fn every_state_meets_every_operation() {
    let (mut cells, mut faults) = (0, Vec::new());
    for world in WORLDS {
        let first = Model::new(world.0, world.1);
        let mut seen = BTreeSet::from([first.clone()]);
        let mut ways: Vec<(Model, Vec<Op>)> = vec![(first, Vec::new())];
        while let Some((model, way)) = ways.pop() {
            // Once one word waits behind a gate, what opens the gate is of interest, not a second one.
            let fits = |op: &Op| model.allows(*op) && (model.kernel.is_empty() || !matches!(op, Op::Say(_)));
            // What waits behind the first password waits in the same way behind the second; and inside TLS it does not
            // matter how TLS came about, or whether it had to.
            let is_known = !model.kernel.is_empty() && model.logins > 1;
            if is_known || model.is_secure && world != WORLDS[0] {
                continue;
            }
            for op in operations().into_iter().filter(fits) {
                let mut pair = Pair::new(world);
                way.iter().for_each(|op| pair.apply(*op).unwrap());
                cells += 1;
                if let Err(fault) = pair.apply(op) {
                    faults.push(fault);
                    continue;
                }
                let is_new = seen.insert(pair.model.clone());
                if is_new && !pair.is_over() {
                    ways.push((pair.model, [&way[..], &[op]].concat()));
                }
            }
        }
        println!("model/states count={} tls_required={} direct={}", seen.len(), world.0, world.1);
    }
    println!("model/cells count={cells}");
    assert!(faults.is_empty(), "{} divergences:\n{}", faults.len(), faults[..faults.len().min(40)].join("\n"));
}

/// All sequences of three words from the beginning of a stream, in the clear and inside TLS.
#[test]
fn all_short_sequences() {
    let words = Word::ALL.map(Op::Say);
    for world in WORLDS {
        for first in words {
            for second in words {
                let mut pair = Pair::new(world);
                if world.1 {
                    pair.apply(Op::Secure).unwrap();
                }
                for op in [first, second] {
                    if pair.allows(op) {
                        pair.apply(op).unwrap_or_else(|fault| panic!("{fault}"));
                    }
                }
            }
        }
    }
}

fn walk(seed: u64) -> Result<(), String> {
    let mut random = Random::seeded(seed);
    let mut below = |bound: usize| usize::try_from(random.next_u64() % bound as u64).unwrap_or_default();
    let mut pair = Pair::new(WORLDS[below(WORLDS.len())]);
    let all = operations();
    for _ in 0..STEPS {
        let fitting: Vec<Op> = all.iter().copied().filter(|op| pair.allows(*op) && !ends(*op)).collect();
        // An end is the end of the walk: seldom.
        let op = if below(60) == 0 { all[below(all.len())] } else { fitting[below(fitting.len())] };
        if pair.allows(op) {
            pair.apply(op)?;
        }
        if pair.is_over() {
            break;
        }
    }
    Ok(())
}

fn ends(op: Op) -> bool {
    matches!(op, Op::Late | Op::Shutdown | Op::HangUp | Op::FailTls)
}

#[test]
fn random_walks() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WALKS").unwrap_or(WALKS),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| walk(seed)).unwrap_or_else(|_| Err("it panics".into()));
        outcome.unwrap_or_else(|fault| panic!("SEED={seed} diverges: {fault}"));
    }
}
