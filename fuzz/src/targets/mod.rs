//! The targets, and what they borrow from the tests.

#![allow(missing_docs, reason = "each file says what its target is")]
#![allow(unreachable_pub, reason = "the tests include this as a module of theirs")]

#[path = "../../../tests/model/automaton.rs"]
mod automaton;
#[path = "../../../tests/common/bare.rs"]
mod bare;
pub mod config;
#[path = "../../../tests/model/heard.rs"]
mod heard;
pub mod jid;
pub mod keys;
pub mod lua;
pub mod negotiation;
#[path = "../../../tests/model/pair.rs"]
mod pair;
pub mod port;
pub mod rows;
pub mod sasl;
mod scratch;
pub mod session;
pub mod sqlite;
pub mod tls;
#[path = "../../../tests/tls_common/mod.rs"]
mod tls_common;
#[path = "../../../tests/model/words.rs"]
mod words;
pub mod xml;
#[path = "../../../tests/common/xml_pair.rs"]
mod xml_pair;

/// Takes a fuzzer's bytes apart: small decisions in front, the rest as it is.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// Up to a length that is chosen by two bytes.
    fn chunk(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        let (chunk, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        chunk
    }

    /// Up to the next byte 0xFF, which is in no UTF-8.
    fn piece(&mut self) -> &'a [u8] {
        let at = self.0.iter().position(|byte| *byte == 0xFF).unwrap_or(self.0.len());
        let (piece, rest) = self.0.split_at(at);
        self.0 = rest.get(1..).unwrap_or_default();
        piece
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
