//! The end of streams and connections: ours, the peer's, and the wire's.
//!
//! RFC 6120 §4.4: our last words and the end tag go out, what still comes is thrown away until the
//! peer ends its side or a bounded time is over, then `close_notify` and FIN. §4.6: a connection that
//! breaks off ends its session as if it had said goodbye.

use super::{Core, FIN_WAIT_MS, LINGER_MS, Timer};
use crate::action::Action;
use crate::clock::Now;
use crate::conn::{Conn, Flags, Gates, Phase};
use crate::ids::ConnId;
use crate::im::columns::Scratch;
use crate::stream::Input;
use crate::stream::error::{AppCondition, StreamCondition, write_stream_end, write_stream_error};
use crate::xml::Scan;

use crate::limits::{ACTIONS_KEPT_MAX, LAST_WRITE_MS};

impl Core {
    /// Ends a stream with an error of ours, whatever it is doing.
    pub(super) fn end_stream(&mut self, id: ConnId, condition: StreamCondition, app: Option<AppCondition>, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match &conn.phase {
            Phase::Negotiating(_) if conn.flags.has(Flags::HANDSHAKING) => {
                self.cut(id, now);
                self.actions.push(Action::Drop { conn: id });
            }
            Phase::Negotiating(_) => {
                let input = match condition {
                    StreamCondition::SystemShutdown => Input::Shutdown,
                    StreamCondition::Conflict => Input::Conflict,
                    _ => Input::Fault(condition),
                };
                let _parked = self.negotiate(id, input, now);
            }
            Phase::Joining(_) => self.join(
                id,
                match condition {
                    StreamCondition::SystemShutdown => Input::Shutdown,
                    _ => Input::Fault(condition),
                },
                now,
            ),
            Phase::Component(_) => {
                self.metrics.stream_errors += 1;
                self.outboxes.append_last(id, |out| {
                    write_stream_error(out, false, condition, None, app);
                    write_stream_end(out);
                });
                self.begin_closing(id, now);
            }
            Phase::Bound(bound) => {
                let (session, version_1) = (bound.session, bound.version_1);
                self.metrics.stream_errors += 1;
                log::debug!("{id}: stream error {}", condition.name());
                self.outboxes.append_last(id, |out| {
                    write_stream_error(out, version_1, condition, None, app);
                    write_stream_end(out);
                });
                self.dispatch(now).end_session(session);
                self.begin_closing(id, now);
            }
            Phase::Closing { .. } | Phase::Taken => {}
        }
    }

    /// The peer has ended a bound stream: so do we.
    pub(super) fn peer_ended(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match &conn.phase {
            Phase::Bound(bound) => {
                let session = bound.session;
                self.dispatch(now).end_session(session);
            }
            Phase::Component(_) => {}
            Phase::Negotiating(_) | Phase::Joining(_) | Phase::Closing { .. } | Phase::Taken => return,
        }
        self.outboxes.append_last(id, write_stream_end);
        self.begin_closing(id, now);
        self.finish(id);
    }

    /// Our last words are in the outbox: from now on what comes is thrown away.
    pub(super) fn begin_closing(&mut self, id: ConnId, now: Now) {
        self.take_delayed(id);
        let Some(conn) = self.conns.get_mut(id) else { return };
        self.hashes.forget(conn.address, id);
        let counted = conn.phase.heap_bytes();
        let ns = match std::mem::replace(&mut conn.phase, Phase::Taken) {
            Phase::Bound(bound) => bound.ns,
            Phase::Negotiating(negotiating) => {
                (!negotiating.automaton.ns().is_standard()).then(|| Box::new(negotiating.automaton.ns().clone()))
            }
            Phase::Joining(joining) => (!joining.ns().is_standard()).then(|| Box::new(joining.ns().clone())),
            Phase::Component(component) => component.ns,
            Phase::Closing { ns } => ns,
            Phase::Taken => None,
        };
        conn.phase = Phase::Closing { ns };
        self.budget.behind_conns = self.budget.behind_conns + conn.phase.heap_bytes() - counted;
        self.component_left(id, now);
        self.outboxes.seal(id);
        self.drop_partial(id);
        self.set_deadline(id, now.mono_ms + LINGER_MS);
        for gate in Gates::OF_A_STREAM {
            self.set_gate(id, gate, false);
        }
        if self.conns.get(id).is_some_and(|conn| conn.flags.has(Flags::HEADER)) {
            // There is no stream whose end could come.
            self.finish(id);
        }
    }

