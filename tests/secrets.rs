//! What is left of a password in the server's memory: its own pages are read from outside, as whoever has a core dump
//! or swap would.

#![cfg(target_os = "linux")]

mod tls_common;

#[path = "common/process.rs"]
mod process;

#[path = "common/wire.rs"]
mod wire;

use process::{Folder, Server};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use stonechat::sasl::base64;
use wire::{Wire, configure};

/// As unlikely as any.
const PASSWORD: &str = "Xq7unlikelyKz93password";

/// Places of `words` in all that a process has in memory and may write to.
fn places(pid: u32, words: &[u8]) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split_whitespace().next().unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = vec![0; (to - from) as usize];
        // A stack that has just gone, for example.
        let Ok(()) = memory.read_exact_at(&mut bytes, from) else { continue };
        for (at, _) in bytes.windows(words.len()).enumerate().filter(|(_, window)| *window == words) {
            let around = &bytes[at.saturating_sub(40)..(at + words.len() + 20).min(bytes.len())];
            found.push(format!("{line} +{at:x}: {}", around.escape_ascii()));
        }
    }
    found
}

fn is_clean(pid: u32, when: &str) {
    // As it is, and in every alignment of base64: the middle of it, which its neighbours do not change.
    let mut spellings = vec![PASSWORD.as_bytes().to_vec()];
    for shift in 0..3 {
        let coded = base64::encode(["x".repeat(shift).as_bytes(), PASSWORD.as_bytes()].concat());
        spellings.push(coded.as_bytes()[8..24].to_vec());
    }
    for words in spellings {
        let found = places(pid, &words);
        assert!(found.is_empty(), "{when}: {} is there:\n{}", words.escape_ascii(), found.join("\n"));
    }
}

#[test]
fn passwords_do_not_stay_in_memory() {
    let folder = Folder::new("secrets");
    let world = configure(&folder, "registration = \"open\"");
    let server = Server::start(&folder);
    let (pid, direct) = (server.child.id(), server.address("(direct TLS)").to_owned());
    assert_eq!(folder.run(&["user", "add", "alice@localhost"], &format!("{PASSWORD}\n")).0, 0);
    is_clean(pid, "an account was made");
    // The search finds what is there: a name that the server keeps.
    let mut alice = Wire::log_in(&direct, &world, "alice", PASSWORD);
    assert!(!places(pid, b"alice@localhost").is_empty());
    is_clean(pid, "logged in");
    let _again = Wire::log_in(&direct, &world, "alice", PASSWORD);
    is_clean(pid, "logged in by what is remembered");
    let mut wrong = Wire::open(&direct, &world);
    assert!(!wrong.authenticate("alice", &format!("{PASSWORD}!")));
    is_clean(pid, "not logged in");
    let mut newcomer = Wire::open(&direct, &world);
    let answer = newcomer.ask(
        "set",
        "r1",
        &format!("<query xmlns='jabber:iq:register'><username>bob</username><password>{PASSWORD}</password></query>"),
    );
    assert!(answer.contains("type='result'"), "{answer}");
    is_clean(pid, "registered");
    alice.say("<iq type='get' id='p1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
    alice.hear("id='p1'");
}
