//! A server in a thread, and clients with real sockets and real TLS, as a [`Peer`] for transcripts.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use crate::common::script::Peer;
use crate::sim::{Setup, client_chain, fill, is_component};
use crate::tls_common::{ClientSettings, World};
use rustls::ClientConnection;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;
use stonechat::config::{Config, ListenerConfig, ListenerKind, SaslMechanism, SocketConfig};
use stonechat::jid::Jid;
use stonechat::server::{Handle, Parts, start};
use stonechat::storage::{Engine, Memory};
use stonechat::stream::component::Secret;

/// How long a silent server is given before it counts as silent.
const SILENCE: Duration = Duration::from_millis(400);
/// How long what is expected may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that ends with the test.
pub(crate) struct Running {
    pub(crate) starttls: SocketAddr,
    pub(crate) direct: SocketAddr,
    pub(crate) component: Option<SocketAddr>,
    is_direct: bool,
    client: ClientSettings,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    first_domain: String,
    _world: World,
}

impl Running {
    pub(crate) fn start(setup: &Setup) -> Self {
        let names: Vec<&str> = setup.domains.iter().map(String::as_str).collect();
        let mut world = World::new(&names);
        let mut client = world.client();
        if let Some(addresses) = &setup.client_certificate {
            let (ca, issued) = client_chain(addresses);
            for name in &names {
                world.take_clients(name, &[&ca]);
            }
            client = ClientSettings::with_certificate(&world.ca, rustls::ALL_VERSIONS, &issued);
        }
        let mut engine: Box<dyn Engine> = Box::new(Memory::default());
        fill(&mut *engine, setup);
        let tls = setup.certificate.then(|| world.load());
        let config = config(setup);
        let components = setup.components.iter().map(|(name, secret)| (name.clone(), Secret::new(secret.clone())));
        let parts = Parts {
            tls,
            components: components.collect(),
            reload: Box::new(|_| Err("not in this test".into())),
            engine,
            control: None,
            signals: false,
        };
        let mut server = start(&config, parts).unwrap();
        let addresses: Vec<SocketAddr> = server.listeners().map(|(address, _)| address).collect();
        let handle = server.handle();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self {
            starttls: addresses[0],
            direct: addresses[1],
            component: addresses.get(2).copied(),
            is_direct: setup.direct,
            client,
            handle,
            thread: Some(thread),
            first_domain: setup.domains[0].clone(),
            _world: world,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn config(setup: &Setup) -> Config {
    let mut config = Config::default();
    let template = config.domains[0].clone();
    let mut mechanisms = template.mechanisms.clone();
    if setup.client_certificate.is_some() {
        mechanisms.push(SaslMechanism::External);
    }
    if setup.anonymous {
        mechanisms.push(SaslMechanism::Anonymous);
    }
    config.domains = setup
        .domains
        .iter()
        .map(|name| {
            let mut domain = template.clone();
            domain.name = name.clone();
            domain.tls_required = setup.tls_required && setup.certificate;
            domain.mechanisms = mechanisms.clone();
            domain
        })
        .collect();
    let listener = |kind| ListenerConfig { kind, addresses: vec!["127.0.0.1:0".parse().unwrap()], all_must_open: true };
    config.listeners = vec![listener(ListenerKind::StartTls), listener(ListenerKind::Direct)];
    if !setup.components.is_empty() {
        config.listeners.push(listener(ListenerKind::Component));
    }
    let sockets = setup.component_socket.iter().map(|path| SocketConfig { path: path.clone(), mode: 0o660 });
    config.component_sockets = sockets.collect();
    config.legacy = setup.legacy;
    config.registration = setup.registration;
    config.limits.registrations_per_address_per_hour = 3;
    config.scram_iterations = 4_096;
    config.contacts.clone_from(&setup.contacts);
    config.admins = setup.admins.iter().map(|admin| Jid::parse(admin).unwrap()).collect();
    config.limits.sasl_attempts = 3;
    config.limits.resources_per_account = 4;
    config.limits.offline_messages = setup.offline_messages;
    config
}

/// The clients of one script.
pub(crate) struct SocketPeer<'a> {
    running: &'a Running,
    clients: BTreeMap<String, Client>,
    current: String,
}

struct Client {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    closed: bool,
    received: Vec<u8>,
    /// The domain of the last stream header: whom the certificate must name.
    domain: String,
}

impl<'a> SocketPeer<'a> {
    pub(crate) fn new(running: &'a Running) -> Self {
        Self { running, clients: BTreeMap::new(), current: String::new() }
    }

    fn client(&mut self) -> &mut Client {
        self.clients.get_mut(&self.current).unwrap()
    }
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, tls: None, closed: false, received: Vec::new(), domain: String::new() }
    }

