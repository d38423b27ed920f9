//! A client of a server in another process: direct TLS, and text.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use crate::process::Folder;
use crate::tls_common::World;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";

/// Writes a configuration with free ports and a certificate that the clients trust; `more` stands before its sections.
pub(crate) fn configure(folder: &Folder, more: &str) -> World {
    let world = World::new(&["localhost"]);
    let domain = &world.domains[0];
    let text = format!(
        "scram_iterations = 4096\n{more}\n[[domain]]\nname = \"localhost\"\ncertificate = \"{}\"\nkey = \"{}\"\n{}",
        domain.certificate.display(),
        domain.key.display(),
        crate::process::FREE_PORTS
    );
    std::fs::write(folder.0.join("stonechat.toml"), text).unwrap();
    world
}

/// A connection, inside TLS.
pub(crate) struct Wire {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What has come and was not asked for yet.
    said: String,
}

impl Wire {
    /// A stream before its login; the features are read.
    pub(crate) fn open(address: &str, world: &World) -> Self {
        let tls = world.client().alpn(&["xmpp-client"]).connect("localhost");
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Self { stream: StreamOwned::new(tls, socket), said: String::new() };
        wire.say(HEADER);
        wire.hear("</stream:features>");
        wire
    }

    /// A session.
    pub(crate) fn log_in(address: &str, world: &World, user: &str, password: &str) -> Self {
        let mut wire = Self::open(address, world);
        assert!(wire.authenticate(user, password), "{user} may not log in");
        wire.say("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
        wire.hear("</iq>");
        wire
    }

    /// Whether the login succeeds.
    pub(crate) fn authenticate(&mut self, user: &str, password: &str) -> bool {
        let plain = stonechat::sasl::base64::encode(format!("\0{user}\0{password}").as_bytes());
        self.say(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
        let verdict = self.hear_either(&["<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "</failure>"]);
        if verdict.contains("<failure") {
            return false;
        }
        self.say(HEADER);
        self.hear("</stream:features>");
        true
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Waits for `end`; what came up to and with it.
    pub(crate) fn hear(&mut self, end: &str) -> String {
        self.hear_either(&[end])
    }

    /// Waits for the first of several ends.
    pub(crate) fn hear_either(&mut self, ends: &[&str]) -> String {
        loop {
            let found = ends.iter().filter_map(|end| Some(self.said.find(end)? + end.len())).min();
            if let Some(at) = found {
                let rest = self.said.split_off(at);
                return std::mem::replace(&mut self.said, rest);
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).unwrap_or_else(|error| panic!("{error}: {}", self.said));
            assert_ne!(count, 0, "it ended: {}", self.said);
            self.said.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
    }

    /// Asks, and returns the answer with this id.
    pub(crate) fn ask(&mut self, kind: &str, id: &str, payload: &str) -> String {
        self.say(&format!("<iq type='{kind}' id='{id}'>{payload}</iq>"));
        let before = self.hear(&format!("id='{id}'"));
        let rest = self.hear_either(&["/>", "</iq>"]);
        let start = before.rfind('<').unwrap();
        let mut answer = format!("{}{rest}", &before[start..]);
        // An empty result ends with its own tag; anything else with the end tag.
        if !(answer.ends_with("</iq>") || answer.matches('<').count() == 1) {
            answer.push_str(&self.hear("</iq>"));
        }
        answer
    }
}
