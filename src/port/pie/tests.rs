//! The XEP's own examples, what goes round, and what is refused.

use super::*;
use crate::port::element::Element;
use crate::port::{Contact, Person, Problem, Source, stamp};
use crate::random::Random;
use crate::sasl::{ScramHash, derive};
use crate::scratch;
use crate::xml::CLIENT;

/// A folder of files, gone with it.
struct Folder(scratch::Folder);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = scratch::Folder::new(&format!("pie-{name}"));
        for (name, text) in files {
            folder.file(name, text);
        }
        Self(folder)
    }

    fn read(&self, name: &str) -> (Vec<Person>, Vec<String>, Option<Problem>) {
        let mut reader = Reader::open(&self.0.join(name)).unwrap();
        let (mut persons, mut problems) = (Vec::new(), Vec::new());
        loop {
            match reader.next(&mut problems) {
                Ok(Some(person)) => persons.push(person),
                end => return (persons, problems.into_iter().map(|problem| problem.what).collect(), end.err()),
            }
        }
    }
}

fn read(text: &str) -> (Vec<Person>, Vec<String>, Option<Problem>) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    Folder::new(&format!("one-{}", NUMBER.fetch_add(1, Ordering::Relaxed)), &[("a.xml", text)]).read("a.xml")
}

fn written(persons: &[Person]) -> String {
    let mut writer = Writer::new(Vec::new()).unwrap();
    persons.iter().for_each(|person| writer.add(person).unwrap());
    String::from_utf8(writer.end().unwrap()).unwrap()
}

fn element(xml: &str) -> Element {
    Element::parse(xml.as_bytes(), CLIENT).unwrap()
}

/// Somebody with something of everything.
fn juliet() -> Person {
    let mut person = Person::new("capulet.example", "juliet").unwrap();
    for keys in derive("pencil", &ScramHash::ALL, 4096, &mut Random::seeded(1)).run().derived {
        person.add_keys(keys).unwrap();
    }
    person.disabled = true;
    let contact = |jid: &str, name: &str, to, from, asks| Contact {
        jid: jid.into(),
        name: name.into(),
        to,
        from,
        asks,
        approved: asks,
        groups: vec!["a'\"<&".into(), "b\n".into()],
    };
    person.add_contact(contact("romeo@montague.example", "R\u{f6}meo", true, true, false)).unwrap();
    person.add_contact(contact("nurse@capulet.example", "", false, false, true)).unwrap();
    person.add_request(element("<presence from='x@y/z'><nick xmlns='n'>\t</nick></presence>")).unwrap();
    person
        .add_offline(
            element("<message from='a@b/c'><body> x </body><delay xmlns='urn:xmpp:delay'/></message>"),
            Some(1_031_699_305_123),
        )
        .unwrap();
    person.add_offline(element("<message xml:lang='en'/>"), Some(1_031_699_306_000)).unwrap();
    person.set_vcard(element("<vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard>")).unwrap();
    person.add_private(element("<q:a xmlns:q='u' q:b='c'><b xmlns=''/></q:a>")).unwrap();
    person.add_block("spam.example").unwrap();
    person
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let persons = [
        juliet(),
        Person::new("capulet.example", "tybalt").unwrap(),
        Person::new("montague.example", "romeo").unwrap(),
    ];
    let text = written(&persons);
    let (again, problems, end) = read(&text);
    assert_eq!((problems, end), (vec![], None));
    assert_eq!(again, persons);
    assert_eq!(written(&again), text);
    assert!(text.contains("<delay xmlns='urn:xmpp:delay' from='capulet.example' stamp='2002-09-10T23:08:25.123Z'/>"));
    assert!(!text.contains("pencil"));
}

/// XEP-0227, the examples of §4.
const EXAMPLES: &str = r#"<?xml version='1.0' encoding='UTF-8'?>
<server-data xmlns='urn:xmpp:pie:0'>
  <!-- Comments are allowed in files. -->
  <host jid='capulet.com'>
    <user name='juliet' password='R0m30'>
      <query xmlns='jabber:iq:roster'>
        <item jid='romeo@montague.net' name='Romeo' subscription='both'><group>Friends</group></item>
      </query>
      <offline-messages>
        <message xmlns='jabber:client' from='romeo@montague.net/orchard' to='juliet@capulet.com/balcony' type='chat'>
          <body>Neither, fair saint, if either thee dislike.</body>
          <delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2009-07-21T00:32:29Z'>Offline Storage</delay>
        </message>
      </offline-messages>
      <query xmlns="jabber:iq:private"><exodus xmlns="exodus:prefs"><defaultnick>Hamlet</defaultnick></exodus></query>
      <vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>
      <query xmlns='jabber:iq:privacy'>
        <default name='public'/>
        <list name='public'>
          <item type='jid' value='tybalt@example.com' action='deny' order='1'/>
          <item action='allow' order='2'/>
        </list>
        <list name='private'><item action='deny' order='15'/></list>
      </query>
      <presence xmlns='jabber:client' type='subscribe' id='xk3h1v69' from='mercutio@montague.net'>
        <nick xmlns="http://jabber.org/protocol/nick">Mercutio</nick>
      </presence>
      <pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub>
    </user>
  </host>
  <host jid='montague.net'>
    <user name='romeo'>
      <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>
        <iter-count>100000</iter-count>
        <salt>TmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2wK</salt>
        <server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key>
        <stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key>
      </scram-credentials>
      <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-512'/>
    </user>
  </host>
  <audit xmlns='urn:other'/>
