//! Negotiation by lists of operations, against the model of `tests/model/`.

use super::Bytes;
use super::pair::{Pair, WORLDS, operations};

/// More than this is only more of the same; and below the elements that one negotiation may have.
const STEPS_MAX: usize = 40;

pub const SEEDS: &[&[u8]] =
    &[b"\0\0\x07\x23\x24\0\x09\x26\0\x17", b"\x01\0\x0A\x0D\0\x17", b"\x02\x24\x02\x0F\x26\x19"];

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut pair = Pair::new(WORLDS[bytes.below(WORLDS.len())]);
    let all = operations();
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() || pair.is_over() {
            return;
        }
        let op = all[bytes.below(all.len())];
        if pair.allows(op) {
            pair.apply(op).unwrap_or_else(|fault| panic!("{fault}"));
        }
    }
}
