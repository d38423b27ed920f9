//! XEP-0227, written: the same accounts always give the same bytes.

use super::{BLOCKING, PIE, PRIVATE, ROSTER, SCRAM, STONECHAT};
use crate::port::element::{Attr, Element, Node};
use crate::port::{Contact, DELAY, Offline, Person, stamp};
use crate::sasl::{ScramKeys, base64};
use crate::xml::escape_attr;
use std::io::{self, Write};

/// Writes one file, host by host.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    host: Option<String>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// Those of `out`; so below.
    pub fn new(mut out: W) -> io::Result<Self> {
        writeln!(out, "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='{PIE}'>")?;
        Ok(Self { out, host: None })
    }

    /// Adds a person. Those of one host come one behind the other.
    pub fn add(&mut self, person: &Person) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.host.as_ref() != Some(&person.domain) {
            self.end_host()?;
            tag("host", "jid", &person.domain, &mut bytes);
            self.host = Some(person.domain.clone());
        }
        tag("user", "name", &person.localpart, &mut bytes);
        for part in parts(person) {
            part.write(PIE, &mut bytes);
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(b"</user>\n");
        self.out.write_all(&bytes)
    }

    /// Ends the file; what is behind `out` is the caller's again.
    pub fn end(mut self) -> io::Result<W> {
        self.end_host()?;
        self.out.write_all(b"</server-data>\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_host(&mut self) -> io::Result<()> {
        if self.host.take().is_some() { self.out.write_all(b"</host>\n") } else { Ok(()) }
    }
}

fn tag(name: &str, attr: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("<{name} {attr}='").as_bytes());
    escape_attr(value, out);
    out.extend_from_slice(b"'>\n");
}

fn parts(person: &Person) -> Vec<Element> {
    let mut parts: Vec<Element> = person.keys.iter().map(credentials).collect();
    if person.disabled {
        parts.push(element(STONECHAT, "disabled"));
    }
    if !person.roster.is_empty() {
        parts.push(lines(element(ROSTER, "query"), person.roster.iter().map(item)));
    }
    parts.extend(person.requests.iter().map(|waiting| waiting.stanza.clone()));
    if !person.blocks.is_empty() {
        let items = person.blocks.iter().map(|jid| with(element(BLOCKING, "item"), &[("jid", jid)]));
        parts.push(lines(element(BLOCKING, "blocklist"), items));
    }
    parts.extend(person.vcard.clone());
    if !person.private.is_empty() {
        parts.push(lines(element(PRIVATE, "query"), person.private.iter().cloned()));
    }
    if !person.offline.is_empty() {
        let messages = person.offline.iter().map(|message| delayed(message, &person.domain));
        parts.push(lines(element(PIE, "offline-messages"), messages));
    }
    parts
}

fn credentials(keys: &ScramKeys) -> Element {
    let leaf = |name: &str, text: String| Element { children: vec![Node::Text(text)], ..element(SCRAM, name) };
    let mechanism = format!("SCRAM-{}", keys.hash.name());
    let mut credentials = with(element(SCRAM, "scram-credentials"), &[("mechanism", &mechanism)]);
    credentials.children = [
        ("iter-count", keys.iterations.to_string()),
        ("salt", base64::encode(&keys.salt)),
        ("server-key", base64::encode(&keys.server_key)),
        ("stored-key", base64::encode(&keys.stored_key)),
    ]
    .map(|(name, text)| Node::Element(leaf(name, text)))
    .into();
    credentials
}

fn item(contact: &Contact) -> Element {
    let mut item = with(element(ROSTER, "item"), &[("jid", &contact.jid)]);
    if !contact.name.is_empty() {
        item.set_attr("name", &contact.name);
    }
    item.set_attr("subscription", contact.subscription());
    if contact.asks {
        item.set_attr("ask", "subscribe");
    }
    if contact.approved {
        item.set_attr("approved", "true");
    }
    let group = |group: &String| Element { children: vec![Node::Text(group.clone())], ..element(ROSTER, "group") };
    item.children = contact.groups.iter().map(group).map(Node::Element).collect();
    item
}

/// A stored message with the time it came: the last of what is in it (XEP-0203).
fn delayed(message: &Offline, domain: &str) -> Element {
    let mut stanza = message.stanza.clone();
    let delay = with(element(DELAY, "delay"), &[("from", domain), ("stamp", &stamp::format(message.stamp_ms))]);
    stanza.children.push(Node::Element(delay));
    stanza
}

fn element(ns: &str, name: &str) -> Element {
    Element { ns: ns.to_owned(), name: name.to_owned(), ..Element::default() }
}

fn with(mut element: Element, attrs: &[(&str, &str)]) -> Element {
    let attr =
        |(name, value): &(&str, &str)| Attr { ns: String::new(), name: (*name).to_owned(), value: (*value).to_owned() };
    element.attrs = attrs.iter().map(attr).collect();
    element
}

/// Each child on a line of its own.
fn lines(mut parent: Element, children: impl Iterator<Item = Element>) -> Element {
    let newline = || Node::Text("\n".to_owned());
    parent.children.push(newline());
    parent.children.extend(children.flat_map(|child| [Node::Element(child), newline()]));
    parent
}
