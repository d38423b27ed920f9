//! Salvage: what can still be read of a damaged store, past the database that refuses it.
//!
//! ```text
//! header ▶ table tree ▶ "rows" ▶ branches ▶ leaves ──rows, in the order of their keys──▶ a new store
//!              └── a page that is no page: its keys are lost ──▶ any other leaf that has such keys
//! ```
//!
//! The database trusts its file, and may not even open it when a page is not what it was. Here nothing is trusted:
//! each page is looked at by itself, in the order of redb's file format 3 (its `docs/design.md`), and one that cannot be
//! read costs the keys below it, no more. For those keys all pages of the file are looked through that nothing leads
//! to: one of them may hold them still, as they were before their last change. Whose checksum is wrong is not noticed if
//! its structure is right; rows are judged again when they are read.
//!
//! The damaged file is only read.

use super::disk::{DiskCopy, FORMAT_VERSION, version_key};
use super::keys::Table;
use super::lock::LockFile;
use super::{Row, StoreError};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::limits::{SALVAGE_DEPTH_MAX, SALVAGE_PAGE_BYTES_MAX};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Rows in the new store.
    pub rows: u64,
    /// Those of them that lay in pages to which nothing leads: they may be older than the last change of them.
    pub stray_rows: u64,
    /// Pages that could not be read; with a branch goes all below it.
    pub pages_lost: u64,
}

/// Puts what can be read of the store at `from`, which nobody uses, into the empty file `to`; `spare_bytes` of its disk are
/// left free.
///
/// # Errors
///
/// [`StoreError`]: there is no store at `from`, a process has it, or the new file cannot be written.
pub fn salvage(from: &Path, to: File, spare_bytes: u64) -> Result<Salvaged, StoreError> {
    let file = File::open(from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing { path: from.to_owned() },
        _ => StoreError::io("opening", from, &error),
    })?;
    let _lock = LockFile::take(from)?;
    let bytes = file.metadata().map_err(|error| StoreError::io("reading", from, &error))?.len();
    let mut salvage = Salvage {
        pages: Pages::of(file, bytes),
        copy: DiskCopy::new(to, spare_bytes)?,
        seen: HashSet::new(),
        lost: Vec::new(),
        found: Salvaged::default(),
    };
    match salvage.pages.rows_root() {
        Some(Some(root)) => salvage.walk(root, Bounds::default(), 0)?,
        // A store without rows would have no format either: this one has lost its way to them.
        Some(None) | None => salvage.lose(Bounds::default()),
    }
    salvage.look_through()?;
    salvage.stamp()?;
    let Salvage { copy, mut found, .. } = salvage;
    found.rows = copy.finish()?;
    Ok(found)
}

struct Salvage {
    pages: Pages,
    copy: DiskCopy,
    /// Where the pages begin to which something leads.
    seen: HashSet<u64>,
    /// Keys whose pages could not be read, in order.
    lost: Vec<Bounds>,
    found: Salvaged,
}

/// Keys above one and up to another.
#[derive(Clone, Debug, Default)]
struct Bounds {
    above: Option<Vec<u8>>,
    up_to: Option<Vec<u8>>,
}

impl Bounds {
    fn contains(&self, key: &[u8]) -> bool {
        self.above.as_deref().is_none_or(|above| key > above) && self.up_to.as_deref().is_none_or(|up_to| key <= up_to)
    }
}

impl Salvage {
    fn walk(&mut self, page: PageNumber, bounds: Bounds, depth: usize) -> Result<(), StoreError> {
        let place = self.pages.place(page);
        // A page that has been read already, or one of its own parents: no tree has that.
        if depth > SALVAGE_DEPTH_MAX || !place.is_some_and(|(at, _)| self.seen.insert(at)) {
            self.lose(bounds);
            return Ok(());
        }
        let bytes = place.and_then(|(at, len)| self.pages.read(at, len)).unwrap_or_default();
        if let Some(rows) = leaf(&bytes).filter(|rows| rows.iter().all(|(key, _)| bounds.contains(key))) {
            return self.copy.add(&rows);
        }
        let Some(children) = branch(&bytes, &bounds) else {
            self.lose(bounds);
            return Ok(());
        };
        drop(bytes);
        children.into_iter().try_for_each(|(child, bounds)| self.walk(child, bounds, depth + 1))
    }

