//! Messages: RFC 6120 §10.3.1, the delivery table of RFC 6121 §8.5.4, and what waits (XEP-0160).
//!
//! ```text
//! full JID there ──▶ that resource     bare ──▶ all with a priority ≥ 0     nobody ──▶ it waits, or an error
//! ```
//!
//! Who writes to an account that does not exist gets what a silent account would have given (RFC 6121 §11): a
//! message that would wait is taken without a word, one that would not is refused.

use super::{Address, Dispatch, Frame, Promise, address};
use crate::im::directory::Route;
use crate::im::offline::{self, Kept};
use crate::im::session::SessionFlags;
use crate::im::stop::Stop;
use crate::im::subscribing::BLOCKED;
use crate::im::{accounts, blocks};
use crate::jid::JidRef;
use crate::stanza::{MessageType, StanzaCondition};
use crate::xep::delay;
use crate::xml::{CLIENT, relay};

const NS_CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const NS_HINTS: &str = "urn:xmpp:hints";

/// What is done with a message that nobody takes now (XEP-0160 §3, XEP-0334).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// It waits.
    Keep,
    /// It is refused: its sender does not want it to wait.
    Refuse,
    /// It says nothing that matters later, such as "is typing".
    Drop,
}

impl Dispatch<'_> {
    pub(super) fn message(&mut self, frame: Frame<'_>) -> Result<Promise, Stop> {
        let kind = MessageType::parse(frame.head.attr(frame.bytes, "type").as_deref());
        let mut scratch = std::mem::take(&mut self.columns.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        let outcome = match address(raw.as_deref(), &mut scratch) {
            Address::None => self.message_to_self(frame, kind),
            Address::Malformed => Err(StanzaCondition::JidMalformed.into()),
            Address::Jid(to) => self.message_to(frame, kind, to),
        };
        self.columns.scratch.jid = scratch;
        outcome.map(|()| Promise::None)
    }

    /// Without `to` it goes to the sender's own bare JID (RFC 6120 §10.3.1).
    fn message_to_self(&mut self, frame: Frame<'_>, kind: MessageType) -> Result<(), Stop> {
        let Some(sender) = self.columns.directory.get(frame.sender) else { return Ok(()) };
        let own = sender.jid.to_bare();
        self.message_to_bare(frame, kind, own.as_ref())
    }

    fn message_to(&mut self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<(), Stop> {
        self.meet(frame, to)?;
        match self.route(to) {
            Route::Local(target) => {
                self.deliver(frame, target);
                return Ok(());
            }
            Route::Component(conn) => {
                self.deliver_to_component(frame, conn);
                return Ok(());
            }
            Route::Peer(_) | Route::Remote => return Err(StanzaCondition::RemoteServerNotFound.into()),
            Route::Nobody => {}
        }
        if to.localpart().is_none() || !self.columns.hosts.is_hosted(to.domainpart()) {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        if to.resourcepart().is_none() {
            return self.message_to_bare(frame, kind, to);
        }
        match kind {
            MessageType::Chat => self.message_to_bare(frame, kind, to.to_bare()),
            MessageType::Normal | MessageType::Groupchat => Err(StanzaCondition::ServiceUnavailable.into()),
            MessageType::Headline | MessageType::Error => Ok(()),
        }
    }

    /// Whether neither has blocked the other, as far as memory knows (XEP-0191 §3.2): who is blocked gets what a
    /// silent account would have given.
    pub(super) fn meet(&self, frame: Frame<'_>, to: JidRef<'_>) -> Result<(), Stop> {
        let directory = &self.columns.directory;
        let Some(sender) = directory.get(frame.sender) else { return Ok(()) };
        if directory.has_blocked(sender.jid.bare(), to) {
            return Err(BLOCKED.into());
        }
        if directory.has_blocked(to.bare(), sender.jid.as_ref()) {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        Ok(())
    }

    fn message_to_bare(&mut self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<(), Stop> {
        match kind {
            MessageType::Error => Ok(()),
            MessageType::Groupchat => Err(StanzaCondition::ServiceUnavailable.into()),
            MessageType::Headline => {
                self.deliver_to_resources(frame, to.bare(), non_negative);
                Ok(())
            }
            MessageType::Normal | MessageType::Chat => {
                match self.deliver_to_resources(frame, to.bare(), non_negative) {
                    0 => self.message_to_nobody(frame, to),
                    _ => Ok(()),
                }
            }
        }
    }

    fn message_to_nobody(&mut self, frame: Frame<'_>, to: JidRef<'_>) -> Result<(), Stop> {
        match keeping(frame) {
            Keeping::Keep => {}
            Keeping::Refuse => return Err(StanzaCondition::ServiceUnavailable.into()),
            Keeping::Drop => return Ok(()),
        }
        let Some(sender) = self.columns.directory.get(frame.sender) else { return Ok(()) };
        let is_anonymous =
            self.columns.directory.resources(to.bare()).any(|(_, session)| session.flags.has(SessionFlags::ANONYMOUS));
        let Some(localpart) = to.localpart().filter(|_| !is_anonymous) else { return Ok(()) };
        let store = &mut *self.columns.store;
        store.need([accounts::key(to.domainpart(), localpart), blocks::key(to), offline::meta_key(to)])?;
        if accounts::get(store, to.domainpart(), localpart)?.is_none() {
            return Ok(());
        }
        if blocks::get(store, to)?.matches(sender.jid.as_ref()) {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        let mut stanza = Vec::with_capacity(frame.bytes.len() + sender.jid.as_str().len() + 16);
        relay(frame.head, frame.bytes, frame.ns, sender.jid.as_str(), frame.lang, &mut stanza);
        let stanza = delay::without_claims(stanza, to.domainpart());
        let bounds = (self.columns.bounds.offline_messages_max, self.columns.bounds.offline_bytes_max);
        match offline::add(store, to, self.columns.now.unix_ms, &stanza, bounds)? {
            Kept::Yes => {
                self.columns.metrics.messages_kept += 1;
                Ok(())
            }
            Kept::Full => Err(StanzaCondition::ServiceUnavailable.into()),
        }
    }
}

/// What the message itself asks for.
fn keeping(frame: Frame<'_>) -> Keeping {
    let Frame { head, bytes, ns, .. } = frame;
    let hint = |name: &str| head.child(bytes, ns, NS_HINTS, name).is_some();
    if hint("no-store") || hint("no-permanent-store") {
        return Keeping::Refuse;
    }
    if hint("store") || head.child_count() as usize > head.children().len() {
        return Keeping::Keep;
    }
    let matters = head.children().iter().any(|child| {
        let uri = child.ns(bytes, ns);
        uri != NS_CHAT_STATES && uri != NS_HINTS && !(uri == CLIENT && child.local(bytes) == "thread")
    });
    if matters { Keeping::Keep } else { Keeping::Drop }
}

fn non_negative(priority: i8) -> bool {
    priority >= 0
}