    fn handshake(&mut self, settings: &ClientSettings, name: &str) {
        self.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut tls = settings.connect(name);
        while tls.is_handshaking() {
            if tls.complete_io(&mut self.socket).is_err() {
                self.closed = true;
                return;
            }
        }
        self.tls = Some(Box::new(tls));
    }

    fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.tls {
            None => self.socket.write_all(bytes),
            Some(tls) => {
                tls.writer().write_all(bytes).unwrap();
                let mut result = Ok(());
                while tls.wants_write() && result.is_ok() {
                    result = tls.write_tls(&mut self.socket).map(drop);
                }
                result
            }
        };
        // Lost once the server has closed.
        let _lost = sent;
    }

    /// Takes what has come, waiting at most `wait` for the first of it; true if something came.
    fn take(&mut self, wait: Duration) -> bool {
        if self.closed {
            return false;
        }
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
        let before = self.received.len();
        let mut came = false;
        match &mut self.tls {
            None => {
                let mut chunk = [0; 16 * 1024];
                match self.socket.read(&mut chunk) {
                    Ok(0) => self.closed = true,
                    Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                    Err(error) => self.closed |= !is_timeout(error.kind()),
                }
            }
            Some(tls) => match tls.read_tls(&mut self.socket) {
                Ok(0) => self.closed = true,
                Ok(_) => {
                    // A ticket, say: what is waited for is behind it.
                    came = true;
                    let state = tls.process_new_packets().unwrap();
                    let mut plain = vec![0; state.plaintext_bytes_to_read()];
                    tls.reader().read_exact(&mut plain).unwrap();
                    self.received.extend_from_slice(&plain);
                    self.closed |= state.peer_has_closed();
                }
                Err(error) => self.closed |= !is_timeout(error.kind()),
            },
        }
        self.closed || came || self.received.len() > before
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Peer for SocketPeer<'_> {
    fn select(&mut self, client: &str) {
        self.current = client.to_owned();
        if self.clients.contains_key(client) {
            return;
        }
        let running = self.running;
        if let Some(address) = running.component.filter(|_| is_component(client)) {
            self.clients.insert(self.current.clone(), Client::connect(address));
            return;
        }
        let address = if running.is_direct { running.direct } else { running.starttls };
        let mut client = Client::connect(address);
        if running.is_direct {
            client.handshake(&running.client.clone().alpn(&["xmpp-client"]), &running.first_domain);
        }
        self.clients.insert(self.current.clone(), client);
    }

    fn send(&mut self, bytes: &[u8]) {
        let client = self.client();
        let text = String::from_utf8_lossy(bytes);
        if text.contains("<stream:stream")
            && let Some((domain, _)) = text.split_once("to='").and_then(|(_, rest)| rest.split_once('\''))
        {
            domain.clone_into(&mut client.domain);
        }
        client.send(bytes);
    }

    fn received(&mut self) -> Vec<u8> {
        let client = self.client();
        while client.take(Duration::from_millis(1)) && !client.closed {}
        std::mem::take(&mut client.received)
    }

    fn flip(&mut self) {
        let running = self.running;
        // Several domains: the clear header names the one that is meant, as it does for clients without SNI.
        let settings = running.client.clone().without_sni();
        let client = self.client();
        let name = client.domain.clone();
        client.handshake(&settings, &name);
    }

    fn closed(&self) -> bool {
        self.clients.get(&self.current).is_some_and(|client| client.closed)
    }

    fn advance(&mut self, _ms: u64) {
        // A client that has seen the server's end tag answers it, so that nobody waits out the linger time.
        self.client().send(b"</stream:stream>");
        for _ in 0..20 {
            let client = self.client();
            if client.closed {
                return;
            }
            client.take(Duration::from_millis(250));
        }
    }

    fn drop_connection(&mut self) {
        let client = self.client();
        client.closed = true;
        let _gone = client.socket.shutdown(std::net::Shutdown::Both);
    }

    fn wait(&mut self) -> bool {
        self.client().take(PATIENCE)
    }

    fn pause(&mut self) -> bool {
        self.client().take(SILENCE)
    }

    fn channel_binding(&mut self, kind: &str) -> Option<Vec<u8>> {
        let client = self.client();
        let tls = client.tls.as_mut()?;
        match kind {
            "tls-exporter" => {
                tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).ok().map(|key| key.to_vec())
            }
            "tls-server-end-point" => {
                let leaf = tls.peer_certificates()?.first()?;
                Some(stonechat::crypto::digest::digest(&stonechat::crypto::digest::SHA256, leaf).as_ref().to_vec())
            }
            _ => None,
        }
    }
}
