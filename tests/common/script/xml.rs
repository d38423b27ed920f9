//! Cuts bytes into XML tokens, for comparison only.
//!
//! It reads what a well-behaved server writes and what a script expects; it judges little. Attribute
//! order, the kind of quotes, `<a/>` against `<a></a>` and white space between tags vanish here.
//! Prefixes stay: the clients of 2002 compare them.

/// One token. `Any` and the wildcards inside values appear in patterns only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Token {
    Open(Tag),
    Close(String),
    /// Text with the white space around it taken off, entities resolved.
    Text(String),
    /// `{...}` as content: any further elements and text of this element.
    Any,
}

/// A start tag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Tag {
    pub(super) name: String,
    /// Sorted by name.
    pub(super) attributes: Vec<(String, String)>,
    /// `!name`: must not be there.
    pub(super) forbidden: Vec<String>,
    /// `{...}`: further attributes may be there.
    pub(super) open_ended: bool,
}

/// What stands for `{...}` in a pattern's text. Captures follow at [`CAPTURE_FIRST`]. Both lie in a
/// private-use area, which no script uses otherwise.
pub(super) const ANYTHING: char = '\u{E000}';
/// The first capture's mark.
pub(super) const CAPTURE_FIRST: u32 = 0xE001;
/// As many captures as one pattern can hold.
pub(super) const CAPTURES_MAX: u32 = 0x800;

/// The complete tokens at the start of `text`, each with where it ends.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, String> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(end) = next(text, at, &mut out)? {
        at = end;
    }
    Ok(out)
}

/// Reads one token at `at`; `None` if it is not complete.
fn next(text: &str, at: usize, out: &mut Vec<(Token, usize)>) -> Result<Option<usize>, String> {
    let rest = &text[at..];
    if !rest.starts_with('<') {
        let Some(length) = rest.find('<') else {
            return Ok(None);
        };
        push_text(&rest[..length], at + length, out);
        return Ok(Some(at + length));
    }
    if rest.starts_with("<?") {
        return Ok(rest.find("?>").map(|length| at + length + 2));
    }
    let Some(length) = tag_length(rest) else {
        return Ok(None);
    };
    let end = at + length;
    push_tag(&rest[1..length - 1], end, out)?;
    Ok(Some(end))
}

/// Where the tag at the start of `rest` ends: its `>` outside of quotes, inclusive.
fn tag_length(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'>') => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn push_text(raw: &str, end: usize, out: &mut Vec<(Token, usize)>) {
    let text = unescape(raw.trim());
    if text == ANYTHING.to_string() {
        out.push((Token::Any, end));
    } else if !text.is_empty() {
        out.push((Token::Text(text), end));
    }
}

fn push_tag(inner: &str, end: usize, out: &mut Vec<(Token, usize)>) -> Result<(), String> {
    if let Some(name) = inner.strip_prefix('/') {
        out.push((Token::Close(name.trim_end().to_owned()), end));
        return Ok(());
    }
    let (inner, empty) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
    let tag = tag(inner)?;
    let name = tag.name.clone();
    out.push((Token::Open(tag), end));
    if empty {
        out.push((Token::Close(name), end));
    }
    Ok(())
}

fn tag(inner: &str) -> Result<Tag, String> {
    let (name, mut rest) = inner.split_at(inner.find(char::is_whitespace).unwrap_or(inner.len()));
    let mut tag = Tag { name: name.to_owned(), attributes: Vec::new(), forbidden: Vec::new(), open_ended: false };
    if name.is_empty() {
        return Err(format!("`<{inner}>` has no name"));
    }
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        rest = match rest.strip_prefix(ANYTHING) {
            Some(after) => {
                tag.open_ended = true;
                after
            }
            None => attribute(rest, &mut tag)?,
        };
    }
    tag.attributes.sort();
    Ok(tag)
}

/// Reads `name='value'` or `!name`; returns what follows.
fn attribute<'a>(rest: &'a str, tag: &mut Tag) -> Result<&'a str, String> {
    if let Some(after) = rest.strip_prefix('!') {
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        tag.forbidden.push(after[..end].to_owned());
        return Ok(&after[end..]);
    }
    let fault = || format!("`{rest}` is no attribute");
    let (name, after) = rest.split_once('=').ok_or_else(fault)?;
    let after = after.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(fault)?;
    let (value, after) = after[1..].split_once(quote).ok_or_else(fault)?;
    let name = name.trim_end().to_owned();
    if tag.attributes.iter().any(|(known, _)| *known == name) {
        return Err(format!("attribute `{name}` twice in <{}>", tag.name));
    }
    tag.attributes.push((name, unescape(value)));
    Ok(after)
}

/// Resolves the five entities and character references; leaves what it does not know.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let resolved = rest.find(';').and_then(|end| Some((entity(&rest[1..end])?, end)));
        let (c, end) = resolved.unwrap_or(('&', 0));
        out.push(c);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "quot" => Some('"'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}
