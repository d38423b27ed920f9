//! One simulated client: mostly it wants to log in and talk, sometimes it does not.

use super::rng::Rng;
use super::view::{Item, View};
use std::collections::{BTreeMap, VecDeque};
use stonechat::sasl::base64;
use stonechat::sasl::client::plain;
use stonechat::stream::component::Secret;

/// What is on the wire towards the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// In the clear.
    Clear(Vec<u8>),
    /// All that a TLS handshake needs.
    Hello,
    /// Inside TLS.
    Sealed(Vec<u8>),
    /// The client has no more to say.
    Fin,
    /// The client is gone.
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Rfc6120,
    /// XEP-0078.
    Password,
    /// XEP-0034.
    Sasl2002,
    /// XEP-0114: no client at all.
    Component,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Header,
    Features,
    Proceed,
    Secured,
    Registered,
    Login,
    Bind,
    Online,
    /// Nothing that is said matters any more.
    Over,
}

/// What a client has that the world must know of.
pub(crate) struct Client {
    /// Unique in a run.
    pub(crate) serial: usize,
    pub(crate) user: &'static str,
    pub(crate) password_is_right: bool,
    /// Its full JID while it believes to be bound.
    pub(crate) jid: Option<String>,
    pub(crate) to_send: VecDeque<Net>,
    pub(crate) view: View,
    /// Received messages: sender's serial, number, whether it was for the account, text.
    pub(crate) messages: Vec<(usize, usize, bool, String)>,
    /// The contact that it keeps in its roster: how often it has set it, and the last time that was confirmed.
    pub(crate) kept_sent: usize,
    pub(crate) kept_acked: usize,
    /// The account that it makes: whether it has asked, whether it was told that it is there.
    pub(crate) registers: bool,
    pub(crate) has_registered: bool,
    dialect: Dialect,
    resource: &'static str,
    wait: Wait,
    is_secure: bool,
    is_logged_in: bool,
    /// It has sent everything up to the bind request at once.
    is_ahead: bool,
    is_silent: bool,
    numbers: BTreeMap<String, usize>,
    pub(crate) log: Vec<String>,
}

pub(crate) const USERS: [&str; 6] = ["anna", "ben", "cleo", "dora", "old", "nobody"];
/// A component, and what it proves itself with.
pub(crate) const COMPONENT: (&str, &str) = ("bridge.localhost", "a secret");
const RESOURCES: [&str; 4] = ["one", "two", "three", "four"];
const RUBBISH: [&str; 14] = [
    "</stream:stream>",
    "<a><b></a>",
    "<message to='@@'><body/></message>",
    "\u{0}\u{1}",
    "<iq type='get' id='early'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>biwsbj1hbm5hLHI9YWJj</auth>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdzLHI9YWJjLHA9YWFh</response>",
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
     to='elsewhere' version='1.0'>",
    "<unknown xmlns='x'/>",
    "   \n",
    "<!-- no -->",
];
const TLS_2002: &str = "xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt'";
const SASL_2002: &str = "xmlns:sasl='http://www.iana.org/assignments/sasl-mechanisms'";

impl Client {
    pub(crate) fn new(serial: usize, direct: bool, rng: &mut Rng) -> Self {
        let dialect = rng.pick(&[Dialect::Rfc6120, Dialect::Rfc6120, Dialect::Password, Dialect::Sasl2002]);
        let mut client = Self {
            serial,
            user: rng.pick(&USERS),
            password_is_right: !rng.often(150),
            jid: None,
            to_send: VecDeque::new(),
            view: View::new(),
            messages: Vec::new(),
            kept_sent: 0,
            kept_acked: 0,
            registers: false,
            has_registered: false,
            dialect,
            resource: rng.pick(&RESOURCES),
            wait: Wait::Header,
            is_secure: false,
            is_logged_in: false,
            is_ahead: false,
            is_silent: rng.often(30),
            numbers: BTreeMap::new(),
            log: Vec::new(),
        };
        if direct {
            client.hello();
        } else {
            client.open_stream(rng);
        }
        client
    }

