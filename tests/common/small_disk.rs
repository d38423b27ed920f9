//! A small disk of the test's own, where the system lets it have one.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Gone with it.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk in memory of so many bytes; says so and returns none if that is not permitted here.
    pub(crate) fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: this system does not let the test mount a small disk");
        None
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.0.join("others")).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 16 * 1024]).is_ok() {}
        while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
    }

    /// Gives the room back.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.0.join("others")).unwrap();
    }

    /// Lets nothing be written any more. Nobody may have a file open.
    pub(crate) fn make_read_only(&self) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(remounted.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
