//! The audit: whether what the core counts and lists is what there is.
//!
//! For tests, simulation and hosts that want to know. It walks over everything, so it is not for every
//! tick of a busy server.

use super::{Core, Timer};
use crate::conn::{AddressKey, Conn, Flags, Gates, Partial, Phase};
use crate::ids::ConnId;

impl Core {
    /// Checks every sum, list and map against the rows they speak of, between ticks.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong: a bug of the core.
    pub fn audit(&self) -> Result<(), String> {
        self.outboxes.audit()?;
        self.audit_memory()?;
        self.audit_waiting()?;
        self.hashes.audit()?;
        for (id, conn) in self.conns.iter() {
            self.audit_conn(id, conn).map_err(|fault| format!("{id}: {fault}"))?;
        }
        self.audit_lists()?;
        self.audit_sums()
    }

    fn audit_conn(&self, id: ConnId, conn: &Conn) -> Result<(), String> {
        let delayed = match &conn.phase {
            Phase::Negotiating(negotiating) => negotiating.delayed.as_ref(),
            Phase::Bound(_) | Phase::Joining(_) | Phase::Component(_) | Phase::Closing { .. } => None,
            Phase::Taken => return Err("its state was not put back".into()),
        };
        let is_closing = matches!(conn.phase, Phase::Closing { .. });
        let waiting = self.parked.values().chain(self.binding.values().map(|(conn, _)| conn));
        let parked = waiting.filter(|other| **other == id).count();
        if !is_closing && usize::from(conn.gates.has(Gates::PARKED)) != parked {
            return Err(format!("parked {parked} times, its gate says otherwise"));
        }
        let waits = conn.gates.has(Gates::DELAYED) || conn.gates.has(Gates::HELD);
        if delayed.is_some() != waits {
            return Err("an answer waits, or a gate says so, but not both".into());
        }
        let pressed = self.pressed.iter().filter(|other| **other == id).count();
        if !is_closing && usize::from(conn.gates.has(Gates::PRESSED)) != pressed {
            return Err(format!("pressed {pressed} times, its gate says otherwise"));
        }
        let held = self.held.iter().filter(|(_, other)| *other == id).count();
        if usize::from(conn.gates.has(Gates::HELD)) != held {
            return Err(format!("listed {held} times among those whose answer waits for the disk"));
        }
        if delayed.is_some_and(|delayed| !self.timers.has(Timer::Delayed(id), delayed.deadline_ms)) {
            return Err("its answer waits without a timer".into());
        }
        if conn.deadline_ms != 0 && !self.timers.has(Timer::Conn(id), conn.deadline_ms) {
            return Err("its deadline has no timer".into());
        }
        if let Phase::Bound(bound) = &conn.phase {
            let session = self.directory.get(bound.session).ok_or("its session is gone")?;
            if session.conn != id {
                return Err(format!("its session is carried by {}", session.conn));
            }
        }
        Ok(())
    }

    fn audit_lists(&self) -> Result<(), String> {
        let named = self.parked.values().chain(self.held.iter().map(|(_, id)| id)).chain(self.owed.keys());
        if let Some(id) = named.into_iter().find(|id| self.conns.get(**id).is_none()) {
            return Err(format!("{id} is gone and still waited for"));
        }
        if !self.resuming.is_empty() || self.unreadable.is_some() {
            return Err("a frame that was to run again did not".into());
        }
        let behind = self.fill_ins.len() + self.settling.len() + self.binding.len();
        let parked = self.parked.len() + behind + self.administration.parked();
        if parked != self.store.parked() {
            return Err(format!("{parked} wait for rows, the store knows {}", self.store.parked()));
        }
        for (name, id) in self.domains.connected() {
            match self.conns.get(id).map(|conn| &conn.phase) {
                Some(Phase::Component(component)) if *component.name == *name => {}
                _ => return Err(format!("{id} is said to be the component {name}, and is not")),
            }
        }
        let components = self.conns.iter().filter(|(_, conn)| matches!(conn.phase, Phase::Component(_))).count();
        if components != self.domains.connected().count() {
            return Err(format!("{components} components are connected, not all of them are known"));
        }
        let carries = |conn: &Conn| matches!(conn.phase, Phase::Bound(_));
        let bound = self.conns.iter().filter(|(_, conn)| carries(conn)).count();
        if bound != self.directory.len() {
            return Err(format!("{bound} connections carry {} sessions", self.directory.len()));
        }
        Ok(())
    }

    fn audit_sums(&self) -> Result<(), String> {
        let of = |conn: &Conn| conn.partial.as_deref().map_or(0, Partial::heap_bytes);
        let partial: usize = self.conns.iter().map(|(_, conn)| of(conn)).sum();
        let delayed = |conn: &Conn| matches!(&conn.phase, Phase::Negotiating(one) if one.delayed.is_some());
        let timers = |conn: &Conn| usize::from(conn.deadline_ms != 0) + usize::from(delayed(conn));
        let timers: usize = self.conns.iter().map(|(_, conn)| timers(conn)).sum();
        let hashes = self.conns.iter().filter(|(_, conn)| conn.gates.has(Gates::HASHING)).count();
        let before_login = self.counted().filter(|conn| conn.flags.has(Flags::UNAUTHENTICATED)).count();
        let sums = [
            ("bytes of partial frames", self.partial_bytes, partial),
            ("timers", self.timers.len(), timers),
            ("admitted connections", self.admission.total(), self.conns.len()),
            ("admitted connections by address", self.admission.counted(), self.counted().count()),
            ("those before their login", self.admission.counted_before_login(), before_login),
        ];
        if let Some((what, counted, real)) = sums.into_iter().find(|(_, counted, real)| counted != real) {
            return Err(format!("{what}: counted {counted}, there are {real}"));
        }
        if self.hashes.len() > hashes {
            return Err(format!("{} passwords wait to be hashed for {hashes} connections", self.hashes.len()));
        }
        Ok(())
    }

    fn counted(&self) -> impl Iterator<Item = &Conn> {
        self.conns.iter().map(|(_, conn)| conn).filter(|conn| conn.address != AddressKey::LOOPBACK)
    }
}
