//! One connection's socket, as `server/link.rs` has it, with a network that does as it pleases.

use super::client::{Client, Net};
use super::met::Met;
use super::rng::Rng;
use crate::sim::{END_POINT, EXPORTER};
use std::collections::BTreeMap;
use stonechat::action::Action;
use stonechat::clock::Now;
use stonechat::core::Core;
use stonechat::ids::ConnId;
use stonechat::transport::{TlsInfo, TlsVersion};

/// What is between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Clear,
    Handshake,
    Tls,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Open,
    Finishing,
    Draining,
    Gone,
}

pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) ending: Ending,
    /// By the actions of the core alone.
    pub(crate) core_gate_open: bool,
    gate_open: bool,
    wire: Wire,
    has_eof: bool,
    /// Ticks in which the kernel takes nothing.
    stalled: usize,
    /// Terminal actions, in order: Finish 1, FlushAndDrop 2, Drop 3.
    ends: Vec<u8>,
    /// The client does not read any more.
    is_deaf: bool,
    /// What the network has done to it.
    pub(crate) met: Met,
}

impl Link {
    pub(crate) fn new(client: Client, direct: bool, rng: &mut Rng) -> Self {
        let is_deaf = rng.often(20);
        Self {
            client,
            ending: Ending::Open,
            core_gate_open: true,
            gate_open: true,
            wire: if direct { Wire::Handshake } else { Wire::Clear },
            has_eof: false,
            stalled: 0,
            ends: Vec::new(),
            is_deaf,
            met: Met { deaf: u64::from(is_deaf), ..Met::default() },
        }
    }

    pub(crate) fn blame(&self, id: ConnId, fault: &str) -> String {
        let log = &self.client.log;
        let recent = log.get(log.len().saturating_sub(12)..).unwrap_or_default().join("\n  ");
        format!(
            "{id} (client {}, {:?}, {:?}, ends {:?}): {fault}\n  {recent}",
            self.client.serial, self.wire, self.ending, self.ends
        )
    }

    /// One read of the socket.
    pub(crate) fn read(&mut self, id: ConnId, core: &mut Core, now: Now, rng: &mut Rng) {
        if self.ending == Ending::Gone || self.has_eof || !(self.gate_open || self.ending == Ending::Draining) {
            return;
        }
        let Some(item) = self.client.to_send.pop_front() else { return };
        match item {
            Net::Reset => {
                self.met.resets += 1;
                core.peer_gone(id, now);
                self.ending = Ending::Gone;
            }
            Net::Fin => {
                self.has_eof = true;
                if self.ending == Ending::Draining {
                    self.ending = Ending::Gone;
                } else {
                    core.peer_gone(id, now);
                }
            }
            _ if self.ending == Ending::Draining => {}
            Net::Hello if self.wire == Wire::Handshake => {
                self.wire = Wire::Tls;
                core.secured(id, info(), now);
                self.client.secured(rng);
            }
            Net::Hello if self.wire == Wire::Clear => core.receive(id, &[0x16, 3, 1], now),
            Net::Clear(bytes) if self.wire == Wire::Clear => {
                let bytes = self.cut(bytes, rng, Net::Clear);
                core.receive(id, &bytes, now);
            }
            Net::Sealed(bytes) if self.wire == Wire::Tls => {
                let bytes = self.cut(bytes, rng, Net::Sealed);
                core.receive(id, &bytes, now);
            }
            Net::Sealed(_) if self.wire == Wire::Clear => core.receive(id, &[0x17, 3, 3], now),
            Net::Hello | Net::Clear(_) | Net::Sealed(_) => core.transport_failed(id, now),
        }
    }

    /// What one read brings: of the first item a part, or with it a part of those behind it.
    fn cut(&mut self, mut bytes: Vec<u8>, rng: &mut Rng, wrap: fn(Vec<u8>) -> Net) -> Vec<u8> {
        while rng.often(300) {
            match (self.client.to_send.pop_front(), wrap(Vec::new())) {
                (Some(Net::Clear(more)), Net::Clear(_)) | (Some(Net::Sealed(more)), Net::Sealed(_)) => {
                    bytes.extend(more);
                }
                (Some(other), _) => {
                    self.client.to_send.push_front(other);
                    break;
                }
                (None, _) => break,
            }
        }
        let at = match rng.below(3) {
            0 => bytes.len(),
            1 => 1 + rng.below(bytes.len()),
            _ => (1 + rng.below(40)).min(bytes.len()),
        };
        let rest = bytes.split_off(at);
        if !rest.is_empty() {
            self.met.short_reads += 1;
            self.client.to_send.push_front(wrap(rest));
        }
        bytes
    }

