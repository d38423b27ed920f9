//! Keys: a table byte, then parts that say where they end and sort as they read.
//!
//! ```text
//! table ‖ text 00 01 ‖ text 00 01 ‖ number (8 bytes, big-endian) ‖ …
//! ```
//!
//! Inside a text the byte 00 is written 00 FF. So no part is a prefix of another, keys compare like
//! the lists of their parts, and everything below a part is one range. JIDs go in in prepared form;
//! ids of this process never do.

use super::KeyRange;

/// The tables; a byte is never given to another one. `0xFF` is not a table: ranges end there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// What the file itself is; nobody but the engine writes it.
    Meta = 0x00,
    /// domain ‖ localpart → account.
    Accounts = 0x01,
    /// domain → how many accounts there are and what they have.
    AccountCounters = 0x02,
    /// name → a secret that the server has made for itself.
    Secrets = 0x03,
    /// domain ‖ localpart ‖ contact → roster item.
    Roster = 0x04,
    /// domain ‖ localpart → version and counts of the roster.
    RosterMeta = 0x05,
    /// domain ‖ localpart ‖ contact → a subscription request that waits for its answer.
    Requests = 0x06,
    /// domain ‖ localpart ‖ roster version → the contact that was removed then.
    RosterGone = 0x07,
    /// domain ‖ localpart ‖ sequence number → a message that waits for its recipient.
    Offline = 0x08,
    /// domain ‖ localpart → how many messages wait, and the next sequence number.
    OfflineMeta = 0x09,
    /// domain ‖ localpart → the block list.
    Blocks = 0x0A,
    /// domain ‖ localpart → vCard.
    VCards = 0x0B,
    /// domain ‖ localpart → SHA-1 of the vCard's photo.
    VCardPhotos = 0x0C,
    /// domain ‖ localpart ‖ namespace ‖ name → private XML.
    Private = 0x0D,
    /// domain ‖ localpart → how much private XML there is.
    PrivateMeta = 0x0E,
    /// domain ‖ localpart → when the account was last there.
    LastActivity = 0x0F,
    /// domain → the message of the day.
    Motd = 0x10,
    /// domain ‖ localpart → the message of the day that it has seen.
    MotdSeen = 0x11,
    /// token → invitation.
    Invites = 0x12,
}

impl Table {
    /// All of them, in the order of their bytes.
    pub const ALL: [Self; 19] = [
        Self::Meta,
        Self::Accounts,
        Self::AccountCounters,
        Self::Secrets,
        Self::Roster,
        Self::RosterMeta,
        Self::Requests,
        Self::RosterGone,
        Self::Offline,
        Self::OfflineMeta,
        Self::Blocks,
        Self::VCards,
        Self::VCardPhotos,
        Self::Private,
        Self::PrivateMeta,
        Self::LastActivity,
        Self::Motd,
        Self::MotdSeen,
        Self::Invites,
    ];
}

const ESCAPED: u8 = 0x00;
const ESCAPE_ZERO: u8 = 0xFF;
const ESCAPE_END: u8 = 0x01;

