//! Silent connections: asked whether they are there (XEP-0199 §4.2), and dropped when they are not.
//!
//! ```text
//! bound ──ping_after──▶ nothing read? ──▶ <ping/> ──ping_timeout──▶ still nothing? ──▶ connection-timeout
//! ```
//!
//! A read only notes the time; the timer looks when it goes off. So a busy connection costs no timer, and
//! an idle one wakes the loop once in `ping_after`.

use super::Core;
use crate::clock::Now;
use crate::conn::{Flags, Phase};
use crate::ids::ConnId;
use crate::limits::SLOT_MS;
use crate::purse::{Purse, slot};
use crate::stream::error::StreamCondition;
use crate::xml::Writer;

impl Core {
    /// Something has been read: whatever it is, the peer is there, and its purse is filled up.
    pub(super) fn heard(&mut self, id: ConnId, now: Now) {
        if let Some(conn) = self.conns.get_mut(id) {
            Self::refill(conn, &self.settings.rates, slot(now));
            conn.flags.set(Flags::PINGED, false);
        }
    }

    /// A session begins: from now on its silence is watched.
    pub(super) fn watch(&mut self, id: ConnId, now: Now) {
        if let Some(conn) = self.conns.get_mut(id) {
            (conn.heard_slot, conn.purse) = (slot(now), Purse::full(&self.settings.rates));
        }
        let after_ms = self.settings.ping_after_ms;
        self.set_deadline(id, if after_ms == 0 { 0 } else { now.mono_ms + after_ms });
    }

    /// The timer of a bound connection has gone off.
    pub(super) fn look_at(&mut self, id: ConnId, now: Now) {
        let (after_ms, timeout_ms) = (self.settings.ping_after_ms, self.settings.ping_timeout_ms);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Phase::Bound(bound) = &conn.phase else { return };
        let session = bound.session;
        if conn.flags.has(Flags::PINGED) {
            log::debug!("{id}: no answer to a ping");
            return self.end_stream(id, StreamCondition::ConnectionTimeout, None, now);
        }
        // What is not read for a reason of ours is no silence of the peer's.
        let is_read = conn.gates.is_open();
        // To the slot's end: silence is never made longer than it is.
        let heard_ms = u64::from(conn.heard_slot.saturating_add(1)) * SLOT_MS;
        if !is_read || now.mono_ms < heard_ms + after_ms {
            let again_ms = if is_read { heard_ms + after_ms } else { now.mono_ms + after_ms };
            return self.set_deadline(id, again_ms.max(now.mono_ms + 1));
        }
        conn.flags.set(Flags::PINGED, true);
        self.metrics.pings += 1;
        let ping = self.random.token();
        if let Some(session) = self.directory.get(session) {
            self.outboxes.append(id, |out| {
                let mut xml = Writer::new(out);
                xml.open("iq").attr("type", "get").attr("id", &ping);
                xml.attr("from", session.jid.domainpart()).attr("to", session.jid.as_str());
                xml.empty("ping", "urn:xmpp:ping").close();
            });
        }
        self.set_deadline(id, now.mono_ms + timeout_ms);
    }
}
