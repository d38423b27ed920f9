//! XEP-0227: any file is read or refused; what is taken over is exported, and taken over again, the same.

use super::scratch;
use std::io::Cursor;
use stonechat::port::pie::{Reader, Writer};
use stonechat::port::pull::{Piece, Pull};
use stonechat::port::rows::{Export, Import};
use stonechat::port::{Person, Source as _};
use stonechat::random::Random;
use stonechat::storage::Memory;

pub const SEEDS: &[&[u8]] = &[
    b"<server-data xmlns='urn:xmpp:pie:0'><host jid='capulet.example'><user name='juliet' password='secret'>\
      <query xmlns='jabber:iq:roster'><item jid='romeo@montague.example' name='R' subscription='both'><group>G</group>\
      </item></query><offline-messages><message xmlns='jabber:client' from='romeo@montague.example/x' \
      to='juliet@capulet.example'><body>hi</body><delay xmlns='urn:xmpp:delay' stamp='1469-07-21T00:32:29Z'/></message>\
      </offline-messages><query xmlns='jabber:iq:private'><x xmlns='urn:x'>1</x></query>\
      <vCard xmlns='vcard-temp'><FN>J</FN></vCard></user></host></server-data>",
    b"<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='x.xml'/>\
      <host jid='a.example'><user name='b'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>\
      <iter-count>4096</iter-count><salt>QSXCR+Q6sek8bf92</salt><server-key>D+CSWLOshSulAsxiupA+qs2/fTE=</server-key>\
      <stored-key>6dlGYMOdZcOPutkcNY8U2g7vK9Y=</stored-key></scram-credentials></user></host></server-data>",
];

/// Persons that are looked at in one file.
const PERSONS_MAX: usize = 64;

pub fn run(data: &[u8]) {
    let mut pull = Pull::new(Cursor::new(data), "", 1 << 20);
    while let Ok(piece) = pull.piece() {
        if piece == Piece::End {
            break;
        }
    }
    let mut persons = Vec::new();
    scratch::with_file("port.xml", data, |path| {
        let Ok(mut reader) = Reader::open(path) else { return };
        let mut problems = Vec::new();
        while let Ok(Some(person)) = reader.next(&mut problems) {
            persons.push(person);
            if persons.len() == PERSONS_MAX {
                break;
            }
        }
    });
    let once = exported(persons);
    let mut again = Vec::new();
    scratch::with_file("again.xml", &once, |path| {
        let mut reader = Reader::open(path).unwrap_or_else(|problem| panic!("{problem}: {}", text(&once)));
        let mut problems = Vec::new();
        while let Some(person) =
            reader.next(&mut problems).unwrap_or_else(|problem| panic!("{problem}: {}", text(&once)))
        {
            again.push(person);
        }
        assert!(problems.is_empty(), "{problems:?}: {}", text(&once));
    });
    let twice = exported(again);
    assert_eq!(text(&twice), text(&once));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Through the store and out again. Passwords are not derived: keys alone go round.
fn exported(persons: Vec<Person>) -> Vec<u8> {
    let mut engine = Memory::new();
    let mut import = Import::new(&mut engine, false, Random::seeded(1));
    for mut person in persons {
        person.password = None;
        import.add(person, &mut |_| {}).expect("memory takes everything");
    }
    import.finish(&mut |_| {}).expect("memory takes everything");
    let mut export = Export::new(&mut engine).expect("rows are there");
    let mut writer = Writer::new(Vec::new()).expect("memory takes everything");
    while let Some(person) = export.next(&mut |_, _| {}).expect("rows are there") {
        writer.add(&person).expect("memory takes everything");
    }
    writer.end().expect("memory takes everything")
}
