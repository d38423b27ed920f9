//! Presence: initial, later and unavailable; subscriptions (RFC 6121 §3, §4).
//!
//! ```text
//! no `to`: kept, broadcast to contacts with From and the own resources; the first one greets the newcomer
//! `to`:    subscribe … ─▶ im/subscribing        all else ─▶ dispatch/directed
//! ```

use super::{Address, Dispatch, Frame, Promise, address};
use crate::ids::SessionId;
use crate::im::announce::{UNAVAILABLE, write_presence};
use crate::im::columns::Effect;
use crate::im::directory::{Presence, Replay};
use crate::im::presence::{Availability, BadPresence, Reading, is_availability};
use crate::im::sender::Sender;
use crate::im::session::{Directed, SessionFlags};
use crate::im::stop::{Refusal, Stop};
use crate::im::subscribing::Subscribing;
use crate::im::subscription::Ask;
use crate::im::{motd, offline, roster};
use crate::jid::{Jid, JidRef};
use crate::stanza::{PresenceType, StanzaCondition};
use crate::xep::{avatar, delay};
use crate::xml::{CLIENT, Expect, Scan, Step, StreamNs, Top, Tree, XmlLimits, relay_as};

/// A presence that is too long to be kept.
pub(super) const TOO_LONG: Refusal = Refusal {
    condition: StanzaCondition::PolicyViolation,
    error_type: None,
    text: Some("this presence is longer than the server keeps"),
    application: None,
};

/// What a newcomer is owed: read before anything is changed in memory.
#[derive(Debug, Default)]
struct Owed {
    requests: Vec<(String, Vec<u8>)>,
    messages: Vec<offline::Waiting>,
    motd: Option<(u64, String)>,
}

