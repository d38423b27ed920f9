//! What Prosody 0.12 itself wrote (`tests/prosody/README.md`), and what older ones did.

use super::*;
use crate::port::{Problem, Source};
use std::path::{Path, PathBuf};

fn real(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prosody").join(name)
}

fn all(source: &mut dyn Source) -> (Vec<Person>, Vec<Problem>) {
    let (mut persons, mut problems) = (Vec::new(), Vec::new());
    while let Some(person) = source.next(&mut problems).unwrap() {
        persons.push(person);
    }
    (persons, problems)
}

/// What was typed into Prosody's client when the data was made.
fn assert_real(persons: &[Person]) {
    let bares: Vec<String> = persons.iter().map(Person::bare).collect();
    assert_eq!(bares, ["juliet@capulet.example", "nurse@capulet.example", "romeo@montague.example"]);
    let [juliet, nurse, romeo] = persons else { panic!("three") };
    for person in persons {
        let [keys] = person.keys.as_slice() else { panic!("one set") };
        assert_eq!((keys.hash, keys.iterations, keys.salt.len()), (ScramHash::Sha1, 10_000, 36));
        assert_eq!((person.disabled, person.password.is_none()), (false, true));
    }
    let roster =
        [("nurse@capulet.example", "Nurse", "to", false), ("romeo@montague.example", "Romeo <3 \"x\"", "none", true)];
    let found: Vec<_> =
        juliet.roster.iter().map(|c| (c.jid.as_str(), c.name.as_str(), c.subscription(), c.asks)).collect();
    assert_eq!(found, roster);
    assert_eq!(juliet.roster[1].groups, ["Friends", "Lovers \u{e9}"]);
    assert_eq!((nurse.roster[0].subscription(), nurse.roster[0].asks), ("from", true));
    assert_eq!((romeo.roster.len(), romeo.requests[0].from.as_str()), (0, "juliet@capulet.example"));
    let request = String::from_utf8(juliet.requests[0].stanza.to_xml().unwrap()).unwrap();
    assert!(request.contains("<nick xmlns='http://jabber.org/protocol/nick'>Angelica</nick>"), "{request}");
    assert_eq!(juliet.blocks, ["spam.example", "tybalt@capulet.example"]);
    let vcard = String::from_utf8(juliet.vcard.as_ref().unwrap().to_xml().unwrap()).unwrap();
    let expected = "<vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN><NICKNAME>Jule\n&amp; co</NICKNAME></vCard>";
    assert_eq!(vcard, expected);
    let private: Vec<String> =
        juliet.private.iter().map(|element| String::from_utf8(element.to_xml().unwrap()).unwrap()).collect();
    assert_eq!(private[0], "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>");
    assert!(private[1].starts_with("<storage xmlns='storage:bookmarks'><conference "), "{private:?}");
    let bodies: Vec<String> =
        juliet.offline.iter().map(|message| message.stanza.child(CLIENT, "body").unwrap().text()).collect();
    assert_eq!(bodies, ["Your mother is coming & \"soon\" \u{263a}", "Two\nlines ]]>"]);
    assert!(juliet.offline.iter().all(|message| (1_795_402_000_000..1_795_403_000_000).contains(&message.stamp_ms)));
    assert_eq!(juliet.offline[0].stanza.attr("stamp"), None);
    assert_eq!(juliet.offline[0].stanza.attr_ns(XML, "lang"), Some("en"));
}

#[test]
fn a_real_folder_is_read() {
    let (persons, problems) = all(&mut Folder::open(&real("data")).unwrap());
    assert_eq!(problems, []);
    assert_real(&persons);
}

#[test]
fn a_real_database_is_read() {
    let (persons, problems) = all(&mut Database::open(&real("prosody.sqlite")).unwrap());
    assert_eq!(problems, []);
    assert_real(&persons);
}

#[test]
fn what_is_no_data_of_prosodys_is_refused() {
    for path in [real("nothing"), real("data/capulet%2eexample"), real("README.md")] {
        assert!(Folder::open(&path).is_err(), "{path:?}");
        assert!(Database::open(&path).is_err(), "{path:?}");
    }
}

/// The person that these files make, and what was told.
fn person(files: &[(&str, &str)]) -> (Option<Person>, Vec<String>) {
    let mut stores = Stores::default();
    for (store, text) in files {
        match *store {
            OFFLINE => stores.offline = lua::items(text.as_bytes()).unwrap().iter().map(stored).collect(),
            store => {
                let Value::Table(table) = lua::returned(text.as_bytes()).unwrap() else { panic!("{store}") };
                *stores.of(store).unwrap() = Some(table);
            }
        }
    }
    let mut told = Vec::new();
    let person = stores.person("h.example", "u", |what| told.push(what));
    (person, told)
}

const PLAIN: (&str, &str) = ("accounts", "return { password = \"pencil\" };");

