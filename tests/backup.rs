//! `stonechat backup`: under load, restored, on a disk without room, and what it refuses.

#[path = "common/process.rs"]
mod process;

#[path = "common/small_disk.rs"]
mod small_disk;

use process::{FREE_PORTS, Folder, Server};
use small_disk::SmallDisk;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use stonechat::admin::client::call;
use stonechat::admin::{Answer, Request, UserRequest, socket_path};
use stonechat::im::accounts;
use stonechat::jid::Jid;
use stonechat::random::Random;
use stonechat::sasl::{Credentials, ScramHash, derive};
use stonechat::storage::{Disk, DiskOptions, offline};

/// Accounts before the backup begins: some chunks of rows.
const ACCOUNTS_BEFORE: usize = 1_500;

fn credentials() -> Credentials {
    let job = derive("secret", &[ScramHash::Sha256], 4_096, &mut Random::seeded(1));
    Credentials { keys: job.run().derived, disabled: false }
}

/// Adds accounts to a running server, one after the other, counts those that are acknowledged, and says when the backup
/// may begin.
fn add_accounts(data: &Path, acknowledged: &AtomicUsize, is_over: &AtomicBool, enough: &Sender<()>) {
    let credentials = credentials();
    let socket = socket_path(data);
    while !is_over.load(Ordering::SeqCst) {
        let number = acknowledged.load(Ordering::SeqCst);
        let address = Jid::parse(&format!("{}@localhost", name(number))).unwrap();
        let request = Request::User(UserRequest::Add { address, credentials: credentials.clone() });
        assert_eq!(call(&socket, &request).unwrap(), Answer::Done);
        acknowledged.store(number + 1, Ordering::SeqCst);
        if number == ACCOUNTS_BEFORE {
            enough.send(()).unwrap();
        }
    }
}

/// All over the keys: new rows come before and behind what a backup has copied.
fn name(number: usize) -> String {
    format!("u{:04x}-{number}", (number * 40_503) % 65_536)
}

fn with_load<T>(data: &Path, acknowledged: &AtomicUsize, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    let (enough, is_enough) = channel();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| add_accounts(data, acknowledged, &is_over, &enough));
        is_enough.recv_timeout(Duration::from_secs(120)).unwrap();
        let done = work();
        is_over.store(true, Ordering::SeqCst);
        load.join().unwrap();
        done
    })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What the documentation says of a backup, under load: all that was acknowledged before it began, commits whole.
#[test]
fn a_backup_under_load_is_a_store_with_all_that_was_acknowledged() {
    let folder = Folder::new("backup-load");
    fs::write(folder.0.join("stonechat.toml"), FREE_PORTS).unwrap();
    let data = folder.0.join("stonechat-data");
    let mut server = Server::start(&folder);
    let acknowledged = AtomicUsize::new(0);
    let before = with_load(&data, &acknowledged, || {
        let before = acknowledged.load(Ordering::SeqCst);
        let (code, out, err) = folder.run(&["backup", "copy.redb"], "");
        assert!(code == 0 && out.ends_with(" bytes written to copy.redb\n"), "{out}{err}");
        before
    });
    let after = acknowledged.load(Ordering::SeqCst);
    assert!(after > before, "nothing was written meanwhile");
    assert_eq!(mode(&folder.0.join("copy.redb")), 0o600);
    assert!(!folder.0.join("copy.redb.new").exists());
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));

    // In its place, a server serves it.
    fs::rename(folder.0.join("copy.redb"), data.join("store.redb")).unwrap();
    let mut server = Server::start(&folder);
    let listed: Vec<String> = folder.run(&["user", "list"], "").1.lines().map(str::to_owned).collect();
    for number in 0..before {
        let address = format!("{}@localhost", name(number));
        assert!(listed.binary_search(&address).is_ok(), "{address} is missing of {before}");
    }
    assert_eq!(folder.run(&["user", "add", "zoe@localhost"], "secret\n").0, 0);
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));

    // An account and the counters of its domain are one commit: they are in it together.
    let mut store = Disk::open(&data.join("store.redb"), DiskOptions::default()).unwrap();
    let counters = offline::run(&mut store, |store| accounts::offered(store, "localhost")).unwrap();
    assert_eq!(counters.accounts, listed.len() as u64 + 1);
    // What was acknowledged is a prefix of what was asked for; so is what is in the copy.
    for number in 0..listed.len() {
        assert!(listed.binary_search(&format!("{}@localhost", name(number))).is_ok(), "{number} of {}", listed.len());
    }
}

