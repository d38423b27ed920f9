//! Transcripts: what a client says and what the server must answer, written as plain text.
//!
//! ```text
//! tests/transcripts/*.txt ──parse──▶ Script ──play──▶ Peer (the server under test)
//! ```
//!
//! The format is described in `tests/transcripts/README.md`. Nothing here knows the server: whoever
//! implements [`Peer`] decides whether a script runs against the sans-IO core or over a real socket.
//! `parse` reads the text, `expand` the directives in braces, `xml` cuts bytes into tokens, `pattern`
//! compares tokens, `scram` is the client's side of SASL, `play` walks through the steps.

mod expand;
mod parse;
mod pattern;
mod play;
mod scram;
#[cfg(test)]
mod tests;
mod xml;

pub use play::{Cut, Mismatch, Peer, play};

use pattern::Pattern;
use std::fmt;
use std::path::Path;

/// One parsed transcript.
#[derive(Debug)]
pub struct Script {
    /// The file's name, or what [`Script::parse`] was given.
    pub name: String,
    /// The `@name word…` lines, in order.
    pub settings: Vec<Setting>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One `@name word…` line: what the server under test must be set up with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// Where it stands.
    pub line: usize,
    /// The word behind `@`.
    pub name: String,
    /// What follows it.
    pub words: Vec<String>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it is written: a file's name and a line.
    pub place: Place,
    /// Whose connection it concerns. [`DEFAULT_CLIENT`] where the script names none.
    pub client: String,
    /// What happens.
    pub act: Act,
}

/// A file and a line in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The transcript's name, or that of a part that it plays.
    pub file: String,
    /// Counted from one.
    pub line: usize,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Act {
    /// `C:` the client sends these bytes. `whole` ones arrive in one read, whatever the cut.
    Send { parts: Vec<Part>, whole: bool },
    /// `S:` the server has said this, compared as XML.
    Expect(Pattern),
    /// `S?:` the server may have said this here, or not.
    Maybe(Pattern),
    /// `S=:` the server has said exactly these bytes.
    ExpectBytes(Vec<Part>),
    /// `C: {scram-sha-256 alice secret}` and its like: a whole SASL conversation.
    Login(Login),
    /// `--tls--` the handshake happens here.
    Flip,
    /// `--close--` the server has closed TCP: now, or after its bounded wait for the client.
    Close { at_once: bool },
    /// `--drop--` the client's TCP connection is gone without a word.
    Drop,
    /// `--nothing--` the server has said nothing.
    Nothing,
    /// `--wait N ms--` time passes.
    Wait { ms: u64 },
}

/// A piece of what the client sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What an earlier `{name}` matched; `{client.name}` reaches another client's.
    Captured { client: Option<String>, name: String },
    /// What a component says that knows this secret (XEP-0114 §3).
    Handshake { secret: String },
}

/// A SASL conversation played by the harness, with every value checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// `PLAIN`, `SCRAM-SHA-1`, `SCRAM-SHA-256-PLUS` and so on.
    pub mechanism: String,
    /// The simple user name.
    pub user: String,
    /// The password.
    pub password: String,
    /// `prefix=sasl`: XEP-0034's conversation under that prefix; else RFC 6120's.
    pub prefix: Option<String>,
    /// `binding=tls-exporter`: the channel binding type of a -PLUS mechanism.
    pub binding: Option<String>,
    /// `fails=not-authorized`: the condition that must come instead of success.
    pub fails: Option<String>,
    /// `flag=y`: the GS2 flag sent, where it is not the one that the mechanism's name calls for.
    pub flag: Option<String>,
}

/// The client of scripts that name none.
pub const DEFAULT_CLIENT: &str = "client";

/// A fault in a script's own text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScriptError {
    /// Where.
    pub place: Place,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Script {
    /// Reads a script from a file; the parts that it plays lie in `parts/` beside it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its text is not a script.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let place = Place { file: name.clone(), line: 0 };
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| ScriptError { place: place.clone(), message: format!("{}: {error}", path.display()) })
        };
        let folder = path.with_file_name("parts");
        let part = |name: &str| read(&folder.join(format!("{name}.txt"))).ok();
        parse::parse(&name, &read(path)?, &part)
    }

    /// Parses a script that plays no parts.
    ///
    /// # Errors
    ///
    /// The text is not a script.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScriptError> {
        parse::parse(name, text, &|_| None)
    }

    /// The words of the first setting of this name.
    pub fn setting(&self, name: &str) -> Option<&[String]> {
        self.settings(name).next()
    }

    /// The words of every setting of this name.
    pub fn settings(&self, name: &str) -> impl Iterator<Item = &[String]> {
        self.settings.iter().filter(move |setting| setting.name == name).map(|setting| setting.words.as_slice())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
