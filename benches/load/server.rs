//! The server under test: Stonechat started here, or any XMPP server that runs already.
//!
//! An own server gets a folder under the system's temporary one, a configuration on loopback and free ports,
//! and its accounts through `stonechat import`. It is started anew for scenarios that measure memory, so
//! that what one leaves behind is not counted in the next, and ended by its pid when this value is dropped.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::args::Options;
use crate::clock::{Clock, SECOND_NS, pause};
use crate::launch;
use crate::plan::Dialect;
use crate::population::Population;
use crate::process;
use crate::progress::Progress;

/// Longest start and longest polite end.
const START_STOP_NS: u64 = 20 * SECOND_NS;

/// Longest import of the accounts.
const IMPORT_NS: u64 = 300 * SECOND_NS;
/// The file of the authority whose client certificates are trusted, in the server's folder.
const CLIENT_ROOTS: &str = "clients.pem";

/// How an own server is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Its descriptor limit, where it is not the system's.
    pub(crate) descriptors: Option<u64>,
    /// The authority whose client certificates it trusts, as PEM.
    pub(crate) client_roots: Option<String>,
}

/// What is measured.
#[derive(Debug)]
pub(crate) struct Server {
    /// STARTTLS and plain.
    target: SocketAddr,
    direct_target: Option<SocketAddr>,
    pids: Vec<u32>,
    own: Option<Own>,
    domain: String,
    stop: Arc<AtomicBool>,
}

/// A server that was started here.
#[derive(Debug)]
struct Own {
    binary: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// The server that the options name; an own one is made ready but not started.
    pub(crate) fn new(options: &Options, population: &Population, stop: Arc<AtomicBool>) -> io::Result<Self> {
        if let Some(target) = options.target {
            let (direct_target, pids) = (options.direct_target, options.pids.clone());
            let domain = options.domain.clone();
            pids.iter().for_each(|pid| process::leave_the_others(*pid));
            return Ok(Self { target, direct_target, pids, own: None, domain, stop });
        }
        // It is started in another folder than this program.
        let binary = fs::canonicalize(&options.server)
            .map_err(|error| io::Error::other(format!("{}: {error}", options.server.display())))?;
        let folder = std::env::temp_dir().join(format!("stonechat-load-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let own = Own { binary, folder, child: None };
        let (target, direct) = (free_address()?, free_address()?);
        let (direct_target, domain) = (Some(direct), options.domain.clone());
        let mut server = Self { target, direct_target, pids: Vec::new(), own: Some(own), domain, stop };
        server.make_accounts(options, population)?;
        Ok(server)
    }

    /// Where a dialect is spoken.
    pub(crate) fn target(&self, dialect: Dialect) -> Option<SocketAddr> {
        if dialect == Dialect::Direct { self.direct_target } else { Some(self.target) }
    }

    /// The processes to measure; none when nobody named them.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Whether both ends of a connection are on this machine.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.target.ip().is_loopback()
    }

    /// Whether it was started here.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The own server's control socket.
    pub(crate) fn control(&self) -> Option<PathBuf> {
        self.own.as_ref().map(|own| own.folder.join("data/control.sock"))
    }

    /// Starts an own server anew; another's is left as it is.
    pub(crate) fn restart(&mut self, setup: &Setup) -> io::Result<()> {
        let Some(own) = self.own.as_mut() else { return Ok(()) };
        own.end();
        if let Some(pem) = &setup.client_roots {
            fs::write(own.folder.join(CLIENT_ROOTS), pem)?;
        }
        let direct = self.direct_target.unwrap_or(self.target);
        fs::write(own.config(), config(&self.domain, self.target, direct, setup.client_roots.is_some()))?;
        let pid = own.start(setup.descriptors)?;
        self.pids = vec![pid];
        // One port may be open a moment before the other.
        own.wait_for(self.target, &self.stop)?;
        self.direct_target.map_or(Ok(()), |target| own.wait_for(target, &self.stop))
    }

    /// Whether all its processes are there.
    pub(crate) fn is_alive(&self) -> bool {
        self.pids.iter().all(|pid| process::is_alive(*pid))
    }

    /// How an own server ended and what it wrote last, for a message.
    pub(crate) fn last_words(&mut self) -> String {
        self.own.as_mut().map(Own::last_words).unwrap_or_default()
    }

    /// Only serving makes the data folder, and only without a server are accounts imported.
    fn make_accounts(&mut self, options: &Options, population: &Population) -> io::Result<()> {
        self.restart(&Setup::default())?;
        let Some(own) = self.own.as_mut() else { return Ok(()) };
        own.end();
        let file = own.folder.join("accounts.xml");
        let mut out = BufWriter::new(File::create(&file)?);
        population.write(options, &mut out)?;
        out.flush()?;
        own.import(&file, &self.stop)?;
        fs::remove_file(file)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(own) = self.own.as_mut() {
            own.end();
            // A folder that stays behind in the temporary one harms nobody.
            let _ = fs::remove_dir_all(&own.folder);
        }
    }
}

impl Own {
    fn config(&self) -> PathBuf {
        self.folder.join("stonechat.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn start(&mut self, descriptors: Option<u64>) -> io::Result<u32> {
        let mut command = launch::command(&self.binary, descriptors);
        command.arg("--config").arg(self.config()).current_dir(&self.folder).stdin(Stdio::null());
        // What somebody wants to see of their own server would slow this one down.
        command.env_remove("RUST_LOG");
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let pid = child.id();
        process::leave_the_others(pid);
        self.child = Some(child);
        Ok(pid)
    }

    fn wait_for(&mut self, target: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let clock = Clock::start();
        while TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_err() {
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("interrupted"));
            }
            if ended || clock.ns() > START_STOP_NS {
                return Err(io::Error::other(format!("the server does not serve:\n{}", self.last_words())));
            }
            pause(20);
        }
        Ok(())
    }

