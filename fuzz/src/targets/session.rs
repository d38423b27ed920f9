//! A whole bound session: bytes from two logged-in clients, in any order and cuts.
//!
//! Whatever they send: what each hears is well-formed XML, `from` in it is somebody who may have said it, every
//! sum of the core is right, and the other one is still served.

use super::Bytes;
use super::bare::{Bare, PASSWORD, PEOPLE, policy, settings};
use stonechat::ids::ConnId;
use stonechat::sasl::base64;
use stonechat::xml::{Expect, Scan, Step, StreamNs, XmlLimits};

pub const SEEDS: &[&[u8]] = &[
    b"\0<presence/>\xFF\x01<presence/>\xFF\0<message to='romeo@localhost/r'><body>hi</body></message>\xFF",
    b"\0<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>\xFF\0<iq type='set' id='2'>\
      <query xmlns='jabber:iq:roster'><item jid='romeo@localhost' name='R'><group>G</group></item></query></iq>\xFF\
      \0<presence to='romeo@localhost' type='subscribe'/>\xFF\x01<presence to='juliet@localhost' type='subscribed'/>\xFF",
    b"\0<iq type='set' id='3'><block xmlns='urn:xmpp:blocking'><item jid='romeo@localhost'/></block></iq>\xFF\
      \x01<message to='juliet@localhost' from='juliet@localhost/r'><body/></message>\xFF\x06",
    b"\0<iq type='set' id='4'><vCard xmlns='vcard-temp'><xml:b/><PHOTO><TYPE>t</TYPE><BINVAL>eA==</BINVAL></PHOTO>\
      </vCard></iq>\xFF\x01<iq type='get' id='5' to='juliet@localhost'><vCard xmlns='vcard-temp'/></iq>\xFF",
    b"\0<iq type='set' id='6'><query xmlns='jabber:iq:private'><x xmlns='urn:x' xmlns:p='u' p:a='1'>&#13;</x></query></iq>\
      \xFF\0<iq type='get' id='7'><query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query></iq>\xFF",
    b"\0<iq type='get' id='8' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>\xFF\
      \0<iq type='set' id='9'><query xmlns='jabber:iq:register'><username>juliet</username><password>x</password></query></iq>\xFF",
    b"\x02<message to='juliet@localhost' type='chat'><body>later</body></message>\xFF\x07\x05",
];

const STREAM: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
/// Operations of one run.
const STEPS_MAX: usize = 64;

/// One client, and where it is in the server's stream.
struct Listener {
    id: ConnId,
    name: &'static str,
    bytes: Vec<u8>,
    is_open: bool,
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut bare = Bare::new(policy(), settings(), 7);
    let mut clients = PEOPLE.map(|name| log_in(&mut bare, name, "r"));
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        let choice = bytes.byte();
        let who = usize::from(choice & 1);
        match choice >> 1 {
            0..4 => {
                let piece = bytes.piece();
                let id = clients[who].id;
                match choice & 2 {
                    0 => bare.send(id, piece),
                    _ => piece.chunks(7).for_each(|cut| bare.send(id, cut)),
                }
            }
            4 => bare.advance(1_000 * u64::from(bytes.byte())),
            5 => {
                bare.hang_up(clients[who].id);
                clients[who] = log_in(&mut bare, PEOPLE[who], "r");
            }
            _ => bare.hash(choice & 4 != 0),
        }
        for client in &mut clients {
            listen(&mut bare, client);
        }
        bare.core.audit().unwrap_or_else(|fault| panic!("{fault}"));
        for who in 0..clients.len() {
            if bare.end(clients[who].id).is_some() || !clients[who].is_open {
                bare.hang_up(clients[who].id);
                clients[who] = log_in(&mut bare, PEOPLE[who], "r");
            }
        }
    }
}

/// A session; what the account was told before is read over. An account that is gone is not made again.
fn log_in(bare: &mut Bare, name: &'static str, resource: &str) -> Listener {
    let id = bare.connect(true);
    bare.secure(id);
    let plain = base64::encode(format!("\0{name}\0{PASSWORD}"));
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    let bind = format!(
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
    );
    bare.send(id, STREAM.as_bytes());
    bare.send(id, auth.as_bytes());
    while bare.hashing() > 0 {
        bare.hash(true);
    }
    bare.send(id, STREAM.as_bytes());
    bare.send(id, bind.as_bytes());
    bare.heard(id);
    Listener { id, name, bytes: Vec::new(), is_open: true }
}

/// Takes in what a client hears, item by item.
fn listen(bare: &mut Bare, client: &mut Listener) {
    client.bytes.extend_from_slice(bare.heard(client.id).as_bytes());
    loop {
        let mut scan = Scan::default();
        let step =
            scan.step(&client.bytes, Expect::Frames, StreamNs::standard(), &XmlLimits::with_frame_bytes(1 << 22));
        let text = || String::from_utf8_lossy(&client.bytes).into_owned();
        let len = match step.unwrap_or_else(|error| panic!("{} hears what is no XML, {error}: {}", client.name, text()))
        {
            Step::Incomplete if client.bytes.is_empty() => return,
            Step::Incomplete | Step::Header { .. } => panic!("{} hears half a stanza: {}", client.name, text()),
            Step::StreamEnd { len } => {
                client.is_open = false;
                len
            }
            Step::Whitespace { len } => len,
            Step::Frame { len } => {
                let from = scan.head().attr(&client.bytes, "from");
                // An error comes from where the stanza went that it is about.
                let is_error = scan.head().attr(&client.bytes, "type").as_deref() == Some("error");
                let is_known = from.as_deref().is_none_or(|from| is_error || may_speak(from));
                assert!(is_known, "{} hears {from:?}: {}", client.name, text());
                len
            }
        };
        client.bytes.drain(..len);
    }
}

/// The server, and the two accounts, with or without a resource.
fn may_speak(from: &str) -> bool {
    let bare = from.split('/').next().unwrap_or_default();
    bare == "localhost" || PEOPLE.iter().any(|name| bare.strip_suffix("@localhost") == Some(*name))
}
