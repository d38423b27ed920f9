//! The command line without a process: arguments, verbs on a store, what a start says.

use super::args::{Command, ImportCommand, Invocation, UserCommand, parse};
use super::help::{Topic, VERBS, text};
use super::password::first_line;
use super::*;
use crate::admin::{self, Answer, Refusal, Request, Status, UserRequest};
use crate::config::ListenerKind;
use crate::scratch;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use zeroize::Zeroizing;

/// A folder with a configuration, gone with it.
struct Folder(scratch::Folder);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Self(scratch::Folder::new(&format!("cli-{name}")));
        folder.configure("");
        folder
    }

    fn configure(&self, text: &str) {
        fs::write(self.config(), format!("data_dir = \"data\"\nscram_iterations = 4096\n{text}")).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.0.join("stonechat.toml")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Runs a verb on this folder.
    fn run(&self, words: &[&str]) -> Ran {
        self.run_with(words, "secret", serve_nobody)
    }

    fn run_with(&self, words: &[&str], password: &str, serve: Serve) -> Ran {
        let mut args = vec!["bin/stone chat".into(), "--config".into(), self.config().into_os_string()];
        args.extend(words.iter().map(OsString::from));
        run_args(args, password, serve)
    }

    /// One start, which makes the data folder.
    fn start(&self) -> Ran {
        self.run_with(&[], "", serve_nobody)
    }

    /// A server that answers one request.
    fn server(&self, answer: Answer) -> JoinHandle<Request> {
        let listener = UnixListener::bind(admin::socket_path(&self.data())).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = Vec::new();
            BufReader::new(&stream).read_until(b'\n', &mut line).unwrap();
            stream.write_all(&answer.to_line()).unwrap();
            Request::parse(&line).unwrap()
        })
    }
}

/// What a run left.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

struct Typed(String);

impl Passwords for Typed {
    fn ask(&mut self, _: &str) -> Result<Zeroizing<String>, String> {
        if self.0.is_empty() { Err("nobody types".into()) } else { Ok(Zeroizing::new(self.0.clone())) }
    }
}

