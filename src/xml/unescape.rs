//! Turns checked raw text into what it means: references replaced, line ends and white space normalised.
//!
//! Works only on bytes that the scanner has accepted; what it cannot read it copies.
//!
//! XML 1.0 §2.11 (line ends), §3.3.3 (attribute values), §4.1 (references).

use super::chars;
use std::borrow::Cow;

/// Where a piece of raw text stood, which decides what white space becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between tags: CRLF and CR become LF.
    Text,
    /// In an attribute value: CRLF, CR, LF and tab become a space.
    Value,
}

/// The characters that raw text means, one by one.
#[derive(Clone)]
pub(super) struct Meaning<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Meaning<'a> {
    pub(super) fn new(raw: &'a [u8], place: Place) -> Self {
        Self { rest: as_str(raw), place }
    }

    /// What a raw attribute value means.
    pub(super) fn of_value(raw: &'a [u8]) -> Self {
        Self::new(raw, Place::Value)
    }
}

impl Iterator for Meaning<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let mut meant = chars.next()?;
        let mut rest = chars.as_str();
        match (meant, self.place) {
            ('&', _) => {
                if let Some((c, len)) = reference(self.rest.as_bytes()) {
                    (meant, rest) = (c, self.rest.get(len..).unwrap_or(""));
                }
            }
            ('\r', place) => {
                rest = rest.strip_prefix('\n').unwrap_or(rest);
                meant = if place == Place::Text { '\n' } else { ' ' };
            }
            ('\t' | '\n', Place::Value) => meant = ' ',
            _ => {}
        }
        self.rest = rest;
        Some(meant)
    }
}

/// What `raw` means as text; borrowed when nothing has to change.
pub(super) fn unescape(raw: &[u8], place: Place) -> Cow<'_, str> {
    if chars::means_itself(raw) {
        return Cow::Borrowed(as_str(raw));
    }
    let changes = |&byte: &u8| matches!(byte, b'&' | b'\r') || place == Place::Value && matches!(byte, b'\t' | b'\n');
    if raw.iter().any(changes) { Cow::Owned(Meaning::new(raw, place).collect()) } else { Cow::Borrowed(as_str(raw)) }
}

/// The code point that the reference at the start of `raw` stands for, and the reference's length.
pub(super) fn reference(raw: &[u8]) -> Option<(char, usize)> {
    let end = raw.iter().position(|&byte| byte == b';')?;
    let c = match raw.get(1..end)? {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"apos" => '\'',
        b"quot" => '"',
        [b'#', b'x', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    Some((c, end + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    u32::from_str_radix(as_str(digits), radix).ok().and_then(char::from_u32)
}

/// The bytes as a string. The scanner has judged them: the empty string is never needed.
pub(super) fn as_str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_text() {
        let cases = [
            ("plain", "plain", "plain"),
            ("a&amp;b&lt;&gt;&apos;&quot;", "a&b<>'\"", "a&b<>'\""),
            ("a\r\nb\rc\nd\te", "a\nb\nc\nd\te", "a b c d e"),
            ("&#13;&#10;&#9;", "\r\n\t", "\r\n\t"),
            ("\r&#10;", "\n\n", " \n"),
            ("&#x80;&#x85;&#159;", "\u{80}\u{85}\u{9F}", "\u{80}\u{85}\u{9F}"),
            ("&#x1F600;\u{1F600}", "\u{1F600}\u{1F600}", "\u{1F600}\u{1F600}"),
            ("&#0065;", "A", "A"),
        ];
        for (raw, text, value) in cases {
            assert_eq!(unescape(raw.as_bytes(), Place::Text), text, "{raw:?}");
            assert_eq!(unescape(raw.as_bytes(), Place::Value), value, "{raw:?}");
        }
    }

    #[test]
    fn unchanged_text_is_borrowed() {
        assert!(matches!(unescape(b"tab\tand\nline", Place::Text), Cow::Borrowed(_)));
        assert!(matches!(unescape("grüße".as_bytes(), Place::Value), Cow::Borrowed(_)));
    }
}
