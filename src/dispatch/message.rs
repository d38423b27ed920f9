//! Messages: RFC 6120 §10.3.1, the delivery table of RFC 6121 §8.5.4, and what waits (XEP-0160).
//!
//! ```text
//! full JID there ──▶ that resource     bare ──▶ all with a priority ≥ 0     nobody ──▶ it waits, or an error
//! ```
//!
//! Who writes to an account that does not exist gets what a silent account would have given (RFC 6121 §11): silence
//! for what would wait. Only a line that is full tells, as XEP-0160 §2 wants it: who fills it may know.

use super::remote::COMPONENT_AWAY;
use super::{Address, Dispatch, Frame, Promise, address};
use crate::im::directory::{Route, There};
use crate::im::offline::{self, Kept};
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::im::subscribing::BLOCKED;
use crate::im::{accounts, blocks, roster};
use crate::jid::JidRef;
use crate::stanza::{MessageType, StanzaCondition};
use crate::xep::delay;
use crate::xml::{CLIENT, Child, relay};

const NS_HINTS: &str = "urn:xmpp:hints";
/// Payloads that are about the moment, or about the message itself: chat states (XEP-0085), hints, ids (XEP-0359).
const SAYS_NOTHING_LATER: [&str; 4] =
    ["http://jabber.org/protocol/chatstates", NS_HINTS, "urn:xmpp:sid:0", "urn:xmpp:delay"];

/// A message says of itself that it has waited here.
const FORGED: Refusal = Refusal {
    condition: StanzaCondition::NotAcceptable,
    error_type: None,
    text: Some("only the recipient's server says how long a message has waited there"),
    application: None,
};

/// What is done with a message that nobody takes now (XEP-0160 §3, XEP-0334).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// It waits.
    Keep,
    /// Its sender does not want it to wait. Who may know that nobody is there gets an error, others silence.
    Refuse,
    /// It says nothing that matters later, such as "is typing".
    Drop,
}

