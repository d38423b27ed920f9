//! Namespaces: what a stream header declared, what a tag declares, and what a name resolves to.
//!
//! ```text
//! prefix ──▶ declarations in the frame, innermost first ──▶ the stream header ──▶ NamespaceFault
//! ```
//!
//! Prefixes are not significant: names are compared as (namespace, local name) only.
//!
//! Namespaces in XML 1.0; RFC 6120 §4.8, §11.2.

use super::head::{Head, Name, Span};
use super::unescape::{Meaning, as_str};

/// The namespace that the prefix `xml` is bound to without a declaration.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of declarations themselves; nothing may be bound to it.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
/// The namespace of the stream's own elements.
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// The content namespace of client streams.
pub const CLIENT: &str = "jabber:client";
/// The content namespace of the streams of components (XEP-0114).
pub const COMPONENT: &str = "jabber:component:accept";

/// What a stream header declared: the outermost scope of every frame on that stream.
///
/// Takes no heap for the header that practically every client sends.
#[derive(Clone, Debug, Default)]
pub struct StreamNs(Scope);

#[derive(Clone, Debug, Default)]
enum Scope {
    /// Before a header: only `xml` is bound.
    #[default]
    Unopened,
    /// `xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'` on `<stream:stream>`.
    Standard,
    /// Anything else.
    Declared(Box<Declared>),
}

#[derive(Clone, Debug)]
struct Declared {
    /// The prefix of the root element; empty if it had none.
    stream_prefix: Box<str>,
    /// Prefix and namespace, the default namespace under the empty prefix.
    bindings: Vec<(Box<str>, Box<str>)>,
}

static STANDARD: StreamNs = StreamNs(Scope::Standard);

impl StreamNs {
    /// The scope before a header: only `xml` is bound.
    #[must_use]
    pub const fn new() -> Self {
        Self(Scope::Unopened)
    }

    /// The scope of the usual client header: default namespace `jabber:client`, prefix `stream`.
    #[must_use]
    pub fn standard() -> &'static Self {
        &STANDARD
    }

    /// What the header `head`, found in `bytes`, declares.
    #[must_use]
    pub fn from_header(head: &Head, bytes: &[u8]) -> Self {
        let stream_prefix = head.prefix(bytes).unwrap_or("").into();
        let bindings: Vec<(Box<str>, Box<str>)> =
            head.declarations(bytes).map(|(prefix, uri)| (prefix.into(), uri.into())).collect();
        Self::of(Declared { stream_prefix, bindings })
    }

    fn of(declared: Declared) -> Self {
        if declared.is_standard() { Self(Scope::Standard) } else { Self(Scope::Declared(Box::new(declared))) }
    }

    /// The same scope with `jabber:client` in the place of a component's content namespace: what a component says is
    /// read as if a client had said it (`border.rs`).
    #[must_use]
    pub fn of_component(self) -> Self {
        let Scope::Declared(mut declared) = self.0 else { return self };
        for (_, uri) in declared.bindings.iter_mut().filter(|(_, uri)| **uri == *COMPONENT) {
            *uri = CLIENT.into();
        }
        Self::of(*declared)
    }

    /// Whether this is the usual client scope, and nothing besides.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        matches!(self.0, Scope::Standard)
    }

    /// The default namespace; empty if the header declared none.
    #[must_use]
    pub fn default_ns(&self) -> &str {
        self.lookup("").unwrap_or("")
    }

    /// The namespace bound to `prefix`; the empty prefix asks for the default namespace.
    #[must_use]
    pub fn lookup(&self, prefix: &str) -> Option<&str> {
        self.lookup_bytes(prefix.as_bytes())
    }

    pub(super) fn lookup_bytes(&self, prefix: &[u8]) -> Option<&str> {
        if prefix == b"xml" {
            return Some(XML);
        }
        match &self.0 {
            Scope::Unopened => None,
            Scope::Standard => match prefix {
                b"" => Some(CLIENT),
                b"stream" => Some(STREAMS),
                _ => None,
            },
            Scope::Declared(declared) => declared.find(|(bound, _)| bound.as_bytes() == prefix).map(|(_, uri)| &**uri),
        }
    }

    /// The place of the first namespace declared that `is_wanted`.
    pub(super) fn position(&self, is_wanted: impl Fn(&str) -> bool) -> Option<usize> {
        match &self.0 {
            Scope::Unopened => None,
            Scope::Standard => [CLIENT, STREAMS].iter().position(|uri| is_wanted(uri)),
            Scope::Declared(declared) => declared.bindings.iter().position(|(_, uri)| is_wanted(uri)),
        }
    }

    /// A prefix under which the header bound `uri`; the default namespace does not count.
    #[must_use]
    pub fn prefix_of(&self, uri: &str) -> Option<&str> {
        match &self.0 {
            Scope::Unopened => None,
            Scope::Standard => (uri == STREAMS).then_some("stream"),
            Scope::Declared(declared) => {
                declared.find(|(prefix, bound)| !prefix.is_empty() && **bound == *uri).map(|(prefix, _)| &**prefix)
            }
        }
    }

    /// The prefix of the header's root element, which the stream's end tag must repeat; empty if it had none.
    #[must_use]
    pub fn stream_prefix(&self) -> &str {
        match &self.0 {
            Scope::Unopened => "",
            Scope::Standard => "stream",
            Scope::Declared(declared) => &declared.stream_prefix,
        }
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let Scope::Declared(declared) = &self.0 else { return 0 };
        let texts: usize = declared.bindings.iter().map(|(prefix, uri)| prefix.len() + uri.len()).sum();
        size_of::<Declared>()
            + declared.stream_prefix.len()
            + declared.bindings.capacity() * size_of::<(Box<str>, Box<str>)>()
            + texts
    }
}

