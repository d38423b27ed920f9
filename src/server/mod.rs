//! The server: one thread, one readiness loop, and the fixed order of its tick.
//!
//! ```text
//! 1 wait   poll; no wait while a ready queue is not empty
//! 2 now    the clock; then what other threads have finished: storage, hashes
//! 3 accept a bounded number; a pause when descriptors run out
//! 4 read   two ready queues, bound sessions first; each connection and the tick have a budget
//! 5 timers
//! 6 actions
//! 7 submit what the tick wrote goes to the storage thread as one unit; passwords to the hashing thread
//! 8 write  each dirty outbox once, bounded; an outbox that drains behind a go-ahead flips here
//! 9 free   slots of closed connections; last, so that ids stay valid for the whole tick
//! ```
//!
//! Idle costs nothing: no wake-up without a deadline that is due. This is the only place that brings
//! sockets, time, threads and the core together; what happens is decided in `core`.

mod accept;
mod backup;
mod control;
mod descriptors;
mod hasher;
mod link;
mod memory;
mod reads;
mod room;
mod serve;
mod signals;
mod writes;

pub use room::{forget_start, settle_process};
pub use serve::{Bound, Parts, ServeError, bind, settings, start, start_on};

use crate::action::Action;
use crate::clock::{Clock, Now};
use crate::config::ListenerKind;
use crate::core::Core;
use crate::ids::{ConnId, Id as _};
use crate::limits::WIPED_LOOP_STACK_BYTES;
use crate::reactor::token::Source;
use crate::storage;
use crate::sys;
use crate::transport::{TlsDomains, TlsError, Transport};
use accept::{Acceptor, Listener};
use control::Control;
use hasher::Hasher;
use link::{Buffers, Ending, Link, flag};
use memory::Memory;
use mio::{Events, Poll, Waker};
use room::Room;
use signals::Signals;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use crate::limits::{EVENTS_PER_TICK_MAX, SHUTDOWN_MS};
use crate::limits::{TICK_AT_LEAST_US, TICK_US};

/// Asks a running server to end, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Handle {
    /// Every stream is told `system-shutdown`, then [`Server::run`] returns.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // The loop is gone if it cannot be woken: then it has stopped already.
        let _stopped = self.waker.wake();
    }
}

/// Loads certificates again, given those in use; called on SIGHUP and by the control socket. Its error
/// is a sentence for the operator.
pub type Reload = Box<dyn FnMut(Option<&TlsDomains>) -> Result<TlsDomains, String> + Send>;

/// How a connection ends; see [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finish,
    FlushAndDrop,
    Drop,
}

/// A server with its sockets.
pub struct Server {
    poll: Poll,
    events: Option<Events>,
    clock: Clock,
    core: Core,
    tls: Option<Arc<TlsDomains>>,
    links: Vec<Option<Link>>,
    listeners: Vec<Listener>,
    accept_again_at_ms: u64,
    /// When somebody who has not logged in gives up a place that others wait for.
    place_at_ms: Option<u64>,
    /// Bytes behind all links.
    transport_bytes: usize,
    memory: Memory,
    ready_bound: VecDeque<ConnId>,
    ready_other: VecDeque<ConnId>,
    write_queue: VecDeque<ConnId>,
    closed: Vec<ConnId>,
    buffers: Buffers,
    actions: Vec<Action>,
    /// Connections that the core is done with and that are still open.
    ends: VecDeque<(ConnId, End)>,
    storage: Option<storage::Thread>,
    requests: Vec<storage::Request>,
    hasher: Hasher,
    control: Option<Control>,
    backup: Option<backup::Running>,
    /// What a backup may take; its disk may be the store's.
    backup_room: storage::BackupRoom,
    signals: Option<Signals>,
    reload: Reload,
    handle: Handle,
    shutdown_at_ms: Option<u64>,
    room: Room,
    descriptors: descriptors::Table,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("core", &self.core).field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Server {
    /// How to stop it from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The addresses that are listened on, with their real ports, and how TLS begins there.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, ListenerKind)> + '_ {
        self.listeners.iter().filter_map(|listener| match &listener.socket {
            Acceptor::Tcp(_, address) => Some((*address, listener.kind)),
            Acceptor::Unix(..) => None,
        })
    }

