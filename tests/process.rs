//! The server as a process: whose it is, what it may touch, and what it does when the machine lets it down.

#[path = "common/process.rs"]
mod process;
mod tls_common;

use process::{FREE_PORTS, Folder, Server};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use stonechat::storage::{Disk, DiskOptions};
use stonechat::transport::certs::make_self_signed;
use tls_common::{Ca, date};

const HEADER: &[u8] = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn configure(folder: &Folder, top: &str, rest: &str) {
    fs::write(folder.0.join("stonechat.toml"), format!("{top}\n{FREE_PORTS}\n{rest}")).unwrap();
}

fn status_of(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything below a folder, itself included.
fn all_below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| all_below(&entry.unwrap().path())));
    }
    found
}

/// Connects and hears the beginning of a stream.
fn is_served(address: &str) -> bool {
    let mut answer = [0; 16];
    let mut talk = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(HEADER)?;
        stream.read(&mut answer)
    };
    talk().is_ok_and(|count| count > 0)
}

#[cfg(target_os = "linux")]
#[test]
fn root_opens_the_ports_and_a_user_does_the_rest() {
    let folder = Folder::new("user");
    configure(&folder, "user = \"nobody\"\ndata_dir = \"data\"", "");
    if !is_root() {
        let (code, _, err) = folder.run(&[], "");
        assert!(code == 3 && err.contains("only root can"), "{err}");
        return;
    }
    let mut server = Server::start(&folder);
    let pid = server.child.id();
    let data = folder.0.join("data");
    let owner = fs::metadata(&data).unwrap();
    let (uid, gid) = (owner.uid(), owner.gid());
    assert!(uid != 0 && gid != 0 && owner.permissions().mode() & 0o777 == 0o700);
    assert_eq!(status_of(pid, "Uid"), [uid; 4].map(|id| id.to_string()).join(" "));
    assert_eq!(status_of(pid, "Gid"), [gid; 4].map(|id| id.to_string()).join(" "));
    assert!(!status_of(pid, "Groups").split(' ').any(|group| group == "0"));
    assert_eq!((status_of(pid, "CapEff").as_str(), status_of(pid, "NoNewPrivs").as_str()), ("0000000000000000", "1"));
    assert!(is_served(server.address("(STARTTLS)")));

    // What root does beside it is the user's too.
    let (code, _, err) = folder.run(&["user", "add", "alice@localhost"], "secret\n");
    assert_eq!(code, 0, "{err}");
    assert_eq!(folder.run(&["reload"], "").0, 0);
    folder.run(&["stop"], "");
    assert_eq!(server.ended().1, Some(0));
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\n");
    folder.run(&["user", "add", "bob@localhost"], "secret\n");
    for path in all_below(&data) {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), uid, "{}", path.display());
    }
    let mut server = Server::start(&folder);
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\nbob@localhost\n");
    server.signal("TERM");
    assert_eq!(server.ended().1, Some(0));
}

#[test]
fn a_user_that_is_not_there_is_named() {
    let folder = Folder::new("nouser");
    configure(&folder, "user = \"no-such-user-here\"", "");
    let (code, _, err) = folder.run(&[], "");
    assert!(code == 3 && err.contains("no-such-user-here") && err.contains("there is no such user"), "{err}");
}

