//! The protocol's words, its bounds, and what it does to a store.

use super::client::{CallError, call};
use super::*;
use crate::im::accounts::Summary;
use crate::im::columns::Bounds;
use crate::im::unattended::Unattended;
use crate::random::Random;
use crate::sasl;
use crate::sasl::ScramHash;
use crate::storage::{Memory, offline};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;

fn credentials(password: &str) -> Credentials {
    let job = sasl::derive(password, &ScramHash::ALL, sasl::ITERATIONS_MIN, &mut Random::seeded(1));
    Credentials { keys: job.run().derived, disabled: false }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn add(address: &str) -> UserRequest {
    UserRequest::Add { address: jid(address), credentials: credentials("secret") }
}

fn run(engine: &mut Memory, request: &UserRequest) -> Answer {
    let hosted = ["localhost", "a.example"];
    let mut columns = Unattended::new(hosted.map(str::to_owned), Bounds::default());
    offline::run(engine, |store| execute(request, &hosted, &mut columns.lend(store))).unwrap()
}

fn refused(line: &str) -> String {
    Request::parse(line.as_bytes()).unwrap_err().to_string()
}

#[test]
fn every_request_survives_the_wire() {
    let list = |after: Option<&str>| UserRequest::List { domain: "localhost".into(), after: after.map(str::to_owned) };
    let requests = [
        Request::User(add("alice@localhost")),
        Request::User(UserRequest::Passwd { address: jid("alice@localhost"), credentials: credentials("other") }),
        Request::User(UserRequest::Del { address: jid("alice@localhost") }),
        Request::User(list(None)),
        Request::User(list(Some("bob"))),
        Request::Status,
        Request::Reload,
        Request::Stop,
    ];
    for request in requests {
        let line = request.to_line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(Request::parse(&line), Ok(request));
    }
}

#[test]
fn every_answer_survives_the_wire() {
    let address = || "alice@localhost".to_owned();
    let refusals = [
        Refusal::BadRequest { why: "so".into() },
        Refusal::UnsupportedVersion,
        Refusal::NoSuchDomain { domain: "x.example".into(), hosted: vec!["localhost".into()] },
        Refusal::NoSuchAccount { address: address() },
        Refusal::AccountExists { address: address() },
        Refusal::Busy,
        Refusal::Failed { why: "the disk is full".into() },
    ];
    let status = Status { pid: 7, domains: vec!["localhost".into()], ..Status::default() };
    let answers = [
        Answer::Done,
        Answer::Users { localparts: vec!["alice".into(), "böb".into()], more: true },
        Answer::Status(Box::new(status)),
    ];
    for answer in answers.into_iter().chain(refusals.map(Answer::Refused)) {
        assert_eq!(Answer::parse(&answer.to_line()), Ok(answer));
    }
}

/// The bytes of version 1: others may have written programs against them.
#[test]
fn version_1_is_written_like_this() {
    let del = Request::User(UserRequest::Del { address: jid("alice@localhost") });
    assert_eq!(&**del.to_line(), b"{\"version\":1,\"verb\":\"user-del\",\"address\":\"alice@localhost\"}\n");
    assert_eq!(Answer::Done.to_line(), b"{\"version\":1,\"ok\":true}\n");
    let refusal = Answer::Refused(Refusal::NoSuchAccount { address: "alice@localhost".into() });
    let expected = concat!(
        r#"{"version":1,"ok":false,"error":"no-such-account","#,
        r#""message":"there is no account alice@localhost","address":"alice@localhost"}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(refusal.to_line()).unwrap(), expected);
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    let rows = [
        ("", "the request is not understood: not the JSON object of a request (column 0)"),
        ("GET / HTTP/1.1", "the request is not understood: not the JSON object of a request (column 1)"),
        (r#"{"verb":"status"}"#, "the request is not understood: not the JSON object of a request (column 17)"),
        (r#"{"version":2,"verb":"status","new":true}"#, "this server speaks version 1 of the control protocol"),
        (r#"{"version":1,"verb":"shutdown"}"#, "the request is not understood: there is no such verb"),
        (r#"{"version":1,"verb":"user-del"}"#, "the request is not understood: this verb needs `address`"),
        (
            r#"{"version":1,"verb":"status","address":"a@localhost"}"#,
            "the request is not understood: a key that this verb does not have",
        ),
        (
            r#"{"version":1,"verb":"user-del","address":"localhost"}"#,
            "the request is not understood: the address must be localpart@domain",
        ),
        (
            r#"{"version":1,"verb":"user-del","address":"a@localhost/x"}"#,
            "the request is not understood: the address must be localpart@domain",
        ),
        (
            r#"{"version":1,"verb":"user-del","address":"@localhost"}"#,
            "the request is not understood: the localpart is empty",
        ),
        (
            r#"{"version":1,"verb":"user-add","address":"a@localhost","credentials":"c2VjcmV0"}"#,
            "the request is not understood: the credentials are not sets of SCRAM keys",
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(refused(line), expected, "{line}");
    }
    assert!(refused(r#"{"version":1,"verb":"status","password":"x"}"#).contains("not the JSON object"));
    assert!(refused(&" ".repeat(CONTROL_LINE_BYTES_MAX + 1)).contains("too long"));
}

/// Credentials without any keys would make an account that nobody can enter, and that spoils every domain's offer.
#[test]
fn credentials_without_keys_are_refused() {
    let request = UserRequest::Add { address: jid("a@localhost"), credentials: Credentials::default() };
    let line = Request::User(request).to_line();
    assert!(matches!(Request::parse(&line), Err(Refusal::BadRequest { .. })));
}

#[test]
fn nothing_secret_is_shown() {
    let request = Request::User(add("alice@localhost"));
    let shown = format!("{request:?}");
    assert_eq!(shown, "User(Add(alice@localhost))");
    // A broken line is not repeated either.
    assert!(!refused(r#"{"version":1,"verb":"user-add","credentials":"c2VjcmV0""#).contains("c2VjcmV0"));
    assert!(!refused(r#"{"version":1,"verb":"user-add","credentials":["c2VjcmV0"]}"#).contains("c2VjcmV0"));
}

#[test]
fn accounts_are_added_changed_listed_and_deleted() {
    let mut engine = Memory::new();
    let list = |engine: &mut Memory| match run(engine, &UserRequest::List { domain: "localhost".into(), after: None }) {
        Answer::Users { localparts, more: false } => localparts,
        other => panic!("{other:?}"),
    };
    let missing = || Answer::Refused(Refusal::NoSuchAccount { address: "bob@localhost".into() });
    assert_eq!(run(&mut engine, &add("bob@localhost")), Answer::Done);
    assert_eq!(run(&mut engine, &add("alice@localhost")), Answer::Done);
    assert_eq!(run(&mut engine, &add("carol@a.example")), Answer::Done);
    let exists = Refusal::AccountExists { address: "bob@localhost".into() };
    assert_eq!(run(&mut engine, &add("bob@localhost")), Answer::Refused(exists));
    assert_eq!(list(&mut engine), ["alice", "bob"]);

    let other = credentials("other");
    let passwd = UserRequest::Passwd { address: jid("bob@localhost"), credentials: other.clone() };
    assert_eq!(run(&mut engine, &passwd), Answer::Done);
    let row = offline::run(&mut engine, |store| accounts::get(store, "localhost", "bob")).unwrap().unwrap();
    assert_eq!(Credentials::decode(&row.credentials), Some(other));
    assert_eq!(row.summary, Summary { has_sha1: true, has_sha256: true, disabled: false });

    assert_eq!(run(&mut engine, &UserRequest::Del { address: jid("bob@localhost") }), Answer::Done);
    assert_eq!(list(&mut engine), ["alice"]);
    assert_eq!(run(&mut engine, &UserRequest::Del { address: jid("bob@localhost") }), missing());
    assert_eq!(run(&mut engine, &passwd), missing());
}

#[test]
fn a_domain_that_is_not_hosted_is_refused_with_those_that_are() {
    let mut engine = Memory::new();
    let Answer::Refused(refusal) = run(&mut engine, &add("alice@b.example")) else { panic!("refused") };
    assert_eq!(refusal.to_string(), "the domain b.example is not hosted here; hosted: localhost, a.example");
}

/// The longest localparts there are, all of bytes that JSON escapes: each page fits a line, none is left out.
#[test]
fn pages_fit_a_line_and_leave_nobody_out() {
    let mut engine = Memory::new();
    let credentials = credentials("secret");
    let count = 300;
    for n in 0..count {
        let localpart = format!("{}{n:03}", "\\".repeat(600));
        let address = jid(&format!("{localpart}@localhost"));
        assert_eq!(run(&mut engine, &UserRequest::Add { address, credentials: credentials.clone() }), Answer::Done);
    }
    let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let answer = run(&mut engine, &UserRequest::List { domain: "localhost".into(), after: after.take() });
        assert!(answer.to_line().len() < CONTROL_LINE_BYTES_MAX);
        let Answer::Users { localparts, more } = answer else { panic!("a page") };
        after = localparts.last().cloned();
        seen.extend(localparts);
        pages += 1;
        if !more {
            break;
        }
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(seen.len(), count);
    assert!(seen.is_sorted());
}

#[test]
fn an_answer_that_fits_no_line_says_so() {
    let status = Status { domains: vec!["x".repeat(1_000); 100], ..Status::default() };
    let line = Answer::Status(Box::new(status)).to_line();
    let expected = Refusal::Failed { why: "the answer is too long".into() };
    assert_eq!(Answer::parse(&line), Ok(Answer::Refused(expected)));
}

/// One server's answer on a real socket.
fn answered(name: &str, answer: &'static [u8]) -> Result<Answer, CallError> {
    let path = std::env::temp_dir().join(format!("stonechat-admin-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream.write_all(answer).unwrap();
        line
    });
    let answer = call(&path, &Request::Status);
    assert_eq!(server.join().unwrap(), "{\"version\":1,\"verb\":\"status\"}\n");
    let _ = std::fs::remove_file(&path);
    answer
}

#[test]
fn the_client_takes_one_answer() {
    assert!(matches!(answered("done", b"{\"version\":1,\"ok\":true}\n"), Ok(Answer::Done)));
    let rows: [(&str, &[u8], &str); 3] = [
        ("cut", b"{\"version\":1,", "the server broke off: unexpected end of file"),
        ("newer", b"{\"version\":2}\n", "the server speaks version 2 of the control protocol, this program 1"),
        ("wrong", b"hello\n", "the server's answer is not understood (expected value at line 1 column 1)"),
    ];
    for (name, answer, expected) in rows {
        let Err(CallError::Broken(why)) = answered(name, answer) else { panic!("{name}") };
        assert_eq!(why, expected, "{name}");
    }
}

#[test]
fn no_socket_and_a_left_over_socket_are_no_server() {
    let path = std::env::temp_dir().join(format!("stonechat-admin-{}-nobody", std::process::id()));
    let _ = std::fs::remove_file(&path);
    assert!(matches!(call(&path, &Request::Status), Err(CallError::NotRunning)));
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(call(&path, &Request::Status), Err(CallError::NotRunning)));
    let _ = std::fs::remove_file(&path);
}
