//! Bound streams: every frame goes through dispatch.

use super::Core;
use super::input::Progress;
use crate::clock::Now;
use crate::conn::Phase;
use crate::dispatch::{Dispatch, Frame, Verdict};
use crate::ids::ConnId;
use crate::stream::error::StreamCondition;
use crate::xml::{Scan, Step};

impl Core {
    pub(super) fn bound_item(&mut self, id: ConnId, step: Step, scan: &Scan, bytes: &[u8], now: Now) -> Progress {
        match step {
            Step::Frame { .. } => self.bound_frame(id, scan, bytes, now),
            Step::StreamEnd { .. } => self.peer_ended(id, now),
            Step::Header { .. } => self.end_stream(id, StreamCondition::UnsupportedStanzaType, None, now),
            // White space is a keepalive (RFC 6120 §4.6.1).
            Step::Whitespace { .. } | Step::Incomplete => {}
        }
        Progress::Took
    }

    fn bound_frame(&mut self, id: ConnId, scan: &Scan, bytes: &[u8], now: Now) {
        let Some(conn) = self.conns.get(id) else { return };
        let Phase::Bound(bound) = &conn.phase else { return };
        let (ns, lang) = (bound.ns(), bound.lang.as_deref());
        let frame = Frame { sender: bound.session, head: scan.head(), bytes, ns, lang, has_code: !bound.version_1 };
        let mut dispatch = Dispatch {
            directory: &mut self.directory,
            outboxes: &mut self.outboxes,
            hosts: &self.domains,
            about: &self.about,
            scratch: &mut self.scratch,
            metrics: &mut self.metrics,
            now,
            directed_max: self.settings.directed_max,
        };
        dispatch.outboxes.begin();
        match dispatch.frame(frame) {
            Verdict::GoOn => {}
            Verdict::Error(condition) => self.end_stream(id, condition, None, now),
            Verdict::End => self.peer_ended(id, now),
        }
    }
}
