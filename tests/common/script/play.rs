//! Walks through a script with a peer, and says what differed.

use super::pattern::{Captures, Fault, Pattern};
use super::scram::{Scram, plain};
use super::{Act, Login, Part, Place, Script, Step};
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use stonechat::crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The server under test, seen from its clients.
pub trait Peer {
    /// What follows concerns this client. Its connection is opened the first time it is named.
    fn select(&mut self, client: &str);
    /// The client's bytes reach the server, as one read. Silently lost once the server has closed.
    fn send(&mut self, bytes: &[u8]);
    /// What the server has said since the last call, decrypted.
    fn received(&mut self) -> Vec<u8>;
    /// The TLS handshake happens, and succeeds.
    fn flip(&mut self);
    /// Whether the server has closed the TCP connection.
    fn closed(&self) -> bool;
    /// Time passes.
    fn advance(&mut self, ms: u64);
    /// The client's TCP connection is cut.
    fn drop_connection(&mut self);
    /// Gives the server a chance to say what is expected; false if it certainly will not. Over sockets this waits, as
    /// long as a busy machine may take.
    fn wait(&mut self) -> bool {
        false
    }
    /// The same where it may well be silent. Over sockets this waits a moment.
    fn pause(&mut self) -> bool {
        false
    }
    /// The client's channel binding data of this type.
    fn channel_binding(&mut self, _kind: &str) -> Option<Vec<u8>> {
        None
    }
}

/// Where the reads fall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// Every C: block arrives in one read.
    Whole,
    /// Every byte arrives alone.
    EveryByte,
    /// Reads of pseudo-random lengths from this seed.
    Seeded(u64),
}

/// Where the server departed from the script.
#[derive(Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// The step.
    pub place: Place,
    /// Whose connection.
    pub client: String,
    /// What differed.
    pub reason: String,
    /// What the step expects, as written; empty for steps that expect nothing.
    pub expected: String,
    /// What the server had said and no step had taken.
    pub received: String,
}

/// What a server may still wait for the client before it closes TCP.
const LINGER_S_MAX: u64 = 60;
/// How long a server may hold back the answer to a login.
const SLOWED_S_MAX: u64 = 20;

/// Plays `script`; every byte that the server says must be expected by it.
///
/// # Errors
///
/// The first difference.
pub fn play(script: &Script, cut: Cut, peer: &mut dyn Peer) -> Result<(), Mismatch> {
    let mut player = Player { peer, cutter: Cutter::new(cut), clients: BTreeMap::new(), captures: Captures::new() };
    for (index, step) in script.steps.iter().enumerate() {
        player.step(step, index)?;
    }
    match script.steps.last() {
        Some(last) => player.end(last),
        None => Ok(()),
    }
}

struct Player<'a> {
    peer: &'a mut dyn Peer,
    cutter: Cutter,
    clients: BTreeMap<String, Client>,
    captures: Captures,
}

/// What is known of one client's connection.
#[derive(Default)]
struct Client {
    /// Said by the server, not yet taken by a step.
    pending: Vec<u8>,
    /// All that was said on this stream, for XEP-0474.
    stream: String,
    /// A step has seen the end of the connection.
    ended: bool,
}

type Outcome = Result<(), String>;

