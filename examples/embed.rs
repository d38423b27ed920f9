//! Stonechat inside a host program: a thread, a store in memory, and a handle that ends it.
//!
//! ```text
//! host ──start(Config, Parts)──▶ Server ──thread──▶ run()
//!   └──────────── Handle::stop ───────────────────────┘
//! ```
//!
//! `cargo run --example embed` starts a server on a free port, connects to it as a client of 2002 and as one of
//! RFC 6120, prints what each was answered, and stops. Nothing is written but a certificate in a temporary folder.
//! A host with a loop of its own calls [`Server::tick`] there instead of [`Server::run`] in a thread.

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use stonechat::clock::Clock;
use stonechat::config::{Config, ListenerConfig, ListenerKind};
use stonechat::im::accounts::{self, Change};
use stonechat::jid;
use stonechat::random::Random;
use stonechat::sasl::{Credentials, ITERATIONS_DEFAULT, ScramHash, derive};
use stonechat::server::{Parts, Server, start};
use stonechat::storage::{Engine, Memory, offline};
use stonechat::transport::{DomainTls, TlsDomains, TlsOptions, certs};

const DOMAIN: &str = "localhost";
const RFC6120: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                       to='localhost' version='1.0'>";
const XEP0035: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                       xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt' to='localhost'>";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Folder::new()?;
    let mut server = server(&folder.0)?;
    let (address, _) = server.listeners().next().ok_or("nothing is listened on")?;
    println!("serving {DOMAIN} on {address}");

    let handle = server.handle();
    let thread = thread::spawn(move || server.run());

    println!("RFC 6120: {}", answer(address, RFC6120, "</stream:features>")?);
    println!("XEP-0035: {}", answer(address, XEP0035, "xml:lang='en'>")?);

    // Every stream is told `system-shutdown`; then `run` returns, and dropping the server closes the store.
    handle.stop();
    thread.join().map_err(|_| "the server's thread panicked")??;
    println!("stopped");
    Ok(())
}

/// A server for one domain and one account, which lives in memory.
fn server(folder: &Path) -> Result<Server, Box<dyn Error>> {
    let config = Config {
        listeners: vec![ListenerConfig {
            kind: ListenerKind::StartTls,
            addresses: vec!["127.0.0.1:0".parse()?],
            all_must_open: true,
        }],
        ..Config::default()
    };
    let mut engine = Memory::new();
    add_account(&mut engine, "alice", "correct horse")?;
    let parts = Parts {
        tls: Some(certificates(folder)?),
        components: Vec::new(),
        // Called by `reload` over the control socket and on SIGHUP, neither of which this host uses.
        reload: Box::new(|_| Err("this host does not reload".into())),
        engine: Box::new(engine),
        control: None,
        signals: false,
    };
    Ok(start(&config, parts)?)
}

/// What the host trusts to prove that it is the domain: here a certificate made on the spot.
fn certificates(folder: &Path) -> Result<TlsDomains, Box<dyn Error>> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    certs::make_self_signed(DOMAIN, &certificate, &key)?;
    println!("certificate: SHA-256 {}", certs::fingerprint(&certificate)?);
    let domain = DomainTls {
        domain: DOMAIN.into(),
        certificate,
        key,
        client_roots: None,
        crls: Vec::new(),
        client_server_auth: false,
    };
    let options = TlsOptions { default_domain: None, unix_s: Clock::new().now().unix_s() };
    Ok(TlsDomains::load(&[domain], &options)?)
}

/// Puts an account into a store that no server uses yet. What is kept are SCRAM keys, never the password.
fn add_account(engine: &mut dyn Engine, localpart: &str, password: &str) -> Result<(), Box<dyn Error>> {
    let password = jid::prepare_password(password)?;
    let job = derive(&password, &ScramHash::ALL, ITERATIONS_DEFAULT, &mut Random::system());
    let account = accounts::account(&Credentials { keys: job.run().derived, disabled: false });
    match offline::run(engine, |store| accounts::create(store, DOMAIN, localpart, &account))? {
        Change::Done => Ok(()),
        other => Err(format!("{localpart}@{DOMAIN}: {other:?}").into()),
    }
}

/// Sends a stream header; reads until `end`, which is the end of what a server says to it.
fn answer(address: SocketAddr, header: &str, end: &str) -> Result<String, Box<dyn Error>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(header.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.ends_with(end.as_bytes()) {
        match socket.read(&mut chunk)? {
            0 => return Err(format!("the server closed behind {:?}", String::from_utf8_lossy(&answer)).into()),
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(String::from_utf8(answer)?)
}

/// A temporary folder, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("stonechat-embed-{}", Random::system().token()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is the system's to clean.
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}
