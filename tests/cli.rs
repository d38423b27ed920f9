//! The binary as a process: where it looks, what it reads and prints, how it ends.
//!
//! What the verbs do is tested in `cli`; this is what only a process has: a working directory, standard streams, an
//! exit code.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use stonechat::boot::{Boot, LogRule};
use stonechat::config::Config;

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
