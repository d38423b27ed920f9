//! The core and the model, side by side.

use super::automaton::{Expected, Model, Place};
use super::heard;
use super::words::{Op, Peer, Word};

/// The four worlds: whether the domain requires TLS, whether the listener begins with it.
pub(crate) const WORLDS: [(bool, bool); 4] = [(true, false), (false, false), (true, true), (false, true)];

/// Everything that can be said or happen.
pub(crate) fn operations() -> Vec<Op> {
    let mut all: Vec<Op> = Word::ALL.into_iter().map(Op::Say).collect();
    for word in [Word::StartTls, Word::StartTls2002, Word::AuthScram, Word::IqOther] {
        all.extend([Op::SayWithSpace(word), Op::SayWithStanza(word)]);
    }
    all.extend([Op::Drain, Op::Secure, Op::FailTls, Op::HashRight, Op::HashWrong, Op::Late, Op::Shutdown, Op::HangUp]);
    all
}

/// One connection, twice.
pub(crate) struct Pair {
    peer: Peer,
    pub(crate) model: Model,
    done: Vec<Op>,
}

impl Pair {
    pub(crate) fn new((tls_required, direct): (bool, bool)) -> Self {
        Self { peer: Peer::new(tls_required, direct), model: Model::new(tls_required, direct), done: Vec::new() }
    }

    /// Whether the operation can happen here at all.
    pub(crate) fn allows(&self, op: Op) -> bool {
        self.model.allows(op)
    }

    /// Whether there is nobody left to talk to.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.model.place, Place::Gone | Place::Lost)
    }

    /// Does it on both sides and compares; what went before is told with a difference.
    pub(crate) fn apply(&mut self, op: Op) -> Result<(), String> {
        self.done.push(op);
        let was = self.model.place;
        let heard = self.peer.apply(op);
        let expected = self.model.apply(op);
        let found = heard::words(&heard);
        let end = self.peer.bare.end(self.peer.id);
        let ends_well = match expected.end {
            Some(must) => must == end || was == Place::Gone,
            None => true,
        };
        if end.is_some() {
            self.model.place = Place::Gone;
        }
        let fault = match () {
            () if !matches(&expected, &found) => Some("it says something else".to_owned()),
            () if !ends_well => Some("it ends otherwise".to_owned()),
            () => self.fault(was, &heard),
        };
        fault.map_or(Ok(()), |fault| {
            let done = &self.done;
            Err(format!(
                "{fault}: {done:?}\n  at {was:?}: expected {expected:?}\n  found {found:?}, {end:?}\n  {heard}"
            ))
        })
    }

    /// What is wrong whatever the model says.
    fn fault(&self, was: Place, heard: &str) -> Option<String> {
        let bare = &self.peer.bare;
        let (has_tls, is_secure) = bare.tls(self.peer.id);
        let is_silent = matches!(was, Place::GoAhead | Place::Handshake | Place::Closing | Place::Gone);
        if !heard.is_empty() && (is_silent || has_tls != is_secure) {
            return Some("XML where none may be".into());
        }
        if (bare.core.sessions() == 1) != matches!(self.model.place, Place::Bound(_)) {
            return Some(format!("{} sessions", bare.core.sessions()));
        }
        if matches!(self.model.place, Place::GoAhead | Place::Hashing(_)) && bare.is_read(self.peer.id) {
            return Some("its gate is open".into());
        }
        bare.core.audit().err()
    }
}

/// Whether what was found is what was expected; the words of streams without a version must explain themselves.
fn matches(expected: &Expected, found: &[String]) -> bool {
    let bare = |word: &str| word.strip_suffix(" +text").unwrap_or(word).to_owned();
    let mut at = 0;
    for word in &expected.words {
        let choices: Vec<&str> = word.split('|').collect();
        match found.get(at).filter(|found| choices.contains(&bare(found).as_str())) {
            Some(_) => at += 1,
            // An empty alternative: it may be left out.
            None if choices.contains(&"") => {}
            None => return false,
        }
    }
    at == found.len()
}