impl Dispatch<'_> {
    pub(super) fn message(&mut self, frame: Frame<'_>) -> Result<Promise, Stop> {
        let kind = MessageType::parse(frame.head.attr(frame.bytes, "type").as_deref());
        let raw = frame.head.attr(frame.bytes, "to");
        if let Some(there) = raw.as_deref().and_then(|text| self.columns.directory.there(text)) {
            return self.message_to_session(frame, kind, there);
        }
        let mut scratch = std::mem::take(&mut self.columns.scratch.jid);
        let outcome = match address(raw.as_deref(), &mut scratch) {
            Address::None => self.message_to_self(frame, kind),
            Address::Malformed => Err(StanzaCondition::JidMalformed.into()),
            Address::Jid(to) => self.message_to(frame, kind, to),
        };
        self.columns.scratch.jid = scratch;
        outcome.map(|()| Promise::None)
    }

    /// What most messages are: for a full JID that is there.
    fn message_to_session(&mut self, frame: Frame<'_>, kind: MessageType, there: There<'_>) -> Result<Promise, Stop> {
        self.refuse_forged(frame, kind, there.to)?;
        let may_be_blocked = there.blocks || frame.sender.session().is_none_or(|id| self.columns.directory.blocks(id));
        if !may_be_blocked || !self.is_stopped(frame, kind, there.to)? {
            self.deliver(frame, there.session);
        }
        Ok(Promise::None)
    }

    /// Without `to` it goes to the sender's own bare JID (RFC 6120 §10.3.1).
    fn message_to_self(&mut self, frame: Frame<'_>, kind: MessageType) -> Result<(), Stop> {
        let Some(sender) = self.columns.directory.session(frame.sender) else { return Ok(()) };
        let own = sender.jid.to_bare();
        self.refuse_forged(frame, kind, own.as_ref())?;
        self.message_to_bare(frame, kind, own.as_ref())
    }

    /// Stamps are the server's to give (XEP-0203 §4). An error may quote one that it has got.
    fn refuse_forged(&self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<(), Stop> {
        let Frame { head, bytes, ns, .. } = frame;
        let sender = frame.sender.jid(self.columns.directory);
        let own = sender.map_or("", |sender| sender.bare());
        if kind != MessageType::Error && delay::is_forged(head, bytes, ns, to, own) {
            return Err(FORGED.into());
        }
        Ok(())
    }

    fn message_to(&mut self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<(), Stop> {
        self.refuse_forged(frame, kind, to)?;
        if self.is_stopped(frame, kind, to)? {
            return Ok(());
        }
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
        if !self.columns.hosts.is_hosted(to.domainpart()) {
            return Err(COMPONENT_AWAY.into());
        }
        if to.localpart().is_none() {
            return self.message_to_admins(frame, kind, to);
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

    /// What is for a domain is for the people who run it (RFC 6120 §10.5.1): its admins, as if it were for each.
    fn message_to_admins(&mut self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<(), Stop> {
        let about = self.about;
        let Some(sender) = frame.sender.jid(self.columns.directory).map(JidRef::to_owned) else { return Ok(()) };
        let admins = about.admins.iter().map(|admin| JidRef::of_prepared(admin));
        let mut outcome = Err(StanzaCondition::ServiceUnavailable.into());
        for admin in admins.filter(|admin| admin.domainpart() == to.domainpart() && to.is_bare()) {
            if self.columns.directory.has_blocked(admin.bare(), sender.as_ref()) {
                continue;
            }
            match self.message_to_bare(frame, kind, admin) {
                Ok(()) => outcome = Ok(()),
                // One that has no room leaves it to the others.
                Err(Stop::Refuse(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        outcome
    }

    /// Whether neither has blocked the other, as far as memory knows (XEP-0191 §3.2): who is blocked gets what a
    /// silent account would have given.
    pub(super) fn meet(&self, frame: Frame<'_>, to: JidRef<'_>) -> Result<(), Stop> {
        let directory = &*self.columns.directory;
        let Some(sender) = frame.sender.jid(directory) else { return Ok(()) };
        if directory.has_blocked(sender.bare(), to) {
            return Err(BLOCKED.into());
        }
        if directory.has_blocked(to.bare(), sender) {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        Ok(())
    }

    /// Whether a message is dropped because its sender is blocked: where an account that is away would have said
    /// nothing, one that is there says nothing either.
    fn is_stopped(&self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<bool, Stop> {
        let Err(stop) = self.meet(frame, to) else { return Ok(false) };
        let is_blocked =
            matches!(&stop, Stop::Refuse(refusal) if refusal.condition == StanzaCondition::ServiceUnavailable);
        let is_silent = match kind {
            MessageType::Error | MessageType::Headline => true,
            MessageType::Chat => keeping(frame) == Keeping::Drop,
            MessageType::Normal => to.resourcepart().is_none() && keeping(frame) == Keeping::Drop,
            MessageType::Groupchat => false,
        };
        if is_blocked && is_silent { Ok(true) } else { Err(stop) }
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
        let keeping = keeping(frame);
        if keeping == Keeping::Drop {
            return Ok(());
        }
        let Some(sender) = frame.sender.jid(self.columns.directory) else { return Ok(()) };
        let is_anonymous =
            self.columns.directory.resources(to.bare()).any(|(_, session)| session.flags.has(SessionFlags::ANONYMOUS));
        let Some(localpart) = to.localpart().filter(|_| !is_anonymous) else { return Ok(()) };
        let own = sender.to_bare();
        let store = &mut *self.columns.store;
        let rows = [accounts::key(to.domainpart(), localpart), blocks::key(to), offline::meta_key(to)];
        let friend = (keeping == Keeping::Refuse).then(|| roster::key(to, own.as_str()));
        store.need(rows.into_iter().chain(friend))?;
        if accounts::get(store, to.domainpart(), localpart)?.is_none() {
            return Ok(());
        }
        if own != to && blocks::get(store, to)?.matches(sender) {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        if keeping == Keeping::Refuse {
            // An error says that nobody is there: that is for those who may know.
            let sees =
                own == to || roster::get(store, to, own.as_str())?.is_some_and(|item| item.state.subscribed().from);
            return if sees { Err(StanzaCondition::ServiceUnavailable.into()) } else { Ok(()) };
        }
        let mut stanza = Vec::with_capacity(frame.bytes.len() + sender.as_str().len() + 16);
        relay(frame.head, frame.bytes, frame.ns, sender.as_str(), frame.lang, &mut stanza);
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

/// What the message itself asks for. `no-permanent-store` allows waiting (XEP-0334 §4): it is about archives.
fn keeping(frame: Frame<'_>) -> Keeping {
    let Frame { head, bytes, ns, .. } = frame;
    let hint = |name: &str| head.child(bytes, ns, NS_HINTS, name).is_some();
    let matters = |child: &Child| {
        let uri = child.ns(bytes, ns);
        let is_thread = uri == CLIENT && child.local(bytes) == "thread";
        !is_thread && !SAYS_NOTHING_LATER.contains(&&*uri)
    };
    let is_worth_it = head.child_count() as usize > head.children().len() || head.children().iter().any(matters);
    match (hint("no-store"), is_worth_it || hint("store")) {
        (_, false) => Keeping::Drop,
        (true, true) => Keeping::Refuse,
        (false, true) => Keeping::Keep,
    }
}

fn non_negative(priority: i8) -> bool {
    priority >= 0
}
