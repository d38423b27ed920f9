//! The real store on a machine that fails when it is told to.

use super::*;
use crate::random::Random;
use crate::scratch::Folder;
use crate::storage::{Pressure, Store, Ticket, Woken, pump};
use redb::StorageBackend;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A disk with a write cache of its own.
#[derive(Debug, Default)]
struct Platter {
    /// What has been written, as a read sees it.
    seen: Vec<u8>,
    /// What survives a power cut for certain.
    synced: Vec<u8>,
    /// What was written since the last sync and may survive, each piece for itself.
    cached: Vec<(usize, Vec<u8>)>,
    /// Operations that still work; none fails if there is no number.
    works: Option<u32>,
    /// Whether it fails once only, or for good.
    recovers: bool,
    operations: u32,
}

impl Platter {
    fn operate(&mut self) -> Result<(), io::Error> {
        self.operations += 1;
        match &mut self.works {
            Some(0) => {
                if self.recovers {
                    self.works = None;
                }
                Err(io::Error::other("the disk is broken"))
            }
            Some(works) => {
                *works -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn set_len(&mut self, len: usize) {
        // The length of a file is the file system's journal's business: it is kept.
        self.seen.resize(len, 0);
        self.synced.resize(len, 0);
        self.cached.retain(|(offset, data)| offset + data.len() <= len);
    }

    /// The power goes: of what was not synced, some sectors are there and some are not.
    fn cut_power(&self, random: &mut Random) -> Self {
        const SECTOR_BYTES: usize = 512;
        let mut image = self.synced.clone();
        for (offset, data) in &self.cached {
            for (at, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                if random.next_u64().is_multiple_of(2) {
                    let at = offset + at * SECTOR_BYTES;
                    image[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        Self { seen: image.clone(), synced: image, ..Self::default() }
    }
}

#[derive(Clone, Debug, Default)]
struct Backend(Arc<Mutex<Platter>>);

impl Backend {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.platter().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let mut platter = self.platter();
        platter.operate()?;
        let from = offset as usize;
        let bytes = platter.seen.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut platter = self.platter();
        platter.operate()?;
        platter.set_len(len as usize);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut platter = self.platter();
        platter.operate()?;
        platter.synced = platter.seen.clone();
        platter.cached.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut platter = self.platter();
        platter.operate()?;
        let from = offset as usize;
        platter.seen[from..from + data.len()].copy_from_slice(data);
        platter.cached.push((from, data.to_vec()));
        Ok(())
    }
}

/// A machine whose disk, clock and space are the test's.
#[derive(Clone, Default)]
struct Fake {
    backend: Backend,
    now_ms: Arc<AtomicU32>,
    free: Arc<Mutex<Option<u64>>>,
    opens: Arc<AtomicU32>,
    repairs: Arc<AtomicU32>,
}

impl Fake {
    /// What is on the platter, opened by the database alone.
    fn database(&self) -> Database {
        Database::builder().create_with_backend(self.backend.clone()).unwrap()
    }
}

impl System for Fake {
    fn now_ms(&mut self) -> u64 {
        self.now_ms.load(Ordering::Relaxed).into()
    }

    fn free_bytes(&mut self, _: &Path) -> Option<u64> {
        *self.free.lock().unwrap()
    }

    fn open(&mut self, builder: &mut Builder, mut file: File) -> Result<Database, DatabaseError> {
        io::Write::write_all(&mut file, b"stands for the platter")?;
        self.opens.fetch_add(1, Ordering::Relaxed);
        let repairs = Arc::clone(&self.repairs);
        builder.set_repair_callback(move |_| {
            repairs.fetch_add(1, Ordering::Relaxed);
        });
        builder.create_with_backend(self.backend.clone())
    }
}

fn open(folder: &Folder, fake: &Fake) -> Result<Disk, StoreError> {
    let options = DiskOptions { create: true, ..DiskOptions::default() };
    Disk::open_on(&folder.path("store.redb"), options, Box::new(fake.clone()))
}

fn batch(rows: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in rows {
        match value {
            Some(value) => batch.put(key.as_bytes(), value.as_bytes()),
            None => batch.delete(key.as_bytes()),
        }
    }
    batch
}

/// Unit `number`: two rows that must be there together.
fn unit(number: u32) -> Batch {
    let text = format!("{number:05}");
    batch(&[(&format!("a{text}"), Some(&text)), (&format!("b{text}"), Some(&"long ".repeat(300)))])
}

/// The units in the store, in order; panics if one is there in part.
fn units(disk: &mut Disk) -> Vec<u32> {
    let numbers = |disk: &mut Disk, table: &str| -> Vec<u32> {
        let rows = disk.range(&KeyRange::under(table.as_bytes(), 1000)).unwrap().rows;
        rows.iter().map(|(key, _)| std::str::from_utf8(&key[1..]).unwrap().parse().unwrap()).collect()
    };
    let (a, b) = (numbers(disk, "a"), numbers(disk, "b"));
    assert_eq!(a, b, "a unit is there in part");
    a
}

#[test]
fn an_io_error_anywhere_closes_the_file_and_a_later_try_writes_the_same_generation() {
    let mut injected = 0;
    for works in 0.. {
        let (folder, fake) = (Folder::new("disk"), Fake::default());
        let mut disk = open(&folder, &fake).unwrap();
        disk.commit(&unit(1)).unwrap();
        {
            let mut platter = fake.backend.platter();
            (platter.works, platter.recovers) = (Some(works), true);
        }
        let Err(error) = disk.commit(&unit(2)) else { break };
        injected += 1;
        assert!(matches!(error, StoreError::Io { .. }), "operation {works}: {error:?}");
        let opens = fake.opens.load(Ordering::Relaxed);
        assert_eq!(disk.commit(&unit(2)), Err(StoreError::Unavailable), "operation {works}");
        assert_eq!(disk.get(b"a00001"), Err(StoreError::Unavailable), "operation {works}");
        assert_eq!(fake.opens.load(Ordering::Relaxed), opens, "opened without back-off");
        fake.now_ms.fetch_add(retry_ms(1) as u32, Ordering::Relaxed);
        assert_eq!(disk.commit(&unit(2)), Ok(()), "operation {works}");
        assert_eq!(units(&mut disk), [1, 2], "operation {works}");
    }
    assert!(injected >= 4, "a commit is more than {injected} operations");
}

#[test]
fn back_off_doubles_while_the_disk_stays_broken() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    fake.backend.platter().works = Some(0);
    assert!(matches!(disk.commit(&unit(1)), Err(StoreError::Io { .. })));
    for failures in 1..=5 {
        fake.now_ms.fetch_add(retry_ms(failures) as u32 - 1, Ordering::Relaxed);
        assert_eq!(disk.commit(&unit(1)), Err(StoreError::Unavailable), "after {failures} failures");
        fake.now_ms.fetch_add(1, Ordering::Relaxed);
        assert!(matches!(disk.commit(&unit(1)), Err(StoreError::Io { .. })), "after {failures} failures");
    }
    fake.backend.platter().works = None;
    fake.now_ms.fetch_add(retry_ms(6) as u32, Ordering::Relaxed);
    assert_eq!(disk.commit(&unit(1)), Ok(()));
    assert_eq!(units(&mut disk), [1]);
}

#[test]
fn after_a_power_cut_at_any_operation_all_that_was_acknowledged_is_there_and_no_unit_in_part() {
    const UNITS: u32 = 6;
    let mut random = Random::seeded(0x5222);
    let mut cuts = 0;
    for works in 0.. {
        let (folder, fake) = (Folder::new("disk"), Fake::default());
        let mut disk = open(&folder, &fake).unwrap();
        fake.backend.platter().works = Some(works);
        let acknowledged = (1..=UNITS).take_while(|number| disk.commit(&unit(*number)).is_ok()).count();
        let image = fake.backend.platter().cut_power(&mut random);
        drop(disk);
        let after = Fake { backend: Backend(Arc::new(Mutex::new(image))), ..Fake::default() };
        let mut disk = open(&folder, &after).unwrap();
        let there = units(&mut disk).len();
        // One more may have made it: its answer was cut off.
        assert!(
            there == acknowledged || there == acknowledged + 1,
            "cut at {works}: {acknowledged} said, {there} there"
        );
        disk.commit(&unit(UNITS + 1)).unwrap();
        cuts += 1;
        if acknowledged == UNITS as usize {
            break;
        }
    }
    assert!(cuts > 20, "{cuts} cuts");
}

#[test]
fn with_quick_repair_a_crash_needs_no_walk_through_the_file() {
    let is_walked = |quick_repair: bool| {
        let (folder, fake) = (Folder::new("disk"), Fake::default());
        let mut disk = open(&folder, &fake).unwrap();
        disk.options.quick_repair = quick_repair;
        (0..3).for_each(|number| disk.commit(&unit(number)).unwrap());
        let image = fake.backend.platter().cut_power(&mut Random::seeded(1));
        drop(disk);
        let after = Fake { backend: Backend(Arc::new(Mutex::new(image))), ..Fake::default() };
        let mut disk = open(&folder, &after).unwrap();
        assert_eq!(units(&mut disk), [0, 1, 2]);
        after.repairs.load(Ordering::Relaxed) > 0
    };
    assert!(!is_walked(true));
    assert!(is_walked(false));
}

#[test]
fn a_commit_that_would_touch_the_reserve_is_refused_and_the_file_stays_open() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    let unit = unit(1);
    let needed = DISK_RESERVE_BYTES + 2 * unit.bytes() as u64;
    *fake.free.lock().unwrap() = Some(needed - 1);
    let opens = fake.opens.load(Ordering::Relaxed);
    assert_eq!(disk.commit(&unit), Err(StoreError::DiskFull { free: needed - 1, needed }));
    assert_eq!(units(&mut disk), [0; 0]);
    *fake.free.lock().unwrap() = Some(needed);
    assert_eq!(disk.commit(&unit), Ok(()));
    assert_eq!(fake.opens.load(Ordering::Relaxed), opens);
}

/// The whole way: the disk fills under a store, answers wait, room is made, everything is there.
#[test]
fn a_full_disk_holds_answers_until_there_is_room() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    let (mut store, mut woken) = (Store::new(4096), Woken::default());
    *fake.free.lock().unwrap() = Some(1000);
    let mut last = Ticket::NONE;
    let mut written = 0;
    loop {
        store.begin();
        if store.put(format!("a{written:05}").as_bytes(), &[7; 100]).is_err() {
            store.discard();
            break;
        }
        last = store.finish();
        written += 1;
        pump(&mut store, &mut disk, written, &mut woken);
        assert!(!store.is_durable(last));
    }
    assert!(store.pressure() >= Pressure::High);
    assert!(woken.faults.iter().all(|fault| matches!(fault, StoreError::DiskFull { .. })));
    assert!(!woken.faults.is_empty() && woken.durable == Ticket::NONE);
    *fake.free.lock().unwrap() = None;
    for _ in 0..2 {
        pump(&mut store, &mut disk, 1_000_000, &mut woken);
    }
    assert!(store.is_durable(last));
    assert_eq!(disk.range(&KeyRange::under(b"a", 1000)).unwrap().rows.len() as u64, written);
    assert_eq!(store.pressure(), Pressure::Calm);
}

#[test]
fn a_newer_format_is_refused_and_an_older_one_is_brought_up_to_date() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    disk.commit(&batch(&[("key", Some("one"))])).unwrap();
    let path = folder.path("store.redb");
    let database = disk.database.as_ref().unwrap();
    let steps: [Migration; 2] = [
        |table| {
            assert_eq!(table.get(&b"key"[..])?.unwrap().value(), b"one");
            table.insert(&b"key"[..], &b"two"[..])?;
            Ok(())
        },
        |table| {
            assert_eq!(table.get(&b"key"[..])?.unwrap().value(), b"two");
            table.insert(&b"key"[..], &b"three"[..])?;
            Ok(())
        },
    ];
    assert_eq!(version(database).unwrap(), Some(FORMAT_VERSION));
    write(database, true, |table| set_version(table, 1)).unwrap();
    migrate(database, &path, &steps[..1]).unwrap();
    assert_eq!(version(database).unwrap(), Some(2));
    migrate(database, &path, &steps).unwrap();
    assert_eq!(version(database).unwrap(), Some(3));
    migrate(database, &path, &steps).unwrap();
    assert_eq!(disk.get(b"key").unwrap().as_deref(), Some(&b"three"[..]));
    drop(disk);
    let error = open(&folder, &fake).unwrap_err();
    assert_eq!(error, StoreError::NewerFormat { found: 3, known: FORMAT_VERSION });
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[test]
fn a_migration_that_fails_leaves_the_version_and_the_rows() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    disk.commit(&batch(&[("key", Some("one"))])).unwrap();
    let fails: Migration = |table| {
        table.insert(&b"key"[..], &b"half"[..])?;
        Err(redb::Error::Corrupted("for the test".to_owned()))
    };
    let database = disk.database.as_ref().unwrap();
    write(database, true, |table| set_version(table, 1)).unwrap();
    assert!(migrate(database, &folder.path("store.redb"), &[fails]).is_err());
    assert_eq!(version(database).unwrap(), Some(1));
    assert_eq!(disk.get(b"key").unwrap().as_deref(), Some(&b"one"[..]));
}

#[test]
fn a_store_that_vanishes_is_not_replaced_by_an_empty_one() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    {
        let mut platter = fake.backend.platter();
        (platter.works, platter.recovers) = (Some(0), true);
    }
    assert!(disk.commit(&unit(1)).is_err());
    fs::remove_file(folder.path("store.redb")).unwrap();
    fake.now_ms.fetch_add(retry_ms(1) as u32, Ordering::Relaxed);
    assert_eq!(disk.commit(&unit(1)), Err(StoreError::Missing { path: folder.path("store.redb") }));
    assert!(!folder.path("store.redb").exists());
}

#[test]
fn no_read_transaction_outlives_its_fetch() {
    let (folder, fake) = (Folder::new("disk"), Fake::default());
    let mut disk = open(&folder, &fake).unwrap();
    disk.commit(&unit(1)).unwrap();
    let rows = disk.fetch(&[KeyRange::one(b"a00001"), KeyRange::under(b"", 10)]).unwrap();
    assert_eq!(rows.iter().map(|rows| rows.rows.len()).collect::<Vec<_>>(), [1, 3]);
    // redb refuses to compact while anything reads.
    disk.compact().unwrap();
}

/// A file that the program of format 1 wrote: see `tests/stores/README.md`.
const FORMAT_1: &[u8] = include_bytes!("../../../tests/stores/format1.redb");

/// Whenever the power goes during the upgrade, the next start finds the one version or the other, and all accounts.
#[test]
fn a_power_cut_during_the_upgrade_leaves_either_version() {
    let mut random = Random::seeded(0x5223);
    let (mut old, mut new) = (0, 0);
    let platter = |bytes: &[u8]| Platter { seen: bytes.to_vec(), synced: bytes.to_vec(), ..Platter::default() };
    let fake = |platter| Fake { backend: Backend(Arc::new(Mutex::new(platter))), ..Fake::default() };
    let accounts = |disk: &mut Disk| disk.range(&Key::new(Table::Accounts).range(10)).unwrap().rows;
    let before = accounts(&mut open(&Folder::new("disk"), &fake(platter(FORMAT_1))).unwrap());
    assert_eq!(before.len(), 2);
    for works in 0.. {
        let (folder, cut) = (Folder::new("disk"), fake(Platter { works: Some(works), ..platter(FORMAT_1) }));
        fs::write(folder.path("store.redb"), "stands for the platter").unwrap();
        let outcome = open(&folder, &cut).map(|_| ());
        let image = cut.backend.platter().cut_power(&mut random);
        let found = version(&fake(image.cut_power(&mut random)).database()).unwrap();
        match found {
            Some(1) => old += 1,
            Some(2) => new += 1,
            other => panic!("cut at {works}: version {other:?}"),
        }
        assert!(outcome.is_err() || found == Some(FORMAT_VERSION), "cut at {works}");
        let mut disk = open(&folder, &fake(image)).unwrap();
        assert_eq!(accounts(&mut disk), before, "cut at {works}");
        assert_eq!(version(disk.database.as_ref().unwrap()).unwrap(), Some(FORMAT_VERSION));
        if outcome.is_ok() {
            break;
        }
    }
    assert!(old > 3 && new > 0, "{old} old, {new} new");
}
