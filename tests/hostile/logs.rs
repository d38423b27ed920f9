//! Log injection (CWE-117): what a peer says never begins a line, and never reaches a terminal as a command.

use super::{STREAM, ask, auth, is_served, log_in, server, two};
use crate::bare::{Bare, policy, settings};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::Cell;
use std::sync::Mutex;

/// Everything that this test has made the server log; the others of this process count their memory.
struct Book(Mutex<Vec<(Level, String)>>);

thread_local! {
    static IS_KEPT: Cell<bool> = const { Cell::new(false) };
}

static BOOK: Book = Book(Mutex::new(Vec::new()));

impl Log for Book {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if !IS_KEPT.get() {
            return;
        }
        self.0.lock().unwrap().push((record.level(), format!("{}", record.args())));
    }

    fn flush(&self) {}
}

/// What a terminal, or a reader of lines, takes for more than text.
fn is_dangerous(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}
/// CWE-117, by every name and text that reaches a line of the log.
#[test]
fn no_line_of_the_log_is_a_peers() {
    log::set_logger(&BOOK).expect("the first");
    log::set_max_level(LevelFilter::Trace);
    IS_KEPT.set(true);
    let evil =
        ["&#10;error: forged", "&#13;&#10;x", "&#x85;y", "\u{202E}dlrow", "\u{2028}z", "&#9;t", "\u{9B}31m", "\u{7F}"];
    for evil in evil {
        let mut bare = server();
        let id = bare.connect(false);
        ask(
            &mut bare,
            id,
            &STREAM.replace("to='localhost'", &format!("to='{evil}' from='{evil}@localhost' id='{evil}'")),
        );
        let id = bare.connect(true);
        bare.secure(id);
        ask(&mut bare, id, &STREAM.replace("to=", &format!("xml:lang='{evil}' to=")));
        ask(&mut bare, id, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{evil}'/>"));
        ask(&mut bare, id, &auth("nobody\nerror: forged"));
        in_a_session(&mut bare, evil);
        ask(&mut bare, id, &format!("<{evil}/>"));
    }
    let book = BOOK.0.lock().unwrap();
    assert!(book.len() > 20, "something was logged: {}", book.len());
    for (_, line) in &*book {
        assert!(!line.contains(is_dangerous), "{line:?}");
        assert!(!line.contains("secret"), "{line:?}");
    }
    drop(book);
    no_peer_fills_the_log();
}

/// The disk that the log is on is often the store's. What peers can do again and again is counted, and at most logged
/// where the operator has asked for details.
fn no_peer_fills_the_log() {
    const TIMES: usize = 300;
    BOOK.0.lock().unwrap().clear();
    let mut settings = settings();
    settings.partial_bytes_max = 64 * 1024;
    settings.bounds.requests_max = 0;
    settings.admission.connects_per_address_per_minute_max = u32::MAX;
    let mut bare = Bare::new(policy(), settings, 1);
    let [juliet, romeo] = two(&mut bare);
    let name = "x".repeat(200);
    for number in 0..TIMES {
        for text in [
            "<presence type='subscribe' to='romeo@localhost'/>".to_owned(),
            "<presence type='unsubscribe' to='romeo@localhost'/>".to_owned(),
            format!("<message to='{name}{number}@elsewhere.example'><body/></message>"),
            "<iq type='set' id='x'><query xmlns='jabber:iq:roster'><item jid='@'/></query></iq>".to_owned(),
            "<iq type='get' id='1' to='localhost'><command xmlns='http://jabber.org/protocol/commands'/></iq>"
                .to_owned(),
        ] {
            ask(&mut bare, juliet, &text);
        }
        let id = bare.connect(false);
        ask(&mut bare, id, STREAM);
        ask(&mut bare, id, &format!("<a>{}", "x".repeat(9_900)));
        let id = bare.connect(true);
        bare.secure(id);
        ask(&mut bare, id, STREAM);
        ask(&mut bare, id, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>");
        bare.hang_up(id);
    }
    assert!(is_served(&mut bare, romeo));
    assert!(bare.core.metrics().requests_dropped > 100 && bare.core.metrics().shed_partial > 100);
    let book = BOOK.0.lock().unwrap();
    let loud: Vec<&String> = book.iter().filter(|(level, _)| *level <= Level::Info).map(|(_, line)| line).collect();
    assert!(loud.len() < TIMES / 10, "{} lines, such as {:?}", loud.len(), loud.first());
}

fn in_a_session(bare: &mut Bare, evil: &str) {
    // A resource with it, if such a one may be.
    let (id, _) = super::try_log_in(bare, "juliet", evil);
    bare.hang_up(id);
    let id = log_in(bare, "juliet", "r");
    for text in [
        format!("<message to='{evil}@localhost' id='{evil}'><body>{evil}</body></message>"),
        format!("<iq type='{evil}' id='{evil}'><{evil} xmlns='urn:x'/></iq>"),
        format!("<iq type='get' id='1'><x xmlns='{evil}'/></iq>"),
        format!("<presence type='{evil}' to='romeo@localhost/{evil}'/>"),
        format!(
            "<iq type='set' id='2'><query xmlns='jabber:iq:register'><username>{evil}</username><password>{evil}</password></query></iq>"
        ),
        format!(
            "<iq type='set' id='3'><query xmlns='jabber:iq:roster'><item jid='{evil}@localhost' name='{evil}'/></query></iq>"
        ),
    ] {
        bare.send(id, text.as_bytes());
    }
    bare.heard(id);
}
