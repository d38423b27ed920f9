//! XML files, read a piece at a time.
//!
//! ```text
//! file ──▶ Pull ──piece──▶ Open · Close · Text · End        ──element──▶ Element, whole
//! ```
//!
//! [`crate::xml::Scan`] judges streams: what RFC 6120 §11.1 forbids there (comments, processing instructions) a file
//! may have, and a file is larger than any frame. So this reads files: well-formed with namespaces, UTF-8, without a
//! document type (no entity but the five), an allowance of bytes at a time. What it brings is written anew and judged
//! by `Scan` before it is stored.
//!
//! XML 1.0 (fifth edition); Namespaces in XML 1.0.

use super::element::{Attr, Element, Node};
use super::markup::{in_quotes, is_name, is_xml_char, split_tag, unescape};
use crate::limits::{DEPTH_MAX, PORT_LEVELS_MAX, PORT_TAG_BYTES_MAX};
use crate::xml::{XML, XMLNS};
use std::fmt;
use std::io::BufRead;

/// What reading a file ran into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// A start tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Its namespace; empty if it has none.
    pub ns: String,
    /// Its local name.
    pub name: String,
    /// Its attributes but declarations.
    pub attrs: Vec<Attr>,
}

impl Open {
    /// Whether this is the element `name` in the namespace `ns`.
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// The value of the unprefixed attribute `name`.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|attr| attr.ns.is_empty() && attr.name == name).map(|attr| attr.value.as_str())
    }
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A start tag.
    Open(Open),
    /// The end of the innermost element.
    Close,
    /// Text, references resolved; never empty.
    Text(String),
    /// The end of the file, behind its root.
    End,
}

/// Reads one file.
pub struct Pull<R> {
    input: R,
    line: u64,
    /// Bytes that may still be read.
    allowance: u64,
    /// Qualified names of the open elements, and how many bindings were in scope outside each.
    open: Vec<(String, usize)>,
    /// Prefix and namespace, the innermost last.
    bindings: Vec<(String, String)>,
    /// An empty-element tag was read: its end comes next.
    closes: bool,
    /// A `<` was read.
    at_tag: bool,
    has_root: bool,
}

impl<R> fmt::Debug for Pull<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pull").field("line", &self.line).finish_non_exhaustive()
    }
}

impl<R: BufRead> Pull<R> {
    /// Reads from `input`, which may bring `allowance` bytes until [`allow`](Self::allow) is called. Unprefixed names
    /// at the top are of `default_ns`.
    pub fn new(input: R, default_ns: &str, allowance: u64) -> Self {
        let bindings = vec![("xml".to_owned(), XML.to_owned()), (String::new(), default_ns.to_owned())];
        Self { input, line: 1, allowance, open: Vec::new(), bindings, closes: false, at_tag: false, has_root: false }
    }

    /// From here on so many bytes more may come.
    pub fn allow(&mut self, bytes: u64) {
        self.allowance = bytes;
    }

