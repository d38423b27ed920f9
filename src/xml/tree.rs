//! A payload as a tree, for what the server itself must understand.
//!
//! ```text
//! frame that Scan accepted ──▶ (normalised copy, rarely) ──▶ xml5ever's tokenizer ──▶ Sink ──▶ arena
//! ```
//!
//! The tokenizer only consumes; nothing is judged here. Namespaces are resolved by our own sink, not by
//! xml5ever's tree builder, which repairs silently. Four habits of xml5ever change text and are met before it
//! sees the bytes: references to U+0080–U+009F become Windows-1252 characters, white space in attribute values
//! stays raw, a lone CR behind an entity is lost, and a U+FEFF at the start is dropped (an option turns that off).
//! A tree is short-lived: element names are interned in a table of the process while tokens live.
//!
//! The only place that names xml5ever.

use super::error::XmlError;
use super::head::{Head, Span};
use super::ns::{StreamNs, XML};
use super::unescape::{as_str, reference};
use super::write::{escape, escape_attr};
use std::borrow::Cow;
use std::cell::Cell;
use xml5ever::Attribute;
use xml5ever::buffer_queue::BufferQueue;
use xml5ever::tendril::StrTendril;
use xml5ever::tokenizer::{EmptyTag, EndTag, ProcessResult, ShortTag, StartTag, Tag, Token, TokenSink};
use xml5ever::tokenizer::{XmlTokenizer, XmlTokenizerOpts};

/// The one error that xml5ever raises about what is right: `&#13;` and its like, which the scanner has judged.
const FALSE_ALARM: &str = "Invalid numeric character reference";

/// No node.
const NONE: u32 = u32::MAX;

/// An accepted frame, parsed.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    attrs: Vec<TreeAttr>,
    /// All names, namespaces, values and texts, one behind the other.
    text: String,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// The next sibling.
    next: u32,
}

#[derive(Debug)]
enum Kind {
    Element { name: Span, ns: Span, attrs: Span, first_child: u32 },
    Text(Span),
}

#[derive(Debug)]
struct TreeAttr {
    name: Span,
    ns: Span,
    value: Span,
}

impl Tree {
    /// Parses the frame `head`, which a scan has accepted in `bytes` on a stream with the scope `ns`.
    ///
    /// # Errors
    ///
    /// [`XmlError::ParserDisagrees`]: a bug of ours. Close the stream.
    pub fn parse(bytes: &[u8], head: &Head, ns: &StreamNs) -> Result<Self, XmlError> {
        let frame = bytes.get(..head.len as usize).unwrap_or(bytes);
        let frame: Cow<'_, [u8]> =
            if head.needs_normalising { Cow::Owned(normalise(frame)) } else { Cow::Borrowed(frame) };
        let queue = BufferQueue::default();
        queue.push_back(StrTendril::from_slice(as_str(&frame)));
        let sink = Sink { ns, builder: Cell::default() };
        let options = XmlTokenizerOpts { discard_bom: false, ..XmlTokenizerOpts::default() };
        let tokenizer = XmlTokenizer::new(sink, options);
        let _ = tokenizer.feed(&queue);
        // Half a token at the end would be an error.
        tokenizer.end();
        let builder = tokenizer.sink.builder.take();
        let is_whole = queue.is_empty() && builder.open.is_empty() && !builder.tree.nodes.is_empty();
        if builder.disagrees || !is_whole {
            return Err(XmlError::ParserDisagrees { offset: 0 });
        }
        Ok(builder.tree)
    }

    /// The top element.
    #[must_use]
    pub fn root(&self) -> Element<'_> {
        Element { tree: self, node: 0 }
    }

    fn text(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }

    fn nodes_from(&self, first: u32) -> impl Iterator<Item = (u32, &Node)> {
        let with_index = |index: u32| self.nodes.get(index as usize).map(|node| (index, node));
        std::iter::successors(with_index(first), move |(_, node)| with_index(node.next))
    }
}

/// An element would be longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// An element of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    tree: &'a Tree,
    node: u32,
}

