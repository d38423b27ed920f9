//! What a run of the automaton said and asked for: now, or later and then all of it, in order.
//!
//! ```text
//! negotiate ──▶ carry_out ──▶ answer ──▶ outbox, then each ask
//!                  │ Delay      │ read from a row that is not on disk yet
//!                  └── DELAYED ─┴── HELD: the gate is shut, so nothing can overtake it
//! ```
//!
//! A negotiation is one long conversation: a go-ahead that overtook the features before it, or a bound
//! session that overtook the success before it, would break the stream. So the whole answer waits, with
//! what it brings about, and nothing more is read meanwhile (`docs/architecture.md`, "Storage").

use super::{Core, HELD_TIMEOUT_MS, Timer};
use crate::clock::Now;
use crate::conn::{Delayed, Gates, Negotiating, Phase};
use crate::ids::ConnId;
use crate::storage::Ticket;
use crate::stream::Ask;
use crate::stream::error::StreamCondition;
use std::mem;

impl Core {
    fn negotiating(&mut self, id: ConnId) -> Option<&mut Negotiating> {
        match &mut self.conns.get_mut(id)?.phase {
            Phase::Negotiating(negotiating) => Some(negotiating),
            Phase::Bound(_) | Phase::Joining(_) | Phase::Component(_) | Phase::Closing { .. } | Phase::Taken => None,
        }
    }

    /// Sends what the automaton wrote and does what it asked for, in its order; a delay holds all of it.
    pub(super) fn carry_out(&mut self, id: ConnId, out: &mut Vec<u8>, asks: &mut Vec<Ask>, ticket: Ticket, now: Now) {
        let Some(negotiating) = self.negotiating(id) else { return };
        negotiating.ticket = negotiating.ticket.max(ticket);
        if out.is_empty() && asks.is_empty() {
            return;
        }
        self.overtake(id, out);
        let delay_ms = asks.iter().find_map(|ask| match ask {
            Ask::Delay { ms } => Some(*ms),
            _ => None,
        });
        match delay_ms {
            Some(ms) => {
                asks.retain(|ask| !matches!(ask, Ask::Delay { .. }));
                self.withhold(id, out, asks, now.mono_ms + ms.max(1), Gates::DELAYED);
            }
            None => self.answer(id, out, asks, now),
        }
    }

    /// The stream ends before its last answer has left: what was withheld is dropped, but not the
    /// header, without which an error is no stream (RFC 6120 §4.9.1.2) and which promises nothing. If
    /// the success was withheld, the error is still one of the stream before, which has its header.
    fn overtake(&mut self, id: ConnId, out: &mut Vec<u8>) {
        let Some(delayed) = self.take_delayed(id) else { return };
        if delayed.asks.iter().any(|ask| matches!(ask, Ask::NewStream)) {
            out.drain(..header_of(out).len());
        }
        let header = header_of(&delayed.out).len();
        let mut whole = delayed.out;
        whole.truncate(header);
        whole.append(out);
        *out = whole;
    }

    fn answer(&mut self, id: ConnId, out: &mut Vec<u8>, asks: &mut Vec<Ask>, now: Now) {
        let Some(negotiating) = self.negotiating(id) else { return };
        let ticket = negotiating.ticket;
        let is_last = asks.iter().any(|ask| matches!(ask, Ask::Close(_)));
        // The end of a stream promises nothing, and what stays inside tells nobody.
        let stays_inside = out.is_empty() && asks.iter().all(|ask| matches!(ask, Ask::ReadGate(_) | Ask::Hash(_)));
        let tells = !is_last && !stays_inside;
        if tells && !self.store.is_durable(ticket) {
            self.held.insert((ticket, id));
            return self.withhold(id, out, asks, now.mono_ms + HELD_TIMEOUT_MS, Gates::HELD);
        }
        if is_last {
            self.outboxes.append_last(id, |outbox| outbox.append(out));
        } else {
            self.outboxes.append(id, |outbox| outbox.extend_from_slice(out));
        }
        for ask in asks.drain(..) {
            self.ask(id, ask, now);
        }
    }

    fn withhold(&mut self, id: ConnId, out: &mut Vec<u8>, asks: &mut Vec<Ask>, deadline_ms: u64, gate: Gates) {
        let Some(negotiating) = self.negotiating(id) else { return };
        negotiating.delayed = Some(Delayed { out: mem::take(out), asks: mem::take(asks), deadline_ms });
        self.timers.set(Timer::Delayed(id), 0, deadline_ms);
        self.set_gate(id, gate, true);
    }

    /// Takes what was withheld, and it off the lists; the gates stay as they are.
    pub(super) fn take_delayed(&mut self, id: ConnId) -> Option<Delayed> {
        let negotiating = self.negotiating(id)?;
        let ticket = negotiating.ticket;
        let delayed = negotiating.delayed.take()?;
        self.timers.set(Timer::Delayed(id), delayed.deadline_ms, 0);
        self.held.remove(&(ticket, id));
        Some(delayed)
    }

    /// A login has been slowed down enough, or what it read has not reached the disk in time.
    pub(super) fn delay_is_over(&mut self, id: ConnId, now: Now) {
        if self.conns.get(id).is_some_and(|conn| conn.gates.has(Gates::HELD)) {
            log::error!("{id}: an answer has waited {HELD_TIMEOUT_MS} ms for the disk; its stream ends");
            return self.end_stream(id, StreamCondition::InternalServerError, None, now);
        }
        self.go_on_answering(id, Gates::DELAYED, now);
    }

    /// Answers leave whose rows are on disk now.
    pub(super) fn release_held(&mut self, now: Now) {
        while let Some((ticket, id)) = self.held.first().copied() {
            if !self.store.is_durable(ticket) {
                return;
            }
            self.held.pop_first();
            self.go_on_answering(id, Gates::HELD, now);
        }
    }

    fn go_on_answering(&mut self, id: ConnId, gate: Gates, now: Now) {
        let Some(mut delayed) = self.take_delayed(id) else { return };
        self.answer(id, &mut delayed.out, &mut delayed.asks, now);
        self.count_anew(id);
        self.set_gate(id, gate, false);
        self.go_on_reading(id, now);
    }
}

/// The stream header at the front of an answer, if it begins with one.
fn header_of(out: &[u8]) -> &[u8] {
    let declaration = usize::from(out.starts_with(b"<?xml"));
    let ends = out.iter().enumerate().filter(|(_, byte)| **byte == b'>').map(|(at, _)| at + 1);
    // In attribute values `>` is always escaped, so that the next one ends the tag.
    let len = match declaration == 1 || out.starts_with(b"<stream:stream") {
        true => ends.take(declaration + 1).last().unwrap_or_default(),
        false => 0,
    };
    out.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_told_from_what_follows() {
        let header = "<?xml version='1.0'?><stream:stream from='a&gt;b'>";
        assert_eq!(header_of(format!("{header}<stream:features/>").as_bytes()), header.as_bytes());
        assert_eq!(header_of(header.as_bytes()), header.as_bytes());
        assert_eq!(header_of(b"<stream:stream id='1'><sasl:mechanisms>"), b"<stream:stream id='1'>");
        assert_eq!(header_of(b"<stream:error><a/>"), b"");
        assert_eq!(header_of(b"<success/><a>"), b"");
        assert_eq!(header_of(b""), b"");
    }
}
