//! Block lists (XEP-0191).

use crate::jid::{Jid, JidRef};

/// The JIDs that an account has blocked, prepared and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked(pub Vec<Jid>);

impl Blocked {
    /// Whether the list names `jid`: its full JID, its bare JID, its domain with the resource, or its domain.
    pub fn matches(&self, jid: JidRef<'_>) -> bool {
        self.0.iter().any(|blocked| {
            let blocked = blocked.as_ref();
            blocked.domainpart() == jid.domainpart()
                && blocked.localpart().is_none_or(|localpart| jid.localpart() == Some(localpart))
                && blocked.resourcepart().is_none_or(|resource| jid.resourcepart() == Some(resource))
        })
    }

    /// Bytes behind it.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Jid>() + self.0.iter().map(Jid::heap_bytes).sum::<usize>()
    }
}
