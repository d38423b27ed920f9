//! What is in a copy, and what becomes of one that cannot be finished.

use super::*;
use crate::random::Random;
use crate::scratch::Folder;
use crate::storage::{Disk, DiskOptions, Faults, Faulty, Memory, Request, Rows, Thread, Ticket, serve};
use std::fs::{self, OpenOptions};
use std::path::Path;

const ROOM: BackupRoom = BackupRoom { spare_bytes: 0, behind_bytes_max: BACKUP_BEHIND_BYTES_MAX };

fn empty(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap()
}

fn open(path: &Path) -> Disk {
    Disk::open(path, DiskOptions { create: true, reserve_bytes: 0, ..DiskOptions::default() }).unwrap()
}

fn everything(engine: &mut dyn Engine) -> Vec<Row> {
    let (mut rows, mut scan) = (Vec::new(), Scan::new());
    while !scan.is_complete() {
        rows.extend(scan.chunk(engine).unwrap());
    }
    rows
}

/// Puts and deletes all over the keys, several with one commit.
fn random_commit(random: &mut Random) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..1 + random.next_u64() % 40 {
        let key = format!("\u{1}{:04}", random.next_u64() % 3_000);
        match random.next_u64() % 3 {
            0 => batch.delete(key.as_bytes()),
            _ => batch.put(key.as_bytes(), &random.next_u64().to_be_bytes()),
        }
    }
    batch
}

