//! Writes XML of our own: every text goes through one escaping routine.
//!
//! ```text
//! Writer::new(&mut out).open("iq").attr("type", "result").empty("query") …
//! ```
//!
//! Element and attribute names are the server's own words and are written as they are; values and text may
//! come from a peer and are escaped. Characters that XML cannot hold at all are left out, so that no text that
//! reached us by another way than a stream can end the stream of who receives it.
//!
//! RFC 6120 §11.1 (no entity but the five); XML 1.0 §2.4, §3.3.3.

use super::chars;
use super::names::is_xml_char;

/// Appends `text` so that it means itself between tags and in either kind of quotes.
///
/// Tab, CR and LF stay as they are, which is right between tags only: see [`escape_attr`].
pub fn escape(text: &str, out: &mut Vec<u8>) {
    escape_with(text, out, |byte| match byte {
        // A raw CR would become LF at the reader.
        b'\r' => Some(b"&#13;"),
        _ => entity(byte),
    });
}

/// Appends `text` so that it means itself in an attribute value: like [`escape`], with tab and LF as references.
pub fn escape_attr(text: &str, out: &mut Vec<u8>) {
    escape_with(text, out, |byte| match byte {
        b'\t' => Some(b"&#9;"),
        b'\n' => Some(b"&#10;"),
        b'\r' => Some(b"&#13;"),
        _ => entity(byte),
    });
}

fn entity(byte: u8) -> Option<&'static [u8]> {
    Some(match byte {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'\'' => b"&apos;",
        b'"' => b"&quot;",
        _ => return None,
    })
}

