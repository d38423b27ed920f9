//! What storage costs: commits by group size with and without quick repair, reads, opening after a crash.
//!
//! The store's file is made in the folder for temporary files; name a disk with `TMPDIR`.
#![allow(clippy::disallowed_methods)] // A bench reads the clock.

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stonechat::storage::{Batch, Disk, DiskOptions, Engine, KeyRange, Memory, Store, Woken, pump};

const VALUE: [u8; 300] = [b'v'; 300];
const USERS: u32 = 1000;

fn main() {
    let folder = std::env::temp_dir().join(format!("stonechat-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the bench");
    fsync(&folder);
    for rows in [1, 16, 256] {
        let one = commits(&folder, false, rows);
        let two = commits(&folder, true, rows);
        println!("store/second_fsync rows={rows} us={:.0} times={:.2}", two - one, two / one);
    }
    opening(&folder);
    reading(&folder);
    overlay();
    let _ = fs::remove_dir_all(&folder);
}

fn us(time: Duration, rounds: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(rounds)
}

/// The floor under every commit: append one row's bytes to a file, wait for the disk.
fn fsync(folder: &Path) {
    const ROUNDS: u32 = 500;
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("raw")).expect("a file for the bench");
    let start = Instant::now();
    for _ in 0..ROUNDS {
        file.write_all(&VALUE).expect("a write");
        file.sync_data().expect("a sync");
    }
    println!("store/fsync us={:.0}", us(start.elapsed(), ROUNDS));
}

fn open(path: &Path, quick_repair: bool) -> Disk {
    Disk::open(path, DiskOptions { create: true, quick_repair, ..DiskOptions::default() }).expect("a store")
}

fn key(user: u32, number: u32) -> Vec<u8> {
    format!("user{:05}-{number:08}", user % USERS).into_bytes()
}

/// Rows spread over many users, `rows` a commit.
fn commits(folder: &Path, quick_repair: bool, rows: u32) -> f64 {
    let rounds = if rows > 16 { 100 } else { 500 };
    let path = folder.join(format!("commit-{quick_repair}-{rows}"));
    let mut disk = open(&path, quick_repair);
    let mut number: u32 = 0;
    let start = Instant::now();
    for _ in 0..rounds {
        let mut batch = Batch::new();
        for _ in 0..rows {
            batch.put(&key(number.wrapping_mul(7919), number), &VALUE);
            number += 1;
        }
        disk.commit(&batch).expect("a commit");
    }
    let time = us(start.elapsed(), rounds);
    let bytes = fs::metadata(&path).expect("the file").len();
    println!(
        "store/commit quick_repair={quick_repair} rows={rows} us={time:.0} us_per_row={:.1} file_bytes={bytes}",
        time / f64::from(rows)
    );
    time
}

/// A copy of a file in use is what a crash leaves behind.
fn opening(folder: &Path) {
    const COMMITS: u32 = 100;
    const ROWS: u32 = 1000;
    for quick_repair in [true, false] {
        let path = folder.join(format!("open-{quick_repair}"));
        let mut disk = open(&path, quick_repair);
        for commit in 0..COMMITS {
            let mut batch = Batch::new();
            (0..ROWS).for_each(|row| batch.put(&key(row, commit), &VALUE));
            disk.commit(&batch).expect("a commit");
        }
        let crashed = folder.join(format!("crashed-{quick_repair}"));
        let bytes = fs::copy(&path, &crashed).expect("a copy");
        drop(disk);
        for (state, path) in [("crashed", &crashed), ("closed", &path)] {
            let start = Instant::now();
            let mut disk = open(path, quick_repair);
            let ms = start.elapsed().as_secs_f64() * 1e3;
            assert!(disk.get(&key(1, COMMITS - 1)).expect("a read").is_some());
            println!("store/open after={state} quick_repair={quick_repair} file_bytes={bytes} ms={ms:.1}");
        }
    }
}

fn reading(folder: &Path) {
    const ROUNDS: u32 = 2000;
    let path: PathBuf = folder.join("open-true");
    let mut disk = open(&path, true);
    let start = Instant::now();
    for round in 0..ROUNDS {
        let row = disk.get(&key(round.wrapping_mul(7919), round % 100)).expect("a read");
        assert_eq!(black_box(row).map(|row| row.len()), Some(VALUE.len()));
    }
    println!("store/get us={:.1}", us(start.elapsed(), ROUNDS));
    let start = Instant::now();
    for round in 0..ROUNDS {
        let range = KeyRange::under(&key(round.wrapping_mul(7919), 0)[..10], 50);
        assert_eq!(black_box(disk.range(&range).expect("a read")).rows.len(), 50);
    }
    println!("store/range rows=50 us={:.1}", us(start.elapsed(), ROUNDS));
    let wants: Vec<KeyRange> = (0..256).map(|user| KeyRange::one(&key(user, 1))).collect();
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(black_box(disk.fetch(&wants).expect("a read")).len(), wants.len());
    }
    println!("store/fetch rows=256 us_per_row={:.1}", us(start.elapsed(), 100 * 256));
}

/// The loop's side of one small write: what a handler pays before the disk is asked for anything.
fn overlay() {
    const ROUNDS: u32 = 20_000;
    let (mut store, mut engine, mut woken) = (Store::default(), Memory::new(), Woken::default());
    let start = Instant::now();
    for round in 0..ROUNDS {
        store.begin();
        store.put(&key(round, round), &VALUE).expect("room");
        assert!(black_box(store.get(&key(round, round))).is_ok());
        store.finish();
        if round.is_multiple_of(16) {
            pump(&mut store, &mut engine, 0, &mut woken);
        }
    }
    println!("store/overlay ticks_of=16 us_per_write={:.2}", us(start.elapsed(), ROUNDS));
}
