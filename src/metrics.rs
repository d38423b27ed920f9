//! Counters: what happened since the start, and what is there now.
//!
//! Plain numbers in the loop; whoever asks (the control socket, an embedding host) gets a copy.

/// Counters of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused at accept, for a limit.
    pub refused: u64,
    /// Connections that flipped to TLS.
    pub flips: u64,
    /// TLS handshakes that were completed.
    pub handshakes: u64,
    /// Transports that failed: TLS or TCP.
    pub transport_failures: u64,
    /// Sessions bound.
    pub bound: u64,
    /// Streams that ended with an error of ours.
    pub stream_errors: u64,
    /// Stanzas relayed between sessions, once a target.
    pub stanzas_relayed: u64,
    /// Accounts that were made in band.
    pub registrations: u64,
    /// Silent sessions that were asked whether they are there.
    pub pings: u64,
    /// Messages that were kept for somebody who was away.
    pub messages_kept: u64,
    /// Subscription requests that found no room, and were dropped without a word.
    pub requests_dropped: u64,
    /// Presence stanzas delivered to those who may see them.
    pub presence_delivered: u64,
    /// Contacts that were gone through, to tell or to hear who is there.
    pub contacts_walked: u64,
    /// Stanza errors sent.
    pub stanza_errors: u64,
    /// Streams closed because the peer did not read.
    pub slow_readers: u64,
    /// Frames parked for a row of the store.
    pub parked: u64,
    /// Times that a session sent more than its rate, and was not read for a while.
    pub slowed: u64,
    /// Connections that had not logged in and gave way to others.
    pub shed_before_login: u64,
    /// Streams that ended because all unfinished stanzas together took too much.
    pub shed_partial: u64,
    /// Sessions that ended because memory was short.
    pub shed_sessions: u64,
    /// Logins turned away because too many passwords wait to be hashed.
    pub hash_refused: u64,
    /// The longest round of the loop, from the events it woke for to its next wait, in microseconds.
    pub tick_longest_us: u64,
}

impl Metrics {
    /// Every counter with its name.
    pub fn named(&self) -> [(&'static str, u64); 23] {
        [
            ("accepted", self.accepted),
            ("refused", self.refused),
            ("flips", self.flips),
            ("handshakes", self.handshakes),
            ("transport_failures", self.transport_failures),
            ("bound", self.bound),
            ("stream_errors", self.stream_errors),
            ("stanzas_relayed", self.stanzas_relayed),
            ("registrations", self.registrations),
            ("pings", self.pings),
            ("messages_kept", self.messages_kept),
            ("requests_dropped", self.requests_dropped),
            ("presence_delivered", self.presence_delivered),
            ("contacts_walked", self.contacts_walked),
            ("stanza_errors", self.stanza_errors),
            ("slow_readers", self.slow_readers),
            ("parked", self.parked),
            ("slowed", self.slowed),
            ("shed_before_login", self.shed_before_login),
            ("shed_partial", self.shed_partial),
            ("shed_sessions", self.shed_sessions),
            ("hash_refused", self.hash_refused),
            ("tick_longest_us", self.tick_longest_us),
        ]
    }
}