/// Copies plain runs whole; `replace` says what stands for a byte that cannot be copied.
fn escape_with(text: &str, out: &mut Vec<u8>, replace: impl Fn(u8) -> Option<&'static [u8]>) {
    let bytes = text.as_bytes();
    let (mut copied, mut at) = (0, 0);
    loop {
        at += chars::plain_anywhere(bytes.get(at..).unwrap_or_default());
        let Some(&byte) = bytes.get(at) else { break };
        let (replacement, len): (&[u8], usize) = match byte {
            0xEF if !is_allowed_at(text, at) => (b"", 3),
            _ if byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r') => (b"", 1),
            _ => match replace(byte) {
                Some(replacement) => (replacement, 1),
                None => {
                    at += 1;
                    continue;
                }
            },
        };
        out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
        out.extend_from_slice(replacement);
        at += len;
        copied = at;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

fn is_allowed_at(text: &str, index: usize) -> bool {
    text.get(index..).and_then(|rest| rest.chars().next()).is_none_or(|c| is_xml_char(u32::from(c)))
}

/// Writes elements to the end of a buffer. Every element that is opened is closed by [`close`](Self::close) or,
/// at the latest, when the writer is dropped.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    open: [&'a str; WRITER_DEPTH_MAX],
    depth: usize,
    /// Whether the last open tag still waits for its `>`.
    in_tag: bool,
}

pub use crate::limits::WRITER_DEPTH_MAX;

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, open: [""; WRITER_DEPTH_MAX], depth: 0, in_tag: false }
    }

    /// Begins the element `name`, which is written as it is: never a peer's word.
    ///
    /// # Panics
    ///
    /// In a debug build, if elements nest deeper than [`WRITER_DEPTH_MAX`]: a fault of the caller's.
    pub fn open(&mut self, name: &'a str) -> &mut Self {
        self.end_tag();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        debug_assert!(self.depth < WRITER_DEPTH_MAX, "nesting of our own making");
        if let Some(slot) = self.open.get_mut(self.depth) {
            *slot = name;
        }
        self.depth += 1;
        self.in_tag = true;
        self
    }

    /// Adds an attribute to the tag just opened. The name is written as it is, the value escaped.
    pub fn attr(&mut self, name: &str, value: &str) -> &mut Self {
        debug_assert!(self.in_tag, "an attribute belongs into a tag");
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
        escape_attr(value, self.out);
        self.out.push(b'\'');
        self
    }

    /// Adds an attribute if there is a value for it.
    pub fn attr_opt(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.attr(name, value);
        }
        self
    }

    /// Writes text, escaped.
    pub fn text(&mut self, text: &str) -> &mut Self {
        if !text.is_empty() {
            self.end_tag();
            escape(text, self.out);
        }
        self
    }

    /// Writes bytes that are XML already: checked by the scanner, or base64, or our own words.
    pub fn raw(&mut self, xml: &[u8]) -> &mut Self {
        if !xml.is_empty() {
            self.end_tag();
            self.out.extend_from_slice(xml);
        }
        self
    }

    /// Ends the innermost open element, as an empty tag if nothing was written into it.
    pub fn close(&mut self) -> &mut Self {
        self.depth = self.depth.saturating_sub(1);
        let name = self.open.get(self.depth).copied().unwrap_or("");
        if self.in_tag {
            self.out.extend_from_slice(b"/>");
            self.in_tag = false;
        } else {
            self.out.extend_from_slice(b"</");
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b'>');
        }
        self
    }

    /// An element `name` in the namespace `ns` without content.
    pub fn empty(&mut self, name: &'a str, ns: &str) -> &mut Self {
        self.open(name).attr("xmlns", ns).close()
    }

    /// An element `name` that holds `text` only.
    pub fn leaf(&mut self, name: &'a str, text: &str) -> &mut Self {
        self.open(name).text(text).close()
    }

    /// Leaves the innermost element open for good: a stream header, which another writer's words close.
    pub fn leave_open(&mut self) -> &mut Self {
        self.end_tag();
        self.depth = self.depth.saturating_sub(1);
        self
    }

    fn end_tag(&mut self) {
        if self.in_tag {
            self.out.push(b'>');
            self.in_tag = false;
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        while self.depth > 0 {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn elements() {
        assert_eq!(written(|w| _ = w.open("a").close()), "<a/>");
        assert_eq!(written(|w| _ = w.open("a").text("").raw(b"").close()), "<a/>");
        assert_eq!(written(|w| _ = w.open("a").open("b").close().leaf("c", "d").close()), "<a><b/><c>d</c></a>");
        assert_eq!(written(|w| _ = w.open("a").attr("b", "c").empty("d", "u")), "<a b='c'><d xmlns='u'/></a>");
        assert_eq!(written(|w| _ = w.open("a").attr_opt("b", None).attr_opt("c", Some(""))), "<a c=''/>");
        assert_eq!(written(|w| _ = w.open("s:s").attr("a", "b").leave_open().open("c")), "<s:s a='b'><c/>");
        assert_eq!(written(|w| _ = w.open("a").raw(b"<b/>").text("c")), "<a><b/>c</a>");
    }

    #[test]
    fn escaping() {
        let cases = [
            ("plain ünïcödé 😀", "plain ünïcödé 😀", "plain ünïcödé 😀"),
            ("<a b='c' d=\"e\">&</a>", "&lt;a b=&apos;c&apos; d=&quot;e&quot;&gt;&amp;&lt;/a&gt;", ""),
            ("]]>", "]]&gt;", "]]&gt;"),
            ("a\tb\nc\rd", "a\tb\nc&#13;d", "a&#9;b&#10;c&#13;d"),
            ("a\u{0}b\u{1F}c\u{FFFE}d\u{FFFF}e\u{FFFD}\u{FEFF}", "abcde\u{FFFD}\u{FEFF}", "abcde\u{FFFD}\u{FEFF}"),
            ("", "", ""),
        ];
        for (text, between_tags, in_value) in cases {
            let in_value = if in_value.is_empty() { between_tags } else { in_value };
            let mut out = Vec::new();
            escape(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), between_tags, "{text:?}");
            let mut out = Vec::new();
            escape_attr(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), in_value, "{text:?}");
        }
    }
}
