//! What the scanner remembers of an accepted header or frame: the top tag, and its children by name.
//!
//! Everything is a span into the item's bytes, so that a head costs no copy and no allocation. Who asks
//! passes the same bytes again.

use super::ns::{Binding, NsRef, StreamNs, XML, declared_prefix, prefix_str};
use super::unescape::{Place, as_str, unescape};
use std::borrow::Cow;
use std::ops::Range;

/// Children of one frame that are recorded; later ones are only counted. Nothing that the server peeks at has
/// more than a handful of payloads.
pub const CHILDREN_KEPT_MAX: usize = 32;

/// A stretch of the item's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// A name as written: `prefix:local` or `local`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) start: u32,
    /// Length of the whole name.
    pub(super) len: u16,
    /// Length of the prefix without its colon; 0 if there is none.
    pub(super) prefix_len: u16,
}

impl Name {
    pub(super) fn span(self) -> Span {
        Span { start: self.start, len: u32::from(self.len) }
    }

    pub(super) fn prefix_span(self) -> Span {
        Span { start: self.start, len: u32::from(self.prefix_len) }
    }

    pub(super) fn local_span(self) -> Span {
        let skipped = u32::from(self.prefix_len) + u32::from(self.prefix_len != 0);
        Span { start: self.start + skipped, len: u32::from(self.len) - skipped }
    }

    pub(super) fn whole(self, bytes: &[u8]) -> &[u8] {
        self.span().of(bytes)
    }

    pub(super) fn prefix(self, bytes: &[u8]) -> &[u8] {
        self.prefix_span().of(bytes)
    }

    pub(super) fn local(self, bytes: &[u8]) -> &[u8] {
        self.local_span().of(bytes)
    }
}

/// One attribute as written, declarations included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attr {
    pub(super) name: Name,
    /// The raw value between the quotes.
    pub(super) value: Span,
}

/// A direct child of the top element.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    pub(super) name: Name,
    pub(super) ns: NsRef,
    pub(super) span: Span,
}

impl Child {
    /// The local name.
    #[must_use]
    pub fn local<'a>(&self, bytes: &'a [u8]) -> &'a str {
        as_str(self.name.local(bytes))
    }

    /// The prefix, if it was written with one.
    #[must_use]
    pub fn prefix<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        prefix_str(self.name.prefix(bytes))
    }

    /// The namespace; empty if it has none.
    #[must_use]
    pub fn ns<'a>(&self, bytes: &'a [u8], ns: &'a StreamNs) -> Cow<'a, str> {
        expand(self.name, self.ns, bytes, ns)
    }

    /// Whether this is the element `local` in the namespace `uri`.
    #[must_use]
    pub fn is(&self, bytes: &[u8], ns: &StreamNs, uri: &str, local: &str) -> bool {
        self.name.local(bytes) == local.as_bytes() && self.ns.is(bytes, ns, self.name.prefix(bytes), uri)
    }

    /// Where the child stands in the item's bytes, from its `<` to behind its last `>`.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.range()
    }
}

/// What is known of an accepted header or frame without a parse.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub(super) name: Name,
    pub(super) ns: NsRef,
    pub(super) attrs: Vec<Attr>,
    pub(super) children: Vec<Child>,
    /// Prefixes that only the stream header binds, each once.
    pub(super) header_prefixes: Vec<Span>,
    pub(super) child_count: u32,
    /// Where the top tag's `>` ends.
    pub(super) tag_end: u32,
    /// Length of the whole item.
    pub(super) len: u32,
    pub(super) has_text: bool,
    pub(super) is_empty: bool,
    pub(super) leans_on_default: bool,
    pub(super) needs_normalising: bool,
}