    pub(crate) fn act(&mut self, action: &Action, core: &mut Core, now: Now) -> Result<(), String> {
        if self.ending == Ending::Gone {
            return Ok(());
        }
        match *action {
            Action::Flip { conn, .. } => {
                if self.wire != Wire::Clear || !core.outboxes().pending(conn).is_empty() {
                    return Err("a flip before the go-ahead has left".into());
                }
                self.wire = Wire::Handshake;
                self.gate_open = true;
                core.handshaking(conn);
            }
            Action::ReadGate { open, .. } => {
                if open == self.core_gate_open {
                    return Err(format!("its gate is set to open={open} twice"));
                }
                (self.core_gate_open, self.gate_open) = (open, open);
            }
            Action::Finish { .. } => self.begin_end(1)?,
            Action::FlushAndDrop { .. } => self.begin_end(2)?,
            Action::Drop { .. } => {
                self.begin_end(3)?;
                self.ending = Ending::Gone;
            }
        }
        let _ = now;
        Ok(())
    }

    /// An end may become harder, never softer, and none is asked for twice.
    fn begin_end(&mut self, how: u8) -> Result<(), String> {
        if self.ends.last().is_some_and(|last| *last >= how) {
            return Err(format!("the end {how} after {:?}", self.ends));
        }
        self.ends.push(how);
        if self.ending == Ending::Open {
            self.ending = Ending::Finishing;
        }
        Ok(())
    }

    /// One turn of writing: as much as the kernel takes, then what follows from an empty outbox.
    pub(crate) fn write(&mut self, id: ConnId, core: &mut Core, now: Now, rng: &mut Rng) -> Result<(), String> {
        if self.ending == Ending::Gone {
            return Ok(());
        }
        self.stalled = self.stalled.saturating_sub(1);
        if self.is_deaf || self.stalled > 0 {
            return Ok(());
        }
        if rng.often(15) {
            self.stalled = rng.below(60);
            self.met.stalls += 1;
        }
        let pending = core.outboxes().pending(id);
        let count = match rng.below(3) {
            _ if pending.is_empty() => 0,
            0 => rng.below(pending.len() + 1),
            _ => pending.len(),
        };
        if count > 0 && self.ending == Ending::Draining {
            return Err("bytes behind FIN".into());
        }
        self.met.short_writes += u64::from(count < pending.len());
        let bytes = pending[..count].to_vec();
        self.client.view.take_in(&bytes);
        let drained = core.outboxes().consume(id, count);
        self.client.listen(rng)?;
        if !drained {
            return Ok(());
        }
        core.drained(id, now);
        if self.ending == Ending::Finishing && core.outboxes().pending(id).is_empty() {
            self.ending = if self.has_eof { Ending::Gone } else { Ending::Draining };
            self.client.hears_fin(rng);
        }
        Ok(())
    }

    /// From every session the messages of a sender come in order, each once; those for this very session without a
    /// gap. Those for the account may have gone to another of its sessions in between.
    pub(crate) fn check_messages(&self) -> Result<(), String> {
        let mut last: BTreeMap<(usize, bool), usize> = BTreeMap::new();
        for (sender, at, is_bare, text) in &self.client.messages {
            // Nor does one write to whom one has blocked.
            let may_block = ["from='cleo@", "from='dora@"].iter().any(|from| text.contains(from));
            let may_miss = *is_bare || may_block || self.client.may_miss();
            if let Some(before) = last.insert((*sender, *is_bare), *at)
                && (*at <= before || *at != before + 1 && !may_miss)
            {
                return Err(format!("message {at} of {sender} came behind {before}: {text}"));
            }
            if !text.contains(" from='") {
                return Err(format!("nobody's message: {text}"));
            }
        }
        Ok(())
    }

    /// The client goes: mostly in good order, sometimes without a word, sometimes when it is told to.
    pub(crate) fn leaves(&mut self, rng: &mut Rng) {
        self.is_deaf = false;
        match rng.below(3) {
            0 => self.client.to_send.push_front(Net::Reset),
            _ => self.client.to_send.push_back(Net::Fin),
        }
    }
}

fn info() -> TlsInfo {
    TlsInfo {
        sni: None,
        alpn: false,
        version: TlsVersion::Tls13,
        resumed: false,
        exporter: Some(EXPORTER),
        server_end_point: Some(END_POINT.to_vec()),
        peer_chain: None,
    }
}
