//! What the scanner remembers of an accepted header or frame: the top tag, and its children by name.
//!
//! Everything is a span into the item's bytes, so that a head costs no copy and no allocation. Who asks
//! passes the same bytes again.

use super::chars;
use super::ns::{Binding, NsRef, StreamNs, XML, declared_prefix, prefix_str};
use super::unescape::{Place, as_str, unescape};
use std::borrow::Cow;
use std::ops::Range;

pub use crate::limits::CHILDREN_KEPT_MAX;

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
    /// Equal for equal namespaces; 0 for an attribute without prefix, or the only one with.
    pub(super) ns_id: u32,
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

    /// Its text, if it was written in the usual way: `<local>`, printable ASCII that means itself, and the end tag.
    /// Whoever gets `None` asks the [`Tree`](super::Tree).
    #[must_use]
    pub fn plain_text<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        let inside =
            self.span.of(bytes).strip_prefix(b"<")?.strip_prefix(self.name.whole(bytes))?.strip_prefix(b">")?;
        text_before_end(inside)
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
        self.attrs.iter().filter_map(|attr| {
            declared_prefix(attr.name, bytes).map(|prefix| Binding { prefix, uri: attr.value, id: 0 })
        })
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

    /// The text of a top element without children, if it is printable ASCII that means itself. Whoever gets `None`
    /// asks the [`Tree`](super::Tree).
    #[must_use]
    pub fn plain_text<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        let is_plain = self.child_count == 0 && !self.is_empty;
        bytes.get(self.tag_end as usize..self.len as usize).filter(|_| is_plain).and_then(text_before_end)
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

    /// Forgets everything but the capacity.
    pub(super) fn clear(&mut self) {
        self.attrs.clear();
        self.children.clear();
        self.header_prefixes.clear();
        (self.name, self.ns) = (Name::default(), NsRef::default());
        (self.child_count, self.tag_end, self.len) = (0, 0, 0);
        (self.has_text, self.is_empty) = (false, false);
        (self.leans_on_default, self.needs_normalising) = (false, false);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.attrs.capacity() * size_of::<Attr>()
            + self.children.capacity() * size_of::<Child>()
            + self.header_prefixes.capacity() * size_of::<Span>()
    }
}

/// The text up to the first tag, which must be an end tag.
fn text_before_end(inside: &[u8]) -> Option<&str> {
    let (text, rest) = inside.split_at_checked(memchr::memchr(b'<', inside)?)?;
    (rest.starts_with(b"</") && chars::means_itself(text)).then(|| as_str(text))
}

