//! Moving: what a real Prosody wrote taken over, and exports that go round. How its users then log in is a transcript,
//! `moved_from_prosody.txt`.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use stonechat::im::vcard;
use stonechat::jid::Jid;
use stonechat::port::element::Element;
use stonechat::port::prosody::Folder;
use stonechat::port::rows::{Counts, Export, Import};
use stonechat::port::{Contact, Person, Source, pie};
use stonechat::random::Random;
use stonechat::storage::{Engine, Memory, offline};

fn real(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prosody").join(name)
}

fn take_over(engine: &mut dyn Engine, source: &mut dyn Source, replaces: bool) -> (Counts, Vec<String>) {
    let (mut problems, mut skipped) = (Vec::new(), Vec::new());
    let mut import = Import::new(engine, replaces, Random::seeded(1));
    while let Some(person) = source.next(&mut problems).unwrap() {
        import.add(person, &mut |bare| skipped.push(bare)).unwrap();
    }
    let counts = import.finish(&mut |bare| skipped.push(bare)).unwrap();
    assert_eq!(problems, []);
    (counts, skipped)
}

fn exported(engine: &mut impl Engine) -> String {
    let mut writer = pie::Writer::new(Vec::new()).unwrap();
    let mut export = Export::new(engine).unwrap();
    let mut tell = |user: &str, what: String| panic!("{user}: {what}");
    while let Some(person) = export.next(&mut tell).unwrap() {
        writer.add(&person).unwrap();
    }
    String::from_utf8(writer.end().unwrap()).unwrap()
}

/// A list of persons as a source.
struct List(std::vec::IntoIter<Person>);

impl Source for List {
    fn next(&mut self, _: &mut Vec<stonechat::port::Problem>) -> Result<Option<Person>, stonechat::port::Problem> {
        Ok(self.0.next())
    }
}

