//! Log injection (CWE-117): what a peer says never begins a line, and never reaches a terminal as a command.

use super::{STREAM, ask, auth, log_in, server};
use crate::bare::Bare;
use log::{LevelFilter, Log, Metadata, Record};
use std::cell::Cell;
use std::sync::Mutex;

/// Everything that this test has made the server log; the others of this process count their memory.
struct Book(Mutex<Vec<String>>);

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
        self.0.lock().unwrap().push(format!("{}", record.args()));
    }

    fn flush(&self) {}
}

/// What a terminal, or a reader of lines, takes for more than text.
fn is_dangerous(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

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
    for line in &*book {
        assert!(!line.contains(is_dangerous), "{line:?}");
        assert!(!line.contains("secret"), "{line:?}");
    }
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