impl<'a> Element<'a> {
    /// The local name.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.tree.text(self.parts().0)
    }

    /// The namespace; empty if it has none.
    #[must_use]
    pub fn ns(self) -> &'a str {
        self.tree.text(self.parts().1)
    }

    /// Whether this is the element `name` in the namespace `ns`.
    #[must_use]
    pub fn is(self, ns: &str, name: &str) -> bool {
        self.name() == name && self.ns() == ns
    }

    /// The value of the unprefixed attribute `name`.
    #[must_use]
    pub fn attr(self, name: &str) -> Option<&'a str> {
        self.attr_ns("", name)
    }

    /// The value of the attribute `name` in the namespace `ns`.
    #[must_use]
    pub fn attr_ns(self, ns: &str, name: &str) -> Option<&'a str> {
        self.attrs().find(|attr| attr.0 == ns && attr.1 == name).map(|attr| attr.2)
    }

    /// Whether there is nothing in it: no attribute, no element, no text.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.attrs().next().is_none() && self.tree.nodes_from(self.parts().3).next().is_none()
    }

    /// All attributes but declarations, as (namespace, name, value).
    pub fn attrs(self) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let tree = self.tree;
        let attrs = tree.attrs.get(self.parts().2.range()).unwrap_or_default();
        attrs.iter().map(|attr| (tree.text(attr.ns), tree.text(attr.name), tree.text(attr.value)))
    }

    /// The child elements, in order.
    pub fn children(self) -> impl Iterator<Item = Element<'a>> {
        let tree = self.tree;
        let is_element = |node: &Node| matches!(node.kind, Kind::Element { .. });
        tree.nodes_from(self.parts().3)
            .filter(move |(_, node)| is_element(node))
            .map(move |(node, _)| Element { tree, node })
    }

    /// The first child element `name` in the namespace `ns`.
    #[must_use]
    pub fn child(self, ns: &str, name: &str) -> Option<Element<'a>> {
        self.children().find(|child| child.is(ns, name))
    }

    /// The text directly inside, without that of children; borrowed if it is in one piece.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        let tree = self.tree;
        let mut pieces = tree.nodes_from(self.parts().3).filter_map(|(_, node)| match node.kind {
            Kind::Text(span) => Some(tree.text(span)),
            Kind::Element { .. } => None,
        });
        let first = pieces.next().unwrap_or("");
        match pieces.next() {
            None => Cow::Borrowed(first),
            Some(second) => Cow::Owned([first, second].into_iter().chain(pieces).collect()),
        }
    }

    /// Appends the element with all that is in it, so that it means the same wherever it is put.
    ///
    /// # Errors
    ///
    /// [`TooLong`]: it would take more than about `bytes_max` bytes, and is there in part. Declarations are written
    /// where they are needed, so that a short element with a long namespace could become a thousand times longer.
    pub fn write(self, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let end = out.len().saturating_add(bytes_max);
        self.write_inside("", end, out)?;
        if out.len() > end { Err(TooLong) } else { Ok(()) }
    }

    /// The same, where `outer` is the default namespace already. Not deeper than the scanner allows.
    fn write_inside(self, outer: &str, end: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let attribute = |name: &[&[u8]], value: &str, out: &mut Vec<u8>| {
            out.push(b' ');
            name.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"='");
            escape_attr(value, out);
            out.push(b'\'');
        };
        // XML's own namespace has one prefix and may not be the default one (Namespaces in XML §3).
        let (prefix, inner): (&[u8], &str) = if self.ns() == XML { (b"xml:", outer) } else { (b"", self.ns()) };
        out.push(b'<');
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.name().as_bytes());
        if inner != outer {
            attribute(&[b"xmlns"], inner, out);
        }
        for (number, (ns, name, value)) in self.attrs().enumerate() {
            if out.len() > end {
                return Err(TooLong);
            }
            match ns {
                "" => attribute(&[name.as_bytes()], value, out),
                XML => attribute(&[b"xml:", name.as_bytes()], value, out),
                ns => {
                    let prefix = format!("a{number}:");
                    attribute(&[b"xmlns:", prefix.trim_end_matches(':').as_bytes()], ns, out);
                    attribute(&[prefix.as_bytes(), name.as_bytes()], value, out);
                }
            }
        }
        let mut nodes = self.tree.nodes_from(self.parts().3).peekable();
        if nodes.peek().is_none() {
            out.extend_from_slice(b"/>");
            return Ok(());
        }
        out.push(b'>');
        for (node, content) in nodes {
            if out.len() > end {
                return Err(TooLong);
            }
            match content.kind {
                Kind::Text(span) => escape(self.tree.text(span), out),
                Kind::Element { .. } => Element { tree: self.tree, node }.write_inside(inner, end, out)?,
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.name().as_bytes());
        out.push(b'>');
        Ok(())
    }

    /// Name, namespace, attributes and first child.
    fn parts(self) -> (Span, Span, Span, u32) {
        match self.tree.nodes.get(self.node as usize).map(|node| &node.kind) {
            Some(&Kind::Element { name, ns, attrs, first_child }) => (name, ns, attrs, first_child),
            _ => (Span::default(), Span::default(), Span::default(), NONE),
        }
    }
}

