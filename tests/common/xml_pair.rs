//! One stream, read by the scanner, the tree and relay, and by rxml, a strict parser that nobody here wrote.
//!
//! Both must give the same verdict; what both accept must be the same document to xml5ever's tree and to rxml; and what
//! is relayed must be the same document again on a stream with the usual header.

#![allow(dead_code, reason = "each user has its own part of this")]

use rxml::{Event, Parse, Parser};
use stonechat::xml::{CLIENT, Element, Expect, Scan, Step, StreamNs, Tree, XML, XmlError, XmlLimits, relay};

pub(crate) const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(65_536);
pub(crate) const FROM: &str = "me@x/'1'";
pub(crate) const END: &[u8] = b"</stream:stream>";
pub(crate) const USUAL: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Headers that a sender may have opened its stream with.
pub(crate) const HEADERS: [&str; 4] = [
    USUAL,
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
     xmlns:p='urn:p' xmlns:q='urn:&lt;q>'>",
    "<stream:stream xmlns='urn:other' xmlns:stream='http://etherx.jabber.org/streams' xmlns:c='jabber:client' xmlns:p='urn:p'>",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns:c='jabber:client' xmlns:p='urn:p'>",
];

/// An attribute: namespace, name, value.
pub(crate) type Attr = (String, String, String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start { ns: String, name: String, attrs: Vec<Attr> },
    Text(String),
    End,
}

/// What stands inside the root element.
pub(crate) type Document = Vec<Part>;

pub(crate) fn start(ns: &str, name: &str, attrs: impl Iterator<Item = (String, String, String)>) -> Part {
    let mut attrs: Vec<_> = attrs.collect();
    attrs.sort();
    Part::Start { ns: ns.to_owned(), name: name.to_owned(), attrs }
}

/// The document as rxml reads it.
pub(crate) fn read_by_rxml(mut bytes: &[u8]) -> Option<Document> {
    let (mut document, mut depth) = (Document::new(), 0);
    let mut is_text_at_root = false;
    let result = Parser::new().parse_all(&mut bytes, true, |event| match event {
        Event::StartElement(_, (ns, name), attrs) => {
            let attrs = attrs.iter().map(|((ns, name), value)| (ns.to_string(), name.to_string(), value.clone()));
            if depth > 0 {
                document.push(start(&ns, &name, attrs));
            }
            depth += 1;
        }
        Event::EndElement(_) => {
            depth -= 1;
            if depth > 0 {
                document.push(Part::End);
            }
        }
        Event::Text(_, text) if depth == 1 => is_text_at_root |= !text.trim_matches([' ', '\t', '\r', '\n']).is_empty(),
        Event::Text(_, text) => match document.last_mut() {
            Some(Part::Text(before)) => before.push_str(&text),
            _ if text.is_empty() => {}
            _ => document.push(Part::Text(text)),
        },
        Event::XmlDeclaration(..) => {}
    });
    // Text between stanzas is well-formed XML, but XMPP does not allow it.
    (result.is_ok() && !is_text_at_root).then_some(document)
}

/// The document as the scanner and the tree read it.
#[derive(Default)]
pub(crate) struct Ours {
    /// Start and end tags.
    tags: Document,
    /// The text directly inside each element, in order of the start tags.
    texts: Vec<String>,
    /// The stream as it would be relayed to someone with the usual header.
    relayed: Vec<u8>,
}

impl Ours {
    fn add(&mut self, element: Element<'_>) {
        let attrs = element.attrs().map(|(ns, name, value)| (ns.to_owned(), name.to_owned(), value.to_owned()));
        self.tags.push(start(element.ns(), element.name(), attrs));
        self.texts.push(element.text().into_owned());
        element.children().for_each(|child| self.add(child));
        self.tags.push(Part::End);
    }
}

pub(crate) fn read_by_us(bytes: &[u8]) -> Result<Ours, XmlError> {
    let (mut scan, mut ns, mut expect, mut item) = (Scan::default(), StreamNs::new(), Expect::Header, 0);
    let mut ours = Ours { relayed: USUAL.as_bytes().to_vec(), ..Ours::default() };
    loop {
        let rest = &bytes[item..];
        item += match scan.step(rest, expect, &ns, &LIMITS)? {
            Step::Header { len } => {
                ns = StreamNs::from_header(scan.head(), rest);
                expect = Expect::Frames;
                len
            }
            Step::Frame { len } => {
                ours.add(Tree::parse(rest, scan.head(), &ns)?.root());
                if scan.head().ns(rest, &ns) == CLIENT {
                    relay(scan.head(), rest, &ns, FROM, Some("en"), &mut ours.relayed);
                } else {
                    ours.relayed.extend_from_slice(b"<other/>");
                }
                len
            }
            Step::Whitespace { len } => len,
            Step::StreamEnd { len } if item + len == bytes.len() => {
                ours.relayed.extend_from_slice(END);
                return Ok(ours);
            }
            Step::StreamEnd { .. } | Step::Incomplete => return Err(XmlError::NotWellFormed { offset: 0 }),
        };
    }
}

