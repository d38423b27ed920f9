//! The binary as a process: where it looks, what it reads and prints, how it ends.
//!
//! What the verbs do is tested in `cli`; this is what only a process has: a working directory, standard streams, an
//! exit code.

#[path = "common/process.rs"]
mod process;

use process::{FREE_PORTS, Folder, Server};
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::Duration;
use stonechat::crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

#[test]
fn the_working_directory_has_configuration_and_data() {
    let folder = Folder::new("directory");
    let data = folder.data();
    let (code, out, err) = folder.run(&["user", "add", "alice@localhost"], "secret\n");
    assert_eq!((code, out.as_str()), (0, "alice@localhost added\n"), "{err}");
    assert_eq!(err, format!("data folder: {}\n", data.display()));

    fs::write(folder.0.join("stonechat.toml"), "data_dir = \"elsewhere\"\n").unwrap();
    let (code, _, err) = folder.run(&["user", "list"], "");
    let elsewhere = folder.0.join("elsewhere");
    assert_eq!(code, 1);
    assert!(err.starts_with(&format!("data folder: {}\nthere is no data folder", elsewhere.display())), "{err}");
    assert!(!elsewhere.exists());

    fs::write(folder.0.join("other.toml"), "data_dir = \"stonechat-data\"\n").unwrap();
    let (code, out, _) = folder.run(&["user", "list", "--config", "other.toml"], "");
    assert_eq!((code, out.as_str()), (0, "alice@localhost\n"));
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let folder = Folder::new("codes");
    assert_eq!(folder.run(&["--version"], "").0, 0);
    assert_eq!(folder.run(&["check"], "").0, 0);
    assert_eq!(folder.run(&["user", "list"], "").0, 1);
    assert_eq!(folder.run(&["frobnicate"], "").0, 2);
    fs::write(folder.0.join("stonechat.toml"), "\nlegasy = true\n").unwrap();
    let (code, out, err) = folder.run(&[], "");
    assert_eq!((code, out.as_str()), (3, ""));
    let expected = "stonechat.toml:2: unknown key `legasy` at the top of the file
  expected: `legacy`: true or false
  write:    legacy = true
";
    assert_eq!(err, expected);
}

/// An empty standard input is no password, and nothing waits for a terminal.
#[test]
fn without_a_password_there_is_no_account() {
    let folder = Folder::new("password");
    folder.data();
    for input in ["", "\n"] {
        let (code, out, err) = folder.run(&["user", "add", "alice@localhost"], input);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.ends_with("no password: the first line of standard input is empty\n"), "{err}");
    }
    assert_eq!(folder.run(&["user", "list"], "").1, "");
}