/// Takes tokens. `TokenSink` gives only `&self`, so the builder is taken out and put back.
struct Sink<'a> {
    ns: &'a StreamNs,
    builder: Cell<Builder>,
}

#[derive(Default)]
struct Builder {
    tree: Tree,
    open: Vec<Open>,
    /// Declarations in scope, the innermost last: prefix and namespace.
    bindings: Vec<(Span, Span)>,
    /// What was looked up in the stream header.
    header: Vec<(Span, Span)>,
    disagrees: bool,
}

/// An element that is not closed yet.
struct Open {
    node: u32,
    last_child: u32,
    /// Declarations in scope outside it.
    scope: usize,
}

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token) -> ProcessResult<()> {
        let mut builder = self.builder.take();
        match token {
            Token::Characters(text) => builder.characters(&text),
            Token::Tag(tag) => match tag.kind {
                StartTag => builder.open(&tag, self.ns),
                EmptyTag => {
                    builder.open(&tag, self.ns);
                    builder.close();
                }
                EndTag => builder.close(),
                ShortTag => builder.disagrees = true,
            },
            Token::ParseError(text) if text == FALSE_ALARM => {}
            Token::EndOfFile => {}
            Token::Doctype(_)
            | Token::ProcessingInstruction(_)
            | Token::Comment(_)
            | Token::NullCharacter
            | Token::ParseError(_) => builder.disagrees = true,
        }
        self.builder.set(builder);
        ProcessResult::Continue
    }
}

