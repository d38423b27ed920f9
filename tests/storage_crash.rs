//! Kills a process with SIGKILL while it commits, again and again: what it said was durable is there.
//!
//! The test binary is its own child: started with [`CHILD`] set, it writes until it is killed. That is
//! why it has a `main` of its own. Logical consistency only; power cuts are in `storage/disk/tests.rs`.

mod storage_scratch;

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use stonechat::random::Random;
use stonechat::storage::{Disk, DiskOptions, Engine, KeyRange, Store, StoreError, Thread, Ticket, Woken};
use storage_scratch::Folder;

/// Names the store to the child.
const CHILD: &str = "STONECHAT_CRASH_TEST_STORE";
const KILLS: u32 = 8;
/// Rows of one unit, far from each other in the tree.
const ROWS_PER_UNIT: u32 = 5;

fn main() {
    match env::var_os(CHILD) {
        Some(path) => write_for_ever(Path::new(&path)),
        None => nothing_acknowledged_is_lost(),
    }
}

fn nothing_acknowledged_is_lost() {
    let folder = Folder::new();
    drop(folder.disk());
    let mut random = Random::seeded(0x51_6b);
    let mut last = 0;
    for kill in 0..KILLS {
        let mut child = start(&folder);
        let pid = child.id();
        let acknowledged = {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let heard: Vec<u32> =
                lines.by_ref().take(1 + (random.next_u64() % 60) as usize).map(|line| line.parse().unwrap()).collect();
            if kill == 0 {
                let error = Disk::open(&folder.store(), DiskOptions::default()).unwrap_err();
                assert_eq!(error, StoreError::Locked { path: folder.store(), pid: Some(pid) });
            }
            child.kill().unwrap();
            child.wait().unwrap();
            // What it said between our last look and its end counts too.
            heard.into_iter().chain(lines.filter_map(|line| line.parse().ok())).max().unwrap()
        };
        last = check(&folder, acknowledged, kill);
        assert!(last >= acknowledged, "kill {kill}: {acknowledged} was acknowledged, {last} is there");
    }
    assert!(last >= KILLS, "only {last} units in {KILLS} runs");
    println!("storage_crash kills={KILLS} units={last} lost=0");
}

fn start(folder: &Folder) -> Child {
    Command::new(env::current_exe().unwrap())
        .env(CHILD, folder.store())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary starts")
}

/// All units up to the highest are there, whole, and nothing else. Returns the highest.
fn check(folder: &Folder, acknowledged: u32, kill: u32) -> u32 {
    let mut disk = Disk::open(&folder.store(), DiskOptions::default()).unwrap();
    let mut range = KeyRange::under(b"a", u32::MAX);
    let mut count = 0;
    loop {
        let page = disk.range(&range).unwrap();
        count += page.rows.len() as u32;
        match page.rows.last() {
            Some((last, _)) if !page.complete => range = range.behind(last),
            _ => break,
        }
    }
    let last = disk.get(b"last").unwrap().map_or(0, |row| u32::from_be_bytes(row.try_into().unwrap()));
    assert_eq!(count, last * ROWS_PER_UNIT, "kill {kill}, acknowledged {acknowledged}: a unit is there in part");
    last
}

/// Commits unit after unit through the store and its thread; says each number once it is durable.
fn write_for_ever(path: &Path) -> ! {
    let mut engine = Disk::open(path, DiskOptions::default()).unwrap();
    let mut next = 1 + engine.get(b"last").unwrap().map_or(0, |row| u32::from_be_bytes(row.try_into().unwrap()));
    let (wake, woke) = mpsc::channel();
    let wake = std::sync::Arc::new(move || wake.send(()).expect("the loop listens"));
    let thread = Thread::spawn(Box::new(engine), wake).unwrap();
    let (mut store, mut woken) = (Store::default(), Woken::default());
    let mut waiting: Vec<(Ticket, u32)> = Vec::new();
    loop {
        // Up to three units a tick, so that ticks hold more than one handler's writes.
        for _ in 0..1 + next % 3 {
            waiting.push((write_unit(&mut store, next), next));
            next += 1;
        }
        let mut out = Vec::new();
        store.submit(0, &mut out);
        for request in out {
            thread.send(request).unwrap();
        }
        woke.recv().unwrap();
        while let Some(completion) = thread.try_recv() {
            store.complete(completion, &mut woken);
        }
        for (_, number) in waiting.extract_if(.., |(ticket, _)| store.is_durable(*ticket)) {
            println!("{number}");
        }
        io::stdout().flush().unwrap();
    }
}

fn write_unit(store: &mut Store, number: u32) -> Ticket {
    store.begin();
    for row in 0..ROWS_PER_UNIT {
        // Spread over the tree: a unit touches many pages.
        let key = format!("a{:08x}-{number}", number.wrapping_mul(0x9E37_79B9).rotate_left(row * 7));
        store.put(format!("{key}-{row}").as_bytes(), &[b'v'; 300]).unwrap();
    }
    store.put(b"last", &number.to_be_bytes()).unwrap();
    store.finish()
}
