//! The event loop of the generator: thousands of clients, one thread, one poll.
//!
//! ```text
//! socket → cipher (shared) → Client → plain (shared) → frames → Negotiation, then the scenario's Driver
//! ```
//!
//! A tick reads every ready socket to its end and, right behind each, writes what that reading caused: a
//! window of messages costs one read and one write. Slots are freed at the end of a tick, so an id stays
//! valid through it. Preferred connections wait behind at most one other: the generator's own work, a thousand
//! handshakes say, is no latency of the server.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{error, fmt, mem};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token as Mark};
use slab::Slab;
use socket2::SockRef;

use crate::client::{Client, Phase};
use crate::clock::{Clock, MS_NS, SECOND_NS};
use crate::frames::{self, Token};
use crate::negotiation::{Failure, Negotiation, Step, excerpt};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::scram::Keys;
use crate::sources::Sources;

/// The shared buffer that every socket is read through.
const READ_BYTES: usize = 64 * 1024;
/// The kernel's buffer for a connection that is not read.
const PAUSED_RECEIVE_BYTES: usize = 16 * 1024;
/// Readiness reports taken from the kernel at once.
const EVENTS_PER_POLL: usize = 1024;
const PREFERRED_PER_POLL: usize = 64;
/// Longest wait in the kernel: the interval at which time-outs and signals are looked at.
const POLL_MS: u64 = 100;
/// Longest work on others before the preferred connections are looked at again.
const PREFERENCE_NS: u64 = 200_000;
/// In the main poll: a preferred connection is ready.
const PREFERRED: Mark = Mark(usize::MAX);
/// From connect to ready, and from `</stream:stream>` to its answer. Generous: a rival under full load is slow.
const NEGOTIATION_TIMEOUT_NS: u64 = 60 * SECOND_NS;

/// How a connection ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// As asked for: both sides closed their streams.
    Closed,
    /// The server lacks what the plan needs.
    Unsupported(String),
    /// Anything else.
    Failed(String),
}

/// What a scenario is told.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The plan's goal is reached, this long after the connect, under this full JID; by a TLS ticket or not.
    Ready { took_ns: u64, jid: &'a str, resumed: bool },
    /// A top-level element came.
    Frame(&'a [u8]),
    /// The connection is gone, and the id with it.
    Ended(End),
}

/// A scenario.
pub(crate) trait Driver {
    /// Something happened to connection `id`, which the scenario gave the number `tag`.
    fn event(&mut self, swarm: &mut Swarm, id: usize, tag: u32, event: Event<'_>);
    /// Called once before each wait: starts what is due.
    fn tick(&mut self, swarm: &mut Swarm);
    /// Whether the run may end before its deadline.
    fn is_done(&self) -> bool;
    /// When `tick` must be called next, whatever happens until then.
    fn due_ns(&self) -> u64 {
        u64::MAX
    }
    /// What is counted, how far it is, and how far it goes, for whoever watches; without an end the deadline
    /// is it.
    fn progress(&self) -> (&'static str, u64, Option<u64>);
}

/// Why a run could not go on at all.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Ctrl-C or a polite kill.
    Interrupted,
    /// The poll itself failed.
    Io(io::Error),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Io(error) => write!(f, "the event loop failed: {error}"),
        }
    }
}

impl error::Error for Stop {}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// All connections of the generator.
#[derive(Debug)]
pub(crate) struct Swarm {
    poll: Poll,
    /// Registered in the main one: a poll is ready when one of its sockets is.
    preferred: Poll,
    prefers: bool,
    preferred_ns: u64,
    clock: Clock,
    clients: Slab<Client>,
    sources: Sources,
    keys: Keys,
    stop: Arc<AtomicBool>,
    cipher: Vec<u8>,
    dirty: Vec<usize>,
    gone: Vec<usize>,
    swept_ns: u64,
    serial: u64,
}

impl Swarm {
    /// An empty swarm; `stop` ends every run when it is raised.
    pub(crate) fn new(stop: Arc<AtomicBool>) -> io::Result<Self> {
        let (poll, preferred) = (Poll::new()?, Poll::new()?);
        poll.registry().register(&mut SourceFd(&preferred.as_raw_fd()), PREFERRED, Interest::READABLE)?;
        Ok(Self {
            poll,
            preferred,
            prefers: false,
            preferred_ns: 0,
            clock: Clock::start(),
            clients: Slab::new(),
            sources: Sources::default(),
            keys: Keys::default(),
            stop,
            cipher: vec![0; READ_BYTES],
            dirty: Vec::new(),
            gone: Vec::new(),
            swept_ns: 0,
            serial: 0,
        })
    }