/// The claim of the module: the copy is the store at the moment of the last chunk, and opens as a store.
#[test]
fn the_copy_is_the_store_at_one_moment() {
    for seed in 0..6 {
        let folder = Folder::new(&format!("moment-{seed}"));
        let mut random = Random::seeded(seed);
        let mut engine = open(&folder.path("store.redb"));
        for _ in 0..100 {
            engine.commit(&random_commit(&mut random)).unwrap();
        }
        let mut copy = DiskCopy::new(empty(&folder.path("copy.redb")), 0).unwrap();
        let (pieces, inbox) = channel();
        let mut tap =
            Tap { scan: Scan::new(), pieces, state: Arc::default(), behind_bytes_max: BACKUP_BEHIND_BYTES_MAX };
        let mut chunks = 0;
        loop {
            chunks += 1;
            let goes_on = tap.next_chunk(&mut engine);
            if !goes_on {
                break;
            }
            for _ in 0..random.next_u64() % 4 {
                let commit = random_commit(&mut random);
                let request = Request::Commit { ticket: Ticket::NONE, batch: Arc::new(commit.clone()) };
                let completion = serve(&mut engine, request);
                assert!(tap.committed(&commit, &completion));
            }
        }
        assert!(chunks > 2, "{chunks}");
        let expected = everything(&mut engine);
        engine.commit(&random_commit(&mut random)).unwrap();
        drop(tap);
        for piece in inbox {
            match piece {
                Piece::Chunk { rows, .. } => copy.add(&rows).unwrap(),
                Piece::Changes(changes) => copy.change(&changes).unwrap(),
                Piece::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(copy.finish().unwrap(), expected.len() as u64);
        assert_eq!(everything(&mut open(&folder.path("copy.redb"))), expected, "seed {seed}");
    }
}

#[test]
fn a_store_that_nobody_uses_is_copied_at_once() {
    let folder = Folder::new("backup-offline");
    let mut random = Random::seeded(9);
    let mut engine = open(&folder.path("store.redb"));
    for _ in 0..100 {
        engine.commit(&random_commit(&mut random)).unwrap();
    }
    let mut told = Vec::new();
    let file = empty(&folder.path("copy.redb"));
    let rows = copy_to(&mut engine, file, 0, &mut |rows, total| told.push((rows, total))).unwrap();
    let expected = everything(&mut engine);
    assert_eq!(rows, expected.len() as u64);
    assert_eq!(told.last(), Some(&(rows, rows)));
    assert_eq!(everything(&mut open(&folder.path("copy.redb"))), expected);
}

/// Nobody can say whether such a commit is in the store: so nobody can say what the copy would be.
#[test]
fn a_commit_of_unknown_fate_ends_the_copy() {
    let (pieces, inbox) = channel();
    let mut tap = Tap { scan: Scan::new(), pieces, state: Arc::default(), behind_bytes_max: BACKUP_BEHIND_BYTES_MAX };
    let faults = Faults::none();
    let mut engine = Faulty::new(Memory::new(), faults.clone());
    let mut batch = Batch::new();
    batch.put(b"\x01a", b"1");
    faults.lose_answers(1);
    let request = Request::Commit { ticket: Ticket::NONE, batch: Arc::new(batch.clone()) };
    let completion = serve(&mut engine, request);
    assert!(!tap.committed(&batch, &completion));
    assert!(matches!(inbox.try_recv(), Ok(Piece::Failed(StoreError::Io { .. }))));
}

/// The server never waits for the file of a backup.
#[test]
fn a_file_that_is_too_slow_ends_the_copy() {
    let (pieces, inbox) = channel();
    let mut tap = Tap {
        scan: Scan { next: Some(b"\xFE".to_vec()) },
        pieces,
        state: Arc::default(),
        behind_bytes_max: BACKUP_BEHIND_BYTES_MAX,
    };
    let mut batch = Batch::new();
    batch.put(b"\x01a", &vec![0; BACKUP_BEHIND_BYTES_MAX / 2]);
    let done = Completion::Committed(Ticket::NONE);
    assert!(tap.committed(&batch, &done));
    assert!(!tap.committed(&batch, &done) || !tap.committed(&batch, &done));
    drop(tap);
    assert!(matches!(inbox.iter().last(), Some(Piece::Failed(_))));
    assert_eq!(BackupRoom::within(16 << 20, 7).behind_bytes_max, 1 << 20, "where memory is short, sooner");
    assert_eq!(BackupRoom::within(usize::MAX, 7).behind_bytes_max, BACKUP_BEHIND_BYTES_MAX);
}

fn wait(backup: &Backup, woke: &Receiver<()>) -> Result<u64, StoreError> {
    loop {
        if let Some(outcome) = backup.outcome() {
            return outcome;
        }
        woke.recv().unwrap();
    }
}

fn thread(engine: impl Engine + 'static) -> (Thread, Receiver<()>) {
    let (wake, woke) = channel();
    let wake = Arc::new(move || {
        let _nobody_listens = wake.send(());
    });
    (Thread::spawn(Box::new(engine), wake).unwrap(), woke)
}

#[test]
fn the_thread_copies_beside_its_work_and_says_what_is_wrong() {
    let folder = Folder::new("backup-thread");
    let mut engine = Memory::new();
    let mut random = Random::seeded(3);
    for _ in 0..100 {
        engine.commit(&random_commit(&mut random)).unwrap();
    }
    let count = engine.count().unwrap();
    let faults = Faults::none();
    let (thread, woke) = thread(Faulty::new(engine, faults.clone()));

    let backup = thread.back_up(empty(&folder.path("whole")), ROOM).unwrap();
    assert_eq!(wait(&backup, &woke), Ok(count));
    assert_eq!(backup.progress().1, count);

    // All the room there is, and more.
    let backup = thread.back_up(empty(&folder.path("full")), BackupRoom { spare_bytes: u64::MAX / 2, ..ROOM }).unwrap();
    let full = wait(&backup, &woke).unwrap_err();
    assert!(full.to_string().starts_with("the backup does not fit its disk: "), "{full}");

    fs::write(folder.path("used"), "something").unwrap();
    let used = OpenOptions::new().read(true).write(true).open(folder.path("used")).unwrap();
    let backup = thread.back_up(used, ROOM).unwrap();
    assert!(wait(&backup, &woke).unwrap_err().to_string().contains("it must be an empty file"));
    assert_eq!(fs::read(folder.path("used")).unwrap(), b"something");

    faults.fail_fetches(1);
    let backup = thread.back_up(empty(&folder.path("unread")), ROOM).unwrap();
    assert!(wait(&backup, &woke).is_err());

    // The store is as good as before.
    let range = KeyRange::under(b"\x01", 1);
    let want = crate::storage::Want { id: parked(), range };
    thread.send(Request::Fetch(vec![want])).unwrap();
    let fetched: Rows = loop {
        match thread.try_recv() {
            Some(Completion::Fetched(mut answers)) => break answers.remove(0).1,
            Some(other) => panic!("{other:?}"),
            None => woke.recv().unwrap(),
        }
    };
    assert_eq!(fetched.rows.len(), 1);
}

fn parked() -> crate::storage::FetchId {
    let mut store = crate::storage::Store::default();
    store.begin();
    let miss = store.get(b"\x01").unwrap_err();
    store.abandon(miss)
}

/// Ending the server does not wait for a backup, and a backup does not keep the thread alive.
#[test]
fn stopping_ends_a_backup() {
    let folder = Folder::new("backup-stop");
    let mut engine = Memory::new();
    let mut batch = Batch::new();
    for number in 0_u32..200_000 {
        batch.put(&[&[1], &number.to_be_bytes()[..]].concat(), b"row");
    }
    engine.commit(&batch).unwrap();
    let (thread, woke) = thread(engine);
    let backup = thread.back_up(empty(&folder.path("half")), ROOM).unwrap();
    woke.recv().unwrap();
    thread.stop(&mut crate::storage::Store::default(), &mut crate::storage::Woken::default()).unwrap();
    assert_eq!(wait(&backup, &woke), Err(StoreError::Stopped));
}
