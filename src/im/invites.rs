//! Invitations to make an account: the rows (XEP-0401, XEP-0445).
//!
//! ```text
//! "token" ‖ token ──▶ Invite      "name" ‖ domain ‖ localpart ──▶ the token that the name is kept for
//! ```

use crate::storage::keys::{Key, Parts, Table};
use crate::storage::{Batch, Miss, Store, StoreFull};

/// The format of an invitation's row; its first byte.
const ROW_VERSION: u8 = 1;
/// Rows asked of the store at a time.
const PAGE_ROWS: u32 = 256;

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The domain where it is good.
    pub domain: String,
    /// The username that it is for; until it expires nobody else gets it.
    pub localpart: Option<String>,
    /// Who invites (a bare JID): becomes a contact of whom comes.
    pub inviter: Option<String>,
    /// Until when it is good, in seconds since 1970.
    pub expires_unix_s: u64,
    /// Accounts that may still be made with it.
    pub uses: u32,
}

fn token_key(token: &str) -> Key {
    Key::new(Table::Invites).text("token").text(token)
}

fn name_key(domain: &str, localpart: &str) -> Key {
    Key::new(Table::Invites).text("name").text(domain).text(localpart)
}

/// Reads an invitation; it may have expired.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, token: &str) -> Result<Option<Invite>, Miss> {
    Ok(store.get(token_key(token).as_bytes())?.and_then(|row| decode(&row)))
}

/// The token that a name is kept for, while its invitation is good.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn reserved(store: &mut Store, domain: &str, localpart: &str, unix_s: u64) -> Result<Option<String>, Miss> {
    let row = store.get(name_key(domain, localpart).as_bytes())?;
    let Some(token) = row.and_then(|row| String::from_utf8(row).ok()) else { return Ok(None) };
    let invite = get(store, &token)?;
    Ok(invite.is_some_and(|invite| invite.expires_unix_s > unix_s).then_some(token))
}

/// Keeps a new invitation, and forgets those that have expired.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn add(store: &mut Store, token: &str, invite: &Invite, unix_s: u64) -> Result<Result<(), StoreFull>, Miss> {
    let mut batch = Batch::new();
    let mut range = Key::new(Table::Invites).text("token").range(PAGE_ROWS);
    loop {
        let rows = store.range(&range)?;
        for (key, row) in &rows {
            let old = decode(row).filter(|old| old.expires_unix_s <= unix_s);
            if let (Some(old), Some(token)) = (old, token_of(key)) {
                delete(&mut batch, &token, &old);
            }
        }
        match rows.last() {
            Some((key, _)) if rows.len() >= PAGE_ROWS as usize => range = range.behind(key),
            _ => break,
        }
    }
    put(&mut batch, token, invite);
    Ok(store.apply(batch))
}

fn token_of(key: &[u8]) -> Option<String> {
    let mut parts = Parts::of(key, Table::Invites)?;
    parts.part()?;
    parts.text()
}

fn put(batch: &mut Batch, token: &str, invite: &Invite) {
    batch.put(token_key(token).as_bytes(), &encode(invite));
    if let Some(localpart) = &invite.localpart {
        batch.put(name_key(&invite.domain, localpart).as_bytes(), token.as_bytes());
    }
}

fn encode(invite: &Invite) -> Vec<u8> {
    let mut row = vec![ROW_VERSION];
    row.extend(invite.expires_unix_s.to_be_bytes());
    row.extend(invite.uses.to_be_bytes());
    // Parts of addresses have no NUL, and none is empty.
    for text in [Some(&invite.domain), invite.localpart.as_ref(), invite.inviter.as_ref()] {
        row.extend_from_slice(text.map_or(&[], |text| text.as_bytes()));
        row.push(0);
    }
    row
}

fn decode(row: &[u8]) -> Option<Invite> {
    let (expires, rest) = row.get(1..)?.split_first_chunk()?;
    let (uses, texts) = rest.split_first_chunk()?;
    let mut texts = texts.split(|byte| *byte == 0).map(|text| String::from_utf8(text.to_vec()).ok());
    let mut text = || texts.next().flatten();
    let (domain, localpart, inviter) = (text()?, text()?, text()?);
    let given = |text: String| (!text.is_empty()).then_some(text);
    Some(Invite {
        domain,
        localpart: given(localpart),
        inviter: given(inviter),
        expires_unix_s: u64::from_be_bytes(*expires),
        uses: u32::from_be_bytes(*uses),
    })
}

fn delete(batch: &mut Batch, token: &str, invite: &Invite) {
    batch.delete(token_key(token).as_bytes());
    if let Some(localpart) = &invite.localpart {
        batch.delete(name_key(&invite.domain, localpart).as_bytes());
    }
}

/// An account was made with it.
///
/// # Errors
///
/// [`StoreFull`]: nothing is written.
pub fn use_once(store: &mut Store, token: &str, invite: &Invite) -> Result<(), StoreFull> {
    let mut batch = Batch::new();
    match invite.uses {
        0 | 1 => delete(&mut batch, token, invite),
        uses => put(&mut batch, token, &Invite { uses: uses - 1, ..invite.clone() }),
    }
    store.apply(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Memory, offline::run};

    #[test]
    fn invitations_expire_and_are_used_up() {
        let engine = &mut Memory::new();
        let invite = |localpart: Option<&str>, expires_unix_s, uses| Invite {
            domain: "d".into(),
            localpart: localpart.map(str::to_owned),
            inviter: None,
            expires_unix_s,
            uses,
        };
        let mut add = |token: &str, invite: &Invite, now: u64| {
            run(engine, |store| super::add(store, token, invite, now)).unwrap().unwrap();
        };
        add("one", &invite(Some("romeo"), 100, 1), 1);
        add("two", &invite(None, 200, 2), 1);
        let reserved = |engine: &mut Memory, now| run(engine, |store| reserved(store, "d", "romeo", now)).unwrap();
        assert_eq!(reserved(engine, 99), Some("one".into()));
        assert_eq!(reserved(engine, 100), None);
        let get = |engine: &mut Memory, token: &str| run(engine, |store| get(store, token)).unwrap();
        let two = get(engine, "two").unwrap();
        run(engine, |store| Ok(use_once(store, "two", &two))).unwrap().unwrap();
        let two = get(engine, "two").unwrap();
        assert_eq!(two.uses, 1);
        run(engine, |store| Ok(use_once(store, "two", &two))).unwrap().unwrap();
        assert_eq!(get(engine, "two"), None);
        run(engine, |store| super::add(store, "three", &invite(None, 300, 1), 150)).unwrap().unwrap();
        assert_eq!(get(engine, "one"), None, "expired");
        assert_eq!(reserved(engine, 1), None);
    }
}