fn expand<'a>(name: Name, ns_ref: NsRef, bytes: &'a [u8], ns: &'a StreamNs) -> Cow<'a, str> {
    match ns_ref {
        NsRef::Header => Cow::Borrowed(ns.lookup_bytes(name.prefix(bytes)).unwrap_or("")),
        NsRef::Frame(span) => unescape(span.of(bytes), Place::Value),
        NsRef::Xml => Cow::Borrowed(XML),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{CLIENT, Expect, STREAMS, Scan, Step, XmlLimits};

    fn scanned(frame: &str) -> Scan {
        let mut scan = Scan::default();
        let limits = XmlLimits::with_frame_bytes(10_000);
        let step = scan.step(frame.as_bytes(), Expect::Frames, StreamNs::standard(), &limits);
        assert_eq!(step, Ok(Step::Frame { len: frame.len() }), "{frame}");
        scan
    }

    #[test]
    fn the_top_tag() {
        let frame = "<p:iq xmlns:p='u:&amp;' id=\"a&lt;\tb\" p:id='c' xml:lang='en'/>";
        let (scan, bytes, ns) = (scanned(frame), frame.as_bytes(), StreamNs::standard());
        let head = scan.head();
        assert_eq!((head.local(bytes), head.prefix(bytes)), ("iq", Some("p")));
        assert_eq!(head.ns(bytes, ns), "u:&");
        assert!(head.is(bytes, ns, "u:&", "iq") && !head.is(bytes, ns, CLIENT, "iq"));
        assert_eq!(head.attr(bytes, "id").as_deref(), Some("a< b"));
        assert!(head.attr(bytes, "to").is_none() && head.attr(bytes, "lang").is_none());
        assert!(matches!(head.xml_lang(bytes), Some(Cow::Borrowed("en"))));
        assert_eq!(head.declarations(bytes).collect::<Vec<_>>(), [("p", Cow::from("u:&"))]);
        assert!(head.is_empty_element() && !head.has_text() && head.needs_normalising());
        assert_eq!(head.child_count(), 0);
    }

    #[test]
    fn children() {
        let frame = "<message>\n<body>a</body><x xmlns='u:x'><y/></x> <stream:z/><p:w xmlns:p='u:p'></p:w></message>";
        let (scan, bytes, ns) = (scanned(frame), frame.as_bytes(), StreamNs::standard());
        let head = scan.head();
        let found: Vec<_> = head
            .children()
            .iter()
            .map(|child| (child.ns(bytes, ns), child.local(bytes), &frame[child.span()]))
            .collect();
        assert_eq!(
            found,
            [
                (CLIENT.into(), "body", "<body>a</body>"),
                ("u:x".into(), "x", "<x xmlns='u:x'><y/></x>"),
                (STREAMS.into(), "z", "<stream:z/>"),
                ("u:p".into(), "w", "<p:w xmlns:p='u:p'></p:w>"),
            ]
        );
        assert_eq!(head.child(bytes, ns, "u:p", "w").and_then(|child| child.prefix(bytes)), Some("p"));
        assert!(head.child(bytes, ns, CLIENT, "x").is_none());
        assert!(head.leans_on_header() && !head.has_text() && !head.is_empty_element());
    }

    #[test]
    fn children_beyond_the_bound_are_counted() {
        let frame = format!("<a>{}</a>", "<b><c/></b>".repeat(40));
        let scan = scanned(&frame);
        assert_eq!(scan.head().child_count(), 40);
        assert_eq!(scan.head().children().len(), CHILDREN_KEPT_MAX);
        assert!(scan.head().children().iter().all(|child| &frame[child.span()] == "<b><c/></b>"));
    }

    #[test]
    fn text_directly_inside() {
        for (frame, has_text) in [
            ("<a> \n\t</a>", false),
            ("<a><b>c</b></a>", false),
            ("<a><b/>c</a>", true),
            ("<a> &#32;</a>", true),
            ("<a>é</a>", true),
            ("<a><b/> <b/> c<b/></a>", true),
            ("<a><![CDATA[]]></a>", true),
        ] {
            assert_eq!(scanned(frame).head().has_text(), has_text, "{frame}");
        }
    }

    #[test]
    fn plain_text_is_what_the_tree_says_or_nothing() {
        let told = [
            ("<a>b c</a>", Some("b c")),
            ("<p:a xmlns:p='u>'>b></p:a >", Some("b>")),
            ("<a></a>", Some("")),
            ("<a/>", None),
            ("<a>b&amp;c</a>", None),
            ("<a>b<![CDATA[c]]></a>", None),
            ("<a><![CDATA[c]]></a>", None),
            ("<a>b<c/></a>", None),
            ("<a>\u{e9}</a>", None),
            ("<a>b\n</a>", None),
        ];
        for (frame, text) in told {
            let read = [frame, "<next/>"].concat();
            assert_eq!(scanned(frame).head().plain_text(read.as_bytes()), text, "{frame}");
            // The same as a child: told only when there is nothing else in its tag.
            let (outer, is_bare) = (format!("<o>{frame}<z/></o>"), !frame.contains("xmlns"));
            let child = scanned(&outer).head().children()[0];
            assert_eq!(child.plain_text(outer.as_bytes()), text.filter(|_| is_bare), "{outer}");
        }
    }

    #[test]
    fn what_needs_normalising() {
        for (frame, needs) in [
            ("<a b='c\nd'/>", true),
            ("<a>\r</a>", true),
            ("<a>&#x85;</a>", true),
            ("<a><b c='&#128;'/></a>", true),
            ("<a>\n\t\u{80}&#13;&#160;</a>", false),
            ("<a\r\nb='&#10;'/>", false),
        ] {
            assert_eq!(scanned(frame).head().needs_normalising(), needs, "{frame:?}");
        }
    }

    #[test]
    fn nothing_is_left_of_the_frame_before() {
        let mut scan = scanned("<stream:a b='1' c='2'>x<d e='&#x80;'/></stream:a>");
        let limits = XmlLimits::with_frame_bytes(100);
        let frame = b"<f g='3'></f>";
        assert_eq!(scan.step(frame, Expect::Frames, StreamNs::standard(), &limits), Ok(Step::Frame { len: 13 }));
        let head = scan.head();
        assert_eq!((head.local(frame), head.prefix(frame), head.attr(frame, "b")), ("f", None, None));
        assert_eq!(head.attr(frame, "g").as_deref(), Some("3"));
        assert_eq!((head.child_count(), head.children().len()), (0, 0));
        assert!(!head.has_text() && !head.leans_on_header() && !head.needs_normalising() && !head.is_empty_element());
    }
}