/// `stonechat user list | head -1`: whoever reads leaves, which is no failure.
#[test]
fn a_reader_may_leave() {
    let folder = Folder::new("pipe");
    folder.data();
    folder.run(&["user", "add", "alice@localhost"], "secret\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = folder.command(&["user", "list"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Nothing secret on the way: neither in what is printed nor in what is logged at the loudest.
#[test]
fn a_password_is_never_shown() {
    let folder = Folder::new("secret");
    folder.data();
    let mut child = folder.command(&["user", "add", "alice@localhost"]).env("RUST_LOG", "trace").spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hunter2hunter2\n").unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success());
    for shown in [stdout, stderr] {
        assert!(!String::from_utf8(shown).unwrap().contains("hunter2"));
    }
}

/// A newcomer's first minutes: start, add a user, look, reload, stop.
#[test]
fn a_first_start_serves_and_is_administered_while_it_runs() {
    let folder = Folder::new("serve");
    fs::write(folder.0.join("stonechat.toml"), FREE_PORTS).unwrap();
    let mut server = Server::start(&folder);
    let pid = server.child.id();
    for line in ["(made now)", "SHA-256 ", "Ready. Nobody can log in yet"] {
        assert!(server.greeting.contains(line), "{}", server.greeting);
    }
    assert_ne!(server.address("(STARTTLS)"), server.address("(direct TLS)"));

    let mut stream = TcpStream::connect(server.address("(STARTTLS)")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>")
        .unwrap();
    let mut answer = [0; 64];
    let count = stream.read(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"<?xml") || answer[..count].starts_with(b"<stream:stream"), "{answer:?}");

    let (code, out, err) = folder.run(&["user", "add", "alice@localhost"], "secret\n");
    assert_eq!((code, out.as_str()), (0, "alice@localhost added\n"), "{err}");
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\n");
    let (code, out, _) = folder.run(&["status"], "");
    let process = format!(" {pid}");
    assert!(code == 0 && out.lines().any(|line| line.starts_with("process") && line.ends_with(&process)), "{out}");
    assert_eq!(folder.run(&["reload"], "").1, "certificates and log level are loaded again\n");
    for words in [&[][..], &["compact"]] {
        let (code, _, err) = folder.run(words, "");
        assert!(code == 1 && err.contains(&format!("is in use by process {pid};")), "{err}");
    }

    assert_eq!(folder.run(&["stop"], "").1, "the server is stopping\n");
    let mut goodbye = String::new();
    stream.read_to_string(&mut goodbye).unwrap();
    assert!(goodbye.contains("<system-shutdown") && goodbye.ends_with("</stream:stream>"), "{goodbye}");
    assert_eq!(server.ended().1, Some(0));
    assert_eq!(folder.run(&["user", "list"], "").1, "alice@localhost\n");
    assert!(!folder.0.join("stonechat-data/control.sock").exists());
}

#[test]
fn sigterm_and_sigint_end_it_with_0_and_sighup_does_not() {
    let folder = Folder::new("signals");
    fs::write(folder.0.join("stonechat.toml"), FREE_PORTS).unwrap();
    for name in ["TERM", "INT"] {
        let mut server = Server::start(&folder);
        server.signal("HUP");
        assert_eq!(folder.run(&["status"], "").0, 0);
        server.signal(name);
        assert_eq!(server.ended().1, Some(0), "{name}");
    }
}

#[test]
fn a_taken_port_says_what_to_change() {
    let folder = Folder::new("port");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("[[listener]]\nkind = \"starttls\"\naddresses = [\"{address}\"]\n");
    fs::write(folder.0.join("stonechat.toml"), text).unwrap();
    let (code, _, err) = folder.run(&[], "");
    assert_eq!(code, 1);
    assert!(err.contains(&address.to_string()) && err.contains("[[listener]]"), "{err}");
}

/// A gateway's operator: a secret in a file, a Unix socket, a reload that nobody notices, a wrong secret in the log.
#[test]
fn a_component_plugs_in_and_a_reload_keeps_it() {
    let folder = Folder::new("component");
    let secret = folder.0.join("gateway.secret");
    fs::write(&secret, "words that nobody guesses\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let config = "[[listener]]\nkind = \"starttls\"\naddresses = [\"127.0.0.1:0\"]\n\
        [[listener]]\nkind = \"component\"\naddresses = [\"127.0.0.1:0\"]\nsocket = \"c.sock\"\n\
        [[component]]\nname = \"gateway.localhost\"\nsecret_file = \"gateway.secret\"\n";
    fs::write(folder.0.join("stonechat.toml"), config).unwrap();
    let (code, out, err) = folder.run(&["check"], "");
    assert!(code == 3 && (out.clone() + &err).contains("lets everybody read it"), "{code} {out} {err}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(folder.run(&["check"], "").0, 0);

    let mut server = Server::start(&folder);
    let path = folder.0.join("c.sock");
    assert!(server.greeting.contains("c.sock (components)"), "{}", server.greeting);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut by_path = UnixStream::connect(&path).unwrap();
    by_path.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let id = greeted(&mut by_path);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{id}words that nobody guesses").as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    by_path.write_all(format!("<handshake>{hex}</handshake>").as_bytes()).unwrap();
    heard(&mut by_path, "<handshake/>");
    assert!(folder.run(&["status"], "").1.lines().any(|line| line.starts_with("components") && line.ends_with(" 1")));

    server.signal("HUP");
    assert_eq!(folder.run(&["reload"], "").0, 0);
    by_path
        .write_all(b"<iq from='gateway.localhost' to='localhost' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        .unwrap();
    heard(&mut by_path, "id='p'");

    let mut by_address = TcpStream::connect(server.address("(components)")).unwrap();
    by_address.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    by_address.write_all(COMPONENT_HEADER).unwrap();
    assert!(heard(&mut by_address, "</stream:stream>").contains("<conflict "));

    server.signal("TERM");
    assert!(heard(&mut by_path, "</stream:stream>").contains("<system-shutdown "));
    drop(by_path);
    assert_eq!(server.ended().1, Some(0));
    assert!(!path.exists(), "the socket goes with the server");
}

const COMPONENT_HEADER: &[u8] = b"<stream:stream xmlns='jabber:component:accept' \
    xmlns:stream='http://etherx.jabber.org/streams' to='gateway.localhost'>";

/// Sends a component's header; the stream's id.
fn greeted(socket: &mut UnixStream) -> String {
    socket.write_all(COMPONENT_HEADER).unwrap();
    let header = heard(socket, "'>");
    header.split_once("id='").unwrap().1.split_once('\'').unwrap().0.to_owned()
}

/// Reads until `end` has come.
fn heard(socket: &mut impl Read, end: &str) -> String {
    let mut all = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&all).contains(end) {
        assert_ne!(socket.read(&mut byte).unwrap(), 0, "closed before {end}: {}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}
