//! Why a handler stops before its end.
//!
//! ```text
//! handler ──Miss──▶ parked, run again     ──Hash──▶ parked, run again     ──Refuse──▶ a stanza error
//! ```
//!
//! Whatever it is, what the run has written and appended is taken back. What it has changed in memory is not: so
//! handlers change memory behind their last `?`.

use crate::sasl::HashJob;
use crate::stanza::{ErrorType, StanzaCondition};
use crate::storage::{Miss, StoreFull};

/// A stanza is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The defined condition (RFC 6120 §8.3.3).
    pub condition: StanzaCondition,
    /// What the sender may do, if not what the condition recommends.
    pub error_type: Option<ErrorType>,
    /// Words for a person who looks for the cause, in English.
    pub text: Option<&'static str>,
    /// A condition of an extension, as (name, namespace).
    pub application: Option<(&'static str, &'static str)>,
}

impl From<StanzaCondition> for Refusal {
    fn from(condition: StanzaCondition) -> Self {
        Self { condition, error_type: None, text: None, application: None }
    }
}

/// Why a handler stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// A row is not in memory: fetch it and run again.
    Miss(Miss),
    /// The sender gets an error.
    Refuse(Refusal),
    /// A password has to be hashed: run again with the outcome.
    Hash(Box<HashJob>),
}

impl From<Miss> for Stop {
    fn from(miss: Miss) -> Self {
        Self::Miss(miss)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<StanzaCondition> for Stop {
    fn from(condition: StanzaCondition) -> Self {
        Self::Refuse(condition.into())
    }
}

impl From<StoreFull> for Stop {
    fn from(_: StoreFull) -> Self {
        Self::Refuse(Refusal {
            error_type: Some(ErrorType::Wait),
            text: Some("too much is waiting for the disk"),
            ..StanzaCondition::ResourceConstraint.into()
        })
    }
}
