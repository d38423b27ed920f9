//! What an `S:` line expects, and how it is compared with what came.

use super::expand::{Piece, pieces};
use super::xml::{ANYTHING, CAPTURE_FIRST, CAPTURES_MAX, Tag, Token, tokens};
use std::collections::BTreeMap;

/// The values that captures matched so far: (client, name) → value.
pub(super) type Captures = BTreeMap<(String, String), String>;

/// An expected run of XML tokens.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    tokens: Vec<Token>,
    captures: Vec<Name>,
}

#[derive(Clone, Debug)]
struct Name {
    client: Option<String>,
    name: String,
    not: Option<String>,
}

/// How a comparison went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// All that came fits, but more is expected: what comes next.
    Short(String),
    /// Something else came: where the pattern stands, and why.
    Differs(String),
}

impl Pattern {
    /// Compiles the text of an `S:` line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut captures = Vec::new();
        let mut marked = String::new();
        for piece in pieces(text)? {
            match piece {
                Piece::Bytes(bytes) => marked.push_str(&String::from_utf8(bytes).map_err(|_| "not UTF-8")?),
                Piece::Anything => marked.push(ANYTHING),
                Piece::Handshake { .. } => return Err("`handshake` belongs into a C: line".to_owned()),
                Piece::Capture { client, name, not } => {
                    let index = u32::try_from(captures.len()).unwrap_or(u32::MAX);
                    let mark = (index < CAPTURES_MAX).then(|| char::from_u32(CAPTURE_FIRST + index)).flatten();
                    marked.push(mark.ok_or("too many captures in one line")?);
                    captures.push(Name { client, name, not });
                }
            }
        }
        let found = tokens(&marked)?;
        let end = found.last().map_or(0, |(_, end)| *end);
        if !marked[end..].trim().is_empty() || found.is_empty() {
            return Err(format!("`{}` is not made of whole tags (use S=: for bytes)", text.trim()));
        }
        Ok(Self { text: text.to_owned(), tokens: found.into_iter().map(|(token, _)| token).collect(), captures })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Compares with the start of `received`; returns how many bytes of it were matched. Captures are
    /// only kept if all fits.
    pub(super) fn take(&self, received: &str, client: &str, captures: &mut Captures) -> Result<usize, Fault> {
        let found = tokens(received).map_err(Fault::Differs)?;
        let mut fresh = captures.clone();
        let matcher = Matcher { names: &self.captures, client };
        let end = matcher.run(&self.tokens, &found, 0, &mut fresh)?;
        *captures = fresh;
        Ok(end)
    }
}

struct Matcher<'a> {
    names: &'a [Name],
    client: &'a str,
}

