//! Reads a transcript's text.

use super::expand::parts;
use super::pattern::Pattern;
use super::{Act, DEFAULT_CLIENT, Login, Part, Place, Script, ScriptError, Setting, Step};

/// Settings that a script may ask for; `README.md` beside the transcripts says what each means.
const SETTINGS: &[&str] = &[
    "about",
    "account",
    "admin",
    "contact",
    "invite",
    "registration",
    "friends",
    "anonymous",
    "certificate",
    "component",
    "client-certificate",
    "domain",
    "legacy",
    "listener",
    "offline-messages",
    "prosody",
    "tls-required",
];

/// The SASL mechanisms that the harness can play.
const MECHANISMS: &[&str] = &["plain", "scram-sha-1", "scram-sha-1-plus", "scram-sha-256", "scram-sha-256-plus"];

/// Parts inside parts, at most.
const DEPTH_MAX: usize = 4;

/// Finds the text of a part by its name.
pub(super) type FindPart<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn parse(name: &str, text: &str, find_part: FindPart<'_>) -> Result<Script, ScriptError> {
    let mut script = Script { name: name.to_owned(), settings: Vec::new(), steps: Vec::new() };
    Reader { file: name, find_part, depth: 0, client: None, script: &mut script }.read(text)?;
    if script.steps.is_empty() {
        return Err(ScriptError {
            place: Place { file: name.to_owned(), line: 1 },
            message: "a script needs at least one C: or S: line".to_owned(),
        });
    }
    Ok(script)
}

struct Reader<'a> {
    file: &'a str,
    find_part: FindPart<'a>,
    depth: usize,
    /// Inside a part: who plays it.
    client: Option<&'a str>,
    script: &'a mut Script,
}

/// A `C:`, `S:` or `S=:` line with its continuation lines.
struct Block {
    line: usize,
    client: String,
    kind: Kind,
    /// In a C: block continuation lines are already joined; in an S: block they end in newlines.
    text: String,
    whole: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Client,
    Server,
    ServerBytes,
    ServerMaybe,
}

impl Reader<'_> {
    fn read(&mut self, text: &str) -> Result<(), ScriptError> {
        let mut open: Option<Block> = None;
        let mut whole = false;
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim_end());
            if line.starts_with('#') {
                continue;
            }
            if line.is_empty() {
                self.finish(&mut open)?;
                whole = false;
            } else if line.starts_with(char::is_whitespace) {
                let block = open.as_mut().ok_or_else(|| self.error(number, "nothing stands above this line"))?;
                block.continue_with(line.trim_start());
            } else if let Some(setting) = line.strip_prefix('@') {
                self.finish(&mut open)?;
                self.setting(number, setting)?;
            } else if let Some(block) = self.block(number, line, whole) {
                match &mut open {
                    Some(last) if whole && last.whole && block.kind == Kind::Client => last.text.push_str(&block.text),
                    _ => {
                        self.finish(&mut open)?;
                        open = Some(block);
                    }
                }
            } else {
                self.finish(&mut open)?;
                whole = self.mark(number, line)?;
            }
        }
        self.finish(&mut open)
    }

    fn error(&self, line: usize, message: impl Into<String>) -> ScriptError {
        ScriptError { place: self.place(line), message: message.into() }
    }

    fn place(&self, line: usize) -> Place {
        Place { file: self.file.to_owned(), line }
    }

    fn setting(&mut self, line: usize, text: &str) -> Result<(), ScriptError> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let name = words.next().unwrap_or_default();
        if !SETTINGS.contains(&name.as_str()) {
            return Err(self.error(line, format!("`@{name}` is not known; known are {}", SETTINGS.join(", "))));
        }
        if !self.script.steps.is_empty() || self.depth > 0 {
            return Err(self.error(line, "settings stand above the first step, and not in a part"));
        }
        self.script.settings.push(Setting { line, name, words: words.collect() });
        Ok(())
    }

    /// Reads `[client ]C: …`; `None` if the line is something else.
    fn block(&self, line: usize, text: &str, whole: bool) -> Option<Block> {
        let (client, text) = self.client_of(text);
        let kinds =
            [("C:", Kind::Client), ("S:", Kind::Server), ("S=:", Kind::ServerBytes), ("S?:", Kind::ServerMaybe)];
        let (kind, text) = kinds.iter().find_map(|(mark, kind)| Some((*kind, text.strip_prefix(mark)?)))?;
        let whole = whole && kind == Kind::Client;
        Some(Block { line, client, kind, text: text.trim_start().to_owned(), whole })
    }

    /// Takes a client's name off the front: one word before `C:`, `S:` or `--`.
    fn client_of<'t>(&self, text: &'t str) -> (String, &'t str) {
        let default = self.client.unwrap_or(DEFAULT_CLIENT);
        let named = text.split_once(' ').filter(|(word, rest)| {
            let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            is_name
                && !word.starts_with('-')
                && ["C:", "S:", "S=:", "S?:", "--"].iter().any(|mark| rest.starts_with(mark))
        });
        named.map_or((default.to_owned(), text), |(name, rest)| (name.to_owned(), rest))
    }

    fn finish(&mut self, open: &mut Option<Block>) -> Result<(), ScriptError> {
        let Some(block) = open.take() else {
            return Ok(());
        };
        let act = block.act().map_err(|message| self.error(block.line, message))?;
        self.script.steps.push(Step { place: self.place(block.line), client: block.client, act });
        Ok(())
    }

    /// Reads a `--mark--` line; returns whether the next C: lines arrive in one read.
    fn mark(&mut self, line: usize, text: &str) -> Result<bool, ScriptError> {
        let (client, text) = self.client_of(text);
        let inner = text.strip_prefix("--").and_then(|text| text.strip_suffix("--"));
        let unknown = || self.error(line, format!("`{text}` is neither C:, S:, S=:, @setting nor a --mark--"));
        let words: Vec<&str> = inner.ok_or_else(unknown)?.split_whitespace().collect();
        let act = match words.as_slice() {
            ["one-segment"] => return Ok(true),
            ["play", name, variables @ ..] => return self.play(line, &client, name, variables).map(|()| false),
            ["tls"] => Act::Flip,
            ["close"] => Act::Close { at_once: false },
            ["close", "at", "once"] => Act::Close { at_once: true },
            ["drop"] => Act::Drop,
            ["nothing"] => Act::Nothing,
            ["wait", count, "ms"] => {
                Act::Wait { ms: count.parse().map_err(|_| self.error(line, format!("`{count}` is no number")))? }
            }
            _ => return Err(unknown()),
        };
        self.script.steps.push(Step { place: self.place(line), client, act });
        Ok(false)
    }

    /// `--play login user=alice--`: the part's text with `$user` replaced, played by this client.
    fn play(&mut self, line: usize, client: &str, name: &str, variables: &[&str]) -> Result<(), ScriptError> {
        let text = (self.find_part)(name).ok_or_else(|| self.error(line, format!("there is no part `{name}`")))?;
        if self.depth == DEPTH_MAX {
            return Err(self.error(line, "parts play each other too deep"));
        }
        let text = substitute(&text, variables).map_err(|message| self.error(line, message))?;
        let file = format!("{}:{line} → parts/{name}.txt", self.file);
        let script = &mut *self.script;
        let depth = self.depth + 1;
        Reader { file: &file, find_part: self.find_part, depth, client: Some(client), script }.read(&text)
    }
}

