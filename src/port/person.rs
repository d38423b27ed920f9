//! What an account is, apart from any server.
//!
//! Every format is read into this and written from it. What goes in through the methods below is judged and prepared
//! there: addresses are prepared, stanzas and elements are what the scanner lets through, texts fit into their rows.

use super::element::{Element, Node};
use super::stamp;
use crate::jid::{Jid, prepare_password};
use crate::limits::{ROSTER_GROUPS_MAX, ROSTER_NAME_BYTES_MAX};
use crate::sasl::{Credentials, ScramKeys};
use crate::xml::CLIENT;
use std::fmt;
use zeroize::Zeroizing;

/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";

/// An account with all that belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Localpart, prepared.
    pub localpart: String,
    /// Domain, prepared.
    pub domain: String,
    /// Whether it may not log in.
    pub disabled: bool,
    /// What proves its password, at most one set a hash.
    pub keys: Vec<ScramKeys>,
    /// Its password, prepared, where a file has it in the clear. Read, never written.
    pub password: Option<Secret>,
    /// Its roster, in byte order of the contacts.
    pub roster: Vec<Contact>,
    /// Subscription requests that wait for its answer, in byte order of who asks.
    pub requests: Vec<Waiting>,
    /// Messages that wait for it, the oldest first.
    pub offline: Vec<Offline>,
    /// Its vCard (XEP-0054).
    pub vcard: Option<Element>,
    /// Its private XML (XEP-0049), in byte order of namespace and name.
    pub private: Vec<Element>,
    /// Whom it blocks (XEP-0191): prepared, in byte order.
    pub blocks: Vec<String>,
}

/// A password that is never printed and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The password.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A roster item (RFC 6121 §2.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Its bare JID.
    pub jid: String,
    /// The account's name for it.
    pub name: String,
    /// The account sees the contact.
    pub to: bool,
    /// The contact sees the account.
    pub from: bool,
    /// The account waits for the contact's answer.
    pub asks: bool,
    /// A request of the contact is approved before it comes.
    pub approved: bool,
    /// The account's groups.
    pub groups: Vec<String>,
}

impl Contact {
    /// Sets who sees whom, by the `subscription` attribute.
    ///
    /// # Errors
    ///
    /// It is none of the four.
    pub fn subscribe(&mut self, subscription: &str) -> Result<(), String> {
        (self.to, self.from) = match subscription {
            "none" => (false, false),
            "to" => (true, false),
            "from" => (false, true),
            "both" => (true, true),
            _ => return Err(format!("the contact {}: no subscription is called {subscription:?}", self.jid)),
        };
        Ok(())
    }

    /// The `subscription` attribute.
    pub fn subscription(&self) -> &'static str {
        match (self.to, self.from) {
            (false, false) => "none",
            (true, false) => "to",
            (false, true) => "from",
            (true, true) => "both",
        }
    }
}

/// A subscription request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Who asks: a bare JID.
    pub from: String,
    /// The presence stanza.
    pub stanza: Element,
}

/// A message that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offline {
    /// When it came, in milliseconds since 1970-01-01 UTC.
    pub stamp_ms: u64,
    /// The stanza, without the stamp.
    pub stanza: Element,
}

impl Person {
    /// An account with nothing in it.
    ///
    /// # Errors
    ///
    /// The address is none.
    pub fn new(domain: &str, localpart: &str) -> Result<Self, String> {
        let jid = Jid::from_parts(Some(localpart), domain, None)
            .map_err(|error| format!("{localpart:?} at {domain:?} is no address: {error}"))?;
        let localpart = jid.localpart().unwrap_or_default().to_owned();
        Ok(Self { localpart, domain: jid.domainpart().to_owned(), ..Self::default() })
    }

    /// Its bare JID.
    pub fn bare(&self) -> String {
        format!("{}@{}", self.localpart, self.domain)
    }

    /// Adds a set of SCRAM keys.
    ///
    /// # Errors
    ///
    /// No server could use it, or there is one for the same hash.
    pub fn add_keys(&mut self, keys: ScramKeys) -> Result<(), String> {
        let (name, twice) = (keys.hash.name(), self.keys.iter().any(|known| known.hash == keys.hash));
        let one = Credentials { keys: vec![keys.clone()], disabled: false };
        if twice || Credentials::decode(&one.encode()).as_ref() != Some(&one) {
            return Err(format!(
                "its keys for SCRAM-{name} cannot be used (lengths, rounds or salt), or are there twice"
            ));
        }
        self.keys.push(keys);
        self.keys.sort_by_key(|keys| keys.hash);
        Ok(())
    }