    /// The line being read.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn fault<T>(&self, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { line: self.line, what: what.into() })
    }

    /// The next piece.
    ///
    /// # Errors
    ///
    /// The first [`Fault`]: the file cannot be read further.
    pub fn piece(&mut self) -> Result<Piece, Fault> {
        if std::mem::take(&mut self.closes) {
            return Ok(self.close_innermost());
        }
        let mut text = String::new();
        loop {
            if !self.at_tag {
                let mut raw = self.until(b'<')?;
                self.at_tag = raw.pop_if(|last| *last == b'<').is_some();
                let run = self.utf8(raw)?;
                self.text_run(&run, &mut text)?;
                if !self.at_tag {
                    return self.end(&text);
                }
            }
            match self.peek()? {
                b'!' => self.exclamation(&mut text)?,
                b'?' => self.instruction()?,
                _ if self.open.is_empty() && !text.trim_ascii().is_empty() => {
                    return self.fault("text outside of the root");
                }
                _ if self.open.is_empty() || text.is_empty() => break,
                _ => return Ok(Piece::Text(text)),
            }
            self.at_tag = false;
        }
        self.at_tag = false;
        self.tag()
    }

    /// Reads to the end of the element that `open` began.
    ///
    /// # Errors
    ///
    /// The first [`Fault`].
    pub fn element(&mut self, open: Open) -> Result<Element, Fault> {
        let mut path = vec![Element { ns: open.ns, name: open.name, attrs: open.attrs, children: Vec::new() }];
        loop {
            match self.piece()? {
                Piece::Open(Open { ns, name, attrs }) => path.push(Element { ns, name, attrs, children: Vec::new() }),
                Piece::Text(text) => {
                    if let Some(top) = path.last_mut() {
                        top.children.push(Node::Text(text));
                    }
                }
                Piece::Close => {
                    let Some(done) = path.pop() else { return self.fault("an end tag too many") };
                    match path.last_mut() {
                        Some(parent) => parent.children.push(Node::Element(done)),
                        None => return Ok(done),
                    }
                }
                Piece::End => return self.fault("the file ends inside an element"),
            }
        }
    }

    /// Reads past the end of an element whose start tag was just read.
    ///
    /// # Errors
    ///
    /// The first [`Fault`].
    pub fn skip(&mut self) -> Result<(), Fault> {
        let mut depth = 1_u32;
        while depth > 0 {
            match self.piece()? {
                Piece::Open(_) => depth += 1,
                Piece::Close => depth -= 1,
                Piece::Text(_) => {}
                Piece::End => return self.fault("the file ends inside an element"),
            }
        }
        Ok(())
    }

    fn end(&self, text: &str) -> Result<Piece, Fault> {
        match self.open.last() {
            Some((name, _)) => self.fault(format!("the file ends inside <{name}>")),
            None if !self.has_root => self.fault("there is no root element"),
            None if !text.trim_ascii().is_empty() => self.fault("text behind the root"),
            None => Ok(Piece::End),
        }
    }

    fn text_run(&mut self, run: &str, text: &mut String) -> Result<(), Fault> {
        // A byte order mark at the start is no text.
        let run = if self.has_root { run } else { run.strip_prefix('\u{FEFF}').unwrap_or(run) };
        if run.contains("]]>") {
            return self.fault("`]]>` in text");
        }
        unescape(run, false, text).or_else(|what| self.fault(what))
    }

    /// A comment or CDATA section, its `<` read.
    fn exclamation(&mut self, text: &mut String) -> Result<(), Fault> {
        let start = self.until(b'>')?;
        if start.starts_with(b"!--") {
            let comment = self.past(start, b"-->", 3)?;
            let inside = comment.get(3..comment.len().saturating_sub(3)).unwrap_or_default();
            return if inside.windows(2).any(|two| two == b"--") { self.fault("`--` in a comment") } else { Ok(()) };
        }
        if !start.starts_with(b"![CDATA[") {
            return self.fault("a document type: only the five entities of XML are known here");
        }
        if self.open.is_empty() {
            return self.fault("text outside of the root");
        }
        let section = self.past(start, b"]]>", 8)?;
        let inside = section.get(8..section.len().saturating_sub(3)).unwrap_or_default().to_vec();
        text.push_str(&self.utf8(inside)?.replace("\r\n", "\n").replace('\r', "\n"));
        Ok(())
    }

    /// A processing instruction or the XML declaration, its `<` read.
    fn instruction(&mut self) -> Result<(), Fault> {
        let start = self.until(b'>')?;
        let whole = self.past(start, b"?>", 1)?;
        let whole = self.utf8(whole)?.to_ascii_lowercase();
        match whole.split_once("encoding") {
            Some((before, after)) if before.starts_with("?xml ") && !after.contains("utf-8") => {
                self.fault("the file must be UTF-8")
            }
            _ => Ok(()),
        }
    }

    /// Reads on until what is read ends with `end`, the first `head` bytes not counted.
    fn past(&mut self, mut start: Vec<u8>, end: &[u8], head: usize) -> Result<Vec<u8>, Fault> {
        while !start.get(head..).is_some_and(|rest| rest.ends_with(end)) {
            let more = self.until(b'>')?;
            if more.is_empty() {
                return self.fault("the file ends inside a comment, CDATA section or instruction");
            }
            start.extend_from_slice(&more);
        }
        Ok(start)
    }

    /// A start or end tag, its `<` read.
    fn tag(&mut self) -> Result<Piece, Fault> {
        let mut raw = Vec::new();
        loop {
            let more = self.until(b'>')?;
            if more.is_empty() || raw.len() + more.len() > PORT_TAG_BYTES_MAX {
                return self.fault("a tag without end");
            }
            raw.extend_from_slice(&more);
            if raw.ends_with(b">") && !in_quotes(&raw) {
                raw.pop();
                break;
            }
        }
        let tag = self.utf8(raw)?;
        match tag.strip_prefix('/') {
            Some(name) => self.end_tag(name.trim_ascii_end()),
            None => self.start_tag(&tag),
        }
    }

    fn end_tag(&mut self, name: &str) -> Result<Piece, Fault> {
        match self.open.last() {
            Some((open, _)) if open == name => Ok(self.close_innermost()),
            Some((open, _)) => {
                let what = format!("</{name}> where </{open}> is due");
                self.fault(what)
            }
            None => self.fault("an end tag outside of the root"),
        }
    }

    fn close_innermost(&mut self) -> Piece {
        if let Some((_, scope)) = self.open.pop() {
            self.bindings.truncate(scope);
        }
        Piece::Close
    }

    fn start_tag(&mut self, tag: &str) -> Result<Piece, Fault> {
        if self.open.is_empty() && std::mem::replace(&mut self.has_root, true) {
            return self.fault("a second root");
        }
        if self.open.len() >= usize::from(DEPTH_MAX + PORT_LEVELS_MAX) {
            return self.fault("elements nest too deep");
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (qname, raw) = split_tag(tag).or_else(|what| self.fault(what))?;
        let scope = self.bindings.len();
        for (name, value) in &raw {
            match name.strip_prefix("xmlns:") {
                Some(prefix) if value.is_empty() || prefix == "xmlns" || (prefix == "xml") != (value == XML) => {
                    return self.fault("a prefix is declared that cannot be");
                }
                Some(prefix) => self.bindings.push((prefix.to_owned(), value.clone())),
                None if *name == "xmlns" => self.bindings.push((String::new(), value.clone())),
                None => {}
            }
        }
        let (ns, name) = self.resolve(qname, true)?;
        let mut attrs: Vec<Attr> = Vec::new();
        for (qname, value) in raw.into_iter().filter(|(name, _)| *name != "xmlns" && !name.starts_with("xmlns:")) {
            let (ns, name) = self.resolve(qname, false)?;
            if attrs.iter().any(|attr| attr.ns == ns && attr.name == name) {
                return self.fault("an attribute is there twice");
            }
            attrs.push(Attr { ns, name, value });
        }
        self.open.push((qname.to_owned(), scope));
        self.closes = is_empty;
        Ok(Piece::Open(Open { ns, name, attrs }))
    }

    /// Namespace and local name.
    fn resolve(&self, qname: &str, is_element: bool) -> Result<(String, String), Fault> {
        let (prefix, local) = qname.split_once(':').unwrap_or(("", qname));
        if !is_name(local) || (qname.contains(':') && !is_name(prefix)) {
            return self.fault(format!("{qname:?} is no name"));
        }
        if prefix.is_empty() && !is_element {
            return Ok((String::new(), local.to_owned()));
        }
        match self.bindings.iter().rev().find(|(bound, _)| bound == prefix) {
            Some((_, ns)) if ns != XMLNS => Ok((ns.clone(), local.to_owned())),
            _ => self.fault(format!("the prefix {prefix:?} is not declared")),
        }
    }

    fn utf8(&self, bytes: Vec<u8>) -> Result<String, Fault> {
        let text = String::from_utf8(bytes).or_else(|_| self.fault("not UTF-8"))?;
        match text.chars().all(is_xml_char) {
            true => Ok(text),
            false => self.fault("a character that XML does not allow"),
        }
    }

    /// Bytes up to and with `byte`, or to the end of the file.
    fn until(&mut self, byte: u8) -> Result<Vec<u8>, Fault> {
        let mut found = Vec::new();
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault { line: self.line, what: error.to_string() }),
            };
            let end = memchr::memchr(byte, chunk);
            let taken = chunk.get(..end.map_or(chunk.len(), |at| at + 1)).unwrap_or(chunk);
            let len = taken.len();
            self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
            let Some(left) = self.allowance.checked_sub(len as u64) else {
                return self.fault("more bytes than one account may have");
            };
            self.allowance = left;
            found.extend_from_slice(taken);
            self.input.consume(len);
            if end.is_some() || len == 0 {
                return Ok(found);
            }
        }
    }

    fn peek(&mut self) -> Result<u8, Fault> {
        match self.input.fill_buf() {
            Ok(chunk) => match chunk.first() {
                Some(byte) => Ok(*byte),
                None => self.fault("the file ends inside a tag"),
            },
            Err(error) => Err(Fault { line: self.line, what: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Element, Fault> {
        let mut pull = Pull::new(xml.as_bytes(), "", 10_000);
        let Piece::Open(open) = pull.piece()? else { panic!("no root: {xml}") };
        let element = pull.element(open)?;
        assert_eq!(pull.piece()?, Piece::End);
        Ok(element)
    }

    #[test]
    fn a_file_is_read_with_all_that_files_may_have() {
        let xml = "\u{FEFF}<?xml version='1.0' encoding='UTF-8'?>\n<!-- a > b --><a xmlns='n' xmlns:p='q'\n p:x='1 &lt;\n2' \
                   y=\"'>\"><?pi > ?><p:b/>t&#x41;&amp;<![CDATA[<x>]]><!----> u\r\n</a>\n<!-- end -->\n";
        let root = read(xml).unwrap();
        assert_eq!((root.ns.as_str(), root.name.as_str()), ("n", "a"));
        assert_eq!(root.attr_ns("q", "x"), Some("1 < 2"));
        assert_eq!(root.attr("y"), Some("'>"));
        assert!(root.child("q", "b").is_some());
        assert_eq!(root.text(), "tA&<x> u\n");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for xml in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>x",
            "<a b=c/>",
            "<a b='1'c='2'/>",
            "<a b='1' b='2'/>",
            "<a xmlns:p='q' xmlns:r='q' p:b='1' r:b='2'/>",
            "<p:a/>",
            "<a b='<'/>",
            "<a>&nbsp;</a>",
            "<a>&#0;</a>",
            "<a>&#+65;</a>",
            "<a>& </a>",
            "<a>]]></a>",
            "<!DOCTYPE a><a/>",
            "<a><!-- -- --></a>",
            "<a><![CDATA[</a>",
            "<1a/>",
            "<a:/>",
            "<a xmlns:p=''/>",
            "<a xmlns:xml='x'/>",
            "<xmlns:a/>",
            "<a><",
            "<a b/>",
            "<a b='1/>",
            "<?xml version='1.0' encoding='latin1'?><a/>",
            "<a>\u{1}</a>",
            "<![CDATA[x]]><a/>",
        ] {
            let result = std::panic::catch_unwind(|| read(xml));
            assert!(!matches!(result, Ok(Ok(_))), "{xml}");
        }
        assert_eq!(read("<a>\n<b>\n</a>").unwrap_err().line, 3);
        let deep = "<a>".repeat(usize::from(DEPTH_MAX + PORT_LEVELS_MAX) + 1);
        assert_eq!(read(&deep).unwrap_err().what, "elements nest too deep");
    }

    #[test]
    fn an_allowance_is_kept_and_given_anew() {
        let xml = format!("<a>{}<b/></a>", " ".repeat(100));
        let mut pull = Pull::new(xml.as_bytes(), "", 50);
        assert!(matches!(pull.piece(), Ok(Piece::Open(_))));
        assert_eq!(pull.piece().unwrap_err().what, "more bytes than one account may have");
        let mut pull = Pull::new(xml.as_bytes(), "", 50);
        assert!(matches!(pull.piece(), Ok(Piece::Open(_))));
        pull.allow(200);
        assert!(matches!(pull.piece(), Ok(Piece::Text(_))));
    }
}
