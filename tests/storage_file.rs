//! The store's file: who may read it, who has it, what it is told from, how it shrinks.

mod storage_scratch;

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use stonechat::random::Random;
use stonechat::storage::{Batch, Disk, DiskOptions, Engine, KeyRange, StoreError};
use storage_scratch::Folder;

fn open(folder: &Folder, options: DiskOptions) -> Result<Disk, StoreError> {
    Disk::open(&folder.store(), options)
}

fn batch(numbers: std::ops::Range<u32>, bytes: usize) -> Batch {
    let mut batch = Batch::new();
    numbers.for_each(|number| batch.put(format!("k{number:06}").as_bytes(), &vec![b'v'; bytes]));
    batch
}

fn files(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.store().parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn rows_are_there_when_it_is_opened_again_and_its_files_are_its_owners_alone() {
    let folder = Folder::new();
    let mut disk = folder.disk();
    disk.commit(&batch(0..10, 10)).unwrap();
    drop(disk);
    let mut disk = open(&folder, DiskOptions::default()).unwrap();
    assert_eq!(disk.range(&KeyRange::under(b"k", 100)).unwrap().rows.len(), 10);
    assert_eq!(files(&folder), ["store.redb", "store.redb.lock"]);
    for name in files(&folder) {
        let mode = fs::metadata(folder.store().with_file_name(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn asking_for_a_store_that_is_not_there_leaves_nothing_behind() {
    let folder = Folder::new();
    let error = open(&folder, DiskOptions::default()).unwrap_err();
    assert_eq!(error, StoreError::Missing { path: folder.store() });
    assert_eq!(files(&folder), [""; 0]);
}

#[test]
fn an_empty_file_is_no_store_and_a_half_made_one_is_made_anew() {
    let folder = Folder::new();
    fs::write(folder.store(), b"").unwrap();
    assert!(matches!(open(&folder, DiskOptions::default()), Err(StoreError::Missing { .. })));
    fs::write(folder.store().with_extension("new"), b"half of it").unwrap();
    folder.disk().commit(&batch(0..1, 1)).unwrap();
    assert_eq!(files(&folder), ["store.redb", "store.redb.lock"]);
}

#[test]
fn the_second_to_open_it_is_told_who_the_first_is() {
    let folder = Folder::new();
    let first = folder.disk();
    let error = open(&folder, DiskOptions::default()).unwrap_err();
    assert_eq!(error, StoreError::Locked { path: folder.store(), pid: Some(std::process::id()) });
    assert!(error.to_string().ends_with(&format!("in use by process {}", std::process::id())), "{error}");
    drop(first);
    assert!(open(&folder, DiskOptions::default()).is_ok());
}

#[test]
fn what_is_not_a_store_is_refused_with_a_sentence_and_left_alone() {
    for (name, content) in
        [("text", "these are not the bytes you are looking for\n".repeat(1000)), ("short", "x".to_owned())]
    {
        let folder = Folder::new();
        fs::write(folder.store(), &content).unwrap();
        let options = DiskOptions { create: true, ..DiskOptions::default() };
        let error = open(&folder, options).unwrap_err();
        assert_eq!(error, StoreError::NotAStore { path: folder.store() }, "{name}");
        assert!(error.to_string().contains("store.redb is not a Stonechat store"), "{error}");
        assert_eq!(fs::read_to_string(folder.store()).unwrap(), content, "{name}");
    }
}

#[test]
fn a_file_that_ends_too_early_is_refused_with_a_sentence() {
    let folder = Folder::new();
    let mut disk = folder.disk();
    disk.commit(&batch(0..2000, 500)).unwrap();
    drop(disk);
    let bytes = fs::metadata(folder.store()).unwrap().len();
    for kept in [bytes / 2, 5000, 100] {
        let path = folder.store();
        let copy = Folder::new();
        fs::copy(&path, copy.store()).unwrap();
        OpenOptions::new().write(true).open(copy.store()).unwrap().set_len(kept).unwrap();
        let error = open(&copy, DiskOptions::default()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{kept}: {error:?}");
        assert!(error.to_string().contains("is damaged"), "{kept}: {error}");
    }
}

#[test]
fn verification_finds_every_byte_that_was_changed_under_the_rows() {
    let folder = Folder::new();
    let mut disk = folder.disk();
    disk.commit(&batch(0..2000, 500)).unwrap();
    drop(disk);
    let image = fs::read(folder.store()).unwrap();
    let mut random = Random::seeded(11);
    let mut found = 0;
    for round in 0..40 {
        let copy = Folder::new();
        fs::write(copy.store(), &image).unwrap();
        // Somewhere in the middle of a value.
        let at = loop {
            let at = (random.next_u64() % image.len() as u64) as usize;
            if image[at.saturating_sub(20)..(at + 20).min(image.len())].iter().all(|byte| *byte == b'v') {
                break at;
            }
        };
        let mut file = OpenOptions::new().write(true).open(copy.store()).unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(b"!").unwrap();
        drop(file);
        match open(&copy, DiskOptions { verify: true, ..DiskOptions::default() }) {
            // The page held no rows any more.
            Ok(mut disk) => {
                let mut from = b"k".to_vec();
                loop {
                    let page = disk.range(&KeyRange::new(from.clone(), b"l".to_vec(), 1000)).unwrap();
                    assert!(page.rows.iter().all(|(_, value)| value == &[b'v'; 500]), "round {round}");
                    match page.rows.last() {
                        Some((key, _)) if !page.complete => from = [key, &[0][..]].concat(),
                        _ => break,
                    }
                }
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt { .. }), "round {round}: {error:?}");
                found += 1;
            }
        }
    }
    assert!(found > 10, "only {found} of 40 hit a row");
}

#[test]
fn a_commit_of_many_rows_is_read_back_in_bounded_chunks() {
    let folder = Folder::new();
    let mut disk = folder.disk();
    disk.commit(&batch(0..5000, 100)).unwrap();
    let all = KeyRange::under(b"k", u32::MAX);
    let (mut count, mut chunks, mut range) = (0, 0, all);
    loop {
        let chunk = disk.range(&range).unwrap();
        count += chunk.rows.len();
        chunks += 1;
        match chunk.rows.last() {
            Some((last, _)) if !chunk.complete => range = range.behind(last),
            _ => break,
        }
    }
    assert_eq!((count, chunks), (5000, 5));
}

#[test]
fn compaction_gives_room_back_and_keeps_the_rows() {
    let folder = Folder::new();
    let mut disk = folder.disk();
    for part in 0..10 {
        disk.commit(&batch(part * 1000..(part + 1) * 1000, 1000)).unwrap();
    }
    let mut gone = Batch::new();
    (10..10_000).for_each(|number| gone.delete(format!("k{number:06}").as_bytes()));
    disk.commit(&gone).unwrap();
    let sizes = disk.compact().unwrap();
    assert!(sizes.bytes_before > 10_000_000 && sizes.bytes_after < sizes.bytes_before / 4, "{sizes:?}");
    assert_eq!(sizes.bytes_after, fs::metadata(folder.store()).unwrap().len());
    assert_eq!(disk.range(&KeyRange::under(b"k", 100)).unwrap().rows.len(), 10);
    disk.commit(&batch(0..20, 1000)).unwrap();
    drop(disk);
    let mut disk = open(&folder, DiskOptions::default()).unwrap();
    assert_eq!(disk.range(&KeyRange::under(b"k", 100)).unwrap().rows.len(), 20);
}