/// A key that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key of a whole table.
    pub fn new(table: Table) -> Self {
        Self(vec![table as u8])
    }

    /// Adds a text of any length.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.part(text.as_bytes())
    }

    /// Adds bytes of any length.
    #[must_use]
    pub fn part(mut self, part: &[u8]) -> Self {
        self.0.reserve(part.len() + 2);
        for &byte in part {
            self.0.push(byte);
            if byte == ESCAPED {
                self.0.push(ESCAPE_ZERO);
            }
        }
        self.0.extend([ESCAPED, ESCAPE_END]);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// All keys below this one, up from the lowest.
    pub fn range(&self, limit: u32) -> KeyRange {
        KeyRange::under(&self.0, limit)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the parts of a key back, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// The parts behind the table byte; `None` if it is another table's key.
    pub fn of(key: &'a [u8], table: Table) -> Option<Self> {
        key.split_first().filter(|(byte, _)| **byte == table as u8).map(|(_, rest)| Self(rest))
    }

    /// The next part, written as a text.
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.part()?).ok()
    }

    /// The next part, written as bytes.
    pub fn part(&mut self) -> Option<Vec<u8>> {
        let mut part = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if byte == ESCAPED {
                let (&escape, rest) = self.0.split_first()?;
                self.0 = rest;
                match escape {
                    ESCAPE_END => return Some(part),
                    ESCAPE_ZERO => {}
                    _ => return None,
                }
            }
            part.push(byte);
        }
    }

    /// The next part, written as a number.
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    /// Whether the key is read to its end.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// A few bytes of the ones that could be mistaken for each other.
    fn random_part(random: &mut Random) -> Vec<u8> {
        const BYTES: [u8; 8] = [0x00, 0x01, 0x02, b'a', b'b', 0x7F, 0xFE, 0xFF];
        let length = random.next_u64() % 5;
        (0..length).map(|_| BYTES[(random.next_u64() % 8) as usize]).collect()
    }

    fn key(parts: &[Vec<u8>]) -> Vec<u8> {
        parts.iter().fold(Key::new(Table::Accounts), |key, part| key.part(part)).0
    }

    #[test]
    fn keys_sort_like_their_parts_and_read_back() {
        let mut random = Random::seeded(5);
        for round in 0..20_000 {
            let draw = |random: &mut Random| -> Vec<Vec<u8>> {
                (0..1 + random.next_u64() % 3).map(|_| random_part(random)).collect()
            };
            let (a, b) = (draw(&mut random), draw(&mut random));
            assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b), "round {round}: {a:?} {b:?}");
            let bytes = key(&a);
            let mut parts = Parts::of(&bytes, Table::Accounts).unwrap();
            for part in &a {
                assert_eq!(parts.part().as_ref(), Some(part), "round {round}: {a:?}");
            }
            assert!(parts.is_at_end());
        }
    }

    #[test]
    fn a_range_holds_what_is_below_it_and_nothing_else() {
        let mut random = Random::seeded(6);
        for round in 0..20_000 {
            let (domain, other, user) = (random_part(&mut random), random_part(&mut random), random_part(&mut random));
            let range = Key::new(Table::Accounts).part(&domain).range(1);
            let row = key(&[other.clone(), user]);
            let inside = range.from <= row && row < range.to;
            assert_eq!(inside, domain == other, "round {round}: {domain:?} {other:?}");
        }
    }

    /// Which table is behind another one: a new one does not compile until it is here, and in `ALL`.
    fn behind(table: Table) -> Option<Table> {
        use Table::*;
        let at = Table::ALL.iter().position(|other| *other == table);
        match table {
            Meta | Accounts | AccountCounters | Secrets | Roster | RosterMeta | Requests | RosterGone | Offline
            | OfflineMeta | Blocks | VCards | VCardPhotos | Private | PrivateMeta | LastActivity | Motd | MotdSeen
            | Invites => Table::ALL.get(at.unwrap() + 1).copied(),
        }
    }

    #[test]
    fn all_tables_are_listed_by_their_bytes() {
        for (byte, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, byte);
            assert!(behind(table).is_none_or(|next| next as usize == byte + 1));
        }
    }

    #[test]
    fn numbers_sort_and_read_back() {
        let numbers = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        for (at, number) in numbers.iter().enumerate() {
            let key = Key::new(Table::Accounts).text("é").number(*number);
            for higher in &numbers[at + 1..] {
                assert!(key.as_bytes() < Key::new(Table::Accounts).text("é").number(*higher).as_bytes());
            }
            let mut parts = Parts::of(key.as_bytes(), Table::Accounts).unwrap();
            assert_eq!((parts.text().as_deref(), parts.number()), (Some("é"), Some(*number)));
            assert!(parts.is_at_end());
        }
    }

    #[test]
    fn damaged_keys_are_no_parts() {
        assert!(Parts::of(b"", Table::Accounts).is_none());
        assert!(Parts::of(b"\x02a\x00\x01", Table::Accounts).is_none());
        for bytes in [&b"\x01a"[..], b"\x01a\x00", b"\x01a\x00\x02", b"\x01\xFF\x00\x01"] {
            let mut parts = Parts::of(bytes, Table::Accounts).unwrap();
            assert_eq!(parts.text(), None, "{bytes:?}");
        }
        assert_eq!(Parts::of(b"\x011234567", Table::Accounts).unwrap().number(), None);
    }
}
