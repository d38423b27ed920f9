//! Cuts what a server sends into stream headers, top-level elements and stream ends.
//!
//! The generator trusts the server it measures and only needs to know where things end: this is no XML
//! parser and judges nothing. It works on a slice and keeps no state, so an element that came in pieces is
//! looked at again from its start.

use memchr::{memchr, memchr3, memmem};

/// What begins at the start of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// More bytes are needed.
    Incomplete,
    /// White space or an XML declaration: skip it.
    Space,
    /// `<stream:stream …>`.
    Header,
    /// A whole top-level element.
    Element,
    /// `</stream:stream>`.
    End,
    /// Not XML.
    Broken,
}

/// Finds the first token of `bytes` and its length. `open` says whether a stream header was seen.
pub(crate) fn next(bytes: &[u8], open: bool) -> (Token, usize) {
    let space = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if space > 0 {
        return (Token::Space, space);
    }
    match bytes {
        [] | [b'<'] => (Token::Incomplete, 0),
        [b'<', b'?', ..] => until(Token::Space, memmem::find(bytes, b"?>").map(|at| at + 2)),
        [b'<', b'/', ..] => until(Token::End, memchr(b'>', bytes).map(|at| at + 1)),
        [b'<', ..] if open => until(Token::Element, element_end(bytes)),
        [b'<', ..] => until(Token::Header, tag_end(bytes, 0)),
        _ => (Token::Broken, 0),
    }
}

fn until(token: Token, end: Option<usize>) -> (Token, usize) {
    end.map_or((Token::Incomplete, 0), |end| (token, end))
}

/// The end of the element that begins at the start of `bytes`.
fn element_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0u32);
    loop {
        let open = at + memchr(b'<', bytes.get(at..)?)?;
        let end = tag_end(bytes, open)?;
        match (bytes[open + 1], bytes[end - 2]) {
            (b'/', _) => depth = depth.saturating_sub(1),
            (_, b'/') => {}
            _ => depth += 1,
        }
        if depth == 0 {
            return Some(end);
        }
        at = end;
    }
}

/// The place behind the `>` of the tag that begins at `at`; one inside quotes does not count.
fn tag_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let stop = at + memchr3(b'>', b'"', b'\'', bytes.get(at..)?)?;
        if bytes[stop] == b'>' {
            return Some(stop + 1);
        }
        at = stop + 1 + memchr(bytes[stop], &bytes[stop + 1..])? + 1;
    }
}

/// The text between the first `open` and the next `close`.
pub(crate) fn between<'a>(bytes: &'a [u8], open: &[u8], close: &[u8]) -> Option<&'a [u8]> {
    let start = memmem::find(bytes, open)? + open.len();
    let length = memmem::find(&bytes[start..], close)?;
    Some(&bytes[start..start + length])
}

/// Whether `what` occurs.
pub(crate) fn has(bytes: &[u8], what: &str) -> bool {
    memmem::find(bytes, what.as_bytes()).is_some()
}

/// Known answers; run before every load test.
pub(crate) fn self_check() -> Result<(), String> {
    let cases: [(&str, bool, Token, usize); 10] = [
        ("<?xml version='1.0'?><a>", false, Token::Space, 21),
        ("<stream:stream id='>'>", false, Token::Header, 22),
        ("<stream:stream id='>", false, Token::Incomplete, 0),
        ("<a/><b/>", true, Token::Element, 4),
        ("<a><b x=\"/>\"/><c>t</c></a><d/>", true, Token::Element, 26),
        ("<a><b></b>", true, Token::Incomplete, 0),
        (" \n<a/>", true, Token::Space, 2),
        ("</stream:stream>", true, Token::End, 16),
        ("<", true, Token::Incomplete, 0),
        ("HTTP/1.1", true, Token::Broken, 0),
    ];
    for (text, open, token, length) in cases {
        let got = next(text.as_bytes(), open);
        if got != (token, length) {
            return Err(format!("frames: {text:?} gave {got:?}"));
        }
    }
    Ok(())
}
