//! The transcripts, played against the core: each whole, byte by byte and in seeded cuts.

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
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
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