#[test]
fn passwords_and_stronger_keys_are_taken_over() {
    let (plain, told) = person(&[PLAIN]);
    assert_eq!(plain.unwrap().password.unwrap().reveal(), "pencil");
    assert_eq!(told, [""; 0]);
    let keys = |len: usize, rounds: &str| {
        format!(
            "return {{ stored_key = \"{0}\"; server_key = \"{0}\"; salt = \"s\"; iteration_count = {rounds}; }}",
            "aB".repeat(len)
        )
    };
    let sha256 = person(&[("accounts", &keys(32, "4096"))]).0.unwrap().keys;
    assert_eq!((sha256[0].hash, sha256[0].stored_key[0]), (ScramHash::Sha256, 0xAB));
    for bad in [keys(19, "4096"), keys(20, "1"), keys(20, "\"x\""), keys(20, "1e99")] {
        let (person, told) = person(&[("accounts", &bad)]);
        assert_eq!((person.unwrap().keys.len(), told.len()), (0, 1), "{bad}");
    }
    assert_eq!(person(&[("accounts", "return {}")]).0.map(|person| person.keys.len()), Some(0));
}

#[test]
fn data_without_an_account_is_told() {
    let (person, told) = person(&[("roster", "return {}")]);
    assert_eq!((person, told.len()), (None, 1));
}

#[test]
fn old_rosters_are_read() {
    let roster = "return { pending = { [\"a@x\"] = true, [\"b@x\"] = true }; [\"c@x\"] = { subscription = \"both\", groups = { g = true } } }";
    let (person, told) = person(&[PLAIN, ("roster", roster)]);
    let person = person.unwrap();
    assert_eq!(told, [""; 0]);
    let from: Vec<&str> = person.requests.iter().map(|waiting| waiting.from.as_str()).collect();
    assert_eq!(from, ["a@x", "b@x"]);
    let presence = String::from_utf8(person.requests[0].stanza.to_xml().unwrap()).unwrap();
    assert_eq!(presence, "<presence from='a@x' to='u@h.example' type='subscribe'/>");
    assert_eq!(person.roster[0].subscription(), "both");
}

#[test]
fn old_messages_say_when_they_came_in_themselves() {
    let list = "item({ name = \"message\"; attr = { stamp = \"2002-09-10T23:08:25Z\"; stamp_legacy = \"20020910T23:08:25\"; } });\n\
                item({ name = \"message\"; attr = { } }); item({ name = \"message\"; attr = { }; when = 1795402328.25 });";
    let (person, told) = person(&[PLAIN, ("offline", list)]);
    let stamps: Vec<u64> = person.unwrap().offline.iter().map(|message| message.stamp_ms).collect();
    assert_eq!((stamps, told.len()), (vec![1_031_699_305_000, 1_795_402_328_250], 1));
}

#[test]
fn what_does_not_read_is_told_and_the_rest_is_taken() {
    let (person, told) = person(&[
        PLAIN,
        (
            "roster",
            "return { [\"a@x\"] = true; [\"@\"] = {}; [\"b@x\"] = { subscription = \"remove\" }; [\"c@x\"] = {} }",
        ),
        ("vcard", "return { name = \"x\"; attr = { xmlns = \"vcard-temp\" } }"),
        (
            "private",
            "return { [\"a:b\"] = { name = \"a b\"; attr = { xmlns = \"n\" } }; c = 1; d = { name = \"d\"; attr = { xmlns = \"n\" } } }",
        ),
        ("blocklist", "return { [\"@\"] = true; [\"x\"] = true }"),
        ("offline", "item(1); item({ name = \"message\"; when = 1; attr = {}; { name = \"<\"; attr = {} } });"),
    ]);
    let person = person.unwrap();
    assert_eq!(told.len(), 9, "{told:#?}");
    assert_eq!((person.roster.len(), person.private.len(), person.blocks.len(), person.offline.len()), (1, 1, 1, 0));
}

/// Pages of 512 bytes: a tree of several levels, rows that overflow, freed room (`tests/prosody/README.md`).
#[test]
fn a_database_of_many_small_pages_is_read() {
    let (persons, problems) = all(&mut Database::open(&real("paged.sqlite")).unwrap());
    assert_eq!((persons.len(), problems.len()), (59, 1), "{problems:?}");
    assert_eq!(problems[0].what, "not taken over: archive2");
    for person in &persons {
        let number: usize = person.localpart[1..].parse().unwrap();
        assert_eq!(person.roster.first().map(|contact| contact.name.len()), Some(number * 7), "{}", person.localpart);
    }
    let u07 = &persons[7];
    let note = u07.vcard.as_ref().unwrap().child("vcard-temp", "NOTE").unwrap().text();
    assert_eq!(note, "0123456789".repeat(300));
    let bodies = u07.offline.iter().map(|message| message.stanza.child(CLIENT, "body").unwrap().text());
    assert!(bodies.eq((0..12).map(|number| format!("{number} {}", "x".repeat(number * 30)))));
}
