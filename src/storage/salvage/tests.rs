//! Stores with pages overwritten: what was whole is saved, and nothing that never was there.

use super::*;
use crate::random::Random;
use crate::scratch::Folder;
use crate::storage::{Batch, Disk, DiskOptions, Engine as _, KeyRange};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};

type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(path: &Path) -> Disk {
    Disk::open(path, DiskOptions { create: true, reserve_bytes: 0, ..DiskOptions::default() }).unwrap()
}

fn everything(engine: &mut Disk) -> Kept {
    let mut rows = Kept::new();
    let mut from = Vec::new();
    loop {
        let read = engine.range(&KeyRange { from, ..KeyRange::under(b"", 500) }).unwrap();
        from = read.rows.last().map(|(key, _)| [key.as_slice(), &[0]].concat()).unwrap_or_default();
        rows.extend(read.rows);
        if read.complete {
            return rows;
        }
    }
}

/// A store that has lived: rows come, change and go. Some are longer than a page. Also every value that a key ever had.
fn grow(path: &Path, random: &mut Random, keys: u64) -> (Kept, BTreeMap<Vec<u8>, Vec<Vec<u8>>>) {
    let mut engine = open(path);
    let mut ever: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for _ in 0..60 {
        let mut batch = Batch::new();
        for _ in 0..40 {
            let key = format!("\u{1}{:05}", random.next_u64() % keys).into_bytes();
            if random.next_u64().is_multiple_of(5) {
                batch.delete(&key);
                continue;
            }
            let len = if random.next_u64().is_multiple_of(50) { 9_000 } else { random.next_u64() % 300 };
            let value = vec![random.next_u64() as u8; len as usize];
            batch.put(&key, &value);
            ever.entry(key).or_default().push(value);
        }
        engine.commit(&batch).unwrap();
    }
    (everything(&mut engine), ever)
}

fn save(folder: &Folder) -> (Salvaged, Kept) {
    let to = folder.path("saved.redb");
    let _ = fs::remove_file(&to);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&to).unwrap();
    let found = salvage(&folder.path("store.redb"), file, 0).unwrap();
    let rows = everything(&mut open(&to));
    assert_eq!(found.rows, rows.len() as u64);
    (found, rows)
}

#[test]
fn a_store_that_is_whole_is_copied() {
    let folder = Folder::new("salvage-whole");
    let (kept, _) = grow(&folder.path("store.redb"), &mut Random::seeded(1), 2_000);
    assert_eq!(save(&folder), (Salvaged { rows: kept.len() as u64, ..Salvaged::default() }, kept));
}

/// Every page in turn: what is lost is what was in it, and whatever is found of that was there once.
#[test]
fn one_page_costs_its_own_rows_whichever_it_is() {
    let folder = Folder::new("salvage-each");
    let path = folder.path("store.redb");
    let mut random = Random::seeded(2);
    let (kept, ever) = grow(&path, &mut random, 400);
    let whole = fs::read(&path).unwrap();
    let (mut hurt, mut worst) = (0, kept.len());
    for page in 0..whole.len() / PAGE_BYTES as usize {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&whole, 0).unwrap();
        let mut rubbish = vec![0; PAGE_BYTES as usize];
        if page.is_multiple_of(2) {
            random.fill(&mut rubbish);
        }
        file.write_all_at(&rubbish, page as u64 * PAGE_BYTES).unwrap();
        let (found, rows) = save(&folder);
        let same = kept.iter().filter(|(key, value)| rows.get(*key) == Some(value)).count();
        hurt += usize::from(found.pages_lost > 0);
        // The header, and the root of the tables, are the way to all others.
        if found.stray_rows < rows.len() as u64 / 2 {
            worst = worst.min(same);
        }
        // A page that is the middle of a long value has no structure that could be wrong.
        for (key, value) in rows.iter().filter(|(key, value)| key.first() != Some(&0) && value.len() < 9_000) {
            assert!(ever.get(key).is_some_and(|values| values.contains(value)), "page {page}: {key:?}");
        }
    }
    assert!(hurt > 10, "{hurt}");
    assert!(worst > kept.len() * 3 / 4, "{worst} of {}", kept.len());
}

/// With the header gone nothing leads anywhere: rows are found all the same.
#[test]
fn without_a_header_pages_are_known_by_what_they_are() {
    let folder = Folder::new("salvage-header");
    let path = folder.path("store.redb");
    let (kept, _) = grow(&path, &mut Random::seeded(3), 1_000);
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0; PAGE_BYTES as usize], 0).unwrap();
    let (found, rows) = save(&folder);
    assert_eq!(found, Salvaged { stray_rows: found.rows, pages_lost: 1, ..found });
    let there = kept.keys().filter(|key| rows.contains_key(*key)).count();
    assert!(there > kept.len() * 9 / 10, "{there} of {}", kept.len());
}

#[test]
fn whatever_is_in_the_file_it_ends() {
    let folder = Folder::new("salvage-rubbish");
    let path = folder.path("store.redb");
    let mut random = Random::seeded(4);
    grow(&path, &mut random, 300);
    let whole = fs::read(&path).unwrap();
    for round in 0..120 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.next_u64() % 200 {
            let at = random.next_u64() as usize % bytes.len();
            bytes[at] = random.next_u64() as u8;
        }
        if round % 3 == 1 {
            bytes.truncate(random.next_u64() as usize % whole.len());
        }
        fs::write(&path, &bytes).unwrap();
        save(&folder);
    }
    fs::write(&path, b"").unwrap();
    assert_eq!(save(&folder).0, Salvaged { rows: 1, stray_rows: 0, pages_lost: 1 });
}

#[test]
fn a_store_in_use_is_not_read() {
    let folder = Folder::new("salvage-used");
    let path = folder.path("store.redb");
    let _server = open(&path);
    let to = OpenOptions::new().read(true).write(true).create_new(true).open(folder.path("saved.redb")).unwrap();
    assert!(matches!(salvage(&path, to, 0), Err(StoreError::Locked { pid: Some(_), .. })));
    let to = OpenOptions::new().read(true).write(true).create_new(true).open(folder.path("other.redb")).unwrap();
    assert!(matches!(salvage(&folder.path("nothing.redb"), to, 0), Err(StoreError::Missing { .. })));
}
