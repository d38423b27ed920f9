//! The verbs of whoever runs the server, and what clients see of them: invitations, announcements, the message of the day,
//! disabled accounts. With the server running, and with it stopped.

mod tls_common;

#[path = "common/process.rs"]
mod process;

#[path = "common/wire.rs"]
mod wire;

use process::{Folder, Server};
use stonechat::admin::client::call;
use stonechat::admin::{Answer, Refusal, Request, UserRequest, socket_path};
use stonechat::clock::Clock;
use wire::{Wire, configure};

const REGISTER: &str = "jabber:iq:register";

/// The token of a link, which must be for `whom`.
fn token(link: &str, whom: &str) -> String {
    let token =
        link.trim_end().strip_prefix(&format!("xmpp:{whom}?register;preauth=")).unwrap_or_else(|| panic!("{link}"));
    assert!(
        token.len() >= 22 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "{link}"
    );
    token.to_owned()
}

fn preauth(wire: &mut Wire, id: &str, token: &str) -> String {
    wire.ask("set", id, &format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>"))
}

fn register(wire: &mut Wire, id: &str, user: &str, password: &str) -> String {
    let fields = format!("<username>{user}</username><password>{password}</password>");
    wire.ask("set", id, &format!("<query xmlns='{REGISTER}'>{fields}</query>"))
}

fn is_result(answer: &str) -> bool {
    answer.contains("type='result'")
}

fn stop(folder: &Folder, mut server: Server) {
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));
}

/// From the link that is printed to the newcomer's session.
#[test]
fn an_invitation_makes_one_account_and_no_other() {
    let folder = Folder::new("invite");
    let world = configure(&folder, "registration = \"invite\"\n[limits]\nregistrations_per_address_per_hour = 6\n");
    folder.data();
    let invite = |words: &[&str]| {
        let (code, out, err) = folder.run(&[&["invite"], words].concat(), "");
        assert_eq!(code, 0, "{err}");
        out
    };
    // One before the server runs, one for a name while it does.
    let open = token(&invite(&[]), "localhost");
    let server = Server::start(&folder);
    let direct = server.address("(direct TLS)").to_owned();
    let kept = token(&invite(&["Romeo", "--days", "1"]), "romeo@localhost");
    let (code, _, err) = folder.run(&["invite", "romeo"], "");
    assert!(code == 1 && err.contains("romeo@localhost"), "{err}");
    let (code, _, err) = folder.run(&["invite", "--domain", "elsewhere.example"], "");
    assert!(code == 1 && err.contains("elsewhere.example is not hosted here"), "{err}");

    let mut stream = Wire::open(&direct, &world);
    assert!(register(&mut stream, "r0", "juliet", "x1").contains("<not-allowed"));
    assert!(preauth(&mut stream, "p0", "AAAAAAAAAAAAAAAAAAAAAAAA").contains("<item-not-found"));
    assert!(is_result(&preauth(&mut stream, "p1", &open)));
    assert!(register(&mut stream, "r1", "romeo", "x1").contains("<conflict"));
    assert!(is_result(&register(&mut stream, "r2", "juliet", "wherefore")));
    assert!(stream.authenticate("juliet", "wherefore"));
    drop(stream);

    let mut stream = Wire::open(&direct, &world);
    assert!(preauth(&mut stream, "p2", &open).contains("<item-not-found"), "it is used up");
    assert!(is_result(&preauth(&mut stream, "p3", &kept)));
    assert!(register(&mut stream, "r3", "mercutio", "x1").contains("<not-acceptable"));
    assert!(is_result(&register(&mut stream, "r4", "romeo", "thou")));
    assert!(stream.authenticate("romeo", "thou"));
    drop(stream);
    assert_eq!(folder.run(&["user", "list"], "").1, "juliet@localhost\nromeo@localhost\n");
    stop(&folder, server);
}

/// Invitations have an end, and there is none where nobody may register.
#[test]
fn an_invitation_ends_and_a_closed_server_has_none() {
    let folder = Folder::new("invite-end");
    let world = configure(&folder, "registration = \"invite\"\n");
    let server = Server::start(&folder);
    let data = folder.0.join("stonechat-data");
    let invite = |token: &str, expires_unix_s: u64| {
        let (domain, token) = ("localhost".to_owned(), token.to_owned());
        let request = UserRequest::Invite { domain, token, localpart: None, expires_unix_s };
        call(&socket_path(&data), &Request::User(request)).unwrap()
    };
    let now_s = Clock::new().now().unix_s();
    assert_eq!(invite("0123456789-past-0123456789", now_s - 1), Answer::Done);
    assert!(matches!(invite("short", now_s + 60), Answer::Refused(Refusal::BadRequest { .. })));
    let mut stream = Wire::open(server.address("(direct TLS)"), &world);
    assert!(preauth(&mut stream, "p1", "0123456789-past-0123456789").contains("<item-not-found"));
    stop(&folder, server);

    configure(&folder, "");
    let (code, out, err) = folder.run(&["invite"], "");
    assert!(code == 1 && out.is_empty() && err.contains("registration is closed"), "{err}");
}