    /// One that answers for a domain of its own.
    pub(crate) fn component(serial: usize, rng: &mut Rng) -> Self {
        let mut client = Self::new(serial, false, rng);
        client.dialect = Dialect::Component;
        client.is_silent = false;
        client.to_send.clear();
        client.log.clear();
        let header = "<stream:stream to='bridge.localhost' xmlns='jabber:component:accept' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
        client.say(header, rng);
        client
    }

    pub(crate) fn is_component(&self) -> bool {
        self.dialect == Dialect::Component
    }

    fn wrap(&self, text: String) -> Net {
        if self.is_secure { Net::Sealed(text.into_bytes()) } else { Net::Clear(text.into_bytes()) }
    }

    fn say(&mut self, text: &str, rng: &mut Rng) {
        if self.is_silent {
            return;
        }
        let mut bytes = text.as_bytes().to_vec();
        match rng.below(250) {
            0 => bytes.extend_from_slice(rng.pick(&RUBBISH).as_bytes()),
            1 => bytes.truncate(rng.below(bytes.len()).max(1)),
            2 => bytes = rng.pick(&RUBBISH).as_bytes().to_vec(),
            3 => bytes.extend(vec![b'x'; 20_000]),
            _ => {}
        }
        self.log.push(format!("C: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)])));
        self.to_send.push_back(if self.is_secure { Net::Sealed(bytes) } else { Net::Clear(bytes) });
    }

    fn hello(&mut self) {
        if !self.is_silent {
            self.to_send.push_back(Net::Hello);
        }
        self.is_secure = true;
        self.wait = Wait::Secured;
    }

    fn open_stream(&mut self, rng: &mut Rng) {
        let declared = match (self.dialect, self.is_secure) {
            (Dialect::Rfc6120, _) => "version='1.0'",
            (_, false) => TLS_2002,
            (Dialect::Password, true) => "",
            (Dialect::Sasl2002, true) => SASL_2002,
            // It opens one stream, and that before this.
            (Dialect::Component, true) => return,
        };
        let to = if rng.often(10) { "elsewhere" } else { "localhost" };
        self.wait = Wait::Header;
        self.say(&header(to, declared), rng);
    }

    /// The handshake is done on both sides.
    pub(crate) fn secured(&mut self, rng: &mut Rng) {
        self.view.expect_header();
        self.open_stream(rng);
    }

    pub(crate) fn is_in_handshake(&self) -> bool {
        self.wait == Wait::Secured
    }

    fn log_in(&mut self, rng: &mut Rng) {
        self.wait = Wait::Login;
        let password = if self.password_is_right { "secret" } else { "wrong" };
        let message = base64::encode(plain("", self.user, password));
        match self.dialect {
            Dialect::Rfc6120 => {
                let (mechanism, data) = if rng.often(100) { ("ANONYMOUS", String::new()) } else { ("PLAIN", message) };
                let xmlns = "urn:ietf:params:xml:ns:xmpp-sasl";
                let auth = format!("<auth xmlns='{xmlns}' mechanism='{mechanism}'>{data}</auth>");
                self.is_ahead = rng.often(200);
                if self.is_ahead {
                    let all = [auth, header("localhost", "version='1.0'"), self.bind_request()].concat();
                    self.say(&all, rng);
                } else {
                    self.say(&auth, rng);
                }
            }
            Dialect::Sasl2002 => self.say(&format!("<sasl:auth mechanism='PLAIN'>{message}</sasl:auth>"), rng),
            Dialect::Password => {
                let request = self.session_request(&format!("<password>{password}</password>"));
                self.say(&request, rng);
            }
            Dialect::Component => {}
        }
    }

    /// The account that this client may make.
    pub(crate) fn new_name(&self) -> String {
        format!("new{}", self.serial)
    }

    fn register(&mut self, rng: &mut Rng) {
        self.wait = Wait::Registered;
        self.registers = true;
        let request = format!(
            "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>{}</username>\
             <password>secret</password></query></iq>",
            self.new_name()
        );
        self.say(&request, rng);
    }

    fn bind_request(&self) -> String {
        format!(
            "<iq type='set' id='{0}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{0}</resource></bind></iq>",
            self.resource
        )
    }

    fn session_request(&self, more: &str) -> String {
        format!(
            "<iq type='set' id='{1}'><query xmlns='jabber:iq:auth'><username>{0}</username>{more}\
             <resource>{1}</resource></query></iq>",
            self.user, self.resource
        )
    }

    fn bind(&mut self, rng: &mut Rng) {
        self.wait = Wait::Bind;
        self.resource = rng.pick(&RESOURCES);
        let request = match self.dialect {
            Dialect::Rfc6120 => self.bind_request(),
            Dialect::Password | Dialect::Sasl2002 | Dialect::Component => self.session_request(""),
        };
        self.say(&request, rng);
    }

    fn start_tls(&mut self, rng: &mut Rng) {
        self.wait = Wait::Proceed;
        let starttls = match self.dialect {
            Dialect::Rfc6120 => "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            Dialect::Password | Dialect::Sasl2002 | Dialect::Component => "<tls:starttls/>",
        };
        self.say(starttls, rng);
        if rng.often(20) {
            // A hello that does not wait for the go-ahead may come with the request, and then is no hello.
            self.to_send.push_back(Net::Hello);
        }
    }

    /// Goes through what the server has said.
    pub(crate) fn listen(&mut self, rng: &mut Rng) -> Result<(), String> {
        while let Some(item) = self.view.next()? {
            self.log.push(format!("S: {item:?}"));
            if self.is_in_handshake() {
                return Err(format!("XML before TLS is up: {item:?}"));
            }
            match item {
                Item::Header(text) => self.header(&text, rng),
                Item::Frame(name, text) => self.frame(&name, &text, rng)?,
                Item::End if self.is_of_2002() && self.wait == Wait::Proceed => self.hello(),
                Item::End => self.ended(rng),
            }
        }
        Ok(())
    }

    fn is_of_2002(&self) -> bool {
        matches!(self.dialect, Dialect::Password | Dialect::Sasl2002)
    }

    fn header(&mut self, text: &str, rng: &mut Rng) {
        match (self.dialect, self.is_secure) {
            (Dialect::Component, _) => {
                let id = text.split_once(" id='").and_then(|(_, rest)| rest.split('\'').next()).unwrap_or_default();
                let secret =
                    Secret::new(if self.password_is_right { COMPONENT.1.to_owned() } else { "wrong".to_owned() });
                self.wait = Wait::Login;
                self.say(&format!("<handshake>{}</handshake>", secret.handshake(id)), rng);
            }
            (Dialect::Rfc6120, _) => self.wait = Wait::Features,
            (_, false) => self.start_tls(rng),
            (Dialect::Password, true) => self.log_in(rng),
            // The mechanisms follow.
            (Dialect::Sasl2002, true) => self.wait = Wait::Features,
        }
    }

    fn frame(&mut self, name: &str, text: &str, rng: &mut Rng) -> Result<(), String> {
        match (name, self.wait) {
            ("features" | "mechanisms", Wait::Features) => match (self.is_secure, self.is_logged_in) {
                (false, _) => self.start_tls(rng),
                (true, false) if text.contains("iq-register") && rng.often(60) => self.register(rng),
                (true, false) => self.log_in(rng),
                (true, true) if self.is_ahead => self.wait = Wait::Bind,
                (true, true) => self.bind(rng),
            },
            ("proceed", _) => {
                self.hello();
                self.view.expect_header();
            }
            ("success", Wait::Login) => {
                self.is_logged_in = true;
                match self.dialect {
                    Dialect::Rfc6120 => {
                        self.view.expect_header();
                        if self.is_ahead { self.wait = Wait::Header } else { self.open_stream(rng) }
                    }
                    Dialect::Password | Dialect::Sasl2002 => self.bind(rng),
                    Dialect::Component => {}
                }
            }
            ("handshake", Wait::Login) => {
                self.jid = Some(COMPONENT.0.to_owned());
                self.wait = Wait::Online;
            }
            // Of an attempt that it had given up.
            ("success", _) if self.dialect == Dialect::Rfc6120 => self.view.expect_header(),
            ("failure", Wait::Login) if self.is_ahead => self.wait = Wait::Over,
            ("failure", Wait::Login) => {
                self.password_is_right |= rng.often(700);
                self.log_in(rng);
            }
            ("iq", Wait::Login | Wait::Bind | Wait::Registered) if text.contains("type='result'") => {
                let jid = match text.split_once("<jid>") {
                    Some((_, rest)) => rest.split('<').next().unwrap_or_default().to_owned(),
                    None => {
                        let id = text.split_once("id='").and_then(|(_, rest)| rest.split('\'').next());
                        format!("{}@localhost/{}", self.user, id.unwrap_or_default())
                    }
                };
                self.jid = Some(jid);
                self.wait = Wait::Online;
                if rng.often(700) {
                    self.say("<presence/>", rng);
                }
            }
            // Not the answer to what it sent ahead.
            ("iq", Wait::Registered) if text.contains(" id='reg'") => {
                self.has_registered |= text.contains("type='result'");
                self.registers = false;
                self.log_in(rng);
            }
            ("iq", _) if text.contains("type='result'") && text.contains(" id='k") => {
                let number = text.split_once(" id='k").and_then(|(_, rest)| rest.split('\'').next()?.parse().ok());
                self.kept_acked = self.kept_acked.max(number.unwrap_or(0));
            }
            ("iq", Wait::Login) if text.contains("type='error'") => self.log_in(rng),
            ("iq", Wait::Bind) if text.contains("type='error'") => self.bind(rng),
            ("message", Wait::Online | Wait::Over) => self.message(text)?,
            ("message" | "presence", wait) if wait != Wait::Online && wait != Wait::Over => {
                return Err(format!("a stanza for a session that is not told to be bound: {text}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, text: &str) -> Result<(), String> {
        let Some((_, body)) = text.split_once("<body>M|") else { return Ok(()) };
        let mut parts = body.split(['|', '<']);
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        let (Some(sender), Some(at)) = (number(), number()) else { return Err(format!("mangled: {text}")) };
        let to = parts.next().unwrap_or_default();
        let own = self.jid.as_deref().unwrap_or_default();
        let is_bare = !to.contains('/');
        if own != to && !(is_bare && own.split('/').next() == Some(to)) {
            return Err(format!("{:?} got a message for {to}", self.jid));
        }
        self.messages.push((sender, at, is_bare, text.to_owned()));
        Ok(())
    }

    fn ended(&mut self, rng: &mut Rng) {
        self.wait = Wait::Over;
        if rng.often(900) {
            self.say("</stream:stream>", rng);
            self.to_send.push_back(Net::Fin);
        }
    }

    /// The server has closed its side of TCP.
    pub(crate) fn hears_fin(&mut self, rng: &mut Rng) {
        if rng.often(800) {
            self.to_send.push_back(Net::Fin);
        }
    }

    /// A client acts by itself. `online` are full JIDs that may be there.
    pub(crate) fn act(&mut self, online: &[String], unrest: usize, rng: &mut Rng) {
        match rng.below(1_000_000) / unrest {
            0 => self.to_send.push_back(Net::Reset),
            1 => self.to_send.push_back(Net::Fin),
            2 => {
                let rubbish = rng.pick(&RUBBISH);
                self.say(rubbish, rng);
            }
            _ if self.wait == Wait::Online && rng.often(300) && self.is_component() => self.bridge(online, rng),
            _ if self.wait == Wait::Online && rng.often(300) => self.talk(online, unrest, rng),
            _ => {}
        }
    }

    fn talk(&mut self, online: &[String], unrest: usize, rng: &mut Rng) {
        match rng.below(30) {
            0 if rng.below(10_000) < unrest => self.say("</stream:stream>", rng),
            1 => self.say("<presence type='unavailable'/>", rng),
            2 => self.say("<presence><priority>1</priority></presence>", rng),
            3 => self.say("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", rng),
            4 => self.say(" ", rng),
            5 if !online.is_empty() => {
                let to = rng.pick(online);
                self.say(&format!("<presence to='{to}'/>"), rng);
            }
            6 => {
                let to = format!("{}@localhost", rng.pick(&USERS));
                self.message_to(&to, rng);
            }
            8 | 9 => self.keep(),
            10 => {
                let kind = rng.pick(&["subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"]);
                let to = rng.pick(&USERS);
                self.say(&format!("<presence type='{kind}' to='{to}@localhost'/>"), rng);
            }
            11 => self.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>", rng),
            12 => self.store(rng),
            7 => self.say("<message to='far@elsewhere'><body>away</body></message>", rng),
            _ if !online.is_empty() => {
                for _ in 0..=rng.below(3) {
                    let to = rng.pick(online);
                    self.message_to(&to, rng);
                }
            }
            _ => {}
        }
    }

    /// What a component says.
    fn bridge(&mut self, online: &[String], rng: &mut Rng) {
        let user = rng.pick(&USERS);
        match rng.below(8) {
            0 => {
                let kind =
                    rng.pick(&["subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "unavailable"]);
                self.say(&format!("<presence from='x@bridge.localhost' to='{user}@localhost' type='{kind}'/>"), rng);
            }
            1 => self.say(&format!("<presence from='x@bridge.localhost/y' to='{user}@localhost'/>"), rng),
            2 => self.say("<message from='x@elsewhere' to='anna@localhost'/>", rng),
            _ if !online.is_empty() => {
                let to = rng.pick(online);
                self.message_to(&to, rng);
            }
            _ => {}
        }
    }

    /// Sets its contact in the account's roster anew. Never mangled: what is confirmed is held to.
    fn keep(&mut self) {
        if self.is_silent {
            return;
        }
        self.kept_sent += 1;
        let (number, serial) = (self.kept_sent, self.serial);
        let text = format!(
            "<iq type='set' id='k{number}'><query xmlns='jabber:iq:roster'><item jid='s{serial}@away.example' \
             name='{number}'/></query></iq>"
        );
        self.to_send.push_back(Net::Sealed(text.into_bytes()));
    }

    /// Has the server keep other things for it.
    fn store(&mut self, rng: &mut Rng) {
        let filler = "x".repeat(rng.below(2_000));
        let text = match rng.below(5) {
            0 => format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'><DESC>{filler}</DESC></vCard></iq>"),
            1 => format!(
                "<iq type='set' id='x'><query xmlns='jabber:iq:private'><x xmlns='urn:{}'>{filler}</x></query></iq>",
                rng.below(5)
            ),
            // Who blocks misses messages: only these two do, and are not held to have all.
            2 if self.may_miss() => {
                let who = rng.pick(&USERS);
                format!(
                    "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{who}@localhost'/></block></iq>"
                )
            }
            3 => "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>".to_owned(),
            _ => format!(
                "<iq type='set' id='g'><query xmlns='jabber:iq:roster'><item jid='g{}@away.example' \
                 subscription='remove'/></query></iq>",
                rng.below(4)
            ),
        };
        self.say(&text, rng);
    }

    /// Whether messages for it may be kept from it.
    pub(crate) fn may_miss(&self) -> bool {
        matches!(self.user, "cleo" | "dora")
    }

    fn message_to(&mut self, to: &str, rng: &mut Rng) {
        let number = self.numbers.entry(to.to_owned()).or_default();
        *number += 1;
        let filler = "&amp;".repeat(if rng.often(100) { rng.below(1500) } else { rng.below(20) });
        let from = if self.dialect == Dialect::Component { " from='bridge.localhost'" } else { "" };
        let text = format!("<message{from} to='{to}'><body>M|{}|{number}|{to}|{filler}</body></message>", self.serial);
        // Never mangled: numbers must come without a gap.
        if !self.is_silent {
            self.to_send.push_back(self.wrap(text));
        }
    }
}

fn header(to: &str, declared: &str) -> String {
    format!(
        "<stream:stream to='{to}' {declared} xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}
