//! One TLS connection: ciphertext in, plaintext out, and back. All buffers are the caller's.
//!
//! ```text
//! input ──▶ [saved +] records ──▶ rustls ──▶ plain
//!                                   └──────▶ cipher_out: handshake, alerts, key updates
//! plain ──▶ seal ──▶ rustls ──▶ cipher_out
//! ```
//!
//! An idle connection holds no buffer: whole records are decrypted where they lie in the caller's
//! scratch, and only the tail of a record that is not complete yet (while handshaking: of a message)
//! is kept, under a bound. The library's unbuffered connection reads positions relative to the buffer
//! it was last shown, so it is always shown what it has not discarded, and nothing else.
//!
//! RFC 8446 §5, §6, §4.6.3; RFC 5246 §7.4.1.1; RFC 6120 §5.4.3.

use super::records::{self, IdleRecords, RECORD_HEADER_BYTES};
use super::tls_fault::{self, clear_alert};
use super::tls_handshake::{Handshake, NameFault, Seen};
use super::tls_states::{Step, advance, append};
use super::{TlsError, TlsInfo, TlsVersion};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncryptError, WriteTraffic};
use rustls::{Error, HandshakeKind, ProtocolVersion};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

pub use super::records::{IDLE_RECORD_PRICE_BYTES, IDLE_RECORDS_MAX};
pub use super::tls_domains::{DomainTls, TlsDomains, TlsOptions};
/// The types that the path library shares with the TLS library.
pub(super) use rustls::pki_types;

pub use crate::limits::HANDSHAKE_SAVED_BYTES_MAX;
/// Ciphertext kept after the handshake: one record, header and expansion included (RFC 5246 §6.2.3).
pub const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048 + RECORD_HEADER_BYTES;
/// Plaintext in one record (RFC 8446 §5.1).
const FRAGMENT_BYTES_MAX: usize = 16 * 1024;
/// What protection adds to a record: header, tag, and the inner type (1.3) or the nonce (1.2).
const RECORD_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + 16 + 8;
/// What the library keeps on the heap beside its own struct: record deframer, keys of both directions,
/// traffic secrets, queues. Measured; held by a test.
const ESTABLISHED_HEAP_BYTES: usize = 2192;
/// The same in the middle of a handshake: key shares, transcript, a copy of the configuration.
const HANDSHAKING_HEAP_BYTES: usize = 3900;
/// The same before the client has said anything.
const SILENT_HEAP_BYTES: usize = 1180;

/// What [`Tls::feed`] brought about, beside bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsEvent {
    /// Nothing but bytes, if any.
    Nothing,
    /// The handshake is complete: [`Tls::take_info`]. There may be plaintext already.
    Established,
    /// The peer sent `close_notify`: no more plaintext comes. We may still send.
    PeerClosed,
}

/// The server's side of one TLS connection.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// Ciphertext that the library has not discarded.
    saved: Vec<u8>,
    /// How much of `saved` are whole records that it has seen (fragments of a handshake message).
    seen_bytes: usize,
    state: State,
    idle: IdleRecords,
    /// Whether anything was sent. Until then everything is in the clear.
    spoke: bool,
    peer_closed: Close,
    sent_close: bool,
}

enum State {
    Handshaking(Arc<Handshake>),
    /// Boxed and dropped when taken: an idle connection carries nothing of its handshake.
    Established(Option<Box<Learnt>>),
    Failed,
}

struct Learnt {
    sni: Option<String>,
    exporter: Option<Zeroizing<[u8; 32]>>,
    server_end_point: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    Open,
    Noticed,
    Reported,
}

impl Tls {
    pub(super) fn new(connection: UnbufferedServerConnection, handshake: Arc<Handshake>) -> Self {
        Self {
            connection,
            saved: Vec::new(),
            seen_bytes: 0,
            state: State::Handshaking(handshake),
            idle: IdleRecords::default(),
            spoke: false,
            peer_closed: Close::Open,
            sent_close: false,
        }
    }