#[test]
fn a_backup_without_a_server_and_what_is_refused() {
    let folder = Folder::new("backup-offline");
    let data = folder.data();
    assert_eq!(folder.run(&["user", "add", "alice@localhost"], "secret\n").0, 0);
    let (code, out, err) = folder.run(&["backup", "copy.redb"], "");
    assert!(code == 0 && out.contains(" rows, "), "{out}{err}");
    assert_eq!(mode(&folder.0.join("copy.redb")), 0o600);
    let first = fs::read(folder.0.join("copy.redb")).unwrap();

    let (code, _, err) = folder.run(&["backup", "copy.redb"], "");
    assert!(code == 1 && err.ends_with("copy.redb is there already; name another file, or add --replace\n"), "{err}");
    assert_eq!(fs::read(folder.0.join("copy.redb")).unwrap(), first);
    let store = data.join("store.redb");
    for replace in [false, true] {
        let words: Vec<&str> =
            ["backup", store.to_str().unwrap()].into_iter().chain(replace.then_some("--replace")).collect();
        let (code, _, err) = folder.run(&words, "");
        assert!(code == 1 && err.ends_with("store.redb is the store itself; name another file\n"), "{err}");
    }
    for (words, why) in [
        (&["backup", "no-folder/copy.redb"][..], "no-folder/copy.redb.new: No such file"),
        (&["backup", "--replace", "stonechat-data"], "stonechat-data is no file"),
    ] {
        let (code, _, err) = folder.run(words, "");
        assert!(code == 1 && err.contains(why), "{err}");
    }
    assert_eq!(folder.run(&["backup"], "").0, 2);
    assert_eq!(folder.run(&["backup", "a", "b"], "").0, 2);

    // A crash left half of one; another one has taken its name since.
    fs::write(folder.0.join("copy.redb.new"), "half").unwrap();
    assert_eq!(folder.run(&["user", "add", "bob@localhost"], "secret\n").0, 0);
    let (code, _, err) = folder.run(&["backup", "--replace", "copy.redb"], "");
    assert_eq!((code, err.lines().count()), (0, 1), "{err}");
    fs::rename(folder.0.join("copy.redb"), &store).unwrap();
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\nbob@localhost\n");

    // Somebody writes it at this moment.
    let busy = fs::File::create(folder.0.join("busy.redb.new")).unwrap();
    busy.lock().unwrap();
    let (code, _, err) = folder.run(&["backup", "busy.redb"], "");
    assert!(code == 1 && err.contains("another process is writing it"), "{err}");
    assert!(folder.0.join("busy.redb.new").exists());
}

/// No room for the backup: it says so, leaves nothing, and the server goes on.
#[test]
fn a_backup_without_room_leaves_nothing_and_the_server_unharmed() {
    let folder = Folder::new("backup-full");
    let small = folder.0.join("small");
    let Some(_disk) = SmallDisk::mount(&small, 12 * 1024 * 1024) else {
        return;
    };
    fs::write(folder.0.join("stonechat.toml"), FREE_PORTS).unwrap();
    let mut server = Server::start(&folder);
    fs::write(small.join("others"), vec![1; 4 * 1024 * 1024]).unwrap();
    for _ in 0..2 {
        let (code, out, err) = folder.run(&["backup", "small/copy.redb"], "");
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("the backup does not fit its disk: ") && err.contains(" bytes free"), "{err}");
        let left: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["others"]);
    }
    assert_eq!(folder.run(&["user", "add", "alice@localhost"], "secret\n").0, 0);
    assert_eq!(folder.run(&["backup", "copy.redb"], "").0, 0);
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));
}
