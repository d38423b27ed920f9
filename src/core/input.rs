//! Input: bytes become frames, frames go to whoever is in charge of the connection.
//!
//! ```text
//! receive ──▶ partial? append : scan in place ──▶ item ──▶ negotiate │ bound
//!                                   └── what is left: a new partial, or waits behind a gate
//! ```
//!
//! Whole frames are handled where they lie in the driver's shared buffer; only the unfinished tail is
//! copied. When a gate shuts in the middle of a buffer, the rest waits, unscanned, and is gone
//! through when it opens.

use super::Core;
use crate::clock::Now;
use crate::conn::{Flags, Gates, Partial, Phase};
use crate::ids::ConnId;
use crate::limits::GIVEN_WAY_SHARE;
use crate::outbox::Standing;
use crate::stream::Input;
use crate::stream::error::StreamCondition;
use crate::xml::{Expect, Scan, Step, StreamNs, XmlError};
use std::mem;

/// What became of one scanned item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Handled; go on behind it.
    Took,
    /// It waits for a row; nothing has changed.
    Parked,
}

impl Core {
    /// Bytes of the stream, in the clear or out of TLS. All of `bytes` is taken over.
    pub fn receive(&mut self, id: ConnId, bytes: &[u8], now: Now) {
        self.heard(id, now);
        self.begin_visit();
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.purse.spend_bytes(bytes.len());
        match conn.partial.take() {
            Some(mut partial) => {
                self.partial_bytes -= partial.heap_bytes();
                partial.bytes.extend_from_slice(bytes);
                self.read_partial(id, partial, now);
            }
            None => self.read_in_place(id, bytes, now),
        }
    }

    /// Goes on with what has waited behind a gate.
    pub(super) fn go_on_reading(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Some(partial) = conn.partial.take() {
            self.partial_bytes -= partial.heap_bytes();
            self.begin_visit();
            self.read_partial(id, partial, now);
        }
    }

    fn read_in_place(&mut self, id: ConnId, bytes: &[u8], now: Now) {
        let mut scan = mem::take(&mut self.scan);
        scan.restart();
        let used = self.read_items(id, bytes, &mut scan, now);
        match bytes.get(used..).unwrap_or_default() {
            [] => self.scan = scan,
            rest => self.keep(id, Box::new(Partial { bytes: rest.to_vec(), scan }), now),
        }
    }

    fn read_partial(&mut self, id: ConnId, mut partial: Box<Partial>, now: Now) {
        let Partial { bytes, scan } = &mut *partial;
        let used = self.read_items(id, bytes, scan, now);
        if used >= bytes.len() {
            self.scan = mem::take(scan);
            return;
        }
        bytes.drain(..used);
        self.keep(id, partial, now);
    }

    fn keep(&mut self, id: ConnId, partial: Box<Partial>, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if matches!(conn.phase, Phase::Closing { .. }) && conn.gates.has(Gates::CLOSED) {
            return;
        }
        self.partial_bytes += partial.heap_bytes();
        conn.partial = Some(partial);
        // Within a tick too: hundreds may grow by a record each before the budget is looked at again.
        let max = self.settings.partial_bytes_max.min(self.budget.partial_room);
        if self.partial_bytes > max {
            // Nothing that is read may fill the log: `shed_partial` counts.
            log::debug!("unfinished stanzas take {} bytes in all; the largest give way", self.partial_bytes);
            self.shed_partials(self.partial_bytes - max + max / GIVEN_WAY_SHARE, 0, now);
        }
    }

    pub(super) fn drop_partial(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Some(partial) = conn.partial.take() {
            self.partial_bytes -= partial.heap_bytes();
        }
    }

