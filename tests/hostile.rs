//! Attacks, one test each, with its source above it.
//!
//! All against the core, where heap and time can be measured to the byte and the millisecond. What needs sockets is in
//! `hostile_sockets.rs`, what is done to TLS in `tls_hostile.rs`, what is injected before it in `model/injection.rs`.
//! `docs/security.md` has the whole list.

#[path = "common/bare.rs"]
mod bare;
#[path = "common/counting.rs"]
mod counting;
#[path = "hostile/floods.rs"]
mod floods;
#[path = "hostile/logins.rs"]
mod logins;
#[path = "hostile/logs.rs"]
mod logs;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/sizes.rs"]
mod sizes;
#[path = "hostile/slow.rs"]
mod slow;
#[path = "hostile/spoofing.rs"]
mod spoofing;
#[path = "hostile/work.rs"]
mod work;
#[path = "hostile/xml.rs"]
mod xml;

use bare::{Bare, PASSWORD, policy, settings};
use rxml::{Event, Parse as _, Parser};
use stonechat::ids::ConnId;
use stonechat::sasl::base64;

const STREAM: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const PING: &str = "<iq type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";

/// A server as it is configured by default.
fn server() -> Bare {
    Bare::new(policy(), settings(), 0x5222)
}

/// A session inside TLS, by RFC 6120.
fn log_in(bare: &mut Bare, name: &str, resource: &str) -> ConnId {
    let (id, heard) = try_log_in(bare, name, resource);
    assert!(heard.contains("<jid>"), "{heard}");
    id
}

/// The same, with what was said to the request for a session.
fn try_log_in(bare: &mut Bare, name: &str, resource: &str) -> (ConnId, String) {
    let id = bare.connect(true);
    bare.secure(id);
    bare.send(id, STREAM.as_bytes());
    bare.send(id, auth(name).as_bytes());
    while bare.hashing() > 0 {
        bare.hash(true);
    }
    bare.send(id, STREAM.as_bytes());
    bare.heard(id);
    let bind = format!(
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
    );
    bare.send(id, bind.as_bytes());
    let heard = bare.heard(id);
    (id, heard)
}

fn auth(name: &str) -> String {
    let plain = base64::encode(format!("\0{name}\0{PASSWORD}"));
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
}

/// juliet and romeo with a session each, both available.
fn two(bare: &mut Bare) -> [ConnId; 2] {
    let both = [log_in(bare, "juliet", "r"), log_in(bare, "romeo", "r")];
    for id in both {
        bare.send(id, b"<presence/>");
    }
    both.map(|id| {
        bare.heard(id);
        id
    })
}

/// What it says is answered by this.
fn ask(bare: &mut Bare, id: ConnId, text: &str) -> String {
    bare.send(id, text.as_bytes());
    bare.heard(id)
}

/// Whether somebody is still served.
fn is_served(bare: &mut Bare, id: ConnId) -> bool {
    ask(bare, id, PING).contains("type='result'")
}

/// A stanza as an independent parser reads it: its name, its attributes without namespace, everything inside.
#[derive(Debug)]
struct Stanza {
    name: String,
    attrs: Vec<(String, String)>,
    inside: Vec<(String, String)>,
}

impl Stanza {
    fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(attr, _)| attr == name).map(|(_, value)| value.as_str())
    }
}

/// The stanzas in what was heard, judged by rxml: no more than the server meant.
fn stanzas(heard: &str) -> Vec<Stanza> {
    let document = format!("{STREAM}{}</stream:stream>", heard.trim_end_matches("</stream:stream>"));
    let (mut found, mut depth) = (Vec::<Stanza>::new(), 0);
    let parsed = Parser::new().parse_all(&mut document.as_bytes(), true, |event| match event {
        Event::StartElement(_, (ns, name), attrs) => {
            let plain = attrs.iter().filter(|((ns, _), _)| ns.is_empty());
            let attrs = plain.map(|((_, name), value)| (name.to_string(), value.clone())).collect();
            match (depth, found.last_mut()) {
                (1, _) => found.push(Stanza { name: name.to_string(), attrs, inside: Vec::new() }),
                (2.., Some(stanza)) => stanza.inside.push((ns.to_string(), name.to_string())),
                _ => {}
            }
            depth += 1;
        }
        Event::EndElement(_) => depth -= 1,
        Event::Text(..) | Event::XmlDeclaration(..) => {}
    });
    parsed.unwrap_or_else(|error| panic!("{error:?}: {heard}"));
    found
}
