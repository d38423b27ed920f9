//! Small benches: what single operations of the server cost, in memory, without a socket or a disk.
//!
//! ```text
//! cargo bench --bench small                      # all: time and allocations, a line each
//! benches/instructions.py                        # all: instructions, compared with benches/instructions.txt
//! … small --list                                 # names and operations, for that script
//! … small --case NAME                            # one, with nothing around it, for callgrind
//! ```
//!
//! Inputs are fixed, and each result is checked. What only a client or a test does is not measured.

// A bench reads the clock; the library does not.
#![allow(clippy::disallowed_methods)]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/counting.rs"]
mod counting;
mod driver;
mod frames;
mod meter;
mod parts;
#[path = "../load/scram.rs"]
#[allow(dead_code, reason = "the load test uses more of it")]
mod scram;
mod sessions;
#[path = "../../tests/common/sim.rs"]
mod sim;
mod tls;
#[path = "../../tests/tls_common/mod.rs"]
mod tls_common;

use meter::Meter;
use std::process::ExitCode;

/// A name, the operations of one run under callgrind, and the run.
type Case = (&'static str, u32, fn(u32, &mut Meter));

const CASES: &[Case] = &[
    ("framer", 1000, frames::framer),
    ("check", 1000, frames::check),
    ("check_attributes", 200, frames::check_attributes),
    ("check_text", 200, frames::check_text),
    ("relay", 1000, frames::relayed),
    ("tree", 200, frames::tree),
    ("jid_ascii", 1000, parts::jid_ascii),
    ("jid_unicode", 200, parts::jid_unicode),
    ("route", 1000, sessions::route),
    ("presence", 100, sessions::presence),
    ("roster", 50, sessions::roster),
    ("arrival", 20, sessions::arrival),
    ("offline", 50, sessions::offline),
    ("login_scram", 20, sessions::login_scram),
    ("login_plain", 20, sessions::login_plain),
    ("scram", 100, parts::scram),
    ("flip", 20, tls::flip),
    ("flip_resumed", 20, tls::flip_resumed),
    ("flip_tls12", 20, tls::flip_tls12),
    ("record", 500, tls::record),
    ("store", 100, parts::store),
];

/// How many times more operations are timed than callgrind counts.
const TIMED: u32 = 50;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => CASES.iter().for_each(|(name, ops, _)| println!("{name} {ops}")),
        ["--case", name] => match CASES.iter().find(|case| case.0 == name) {
            Some((_, ops, run)) => run(*ops, &mut Meter::of_time()),
            None => return usage(&format!("no case is called {name}")),
        },
        [] => CASES.iter().for_each(tell),
        _ => return usage("what is asked for?"),
    }
    ExitCode::SUCCESS
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}\nusage: small [--list | --case NAME]");
    ExitCode::from(2)
}

fn tell((name, ops, run): &Case) {
    let mut counting = Meter::of_allocations();
    run(*ops, &mut counting);
    let mut timing = Meter::of_time();
    let timed = ops * TIMED;
    run(timed, &mut timing);
    let ns = timing.spent.as_nanos() as f64 / f64::from(timed);
    let allocations = counting.allocations as f64 / f64::from(*ops);
    println!("small/{name} ops={timed} ns_per_op={ns:.0} allocations_per_op={allocations:.2}");
}