impl Dispatch<'_> {
    pub(super) fn presence(&mut self, frame: Frame<'_>) -> Result<Promise, Stop> {
        let kind = PresenceType::parse(frame.head.attr(frame.bytes, "type").as_deref());
        let kind = kind.ok_or(StanzaCondition::BadRequest)?;
        let mut scratch = std::mem::take(&mut self.columns.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        let outcome = match (address(raw.as_deref(), &mut scratch), frame.sender) {
            (Address::Malformed, _) => Err(StanzaCondition::JidMalformed.into()),
            (Address::None, Sender::Session(id)) => self.presence_to_all(frame, id, kind),
            (Address::Jid(to), Sender::Session(id)) => self.presence_to(frame, id, kind, to),
            (Address::Jid(to), Sender::Remote { jid, conn }) => self.presence_from_afar(frame, jid, conn, kind, to),
            // Its stream has ended before that.
            (Address::None, Sender::Remote { .. }) => Ok(Promise::None),
        };
        self.columns.scratch.jid = scratch;
        outcome
    }

    fn presence_to_all(&mut self, frame: Frame<'_>, id: SessionId, kind: PresenceType) -> Result<Promise, Stop> {
        match kind {
            PresenceType::Available => self.available(frame, id)?,
            PresenceType::Unavailable => self.unavailable(frame, id)?,
            PresenceType::Error | PresenceType::Probe => {}
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed => return Err(StanzaCondition::BadRequest.into()),
        }
        Ok(Promise::None)
    }

    /// Initial or later presence (§§4.2, 4.4).
    fn available(&mut self, frame: Frame<'_>, session: SessionId) -> Result<(), Stop> {
        let priority = availability(frame).map_err(|BadPresence| StanzaCondition::BadRequest)?.priority;
        if frame.bytes.len() > self.columns.bounds.presence_bytes_max {
            return Err(TOO_LONG.into());
        }
        let Some(sender) = self.columns.directory.get(session) else { return Ok(()) };
        let jid = sender.jid.clone();
        let (is_initial, was_listening) = (!sender.is_available(), sender.priority().is_some_and(|old| old >= 0));
        let owed = match sender.flags.has(SessionFlags::ANONYMOUS) {
            true => Owed::default(),
            false => self.owed(&jid, is_initial, priority >= 0 && !was_listening)?,
        };
        // Nothing misses from here on.
        let mut payload = std::mem::take(&mut self.columns.scratch.out);
        self.write_payload(frame, jid.as_ref(), &mut payload);
        let id = frame.head.attr(frame.bytes, "id");
        let presence = Presence { id: id.as_deref(), payload: &payload };
        self.columns.directory.set_available(session, priority, presence);
        self.columns.broadcast(jid.as_ref(), presence, None);
        self.columns.scratch.out = payload;
        if is_initial {
            self.columns.greet(session);
        }
        self.hand_over(session, &jid, &owed);
        Ok(())
    }

    /// The stanza behind `<presence`, its addresses and its id, with the avatar's hash (XEP-0153).
    fn write_payload(&self, frame: Frame<'_>, jid: JidRef<'_>, out: &mut Vec<u8>) {
        out.clear();
        let top = Top { without_id: true, ..Top::default() };
        relay_as(frame.head, frame.bytes, frame.ns, top, frame.lang, out);
        out.drain(.."<presence".len());
        if let Some(hash) = self.avatar(jid.bare()) {
            avatar::inject(frame.head, frame.bytes, frame.ns, &hash, out);
        }
    }

    pub(super) fn avatar(&self, bare: &str) -> Option<[u8; 20]> {
        self.columns.directory.online(bare)?.avatar.as_deref().copied()
    }

    /// Requests and messages that have waited, and the message of the day.
    fn owed(&mut self, jid: &Jid, is_initial: bool, listens: bool) -> Result<Owed, Stop> {
        let mut owed = Owed::default();
        if !is_initial && !listens {
            return Ok(owed);
        }
        let account = jid.as_ref().to_bare();
        let store = &mut *self.columns.store;
        let (roster_key, offline_key) = (roster::meta_key(account), offline::meta_key(account));
        store.need([roster_key, offline_key, motd::key(account.domainpart())])?;
        if is_initial && roster::meta(store, account)?.requests > 0 {
            owed.requests = roster::requests(store, account)?;
        }
        if listens && offline::meta(store, account)?.messages > 0 {
            owed.messages = offline::list(store, account)?;
        }
        if is_initial {
            owed.motd = motd::unseen(store, account)?;
        }
        Ok(owed)
    }

    fn hand_over(&mut self, id: SessionId, jid: &Jid, owed: &Owed) {
        for (contact, request) in &owed.requests {
            // Whoever is blocked meanwhile is not heard (XEP-0191 §3.3).
            if !self.columns.directory.has_blocked(jid.bare(), JidRef::of_prepared(contact)) {
                self.columns.send_in_turn(id, |out| out.extend_from_slice(request));
            }
        }
        let known = self.columns.directory.online(jid.bare()).and_then(|online| online.replay.as_deref().copied());
        let motd = owed.motd.as_ref().filter(|(number, _)| known.is_none_or(|known| known.motd != Some(*number)));
        if let Some((_, text)) = motd {
            self.columns.send(id, |out| motd::write(jid.as_ref(), text, out));
        }
        let motd = motd.map(|(number, _)| *number);
        let Some(mut online) = self.columns.directory.online_mut(jid.bare()) else { return };
        let left = known.and_then(|known| known.up_to);
        let waiting = owed.messages.iter().filter(|message| left.is_none_or(|left| message.number > left));
        let up_to = waiting.clone().map(|message| message.number).max();
        if up_to.is_none() && motd.is_none() {
            return;
        }
        match online.replay.as_deref_mut() {
            Some(replay) if replay.session == id || replay.has_left => {
                let (up_to, motd) = (up_to.or(replay.up_to), motd.or(replay.motd));
                *replay = Replay { session: id, up_to, motd, has_left: false };
            }
            // What another session has not taken yet is its own; what came after that may come twice.
            Some(_) => {}
            None => online.replay = Some(Box::new(Replay { session: id, up_to, motd, has_left: false })),
        }
        drop(online);
        self.columns.effects.push(Effect::TellDrained { session: id });
        for message in waiting {
            self.columns.send(id, |out| delay::write(&message.stanza, jid.domainpart(), message.unix_ms, out));
        }
    }

    /// The resource says goodbye (§4.5): all of its account, itself included, its contacts and everyone who got
    /// directed presence hear it in its own words.
    fn unavailable(&mut self, frame: Frame<'_>, session: SessionId) -> Result<(), Stop> {
        if frame.bytes.len() > self.columns.bounds.presence_bytes_max {
            return Err(TOO_LONG.into());
        }
        let Some(sender) = self.columns.directory.get(session) else { return Ok(()) };
        let (jid, was_available) = (sender.jid.clone(), sender.is_available());
        let mut payload = std::mem::take(&mut self.columns.scratch.out);
        payload.clear();
        let top = Top { without_id: true, ..Top::default() };
        relay_as(frame.head, frame.bytes, frame.ns, top, frame.lang, &mut payload);
        payload.drain(.."<presence".len());
        let id = frame.head.attr(frame.bytes, "id");
        let presence = Presence { id: id.as_deref(), payload: &payload };
        if was_available {
            let to = Some(jid.as_str());
            self.columns.send_in_turn(session, |out| write_presence(jid.as_str(), to, presence, out));
        }
        self.went(session, presence);
        self.columns.scratch.out = payload;
        Ok(())
    }

    /// Ends a session: what a graceful goodbye would have done, in the server's words (§4.5.2).
    pub fn end_session(&mut self, id: SessionId) {
        self.went(id, UNAVAILABLE);
        if let Some(session) = self.columns.directory.get(id) {
            let bare = session.jid.to_bare();
            if let Some(mut online) = self.columns.directory.online_mut(bare.as_str())
                && online.replay.as_ref().is_some_and(|replay| replay.session == id && !replay.has_left)
            {
                // What was on its way may not have arrived: it waits again.
                online.replay = None;
            }
        }
        self.columns.directory.remove(id);
    }

    /// Tells all who knew that the resource was there; `presence` is what they hear.
    fn went(&mut self, id: SessionId, presence: Presence<'_>) {
        let was_available = self.columns.directory.set_unavailable(id);
        let Some(mut session) = self.columns.directory.get_mut(id) else { return };
        let directed = session.directed.take();
        let (jid, is_anonymous) = (session.jid.clone(), session.flags.has(SessionFlags::ANONYMOUS));
        drop(session);
        if was_available && !is_anonymous {
            self.note_goodbye(&jid, presence);
        }
        if was_available {
            self.columns.broadcast(jid.as_ref(), presence, Some(id));
        }
        if let Some(Directed(targets)) = directed.as_deref() {
            self.tell_directed(&jid, was_available, targets, presence);
        }
    }

    /// The account's last available resource has gone (XEP-0012 §4).
    fn note_goodbye(&mut self, jid: &Jid, presence: Presence<'_>) {
        let account = jid.to_bare();
        if self.columns.directory.resources(account.as_str()).any(|(_, session)| session.is_available()) {
            return;
        }
        let status = status_of(presence.payload);
        let now = self.columns.now;
        self.columns.goodbyes.note(account, now.unix_s(), status, now.mono_ms);
    }

    /// A stanza about a subscription: bare addresses, both sides' rows, and what follows from them (§3).
    pub(super) fn subscription(
        &mut self,
        frame: Frame<'_>,
        own: &Jid,
        to: JidRef<'_>,
        ask: Ask,
    ) -> Result<Promise, Stop> {
        let sender = self.columns.directory.session(frame.sender);
        if sender.is_none_or(|sender| sender.flags.has(SessionFlags::ANONYMOUS)) {
            return Err(StanzaCondition::NotAllowed.into());
        }
        let contact = to.to_bare();
        let mut stanza = Vec::with_capacity(frame.bytes.len() + own.as_str().len() + 16);
        let top = Top { from: Some(own.as_str()), to: Some(contact.as_str()), without_id: false };
        relay_as(frame.head, frame.bytes, frame.ns, top, frame.lang, &mut stanza);
        if stanza.len() > self.columns.bounds.presence_bytes_max {
            return Err(TOO_LONG.into());
        }
        let mut subscribing = Subscribing::new(&mut self.columns);
        subscribing.send(own.as_ref(), contact, ask, &stanza)?;
        subscribing.finish();
        Ok(Promise::Answer)
    }
}

