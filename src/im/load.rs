//! What routing needs of an account, read when its first session comes.

use crate::im::directory::Loaded;
use crate::im::{accounts, blocks, roster, vcard};
use crate::jid::JidRef;
use crate::storage::{Miss, Store};

/// Reads an account's contacts, its block list and its avatar's hash: one fetch, more only for long rosters. None: it is
/// no more.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn account(store: &mut Store, bare: JidRef<'_>) -> Result<Option<Loaded>, Miss> {
    let (domain, localpart) = (bare.domainpart(), bare.localpart().unwrap_or_default());
    let mut missing = store.need([accounts::key(domain, localpart), blocks::key(bare), vcard::photo_key(bare)]).err();
    let contacts = roster::list(store, bare);
    match (missing.take(), contacts) {
        (Some(miss), Err(other)) => Err(miss.and(other)),
        (Some(miss), Ok(_)) | (None, Err(miss)) => Err(miss),
        (None, Ok(items)) => {
            if accounts::get(store, domain, localpart)?.is_none() {
                return Ok(None);
            }
            let contacts = items.into_iter().map(|(contact, item)| (contact, item.state.subscribed()));
            let blocked = blocks::get(store, bare)?;
            Ok(Some(Loaded {
                contacts: contacts.collect(),
                blocked: (!blocked.is_empty()).then(|| Box::new(blocked)),
                avatar: vcard::photo(store, bare)?.map(Box::new),
            }))
        }
    }
}
