//! The bounds an operator may move, with their defaults and how far each may go.
//!
//! One row of the table below is one key of `[limits]`: its name, its field, default, least and most.
//! RFC 6120 §13.12; XEP-0205.

/// One key of `[limits]`: what the reader needs to judge it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitKey {
    /// The key, its unit last.
    pub(super) name: &'static str,
    /// The least accepted value.
    pub(super) least: u64,
    /// The most accepted value.
    pub(super) most: u64,
    /// Its default, also what an error proposes to write.
    pub(super) default: u64,
    /// Puts a judged value in its place.
    pub(super) set: fn(&mut Limits, u64),
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:literal in $least:literal..=$most:literal;)*) => {
        /// Every bound an operator may move.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// The keys of `[limits]`.
        pub(super) const KEYS: &[LimitKey] = &[$(LimitKey {
            name: stringify!($name),
            least: $least,
            most: $most,
            default: $default,
            // The reader judged `least..=most`, which fits: the assertion below says so.
            set: |limits, value| limits.$name = <$type>::try_from(value).unwrap_or(<$type>::MAX),
        },)*];

        $(const _: () = {
            let [least, default, most, fits]: [u64; 4] = [$least, $default, $most, <$type>::MAX as u64];
            assert!(least <= default && default <= most && most <= fits);
        };)*
    };
}

limits! {
    /// Bytes of memory of the whole process; near it nobody new is let in, then who holds most goes. The default is what
    /// the other defaults come to with as many idle sessions in TLS as `connections` allows.
    memory_max: u64 = 536_870_912 in 16_777_216..=1_099_511_627_776;
    /// Connections at the same time; the process's descriptor limit may stop earlier.
    connections: u32 = 50_000 in 1..=10_000_000;
    /// Connections at the same time that have not logged in; who comes then waits in the kernel's queue.
    connections_before_login: u32 = 4_096 in 1..=10_000_000;
    /// Handshakes of TLS under way at the same time.
    handshakes: u32 = 1_024 in 1..=10_000_000;
    /// Connections at the same time from one IPv4 address or one IPv6 /64 that have not logged in.
    connections_before_login_per_address: u32 = 128 in 1..=10_000_000;
    /// Connections at the same time from one IPv4 address or one IPv6 /64. A guess: an office behind one address.
    connections_per_address: u32 = 256 in 1..=10_000_000;
    /// New connections a minute from one IPv4 address or one IPv6 /64. A guess: that office after a power cut.
    connects_per_address_per_minute: u32 = 1_200 in 1..=10_000_000;
    /// Largest stanza of a bound session, from its first `<` to its last `>`.
    stanza_bytes: u32 = 262_144 in 10_000..=16_777_216;
    /// Largest element before login; RFC 6120 §13.12 forbids less than 10,000.
    stanza_bytes_before_login: u32 = 10_000 in 10_000..=65_536;
    /// From accept to a bound session: enough for a phone on 2G, too short for a flood to pile up.
    negotiation_timeout_s: u32 = 30 in 1..=3_600;
    /// Bytes that one session may send in a second, four times as many at once; past it it is read later. 0: no bound.
    session_bytes_per_s: u64 = 4_194_304 in 0..=1_000_000_000;
    /// Stanzas of one session in a second, in the same way; one that causes more counts for more. 0: no bound.
    session_stanzas_per_s: u64 = 10_000 in 0..=100_000_000;
    /// Bytes waiting for one slow reader before its connection is closed.
    outbox_bytes: u32 = 1_048_576 in 65_536..=1_073_741_824;
    /// The same for a component, which reads for all of its users.
    component_outbox_bytes: u32 = 8_388_608 in 65_536..=1_073_741_824;
    /// Bytes waiting for all readers together.
    outbox_bytes_total: u64 = 67_108_864 in 1_048_576..=1_099_511_627_776;
    /// Bytes of unfinished stanzas of all connections together.
    partial_stanza_bytes_total: u64 = 33_554_432 in 1_048_576..=1_099_511_627_776;
    /// Sessions at the same time of one account.
    resources_per_account: u32 = 100 in 1..=100_000;
    /// Failed logins on one stream before it is closed; RFC 6120 §6.4.5 recommends 2 to 5.
    sasl_attempts: u32 = 4 in 2..=10;
    /// Passwords waiting for the hashing thread; more are told to come back (`temporary-auth-failure`).
    hashes_waiting: u32 = 4_096 in 1..=65_536;
    /// Passwords remembered as a keyed hash in memory, so that a good one is not hashed slowly again; 0 turns it off.
    verifiers: u32 = 1_024 in 0..=1_000_000;
    /// How long one is remembered.
    verifier_lifetime_s: u32 = 3_600 in 1..=604_800;
    /// Accounts that one address may make in an hour, where anybody or the invited may.
    registrations_per_address_per_hour: u32 = 10 in 0..=1_000_000;
    /// How long a session may be silent before the server asks whether it is there; 0: as long as it likes.
    ping_after_s: u32 = 600 in 0..=86_400;
    /// How long it has to answer before its connection is dropped.
    ping_timeout_s: u32 = 60 in 1..=3_600;
    /// Bytes of one presence that is kept and broadcast.
    presence_bytes: u32 = 16_384 in 1_024..=262_144;
    /// Contacts of one account, those that only ask included.
    roster_items: u32 = 1_000 in 1..=100_000;
    /// Subscription requests of one account that wait for an answer; more are dropped without a word.
    subscription_requests: u32 = 100 in 1..=10_000;
    /// Messages that wait for one account that is away; past it the sender gets `service-unavailable`.
    offline_messages: u32 = 1_000 in 0..=100_000;
    /// Bytes of them; they leave at once when the account comes back, so at most half of `outbox_bytes`.
    offline_bytes: u64 = 524_288 in 0..=67_108_864;
    /// JIDs that one account may block.
    blocked_jids: u32 = 1_000 in 0..=100_000;
    /// Bytes of them, 16 more counted for each; at most an eighth of `outbox_bytes`.
    blocked_bytes: u32 = 65_536 in 1_024..=16_777_216;
    /// Bytes of one vCard, its photo included.
    vcard_bytes: u32 = 65_536 in 1_024..=1_048_576;
    /// Elements of private XML of one account.
    private_elements: u32 = 100 in 0..=10_000;
    /// Bytes of them.
    private_bytes: u64 = 262_144 in 0..=16_777_216;
    /// Changes not yet on disk; past half, readers whose stanzas would write wait, past all they are refused.
    overlay_bytes: u64 = 4_194_304 in 65_536..=1_073_741_824;
}