impl Builder {
    fn open(&mut self, tag: &Tag, header: &StreamNs) {
        let scope = self.bindings.len();
        tag.attrs.iter().for_each(|attr| self.declare(attr));
        let first_attr = self.tree.attrs.len();
        for attr in tag.attrs.iter().filter(|attr| declared(attr).is_none()) {
            let ns = match &attr.name.prefix {
                Some(prefix) => self.resolve(prefix, header),
                None => Span::default(),
            };
            let (name, value) = (self.push(&attr.name.local), self.push(&attr.value));
            self.tree.attrs.push(TreeAttr { name, ns, value });
        }
        let attrs = Span { start: first_attr as u32, len: (self.tree.attrs.len() - first_attr) as u32 };
        let ns = self.resolve(tag.name.prefix.as_deref().unwrap_or(""), header);
        let name = self.push(&tag.name.local);
        let node = self.append(Kind::Element { name, ns, attrs, first_child: NONE });
        self.open.push(Open { node, last_child: NONE, scope });
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(open) => self.bindings.truncate(open.scope),
            None => self.disagrees = true,
        }
    }

    fn characters(&mut self, text: &str) {
        let Some(last) = self.open.last().map(|open| open.last_child) else {
            self.disagrees = true;
            return;
        };
        let added = self.push(text);
        // Runs of text that references or line ends have cut are one text.
        if let Some(Node { kind: Kind::Text(span), .. }) = self.tree.nodes.get_mut(last as usize)
            && span.start + span.len == added.start
        {
            span.len += added.len;
            return;
        }
        self.append(Kind::Text(added));
    }

    /// Adds a node behind the last child of the innermost open element.
    fn append(&mut self, kind: Kind) -> u32 {
        let node = self.tree.nodes.len() as u32;
        if let Some(open) = self.open.last_mut() {
            let before = if open.last_child == NONE { open.node } else { open.last_child };
            let is_first = open.last_child == NONE;
            open.last_child = node;
            match self.tree.nodes.get_mut(before as usize) {
                Some(Node { kind: Kind::Element { first_child, .. }, .. }) if is_first => *first_child = node,
                Some(sibling) => sibling.next = node,
                None => self.disagrees = true,
            }
        } else if node != 0 {
            // A second root.
            self.disagrees = true;
        }
        self.tree.nodes.push(Node { kind, next: NONE });
        node
    }

    fn declare(&mut self, attr: &Attribute) {
        if let Some(prefix) = declared(attr) {
            let binding = (self.push(prefix), self.push(&attr.value));
            self.bindings.push(binding);
        }
    }

    /// The namespace of `prefix`, which is bound: the scanner has seen to that.
    fn resolve(&mut self, prefix: &str, header: &StreamNs) -> Span {
        let tree = &self.tree;
        let mut known = self.bindings.iter().rev().chain(&self.header);
        if let Some(&(_, uri)) = known.find(|(bound, _)| tree.text(*bound) == prefix) {
            return uri;
        }
        let uri = match prefix {
            "xml" => XML,
            "" => header.default_ns(),
            _ => header.lookup(prefix).unwrap_or_else(|| {
                self.disagrees = true;
                ""
            }),
        };
        let binding = (self.push(prefix), self.push(uri));
        self.header.push(binding);
        binding.1
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.tree.text.len() as u32;
        self.tree.text.push_str(text);
        Span { start, len: text.len() as u32 }
    }
}

/// The prefix that an attribute declares, if it is a declaration.
fn declared(attr: &Attribute) -> Option<&str> {
    match (attr.name.prefix.as_deref(), &*attr.name.local) {
        (None, "xmlns") => Some(""),
        (Some("xmlns"), prefix) => Some(prefix),
        _ => None,
    }
}

/// A copy of an accepted frame that xml5ever reads rightly: references to U+0080–U+009F are the character itself,
/// line ends are LF, white space in attribute values is a space.
fn normalise(frame: &[u8]) -> Vec<u8> {
    const CDATA: &[u8] = b"<![CDATA[";
    let mut out = Vec::with_capacity(frame.len());
    let mut rest = frame;
    let mut at = Inside::Text;
    while let [byte, tail @ ..] = rest {
        let mut len = 1;
        match (byte, at) {
            (b'<', Inside::Text) => at = if rest.starts_with(CDATA) { Inside::Cdata } else { Inside::Tag },
            (b'>', Inside::Tag) => at = Inside::Text,
            (b'\'' | b'"', Inside::Tag) => at = Inside::Value(*byte),
            (_, Inside::Value(quote)) if *byte == quote => at = Inside::Tag,
            (b'>', Inside::Cdata) if out.ends_with(b"]]") => at = Inside::Text,
            (b'&', Inside::Text | Inside::Value(_)) => len = push_reference(rest, &mut out),
            _ => {}
        }
        match (byte, at) {
            (b'&', Inside::Text | Inside::Value(_)) => {}
            (b'\r', _) if tail.first() == Some(&b'\n') => {}
            (b'\t' | b'\r' | b'\n', Inside::Value(_)) => out.push(b' '),
            (b'\r', _) => out.push(b'\n'),
            _ => out.push(*byte),
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    out
}

/// Where [`normalise`] is.
#[derive(Clone, Copy)]
enum Inside {
    Text,
    Tag,
    /// And the quote that ends it.
    Value(u8),
    Cdata,
}

/// Copies the reference at the start of `raw`, or the character itself if xml5ever would change it.
fn push_reference(raw: &[u8], out: &mut Vec<u8>) -> usize {
    match reference(raw) {
        Some((c @ '\u{80}'..='\u{9F}', len)) => {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            len
        }
        _ => {
            out.push(b'&');
            1
        }
    }
}

#[cfg(test)]
mod tests;
