//! Messages: RFC 6120 §10.3.1 and the delivery table of RFC 6121 §8.5.4.
//!
//! There is no offline store yet, so where the table says "store or error" the answer is the error.
//! A missing account and a silent one get the same answer (RFC 6120 §13.10.2, RFC 6121 §11).

use super::{Address, Dispatch, Frame, Promise, address};
use crate::im::directory::Route;
use crate::im::stop::Stop;
use crate::jid::JidRef;
use crate::stanza::{MessageType, StanzaCondition};

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
        let bare = sender.jid.as_ref().bare().to_owned();
        self.message_to_bare(frame, kind, &bare)
    }

    fn message_to(&mut self, frame: Frame<'_>, kind: MessageType, to: JidRef<'_>) -> Result<(), Stop> {
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
        if to.localpart().is_none() {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        if to.resourcepart().is_none() {
            return self.message_to_bare(frame, kind, to.bare());
        }
        match kind {
            MessageType::Chat => self.message_to_bare(frame, kind, to.bare()),
            MessageType::Normal | MessageType::Groupchat => Err(StanzaCondition::ServiceUnavailable.into()),
            MessageType::Headline | MessageType::Error => Ok(()),
        }
    }

    fn message_to_bare(&mut self, frame: Frame<'_>, kind: MessageType, bare: &str) -> Result<(), Stop> {
        match kind {
            MessageType::Error => Ok(()),
            MessageType::Groupchat => Err(StanzaCondition::ServiceUnavailable.into()),
            MessageType::Headline => {
                self.deliver_to_resources(frame, bare, non_negative);
                Ok(())
            }
            MessageType::Normal | MessageType::Chat => match self.deliver_to_resources(frame, bare, non_negative) {
                0 => Err(StanzaCondition::ServiceUnavailable.into()),
                _ => Ok(()),
            },
        }
    }
}

fn non_negative(priority: i8) -> bool {
    priority >= 0
}
