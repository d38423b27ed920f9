//! SQLite files, read only: whole tables, and rows by their number.
//!
//! ```text
//! header ──▶ pages ──▶ schema (page 1): table → root page, columns
//!                 └──▶ B-tree of a table: interior pages ──▶ leaves: row number, record ──▶ overflow pages
//! ```
//!
//! SQLite itself is C and as large as half of this server. What is needed of it here is small: no SQL, no index, no
//! write. Everything in the file is checked before it is used; a page is never visited twice in one scan. The format:
//! sqlite.org/fileformat2.html.

use crate::limits::{SQLITE_PAGES_DEEP_MAX, SQLITE_RECORD_BYTES_MAX};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// A value in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob,
}

impl Cell {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            // Not exact past 2^53: times do not go there.
            Self::Integer(number) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            _ => None,
        }
    }
}

/// A table: where it begins, and what its columns are called.
#[derive(Clone, Debug)]
pub(super) struct TableRoot {
    root: u32,
    columns: Vec<String>,
}

impl TableRoot {
    /// The place of a column.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Sqlite {
    file: File,
    page_bytes: usize,
    /// Bytes of a page that are not reserved.
    usable: usize,
    pages: u32,
}

/// What is done with each row: its number and its values.
type EachRow<'a> = dyn FnMut(i64, &[Cell]) -> Result<(), String> + 'a;

/// The words for what the format does not allow.
const DAMAGED: &str = "the database is damaged";

fn damaged<T>() -> Result<T, String> {
    Err(DAMAGED.to_owned())
}

impl Sqlite {
    /// Opens a file that no one writes and that has nothing waiting beside it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        for (end, how) in [("-wal", "PRAGMA wal_checkpoint(TRUNCATE)"), ("-journal", "PRAGMA user_version")] {
            let beside = beside(path, end);
            if beside.metadata().is_ok_and(|data| data.len() > 0) {
                return Err(format!(
                    "{} holds changes that are not in the database yet: stop Prosody, then run: sqlite3 {} '{how}'",
                    beside.display(),
                    path.display()
                ));
            }
        }
        let mut file = File::open(path).map_err(|error| error.to_string())?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).map_err(|_| "no SQLite database".to_owned())?;
        if !header.starts_with(MAGIC) {
            return Err("no SQLite database".to_owned());
        }
        let page_bytes = match u16_at(&header, 16)? {
            1 => 65_536,
            bytes => usize::from(bytes),
        };
        let usable = page_bytes.saturating_sub(usize::from(byte_at(&header, 20)?));
        if !page_bytes.is_power_of_two() || page_bytes < 512 || usable < 480 {
            return damaged();
        }
        if u32_at(&header, 56)? != 1 {
            return Err("the database is not in UTF-8".to_owned());
        }
        let len = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        let pages = u32::try_from(len / page_bytes as u64).or_else(|_| damaged())?;
        Ok(Self { file, page_bytes, usable, pages })
    }

    /// Finds a table in the schema.
    pub(super) fn table(&mut self, name: &str) -> Result<Option<TableRoot>, String> {
        let schema = TableRoot { root: 1, columns: Vec::new() };
        let mut found = None;
        self.scan(&schema, &mut |_, cells| {
            if let [kind, named, _, Cell::Integer(root), sql, ..] = cells
                && kind.text() == Some("table")
                && named.text() == Some(name)
            {
                found = Some((*root, sql.text().map(columns).unwrap_or_default()));
            }
            Ok(())
        })?;
        let Some((root, columns)) = found else { return Ok(None) };
        Ok(Some(TableRoot { root: u32::try_from(root).or_else(|_| damaged())?, columns }))
    }

    /// Goes through all rows in the order of their numbers.
    pub(super) fn scan(&mut self, table: &TableRoot, each: &mut EachRow<'_>) -> Result<(), String> {
        // Pages to come, the next one last, with their depth.
        let mut open = vec![(table.root, 0)];
        let mut visited: u64 = 0;
        while let Some((number, depth)) = open.pop() {
            visited += 1;
            if visited > u64::from(self.pages) || depth > SQLITE_PAGES_DEEP_MAX {
                return damaged();
            }
            let page = self.page(number)?;
            if page.kind == LEAF {
                for at in page.cells()? {
                    let (row, record) = self.leaf_cell(&page, at)?;
                    each(row, &cells(&record)?)?;
                }
                continue;
            }
            open.push((page.rightmost()?, depth + 1));
            for at in page.cells()?.into_iter().rev() {
                open.push((u32_at(&page.bytes, at)?, depth + 1));
            }
        }
        Ok(())
    }

    /// One row by its number.
    pub(super) fn row(&mut self, table: &TableRoot, row: i64) -> Result<Option<Vec<Cell>>, String> {
        let mut number = table.root;
        for _ in 0..=SQLITE_PAGES_DEEP_MAX {
            let page = self.page(number)?;
            let places = page.cells()?;
            if page.kind == LEAF {
                for at in places {
                    let (_, after) = varint(&page.bytes, at)?;
                    if varint(&page.bytes, after)?.0 as i64 == row {
                        let (_, record) = self.leaf_cell(&page, at)?;
                        return cells(&record).map(Some);
                    }
                }
                return Ok(None);
            }
            number = page.rightmost()?;
            for at in places {
                if row <= varint(&page.bytes, at + 4)?.0 as i64 {
                    number = u32_at(&page.bytes, at)?;
                    break;
                }
            }
        }
        damaged()
    }

    fn page(&mut self, number: u32) -> Result<Page, String> {
        let bytes = self.raw_page(number)?;
        let start = if number == 1 { HEADER_BYTES } else { 0 };
        let kind = byte_at(&bytes, start)?;
        if !matches!(kind, INTERIOR | LEAF) {
            return damaged();
        }
        Ok(Page { bytes, start, kind })
    }

    fn raw_page(&mut self, number: u32) -> Result<Vec<u8>, String> {
        if number == 0 || number > self.pages {
            return damaged();
        }
        let mut bytes = vec![0; self.page_bytes];
        let at = u64::from(number - 1) * self.page_bytes as u64;
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error: io::Error| error.to_string())?;
        Ok(bytes)
    }

    /// The row number and the record of a leaf's cell, with what overflowed.
    fn leaf_cell(&mut self, page: &Page, at: usize) -> Result<(i64, Vec<u8>), String> {
        let (len, at) = varint(&page.bytes, at)?;
        let (row, at) = varint(&page.bytes, at)?;
        let len = usize::try_from(len).or_else(|_| damaged())?;
        if len > SQLITE_RECORD_BYTES_MAX {
            return Err("a row is too large".to_owned());
        }
        let local = self.local_bytes(len);
        let mut record = slice(&page.bytes, at, local)?.to_vec();
        let mut next = if local < len { u32_at(&page.bytes, at + local)? } else { 0 };
        while record.len() < len {
            let overflow = self.raw_page(next)?;
            next = u32_at(&overflow, 0)?;
            let take = (len - record.len()).min(self.usable - 4);
            record.extend_from_slice(slice(&overflow, 4, take)?);
        }
        Ok((row as i64, record))
    }

    /// How many bytes of a record stand in its leaf.
    fn local_bytes(&self, len: usize) -> usize {
        let most = self.usable - 35;
        if len <= most {
            return len;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = least + (len - least) % (self.usable - 4);
        if local <= most { local } else { least }
    }
}