impl Block {
    /// In what a client sends a line break inside a tag is one space, elsewhere it is nothing: scripts
    /// are laid out for the reader, and clients send no white space during negotiation.
    fn continue_with(&mut self, line: &str) {
        let inside_tag = self.text.rfind('<') > self.text.rfind('>');
        match self.kind {
            Kind::Server | Kind::ServerMaybe => self.text.push('\n'),
            Kind::Client | Kind::ServerBytes if inside_tag => self.text.push(' '),
            Kind::Client | Kind::ServerBytes => {}
        }
        self.text.push_str(line);
    }

    fn act(&self) -> Result<Act, String> {
        match self.kind {
            Kind::Server => Ok(Act::Expect(Pattern::parse(&self.text)?)),
            Kind::ServerMaybe => Ok(Act::Maybe(Pattern::parse(&self.text)?)),
            Kind::ServerBytes => Ok(Act::ExpectBytes(non_empty(parts(&self.text)?)?)),
            Kind::Client => match login(&self.text)? {
                Some(login) => Ok(Act::Login(login)),
                None => Ok(Act::Send { parts: non_empty(parts(&self.text)?)?, whole: self.whole }),
            },
        }
    }
}

fn non_empty(parts: Vec<Part>) -> Result<Vec<Part>, String> {
    if parts.is_empty() { Err("nothing stands behind the colon".to_owned()) } else { Ok(parts) }
}

/// Reads `{scram-sha-256 alice secret key=value…}`.
fn login(text: &str) -> Result<Option<Login>, String> {
    let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return Ok(None);
    };
    let words: Vec<&str> = inner.split_whitespace().collect();
    let [mechanism, rest @ ..] = words.as_slice() else {
        return Ok(None);
    };
    if !MECHANISMS.contains(mechanism) {
        return Ok(None);
    }
    let [user, password, options @ ..] = rest else {
        return Err(format!("`{{{mechanism} user password}}` is expected"));
    };
    let mut login = Login {
        mechanism: mechanism.to_ascii_uppercase(),
        user: (*user).to_owned(),
        password: (*password).to_owned(),
        prefix: None,
        binding: None,
        fails: None,
        flag: None,
    };
    for option in options {
        let slot = match option.split_once('=') {
            Some(("prefix", value)) => (&mut login.prefix, value),
            Some(("binding", value)) => (&mut login.binding, value),
            Some(("fails", value)) => (&mut login.fails, value),
            Some(("flag", value)) => (&mut login.flag, value),
            _ => return Err(format!("`{option}` is not prefix=, binding=, fails= or flag=")),
        };
        *slot.0 = Some(slot.1.to_owned());
    }
    Ok(Some(login))
}

/// Replaces `$name`; every variable must be used and every `$name` known. `$$` is a dollar sign.
fn substitute(text: &str, variables: &[&str]) -> Result<String, String> {
    let mut known = Vec::new();
    for variable in variables {
        let pair = variable.split_once('=').ok_or_else(|| format!("`{variable}` is not name=value"))?;
        known.push((pair.0, pair.1, false));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let found = known.iter_mut().find(|(name, ..)| *name == &rest[..end]);
        let found = found.ok_or_else(|| format!("the part needs a value for `${}`", &rest[..end]))?;
        found.2 = true;
        out.push_str(found.1);
        rest = &rest[end..];
    }
    out.push_str(rest);
    match known.iter().find(|(.., used)| !used) {
        Some((name, ..)) => Err(format!("the part has no `${name}`")),
        None => Ok(out),
    }
}