    /// Feeds ciphertext as it was read. Decrypted bytes are appended to `plain`, what must go out to
    /// `cipher_out`; `input` is scratch and garbage afterwards, all of it consumed or kept inside.
    ///
    /// One event a call: if the peer also closed, `PeerClosed` comes with the next call, and
    /// [`Tls::peer_has_closed`] tells at once. What follows the peer's `close_notify` is ignored.
    ///
    /// # Errors
    ///
    /// The connection is spent. `cipher_out` may hold an alert; send it and close TCP without XML.
    /// Bytes appended to `plain` before the error are genuine.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        cipher_out: &mut Vec<u8>,
    ) -> Result<TlsEvent, TlsError> {
        if matches!(self.state, State::Failed) {
            return Err(TlsError::Closed);
        }
        if self.peer_closed == Close::Open {
            let before = cipher_out.len();
            let absorbed = self.absorb(input, plain, cipher_out);
            absorbed.map_err(|error| self.fail(error, before, cipher_out))?;
            self.spoke |= cipher_out.len() > before;
        }
        Ok(self.event())
    }

    /// Encrypts `plain` and appends the records to `cipher_out`: full ones of 16 KiB, then the rest.
    /// Give it as much at once as there is.
    ///
    /// # Errors
    ///
    /// [`TlsError::WrongState`] during the handshake, [`TlsError::Closed`] after an error or after
    /// [`Tls::close_notify`], [`TlsError::Exhausted`] if TLS 1.2 keys are worn out; the connection is
    /// spent then, and `cipher_out` may hold an alert.
    pub fn seal(&mut self, plain: &[u8], cipher_out: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.state {
            State::Handshaking(_) => return Err(TlsError::WrongState),
            State::Failed => return Err(TlsError::Closed),
            State::Established(_) if self.sent_close => return Err(TlsError::Closed),
            State::Established(_) => {}
        }
        if plain.is_empty() {
            return Ok(());
        }
        let records = plain.len().div_ceil(FRAGMENT_BYTES_MAX);
        let size = plain.len() + records * RECORD_OVERHEAD_BYTES;
        let before = cipher_out.len();
        let written = self.write(size, cipher_out, |traffic, out| traffic.encrypt(plain, out));
        written.map_err(|error| self.fail(error, before, cipher_out))
    }

    /// Appends `close_notify`; nothing can be sealed afterwards. Does nothing during the handshake,
    /// after an error, or the second time.
    pub fn close_notify(&mut self, cipher_out: &mut Vec<u8>) {
        if matches!(self.state, State::Established(_)) && !self.sent_close {
            self.sent_close = true;
            let size = 2 + RECORD_OVERHEAD_BYTES;
            let written = self.write(size, cipher_out, |traffic, out| traffic.queue_close_notify(out));
            if let Err(error) = written {
                log::debug!("close_notify not sent: {error}");
            }
        }
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshaking(_))
    }

    /// Whether the peer sent `close_notify`.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_closed != Close::Open
    }

    /// Takes what the handshake showed, once, after [`TlsEvent::Established`]; empty before and when
    /// asked again, but for what the connection itself knows (version, ALPN, chain).
    pub fn take_info(&mut self) -> TlsInfo {
        let State::Established(learnt) = &mut self.state else { return TlsInfo::default() };
        let mut learnt = learnt.take();
        let chain = self.connection.peer_certificates();
        TlsInfo {
            sni: learnt.as_mut().and_then(|learnt| learnt.sni.take()),
            alpn: self.connection.alpn_protocol().is_some(),
            version: self.version(),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            exporter: learnt.as_ref().and_then(|learnt| learnt.exporter.as_deref().copied()),
            server_end_point: learnt.as_mut().and_then(|learnt| learnt.server_end_point.take()),
            peer_chain: chain.map(|chain| chain.iter().map(|der| der.to_vec()).collect()),
        }
    }

    /// Bytes on the heap, without the struct itself. The library's share is a measured estimate.
    pub fn heap_bytes(&self) -> usize {
        let chain = self.connection.peer_certificates().unwrap_or_default();
        let chain_bytes: usize = chain.iter().map(|der| der.len() + size_of::<Vec<u8>>()).sum();
        let library = match &self.state {
            State::Handshaking(_) if self.spoke => HANDSHAKING_HEAP_BYTES,
            State::Handshaking(_) => SILENT_HEAP_BYTES,
            State::Established(Some(_)) => ESTABLISHED_HEAP_BYTES + size_of::<Learnt>() + 64,
            State::Established(None) | State::Failed => ESTABLISHED_HEAP_BYTES,
        };
        self.saved.capacity() + chain_bytes + library
    }

    fn version(&self) -> TlsVersion {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        }
    }

    /// Runs `input` through the library, joined with what was saved, and saves what is left.
    fn absorb(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut rest = input;
        while !self.saved.is_empty() && !rest.is_empty() {
            // Complete one record at a time, so that what follows need not be copied.
            let tail = self.saved.get(self.seen_bytes..).unwrap_or_default();
            let (head, after) = rest.split_at_mut(records::missing(tail).min(rest.len()));
            self.save(head)?;
            rest = after;
            let mut saved = std::mem::take(&mut self.saved);
            let seen_bytes = std::mem::take(&mut self.seen_bytes);
            let used = self.process(&mut saved, seen_bytes, plain, out)?;
            saved.drain(..used);
            if !saved.is_empty() {
                self.saved = saved;
            }
        }
        if !rest.is_empty() && self.peer_closed == Close::Open {
            let used = self.process(rest, 0, plain, out)?;
            let (_, left) = rest.split_at_mut(used.min(rest.len()));
            self.save(left)?;
        }
        if self.peer_closed != Close::Open {
            self.saved = Vec::new();
            self.seen_bytes = 0;
        }
        Ok(())
    }

    fn save(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        let bound = if self.is_handshaking() { HANDSHAKE_SAVED_BYTES_MAX } else { RECORD_BYTES_MAX };
        if self.saved.len() + bytes.len() > bound {
            return Err(TlsError::TooLong);
        }
        if self.saved.is_empty() {
            self.saved.reserve_exact(bytes.len());
        }
        self.saved.extend_from_slice(bytes);
        Ok(())
    }

    /// Shows `buffer` to the library until it wants more input. Returns how many bytes it is done with,
    /// and sets `seen_bytes` to what it has seen of the rest.
    fn process(
        &mut self,
        buffer: &mut [u8],
        seen_bytes: usize,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsError> {
        let whole = seen_bytes + records::whole(buffer.get(seen_bytes..).unwrap_or_default()).bytes;
        let mut used = 0;
        loop {
            let view = buffer.get_mut(used..).unwrap_or_default();
            let plain_before = plain.len();
            let status = self.connection.process_tls_records(view);
            let step = advance(status.state, plain, out);
            let discard = status.discard;
            let idle = records::whole(buffer.get(used..used + discard).unwrap_or_default()).count;
            used += discard;
            let step = step.map_err(|error| self.fault(error))?;
            self.account(step, idle, plain.len() - plain_before)?;
            if step == Step::Wait {
                break;
            }
        }
        self.seen_bytes = whole.saturating_sub(used);
        Ok(used)
    }

    /// Bounds what a peer may cause after the handshake without sending data.
    fn account(&mut self, step: Step, records: u32, data_bytes: usize) -> Result<(), TlsError> {
        if step == Step::PeerClosed {
            self.peer_closed = Close::Noticed;
        }
        if self.is_handshaking() {
            return Ok(());
        }
        if step == Step::Encoded && self.version() == TlsVersion::Tls12 {
            // In TLS 1.2 nothing but the refusal of a renegotiation comes from the library unasked.
            return Err(TlsError::Renegotiation);
        }
        let data_records = u32::from(data_bytes > 0);
        self.idle.charge(records.saturating_sub(data_records), data_bytes)
    }

    fn event(&mut self) -> TlsEvent {
        if let State::Handshaking(handshake) = &self.state
            && !self.connection.is_handshaking()
        {
            let Seen { domain, sni, exporter, .. } = handshake.take();
            let server_end_point = handshake.server_end_point(domain);
            let learnt = Learnt { sni, exporter, server_end_point };
            self.state = State::Established(Some(Box::new(learnt)));
            return TlsEvent::Established;
        }
        if self.peer_closed == Close::Noticed {
            self.peer_closed = Close::Reported;
            return TlsEvent::PeerClosed;
        }
        TlsEvent::Nothing
    }

    /// Brings the library to where it can write, and writes.
    fn write(
        &mut self,
        size: usize,
        out: &mut Vec<u8>,
        mut put: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        let mut size = size;
        loop {
            let status = self.connection.process_tls_records(&mut self.saved);
            let discard = status.discard;
            let done = match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => append(&mut traffic, &mut size, out, &mut put)?,
                Ok(ConnectionState::Closed) => return Err(TlsError::Closed),
                state => match advance(state, &mut Vec::new(), out).map_err(tls_fault::name)? {
                    Step::Encoded | Step::Again => false,
                    Step::PeerClosed => {
                        self.peer_closed = Close::Noticed;
                        false
                    }
                    // All that came was processed when it came, and the handshake is over.
                    Step::Data | Step::Wait => return Err(TlsError::WrongState),
                },
            };
            self.saved.drain(..discard.min(self.saved.len()));
            self.seen_bytes = self.seen_bytes.saturating_sub(discard);
            if done {
                return Ok(());
            }
        }
    }

    /// Ends the connection after an error: puts the alert out, drops what is held. `before` is where
    /// `out` stood when the call began.
    fn fail(&mut self, error: TlsError, before: usize, out: &mut Vec<u8>) -> TlsError {
        let names = matches!(error, TlsError::UnknownName | TlsError::NoName);
        // The library's alert for "no certificate" is access_denied: ours says what is wrong.
        while !names && self.connection.wants_write() {
            let state = self.connection.process_tls_records(&mut []).state;
            if advance(state, &mut Vec::new(), out).is_err() {
                break;
            }
        }
        if !self.spoke && out.len() == before && !matches!(error, TlsError::Alert(_)) {
            out.extend_from_slice(&clear_alert(&error));
        }
        self.state = State::Failed;
        self.saved = Vec::new();
        error
    }

    /// Names an error of the library, with the help of what the handshake saw.
    fn fault(&self, error: Error) -> TlsError {
        match &self.state {
            State::Handshaking(handshake) => match handshake.fault() {
                Some(NameFault::Unknown) => TlsError::UnknownName,
                Some(NameFault::Missing) => TlsError::NoName,
                None => tls_fault::name(error),
            },
            State::Established(_) | State::Failed => tls_fault::name(error),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Handshaking(_) => "handshaking",
            State::Established(_) => "established",
            State::Failed => "failed",
        };
        f.debug_struct("Tls").field("state", &state).field("saved", &self.saved.len()).finish_non_exhaustive()
    }
}