/// A page of a table's B-tree.
struct Page {
    bytes: Vec<u8>,
    /// Where its header is.
    start: usize,
    kind: u8,
}

impl Page {
    /// Where its cells are, in order.
    fn cells(&self) -> Result<Vec<usize>, String> {
        let count = usize::from(u16_at(&self.bytes, self.start + 3)?);
        let first = self.start + if self.kind == LEAF { 8 } else { 12 };
        (0..count).map(|cell| u16_at(&self.bytes, first + 2 * cell).map(usize::from)).collect()
    }

    fn rightmost(&self) -> Result<u32, String> {
        u32_at(&self.bytes, self.start + 8)
    }
}

/// The values of a record.
fn cells(record: &[u8]) -> Result<Vec<Cell>, String> {
    let (header_len, mut at) = varint(record, 0)?;
    let header_len = usize::try_from(header_len).or_else(|_| damaged())?;
    let header = record.get(..header_len).ok_or(DAMAGED)?;
    let mut body = header_len;
    let mut cells = Vec::new();
    while at < header_len {
        let (kind, next) = varint(header, at)?;
        at = next;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return damaged(),
            _ => (kind - 12) / 2,
        };
        let bytes = slice(record, body, usize::try_from(len).or_else(|_| damaged())?)?;
        body += bytes.len();
        cells.push(match kind {
            0 => Cell::Null,
            8 => Cell::Integer(0),
            9 => Cell::Integer(1),
            1..=6 => Cell::Integer(integer(bytes)),
            7 => Cell::Real(f64::from_bits(integer(bytes) as u64)),
            _ if kind % 2 == 0 => Cell::Blob,
            _ => Cell::Text(String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())?),
        });
    }
    Ok(cells)
}

