//! What routing needs of an account, read when its first session comes.

use crate::im::directory::Loaded;
use crate::im::{blocks, roster, vcard};
use crate::jid::JidRef;
use crate::storage::{Miss, Store};

/// Reads an account's contacts, its block list and its avatar's hash: one fetch, more only for long rosters.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn account(store: &mut Store, bare: JidRef<'_>) -> Result<Loaded, Miss> {
    let mut missing = store.need([blocks::key(bare), vcard::photo_key(bare)]).err();
    let contacts = roster::list(store, bare);
    match (missing.take(), contacts) {
        (Some(miss), Err(other)) => Err(miss.and(other)),
        (Some(miss), Ok(_)) | (None, Err(miss)) => Err(miss),
        (None, Ok(items)) => {
            let contacts = items.into_iter().map(|(contact, item)| (contact, item.state.subscribed()));
            let blocked = blocks::get(store, bare)?;
            Ok(Loaded {
                contacts: contacts.collect(),
                blocked: (!blocked.is_empty()).then(|| Box::new(blocked)),
                avatar: vcard::photo(store, bare)?.map(Box::new),
            })
        }
    }
}