    fn lose(&mut self, bounds: Bounds) {
        self.found.pages_lost += 1;
        self.lost.push(bounds);
    }

    /// Looks for the keys that are lost in pages to which nothing leads.
    fn look_through(&mut self) -> Result<(), StoreError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let mut at = self.pages.first;
        while at < self.pages.bytes {
            if !self.seen.contains(&at) {
                let mut rows = self.pages.stray_leaf(at).unwrap_or_default();
                rows.retain(|(key, _)| self.lost.iter().any(|lost| lost.contains(key)));
                self.found.stray_rows += self.copy.add_new(&rows)?;
            }
            at += self.pages.page_bytes;
        }
        Ok(())
    }

    /// Without the row that says so it would be no store.
    fn stamp(&mut self) -> Result<(), StoreError> {
        let key = version_key().as_bytes().to_vec();
        self.copy.add_new(&[(key, FORMAT_VERSION.to_be_bytes().to_vec())])?;
        Ok(())
    }
}

/// Where a page is: region, index, and its size as a power of two.
#[derive(Clone, Copy, Debug)]
struct PageNumber(u64);

/// The file, as pages.
struct Pages {
    file: File,
    bytes: u64,
    page_bytes: u64,
    region_header_pages: u64,
    region_pages_max: u64,
    /// Where the first page is.
    first: u64,
}

const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
const HEADER_BYTES: usize = 320;
const SLOTS: [usize; 2] = [64, 192];
/// The database's own page size; a damaged header says nothing that could be trusted more.
const PAGE_BYTES: u64 = 4096;
/// As redb makes them: 4 GiB of pages behind one page of header.
const REGION_HEADER_PAGES: u64 = 1;
const REGION_PAGES_MAX: u64 = 1 << 20;

impl Pages {
    fn of(file: File, bytes: u64) -> Self {
        let mut pages = Self {
            file,
            bytes,
            page_bytes: PAGE_BYTES,
            region_header_pages: REGION_HEADER_PAGES,
            region_pages_max: REGION_PAGES_MAX,
            first: PAGE_BYTES,
        };
        if let Some(header) = pages.header() {
            pages.region_header_pages = u32_at(&header, 16).map_or(REGION_HEADER_PAGES, u64::from);
            pages.region_pages_max = u32_at(&header, 20).map_or(REGION_PAGES_MAX, u64::from);
        }
        pages
    }

    fn header(&self) -> Option<Vec<u8>> {
        let header = self.read(0, HEADER_BYTES as u64)?;
        let is_whole = header.starts_with(MAGIC) && u32_at(&header, 12) == Some(PAGE_BYTES as u32);
        is_whole.then_some(header)
    }

    /// The root of the tree of rows, by the newer of the two commits that can be followed. `None`: neither can.
    fn rows_root(&self) -> Option<Option<PageNumber>> {
        let header = self.header()?;
        let primary = usize::from(header.get(9)? & 1);
        [primary, 1 - primary].into_iter().find_map(|slot| {
            let slot = header.get(*SLOTS.get(slot)?..)?;
            let has_root = *slot.get(1)? != 0;
            self.table(PageNumber(u64_at(slot, 8).filter(|_| has_root)?))
        })
    }

    /// The root of the table of rows, found in the tree of tables. There is one table, so that tree is one leaf.
    fn table(&self, tables: PageNumber) -> Option<Option<PageNumber>> {
        let (at, len) = self.place(tables)?;
        let (_, definition) = pairs(&self.read(at, len)?)?.into_iter().find(|(name, _)| name == b"rows")?;
        let has_root = *definition.get(9)? != 0;
        Some(u64_at(&definition, 10).filter(|_| has_root).map(PageNumber))
    }

