//! Keys of the store: they sort as the lists of their parts, end where they say, and can be read back.

use super::Bytes;
use stonechat::storage::keys::{Key, Parts, Table};

pub const SEEDS: &[&[u8]] = &[b"\x03a\0b\xFFc\xFF\0\0\xFFa\0\xFF\x01\xFFc"];

type List = (Vec<u8>, String, u64);

fn list(bytes: &mut Bytes<'_>) -> List {
    let part = bytes.piece().to_vec();
    let text = String::from_utf8_lossy(bytes.piece()).into_owned();
    let mut number = [0; 8];
    number.iter_mut().for_each(|byte| *byte = bytes.byte());
    (part, text, u64::from_be_bytes(number))
}

fn key(list: &List) -> Key {
    Key::new(Table::Offline).part(&list.0).text(&list.1).number(list.2)
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (one, other) = (list(&mut bytes), list(&mut bytes));
    let (one_key, other_key) = (key(&one), key(&other));
    assert_eq!(one_key.as_bytes().cmp(other_key.as_bytes()), one.cmp(&other), "{one:?} {other:?}");
    let mut parts = Parts::of(one_key.as_bytes(), Table::Offline).expect("the same table");
    assert_eq!((parts.part(), parts.text(), parts.number()), (Some(one.0.clone()), Some(one.1), Some(one.2)));
    assert!(parts.is_at_end());
    // Below a part lie the keys that have it, and no others.
    let range = Key::new(Table::Offline).part(&one.0).range(1);
    let is_below = range.from.as_slice() <= other_key.as_bytes() && other_key.as_bytes() < range.to.as_slice();
    assert_eq!(is_below, other.0 == one.0);
    // Whatever stands in a file is read to its end or refused.
    if let Some(mut parts) = Parts::of(data, Table::Offline) {
        while parts.text().is_some() && !parts.is_at_end() {}
        let _number = parts.number();
    }
}