    /// Handles whole items until the bytes end, a gate shuts or the stream does; returns how many
    /// bytes are done with.
    fn read_items(&mut self, id: ConnId, bytes: &[u8], scan: &mut Scan, now: Now) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(conn) = self.conns.get(id) else { return bytes.len() };
            if conn.gates.has(Gates::CLOSED) {
                return bytes.len();
            }
            if conn.phase.carries_stanzas() && conn.gates.is_open() {
                // A component speaks for many, and has no rate.
                let owes = conn.purse.is_empty() && matches!(conn.phase, Phase::Bound(_));
                if self.is_visit_over() {
                    self.pause(id);
                } else if owes {
                    self.slow_down(id, now);
                }
            }
            let standing = self.outboxes.standing(id);
            if standing == Standing::Congested && self.is_bound(id) && self.wants_read(id) {
                self.congest(id);
            }
            // Whose outbox overflowed is about to end: what it would be told now is lost.
            if !self.wants_read(id) || standing == Standing::Overflown {
                scan.restart();
                return at;
            }
            let Some(conn) = self.conns.get(id) else { return bytes.len() };
            let expect = if conn.flags.has(Flags::HEADER) { Expect::Header } else { Expect::Frames };
            let (ns, limits) = match &conn.phase {
                Phase::Negotiating(negotiating) => (negotiating.automaton.ns(), &self.settings.xml_before_login),
                Phase::Bound(bound) => (bound.ns(), &self.settings.xml),
                Phase::Joining(joining) => (joining.ns(), &self.settings.xml_before_login),
                Phase::Component(component) => (component.ns(), &self.settings.xml),
                Phase::Closing { ns } => {
                    (ns.as_deref().unwrap_or(StreamNs::standard()), &self.settings.xml_before_login)
                }
                Phase::Taken => return bytes.len(),
            };
            let step = match scan.step(rest, expect, ns, limits) {
                Ok(Step::Incomplete) => return at,
                Ok(step) => step,
                Err(error) => {
                    self.xml_fault(id, error, now);
                    return bytes.len();
                }
            };
            let len = step_len(step);
            self.expect_header(id, step, false);
            if self.item(id, step, scan, rest, now) == Progress::Parked {
                self.expect_header(id, step, true);
                scan.restart();
                return at;
            }
            at += len;
            scan.restart();
        }
        bytes.len()
    }

    /// Behind a header come frames, until the automaton asks for a new stream.
    fn expect_header(&mut self, id: ConnId, step: Step, expected: bool) {
        if let (Step::Header { .. }, Some(conn)) = (step, self.conns.get_mut(id)) {
            conn.flags.set(Flags::HEADER, expected);
        }
    }

    fn item(&mut self, id: ConnId, step: Step, scan: &Scan, rest: &[u8], now: Now) -> Progress {
        let Some(conn) = self.conns.get(id) else { return Progress::Took };
        let len = step_len(step);
        let (bytes, trailing) = (rest.get(..len).unwrap_or_default(), rest.len() > len);
        match &conn.phase {
            Phase::Negotiating(_) => {
                let input = match step {
                    Step::Header { .. } => Input::Header { head: scan.head(), bytes },
                    Step::Frame { .. } if self.asks_for_account(id, scan.head(), bytes) => {
                        return self.register(id, scan.head(), bytes, now);
                    }
                    Step::Frame { .. } => Input::Element { head: scan.head(), bytes, trailing },
                    Step::Whitespace { .. } => Input::Whitespace,
                    Step::StreamEnd { .. } => Input::StreamEnd,
                    Step::Incomplete => return Progress::Took,
                };
                self.negotiate(id, input, now)
            }
            Phase::Bound(_) => self.bound_item(id, step, scan, bytes, now),
            Phase::Joining(_) => {
                let input = match step {
                    Step::Header { .. } => Input::Header { head: scan.head(), bytes },
                    Step::Frame { .. } => Input::Element { head: scan.head(), bytes, trailing },
                    Step::Whitespace { .. } => Input::Whitespace,
                    Step::StreamEnd { .. } => Input::StreamEnd,
                    Step::Incomplete => return Progress::Took,
                };
                self.join(id, input, now);
                Progress::Took
            }
            Phase::Component(_) => self.component_item(id, step, scan, bytes, now),
            Phase::Closing { .. } => {
                if matches!(step, Step::StreamEnd { .. }) {
                    self.finish(id);
                }
                Progress::Took
            }
            Phase::Taken => Progress::Took,
        }
    }

    fn xml_fault(&mut self, id: ConnId, error: XmlError, now: Now) {
        log::debug!("{id}: {error}");
        let Some(conn) = self.conns.get(id) else { return };
        match &conn.phase {
            Phase::Negotiating(_) => {
                let _parked = self.negotiate(id, Input::XmlFault(error), now);
            }
            Phase::Joining(_) => self.join(id, Input::XmlFault(error), now),
            Phase::Bound(_) | Phase::Component(_) => {
                let app = crate::stream::error::app_condition(error);
                self.end_stream(id, StreamCondition::from(error), app, now);
                self.finish(id);
            }
            // Our last words are out; that the peer's are broken changes nothing.
            Phase::Closing { .. } => self.finish(id),
            Phase::Taken => {}
        }
    }
}

fn step_len(step: Step) -> usize {
    match step {
        Step::Incomplete => 0,
        Step::Whitespace { len } | Step::Header { len } | Step::Frame { len } | Step::StreamEnd { len } => len,
    }
}