    /// Takes a password over, to be hashed.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn set_password(&mut self, password: &str) -> Result<(), String> {
        let prepared = prepare_password(password).map_err(|error| format!("its password: {error}"))?;
        self.password = Some(Secret(prepared));
        Ok(())
    }

    /// Adds a roster item; `contact.jid` is as it was found.
    ///
    /// # Errors
    ///
    /// It cannot be kept.
    pub fn add_contact(&mut self, mut contact: Contact) -> Result<(), String> {
        let jid = bare(&contact.jid).map_err(|why| format!("the contact {:?}: {why}", contact.jid))?;
        if jid == self.bare() {
            return Err("the account itself is in its roster".to_owned());
        }
        contact.groups.retain(|group| !group.is_empty());
        contact.groups.sort();
        contact.groups.dedup();
        let is_long = |text: &String| text.len() > ROSTER_NAME_BYTES_MAX;
        if contact.groups.len() > ROSTER_GROUPS_MAX || contact.groups.iter().chain([&contact.name]).any(is_long) {
            return Err(format!("the contact {jid}: too many groups, or a text too long"));
        }
        contact.asks &= !contact.to;
        contact.jid = jid;
        match self.roster.binary_search_by(|known| known.jid.cmp(&contact.jid)) {
            Ok(_) => Err(format!("the contact {} is there twice", contact.jid)),
            Err(at) => {
                self.roster.insert(at, contact);
                Ok(())
            }
        }
    }

    /// Adds a subscription request.
    ///
    /// # Errors
    ///
    /// It cannot be kept.
    pub fn add_request(&mut self, mut stanza: Element) -> Result<(), String> {
        let from = stanza.attr("from").ok_or("a subscription request without sender")?.to_owned();
        let from = bare(&from).map_err(|why| format!("the subscription request of {from:?}: {why}"))?;
        stanza.set_attr("from", &from);
        stanza.set_attr("to", &self.bare());
        stanza.set_attr("type", "subscribe");
        if !stanza.is(CLIENT, "presence") {
            return Err(format!("the subscription request of {from} is no presence stanza"));
        }
        stanza.to_xml().map_err(|why| format!("the subscription request of {from}: {why}"))?;
        match self.requests.binary_search_by(|known| known.from.cmp(&from)) {
            Ok(_) => Err(format!("the subscription request of {from} is there twice")),
            Err(at) => {
                self.requests.insert(at, Waiting { from, stanza });
                Ok(())
            }
        }
    }

    /// Adds a message that waits. Without `stamp_ms`, the delay of this domain's (or of nobody's) in it says when it came.
    ///
    /// # Errors
    ///
    /// It cannot be kept.
    pub fn add_offline(&mut self, mut stanza: Element, stamp_ms: Option<u64>) -> Result<(), String> {
        if !stanza.is(CLIENT, "message") {
            return Err("a stored stanza is no message".to_owned());
        }
        let stamp_ms = match stamp_ms {
            Some(stamp_ms) => {
                stanza.children.retain(|child| !is_claim(child, &self.domain));
                stamp_ms
            }
            None => take_stamp(&mut stanza, &self.domain).ok_or("a stored message does not say when it came")?,
        };
        stanza.to_xml().map_err(|why| format!("a stored message: {why}"))?;
        self.offline.push(Offline { stamp_ms, stanza });
        Ok(())
    }

    /// Sets the vCard.
    ///
    /// # Errors
    ///
    /// It cannot be kept.
    pub fn set_vcard(&mut self, vcard: Element) -> Result<(), String> {
        if !vcard.is("vcard-temp", "vCard") || self.vcard.is_some() {
            return Err("its vCard is none, or there twice".to_owned());
        }
        vcard.to_xml().map_err(|why| format!("its vCard: {why}"))?;
        self.vcard = Some(vcard);
        Ok(())
    }

    /// Adds an element of private XML.
    ///
    /// # Errors
    ///
    /// It cannot be kept.
    pub fn add_private(&mut self, element: Element) -> Result<(), String> {
        let named = |why: &str| format!("the private element {} of {:?}: {why}", element.name, element.ns);
        element.to_xml().map_err(named)?;
        if element.ns.is_empty() || element.ns == CLIENT {
            return Err(named("it has no namespace of its own"));
        }
        let key = |element: &Element| (element.ns.clone(), element.name.clone());
        match self.private.binary_search_by_key(&key(&element), key) {
            Ok(_) => Err(named("it is there twice")),
            Err(at) => {
                self.private.insert(at, element);
                Ok(())
            }
        }
    }

    /// Adds an address to the block list.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn add_block(&mut self, text: &str) -> Result<(), String> {
        let jid = Jid::parse(text).map_err(|error| format!("it blocks {text:?}, which is no address: {error}"))?;
        if let Err(at) = self.blocks.binary_search_by(|known| known.as_str().cmp(jid.as_str())) {
            self.blocks.insert(at, jid.as_str().to_owned());
        }
        Ok(())
    }

    /// About how many bytes it takes in the store.
    pub fn bytes(&self) -> usize {
        const ROW: usize = 256;
        let text = |elements: &mut dyn Iterator<Item = &Element>| {
            elements.map(|element| element.to_xml().map_or(0, |xml| xml.len() + ROW)).sum::<usize>()
        };
        let roster: usize =
            self.roster.iter().map(|contact| ROW + contact.groups.iter().map(String::len).sum::<usize>()).sum();
        ROW + roster
            + self.blocks.iter().map(|jid| jid.len() + ROW).sum::<usize>()
            + text(&mut self.requests.iter().map(|waiting| &waiting.stanza))
            + text(&mut self.offline.iter().map(|offline| &offline.stanza))
            + text(&mut self.private.iter().chain(&self.vcard))
    }
}

