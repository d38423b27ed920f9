//! The binary as a process: where it looks, what it reads and prints, how it ends.
//!
//! What the verbs do is tested in `cli`; this is what only a process has: a working directory, standard streams, an
//! exit code.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;
use stonechat::boot::{Boot, LogRule};
use stonechat::config::Config;

/// A server on free ports of loopback, ended with the test.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it said when it was ready.
    greeting: String,
}

impl Server {
    fn start(folder: &Folder) -> Self {
        let mut child = folder.command(&[]).stderr(Stdio::inherit()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.lines().last().is_some_and(|line| line.starts_with("Ready.")) {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "it ended: {greeting}");
        }
        Self { child, out, greeting }
    }

    /// The first address of a kind of listener.
    fn address(&self, kind: &str) -> &str {
        let line = self.greeting.lines().find(|line| line.starts_with("listening:") && line.ends_with(kind));
        line.unwrap().split_whitespace().nth(1).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended; what else it said, and its exit code.
    fn ended(&mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A working directory, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stonechat-process-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        // A file of its own, so that one in /etc is not found.
        fs::write(path.join("stonechat.toml"), "").unwrap();
        Self(fs::canonicalize(path).unwrap())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.args(words).current_dir(&self.0).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end, with `input` on standard input.
    fn run(&self, words: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self.command(words).spawn().unwrap();
        // A verb that asks nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// The data folder that a first start in this directory makes.
    fn data(&self) -> PathBuf {
        let path = self.0.join("stonechat-data");
        let config = Config { data_dir: path.clone(), ..Config::default() };
        Boot::prepare(&config, LogRule::Environment).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

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

const FREE_PORTS: &str = "
[[listener]]
kind = \"starttls\"
addresses = [\"127.0.0.1:0\"]
[[listener]]
kind = \"direct\"
addresses = [\"127.0.0.1:0\"]
";

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