    /// Where a page begins, and its length; none if that is not in the file.
    fn place(&self, PageNumber(number): PageNumber) -> Option<(u64, u64)> {
        let order = number >> 59;
        let index = number & (0x000F_FFFF >> order);
        let region = number >> 20 & 0x000F_FFFF;
        let len = self.page_bytes.checked_shl(u32::try_from(order).ok()?)?;
        let region_bytes = (self.region_header_pages + self.region_pages_max).checked_mul(self.page_bytes)?;
        let at = region.checked_mul(region_bytes)?.checked_add(index.checked_mul(len)?)?;
        let at = at.checked_add(self.first + self.region_header_pages * self.page_bytes)?;
        (len <= SALVAGE_PAGE_BYTES_MAX && at.checked_add(len)? <= self.bytes).then_some((at, len))
    }

    fn read(&self, at: u64, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
    }

    /// The rows of a leaf that begins there, however long it is.
    fn stray_leaf(&self, at: u64) -> Option<Vec<Row>> {
        let bytes = self.read(at, self.page_bytes.min(self.bytes - at))?;
        let end = leaf_end(&bytes)?;
        if end <= bytes.len() {
            return leaf(&bytes);
        }
        let len = (end as u64).checked_next_power_of_two()?.max(self.page_bytes);
        let is_there = len <= SALVAGE_PAGE_BYTES_MAX && at + end as u64 <= self.bytes;
        leaf(&self.read(at, is_there.then_some(end as u64)?)?)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Cuts what lies between ends that only grow, from `start` on.
fn cut(bytes: &[u8], ends_at: usize, count: usize, start: usize) -> Option<Vec<&[u8]>> {
    let mut from = start;
    let one = |number: usize| {
        let to = u32_at(bytes, ends_at + 4 * number)? as usize;
        let part = bytes.get(from..to)?;
        from = to;
        Some(part)
    };
    (0..count).map(one).collect()
}

const LEAF: u8 = 1;
const BRANCH: u8 = 2;

/// Where the last value of a leaf ends, by what its head says.
fn leaf_end(bytes: &[u8]) -> Option<usize> {
    let count = usize::from(u16_at(bytes, 2)?);
    if *bytes.first()? != LEAF || count == 0 {
        return None;
    }
    Some(u32_at(bytes, 4 + 4 * (2 * count - 1))? as usize)
}

/// The pairs of a leaf, if it is one, and whole.
fn pairs(bytes: &[u8]) -> Option<Vec<Row>> {
    leaf_end(bytes)?;
    let count = usize::from(u16_at(bytes, 2)?);
    let keys = cut(bytes, 4, count, 4 + 8 * count)?;
    let values_at = u32_at(bytes, 4 + 4 * (count - 1))? as usize;
    let values = cut(bytes, 4 + 4 * count, count, values_at)?;
    let is_sorted = keys.windows(2).all(|pair| matches!(pair, [one, other] if one < other));
    is_sorted.then(|| keys.into_iter().zip(values).map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
}

/// The rows of a leaf of ours.
fn leaf(bytes: &[u8]) -> Option<Vec<Row>> {
    let is_ours = |key: &[u8]| Table::ALL.iter().any(|table| key.first() == Some(&(*table as u8)));
    pairs(bytes).filter(|rows| rows.iter().all(|(key, _)| is_ours(key)))
}

/// The children of a branch, each with the keys that it has.
fn branch(bytes: &[u8], bounds: &Bounds) -> Option<Vec<(PageNumber, Bounds)>> {
    let count = usize::from(u16_at(bytes, 2)?);
    if *bytes.first()? != BRANCH || count == 0 {
        return None;
    }
    let (numbers_at, ends_at) = (8 + 16 * (count + 1), 8 + 24 * (count + 1));
    let keys = cut(bytes, ends_at, count, ends_at + 4 * count)?;
    let in_order = keys.windows(2).all(|pair| matches!(pair, [one, other] if one < other));
    if !in_order || !keys.iter().all(|key| bounds.contains(key)) {
        return None;
    }
    let mut above = bounds.above.clone();
    let mut ups = keys.into_iter().map(|key| Some(key.to_vec())).chain([bounds.up_to.clone()]);
    let child = |number: usize| {
        let up_to = ups.next()?;
        let bounds = Bounds { above: std::mem::replace(&mut above, up_to.clone()), up_to };
        Some((PageNumber(u64_at(bytes, numbers_at + 8 * number)?), bounds))
    };
    (0..=count).map(child).collect()
}

#[cfg(test)]
mod tests;
