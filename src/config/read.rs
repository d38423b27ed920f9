//! Takes typed values out of a TOML table and notes what is wrong, with its line.
//!
//! ```text
//! text ──▶ DeTable ──Section──▶ values, in `Reader::faults` what was expected and what to write
//! ```
//!
//! It knows nothing of what the keys mean. A wrong value yields `None` and a fault; the caller goes on, so that
//! one run shows everything there is to repair.

use super::keys::Sections;
use super::{CONFIG_BYTES_MAX, ConfigError, Fault};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest piece of the file repeated in an advice.
const QUOTE_BYTES_MAX: usize = 80;

/// One key that may be written in a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'k> {
    pub(super) name: &'k str,
    /// What its value must be.
    pub(super) expected: &'k str,
    /// A whole line that is right.
    pub(super) write: &'k str,
}

/// The text under judgement and what was found wrong with it.
pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) faults: Vec<Fault>,
}

/// One table of the file.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    /// As written in the file, such as `[limits]`; empty for the top.
    pub(super) title: &'static str,
    table: &'t DeTable<'t>,
    /// Where it starts in the text.
    pub(super) at: usize,
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The text of a configuration file.
pub(super) fn file(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |why: String, advice| ConfigError::Unreadable { file: path.to_owned(), why, advice };
    let file = File::open(path).map_err(|error| {
        unreadable(
            error.to_string(),
            match error.kind() {
                std::io::ErrorKind::NotFound => "Name a file that is there, or leave --config out.",
                std::io::ErrorKind::PermissionDenied => "Let the user that runs stonechat read it.",
                _ => "Name another file with --config.",
            },
        )
    })?;
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string(), "Name a regular file with --config."))?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(unreadable("larger than 1 MiB".into(), "Name a configuration file with --config."));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8 text".into(), "Save it as UTF-8."))
}

/// The tables of a text, or the first place where it is not TOML.
pub(super) fn tables(text: &str) -> Result<Spanned<DeTable<'_>>, Fault> {
    DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let (found, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
        let expected = match (found, expected) {
            ("duplicate key", _) => "each key once",
            ("string values must be quoted", _) => "text in quotes",
            (_, "nothing") => "the end of the line",
            (_, "") => "TOML: lines of `key = value`, under `[section]` headings",
            (_, expected) => expected,
        };
        let written = text.lines().nth(line - 1).unwrap_or_default().trim();
        Fault { line, found: found.to_owned(), expected: expected.to_owned(), write: repaired(found, written) }
    })
}

/// The line with the usual slips put right, else how a line looks.
fn repaired(found: &str, line: &str) -> String {
    let quoted = |value: &str| match value.trim() {
        value if value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok() => value.to_owned(),
        value => format!("\"{value}\""),
    };
    let short = Some(line).filter(|line| line.len() <= QUOTE_BYTES_MAX && !line.contains(['#', '\'']));
    let line = short.and_then(|line| match found {
        "duplicate key" => Some("nothing here: remove the line".to_owned()),
        "string values must be quoted" => {
            let (key, value) = line.split_once('=')?;
            (!value.contains(['"', '[', '{'])).then(|| format!("{} = {}", key.trim(), quoted(value)))
        }
        "key with no value" => line.split_once(' ').map(|(key, value)| format!("{key} = {}", quoted(value))),
        "invalid basic string" => Some(format!("{line}\"")),
        "unclosed table" => Some(format!("{line}]")),
        _ => None,
    });
    line.unwrap_or_else(|| "key = value, with text in quotes: name = \"example.org\"".to_owned())
}

/// The line of an offset, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: Vec::new() }
    }

    /// Notes something wrong at an offset.
    pub(super) fn fault(&mut self, at: usize, found: impl Into<String>, expected: &str, write: impl Into<String>) {
        let line = line_of(self.text, at);
        self.faults.push(Fault { line, found: found.into(), expected: expected.to_owned(), write: write.into() });
    }

    /// The value as the file writes it, if that is short.
    fn source(&self, value: &Spanned<DeValue<'_>>) -> Option<&'t str> {
        let source = self.text.get(value.span())?;
        (source.len() <= QUOTE_BYTES_MAX && !source.contains('\n') && !value.get_ref().is_table()).then_some(source)
    }
}

impl<'t> Section<'t> {
    /// The top of the file.
    pub(super) fn top(table: &'t DeTable<'t>) -> Self {
        Self { title: "", table, at: 0 }
    }

