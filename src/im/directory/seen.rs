//! Who elsewhere was last seen available by whom, so that a component that goes takes its contacts with it.
//!
//! ```text
//! presence from afar ──see──▶ Online.seen: (their address, to one resource or to all)
//! unavailable ──lose──▶       the component goes ──lose_domain──▶ each who saw somebody hears of it
//! ```
//!
//! It goes with the account's last session. What is past the bounds is not remembered: who saw it keeps seeing it until
//! the next presence.

use super::{Directory, Weighed as _};
use crate::jid::JidRef;
use crate::limits::{SEEN_BYTES_MAX, SEEN_TOTAL_BYTES_MAX};

/// What one account has seen; sorted.
#[derive(Debug, Default)]
pub struct Seen {
    entries: Vec<Entry>,
    bytes: usize,
}

/// An address, and which resource it was shown to; none: to all.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    from: Box<str>,
    resource: Option<Box<str>>,
}

impl Entry {
    /// What it takes here, and roughly what the account is told one day.
    fn bytes(&self, account: &str) -> usize {
        let resource = self.resource.as_ref().map_or(0, |resource| resource.len());
        size_of::<Self>() + self.from.len() + account.len() + resource
    }
}

impl Seen {
    /// Bytes behind its entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }
}

impl Directory {
    /// `to` (an account that is online, or a resource of it) has been shown `from`.
    pub fn see(&mut self, to: JidRef<'_>, from: JidRef<'_>) {
        let entry = entry(to, from);
        let (bytes, is_full) = (entry.bytes(to.bare()), self.seen_bytes >= SEEN_TOTAL_BYTES_MAX);
        let Some(mut online) = self.online_mut(to.bare()) else { return };
        let seen = online.seen.get_or_insert_default();
        let Err(at) = seen.entries.binary_search(&entry) else { return };
        if is_full || seen.bytes + bytes > SEEN_BYTES_MAX {
            return;
        }
        seen.entries.insert(at, entry);
        seen.bytes += bytes;
        drop(online);
        self.seen_bytes += bytes;
    }

    /// `to` has been told that `from` is gone.
    pub fn lose(&mut self, to: JidRef<'_>, from: JidRef<'_>) {
        let Some(mut online) = self.online_mut(to.bare()) else { return };
        let Some(seen) = online.seen.as_deref_mut() else { return };
        let Ok(at) = seen.entries.binary_search(&entry(to, from)) else { return };
        let bytes = seen.entries.remove(at).bytes(to.bare());
        seen.bytes -= bytes;
        if seen.entries.is_empty() {
            online.seen = None;
        }
        drop(online);
        self.seen_bytes -= bytes;
    }

    /// A domain is gone: who saw whom of it, as (to, from), and nobody does any more.
    pub fn lose_domain(&mut self, domain: &str) -> Vec<(String, String)> {
        let mut lost = Vec::new();
        for (_, name) in &mut self.names {
            let Some(online) = name.online.as_deref_mut() else { continue };
            let before = online.heap_bytes();
            let Some(seen) = online.seen.as_deref_mut() else { continue };
            let is_of = |entry: &mut Entry| JidRef::of_prepared(&entry.from).domainpart() == domain;
            for entry in seen.entries.extract_if(.., is_of) {
                let bytes = entry.bytes(&name.text);
                seen.bytes -= bytes;
                self.seen_bytes -= bytes;
                let to = match &entry.resource {
                    Some(resource) => format!("{}/{resource}", name.text),
                    None => name.text.to_string(),
                };
                lost.push((to, entry.from.into()));
            }
            if seen.entries.is_empty() {
                online.seen = None;
            }
            self.behind_bytes = self.behind_bytes + online.heap_bytes() - before;
        }
        lost
    }
}

fn entry(to: JidRef<'_>, from: JidRef<'_>) -> Entry {
    Entry { from: from.as_str().into(), resource: to.resourcepart().map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;
    use crate::im::directory::Loaded;
    use crate::im::session::SessionFlags;
    use crate::jid::Jid;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn what_was_seen_goes_with_its_domain_or_with_who_saw_it() {
        let mut directory = Directory::new((1, 2));
        let conn = crate::ids::ConnId::from_parts(0, 1);
        let session = directory.insert(jid("a@h/1"), conn, SessionFlags::default(), Loaded::default());
        let see = |directory: &mut Directory, to: &str, from: &str| directory.see(jid(to).as_ref(), jid(from).as_ref());
        for from in ["x@c", "y@c", "c", "x@d", "x@c"] {
            see(&mut directory, "a@h", from);
        }
        see(&mut directory, "a@h/1", "room@c/nick");
        see(&mut directory, "nobody@h", "x@c");
        directory.lose(jid("a@h").as_ref(), jid("y@c").as_ref());
        directory.lose(jid("a@h").as_ref(), jid("never@c").as_ref());
        let mut lost = directory.lose_domain("c");
        lost.sort();
        let expected = [("a@h", "c"), ("a@h", "x@c"), ("a@h/1", "room@c/nick")];
        assert_eq!(lost, expected.map(|(to, from)| (to.to_owned(), from.to_owned())));
        assert_eq!(directory.lose_domain("c"), []);
        assert!(directory.seen_bytes > 0, "x@d is still there");
        directory.remove(session);
        assert_eq!(directory.seen_bytes, 0);
        assert_eq!(directory.lose_domain("d"), []);
    }

    #[test]
    fn what_one_account_makes_us_remember_is_bounded() {
        let mut directory = Directory::new((1, 2));
        let conn = crate::ids::ConnId::from_parts(0, 1);
        directory.insert(jid("a@h/1"), conn, SessionFlags::default(), Loaded::default());
        for at in 0..SEEN_BYTES_MAX / 32 {
            directory.see(jid("a@h").as_ref(), jid(&format!("{at}@c")).as_ref());
            assert!(directory.seen_bytes <= SEEN_BYTES_MAX);
        }
        let kept = directory.lose_domain("c").len();
        assert!((SEEN_BYTES_MAX / 64..SEEN_BYTES_MAX / 32).contains(&kept), "{kept}");
        assert_eq!(directory.seen_bytes, 0);
    }
}