    /// Both ends have said their last: the transport may be shut down in good order.
    pub(super) fn finish(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !matches!(conn.phase, Phase::Closing { .. }) || conn.flags.has(Flags::ENDING) {
            return;
        }
        conn.flags.set(Flags::ENDING, true);
        self.actions.push(Action::Finish { conn: id });
    }

    /// Nothing more is read.
    pub(super) fn shut(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.flags.set(Flags::ENDING, true);
        }
        self.set_gate(id, Gates::CLOSED, true);
        self.drop_partial(id);
    }

    /// The connection's own deadline has passed.
    pub(super) fn deadline(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.deadline_ms = 0;
        match &conn.phase {
            Phase::Negotiating(_) if conn.flags.has(Flags::HANDSHAKING) => {
                log::debug!("{id}: the TLS handshake takes too long");
                self.cut(id, now);
                self.actions.push(Action::Drop { conn: id });
            }
            Phase::Negotiating(_) => {
                log::debug!("{id}: no session in time");
                let _parked = self.negotiate(id, Input::Timeout, now);
            }
            // It has not ended its side of the stream; the transport still ends in good order (RFC 6120 §4.4).
            Phase::Joining(_) => {
                log::debug!("{id}: no handshake in time");
                self.join(id, Input::Timeout, now);
            }
            Phase::Closing { .. } if !conn.flags.has(Flags::ENDING) => {
                self.finish(id);
                self.set_deadline(id, now.mono_ms + FIN_WAIT_MS);
            }
            Phase::Closing { .. } => {
                self.shut(id);
                self.actions.push(Action::Drop { conn: id });
            }
            Phase::Bound(_) => self.look_at(id, now),
            // The kernel watches it: not every component answers a ping.
            Phase::Component(_) | Phase::Taken => {}
        }
    }

    /// The peer's side of the transport has ended: FIN, a reset, or a TLS failure. A stream that was
    /// open is broken; its session ends as if it had said goodbye.
    pub fn peer_gone(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match &conn.phase {
            Phase::Closing { .. } => return self.finish(id),
            Phase::Bound(bound) => {
                let session = bound.session;
                log::debug!("{id}: broke off");
                self.dispatch(now).end_session(session);
            }
            Phase::Negotiating(_) | Phase::Joining(_) | Phase::Component(_) | Phase::Taken => {}
        }
        self.cut(id, now);
        self.actions.push(Action::Drop { conn: id });
    }

    /// TLS has failed: what it has to say (an alert) goes out, and never any XML (RFC 6120 §5.4.3.2).
    pub fn transport_failed(&mut self, id: ConnId, now: Now) {
        self.metrics.transport_failures += 1;
        if let Some(Phase::Bound(bound)) = self.conns.get(id).map(|conn| &conn.phase) {
            let session = bound.session;
            self.dispatch(now).end_session(session);
        }
        self.cut(id, now);
        self.actions.push(Action::FlushAndDrop { conn: id });
    }

    /// The driver has put TLS on the socket: until the handshake is complete no XML goes either way.
    pub fn handshaking(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.budget.handshakes += usize::from(!conn.flags.has(Flags::HANDSHAKING));
            conn.flags.set(Flags::HANDSHAKING, true);
        }
    }

    /// Ends a connection without a word.
    pub(super) fn cut(&mut self, id: ConnId, now: Now) {
        self.begin_closing(id, now);
        self.shut(id);
        self.outboxes.discard(id);
    }

    /// The driver has closed the socket: frees the row. Its id reaches nobody from now on. Must be the
    /// last step of a tick.
    pub fn free(&mut self, id: ConnId, now: Now) {
        if self.conns.get(id).is_some_and(|conn| conn.phase.carries_stanzas()) {
            self.peer_gone(id, now);
        }
        self.forget_waiting(id);
        self.owed.remove(&id);
        self.take_delayed(id);
        self.drop_partial(id);
        self.outboxes.close(id);
        let Some(conn) = self.conns.remove(id) else { return };
        self.timers.set(Timer::Conn(id), conn.deadline_ms, 0);
        self.hashes.forget(conn.address, id);
        self.actions.retain(|action| action.conn() != id);
        self.budget.behind_conns -= conn.phase.heap_bytes();
        self.budget.handshakes -= usize::from(conn.flags.has(Flags::HANDSHAKING));
        if conn.flags.has(Flags::UNAUTHENTICATED) {
            self.admission.settle(conn.address);
        }
        self.admission.leave(conn.address);
    }

    /// Gives back what a past load has left in the columns; the driver calls it when things are calm.
    pub fn shrink(&mut self, now: Now) {
        self.admission.shrink(now.mono_ms);
        self.conns.shrink();
        self.directory.shrink();
        self.outboxes.shrink(self.conns.slots());
        self.actions.shrink_to(ACTIONS_KEPT_MAX);
        self.paused.shrink_to(ACTIONS_KEPT_MAX);
        self.fetched.shrink_to(ACTIONS_KEPT_MAX);
        self.pressed.shrink_to(ACTIONS_KEPT_MAX);
        self.effects.shrink_to(ACTIONS_KEPT_MAX);
        self.held_effects.shrink_to(ACTIONS_KEPT_MAX);
        self.delivered.shrink_to(ACTIONS_KEPT_MAX);
        self.congested.shrink_to(ACTIONS_KEPT_MAX);
        self.budget.shrink();
        self.out = Vec::new();
        self.asks = Vec::new();
        self.scan = Scan::default();
        self.scratch = Scratch::default();
    }

    /// Writes down when accounts were last there, if it is time or the end.
    pub(super) fn write_goodbyes(&mut self, now: Now) {
        let is_time = self.is_shutting_down || self.goodbyes.due_ms <= now.mono_ms;
        if self.goodbyes.is_empty() || !is_time {
            return;
        }
        self.store.begin();
        if self.goodbyes.write(&mut self.store).is_err() {
            self.goodbyes.due_ms = now.mono_ms + LAST_WRITE_MS;
        }
        self.store.finish();
    }

    /// Tells every stream that the server goes down (RFC 6120 §4.9.3.20) and lets nobody in any more.
    pub fn shut_down(&mut self, now: Now) {
        self.is_shutting_down = true;
        let ids: Vec<ConnId> = self.conns.ids().collect();
        for id in ids {
            self.end_stream(id, StreamCondition::SystemShutdown, None, now);
        }
        self.write_goodbyes(now);
    }

    /// Ends the sessions of an account that is no more, and the logins that are on their way to one.
    pub fn end_account(&mut self, bare: &str, now: Now) {
        self.end_logins(bare, now);
        let conns: Vec<ConnId> = self.directory.resources(bare).map(|(_, session)| session.conn).collect();
        for id in conns {
            self.end_stream(id, StreamCondition::NotAuthorized, None, now);
        }
    }

    /// Ends the logins at an account whose credentials are no longer what they were when the logins began.
    pub(super) fn end_logins(&mut self, bare: &str, now: Now) {
        let logs_in = |conn: &Conn| match &conn.phase {
            Phase::Negotiating(negotiating) => negotiating.automaton.concerns(bare),
            Phase::Bound(_) | Phase::Joining(_) | Phase::Component(_) | Phase::Closing { .. } | Phase::Taken => false,
        };
        let conns: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| logs_in(conn)).map(|(id, _)| id).collect();
        for id in conns {
            self.end_stream(id, StreamCondition::NotAuthorized, None, now);
        }
    }
}