</server-data>
"#;

#[test]
fn the_examples_of_the_xep_are_read() {
    let (persons, problems, end) = read(EXAMPLES);
    assert_eq!(end, None);
    let [juliet, romeo] = persons.as_slice() else { panic!("two: {problems:?}") };
    assert_eq!(juliet.password.as_ref().unwrap().reveal(), "R0m30");
    assert_eq!(juliet.roster[0].groups, ["Friends"]);
    assert_eq!(stamp::format(juliet.offline[0].stamp_ms), "2009-07-21T00:32:29.000Z");
    assert_eq!(juliet.offline[0].stanza.elements().count(), 1);
    assert_eq!((juliet.private.len(), juliet.vcard.is_some()), (1, true));
    assert_eq!(juliet.blocks, ["tybalt@example.com"]);
    assert_eq!(juliet.requests[0].from, "mercutio@montague.net");
    assert_eq!((romeo.keys[0].hash, romeo.keys[0].iterations), (ScramHash::Sha1, 100_000));
    assert_eq!(problems.len(), 4, "{problems:#?}");
    for what in ["\"private\" is not the default", "<pubsub/>", "\"SCRAM-SHA-512\"", "<audit/>"] {
        assert!(problems.iter().any(|problem| problem.contains(what)), "{what}: {problems:#?}");
    }
    assert!(!written(&persons).contains("R0m30"));
}

#[test]
fn includes_are_followed_where_the_xep_has_them() {
    let xi = "xmlns:xi='http://www.w3.org/2001/XInclude'";
    let main = format!(
        "<server-data xmlns='urn:xmpp:pie:0' {xi}><xi:include href='a%2eexample.xml'/><xi:include href='missing.xml'/>\
         <xi:include href='../outside.xml'/><xi:include href='/etc/passwd'/><xi:include href='http://x/y'/>\
         <xi:include href='main.xml'/><xi:include href='a.example.xml' parse='text'/></server-data>"
    );
    let host = format!(
        "<host xmlns='urn:xmpp:pie:0' {xi} jid='a.example'><xi:include href='a/u.xml'><xi:fallback/></xi:include><user name='v'/></host>"
    );
    let user = format!(
        "<user xmlns='urn:xmpp:pie:0' {xi} name='u'><xi:include href='card.xml'/>\
         <query xmlns='jabber:iq:private'><xi:include href='card.xml'/></query></user>"
    );
    let folder = Folder::new(
        "includes",
        &[
            ("in/main.xml", &main),
            ("in/a.example.xml", &host),
            ("in/a/u.xml", &user),
            ("in/a/card.xml", "<vCard xmlns='vcard-temp'><FN>U</FN></vCard>"),
            ("outside.xml", "<host xmlns='urn:xmpp:pie:0' jid='b.example'><user name='w'/></host>"),
        ],
    );
    let (persons, problems, end) = folder.read("in/main.xml");
    assert_eq!(end, None);
    let bares: Vec<String> = persons.iter().map(Person::bare).collect();
    assert_eq!(bares, ["u@a.example", "v@a.example"], "{problems:#?}");
    assert!(persons[0].vcard.is_some());
    assert_eq!(persons[0].private[0].attr("href"), Some("card.xml"), "user data is not followed");
    assert_eq!(problems.len(), 6, "{problems:#?}");
}

#[test]
fn what_is_wrong_with_one_user_leaves_the_others() {
    let (persons, problems, end) = read(
        "<server-data xmlns='urn:xmpp:pie:0'><host jid='h.example'><user name='a@b'><x/></user><user/><user name='b' password=''>\
         <query xmlns='jabber:iq:roster'><item/><item jid='c@d' subscription='remove'/><item jid='e@f'/></query>x\
         <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><salt>!</salt></scram-credentials>\
         <offline-messages><message xmlns='jabber:client'/></offline-messages></user></host></server-data>",
    );
    assert_eq!((persons.len(), persons[0].roster.len(), end), (1, 1, None));
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn a_file_that_ends_in_the_middle_gives_who_was_whole() {
    for end in ["", "</host>", "<user name='c'>", "</host></server-data><x/>", "&"] {
        let text = format!("<server-data xmlns='urn:xmpp:pie:0'><host jid='h'><user name='a'/><user name='b'/>{end}");
        let (persons, _, fault) = read(&text);
        assert_eq!((persons.len(), fault.is_some()), (2, true), "{end}");
    }
    for text in ["<host xmlns='urn:xmpp:pie:0' jid='h'/>", "<server-data/>", "", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"] {
        let (persons, _, fault) = read(text);
        assert!(persons.is_empty() && fault.is_some(), "{text}");
    }
}