impl Player<'_> {
    fn step(&mut self, step: &Step, index: usize) -> Result<(), Mismatch> {
        self.peer.select(&step.client);
        self.clients.entry(step.client.clone()).or_default();
        let who = step.client.as_str();
        let outcome = match &step.act {
            Act::Send { parts, whole } => self.send(who, parts, *whole),
            Act::Expect(pattern) => self.expect(who, pattern),
            Act::Maybe(pattern) => {
                // What does not fit stays for the steps that follow.
                let _absent = self.expect(who, pattern);
                Ok(())
            }
            Act::ExpectBytes(parts) => self.expect_bytes(who, parts),
            Act::Login(login) => self.login(who, login, index),
            Act::Flip => self.flip(who),
            Act::Close { at_once } => self.close(who, *at_once),
            Act::Drop => self.drop_connection(who),
            Act::Nothing => self.silent(who),
            Act::Wait { ms } => {
                self.peer.advance(*ms);
                Ok(())
            }
        };
        outcome.map_err(|reason| self.mismatch(step, reason))
    }

    /// Nothing may be left over, and no connection closed that the script thinks open.
    fn end(&mut self, last: &Step) -> Result<(), Mismatch> {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            self.peer.select(&name);
            let step = Step { client: name.clone(), ..last.clone() };
            self.silent(&name).map_err(|reason| self.mismatch(&step, reason))?;
            if self.peer.closed() && !self.client(&name).ended {
                return Err(self.mismatch(&step, "the server has closed the connection".to_owned()));
            }
        }
        Ok(())
    }

    fn mismatch(&mut self, step: &Step, reason: String) -> Mismatch {
        let expected = match &step.act {
            Act::Expect(pattern) => pattern.text().to_owned(),
            _ => String::new(),
        };
        let received = String::from_utf8_lossy(&self.client(&step.client).pending).into_owned();
        Mismatch { place: step.place.clone(), client: step.client.clone(), reason, expected, received }
    }

    fn client(&mut self, who: &str) -> &mut Client {
        self.clients.entry(who.to_owned()).or_default()
    }

    /// Takes what the server has said into the client's buffer.
    fn listen(&mut self, who: &str) {
        let bytes = self.peer.received();
        let client = self.client(who);
        client.stream.push_str(&String::from_utf8_lossy(&bytes));
        client.pending.extend_from_slice(&bytes);
    }

    fn send(&mut self, who: &str, parts: &[Part], whole: bool) -> Outcome {
        let bytes = self.bytes(who, parts)?;
        self.silent(who)?;
        if self.peer.closed() {
            return Err("the server has closed the connection before this was sent".to_owned());
        }
        self.send_bytes(who, &bytes, whole);
        Ok(())
    }

    fn send_bytes(&mut self, who: &str, bytes: &[u8], whole: bool) {
        if whole {
            self.peer.send(bytes);
        } else {
            let mut rest = bytes;
            while !rest.is_empty() {
                let (read, after) = rest.split_at(self.cutter.next(rest.len()));
                self.peer.send(read);
                rest = after;
            }
        }
        self.listen(who);
    }

    fn bytes(&self, who: &str, parts: &[Part]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Handshake { secret } => {
                    let id = self.captures.get(&(who.to_owned(), "id".to_owned()));
                    let id = id.ok_or("`{id}` has matched nothing yet")?;
                    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{secret}").as_bytes());
                    out.extend(hash.as_ref().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
                }
                Part::Captured { client, name } => {
                    let key = (client.as_deref().unwrap_or(who).to_owned(), name.clone());
                    let value = self.captures.get(&key);
                    let value = value.ok_or_else(|| format!("`{{{name}}}` has matched nothing yet"))?;
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        Ok(out)
    }

    fn expect(&mut self, who: &str, pattern: &Pattern) -> Outcome {
        loop {
            self.listen(who);
            let client = self.clients.entry(who.to_owned()).or_default();
            let valid = match std::str::from_utf8(&client.pending) {
                Ok(text) => text,
                Err(error) => str::from_utf8(&client.pending[..error.valid_up_to()]).unwrap_or_default(),
            };
            match pattern.take(valid, who, &mut self.captures) {
                Ok(end) => {
                    client.pending.drain(..end);
                    return Ok(());
                }
                Err(Fault::Differs(reason)) => return Err(reason),
                Err(Fault::Short(_)) if self.peer.wait() => {}
                Err(Fault::Short(next)) => return Err(format!("expected {next}, but no more came")),
            }
        }
    }

    fn expect_bytes(&mut self, who: &str, parts: &[Part]) -> Outcome {
        let wanted = self.bytes(who, parts)?;
        loop {
            self.listen(who);
            let pending = &mut self.client(who).pending;
            if pending.starts_with(&wanted) {
                pending.drain(..wanted.len());
                return Ok(());
            }
            let so_far_good = wanted.starts_with(pending);
            if !so_far_good || !self.peer.wait() {
                return Err(format!("expected the bytes `{}`", String::from_utf8_lossy(&wanted)));
            }
        }
    }

    /// Nothing but white space may be waiting.
    fn silent(&mut self, who: &str) -> Outcome {
        self.listen(who);
        let pending = &mut self.client(who).pending;
        if pending.iter().all(u8::is_ascii_whitespace) {
            pending.clear();
            Ok(())
        } else {
            Err("the server said what no step expects".to_owned())
        }
    }

    fn flip(&mut self, who: &str) -> Outcome {
        self.silent(who)?;
        if self.peer.closed() {
            return Err("the server has closed the connection before the handshake".to_owned());
        }
        self.peer.flip();
        self.client(who).stream.clear();
        Ok(())
    }

    fn close(&mut self, who: &str, at_once: bool) -> Outcome {
        while !self.peer.closed() && if at_once { self.peer.wait() } else { self.peer.pause() } {}
        for _ in 0..LINGER_S_MAX {
            if at_once || self.peer.closed() {
                break;
            }
            self.peer.advance(1_000);
            while !self.peer.closed() && self.peer.pause() {}
        }
        self.silent(who)?;
        self.client(who).ended = true;
        if self.peer.closed() { Ok(()) } else { Err("the server has not closed the connection".to_owned()) }
    }

    fn drop_connection(&mut self, who: &str) -> Outcome {
        self.silent(who)?;
        self.peer.drop_connection();
        self.client(who).ended = true;
        Ok(())
    }

    fn login(&mut self, who: &str, login: &Login, turn: usize) -> Outcome {
        self.silent(who)?;
        let words = Words::of(login);
        if login.mechanism == "PLAIN" {
            self.send_bytes(who, words.auth(&login.mechanism, &plain(login)).as_bytes(), false);
            return match &login.fails {
                Some(condition) => self.expect_in_time(who, &words.failure(condition)?),
                None => self.expect_in_time(who, &words.success()?),
            };
        }
        let binding = login.binding.as_deref().and_then(|kind| self.peer.channel_binding(kind));
        let mut scram = Scram::new(login, binding, &format!("transcript{turn}"))?;
        self.send_bytes(who, words.auth(&login.mechanism, &scram.first()).as_bytes(), false);
        if let Some(condition) = &login.fails
            && self.expect_in_time(who, &words.failure(condition)?).is_ok()
        {
            return Ok(());
        }
        let challenge = self.data(who, &words.challenge()?)?;
        let mut offered = self.client(who).stream.clone();
        if let Some(prefix) = &login.prefix {
            offered = offered.replace(&format!("{prefix}:"), "");
        }
        let last = scram.last(&challenge, &offered)?;
        self.send_bytes(who, words.response(&last).as_bytes(), false);
        if let Some(condition) = &login.fails {
            return self.expect_in_time(who, &words.failure(condition)?);
        }
        let verdict = self.data(who, &words.verdict()?)?;
        scram.verify(&verdict)?;
        if words.prefix.is_some() {
            self.send_bytes(who, words.response("").as_bytes(), false);
            self.expect_in_time(who, &words.success()?)?;
        }
        self.client(who).stream.clear();
        Ok(())
    }

    /// Expects what a server may hold back for a while, as one does that slows guessing down.
    fn expect_in_time(&mut self, who: &str, pattern: &Pattern) -> Outcome {
        let mut outcome = self.expect(who, pattern);
        for _ in 0..SLOWED_S_MAX {
            if outcome.is_ok() || !self.client(who).pending.is_empty() || self.peer.closed() {
                break;
            }
            self.peer.advance(1_000);
            outcome = self.expect(who, pattern);
        }
        outcome
    }

    /// Expects an element and returns its text.
    fn data(&mut self, who: &str, pattern: &Pattern) -> Result<String, String> {
        let key = (who.to_owned(), "sasl-data".to_owned());
        self.captures.remove(&key);
        self.expect_in_time(who, pattern)?;
        Ok(self.captures.remove(&key).unwrap_or_default())
    }
}

/// The elements of one SASL profile: RFC 6120's, or XEP-0034's under a prefix.
struct Words {
    prefix: Option<String>,
}

const SASL_NS: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

impl Words {
    fn of(login: &Login) -> Self {
        Self { prefix: login.prefix.clone() }
    }

    /// The element's name and its declaration, if it needs one.
    fn head(&self, name: &str) -> (String, String) {
        match &self.prefix {
            Some(prefix) => (format!("{prefix}:{name}"), String::new()),
            None => (name.to_owned(), format!(" xmlns='{SASL_NS}'")),
        }
    }

    fn element(&self, name: &str, attributes: &str, content: &str) -> String {
        let (name, xmlns) = self.head(name);
        if content.is_empty() {
            format!("<{name}{xmlns}{attributes}/>")
        } else {
            format!("<{name}{xmlns}{attributes}>{content}</{name}>")
        }
    }

    fn auth(&self, mechanism: &str, data: &str) -> String {
        self.element("auth", &format!(" mechanism='{mechanism}'"), data)
    }

    fn response(&self, data: &str) -> String {
        self.element("response", "", data)
    }

    fn challenge(&self) -> Result<Pattern, String> {
        Pattern::parse(&self.element("challenge", "", "{sasl-data}"))
    }

    /// Where the server proves itself: with success, or in XEP-0034 in a last challenge.
    fn verdict(&self) -> Result<Pattern, String> {
        let name = if self.prefix.is_some() { "challenge" } else { "success" };
        Pattern::parse(&self.element(name, "", "{sasl-data}"))
    }

    fn success(&self) -> Result<Pattern, String> {
        Pattern::parse(&self.element("success", "", ""))
    }

    /// XEP-0034 knows no conditions: there a failure is a failure.
    fn failure(&self, condition: &str) -> Result<Pattern, String> {
        let content = match self.prefix {
            Some(_) => "{...}".to_owned(),
            None => format!("<{condition}/>{{...}}"),
        };
        Pattern::parse(&self.element("failure", "", &content))
    }
}

/// Decides how many bytes the next read has.
struct Cutter {
    cut: Cut,
    state: u64,
}

impl Cutter {
    fn new(cut: Cut) -> Self {
        let state = match cut {
            Cut::Seeded(seed) => seed,
            Cut::Whole | Cut::EveryByte => 0,
        };
        Self { cut, state }
    }

    fn next(&mut self, left: usize) -> usize {
        match self.cut {
            Cut::Whole => left,
            Cut::EveryByte => 1,
            Cut::Seeded(_) => {
                // splitmix64: good enough to scatter, and the same everywhere.
                self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut mixed = self.state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                let length = usize::try_from((mixed ^ (mixed >> 31)) % 48).unwrap_or(0) + 1;
                length.min(left)
            }
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{} ({}): {}", self.place, self.client, self.reason);
        if !self.expected.is_empty() {
            write!(text, "\n  expected: {}", self.expected)?;
        }
        if !self.received.is_empty() {
            write!(text, "\n  received: {}", self.received)?;
        }
        f.write_str(&text)
    }
}