impl Declared {
    fn is_standard(&self) -> bool {
        let is_usual = |(prefix, uri): &(Box<str>, Box<str>)| {
            matches!((&**prefix, &**uri), ("", CLIENT) | ("stream", STREAMS) | ("xml", XML))
        };
        let has = |wanted: &str| self.bindings.iter().any(|(prefix, _)| **prefix == *wanted);
        &*self.stream_prefix == "stream" && has("") && has("stream") && self.bindings.iter().all(is_usual)
    }

    fn find(&self, wanted: impl Fn(&(Box<str>, Box<str>)) -> bool) -> Option<&(Box<str>, Box<str>)> {
        self.bindings.iter().find(|binding| wanted(binding))
    }
}

/// Where the namespace of a name in a frame was declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NsRef {
    /// Not in the frame: look the name's own prefix up in the stream header.
    #[default]
    Header,
    /// In the frame: the raw attribute value.
    Frame(Span),
    /// Bound to the prefix `xml`.
    Xml,
}

impl NsRef {
    /// Whether this is the namespace `uri`, for a name with `prefix`.
    pub(super) fn is(self, bytes: &[u8], ns: &StreamNs, prefix: &[u8], uri: &str) -> bool {
        match self {
            Self::Header => ns.lookup_bytes(prefix).unwrap_or("") == uri,
            Self::Frame(span) => means(span.of(bytes), uri),
            Self::Xml => uri == XML,
        }
    }
}

/// One declaration in scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// The declared prefix; empty for the default namespace.
    pub(super) prefix: Span,
    /// The raw attribute value.
    pub(super) uri: Span,
    /// Equal for equal namespaces; 0 as long as nobody has asked.
    pub(super) id: u32,
}

/// Whether the raw attribute value means exactly `text`, which holds neither white space nor `&`.
pub(super) fn means(raw: &[u8], text: &str) -> bool {
    // A reference is longer than what it stands for.
    raw == text.as_bytes()
        || raw.len() > text.len() && memchr::memchr(b'&', raw).is_some() && Meaning::of_value(raw).eq(text.chars())
}