/// Big-endian, with its sign.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| number << 8 | i64::from(*byte))
}

/// SQLite's integers of one to nine bytes; where the next thing begins.
fn varint(bytes: &[u8], at: usize) -> Result<(u64, usize), String> {
    let mut number = 0_u64;
    for place in 0..8 {
        let byte = byte_at(bytes, at + place)?;
        number = number << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Ok((number, at + place + 1));
        }
    }
    Ok((number << 8 | u64::from(byte_at(bytes, at + 8)?), at + 9))
}

fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], String> {
    at.checked_add(len).and_then(|end| bytes.get(at..end)).ok_or_else(|| DAMAGED.to_owned())
}

fn byte_at(bytes: &[u8], at: usize) -> Result<u8, String> {
    bytes.get(at).copied().ok_or_else(|| DAMAGED.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    slice(bytes, at, 2)?.try_into().map(u16::from_be_bytes).or_else(|_| damaged())
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    slice(bytes, at, 4)?.try_into().map(u32::from_be_bytes).or_else(|_| damaged())
}

/// `prosody.sqlite` → `prosody.sqlite-wal`.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// The names of the columns in a `CREATE TABLE` as Prosody writes it.
fn columns(sql: &str) -> Vec<String> {
    let inside = sql.split_once('(').map_or("", |(_, inside)| inside);
    let names = inside.split(',').filter_map(|column| column.split_whitespace().next());
    names.map(|name| name.trim_matches(['"', '`', '[', ']', '\'', ')']).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What Prosody 0.12 wrote; see `tests/prosody/README.md`.
    const REAL: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/prosody/prosody.sqlite"));

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("stonechat-sqlite-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
            let _ = std::fs::remove_file(beside(&self.0, "-wal"));
        }
    }

    #[test]
    fn rows_are_found_by_scan_and_by_number() {
        let file = Scratch::new("real", REAL);
        let mut sqlite = Sqlite::open(&file.0).unwrap();
        let table = sqlite.table("prosodyarchive").unwrap().unwrap();
        assert_eq!((table.column("sort_id"), table.column("when"), table.column("value")), (Some(0), Some(5), Some(8)));
        assert!(sqlite.table("nothing").unwrap().is_none());
        let mut all = Vec::new();
        sqlite
            .scan(&table, &mut |row, cells| {
                all.push((row, cells.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(all.len(), 2);
        for (row, cells) in &all {
            assert_eq!(sqlite.row(&table, *row).unwrap().as_ref(), Some(cells));
        }
        assert_eq!(sqlite.row(&table, 99).unwrap(), None);
    }

    #[test]
    fn changes_that_wait_beside_the_file_are_not_passed_over() {
        let file = Scratch::new("wal", REAL);
        std::fs::write(beside(&file.0, "-wal"), b"").unwrap();
        assert!(Sqlite::open(&file.0).is_ok());
        std::fs::write(beside(&file.0, "-wal"), b"x").unwrap();
        assert!(Sqlite::open(&file.0).unwrap_err().contains("wal_checkpoint"));
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_and_never_more() {
        let mut random = Random::seeded(1);
        for round in 0..300 {
            let mut bytes = REAL.to_vec();
            for _ in 0..1 + random.next_u64() % 40 {
                let at = (random.next_u64() % bytes.len() as u64) as usize;
                bytes[at] = random.next_u64() as u8;
            }
            if round % 3 == 0 {
                bytes.truncate((random.next_u64() % bytes.len() as u64) as usize);
            }
            let file = Scratch::new("damaged", &bytes);
            let Ok(mut sqlite) = Sqlite::open(&file.0) else { continue };
            if let Ok(Some(table)) = sqlite.table("prosody") {
                let mut rows = Vec::new();
                let _ = sqlite.scan(&table, &mut |row, _| {
                    rows.push(row);
                    Ok(())
                });
                for row in rows {
                    let _ = sqlite.row(&table, row);
                }
            }
        }
    }

    #[test]
    fn numbers_are_sqlites() {
        assert_eq!(varint(&[0x7F], 0), Ok((127, 1)));
        assert_eq!(varint(&[0x81, 0x00], 0), Ok((128, 2)));
        assert_eq!(varint(&[0xFF; 9], 0), Ok((u64::MAX, 9)));
        assert!(varint(&[0xFF; 8], 0).is_err());
        assert_eq!([integer(&[]), integer(&[0xFF]), integer(&[0x7F, 0xFF])], [0, -1, 32_767]);
    }
}
