//! XEP-0227, read: a person at a time, strictly, through as many files as are included.
//!
//! ```text
//! File, File, …  each: Pull + where its elements belong (document, server-data, host)
//! ```
//!
//! An included file must lie in the folder of the first file or below it. Includes are followed where the XEP has them:
//! in `server-data`, in `host`, and as children of `user`; deeper ones are user data.

use super::{BLOCKING, PIE, PRIVACY, PRIVATE, ROSTER, SCRAM, STONECHAT, VCARD, XINCLUDE, privacy};
use crate::limits::{INCLUDES_OPEN_MAX, PERSON_BYTES_MAX};
use crate::port::element::Element;
use crate::port::pull::{Open, Piece, Pull};
use crate::port::{Contact, Person, Problem, Source};
use crate::sasl::{ScramHash, ScramKeys, base64};
use crate::xml::CLIENT;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Where the elements that come next belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Document,
    Data,
    Host,
}

/// One file that is being read.
#[derive(Debug)]
struct File {
    path: PathBuf,
    pull: Pull<BufReader<fs::File>>,
    levels: Vec<Level>,
}

/// Reads a file and all that it includes.
#[derive(Debug)]
pub struct Reader {
    /// The folder that includes may not leave.
    folder: PathBuf,
    /// The innermost last.
    files: Vec<File>,
    host: String,
}

impl Reader {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let real = fs::canonicalize(path).map_err(|error| Problem::of_file(path, error))?;
        let folder = real.parent().unwrap_or(&real).to_owned();
        let mut reader = Self { folder, files: Vec::new(), host: String::new() };
        reader.push(real, Level::Document)?;
        Ok(reader)
    }

    fn push(&mut self, path: PathBuf, level: Level) -> Result<(), Problem> {
        let file = fs::File::open(&path).map_err(|error| Problem::of_file(&path, error))?;
        let pull = Pull::new(BufReader::with_capacity(64 * 1024, file), "", PERSON_BYTES_MAX);
        self.files.push(File { path, pull, levels: vec![level] });
        Ok(())
    }

    /// The file that an include of the innermost file means.
    fn included(&self, include: &Open) -> Result<PathBuf, String> {
        let href = include.attr("href").unwrap_or_default();
        let name = href.split('/').next().unwrap_or_default();
        if include.attr("parse").is_some()
            || include.attr("xpointer").is_some()
            || name.is_empty()
            || name.contains(':')
        {
            return Err(format!("the include of {href:?} is not followed: only a relative href alone is"));
        }
        let base = self.files.last().and_then(|file| file.path.parent()).unwrap_or(&self.folder);
        let path = base.join(percent_decoded(href).ok_or_else(|| format!("the include of {href:?} does not decode"))?);
        let path = fs::canonicalize(&path).map_err(|error| format!("the include of {href:?}: {error}"))?;
        if !path.starts_with(&self.folder) {
            return Err(format!("the include of {href:?} leaves the folder of the import"));
        }
        if self.files.len() >= INCLUDES_OPEN_MAX || self.files.iter().any(|file| file.path == path) {
            return Err(format!("the include of {href:?} goes round in a circle, or too deep"));
        }
        Ok(path)
    }

    /// A start tag outside of a user's data. A person, if it was one.
    fn element(&mut self, open: Open, problems: &mut Vec<Problem>) -> Result<Option<Person>, Problem> {
        let Some(file) = self.files.last_mut() else { return Ok(None) };
        let level = file.levels.last().copied().unwrap_or(Level::Document);
        match level {
            Level::Document if open.is(PIE, "server-data") => file.levels.push(Level::Data),
            Level::Document => {
                return Err(Problem::of_file(&file.path, "no file of XEP-0227: its root is not <server-data/>"));
            }
            Level::Data if open.is(PIE, "host") => {
                self.host = open.attr("jid").unwrap_or_default().to_owned();
                file.levels.push(Level::Host);
            }
            Level::Host if open.is(PIE, "user") => return self.user(&open, problems),
            Level::Data | Level::Host if open.is(XINCLUDE, "include") => {
                let result = self.included(&open);
                self.skip()?;
                match result {
                    Ok(path) => self.push(path, level)?,
                    Err(what) => problems.push(self.problem(None, what)),
                }
            }
            Level::Data | Level::Host => {
                problems.push(self.problem(None, format!("not taken over: <{}/> of {:?}", open.name, open.ns)));
                self.skip()?;
            }
        }
        Ok(None)
    }

    fn problem(&self, user: Option<&str>, what: String) -> Problem {
        let file = self.files.last();
        let what = file.map_or(what.clone(), |file| format!("line {}: {what}", file.pull.line()));
        Problem { file: file.map(|file| file.path.clone()).unwrap_or_default(), user: user.map(str::to_owned), what }
    }

    fn skip(&mut self) -> Result<(), Problem> {
        let Some(file) = self.files.last_mut() else { return Ok(()) };
        file.pull.skip().map_err(|fault| Problem::of_file(&file.path, fault))
    }

    fn piece(&mut self) -> Result<Piece, Problem> {
        let Some(file) = self.files.last_mut() else { return Ok(Piece::End) };
        file.pull.piece().map_err(|fault| Problem::of_file(&file.path, fault))
    }

    fn whole(&mut self, open: Open) -> Result<Element, Problem> {
        let Some(file) = self.files.last_mut() else { return Ok(Element::default()) };
        file.pull.element(open).map_err(|fault| Problem::of_file(&file.path, fault))
    }

    /// A `<user/>`, its start tag read.
    fn user(&mut self, open: &Open, problems: &mut Vec<Problem>) -> Result<Option<Person>, Problem> {
        let name = open.attr("name").unwrap_or_default();
        let bare = format!("{name}@{}", self.host);
        let mut person = match Person::new(&self.host, name) {
            Ok(person) => person,
            Err(what) => {
                problems.push(self.problem(None, what));
                self.skip()?;
                return Ok(None);
            }
        };
        let mut tell = |what: String, reader: &Self| problems.push(reader.problem(Some(&bare), what));
        if let Some(Err(what)) = open.attr("password").map(|password| person.set_password(password)) {
            tell(what, self);
        }
        // Files open outside of this user.
        let outside = self.files.len();
        loop {
            match self.piece()? {
                Piece::Open(open) if open.is(XINCLUDE, "include") && self.files.len() == outside => {
                    let result = self.included(&open);
                    self.skip()?;
                    match result {
                        Ok(path) => self.push(path, Level::Host)?,
                        Err(what) => tell(what, self),
                    }
                }
                Piece::Open(open) => {
                    let part = self.whole(open)?;
                    take(&mut person, &part, &mut |what| tell(what, self));
                }
                Piece::Text(text) if text.trim_ascii().is_empty() => {}
                Piece::Text(_) => tell("text between the elements of a user".to_owned(), self),
                Piece::End if self.files.len() > outside => drop(self.files.pop()),
                Piece::Close | Piece::End => break,
            }
        }
        person.offline.sort_by_key(|message| message.stamp_ms);
        Ok(Some(person))
    }
}