fn run_args(args: Vec<OsString>, password: &str, serve: Serve) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(&mut Surroundings {
        args,
        out: &mut out,
        err: &mut err,
        err_is_terminal: false,
        passwords: &mut Typed(password.to_owned()),
        log_rule: LogRule::Environment,
        serve,
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { exit, out: text(out), err: text(err) }
}

/// A server that listens on everything and ends at once.
fn serve_nobody(config: Config, _: Boot, on_listening: &mut dyn FnMut(&[Listening])) -> Result<(), Box<dyn Error>> {
    let listening: Vec<Listening> = config
        .listeners
        .iter()
        .flat_map(|listener| {
            listener.addresses.iter().map(|address| Listening { kind: listener.kind, place: address.to_string() })
        })
        .collect();
    on_listening(&listening);
    Ok(())
}

fn serve_fails(_: Config, _: Boot, _: &mut dyn FnMut(&[Listening])) -> Result<(), Box<dyn Error>> {
    Err("port 5222 is taken".into())
}

fn parsed(words: &str) -> Result<Invocation, String> {
    let words = std::iter::once("stonechat").chain(words.split_whitespace());
    parse(&words.map(OsString::from).collect::<Vec<_>>())
}

#[test]
fn arguments_name_a_verb() {
    let owned = |text: &str| text.to_owned();
    let import =
        |path: &str, is_prosody, replaces| Command::Import(ImportCommand { path: path.into(), is_prosody, replaces });
    let rows = [
        ("", Command::Serve),
        ("serve", Command::Serve),
        ("check", Command::Check),
        ("compact", Command::Compact),
        ("export a.xml", Command::Export("a.xml".into())),
        ("import a.xml", import("a.xml", false, false)),
        ("import --replace a.xml", import("a.xml", false, true)),
        ("--from prosody import /var/lib/prosody", import("/var/lib/prosody", true, false)),
        ("import --help", Command::Help(Topic::Import)),
        ("status", Command::Status),
        ("reload", Command::Reload),
        ("stop", Command::Stop),
        ("user add alice@localhost", Command::User(UserCommand::Add(owned("alice@localhost")))),
        ("user passwd alice@localhost", Command::User(UserCommand::Passwd(owned("alice@localhost")))),
        ("user del alice@localhost", Command::User(UserCommand::Del(owned("alice@localhost")))),
        ("user list", Command::User(UserCommand::List(None))),
        ("user list localhost", Command::User(UserCommand::List(Some(owned("localhost"))))),
        ("--version", Command::Version),
        ("-V user", Command::Version),
        ("--help", Command::Help(Topic::All)),
        ("-h", Command::Help(Topic::All)),
        ("help", Command::Help(Topic::All)),
        ("user add --help", Command::Help(Topic::User)),
        ("help check", Command::Help(Topic::Check)),
    ];
    for (words, command) in rows {
        assert_eq!(parsed(words), Ok(Invocation { config: None, command }), "{words}");
    }
    for words in ["--config x.toml check", "check --config x.toml", "check -c x.toml", "--config=x.toml check"] {
        let expected = Invocation { config: Some("x.toml".into()), command: Command::Check };
        assert_eq!(parsed(words), Ok(expected), "{words}");
    }
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let verbs = "there are serve, check, user, compact, backup, salvage, export, import, invite, announce, motd, status, reload, stop, help";
    let rows = [
        ("sevre", format!("there is no verb \"sevre\"; {verbs}")),
        ("help me", format!("there is no verb \"me\"; {verbs}")),
        ("serve now", "`serve` takes no \"now\"".into()),
        ("user", "`user` needs one of add, passwd, del, disable, enable and list".into()),
        ("user show", "there is no `user show`; there are add, passwd, del, disable, enable and list".into()),
        ("user add", "`user add` needs an address: user add alice@localhost".into()),
        ("user list a b", "`user list` takes one argument".into()),
        ("--config", "--config needs a file: --config stonechat.toml".into()),
        ("-c a -c b", "--config is there twice".into()),
        ("import --from ejabberd x", "--from needs the server that the data comes from: --from prosody".into()),
        ("stop --replace", "--from belongs to `import FILE`, --replace to it and to `backup FILE`".into()),
        ("import a b", "`import` takes no \"b\"".into()),
        ("--force", "invalid option '--force'".into()),
        (
            "user add a@localhost hunter2",
            "`user add` takes an address and nothing else: the password is asked for, or read from standard input"
                .into(),
        ),
        (
            "user add a@localhost --password=hunter2",
            "there is no option --password: a password is asked for, or read from standard input".into(),
        ),
    ];
    for (words, expected) in rows {
        assert_eq!(parsed(words), Err(expected), "{words}");
    }
}

#[test]
fn help_is_there_for_all_and_for_each_verb() {
    let all = text(Topic::All);
    for (verb, topic) in VERBS {
        assert!(all.contains(&format!("\n  {verb}")), "{verb}");
        let own = text(topic);
        assert!(own.starts_with(&format!("Usage: stonechat {verb}")) || own.starts_with("Usage: stonechat [serve]"));
        for option in ["--config", "--help", "--version", "RUST_LOG", "Exit codes", "data_dir"] {
            assert!(own.contains(option) && all.contains(option), "{verb} {option}");
        }
        assert!(own.lines().chain(all.lines()).all(|line| line.len() <= 100), "{verb}");
    }
}

#[test]
fn help_and_version_need_no_configuration() {
    let words = |word: &str| vec!["stonechat".into(), "--config".into(), "/nowhere.toml".into(), word.into()];
    let version = run_args(words("--version"), "", serve_nobody);
    assert_eq!((version.exit, version.out), (Exit::Done, format!("stonechat {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(run_args(words("--help"), "", serve_nobody).exit, Exit::Done);
    assert_eq!(run_args(words("check"), "", serve_nobody).exit, Exit::Config);
    let usage = run_args(words("sevre"), "", serve_nobody);
    assert_eq!(usage.exit, Exit::Usage);
    assert!(usage.err.ends_with("\nTry: stonechat --help\n"), "{}", usage.err);
}

/// Everything a first start says, and what the next one does not say again.
#[test]
fn a_start_says_what_it_loaded_and_what_to_do_next() {
    let folder = Folder::new("start");
    let ran = folder.start();
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let fingerprint = ran.out.split("SHA-256 ").nth(1).unwrap().lines().next().unwrap();
    let config = folder.config().display().to_string();
    let expected = format!(
        "stonechat {}
configuration: {config}
data folder:   {} (made now)
domain:        localhost, self-signed certificate (made now)
               SHA-256 {fingerprint}
listening:     127.0.0.1:5222 [::1]:5222 (STARTTLS)
listening:     127.0.0.1:5223 [::1]:5223 (direct TLS)
Ready. Nobody can log in yet: add a user, in another terminal and the same folder, with
    'bin/stone chat' --config {config} user add alice@localhost
then log in with any XMPP client, and have it trust the fingerprint above.
",
        env!("CARGO_PKG_VERSION"),
        folder.data().display(),
    );
    assert_eq!(ran.out, expected);
    assert_eq!(folder.run(&["user", "add", "alice@localhost"]).exit, Exit::Done);
    let again = folder.start().out;
    assert!(!again.contains("made now") && again.contains(fingerprint) && !again.contains("user add"), "{again}");
}

#[test]
fn a_server_that_does_not_start_ends_with_1_and_its_reason() {
    let folder = Folder::new("fails");
    let ran = folder.run_with(&["serve"], "", serve_fails);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Failed, "port 5222 is taken\n"));
    folder.configure("[[domain]]\nname = \"a.example\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    let ran = folder.run_with(&[], "", serve_nobody);
    assert_eq!(ran.exit, Exit::Config);
    assert!(ran.err.starts_with("no certificate for a.example: "), "{}", ran.err);
    folder.configure("legacy = 1\n");
    assert_eq!(folder.run(&["check"]).exit, Exit::Config);
}

#[test]
fn no_verb_but_serve_makes_a_data_folder_and_each_names_the_one_it_uses() {
    let folder = Folder::new("no-folder");
    let verbs: [&[&str]; 8] = [
        &["user", "add", "a@localhost"],
        &["user", "passwd", "a@localhost"],
        &["user", "del", "a@localhost"],
        &["user", "list"],
        &["compact"],
        &["status"],
        &["reload"],
        &["stop"],
    ];
    for verb in verbs {
        let ran = folder.run(verb);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, ""), "{verb:?}");
        let data = folder.data().display().to_string();
        let expected = format!("data folder: {data}\nthere is no data folder {data}; start the server once");
        assert!(ran.err.starts_with(&expected), "{verb:?} {}", ran.err);
    }
    let ran = folder.run(&["check"]);
    assert_eq!(ran.exit, Exit::Done);
    assert!(ran.out.contains(&format!("the data folder {} will be made", folder.data().display())), "{}", ran.out);
    assert!(!folder.data().exists());
}

#[test]
fn users_come_and_go_while_no_server_runs() {
    let folder = Folder::new("users");
    folder.configure("[[domain]]\nname = \"localhost\"\n[[domain]]\nname = \"a.example\"\n");
    folder.start();
    let ran = folder.run(&["user", "add", "Alice@localhost"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "alice@localhost added\n"));
    assert_eq!(ran.err, format!("data folder: {}\n", folder.data().display()));
    folder.run(&["user", "add", "bob@a.example"]);
    let list = |words: &[&str]| folder.run(words).out;
    assert_eq!(list(&["user", "list"]), "alice@localhost\nbob@a.example\n");
    assert_eq!(list(&["user", "list", "A.Example"]), "bob@a.example\n");
    let passwd = folder.run(&["user", "passwd", "alice@localhost"]);
    assert_eq!(passwd.out, "alice@localhost given a new password\n");
    assert_eq!(folder.run(&["user", "del", "alice@localhost"]).out, "alice@localhost deleted\n");
    assert_eq!(list(&["user", "list"]), "bob@a.example\n");
    assert!(folder.run(&["compact"]).out.contains(" bytes before, "));
    assert_eq!(list(&["user", "list"]), "bob@a.example\n");
}

#[test]
fn what_cannot_be_done_to_a_user_says_why() {
    let folder = Folder::new("users-wrong");
    folder.start();
    folder.run(&["user", "add", "alice@localhost"]);
    let rows: [(&[&str], &str); 9] = [
        (&["user", "add", "alice@localhost"], "there is an account alice@localhost already"),
        (&["user", "passwd", "bob@localhost"], "there is no account bob@localhost"),
        (&["user", "del", "bob@localhost"], "there is no account bob@localhost"),
        (&["user", "add", "bob@b.example"], "the domain b.example is not hosted here; hosted: localhost"),
        (&["user", "list", "b.example"], "the domain b.example is not hosted here; hosted: localhost"),
        (&["user", "add", "bob"], "\"bob\" names no account: write localpart@domain, such as bob@localhost"),
        (
            &["user", "add", "localhost"],
            "\"localhost\" names no account: write localpart@domain, such as alice@localhost",
        ),
        (&["user", "del", "bob@localhost/x"], "\"bob@localhost/x\" names one session: write bob@localhost alone"),
        (
            &["user", "add", "a b@localhost"],
            "\"a b@localhost\" is no address: the localpart has a character that is not allowed there",
        ),
    ];
    for (words, expected) in rows {
        let ran = folder.run(words);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, ""), "{words:?}");
        assert_eq!(ran.err.lines().nth(1), Some(expected), "{words:?}");
    }
    for (password, expected) in
        [("", "nobody types"), ("a\u{7}b", "the password has a character that is not allowed there")]
    {
        let ran = folder.run_with(&["user", "add", "bob@localhost"], password, serve_nobody);
        assert_eq!((ran.exit, ran.err.lines().nth(1)), (Exit::Failed, Some(expected)));
    }
    assert_eq!(folder.run(&["user", "list"]).out, "alice@localhost\n");
}

