//! A folder of its own for each test, and both engines in it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use stonechat::storage::{Disk, DiskOptions, Engine, Memory};

/// Removed when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stonechat-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store.redb")
    }

    pub(crate) fn disk(&self) -> Disk {
        Disk::open(&self.store(), DiskOptions { create: true, ..DiskOptions::default() }).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the same test on the in-memory and on the real store.
#[allow(dead_code)] // Not every test file that includes this one needs both engines.
pub(crate) fn on_both(test: impl Fn(&str, Box<dyn Engine>)) {
    test("memory", Box::new(Memory::new()));
    let folder = Folder::new();
    test("disk", Box::new(folder.disk()));
}