    /// The Unix sockets where components are awaited.
    pub fn component_sockets(&self) -> impl Iterator<Item = &Path> {
        self.listeners.iter().filter_map(|listener| match &listener.socket {
            Acceptor::Unix(_, file) => Some(file.0.as_path()),
            Acceptor::Tcp(..) => None,
        })
    }

    /// The core, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Serves until it is stopped: by a signal, by [`Handle::stop`] or over the control socket.
    ///
    /// # Errors
    ///
    /// The system refuses to wait for events.
    pub fn run(&mut self) -> io::Result<()> {
        while self.tick(None)? {}
        Ok(())
    }

    /// One round of the loop, for hosts with a loop of their own. Waits at most `wait_max`; false once
    /// the server has ended.
    ///
    /// # Errors
    ///
    /// The system refuses to wait for events.
    pub fn tick(&mut self, wait_max: Option<Duration>) -> io::Result<bool> {
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS_PER_TICK_MAX));
        let waited = self.wait(&mut events, wait_max);
        let (now, began_us) = (self.clock.now(), self.clock.mono_us());
        if waited.is_ok() {
            for event in &events {
                self.event(event, now);
            }
        }
        self.events = Some(events);
        waited?;
        self.finished_elsewhere(now);
        self.accept(now);
        self.read(now, began_us);
        self.core.expire(now);
        self.expire_control(now);
        self.core.go_on(now);
        self.tell_memory(now);
        self.core.close_overflown(now);
        self.act(now, self.until_us(began_us));
        self.submit(now);
        self.write(now, began_us);
        self.free(now);
        if std::mem::take(&mut self.buffers.heard_secrets) {
            sys::wipe_stack::<WIPED_LOOP_STACK_BYTES>();
        }
        self.give_back(now);
        self.core.ticked(self.clock.mono_us() - began_us);
        Ok(!self.has_ended(now))
    }

    fn wait(&mut self, events: &mut Events, wait_max: Option<Duration>) -> io::Result<()> {
        let now = self.clock.now();
        let timeout = self.wait_ms(now).map(Duration::from_millis);
        let timeout = match (timeout, wait_max) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// How long nothing needs to be done; `None` for ever.
    fn wait_ms(&self, now: Now) -> Option<u64> {
        let reads = !self.ready_bound.is_empty() || !self.ready_other.is_empty();
        let busy = reads || !self.write_queue.is_empty() || !self.ends.is_empty();
        if busy {
            return Some(0);
        }
        let accept = self.accept_waits().then_some(self.accept_again_at_ms);
        let deadlines =
            [self.core.next_deadline_ms(), self.control_deadline_ms(), accept, self.shutdown_at_ms, self.room.due_ms()];
        let deadlines = deadlines.into_iter().chain([self.place_at_ms, self.look_at_memory_ms()]);
        let next = deadlines.flatten().min()?;
        Some(next.saturating_sub(now.mono_ms))
    }

    fn event(&mut self, event: &mio::event::Event, now: Now) {
        match Source::from_token(event.token()) {
            Some(Source::Conn(slot)) => self.conn_event(slot, event),
            Some(Source::Listener(at)) => self.listener_ready(at),
            Some(Source::Control) => self.control_ready(),
            Some(Source::ControlClient(at)) => self.control_client_ready(at, now),
            // Its news are fetched in every tick.
            Some(Source::Waker) | None => {}
            Some(Source::Stop) => {
                self.clear_signal(Source::Stop);
                self.begin_shutdown(now);
            }
            Some(Source::Reload) => {
                self.clear_signal(Source::Reload);
                if let Err(error) = self.reload_certificates() {
                    log::error!("reload: {error}; the old certificates stay");
                }
            }
        }
    }

    fn clear_signal(&mut self, source: Source) {
        if let Some(signals) = &mut self.signals {
            signals.clear(source);
        }
    }

    fn conn_event(&mut self, slot: u32, event: &mio::event::Event) {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        let has_ended = event.is_read_closed() || event.is_error();
        if event.is_readable() || has_ended {
            link.set(flag::READABLE, true);
        }
        if has_ended {
            link.set(flag::HANGUP, true);
        }
        // Each edge tells both directions; only what waited for this one has something to write.
        let writable = !link.has(flag::WRITABLE) && (event.is_writable() || event.is_write_closed());
        if writable {
            link.set(flag::WRITABLE, true);
        }
        let id = link.id;
        self.queue_read(id);
        if writable {
            self.queue_write(id);
        }
    }

    fn link(&mut self, id: ConnId) -> Option<&mut Link> {
        self.links.get_mut(id.slot() as usize)?.as_mut().filter(|link| link.id == id)
    }

    /// Takes what the storage and hashing threads have done.
    fn finished_elsewhere(&mut self, now: Now) {
        while let Some(completion) = self.storage.as_ref().and_then(storage::Thread::try_recv) {
            // A login that waited for its account's row is gone through again.
            self.buffers.heard_secrets |= self.core.has_newcomers();
            self.core.completed(completion, now);
        }
        while let Some((conn, outcome)) = self.hasher.outcome() {
            self.core.hashed(conn, outcome, now);
        }
        self.go_on_with_backup();
        if self.handle.stop.load(Ordering::Acquire) {
            self.begin_shutdown(now);
        }
    }

    fn submit(&mut self, now: Now) {
        self.core.submit(now, &mut self.requests);
        for request in self.requests.drain(..) {
            let sent = self.storage.as_ref().map_or(Err(storage::StoreError::Stopped), |storage| storage.send(request));
            if let Err(error) = sent {
                log::error!("the storage thread takes no work: {error}");
            }
        }
        while self.hasher.has_room() {
            let Some(task) = self.core.next_hash() else { break };
            self.hasher.hash(task);
        }
        self.answer_control();
    }

    /// Carries out what the core has asked for: gates and flips at once, before anything is read or written; ends as
    /// time allows, so that a crowd that leaves is let go bit by bit.
    fn act(&mut self, now: Now, until_us: u64) {
        self.carry_out_all(now);
        while let Some((conn, end)) = self.ends.pop_front() {
            self.end(conn, end);
            if self.clock.mono_us() > until_us {
                break;
            }
        }
    }

    fn carry_out_all(&mut self, now: Now) {
        let mut actions = std::mem::take(&mut self.actions);
        self.core.take_actions(&mut actions);
        // A flip that fails asks for an end: that too belongs to this tick.
        while !actions.is_empty() {
            for action in actions.drain(..) {
                self.carry_out(action, now);
            }
            self.core.take_actions(&mut actions);
        }
        self.actions = actions;
    }

    /// When a tick that began at `began_us` has done enough.
    fn until_us(&self, began_us: u64) -> u64 {
        (began_us + TICK_US).max(self.clock.mono_us() + TICK_AT_LEAST_US)
    }

    fn carry_out(&mut self, action: Action, now: Now) {
        match action {
            Action::Flip { conn, hint } => self.flip(conn, hint.as_deref(), now),
            Action::ReadGate { conn, open } => self.gate(conn, open),
            Action::Finish { conn } => self.ends.push_back((conn, End::Finish)),
            Action::FlushAndDrop { conn } => self.ends.push_back((conn, End::FlushAndDrop)),
            Action::Drop { conn } => self.ends.push_back((conn, End::Drop)),
        }
    }

    fn end(&mut self, id: ConnId, end: End) {
        match end {
            End::Finish => self.begin_end(id, true),
            End::FlushAndDrop => self.begin_end(id, false),
            End::Drop => self.drop_link(id),
        }
    }

    fn gate(&mut self, id: ConnId, open: bool) {
        if let Some(link) = self.link(id) {
            link.set(flag::GATE_SHUT, !open);
            // Edge-triggered: the edge may be past.
            self.queue_read(id);
        }
    }

    /// Puts TLS on a connection whose go-ahead has left.
    fn flip(&mut self, id: ConnId, hint: Option<&str>, now: Now) {
        if let Err(error) = self.start_tls(id, hint, false) {
            log::debug!("{id}: no TLS: {error}");
            self.core.peer_gone(id, now);
        }
    }

    fn start_tls(&mut self, id: ConnId, hint: Option<&str>, direct: bool) -> Result<(), TlsError> {
        let Some(tls) = self.tls.clone() else { return Err(TlsError::WrongState) };
        let Some(link) = self.link(id) else { return Err(TlsError::Closed) };
        link.transport.start_tls(&tls, hint, direct)?;
        self.core.handshaking(id);
        if let Some(link) = self.link(id) {
            link.set(flag::GATE_SHUT, false);
        }
        self.count_link(id);
        self.queue_read(id);
        Ok(())
    }

    fn begin_end(&mut self, id: ConnId, notify: bool) {
        let Some(link) = self.link(id) else { return };
        if link.ending == Ending::Open {
            link.ending = Ending::Finishing { notify };
        }
        self.queue_write(id);
    }

    /// Closes the socket now, after one try to get the last bytes out.
    fn drop_link(&mut self, id: ConnId) {
        let Some(link) = self.link(id) else { return };
        if link.ending == Ending::Gone {
            return;
        }
        if link.ending == Ending::Open {
            // A peer that ends TLS in the middle, or never ends its stream, is told the same.
            link.close_notify();
        }
        // Best effort: what does not fit is lost with the connection.
        let _flushed = link.flush_pending();
        link.ending = Ending::Gone;
        link.transport = Transport::Closed;
        link.pending = Vec::new();
        self.count_link(id);
        self.closed.push(id);
    }

    fn free(&mut self, now: Now) {
        while let Some(id) = self.closed.pop() {
            self.core.free(id, now);
            if let Some(row) = self.links.get_mut(id.slot() as usize) {
                self.transport_bytes -= row.as_ref().map_or(0, |link| link.counted as usize);
                *row = None;
            }
        }
    }

    fn begin_shutdown(&mut self, now: Now) {
        if self.shutdown_at_ms.is_some() {
            return;
        }
        log::info!("shutting down: {} connections are told", self.core.connections());
        self.shutdown_at_ms = Some(now.mono_ms + SHUTDOWN_MS);
        self.listeners.clear();
        self.core.shut_down(now);
    }

    fn has_ended(&mut self, now: Now) -> bool {
        let Some(deadline) = self.shutdown_at_ms else { return false };
        let over = now.mono_ms >= deadline;
        (self.core.connections() == 0 && self.core.store().is_idle()) || over
    }

    /// Loads the certificates again; existing connections keep what they have.
    ///
    /// # Errors
    ///
    /// They do not load: nothing has changed.
    fn reload_certificates(&mut self) -> Result<(), String> {
        let tls = Arc::new((self.reload)(self.tls.as_deref())?);
        self.core.reload_tls(tls.clone());
        self.tls = Some(tls);
        log::info!("certificates loaded again");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What was promised must be on disk before the process goes.
        let Some(storage) = self.storage.take() else { return };
        let mut woken = storage::Woken::default();
        if let Err(error) = storage.stop(self.core.store(), &mut woken) {
            log::error!("the last changes are not on disk: {error}");
        }
    }
}
