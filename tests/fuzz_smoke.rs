//! The fuzz targets of `fuzz/`, on any toolchain and for a bounded time: their seeds, what has once been found, and
//! mutations of both from a seed.
//!
//! `FUZZ_MS=60000 cargo test --test fuzz_smoke` gives each target a minute; `SEED=…` makes another run;
//! `FUZZ_CORPUS=fuzz/corpus` writes the seeds to where libFuzzer begins.

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};
use stonechat::random::Random;
use targets::{config, jid, keys, lua, negotiation, port, rows, sasl, session, sqlite, tls, xml};

/// Time for each target, where none is given. What it does not reach in this time is no failure.
const FUZZ_MS: u64 = 150;
/// Largest input: larger ones are only more of the same.
const BYTES_MAX: usize = 16 * 1024;

/// What mutations put in.
const TOKENS: &[&[u8]] = &[
    b"<",
    b">",
    b"/>",
    b"</",
    b"'",
    b"\"",
    b"=",
    b"&amp;",
    b"&#x41;",
    b"xmlns='",
    b" xmlns:p='u'",
    b"p:",
    b"xml:",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"<?",
    b"\0",
    b"\xFF",
    b"\xFF\0",
    b"\xC3\xA9",
    b"\xE2\x80\xA8",
    b"@",
    b"/",
    b"type='set'",
    b"type='get'",
    b"type='result'",
    b"type='error'",
    b"to='",
    b"from='",
    b"id='x'",
    b"<item jid='",
    b"subscription='remove'",
    b"unavailable",
    b"subscribe",
    b"romeo@localhost",
    b"juliet@localhost/r",
    b"localhost",
    b"n,,n=juliet,r=",
    b"c=biws",
    b",p=",
    b"return {",
    b"[1]=",
    b"};",
    b"[[",
    b"]]",
    b"\\255",
    b"[limits]\n",
    b"= 1\n",
];

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let mut below = |bound: usize| usize::try_from(random.next_u64() % bound.max(1) as u64).unwrap_or_default();
    let at = below(input.len() + 1);
    let end = (at + below(24)).min(input.len());
    match below(8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = u8::try_from(below(256)).unwrap_or_default();
            }
        }
        2 => drop(input.drain(at..end)),
        3 | 4 => drop(input.splice(at..at, TOKENS[below(TOKENS.len())].iter().copied())),
        5 => drop(input.splice(at..end, TOKENS[below(TOKENS.len())].iter().copied())),
        6 => {
            let piece = input[at..end].to_vec();
            let to = below(input.len() + 1);
            drop(input.splice(to..to, piece));
        }
        _ => {
            let from = below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(BYTES_MAX);
}

/// What has once been found: `fuzz/found/<target>/`.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found").join(name);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[allow(clippy::disallowed_methods, reason = "the time that is given to it; the targets themselves have no clock")]
fn smoke(name: &str, seeds: &[&[u8]], run: fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or(0x5222);
    let mut random = Random::seeded(seed);
    let corpus: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).chain(kept(name)).collect();
    if let Ok(folder) = std::env::var("FUZZ_CORPUS") {
        let folder = Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        corpus
            .iter()
            .enumerate()
            .for_each(|(at, seed)| std::fs::write(folder.join(format!("seed{at}")), seed).unwrap());
    }
    let began = Instant::now();
    let time = Duration::from_millis(number("FUZZ_MS").unwrap_or(FUZZ_MS));
    let mut runs = 0u64;
    let mut attempt = |input: &[u8]| {
        let outcome = std::panic::catch_unwind(|| run(input));
        assert!(outcome.is_ok(), "{name} fails at {:?}", input.escape_ascii().to_string());
        runs += 1;
    };
    corpus.iter().for_each(|input| attempt(input));
    while began.elapsed() < time {
        let mut pick = || &corpus[usize::try_from(random.next_u64() % corpus.len() as u64).unwrap_or_default()];
        let (mut input, other) = (pick().clone(), pick().clone());
        for _ in 0..=random.next_u64() % 4 {
            mutate(&mut input, &other, &mut random);
        }
        attempt(&input);
    }
    println!("fuzz_smoke/{name} runs={runs} ms={}", began.elapsed().as_millis());
}

macro_rules! smokes {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            smoke(stringify!($name), $name::SEEDS, $name::run);
        })*
    };
}

mod runs {
    use super::*;

    smokes!(config, jid, keys, lua, negotiation, port, rows, sasl, session, sqlite, tls, xml);
}
