//! Prosody's SQLite databases: any bytes are read or refused, in bounded time and memory.

use super::scratch;
use stonechat::port::Source as _;
use stonechat::port::prosody::Database;

pub const SEEDS: &[&[u8]] =
    &[include_bytes!("../../../tests/prosody/prosody.sqlite"), include_bytes!("../../../tests/prosody/paged.sqlite")];

/// Persons that are looked at in one file: a damaged one can name the same page again and again.
const PERSONS_MAX: usize = 64;

pub fn run(data: &[u8]) {
    scratch::with_file("prosody.sqlite", data, |path| {
        let Ok(mut database) = Database::open(path) else { return };
        let mut problems = Vec::new();
        for _ in 0..PERSONS_MAX {
            match database.next(&mut problems) {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    });
}