/// What who is online sees of `announce` and `motd`, what who comes later sees, and what is taken back.
#[test]
fn announcements_and_the_message_of_the_day_reach_whom_they_are_for() {
    let folder = Folder::new("announce");
    let world = configure(&folder, "");
    folder.data();
    for user in ["alice", "bob", "carol"] {
        assert_eq!(folder.run(&["user", "add", &format!("{user}@localhost")], "secret\n").0, 0);
    }
    let (code, _, err) = folder.run(&["announce", "Nobody hears this."], "");
    assert!(code == 1 && err.contains("no server runs on"), "{err}");
    // Set while no server runs.
    assert_eq!(folder.run(&["motd", "Be <kind> & brief."], "").0, 0);
    let server = Server::start(&folder);
    let direct = server.address("(direct TLS)").to_owned();
    let mut alice = Wire::log_in(&direct, &world, "alice", "secret");
    alice.say("<presence/>");
    let shown = alice.hear("</message>");
    assert!(shown.contains("<body>Be &lt;kind&gt; &amp; brief.</body>"), "{shown}");

    let (code, out, err) = folder.run(&["announce", "The lights go out at nine."], "");
    assert_eq!((code, out.as_str()), (0, "everybody who is online was told\n"), "{err}");
    let heard = alice.hear("</message>");
    assert!(heard.contains("type='headline'") && heard.contains("<body>The lights go out at nine.</body>"), "{heard}");

    // Who is there sees a new one at once, and not again; who comes later sees it then.
    assert_eq!(folder.run(&["motd", "Be quiet."], "").0, 0);
    assert!(alice.hear("</message>").contains("<body>Be quiet.</body>"));
    drop(alice);
    let mut bob = Wire::log_in(&direct, &world, "bob", "secret");
    bob.say("<presence/>");
    assert!(bob.hear("</message>").contains("<body>Be quiet.</body>"));
    let mut alice = Wire::log_in(&direct, &world, "alice", "secret");
    alice.say("<presence/>");
    alice.say("<iq type='get' id='after' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(!alice.hear("id='after'").contains("<message"));

    assert_eq!(folder.run(&["motd", "--clear"], "").1, "there is no message of the day any more\n");
    let mut carol = Wire::log_in(&direct, &world, "carol", "secret");
    carol.say("<presence/>");
    carol.say("<iq type='get' id='after' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(!carol.hear("id='after'").contains("<message"));
    for words in [&["motd"][..], &["announce"], &["announce", " "], &["motd", ""]] {
        assert_ne!(folder.run(words, "").0, 0, "{words:?}");
    }
    stop(&folder, server);
}

#[test]
fn a_disabled_account_is_put_out_and_kept_out_until_it_is_enabled() {
    let folder = Folder::new("disable");
    let world = configure(&folder, "");
    folder.data();
    assert_eq!(folder.run(&["user", "add", "alice@localhost"], "secret\n").0, 0);
    let server = Server::start(&folder);
    let direct = server.address("(direct TLS)").to_owned();
    let mut alice = Wire::log_in(&direct, &world, "alice", "secret");
    let (code, out, err) = folder.run(&["user", "disable", "alice@localhost"], "");
    assert_eq!((code, out.as_str()), (0, "alice@localhost disabled\n"), "{err}");
    assert!(alice.hear("</stream:stream>").contains("<not-authorized"));
    assert!(!Wire::open(&direct, &world).authenticate("alice", "secret"));
    // Another password does not let it in.
    assert_eq!(folder.run(&["user", "passwd", "alice@localhost"], "other\n").0, 0);
    assert!(!Wire::open(&direct, &world).authenticate("alice", "other"));
    stop(&folder, server);

    // The same without a server.
    let server = Server::start(&folder);
    assert!(!Wire::open(server.address("(direct TLS)"), &world).authenticate("alice", "other"));
    stop(&folder, server);
    assert_eq!(folder.run(&["user", "enable", "alice@localhost"], "").1, "alice@localhost enabled\n");
    let server = Server::start(&folder);
    assert!(Wire::open(server.address("(direct TLS)"), &world).authenticate("alice", "other"));
    let (code, _, err) = folder.run(&["user", "disable", "nobody@localhost"], "");
    assert!(code == 1 && err.ends_with("there is no account nobody@localhost\n"), "{err}");
    stop(&folder, server);
}

/// XEP-0050 §3.4: a session of a command is one admin's; another cannot go on with it.
#[test]
fn the_session_of_another_admins_command_is_refused() {
    let folder = Folder::new("commands");
    let world = configure(&folder, "admins = [\"alice@localhost\", \"dave@localhost\"]\n");
    folder.data();
    for user in ["alice", "dave"] {
        assert_eq!(folder.run(&["user", "add", &format!("{user}@localhost")], "secret\n").0, 0);
    }
    let server = Server::start(&folder);
    let direct = server.address("(direct TLS)").to_owned();
    let execute = |wire: &mut Wire, session: &str| {
        let node = "http://jabber.org/protocol/admin#add-user";
        wire.say(&format!(
            "<iq type='set' id='c' to='localhost'>\
             <command xmlns='http://jabber.org/protocol/commands' node='{node}'{session}/></iq>"
        ));
        wire.hear("</iq>")
    };
    let mut alice = Wire::log_in(&direct, &world, "alice", "secret");
    let mut dave = Wire::log_in(&direct, &world, "dave", "secret");
    let begun = execute(&mut alice, "");
    let session = begun.split("sessionid='").nth(1).unwrap().split('\'').next().unwrap();
    assert!(session.len() >= 16, "{begun}");
    let session = format!(" sessionid='{session}'");
    assert!(execute(&mut dave, &session).contains("<bad-sessionid"));
    assert!(execute(&mut alice, &session).contains("status='executing'"));
    stop(&folder, server);
}
