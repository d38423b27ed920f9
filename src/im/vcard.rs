//! vCards: the rows (XEP-0054), and the hash of the photo apart (XEP-0153).
//!
//! ```text
//! domain ‖ localpart ──▶ the vCard as XML      domain ‖ localpart ──▶ SHA-1 of its photo, read at every bind
//! ```

use crate::jid::JidRef;
use crate::storage::keys::{Key, Table};
use crate::storage::{Batch, Miss, Store, StoreFull};

/// The format of the rows; their first byte.
const ROW_VERSION: u8 = 1;

fn key_of(table: Table, account: JidRef<'_>) -> Key {
    Key::new(table).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// The key of the row of a photo's hash.
pub fn photo_key(account: JidRef<'_>) -> Key {
    key_of(Table::VCardPhotos, account)
}

/// Reads an account's vCard: a whole element.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, account: JidRef<'_>) -> Result<Option<Vec<u8>>, Miss> {
    let row = store.get(key_of(Table::VCards, account).as_bytes())?;
    Ok(row.and_then(|row| row.get(1..).map(<[u8]>::to_vec)))
}

/// Reads the hash of an account's photo.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn photo(store: &mut Store, account: JidRef<'_>) -> Result<Option<[u8; 20]>, Miss> {
    let row = store.get(photo_key(account).as_bytes())?;
    Ok(row.and_then(|row| row.get(1..)?.try_into().ok()))
}

/// Replaces an account's vCard and the hash of its photo.
///
/// # Errors
///
/// [`StoreFull`]: nothing is written.
pub fn set(store: &mut Store, account: JidRef<'_>, vcard: &[u8], photo: Option<[u8; 20]>) -> Result<(), StoreFull> {
    let row = |bytes: &[u8]| [&[ROW_VERSION], bytes].concat();
    let mut batch = Batch::new();
    batch.put(key_of(Table::VCards, account).as_bytes(), &row(vcard));
    match photo {
        Some(hash) => batch.put(photo_key(account).as_bytes(), &row(&hash)),
        None => batch.delete(photo_key(account).as_bytes()),
    }
    store.apply(batch)
}
