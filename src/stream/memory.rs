//! What a negotiation holds on the heap, about: for the server's accounting.
//!
//! A running mechanism's own boxes are not counted; they are bounded by [`SASL_MESSAGE_BYTES_MAX`].
//!
//! [`SASL_MESSAGE_BYTES_MAX`]: crate::sasl::SASL_MESSAGE_BYTES_MAX

use super::{Account, Hashing, Negotiation, Running, Secured, Stage, State, Stream, bind};
use crate::jid::Jid;
use crate::sasl::{BindingType, Mechanism};

impl Negotiation {
    /// Bytes on the heap, the negotiation's own box not counted.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let state = match &self.state {
            State::Exchanging(_) => size_of::<Running>(),
            State::Hashing(_) => size_of::<Hashing>(),
            State::Confirming(account) => size_of::<Account>() + account.jid.heap_bytes(),
            State::Binding(_) => size_of::<bind::Pending>(),
            State::Bound(jid) => jid.heap_bytes(),
            State::Opening
            | State::Open
            | State::Proceeding
            | State::Handshaking
            | State::LoggedIn
            | State::Closing => 0,
        };
        let stage = match &self.stage {
            Stage::Clear => 0,
            Stage::Secure(secured) => secured.heap_bytes(),
            Stage::Known(account) => account.jid.heap_bytes(),
        };
        let stream = self.stream.as_ref().map_or(0, |stream| stream.heap_bytes());
        state + stage + stream + self.ns.heap_bytes()
    }
}

impl Secured {
    fn heap_bytes(&self) -> usize {
        let chain: usize = self.chain.iter().map(|certificate| size_of::<Vec<u8>>() + certificate.capacity()).sum();
        size_of::<Self>() + chain + self.bindings.server_end_point.as_ref().map_or(0, Vec::capacity)
    }
}

impl Stream {
    fn heap_bytes(&self) -> usize {
        let from = self.from.as_ref().map_or(0, Jid::heap_bytes);
        let lang = self.lang.as_ref().map_or(0, |lang| lang.len());
        let offer = self.offer.mechanisms.capacity() * size_of::<Mechanism>()
            + self.offer.bindings.capacity() * size_of::<BindingType>();
        size_of::<Self>() + self.domain.len() + self.sasl_prefix.len() + from + lang + offer
    }
}