#[test]
fn an_export_goes_round() {
    let folder = Scratch::new("round");
    let mut engine = Memory::new();
    take_over(&mut engine, &mut Folder::open(&real("data")).unwrap(), false);
    let first = exported(&mut engine);
    for part in ["SCRAM-SHA-1", "ask='subscribe'", "Angelica", "<blocklist", "<vCard", "exodus:prefs", "stamp='2026-"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    let file = folder.0.join("accounts.xml");
    fs::write(&file, &first).unwrap();
    let mut other = Memory::new();
    let (counts, skipped) = take_over(&mut other, &mut pie::Reader::open(&file).unwrap(), false);
    assert_eq!((counts.accounts, counts.vcards, counts.private, counts.blocks, skipped.len()), (3, 1, 2, 2, 0));
    assert_eq!(exported(&mut other), first);
    // Once more: who is there stays; or is replaced, by the same.
    let (counts, skipped) = take_over(&mut other, &mut pie::Reader::open(&file).unwrap(), false);
    assert_eq!((counts.accounts, counts.skipped, skipped.len()), (0, 3, 3));
    let (counts, _) = take_over(&mut other, &mut pie::Reader::open(&file).unwrap(), true);
    assert_eq!((counts.accounts, counts.replaced), (0, 3));
    assert_eq!(exported(&mut other), first);
    // Replaced by nothing: what was there is gone, for each of them alone.
    let empty = Person { keys: first_keys(), ..Person::new("capulet.example", "juliet").unwrap() };
    take_over(&mut other, &mut List(vec![empty].into_iter()), true);
    let last = exported(&mut other);
    assert!(!last.contains("Angelica") && last.contains("juliet@capulet.example"), "{last}");
}

fn first_keys() -> Vec<stonechat::sasl::ScramKeys> {
    let job = stonechat::sasl::derive("x", &stonechat::sasl::ScramHash::ALL, 4096, &mut Random::seeded(3));
    job.run().derived
}

/// More accounts than one commit and one page hold; each a whole person in a commit.
#[test]
fn many_accounts_go_round() {
    let keys = first_keys();
    let person = |number: usize| {
        let mut person = Person::new("h.example", &format!("u{number:04}")).unwrap();
        person.keys = keys.clone();
        person.add_block(&format!("b{number}.example")).unwrap();
        for name in ["a", "b"] {
            person.add_private(Element { ns: "n".into(), name: name.into(), ..Element::default() }).unwrap();
        }
        let message = Element { ns: "jabber:client".into(), name: "message".into(), ..Element::default() };
        person.add_offline(message, Some(number as u64)).unwrap();
        person
    };
    let mut engine = Memory::new();
    let persons: Vec<Person> = (0..700).map(person).collect();
    let (counts, _) = take_over(&mut engine, &mut List(persons.into_iter()), false);
    assert_eq!((counts.accounts, counts.blocks, counts.private, counts.offline), (700, 700, 1400, 700));
    let text = exported(&mut engine);
    assert_eq!(text.matches("<user name='").count(), 700);
    assert!(text.find("b0.example").unwrap() < text.find("b699.example").unwrap());
}

/// What clients have made the server keep, exported and taken over by an empty one.
#[test]
fn what_clients_have_stored_goes_round() {
    let accounts = [("alice@localhost".into(), "secret".into()), ("bob@localhost".into(), "other".into())];
    let mut sim = Sim::new(&Setup { direct: true, accounts: accounts.into(), ..Setup::default() });
    for (user, password) in [("bob", "other"), ("alice", "secret")] {
        sim.log_in(user, user, password, "r");
    }
    for stanza in [
        "<presence to='bob@localhost' type='subscribe'><q:nick xmlns:q='http://jabber.org/protocol/nick'>A</q:nick></presence>",
        "<presence to='carol@localhost' type='subscribed'/>",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='B &amp; b'><group>g</group></item></query></iq>",
        "<iq type='set' id='2'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>cGhvdG8=</BINVAL></PHOTO></vCard></iq>",
        "<iq type='set' id='3'><query xmlns='jabber:iq:private'><q:x xmlns:q='private'>1<q:y/></q:x></query></iq>",
        "<iq type='set' id='4'><block xmlns='urn:xmpp:blocking'><item jid='spam.example'/></block></iq>",
        "<message to='bob@localhost' type='chat' xml:lang='de'><body>sp\u{e4}ter</body></message>",
    ] {
        sim.send(stanza.as_bytes());
        let answer = String::from_utf8(sim.received()).unwrap();
        assert!(!answer.contains("type='error'"), "{stanza}: {answer}");
    }
    let text = exported(&mut sim.engine);
    for part in [
        "<item jid='bob@localhost' name='B &amp; b' subscription='none' ask='subscribe'><group>g</group></item>",
        "<item jid='carol@localhost' subscription='none' approved='true'/>",
        "from='alice@localhost' to='bob@localhost'",
        "<nick xmlns='http://jabber.org/protocol/nick'>A</nick></presence>",
        "<x xmlns='private'>1<y/></x>",
        "<blocklist xmlns='urn:xmpp:blocking'>\n<item jid='spam.example'/>",
        "<body>sp\u{e4}ter</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let folder = Scratch::new("clients");
    fs::write(folder.0.join("a.xml"), &text).unwrap();
    let mut other = Memory::new();
    take_over(&mut other, &mut pie::Reader::open(&folder.0.join("a.xml")).unwrap(), false);
    let alice = Jid::parse("alice@localhost").unwrap();
    let hashes = [&mut other as &mut dyn Engine, &mut sim.engine]
        .map(|engine| offline::run(engine, |store| vcard::photo(store, alice.as_ref())).unwrap());
    assert!(hashes[0].is_some() && hashes[0] == hashes[1]);
    assert_eq!(exported(&mut other), text);
}

/// A folder to work in, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stonechat-port-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A data folder of its own, as a first start makes it, and a configuration for it.
    fn configure(&self) {
        let domains = ["capulet.example", "montague.example"].map(|name| format!("[[domain]]\nname = \"{name}\"\n"));
        fs::write(self.0.join("stonechat.toml"), format!("scram_iterations = 4096\n{}", domains.concat())).unwrap();
        fs::create_dir_all(self.0.join("stonechat-data")).unwrap();
        let path = self.0.join("stonechat-data").join(stonechat::storage::STORE_FILE_NAME);
        stonechat::storage::Disk::open(
            &path,
            stonechat::storage::DiskOptions { create: true, ..stonechat::storage::DiskOptions::default() },
        )
        .unwrap();
    }

    /// Runs a verb: its exit code, standard output, standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.args(words).current_dir(&self.0).env_remove("RUST_LOG").stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_verbs_move_a_prosody() {
    let folder = Scratch::new("verbs");
    folder.configure();
    let (code, out, err) = folder.run(&["import", "--from", "prosody", real("data").to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    for row in ["accounts  3", "skipped   0", "contacts  3", "messages  2", "private   2", "problems  0"] {
        assert!(out.contains(row), "{row}: {out}");
    }
    assert!(out.contains("capulet.example: 2 accounts have no keys for SCRAM-SHA-256"), "{out}");
    let (code, out, _) = folder.run(&["export", "one.xml"]);
    assert_eq!((code, out.as_str()), (0, "3 accounts written to one.xml\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(folder.0.join("one.xml")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!folder.0.join("one.xml.new").exists());

    // The same users from the SQLite file of the same kind of server: there already.
    let (code, out, err) = folder.run(&["import", "--from", "prosody", real("prosody.sqlite").to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("accounts  0") && out.contains("skipped   3"), "{out}");
    assert!(err.contains("juliet@capulet.example: there already"), "{err}");

    let other = Scratch::new("verbs-other");
    other.configure();
    fs::copy(folder.0.join("one.xml"), other.0.join("in.xml")).unwrap();
    assert_eq!(other.run(&["import", "in.xml"]).0, 0);
    assert_eq!(other.run(&["export", "out.xml"]).0, 0);
    assert_eq!(fs::read(other.0.join("out.xml")).unwrap(), fs::read(other.0.join("in.xml")).unwrap());
}

#[test]
fn the_verbs_say_what_is_wrong() {
    let folder = Scratch::new("wrong");
    folder.configure();
    let store = folder.0.join("stonechat-data").join(stonechat::storage::STORE_FILE_NAME);
    let held = stonechat::storage::Disk::open(&store, stonechat::storage::DiskOptions::default()).unwrap();
    fs::write(folder.0.join("a.xml"), "<server-data xmlns='urn:xmpp:pie:0'/>").unwrap();
    for words in [["export", "b.xml"], ["import", "a.xml"]] {
        let (code, _, err) = folder.run(&words);
        assert!(code == 1 && err.contains("stonechat stop") && err.contains("in use by process"), "{err}");
    }
    drop(held);
    assert!(!folder.0.join("b.xml").exists() && !folder.0.join("b.xml.new").exists());
    for (words, code, part) in [
        (&["import", "none.xml"][..], 1, "none.xml"),
        (&["import", "stonechat.toml"], 1, "stonechat.toml"),
        (&["import", "--from", "prosody", "."], 1, "no data of Prosody"),
        (&["import", "--from", "other", "a.xml"], 2, "--from prosody"),
        (&["import"], 2, "needs a file"),
        (&["export"], 2, "needs a file"),
        (&["export", "a", "b"], 2, "takes no"),
        (&["export", "--replace", "a"], 2, "belongs to `import FILE`"),
        (&["export", "none/a.xml"], 1, "none/a.xml.new"),
    ] {
        let (got, _, err) = folder.run(words);
        assert!(got == code && err.contains(part), "{words:?}: {got} {err}");
    }

    // Both of Prosody's ways in one folder: which one is meant?
    fs::copy(real("prosody.sqlite"), folder.0.join("prosody.sqlite")).unwrap();
    fs::create_dir_all(folder.0.join("capulet%2eexample/accounts")).unwrap();
    let (code, _, err) = folder.run(&["import", "--from", "prosody", "."]);
    assert!(code == 1 && err.contains("there are both"), "{err}");

    // A stranger's domain, an account without a password, a file that breaks off: told, counted, the rest is there.
    let xml = "<server-data xmlns='urn:xmpp:pie:0'><host jid='stranger.example'><user name='a'/></host>\
               <host jid='capulet.example'><user name='b'/><user name='c' password='secret'/>";
    fs::write(folder.0.join("a.xml"), xml).unwrap();
    let (code, out, err) = folder.run(&["import", "a.xml"]);
    assert_eq!(code, 1);
    for part in ["stranger.example: not hosted here", "b@capulet.example: no password", "a.xml: line 1: the file ends"]
    {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(out.contains("accounts  2") && out.contains("problems  2"), "{out}");
    let (_, out, _) = folder.run(&["user", "list"]);
    assert_eq!(out, "b@capulet.example\nc@capulet.example\n");
}

/// Killed at any moment, an import leaves whole accounts; run again, it goes on to the end.
#[test]
fn a_killed_import_leaves_whole_accounts_and_goes_on() {
    let folder = Scratch::new("killed");
    folder.configure();
    let keys = first_keys();
    let mut writer = pie::Writer::new(Vec::new()).unwrap();
    for number in 0..900 {
        let mut person = Person::new("capulet.example", &format!("u{number:04}")).unwrap();
        person.keys = keys.clone();
        for jid in 0..8 {
            person.add_contact(Contact { jid: format!("c{jid}@h.example"), to: true, ..Contact::default() }).unwrap();
        }
        person.add_block(&format!("b{number}.example")).unwrap();
        writer.add(&person).unwrap();
    }
    let whole = String::from_utf8(writer.end().unwrap()).unwrap();
    fs::write(folder.0.join("in.xml"), &whole).unwrap();
    // Through a pipe: what it has taken, but for a buffer's worth, has been read, and before that written.
    let pipe = folder.0.join("pipe.xml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut before = 0;
    for round in 1..=6 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.args(["import", "pipe.xml"]).current_dir(&folder.0).env_remove("RUST_LOG");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut feed = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        feed.write_all(&whole.as_bytes()[..whole.len() * round / 7]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        drop(feed);
        assert_eq!(folder.run(&["export", "out.xml"]).0, 0);
        let out = fs::read_to_string(folder.0.join("out.xml")).unwrap();
        let users: Vec<&str> = out
            .split_inclusive("</user>\n")
            .filter_map(|text| text.split_once("<user "))
            .map(|(_, user)| user)
            .collect();
        assert!(users.iter().all(|user| whole.contains(user)), "round {round}: half an account");
        assert!((before..900).contains(&users.len()), "round {round}: {} accounts after {before}", users.len());
        before = users.len();
    }
    assert!(before > 300, "{before}: what was written is not there");
    assert_eq!(folder.run(&["import", "in.xml"]).0, 0);
    assert_eq!(folder.run(&["export", "out.xml"]).0, 0);
    assert_eq!(fs::read_to_string(folder.0.join("out.xml")).unwrap(), whole);
}