/// While a server holds the store, verbs go to it; nothing else is tried.
#[test]
fn verbs_ask_a_running_server() {
    let folder = Folder::new("running");
    folder.start();
    let server = folder.server(Answer::Done);
    assert_eq!(folder.run(&["user", "add", "alice@localhost"]).out, "alice@localhost added\n");
    let Request::User(UserRequest::Add { address, credentials }) = server.join().unwrap() else { panic!("an add") };
    assert_eq!((address.as_str(), credentials.keys.len()), ("alice@localhost", 2));
    let restart = || fs::remove_file(admin::socket_path(&folder.data())).unwrap();
    restart();
    // It was the server's to write: the store is as it was.
    assert_eq!(folder.run(&["user", "list"]).out, "");

    let refusal = Refusal::Failed { why: "the disk is full".into() };
    let server = folder.server(Answer::Refused(refusal));
    let ran = folder.run(&["user", "del", "alice@localhost"]);
    assert_eq!((ran.exit, ran.err.lines().nth(1)), (Exit::Failed, Some("the disk is full")));
    server.join().unwrap();
    restart();

    let counters = [("sessions".to_owned(), 3), ("stanzas".to_owned(), 7)].into();
    let status = Status { program: "0.1.0".into(), pid: 9, sessions: 3, counters, ..Status::default() };
    let server = folder.server(Answer::Status(Box::new(status)));
    let ran = folder.run(&["status"]);
    let expected = "version      0.1.0\nprocess      9\nuptime_s     0\ndomains      \nconnections  0\nsessions     3\nstanzas      7\n";
    assert_eq!(ran.out, expected);
    assert_eq!(server.join().unwrap(), Request::Status);
    restart();

    for (verb, request, said) in [
        ("reload", Request::Reload, "certificates and log level are loaded again\n"),
        ("stop", Request::Stop, "the server is stopping\n"),
    ] {
        let server = folder.server(Answer::Done);
        assert_eq!(folder.run(&[verb]).out, said);
        assert_eq!(server.join().unwrap(), request);
        restart();
        let ran = folder.run(&[verb]);
        let expected = format!("no server runs on {}", folder.data().display());
        assert_eq!((ran.exit, ran.err.lines().nth(1)), (Exit::Failed, Some(expected.as_str())));
    }
}