/// The document as [`Ours`] has it: tags, and the text directly inside each element.
pub(crate) fn split(document: &[Part]) -> (Document, Vec<String>) {
    let (mut tags, mut texts, mut open) = (Document::new(), Vec::<String>::new(), Vec::<usize>::new());
    for part in document {
        match part {
            Part::Text(text) => texts[*open.last().expect("text is inside an element")].push_str(text),
            Part::Start { .. } => {
                open.push(texts.len());
                texts.push(String::new());
            }
            Part::End => drop(open.pop()),
        }
        if !matches!(part, Part::Text(_)) {
            tags.push(part.clone());
        }
    }
    (tags, texts)
}

/// The document that relaying has to make of `document`.
pub(crate) fn stamped(document: &[Part]) -> Document {
    let (mut stamped, mut depth, mut is_kept) = (Document::new(), 0, true);
    for part in document {
        match part {
            Part::Start { ns, name, attrs } if depth == 0 => {
                is_kept = ns == CLIENT;
                if is_kept {
                    stamped.push(start(ns, name, stamped_attrs(attrs).into_iter()));
                } else {
                    stamped.extend([start(CLIENT, "other", [].into_iter()), Part::End]);
                }
            }
            _ if is_kept => stamped.push(part.clone()),
            _ => {}
        }
        depth += i32::from(matches!(part, Part::Start { .. })) - i32::from(*part == Part::End);
    }
    stamped
}

pub(crate) fn stamped_attrs(attrs: &[Attr]) -> Vec<Attr> {
    let is = |attr: &Attr, ns: &str, name: &str| attr.0 == ns && attr.1 == name;
    let mut stamped: Vec<_> = attrs.iter().filter(|attr| !is(attr, "", "from")).cloned().collect();
    stamped.push((String::new(), "from".to_owned(), FROM.to_owned()));
    if !attrs.iter().any(|attr| is(attr, XML, "lang")) {
        stamped.push((XML.to_owned(), "lang".to_owned(), "en".to_owned()));
    }
    stamped
}

/// What rxml lets through (`ours` says why we do not) or refuses (`None`) wrongly.
pub(crate) fn is_known_gap(text: &str, ours: Option<XmlError>) -> bool {
    match ours {
        // Two default declarations on one tag; the namespace of declarations as default.
        Some(XmlError::DuplicateAttribute { .. }) => text.matches("xmlns").count() > 2,
        Some(XmlError::NamespaceFault { .. }) => text.contains("2000/xmlns/"),
        // CDATA between stanzas.
        Some(XmlError::NotWellFormed { .. }) => text.contains("<![CDATA["),
        Some(_) => false,
        // U+FFFD in a name is allowed since the fifth edition of XML 1.0.
        None => text.contains('\u{FFFD}'),
    }
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both accept it, and read the same document.
    Accepted,
    Refused,
    /// One of the known differences.
    Gap,
    /// Not compared: rxml loses or refuses a CR without LF, which is a line end (XML 1.0 §2.11).
    Skipped,
}

/// Reads a stream in both ways; panics where they differ. `name` tells which one it was.
pub(crate) fn compare(bytes: &[u8], name: &str) -> Verdict {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text.replace("\r\n", "").contains('\r') {
        return Verdict::Skipped;
    }
    match (read_by_us(bytes), read_by_rxml(bytes)) {
        (Ok(ours), Some(theirs)) => {
            assert_eq!((ours.tags, ours.texts), split(&theirs), "{name}: {text:?}");
            let relayed = String::from_utf8_lossy(&ours.relayed);
            assert_eq!(read_by_rxml(&ours.relayed), Some(stamped(&theirs)), "{name}: {text:?} as {relayed:?}");
            Verdict::Accepted
        }
        (Err(_), None) => Verdict::Refused,
        (ours, theirs) => {
            let fault = ours.err();
            assert!(is_known_gap(&text, fault), "{name}: {fault:?}, rxml {theirs:?}: {text:?}");
            Verdict::Gap
        }
    }
}

/// Everything that comes out but white space, by place; the last is a fault or what is left over.
pub(crate) fn outcome(bytes: &[u8], mut next_read: impl FnMut() -> usize) -> Vec<(usize, Result<Step, XmlError>)> {
    let (mut scan, mut ns, mut expect) = (Scan::default(), StreamNs::new(), Expect::Header);
    let (mut item, mut read, mut found) = (0, 0, Vec::new());
    loop {
        let step = scan.step(&bytes[item..read], expect, &ns, &LIMITS);
        let len = match step {
            Ok(Step::Incomplete) if read < bytes.len() => {
                read = (read + next_read()).min(bytes.len());
                continue;
            }
            Ok(Step::Header { len }) => {
                ns = StreamNs::from_header(scan.head(), &bytes[item..read]);
                expect = Expect::Frames;
                len
            }
            Ok(Step::Frame { len } | Step::StreamEnd { len } | Step::Whitespace { len }) => len,
            Ok(Step::Incomplete) | Err(_) => {
                found.push((item, step));
                return found;
            }
        };
        if !matches!(step, Ok(Step::Whitespace { .. })) {
            found.push((item, step));
        }
        item += len;
    }
}
