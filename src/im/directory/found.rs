//! Finding: who is there under an address, and whether they may meet.

use super::{Directory, Resources, Route};
use crate::ids::SessionId;
use crate::jid::{JID_BYTES_MAX, JidRef};

/// Somebody who is online, found by a full JID.
#[derive(Clone, Copy, Debug)]
pub struct There<'a> {
    /// The address.
    pub to: JidRef<'a>,
    /// Its session.
    pub session: SessionId,
    /// Whether its account has blocked anybody.
    pub blocks: bool,
}

impl Directory {
    /// The session of exactly this full JID.
    pub fn find(&self, jid: JidRef<'_>) -> Option<SessionId> {
        let resource = jid.resourcepart()?;
        let mut resources = self.resources(jid.bare());
        resources.find(|(_, session)| session.jid.as_ref().resourcepart() == Some(resource)).map(|(id, _)| id)
    }

    /// Where stanzas for this full JID go, its domain being hosted here.
    pub fn route(&self, jid: JidRef<'_>) -> Route {
        self.find(jid).map_or(Route::Nobody, Route::Local)
    }

    /// Whether an account that is online has blocked `by`. Never one of its own resources, whatever its list says
    /// (XEP-0191 §5).
    pub fn has_blocked(&self, bare: &str, by: JidRef<'_>) -> bool {
        let blocked = self.online(bare).and_then(|online| online.blocked.as_deref());
        blocked.is_some_and(|blocked| by.bare() != bare && blocked.matches(by))
    }

    /// Whether the account of a session has blocked anybody.
    pub fn blocks(&self, id: SessionId) -> bool {
        let name = self.get(id).and_then(|session| self.names.get(session.name as usize));
        name.and_then(|name| name.online.as_deref()).is_some_and(|online| online.blocked.is_some())
    }

    /// Who is online with exactly this full JID. Sessions' addresses are prepared: one that is the same to the letter is,
    /// too.
    pub fn there<'a>(&self, text: &'a str) -> Option<There<'a>> {
        let to = Some(text).filter(|text| text.len() <= JID_BYTES_MAX).map(JidRef::of_prepared)?;
        let (resource, online) = (to.resourcepart()?, self.online(to.bare())?);
        let mut resources = Resources { sessions: &self.sessions, next: online.first };
        let (session, _) = resources.find(|(_, session)| session.jid.resourcepart() == Some(resource))?;
        Some(There { to, session, blocks: online.blocked.is_some() })
    }
}