    /// Nanoseconds since the swarm was made.
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.ns()
    }

    /// Where its connections come from.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Begins a connection as `account`, under a resource of its own.
    pub(crate) fn spawn(&mut self, plan: &Arc<Plan>, account: u32, tag: u32) -> io::Result<usize> {
        self.serial += 1;
        let negotiation = (!plan.dialect.is_echo())
            .then(|| Negotiation::new(plan.clone(), account % plan.accounts.max(1), format!("r{}", self.serial)));
        let socket = self.sources.connect(plan.target)?;
        let id = self.clients.insert(Client::new(socket, plan.clone(), negotiation, tag, self.clock.ns()));
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(self.clients[id].socket(), Mark(id), interest)?;
        Ok(id)
    }

    /// From now on a connection is served before others.
    pub(crate) fn prefer(&mut self, id: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        self.prefers = true;
        self.poll.registry().deregister(client.socket())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.preferred.registry().register(client.socket(), Mark(id), interest)
    }

    /// Sends `bytes` on a ready connection. One that is gone swallows them; its end is reported apart.
    pub(crate) fn send(&mut self, id: usize, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(id) {
            client.send(bytes);
            self.mark_dirty(id);
        }
    }

    /// Whether what was sent on a connection before has left for the kernel; `false` too when it is gone.
    pub(crate) fn has_room(&self, id: usize) -> bool {
        self.clients.get(id).is_some_and(|client| client.phase == Phase::Ready && client.is_drained())
    }

    /// Closes the stream; [`Event::Ended`] follows when the server has closed its own. `false`: it is gone already.
    pub(crate) fn logout(&mut self, id: usize) -> bool {
        let now_ns = self.now_ns();
        let Some(client) = self.clients.get_mut(id).filter(|client| client.phase == Phase::Ready) else { return false };
        client.send(b"</stream:stream>");
        client.phase = Phase::Closing;
        client.since_ns = now_ns;
        self.mark_dirty(id);
        true
    }

    /// Stops reading a connection, for good: what the server sends stays in the kernel, then with the server.
    pub(crate) fn pause(&mut self, id: usize) {
        if let Some(client) = self.clients.get_mut(id) {
            client.paused = true;
            // A small window, as of a reader that is slow: the kernel would keep megabytes for it. Where the
            // kernel does not want to, it only takes longer.
            let _ = SockRef::from(&*client.socket()).set_recv_buffer_size(PAUSED_RECEIVE_BYTES);
        }
    }

    /// Cuts a connection without a word; no event follows.
    pub(crate) fn cut(&mut self, id: usize) {
        if let Some(client) = self.clients.get_mut(id)
            && client.phase != Phase::Gone
        {
            // What is queued belongs to what was done, a handshake's last flight too. A dead socket takes nothing.
            let _ = client.flush();
            client.phase = Phase::Gone;
            self.gone.push(id);
        }
    }

    /// Cuts every connection.
    pub(crate) fn cut_all(&mut self) {
        self.clients.clear();
        self.prefers = false;
        self.gone.clear();
        self.dirty.clear();
    }

    /// Runs until the driver is done or `deadline_ns` has come; says whether the driver was done.
    pub(crate) fn run(&mut self, driver: &mut dyn Driver, deadline_ns: u64) -> Result<bool, Stop> {
        let mut progress = Progress::new(self.now_ns(), deadline_ns);
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        let mut plain = Vec::new();
        loop {
            driver.tick(self);
            self.flush_dirty(driver);
            self.free();
            let now_ns = self.now_ns();
            if driver.is_done() || now_ns >= deadline_ns {
                return Ok(driver.is_done());
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Stop::Interrupted);
            }
            progress.show(now_ns, driver.progress());
            let wake_ns = deadline_ns.min(driver.due_ns()).min(now_ns + POLL_MS * MS_NS);
            let wait = Duration::from_nanos(wake_ns.saturating_sub(now_ns));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                if event.token() != PREFERRED {
                    self.serve(driver, event.token().0, event.is_readable() || event.is_read_closed(), &mut plain);
                    self.flush_dirty(driver);
                }
                self.serve_preferred(driver, event.token() == PREFERRED, &mut plain)?;
            }
            self.sweep(driver);
        }
    }

    /// The preferred connections that are ready, and what is due, now or when it is time again.
    fn serve_preferred(&mut self, driver: &mut dyn Driver, at_once: bool, plain: &mut Vec<u8>) -> Result<(), Stop> {
        let now_ns = self.now_ns();
        if !self.prefers || !(at_once || now_ns >= self.preferred_ns + PREFERENCE_NS) {
            return Ok(());
        }
        self.preferred_ns = now_ns;
        let mut events = Events::with_capacity(PREFERRED_PER_POLL);
        loop {
            self.preferred.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                self.serve(driver, event.token().0, event.is_readable() || event.is_read_closed(), plain);
                self.flush_dirty(driver);
            }
            // The poll as a whole is an edge too: it must be found empty.
            if events.iter().count() < PREFERRED_PER_POLL {
                break;
            }
        }
        if driver.due_ns() <= now_ns {
            driver.tick(self);
            self.flush_dirty(driver);
        }
        Ok(())
    }

    /// One ready socket.
    fn serve(&mut self, driver: &mut dyn Driver, id: usize, readable: bool, plain: &mut Vec<u8>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.phase == Phase::Connecting {
            match client.has_connected() {
                Ok(true) => self.connected(driver, id),
                Ok(false) => return,
                Err(error) => return self.end(driver, id, End::Failed(format!("connect: {error}"))),
            }
        }
        self.mark_dirty(id); // What did not fit before may fit now.
        let Some(client) = self.clients.get_mut(id) else { return };
        if !readable || client.paused || client.phase == Phase::Gone {
            return;
        }
        plain.clear();
        plain.append(&mut client.inbox);
        let was_handshaking = client.is_handshaking();
        let received = client.receive(&mut self.cipher, plain);
        if was_handshaking && !client.is_handshaking() {
            self.secured(driver, id);
        }
        self.digest(driver, id, plain);
        match received {
            Ok(false) => {}
            Ok(true) => self.hung_up(driver, id),
            Err(error) => self.end(driver, id, End::Failed(format!("read: {error}"))),
        }
    }

    fn connected(&mut self, driver: &mut dyn Driver, id: usize) {
        let client = &mut self.clients[id];
        client.phase = Phase::Negotiating;
        if client.plan.dialect.starts_with_tls() {
            self.apply(driver, id, Ok(Step::Flip), Vec::new());
        } else if let Some(negotiation) = client.negotiation.as_mut() {
            let mut out = Vec::new();
            let step = negotiation.connected(&mut out);
            self.apply(driver, id, Ok(step), out);
        } else {
            self.apply(driver, id, Ok(Step::Ready), Vec::new());
        }
    }

    fn secured(&mut self, driver: &mut dyn Driver, id: usize) {
        let mut out = Vec::new();
        let step = self.clients[id].negotiation.as_mut().map_or(Step::Ready, |talk| talk.secured(&mut out));
        self.apply(driver, id, Ok(step), out);
    }

    /// Cuts `plain` into tokens; what is left over goes back to the connection.
    fn digest(&mut self, driver: &mut dyn Driver, id: usize, plain: &[u8]) {
        let mut at = 0;
        while let Some(client) = self.clients.get_mut(id)
            && client.phase != Phase::Gone
        {
            let rest = &plain[at..];
            let (token, length) = frames::next(rest, client.open);
            at += length;
            match token {
                Token::Space => {}
                Token::Incomplete => {
                    client.inbox = rest.to_vec();
                    return;
                }
                Token::Broken => return self.end(driver, id, End::Failed(format!("not XML: {}", excerpt(rest)))),
                _ => self.token(driver, id, token, &rest[..length]),
            }
        }
    }

    fn token(&mut self, driver: &mut dyn Driver, id: usize, token: Token, bytes: &[u8]) {
        let client = &mut self.clients[id];
        client.open |= token == Token::Header;
        if let Some(negotiation) = client.negotiation.as_mut() {
            let mut out = Vec::new();
            let step = negotiation.token(token, bytes, &mut self.keys, &mut out);
            return self.apply(driver, id, step, out);
        }
        match (client.phase, token) {
            (Phase::Closing, Token::End) => self.end(driver, id, End::Closed),
            (_, Token::End) => self.end(driver, id, End::Failed("the server closed the stream".to_owned())),
            (_, Token::Element) if bytes.starts_with(b"<stream:error") => {
                self.end(driver, id, End::Failed(excerpt(bytes)));
            }
            _ => {
                let tag = client.tag;
                driver.event(self, id, tag, Event::Frame(bytes));
            }
        }
    }

    /// Sends what the negotiation wrote and does what it asked for.
    fn apply(&mut self, driver: &mut dyn Driver, id: usize, step: Result<Step, Failure>, out: Vec<u8>) {
        let client = &mut self.clients[id];
        match step {
            Ok(Step::Wait) => client.send(&out),
            Ok(Step::Restart) => {
                client.open = false;
                client.send(&out);
            }
            Ok(Step::Flip) => {
                if let Err(error) = client.start_tls() {
                    return self.end(driver, id, End::Failed(format!("TLS: {error}")));
                }
            }
            Ok(Step::Ready) => {
                client.send(&out);
                client.phase = Phase::Ready;
                let talk = client.negotiation.take();
                let (tag, since_ns) = (client.tag, client.since_ns);
                let took_ns = self.clock.ns() - since_ns;
                let jid = talk.as_ref().map_or("echo", |talk| talk.jid());
                let resumed = self.clients[id].is_resumed();
                driver.event(self, id, tag, Event::Ready { took_ns, jid, resumed });
            }
            Err(Failure::Unsupported(text)) => return self.end(driver, id, End::Unsupported(text)),
            Err(Failure::Broken(text)) => return self.end(driver, id, End::Failed(text)),
        }
        self.mark_dirty(id);
    }

    fn hung_up(&mut self, driver: &mut dyn Driver, id: usize) {
        let Some(client) = self.clients.get(id) else { return };
        let end = match (client.phase, &client.negotiation) {
            (Phase::Closing, _) => End::Closed,
            (_, Some(talk)) => End::Failed(format!("the server hung up at {}", talk.stage())),
            _ => End::Failed("the server hung up".to_owned()),
        };
        self.end(driver, id, end);
    }

    /// Ends a connection, once, and tells the driver.
    fn end(&mut self, driver: &mut dyn Driver, id: usize, end: End) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.phase == Phase::Gone {
            return;
        }
        let tag = client.tag;
        client.close_notify();
        self.cut(id);
        driver.event(self, id, tag, Event::Ended(end));
    }

    fn mark_dirty(&mut self, id: usize) {
        if let Some(client) = self.clients.get_mut(id)
            && !client.dirty
        {
            client.dirty = true;
            self.dirty.push(id);
        }
    }

    fn flush_dirty(&mut self, driver: &mut dyn Driver) {
        let mut dirty = mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(client) = self.clients.get_mut(id) else { continue };
            client.dirty = false;
            if matches!(client.phase, Phase::Connecting | Phase::Gone) {
                continue;
            }
            if let Err(error) = client.flush() {
                self.end(driver, id, End::Failed(format!("write: {error}")));
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty; // Keeps its capacity.
        }
    }

    fn free(&mut self) {
        for id in mem::take(&mut self.gone) {
            self.clients.try_remove(id);
        }
    }

    /// Ends what takes too long, about once a second.
    fn sweep(&mut self, driver: &mut dyn Driver) {
        let now_ns = self.now_ns();
        if now_ns < self.swept_ns + SECOND_NS {
            return;
        }
        self.swept_ns = now_ns;
        let is_late = |client: &Client| {
            let waits = matches!(client.phase, Phase::Connecting | Phase::Negotiating | Phase::Closing);
            waits && now_ns > client.since_ns + NEGOTIATION_TIMEOUT_NS
        };
        let late: Vec<usize> = self.clients.iter().filter(|(_, client)| is_late(client)).map(|(id, _)| id).collect();
        for id in late {
            let stage = self.clients[id].negotiation.as_ref().map(|talk| talk.stage()).unwrap_or_default();
            let text = format!("no answer in time while {:?} {stage}", self.clients[id].phase);
            self.end(driver, id, End::Failed(text));
        }
    }
}
