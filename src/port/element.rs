//! An element apart from any file: with its namespaces, written in one way.
//!
//! ```text
//! XML, Lua table, JSON ──▶ Element ──to_xml──▶ bytes that the scanner has judged
//! ```
//!
//! Prefixes are not kept: every element is written with the default namespace. So an export is the same bytes whatever
//! prefixes a client once chose. Sources: Namespaces in XML 1.0; Canonical XML, from afar.

use super::pull::{Fault, Piece, Pull};
use crate::limits::PERSON_BYTES_MAX;
use crate::xml::{Expect, Scan, Step, StreamNs, XML, XmlLimits, escape, escape_attr};

/// An attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// Its namespace; empty if it has none.
    pub ns: String,
    /// Its local name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What stands inside an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text.
    Text(String),
}

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its namespace; empty if it has none.
    pub ns: String,
    /// Its local name.
    pub name: String,
    /// Its attributes, in order, declarations not among them.
    pub attrs: Vec<Attr>,
    /// What stands inside, in order.
    pub children: Vec<Node>,
}

impl Element {
    /// Reads one element from bytes whose default namespace is `default_ns`.
    ///
    /// # Errors
    ///
    /// [`Fault`]: it is not one well-formed element.
    pub fn parse(xml: &[u8], default_ns: &str) -> Result<Self, Fault> {
        let mut pull = Pull::new(xml, default_ns, PERSON_BYTES_MAX);
        let Piece::Open(open) = pull.piece()? else {
            return Err(Fault { line: 1, what: "no element".to_owned() });
        };
        let element = pull.element(open)?;
        pull.piece().map(|_| element)
    }

    /// Whether this is the element `name` in the namespace `ns`.
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// The value of the unprefixed attribute `name`.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attr_ns("", name)
    }

    /// The value of the attribute `name` in the namespace `ns`.
    pub fn attr_ns(&self, ns: &str, name: &str) -> Option<&str> {
        self.attrs.iter().find(|attr| attr.ns == ns && attr.name == name).map(|attr| attr.value.as_str())
    }

    /// Sets an unprefixed attribute.
    pub fn set_attr(&mut self, name: &str, value: &str) {
        match self.attrs.iter_mut().find(|attr| attr.ns.is_empty() && attr.name == name) {
            Some(attr) => value.clone_into(&mut attr.value),
            None => self.attrs.push(Attr { ns: String::new(), name: name.to_owned(), value: value.to_owned() }),
        }
    }

    /// The elements inside, in order.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element `name` in the namespace `ns` inside.
    pub fn child(&self, ns: &str, name: &str) -> Option<&Element> {
        self.elements().find(|child| child.is(ns, name))
    }

    /// The text directly inside.
    pub fn text(&self) -> String {
        let texts = self.children.iter().filter_map(|child| match child {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        texts.collect()
    }

    /// Appends it, where the default namespace is `inherited`.
    pub fn write(&self, inherited: &str, out: &mut Vec<u8>) {
        // XML's own namespace has one prefix and may not be the default one (Namespaces in XML §3).
        let (prefix, inner): (&[u8], &str) = if self.ns == XML { (b"xml:", inherited) } else { (b"", &self.ns) };
        out.push(b'<');
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.name.as_bytes());
        if inner != inherited {
            attr("xmlns", inner, out);
        }
        let mut declared = 0_usize;
        for Attr { ns, name, value } in &self.attrs {
            match ns.as_str() {
                "" => attr(name, value, out),
                XML => attr(&format!("xml:{name}"), value, out),
                ns => {
                    attr(&format!("xmlns:a{declared}"), ns, out);
                    attr(&format!("a{declared}:{name}"), value, out);
                    declared += 1;
                }
            }
        }
        if self.children.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        for child in &self.children {
            match child {
                Node::Element(element) => element.write(inner, out),
                Node::Text(text) => escape(text, out),
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'>');
    }

    /// Its bytes where the default namespace is `jabber:client`, as a stream has it, judged as a peer's would be.
    ///
    /// # Errors
    ///
    /// Why the scanner would not let it through.
    pub fn to_xml(&self) -> Result<Vec<u8>, &'static str> {
        let mut out = Vec::new();
        self.write(crate::xml::CLIENT, &mut out);
        let limits = XmlLimits::with_frame_bytes(u32::try_from(PERSON_BYTES_MAX).unwrap_or(u32::MAX));
        match Scan::default().step(&out, Expect::Frames, StreamNs::standard(), &limits) {
            Ok(Step::Frame { len }) if len == out.len() => Ok(out),
            Ok(_) => Err("it is not one element"),
            Err(error) => Err(error.reason()),
        }
    }
}

fn attr(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr(value, out);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anew(xml: &str) -> String {
        String::from_utf8(Element::parse(xml.as_bytes(), "jabber:client").unwrap().to_xml().unwrap()).unwrap()
    }

    #[test]
    fn prefixes_go_and_meaning_stays() {
        assert_eq!(
            anew("<message xml:lang=\"en\"><q:x xmlns:q='u' q:a='1' b='&#10;'><q:y/><body/>&gt;</q:x></message>"),
            "<message xml:lang='en'><x xmlns='u' xmlns:a0='u' a0:a='1' b='&#10;'><y/>\
             <body xmlns='jabber:client'/>&gt;</x></message>"
        );
        assert_eq!(anew("<a xmlns=''><b/></a>"), "<a xmlns=''><b/></a>");
        assert_eq!(anew("<a><xml:b c='1'><d/></xml:b></a>"), "<a><xml:b c='1'><d/></xml:b></a>");
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for xml in
            ["<a xmlns='b' c=\"d'\">e<f xmlns='g'/>&lt;h&gt; </a>", "<message to='x'><body>&amp;\r\n</body></message>"]
        {
            let once = anew(xml);
            assert_eq!(anew(&once), once);
            assert_eq!(
                Element::parse(once.as_bytes(), "jabber:client"),
                Element::parse(xml.as_bytes(), "jabber:client")
            );
        }
    }

    #[test]
    fn the_scanner_has_the_last_word() {
        let named = |name: &str| Element { ns: "n".into(), name: name.into(), ..Element::default() };
        assert!(named("a b").to_xml().is_err());
        assert!(named("a/><b").to_xml().is_err());
        assert!(named("").to_xml().is_err());
        assert!(named("a").to_xml().is_ok());
    }
}