    /// The one table under `key`, such as `[limits]`.
    pub(super) fn table(&self, reader: &mut Reader<'_>, key: Key<'_>, title: &'static str) -> Option<Section<'t>> {
        let (at, value) = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { title, table, at }),
            other => {
                reader.fault(at, is_a(key, other), key.expected, key.write);
                None
            }
        }
    }

    /// The tables under `key`, such as every `[[domain]]`.
    pub(super) fn list(&self, reader: &mut Reader<'_>, key: Key<'_>, title: &'static str) -> Vec<Section<'t>> {
        let Some((at, value)) = self.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            reader.fault(at, is_a(key, value.get_ref()), key.expected, key.write);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => sections.push(Section { title, table, at: item.span().start }),
                other => reader.fault(item.span().start, is_a(key, other), key.expected, key.write),
            }
        }
        sections
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, reader: &mut Reader<'_>, key: Key<'_>) -> Option<Given<bool>> {
        self.value(reader, key, |value| value.as_bool())
    }

    /// A text that is not empty.
    pub(super) fn text(&self, reader: &mut Reader<'_>, key: Key<'_>) -> Option<Given<&'t str>> {
        self.value(reader, key, |value| value.as_str().filter(|text| !text.is_empty()))
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, reader: &mut Reader<'_>, key: Key<'_>, least: u64, most: u64) -> Option<u64> {
        let (_, value) = self.get(key)?;
        let number = value.get_ref().as_integer().map(|digits| u64::from_str_radix(digits.as_str(), digits.radix()));
        match number {
            Some(Ok(number)) if (least..=most).contains(&number) => Some(number),
            Some(_) => {
                let found = format!("`{}` is {}", key.name, reader.source(value).unwrap_or("out of bounds"));
                reader.fault(value.span().start, found, key.expected, key.write);
                None
            }
            None => {
                reader.fault(value.span().start, is_a(key, value.get_ref()), key.expected, key.write);
                None
            }
        }
    }

    /// A list of texts, none of them empty.
    pub(super) fn texts(&self, reader: &mut Reader<'_>, key: Key<'_>) -> Option<Given<Vec<Given<&'t str>>>> {
        let (_, value) = self.get(key)?;
        let at = value.span().start;
        let Some(array) = value.get_ref().as_array() else {
            reader.fault(at, is_a(key, value.get_ref()), key.expected, key.write);
            return None;
        };
        let mut texts = Vec::with_capacity(array.len());
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref().as_str().filter(|text| !text.is_empty()) {
                Some(value) => texts.push(Given { value, at }),
                None => {
                    let found = format!("`{}` holds {}", key.name, kind(item.get_ref()));
                    reader.fault(at, found, key.expected, key.write);
                    return None;
                }
            }
        }
        Some(Given { value: texts, at })
    }

    /// Notes every key that is not among those of this section. `all` are the sections and their keys.
    pub(super) fn refuse_unknown(&self, reader: &mut Reader<'_>, all: Sections<'_>) {
        let known = all.iter().find(|(title, _)| *title == self.title).map_or(&[][..], |(_, keys)| keys);
        for (key, value) in self.table.iter() {
            let name: &str = key.get_ref();
            if known.iter().any(|known| known.name == name) {
                continue;
            }
            let place = if self.title.is_empty() { "at the top of the file" } else { &format!("in {}", self.title) };
            let source = reader.source(value);
            let (expected, write) = instead(name, source, known, all);
            reader.fault(key.span().start, format!("unknown key `{}` {place}", clip(name)), &expected, write);
        }
    }

    /// Whether the key is there at all, right or wrong.
    pub(super) fn has(&self, key: Key<'_>) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: Key<'_>) -> Option<(usize, &'t Spanned<DeValue<'t>>)> {
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key.name)?;
        Some((name.span().start, value))
    }

    fn value<T>(
        &self,
        reader: &mut Reader<'_>,
        key: Key<'_>,
        take: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<Given<T>> {
        let (_, value) = self.get(key)?;
        let at = value.span().start;
        let taken = take(value.get_ref());
        if taken.is_none() {
            reader.fault(at, is_a(key, value.get_ref()), key.expected, key.write);
        }
        taken.map(|value| Given { value, at })
    }
}

/// What to write in the place of a key unknown here: the nearest of this section, one of another, else none.
fn instead(name: &str, source: Option<&str>, known: &[Key<'_>], all: Sections<'_>) -> (String, String) {
    let line = |key: &Key<'_>| match source {
        Some(source) if !key.write.starts_with('[') => format!("{} = {source}", key.name),
        _ => key.write.to_owned(),
    };
    if let Some(key) = known.iter().filter(|key| is_near(name, key.name)).min_by_key(|key| distance(name, key.name)) {
        return (format!("`{}`: {}", key.name, key.expected), line(key));
    }
    let elsewhere = all.iter().flat_map(|(title, keys)| keys.iter().map(move |key| (*title, key)));
    match elsewhere.filter(|(_, key)| is_near(name, key.name)).min_by_key(|(_, key)| distance(name, key.name)) {
        Some(("", key)) => (format!("`{}` above the first section", key.name), line(key)),
        Some((title, key)) => (format!("`{}` in {title}", key.name), format!("{title}\n{}", line(key))),
        None => {
            let names: Vec<&str> = known.iter().map(|key| key.name).collect();
            (format!("one of {}", names.join(", ")), "nothing here: remove the line".to_owned())
        }
    }
}

/// Whether one may be a slip for the other: a letter in three, two at least.
fn is_near(name: &str, key: &str) -> bool {
    distance(name, key) <= 2.max(key.len() / 3)
}

/// How many letters differ (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    // A key of a hundred letters is near to none.
    for (i, a) in left.chars().take(100).enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (b, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(a != *b);
            diagonal = *cell;
            *cell = changed.min(*cell + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

fn is_a(key: Key<'_>, value: &DeValue<'_>) -> String {
    format!("`{}` is {}", key.name, kind(value))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(text) if text.is_empty() => "an empty text",
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// Some of a name that may be of any length, without what would move the cursor.
pub(super) fn clip(name: &str) -> String {
    name.escape_debug().take(QUOTE_BYTES_MAX).collect()
}
