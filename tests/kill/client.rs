//! One client of the kill test: a socket in the clear, SCRAM, and whole stanzas.

use crate::view::{Item, View};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use stonechat::sasl::client::{ClientBinding, ScramClient};
use stonechat::sasl::{ScramHash, base64};

const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// How long a server may take over one answer: a busy machine's patience.
const ANSWER: Duration = Duration::from_secs(60);

/// A stream, bound once [`Client::log_in`] has returned it.
pub(crate) struct Client {
    socket: TcpStream,
    view: View,
}

impl Client {
    /// Logs in and binds; `None` if the password is not the account's.
    pub(crate) fn log_in(address: SocketAddr, user: &str, password: &str) -> Option<Self> {
        let mut client = Self::authenticate(address, user, password)?;
        client.bind();
        Some(client)
    }

    /// Logs in, and stops before there is a session.
    pub(crate) fn authenticate(address: SocketAddr, user: &str, password: &str) -> Option<Self> {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        let mut client = Self { socket, view: View::new() };
        client.send(HEADER);
        client.until("<stream:features");
        let mut scram = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, user, password, "nonce");
        let first = base64::encode(scram.first());
        client.send(&format!("<auth xmlns='{NS_SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>"));
        let challenge = client.until("<challenge");
        let answer = base64::encode(scram.answer(&base64::decode_strict(text_of(&challenge)).unwrap()).unwrap());
        client.send(&format!("<response xmlns='{NS_SASL}'>{answer}</response>"));
        let outcome = client.next();
        if outcome.starts_with("<failure") {
            return None;
        }
        assert!(outcome.starts_with("<success"), "{outcome}");
        client.view.expect_header();
        client.send(HEADER);
        client.until("<stream:features");
        Some(client)
    }

    /// Binds a resource.
    pub(crate) fn bind(&mut self) {
        self.send(&format!("<iq type='set' id='bind'><bind xmlns='{NS_BIND}'><resource>r</resource></bind></iq>"));
        self.until("<iq");
    }

    /// Sends; a server that is gone does not hear it.
    pub(crate) fn send(&mut self, text: &str) {
        let _lost = self.socket.write_all(text.as_bytes());
    }

    /// Asks, and takes all that comes up to the answer, which is the last.
    pub(crate) fn ask(&mut self, id: &str, request: &str) -> Vec<String> {
        self.send(request);
        let (one, other) = (format!("id='{id}'"), format!("id=\"{id}\""));
        let mut frames = Vec::new();
        loop {
            let frame = self.next();
            let is_answer = frame.starts_with("<iq") && (frame.contains(&one) || frame.contains(&other));
            frames.push(frame);
            if is_answer {
                return frames;
            }
        }
    }

    /// The next message; what is not one before it is passed over.
    pub(crate) fn message(&mut self) -> String {
        self.until("<message")
    }

    /// What has come, without waiting for more.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        while self.read() {}
        self.socket.set_nonblocking(false).unwrap();
        self.frames()
    }

    /// What the server had sent when it died.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        while self.read() {}
        self.frames()
    }

    fn frames(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(item) = self.view.next().unwrap() {
            if let Item::Frame(_, text) = item {
                frames.push(text);
            }
        }
        frames
    }

    /// Reads once; false if there is nothing, or never will be.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.view.take_in(&chunk[..count]);
                true
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    fn next(&mut self) -> String {
        loop {
            match self.view.next().unwrap() {
                Some(Item::Frame(_, text)) => return text,
                Some(Item::Header(_)) => {}
                Some(Item::End) => panic!("the server has ended the stream"),
                None => assert!(self.read(), "the server does not answer"),
            }
        }
    }

    fn until(&mut self, start: &str) -> String {
        loop {
            let frame = self.next();
            if frame.starts_with(start) {
                return frame;
            }
        }
    }
}

/// The text of an element without children.
fn text_of(frame: &str) -> String {
    let (_, rest) = frame.split_once('>').unwrap();
    rest.split('<').next().unwrap().to_owned()
}

/// The value of an attribute, whatever its quotes.
pub(crate) fn attr<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}="))?;
    let quote = rest.chars().next()?;
    rest.get(1..)?.split(quote).next()
}

/// The start tags of this name in a frame.
pub(crate) fn tags<'a>(frame: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("<{name} ");
    frame.match_indices(&start).map(|(at, _)| frame[at..].split('>').next().unwrap()).collect()
}