impl Source for Reader {
    fn next(&mut self, problems: &mut Vec<Problem>) -> Result<Option<Person>, Problem> {
        while let Some(file) = self.files.last_mut() {
            file.pull.allow(PERSON_BYTES_MAX);
            match self.piece()? {
                Piece::Open(open) => {
                    if let Some(person) = self.element(open, problems)? {
                        return Ok(Some(person));
                    }
                }
                Piece::Close => {
                    if let Some(file) = self.files.last_mut() {
                        file.levels.pop();
                    }
                }
                Piece::Text(text) if text.trim_ascii().is_empty() => {}
                Piece::Text(_) => problems.push(self.problem(None, "text where there is none".to_owned())),
                Piece::End => drop(self.files.pop()),
            }
        }
        Ok(None)
    }
}

/// One element of a user's.
fn take(person: &mut Person, part: &Element, tell: &mut dyn FnMut(String)) {
    let results: Vec<Result<(), String>> = match (part.ns.as_str(), part.name.as_str()) {
        (SCRAM, "scram-credentials") => vec![credentials(part).and_then(|keys| person.add_keys(keys))],
        (STONECHAT, "disabled") => {
            person.disabled = true;
            Vec::new()
        }
        (ROSTER, "query") => {
            let items = part.elements().filter(|item| item.is(ROSTER, "item"));
            items.map(|item| contact(item).and_then(|contact| person.add_contact(contact))).collect()
        }
        (CLIENT, "presence") => vec![person.add_request(part.clone())],
        (BLOCKING, "blocklist") => {
            let items = part.elements().filter(|item| item.is(BLOCKING, "item"));
            items.map(|item| person.add_block(item.attr("jid").unwrap_or_default())).collect()
        }
        (PRIVACY, "query") => {
            privacy::take(person, part, tell);
            Vec::new()
        }
        (VCARD, "vCard") => vec![person.set_vcard(part.clone())],
        (PRIVATE, "query") => part.elements().map(|element| person.add_private(element.clone())).collect(),
        (PIE, "offline-messages") => part.elements().map(|stanza| person.add_offline(stanza.clone(), None)).collect(),
        (ns, name) => vec![Err(format!("not taken over: <{name}/> of {ns:?}"))],
    };
    results.into_iter().filter_map(Result::err).for_each(tell);
}

fn credentials(part: &Element) -> Result<ScramKeys, String> {
    let mechanism = part.attr("mechanism").unwrap_or_default();
    let hash = ScramHash::ALL.into_iter().find(|hash| mechanism.strip_prefix("SCRAM-") == Some(hash.name()));
    let hash = hash.ok_or_else(|| format!("its keys for {mechanism:?} are of no use here"))?;
    let text = |name| part.child(SCRAM, name).map(Element::text);
    let bytes = |name| text(name).and_then(base64::decode_2045).map(|bytes| bytes.to_vec());
    let keys = (|| {
        let iterations = text("iter-count")?.trim_ascii().parse().ok()?;
        let (stored_key, server_key) = (bytes("stored-key")?, bytes("server-key")?);
        Some(ScramKeys { hash, iterations, salt: bytes("salt")?, stored_key, server_key })
    })();
    keys.ok_or_else(|| format!("its keys for {mechanism} do not read"))
}

fn contact(item: &Element) -> Result<Contact, String> {
    let mut contact = Contact {
        jid: item.attr("jid").unwrap_or_default().to_owned(),
        name: item.attr("name").unwrap_or_default().to_owned(),
        asks: item.attr("ask") == Some("subscribe"),
        approved: matches!(item.attr("approved"), Some("true" | "1")),
        groups: item.elements().filter(|group| group.is(ROSTER, "group")).map(Element::text).collect(),
        ..Contact::default()
    };
    contact.subscribe(item.attr("subscription").unwrap_or("none"))?;
    Ok(contact)
}

/// A relative reference's path as a file's name.
fn percent_decoded(href: &str) -> Option<String> {
    let mut pieces = href.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(
            u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?,
        );
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