/// What the children say that the server acts on. Clients write them plainly, and then nothing is built for it.
fn availability(frame: Frame<'_>) -> Result<Availability, BadPresence> {
    let Frame { head, bytes, ns, .. } = frame;
    let mut reading = Reading::default();
    if head.child_count() as usize == head.children().len() {
        let mut theirs = head.children().iter().filter(|child| is_availability(child.local(bytes)));
        let all_plain = theirs.all(|child| child.plain_text(bytes).is_some());
        if all_plain {
            for child in head.children().iter().filter(|child| child.is(bytes, ns, CLIENT, child.local(bytes))) {
                reading.child(child.local(bytes), child.plain_text(bytes).unwrap_or_default())?;
            }
            return Ok(reading.end());
        }
    }
    // What passed the scan is a tree, unless it is too long.
    let tree = Tree::parse(bytes, head, ns).map_err(|_| BadPresence)?;
    for child in tree.root().children().filter(|child| child.ns() == CLIENT) {
        reading.child(child.name(), &child.text())?;
    }
    Ok(reading.end())
}

/// What `<status/>` says in a presence payload; empty if there is none.
fn status_of(payload: &[u8]) -> String {
    if !payload.windows(7).any(|bytes| bytes == b"<status") {
        return String::new();
    }
    let stanza = [b"<presence", payload].concat();
    let (mut scan, ns) = (Scan::default(), StreamNs::standard());
    let limits = XmlLimits::with_frame_bytes(u32::MAX);
    match scan.step(&stanza, Expect::Frames, ns, &limits) {
        Ok(Step::Frame { .. }) => {}
        _ => return String::new(),
    }
    let tree = Tree::parse(&stanza, scan.head(), ns);
    tree.ok().and_then(|tree| Some(tree.root().child(CLIENT, "status")?.text().into_owned())).unwrap_or_default()
}