/// A bare JID, prepared.
fn bare(text: &str) -> Result<String, String> {
    let jid = Jid::parse(text).map_err(|error| format!("no address: {error}"))?;
    Ok(jid.bare().to_owned())
}

/// Takes the stamp out of a message: the last delay of `domain`'s, or of nobody's if there is none. No other delay that
/// claims to be the domain's stays (XEP-0203 §4).
fn take_stamp(stanza: &mut Element, domain: &str) -> Option<u64> {
    let delays = stanza.elements().filter(|child| child.is(DELAY, "delay"));
    let named: Vec<(Option<&str>, u64)> =
        delays.filter_map(|delay| Some((delay.attr("from"), stamp::parse(delay.attr("stamp")?)?))).collect();
    let last = |from: Option<&str>| named.iter().rev().find(|(by, _)| *by == from).map(|(_, stamp_ms)| *stamp_ms);
    let (own, nobodys) = (last(Some(domain)), last(None));
    if own.is_none()
        && let Some(at) = stanza.children.iter().rposition(is_nobodys)
    {
        stanza.children.remove(at);
    }
    stanza.children.retain(|child| !is_claim(child, domain));
    own.or(nobodys)
}

/// Whether a delay says that it is of `domain`.
fn is_claim(child: &Node, domain: &str) -> bool {
    matches!(child, Node::Element(delay) if delay.is(DELAY, "delay") && delay.attr("from") == Some(domain))
}

/// Whether a delay does not say whose it is.
fn is_nobodys(child: &Node) -> bool {
    matches!(child, Node::Element(delay) if delay.is(DELAY, "delay") && delay.attr("from").is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(xml: &str) -> Element {
        Element::parse(xml.as_bytes(), CLIENT).unwrap()
    }

    #[test]
    fn what_goes_in_is_prepared_and_sorted() {
        let mut person = Person::new("Capulet.EXAMPLE", "Juliet").unwrap();
        assert_eq!(person.bare(), "juliet@capulet.example");
        for jid in ["Romeo@Montague.example/orchard", "nurse@capulet.example"] {
            let contact = Contact {
                jid: jid.into(),
                groups: vec!["b".into(), "".into(), "a".into(), "b".into()],
                ..Contact::default()
            };
            person.add_contact(contact).unwrap();
        }
        let jids: Vec<&str> = person.roster.iter().map(|contact| contact.jid.as_str()).collect();
        assert_eq!(jids, ["nurse@capulet.example", "romeo@montague.example"]);
        assert_eq!(person.roster[0].groups, ["a", "b"]);
        for jid in ["romeo@montague.example", "juliet@capulet.example", "@", ""] {
            assert!(person.add_contact(Contact { jid: jid.into(), ..Contact::default() }).is_err(), "{jid}");
        }
        person.add_block("Spam.example").unwrap();
        person.add_block("spam.example").unwrap();
        assert_eq!(person.blocks, ["spam.example"]);
    }

    #[test]
    fn a_stamp_is_the_domains_own_last_delay() {
        let mut person = Person::new("h.example", "u").unwrap();
        let delay = |from: &str, year: u32| {
            format!("<delay xmlns='urn:xmpp:delay' from='{from}' stamp='{year}-01-01T00:00:00Z'/>")
        };
        let xml = format!(
            "<message>{}{}{}<body/></message>",
            delay("h.example", 2001),
            delay("room", 2002),
            delay("h.example", 2003)
        );
        person.add_offline(element(&xml), None).unwrap();
        assert_eq!(person.offline[0].stamp_ms, 1_041_379_200_000);
        assert_eq!(person.offline[0].stanza.elements().count(), 2, "the room's, and the body");
        assert!(person.add_offline(element("<message/>"), None).is_err());
        assert!(person.add_offline(element("<iq/>"), Some(1)).is_err());
    }

    #[test]
    fn a_password_is_never_printed() {
        let mut person = Person::new("h.example", "u").unwrap();
        person.set_password("pencil").unwrap();
        assert!(!format!("{person:?}").contains("pencil"));
    }
}
