//! The transcripts, played against the core: each whole, byte by byte and in seeded cuts.
//!
//! `TRANSCRIPTS=roster_ cargo test --test transcripts` plays those whose names begin so.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::{Cut, Script, play};
use sim::{Setup, Sim};
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = std::fs::read_dir(&folder).unwrap();
    let wanted = std::env::var("TRANSCRIPTS").unwrap_or_default();
    let is_wanted = |name: &str| name.ends_with(".txt") && name.starts_with(&wanted);
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_wanted))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no transcript's name begins with {wanted}");
    files
}

/// Framing must not depend on where reads fall.
#[test]
fn every_transcript_holds_in_every_chunking() {
    let mut faults = Vec::new();
    for path in files() {
        let script = Script::load(&path).unwrap_or_else(|error| panic!("{error}"));
        for cut in [Cut::Whole, Cut::EveryByte, Cut::Seeded(0x5222), Cut::Seeded(0x5223)] {
            let mut sim = Sim::new(&Setup::of(&script));
            if let Err(mismatch) = play(&script, cut, &mut sim) {
                faults.push(format!("{cut:?}: {mismatch}"));
                break;
            }
        }
    }
    assert!(faults.is_empty(), "{} of {} transcripts:\n\n{}", faults.len(), files().len(), faults.join("\n\n"));
}