/// In the sandbox everything works that a server does, and nothing is read that lies elsewhere.
#[cfg(target_os = "linux")]
#[test]
fn a_sandbox_keeps_to_its_folders() {
    let (folder, elsewhere) = (Folder::new("sandbox"), Folder::new("elsewhere"));
    let (certificate, key) = (elsewhere.0.join("a.pem"), elsewhere.0.join("a.key"));
    make_self_signed("localhost", &certificate, &key).unwrap();
    let domain = |certificate: &Path, key: &Path| {
        format!(
            "[[domain]]\nname = \"localhost\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    };
    let (own_certificate, own_key) = (folder.0.join("b.pem"), folder.0.join("b.key"));
    make_self_signed("localhost", &own_certificate, &own_key).unwrap();
    configure(&folder, "sandbox = true", &domain(&own_certificate, &own_key));
    let mut server = Server::start(&folder);
    assert!(is_served(server.address("(STARTTLS)")));
    assert_eq!(folder.run(&["user", "add", "alice@localhost"], "secret\n").0, 0);
    assert_eq!(folder.run(&["reload"], "").0, 0);

    configure(&folder, "sandbox = true", &domain(&certificate, &key));
    let (code, _, err) = folder.run(&["reload"], "");
    if Path::new("/sys/kernel/security/landlock").exists() || code != 0 {
        assert!(code == 1 && err.contains(&certificate.display().to_string()), "{err}");
    }
    assert!(is_served(server.address("(STARTTLS)")));
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\n");
    folder.run(&["stop"], "");
    assert_eq!(server.ended().1, Some(0));
}

/// What a reload cannot use it says, and the old ones stay.
#[test]
fn certificates_that_cannot_be_used_are_not_taken() {
    let folder = Folder::new("reload");
    let (certificate, key) = (folder.0.join("a.pem"), folder.0.join("a.key"));
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let ca = Ca::new("root");
    let good = ca.issue(&params);
    // 2001: nobody's clock says that it is good.
    (params.not_before, params.not_after) = (date!(978_307_200), date!(1_009_843_200));
    let expired = ca.issue(&params);
    let put = |pem: &str, key_pem: &str, mode: u32| {
        fs::write(&certificate, pem).unwrap();
        let _ = fs::remove_file(&key);
        fs::write(&key, key_pem).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };
    put(&good.pem, &good.key_pem, 0o600);
    configure(&folder, "", "[[domain]]\nname = \"localhost\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    let mut server = Server::start(&folder);
    let rows = [
        ("garbage", "garbage", "garbage", 0o600),
        ("expired on 2002-01-01", &expired.pem, &expired.key_pem, 0o600),
        ("does not belong", &good.pem, &expired.key_pem, 0o600),
        ("chmod 600", &good.pem, &good.key_pem, 0o644),
    ];
    for (what, pem, key_pem, mode) in rows {
        put(pem, key_pem, mode);
        let (code, _, err) = folder.run(&["reload"], "");
        assert_eq!(code, 1, "{what}");
        assert!(err.contains("a.") && (what == "garbage" || err.contains(what)), "{what}: {err}");
        assert!(is_served(server.address("(STARTTLS)")), "{what}");
    }
    fs::remove_file(&certificate).unwrap();
    assert_eq!(folder.run(&["reload"], "").0, 1);
    put(&good.pem, &good.key_pem, 0o600);
    assert_eq!(folder.run(&["reload"], "").0, 0);
    server.signal("TERM");
    assert_eq!(server.ended().1, Some(0));
}

/// Without descriptors nobody new is let in, whoever is in is served, and it goes on when there are some again.
#[test]
fn descriptors_may_run_out() {
    let folder = Folder::new("descriptors");
    configure(&folder, "", "[limits]\nconnections_before_login = 1000\n");
    let mut server = Server::start_limited(&folder, 64);
    let address = server.address("(STARTTLS)").to_owned();
    let mut first = TcpStream::connect(&address).unwrap();
    let crowd: Vec<TcpStream> = (0..150).map_while(|_| TcpStream::connect(&address).ok()).collect();
    assert!(crowd.len() > 100);
    // Whoever is in is answered meanwhile.
    first.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    first.write_all(HEADER).unwrap();
    assert!(first.read(&mut [0; 16]).unwrap() > 0);
    assert!(server.child.try_wait().unwrap().is_none());
    drop(crowd);
    drop(first);
    assert!(is_served(&address));
    assert_eq!(folder.run(&["status"], "").0, 0);
    server.signal("TERM");
    assert_eq!(server.ended().1, Some(0));
}

/// A damaged store is refused with what to do about it, never half read, and never the end of a process by a signal.
#[test]
fn a_damaged_store_is_refused() {
    let folder = Folder::new("damaged");
    let store = folder.data().join("store.redb");
    assert_eq!(folder.run(&["user", "add", "alice@localhost"], "secret\n").0, 0);
    let whole = fs::read(&store).unwrap();
    let damaged = |name: &str| {
        let mut bytes = whole.clone();
        match name {
            "empty" => bytes.clear(),
            "half" => bytes.truncate(whole.len() / 2),
            "no head" => bytes[..4096].fill(0),
            "another file" => bytes = b"-- a database of somebody else\n".repeat(1000),
            _ => unreachable!(),
        }
        bytes
    };
    for name in ["half", "no head", "another file"] {
        fs::write(&store, damaged(name)).unwrap();
        for words in [&["user", "list"][..], &[]] {
            let (code, out, err) = folder.run(words, "");
            assert!(code == 1 && !out.contains("Ready."), "{name}: {code} {out} {err}");
            assert!(err.contains("store.redb") && err.contains("move it away"), "{name}: {err}");
        }
    }
    fs::write(&store, &whole).unwrap();
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\n");
}

/// What lies behind a closed store's header is looked at before anybody is served, and what is whole is saved.
#[test]
fn a_store_with_an_overwritten_page_is_refused_and_can_be_saved() {
    let folder = Folder::new("salvage");
    let store = folder.data().join("store.redb");
    configure(&folder, "scram_iterations = 4096", "");
    // So many that their keys fill several pages.
    let names: Vec<String> = (0..40).map(|number| format!("user{number:02}")).collect();
    for name in &names {
        assert_eq!(folder.run(&["user", "add", &format!("{name}@localhost")], "secret\n").0, 0);
    }
    let whole = fs::read(&store).unwrap();
    let holds = |page: &[u8]| page[0] == 1 && page.windows(6).any(|word| word == b"user20");
    let mut refused = 0;
    for page in (0..whole.len() / 4096).filter(|page| holds(&whole[page * 4096..][..4096])) {
        let mut bytes = whole.clone();
        bytes[page * 4096..][..4096].fill(0xA5);
        fs::write(&store, &bytes).unwrap();
        // A page that the store had given up may be anything.
        if Disk::open(&store, DiskOptions { verify: true, ..DiskOptions::default() }).is_ok() {
            continue;
        }
        refused += 1;
        let (code, _, err) = folder.run(&["serve"], "");
        assert!(code == 1 && err.contains("is damaged") && err.contains("stonechat salvage FILE"), "{code} {err}");
        let saved = folder.0.join(format!("saved-{page}.redb"));
        let (code, out, err) = folder.run(&["salvage", saved.to_str().unwrap()], "");
        assert!(code == 0 && out.contains("1 pages could not be read"), "{out} {err}");
        assert_eq!(fs::read(&store).unwrap(), bytes, "the damaged store is left as it is");
        fs::rename(&saved, &store).unwrap();
        let listed = folder.run(&["user", "list"], "").1;
        let missing = names.iter().filter(|name| !listed.contains(name.as_str())).count();
        assert!(missing < 30, "{missing} of {} are lost: {out}", names.len());
        assert_eq!(folder.run(&["user", "add", "another@localhost"], "secret\n").0, 0);
    }
    assert!(refused > 0);
}