    fn import(&self, file: &Path, stop: &AtomicBool) -> io::Result<()> {
        let mut command = launch::command(&self.binary, None);
        command.arg("--config").arg(self.config()).arg("import").arg(file).current_dir(&self.folder);
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let clock = Clock::start();
        let mut progress = Progress::new(0, IMPORT_NS);
        let whole = fs::metadata(file)?.len() / 1024;
        loop {
            if let Some(status) = child.try_wait()? {
                // Ctrl-C on a terminal ends it too.
                let is_interrupted = stop.load(Ordering::Relaxed);
                let why = || if is_interrupted { "interrupted" } else { "the import failed" };
                let told = || io::Error::other(format!("{}: {}", why(), self.end_of_log()));
                return if status.success() { Ok(()) } else { Err(told()) };
            }
            let why = if stop.load(Ordering::Relaxed) { Some("interrupted") } else { None };
            if let Some(why) = why.or((clock.ns() > IMPORT_NS).then_some("the import takes too long")) {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(why));
            }
            let read = process::read_so_far(child.id(), file) / 1024;
            progress.show(clock.ns(), ("KiB of accounts imported", read, Some(whole)));
            pause(20);
        }
    }

    /// Ends it politely, then not.
    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let clock = Clock::start();
        if matches!(child.try_wait(), Ok(None)) {
            process::ask_to_end(child.id());
        }
        while matches!(child.try_wait(), Ok(None)) && clock.ns() < START_STOP_NS {
            pause(10);
        }
        // Both fail only when it has ended.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn last_words(&mut self) -> String {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let status = status.map_or("it runs".to_owned(), |status| status.to_string());
        format!("{status}\n{}", self.end_of_log())
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// A loopback address with a port that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Loopback, TLS offered and not demanded, and no bound in the way that protects from a single address:
/// here every client has the same.
fn config(domain: &str, target: SocketAddr, direct: SocketAddr, certified: bool) -> String {
    let roots = if certified { format!("client_roots = \"{CLIENT_ROOTS}\"\n") } else { String::new() };
    format!(
        r#"data_dir = "data"
tls_required = false

[[domain]]
name = "{domain}"
self_signed = true
{roots}
[[listener]]
kind = "starttls"
addresses = ["{target}"]

[[listener]]
kind = "direct"
addresses = ["{direct}"]

[limits]
connections_per_address = 1000000
connects_per_address_per_minute = 10000000
connections_before_login_per_address = 1000000
handshakes = 1000000
memory_max = 68719476736
session_bytes_per_s = 0
session_stanzas_per_s = 0
resources_per_account = 1000
hashes_waiting = 4096
"#
    )
}

/// The C library of a program, by what is in its file.
fn libc_of(path: &Path) -> &'static str {
    let file = fs::read(path).unwrap_or_default();
    let has = |text: &[u8]| memchr::memmem::find(&file, text).is_some();
    match (has(b"/ld-linux"), has(b"/ld-musl"), has(b"GNU C Library")) {
        (true, ..) => "glibc",
        (_, true, _) => "musl",
        (.., true) => "static glibc",
        _ => "static, not glibc",
    }
}

/// Says what is measured, for the report's header.
pub(crate) fn describe(path: &Path) -> String {
    let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
    format!("{} ({bytes} bytes, {})", path.display(), libc_of(path))
}