impl Matcher<'_> {
    /// Matches all of `wanted` with a prefix of `found`; returns where the match ends.
    fn run(
        &self,
        wanted: &[Token],
        found: &[(Token, usize)],
        end: usize,
        captures: &mut Captures,
    ) -> Result<usize, Fault> {
        let Some((want, wanted)) = wanted.split_first() else {
            return Ok(end);
        };
        if *want == Token::Any {
            return self.any(wanted, found, end, captures);
        }
        let Some(((have, end), found)) = found.split_first() else {
            return Err(Fault::Short(describe(want)));
        };
        self.token(want, have, captures).map_err(Fault::Differs)?;
        self.run(wanted, found, *end, captures)
    }

    /// `{...}`: the shortest run of whole elements and text after which the rest fits.
    fn any(
        &self,
        wanted: &[Token],
        mut found: &[(Token, usize)],
        mut end: usize,
        captures: &mut Captures,
    ) -> Result<usize, Fault> {
        loop {
            let mut trial = captures.clone();
            let fault = match self.run(wanted, found, end, &mut trial) {
                Ok(end) => {
                    *captures = trial;
                    return Ok(end);
                }
                Err(fault) => fault,
            };
            let length = match item_length(found) {
                Item::Whole(length) => length,
                Item::Unfinished => return Err(Fault::Short("the end of an element".to_owned())),
                Item::None => return Err(fault),
            };
            end = found[length - 1].1;
            found = &found[length..];
        }
    }

    fn token(&self, want: &Token, have: &Token, captures: &mut Captures) -> Result<(), String> {
        let fits = match (want, have) {
            (Token::Open(want), Token::Open(have)) if want.name == have.name => {
                return self.attributes(want, have, captures);
            }
            (Token::Close(want), Token::Close(have)) => want == have,
            (Token::Text(want), Token::Text(have)) => self.value(want, have, captures),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("expected {}, came {}", describe(want), describe(have))) }
    }

    fn attributes(&self, want: &Tag, have: &Tag, captures: &mut Captures) -> Result<(), String> {
        for (name, value) in &want.attributes {
            let Some((_, came)) = have.attributes.iter().find(|(known, _)| known == name) else {
                return Err(format!("<{}> lacks the attribute `{name}`", want.name));
            };
            if !self.value(value, came, captures) {
                return Err(format!("<{}> has {name}='{came}', expected '{}'", want.name, visible(value)));
            }
        }
        for (name, value) in &have.attributes {
            let known = want.attributes.iter().any(|(wanted, _)| wanted == name);
            if want.forbidden.contains(name) || !(known || want.open_ended) {
                return Err(format!("<{}> has {name}='{value}', which is not expected", want.name));
            }
        }
        Ok(())
    }

    /// Compares a value with wildcards. Backtracks; values are short.
    fn value(&self, want: &str, have: &str, captures: &mut Captures) -> bool {
        let Some(first) = want.chars().next() else {
            return have.is_empty();
        };
        let rest = &want[first.len_utf8()..];
        if first == ANYTHING {
            return cuts(have).any(|at| self.value(rest, &have[at..], captures));
        }
        let Some(name) = (first as u32).checked_sub(CAPTURE_FIRST).and_then(|index| self.names.get(index as usize))
        else {
            return have.strip_prefix(first).is_some_and(|have| self.value(rest, have, captures));
        };
        cuts(have).skip(1).any(|at| {
            let mut trial = captures.clone();
            let fits = self.bind(name, &have[..at], &mut trial) && self.value(rest, &have[at..], &mut trial);
            if fits {
                *captures = trial;
            }
            fits
        })
    }

    /// Notes what a capture matched, or compares it with what it matched before.
    fn bind(&self, name: &Name, value: &str, captures: &mut Captures) -> bool {
        let client = name.client.as_deref().unwrap_or(self.client);
        let key = |name: &str| (client.to_owned(), name.to_owned());
        if let Some(other) = &name.not
            && captures.get(&key(other)).is_none_or(|other| other == value)
        {
            return false;
        }
        captures.entry(key(&name.name)).or_insert_with(|| value.to_owned()) == value
    }
}

/// Every place where `text` can be cut, from 0 to its length.
fn cuts(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()])
}

/// What stands at the start of some tokens.
enum Item {
    /// An element or a text of so many tokens.
    Whole(usize),
    /// An element whose end has not come.
    Unfinished,
    /// Nothing, or the end of the parent.
    None,
}

fn item_length(found: &[(Token, usize)]) -> Item {
    let mut depth = 0_usize;
    for (at, (token, _)) in found.iter().enumerate() {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close(_) if depth == 0 => return Item::None,
            Token::Close(_) => depth -= 1,
            Token::Text(_) | Token::Any => {}
        }
        if depth == 0 {
            return Item::Whole(at + 1);
        }
    }
    if found.is_empty() { Item::None } else { Item::Unfinished }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Open(tag) => {
            let list: String =
                tag.attributes.iter().map(|(name, value)| format!(" {name}='{}'", visible(value))).collect();
            format!("<{}{list}>", tag.name)
        }
        Token::Close(name) => format!("</{name}>"),
        Token::Text(text) => format!("the text `{}`", visible(text)),
        Token::Any => "anything".to_owned(),
    }
}

/// Wildcards as a reader of the script would know them.
fn visible(text: &str) -> String {
    let show = |c: char| match u32::from(c) {
        0xE000 => "{...}".to_owned(),
        code if (CAPTURE_FIRST..CAPTURE_FIRST + CAPTURES_MAX).contains(&code) => "{capture}".to_owned(),
        _ => c.to_string(),
    };
    text.chars().map(show).collect()
}
