//! The directives in braces: `{id}`, `{...}`, `{base64 …}`, `{hex …}`, `{repeat N …}`.

use super::Part;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A piece of a line after its directives were read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// `{...}` anything, or nothing.
    Anything,
    /// `{handshake secret}`: a component's proof for the stream that `{id}` has matched.
    Handshake { secret: String },
    /// `{name}`, `{client.name}`, `{name not other}`.
    Capture { client: Option<String>, name: String, not: Option<String> },
}

/// Cuts a line into literal bytes and directives. `{{` is a literal brace.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        push(&mut out, &rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('{') {
            push(&mut out, b"{");
            rest = after;
            continue;
        }
        let end = rest.find('}').ok_or("a `{` has no `}` (write `{{` for a brace)")?;
        match directive(&rest[..end])? {
            Piece::Bytes(bytes) => push(&mut out, &bytes),
            other => out.push(other),
        }
        rest = &rest[end + 1..];
    }
    push(&mut out, rest.as_bytes());
    Ok(out)
}

/// What a client can send: no `{...}`, no `{name not other}`.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, String> {
    let part = |piece| match piece {
        Piece::Bytes(bytes) => Ok(Part::Bytes(bytes)),
        Piece::Capture { client, name, not: None } => Ok(Part::Captured { client, name }),
        Piece::Handshake { secret } => Ok(Part::Handshake { secret }),
        Piece::Capture { .. } => Err("`not` belongs into an S: line".to_owned()),
        Piece::Anything => Err("`{...}` belongs into an S: line".to_owned()),
    };
    pieces(text)?.into_iter().map(part).collect()
}

fn push(out: &mut Vec<Piece>, bytes: &[u8]) {
    match out.last_mut() {
        _ if bytes.is_empty() => {}
        Some(Piece::Bytes(last)) => last.extend_from_slice(bytes),
        _ => out.push(Piece::Bytes(bytes.to_vec())),
    }
}

fn directive(inner: &str) -> Result<Piece, String> {
    if inner == "..." {
        return Ok(Piece::Anything);
    }
    let (word, argument) = inner.split_once(' ').unwrap_or((inner, ""));
    match word {
        "base64" => Ok(Piece::Bytes(STANDARD.encode(unescape(argument)?).into_bytes())),
        "handshake" => Ok(Piece::Handshake { secret: argument.to_owned() }),
        "hex" => hex(argument).map(Piece::Bytes),
        "repeat" => repeat(argument).map(Piece::Bytes),
        _ => capture(word, argument),
    }
}

fn capture(word: &str, argument: &str) -> Result<Piece, String> {
    let not = match argument.split_once(' ') {
        None if argument.is_empty() => None,
        Some(("not", other)) => Some(name(other)?),
        _ => return Err(format!("`{{{word} {argument}}}` is no directive")),
    };
    let (client, word) = match word.split_once('.') {
        Some((client, word)) => (Some(name(client)?), word),
        None => (None, word),
    };
    Ok(Piece::Capture { client, name: name(word)?, not })
}

fn name(word: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !word.is_empty() && word.chars().all(plain) {
        Ok(word.to_owned())
    } else {
        Err(format!("`{word}` is no name for a capture (letters, digits, `-`, `_`)"))
    }
}

/// `\0` is a NUL, `\\` a backslash; nothing else is special.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == b'\\') {
            (_, true) => match bytes.next() {
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                _ => return Err("only `\\0` and `\\\\` are known behind a backslash".to_owned()),
            },
            (byte, false) => byte,
        });
    }
    Ok(out)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let byte = |pair: &str| {
        let two = (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
        two.ok_or_else(|| format!("`{pair}` is no byte in two hexadecimal digits"))
    };
    text.split_whitespace().map(byte).collect()
}

fn repeat(argument: &str) -> Result<Vec<u8>, String> {
    let (count, text) = argument.split_once(' ').ok_or("`{repeat N text}` needs a number and a text")?;
    let count: usize = count.parse().map_err(|_| format!("`{count}` is no number"))?;
    let mut out = Vec::new();
    for turn in 0..count {
        out.extend_from_slice(text.replace('#', &turn.to_string()).as_bytes());
    }
    Ok(out)
}