impl Head {
    /// The top element's local name.
    #[must_use]
    pub fn local<'a>(&self, bytes: &'a [u8]) -> &'a str {
        as_str(self.name.local(bytes))
    }

    /// The top element's prefix, if it was written with one.
    #[must_use]
    pub fn prefix<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        prefix_str(self.name.prefix(bytes))
    }

    /// The top element's namespace; empty if it has none.
    #[must_use]
    pub fn ns<'a>(&'a self, bytes: &'a [u8], ns: &'a StreamNs) -> Cow<'a, str> {
        expand(self.name, self.ns, bytes, ns)
    }

    /// Whether the top element is `local` in the namespace `uri`. Allocates nothing.
    #[must_use]
    pub fn is(&self, bytes: &[u8], ns: &StreamNs, uri: &str, local: &str) -> bool {
        self.name.local(bytes) == local.as_bytes() && self.ns.is(bytes, ns, self.name.prefix(bytes), uri)
    }

    /// The value of the unprefixed attribute `name`: references replaced, white space normalised; borrowed when
    /// nothing had to change.
    #[must_use]
    pub fn attr<'a>(&self, bytes: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
        self.find(bytes, name.as_bytes()).map(|attr| unescape(attr.value.of(bytes), Place::Value))
    }

    /// The value of `xml:lang`, if the tag has one.
    #[must_use]
    pub fn xml_lang<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
        self.attr(bytes, "xml:lang")
    }

    /// The attribute written as `name`.
    pub(super) fn find(&self, bytes: &[u8], name: &[u8]) -> Option<&Attr> {
        self.attrs.iter().find(|attr| attr.name.whole(bytes) == name)
    }

    /// The declarations on the top tag, as (prefix, namespace); the default namespace has the empty prefix.
    pub fn declarations<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        self.bindings(bytes)
            .map(|binding| (as_str(binding.prefix.of(bytes)), unescape(binding.uri.of(bytes), Place::Value)))
    }

    fn bindings<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Binding> + use<'a> {
        self.attrs
            .iter()
            .filter_map(|attr| declared_prefix(attr.name, bytes).map(|prefix| Binding { prefix, uri: attr.value }))
    }

    /// The direct children, the first [`CHILDREN_KEPT_MAX`] of them.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// How many direct children there are, recorded or not.
    #[must_use]
    pub fn child_count(&self) -> u32 {
        self.child_count
    }

    /// The first recorded child that is `local` in the namespace `uri`.
    #[must_use]
    pub fn child(&self, bytes: &[u8], ns: &StreamNs, uri: &str, local: &str) -> Option<&Child> {
        self.children.iter().find(|child| child.is(bytes, ns, uri, local))
    }

    /// Whether anything but white space stands directly inside the top element. A CDATA section counts, whatever
    /// it holds.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.has_text
    }

    /// Whether the top element was written as an empty tag.
    #[must_use]
    pub fn is_empty_element(&self) -> bool {
        self.is_empty
    }

    /// Whether the frame uses a prefix that only the stream header binds, and so means nothing elsewhere until the
    /// prefix is redeclared. The default namespace does not count.
    #[must_use]
    pub fn leans_on_header(&self) -> bool {
        !self.header_prefixes.is_empty()
    }

    /// Whether xml5ever would change the text of this frame: references to U+0080–U+009F, raw CR, or raw tab or LF
    /// in an attribute value.
    #[must_use]
    pub fn needs_normalising(&self) -> bool {
        self.needs_normalising
    }

    pub(super) fn clear(&mut self) {
        let Self { attrs, children, header_prefixes, .. } = self;
        let (mut attrs, mut children) = (std::mem::take(attrs), std::mem::take(children));
        let mut header_prefixes = std::mem::take(header_prefixes);
        attrs.clear();
        children.clear();
        header_prefixes.clear();
        *self = Self { attrs, children, header_prefixes, ..Self::default() };
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.attrs.capacity() * size_of::<Attr>()
            + self.children.capacity() * size_of::<Child>()
            + self.header_prefixes.capacity() * size_of::<Span>()
    }
}

fn expand<'a>(name: Name, ns_ref: NsRef, bytes: &'a [u8], ns: &'a StreamNs) -> Cow<'a, str> {
    match ns_ref {
        NsRef::Header => Cow::Borrowed(ns.lookup_bytes(name.prefix(bytes)).unwrap_or("")),
        NsRef::Frame(span) => unescape(span.of(bytes), Place::Value),
        NsRef::Xml => Cow::Borrowed(XML),
    }
}
