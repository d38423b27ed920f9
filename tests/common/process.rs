//! The binary as a process in a working directory of its own.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use stonechat::boot::{Boot, LogRule};
use stonechat::config::Config;

/// Listeners on free ports of loopback, for a configuration.
pub(crate) const FREE_PORTS: &str = "
[[listener]]
kind = \"starttls\"
addresses = [\"127.0.0.1:0\"]
[[listener]]
kind = \"direct\"
addresses = [\"127.0.0.1:0\"]
";

/// A server on free ports of loopback, ended with the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
    /// What it said when it was ready.
    pub(crate) greeting: String,
}

impl Server {
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::start_as(folder.command(&[]))
    }

    /// One that may have so many descriptors: a shell sets the limit and becomes it.
    pub(crate) fn start_limited(folder: &Folder, descriptors: u32) -> Self {
        let mut shell = Command::new("/bin/sh");
        let words = format!("ulimit -n {descriptors}; exec \"$0\"");
        shell.args(["-c", &words, env!("CARGO_BIN_EXE_stonechat")]).current_dir(&folder.0).env_remove("RUST_LOG");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::start_as(shell)
    }

    fn start_as(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.lines().last().is_some_and(|line| line.starts_with("Ready.")) {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "it ended: {greeting}");
        }
        Self { child, out, greeting }
    }

    /// The first address of a kind of listener.
    pub(crate) fn address(&self, kind: &str) -> &str {
        let line = self.greeting.lines().find(|line| line.starts_with("listening:") && line.ends_with(kind));
        line.unwrap().split_whitespace().nth(1).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended; what else it said, and its exit code.
    pub(crate) fn ended(&mut self) -> (String, Option<i32>) {
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
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stonechat-process-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        // A file of its own, so that one in /etc is not found.
        fs::write(path.join("stonechat.toml"), "").unwrap();
        Self(fs::canonicalize(path).unwrap())
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.args(words).current_dir(&self.0).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end, with `input` on standard input.
    pub(crate) fn run(&self, words: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self.command(words).spawn().unwrap();
        // A verb that asks nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// The data folder that a first start in this directory makes.
    pub(crate) fn data(&self) -> PathBuf {
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