/// A server that holds the store but has no socket yet, or another program with the file.
#[test]
fn a_locked_store_names_its_holder() {
    let folder = Folder::new("locked");
    let config = Config::load(&folder.config()).unwrap();
    let _boot = Boot::prepare(&config, LogRule::Environment).unwrap();
    for words in [&["user", "list"][..], &["compact"], &["serve"]] {
        let ran = folder.run(words);
        assert_eq!(ran.exit, Exit::Failed, "{words:?}");
        assert!(ran.err.contains(&format!("is in use by process {};", std::process::id())), "{}", ran.err);
    }
}

#[test]
fn a_check_prints_a_line_a_finding_and_ends_with_3_for_a_fault() {
    let folder = Folder::new("check");
    let good = folder.run(&["check"]);
    assert_eq!((good.exit, good.err.as_str()), (Exit::Done, ""));
    assert!(good.out.lines().skip(1).all(|line| line.starts_with("ok       ")), "{}", good.out);
    folder.configure("[[domain]]\nname = \"a.example\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    let bad = folder.run(&["check"]);
    assert_eq!(bad.exit, Exit::Config);
    assert!(bad.out.contains("\nFAULT    a.example: "), "{}", bad.out);
}

#[test]
fn a_password_is_the_first_line_of_standard_input() {
    let read = |input: &[u8]| first_line(&mut &*input).map(|password| password.to_string());
    let rows: [(&[u8], Result<&str, &str>); 9] = [
        (b"secret\n", Ok("secret")),
        (b"secret\r\n", Ok("secret")),
        (b"secret", Ok("secret")),
        (b" with spaces \nmore\n", Ok(" with spaces ")),
        ("пароль\n".as_bytes(), Ok("пароль")),
        (b"", Err("no password: the first line of standard input is empty")),
        (b"\nsecret\n", Err("no password: the first line of standard input is empty")),
        (b"\xff\n", Err("the password on standard input is not UTF-8")),
        (&[b'x'; 5000], Err("the first line of standard input is too long for a password")),
    ];
    for (input, expected) in rows {
        assert_eq!(read(input), expected.map(str::to_owned).map_err(str::to_owned));
    }
}

#[test]
fn words_are_quoted_for_a_shell() {
    let rows = [
        ("target/release/stonechat", "target/release/stonechat"),
        ("alice@localhost", "alice@localhost"),
        ("my folder/stonechat", "'my folder/stonechat'"),
        ("it's", r"'it'\''s'"),
        ("$(rm)", "'$(rm)'"),
        ("", "''"),
    ];
    for (word, expected) in rows {
        assert_eq!(quoted(word), expected);
    }
}

/// The example is what the documentation copies from: it parses, and it says what the defaults are.
#[test]
fn the_example_configuration_is_the_defaults_written_down() {
    let text = include_str!("../../docs/stonechat.example.toml");
    let path = Path::new("docs/stonechat.example.toml");
    let example = Config::parse(text, path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Config { source: ConfigSource::Defaults, ..example }, Config::default());
    // Every line that is commented out would be accepted, too.
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n");
    let full = Config::parse(&uncommented, path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((full.domains.len(), full.listeners.len()), (3, 3));
    assert_eq!((full.components.len(), full.component_sockets.len()), (2, 1));
    assert_eq!(full.listeners[1].kind, ListenerKind::Direct);
}

/// RFC 5122 §2.2: what would end the address, or is not ASCII, is escaped.
#[test]
fn a_link_is_a_uri_whatever_the_name_is() {
    let link = |name| super::verbs::invitation_link(name, "h.example", "T-_1");
    assert_eq!(link(None), "xmpp:h.example?register;preauth=T-_1");
    assert_eq!(link(Some("romeo")), "xmpp:romeo@h.example?register;preauth=T-_1");
    assert_eq!(link(Some("r#m?o%é")), "xmpp:r%23m%3Fo%25%C3%A9@h.example?register;preauth=T-_1");
    let domain = super::verbs::invitation_link(None, "bücher.example", "T");
    assert_eq!(domain, "xmpp:b%C3%BCcher.example?register;preauth=T");
}