/// Whether Namespaces in XML forbids binding `prefix` (empty: the default) to the raw value `uri`.
pub(super) fn is_forbidden(prefix: &[u8], uri: &[u8]) -> bool {
    let is_xml = means(uri, XML);
    match prefix {
        b"xmlns" => true,
        b"xml" => !is_xml,
        b"" => is_xml || means(uri, XMLNS),
        _ => is_xml || uri.is_empty() || means(uri, XMLNS),
    }
}

/// The prefix that an attribute name declares (empty: the default namespace), if it is a declaration.
#[inline(always)]
pub(super) fn declared_prefix(name: Name, bytes: &[u8]) -> Option<Span> {
    match (name.prefix_len, name.len) {
        (0, 5) if name.whole(bytes) == b"xmlns" => Some(Span { start: name.start, len: 0 }),
        (5, _) if name.prefix(bytes) == b"xmlns" => Some(name.local_span()),
        _ => None,
    }
}

/// A prefix as text, for those who print or copy it.
pub(super) fn prefix_str(prefix: &[u8]) -> Option<&str> {
    (!prefix.is_empty()).then(|| as_str(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Expect, Scan, Step, XmlLimits};

    fn declared_by(header: &str) -> StreamNs {
        let mut scan = Scan::default();
        let limits = XmlLimits::with_frame_bytes(1_000);
        let step = scan.step(header.as_bytes(), Expect::Header, &StreamNs::new(), &limits);
        assert_eq!(step, Ok(Step::Header { len: header.len() }), "{header}");
        StreamNs::from_header(scan.head(), header.as_bytes())
    }

    #[test]
    fn the_usual_header_takes_no_heap() {
        for header in [
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            "<?xml version='1.0'?><stream:stream to='a' xmlns:stream='http:&#47;/etherx.jabber.org/streams' \
             xmlns:xml='http://www.w3.org/XML/1998/namespace' xmlns='jabber:client' version='1.0'>",
        ] {
            let ns = declared_by(header);
            assert!(ns.is_standard(), "{header}");
            assert_eq!(ns.heap_bytes(), 0);
        }
        let ns = StreamNs::standard();
        assert_eq!((ns.default_ns(), ns.stream_prefix()), (CLIENT, "stream"));
        assert_eq!((ns.lookup("stream"), ns.lookup("xml"), ns.lookup("p")), (Some(STREAMS), Some(XML), None));
        assert_eq!((ns.prefix_of(STREAMS), ns.prefix_of(CLIENT)), (Some("stream"), None));
    }

    #[test]
    fn other_headers() {
        let ns = declared_by(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt'>",
        );
        assert!(!ns.is_standard() && ns.heap_bytes() > 0);
        assert_eq!(ns.prefix_of("http://www.ietf.org/rfc/rfc2595.txt"), Some("tls"));
        let ns = declared_by("<s xmlns='http://etherx.jabber.org/streams'>");
        assert_eq!((ns.default_ns(), ns.stream_prefix(), ns.lookup("stream")), (STREAMS, "", None));
        let ns = declared_by("<f:stream xmlns:f='u'>");
        assert_eq!((ns.default_ns(), ns.stream_prefix(), ns.lookup("f")), ("", "f", Some("u")));
        let ns = declared_by("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>");
        assert!(!ns.is_standard());
        assert_eq!(StreamNs::new().lookup("xml"), Some(XML));
        assert_eq!(StreamNs::new().lookup("stream"), None);
    }

    #[test]
    fn meaning() {
        assert!(means(b"u:&amp;", "u:&") && means(b"abc", "abc") && means(b"&#97;bc", "abc"));
        assert!(!means(b"abcd", "abc") && !means(b"&#97;bd", "abc") && !means(b"ab", "abc"));
    }
}
