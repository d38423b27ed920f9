//! The transcripts as texts: each can be read, names its source, and is listed nowhere else.

mod common;

use common::script::Script;
use std::path::{Path, PathBuf};

/// All scripts, in order of their names.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    files
}

#[test]
fn every_transcript_parses() {
    let files = files();
    assert!(files.len() >= 50, "only {} transcripts", files.len());
    let faults: Vec<String> =
        files.iter().filter_map(|path| Script::load(path).err()).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_transcript_says_what_it_shows() {
    for path in files() {
        let script = Script::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let about = script.setting("about");
        assert!(about.is_some_and(|words| !words.is_empty()), "{}: an @about line says what it shows", script.name);
    }
}
