//! What is accepted, and the exact words about what is not.

use super::keys::{CONTACTS, IN_COMPONENT, IN_DOMAIN, IN_LISTENER, IN_STORAGE, LimitTexts, TOP};
use super::*;
use crate::scratch::Folder;
use std::fs;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/stonechat/stonechat.toml")).map_err(|error| error.to_string())
}

/// One row a slip: the file, and all that is said about it after the name of the file.
#[test]
fn every_fault_says_where_what_and_what_to_write() {
    let rows = [
        (
            "limits.conections = 5\n",
            "1: unknown key `conections` in [limits]
  expected: `connections`: a whole number from 1 to 10000000
  write:    connections = 5",
        ),
        (
            "# a comment\n\nconnections = 5\n",
            "3: unknown key `connections` at the top of the file
  expected: `connections` in [limits]
  write:    [limits]
            connections = 5",
        ),
        (
            "[[domain]]\nname = \"a.example\"\ndata_dir = \"/srv\"\n",
            "3: unknown key `data_dir` in [[domain]]
  expected: `data_dir` above the first section
  write:    data_dir = \"/srv\"",
        ),
        (
            "[[domains]]\nname = \"a.example\"\n",
            "1: unknown key `domains` at the top of the file
  expected: `domain`: one [[domain]] section for each domain
  write:    [[domain]]
            name = \"example.org\"",
        ),
        (
            "[storage]\nengine = \"sqlite\"\n",
            "2: unknown key `engine` in [storage]
  expected: one of cache_bytes, reserve_bytes
  write:    nothing here: remove the line",
        ),
        (
            "legacy = \"yes\"\n",
            "1: `legacy` is a text
  expected: true or false
  write:    legacy = true",
        ),
        (
            "log_level = \"loud\"\n",
            "1: `log_level` is \"loud\"
  expected: one of off, error, warn, info, debug and trace
  write:    log_level = \"warn\"",
        ),
        (
            "data_dir = \"\"\n",
            "1: `data_dir` is an empty text
  expected: a path in quotes, relative to this file
  write:    data_dir = \"/var/lib/stonechat\"",
        ),
        (
            "scram_iterations = 1000\n",
            "1: `scram_iterations` is 1000
  expected: a whole number from 4096 to 5000000
  write:    scram_iterations = 10000",
        ),
        (
            "[limits]\nstanza_bytes = 9_999\n",
            "2: `stanza_bytes` is 9_999
  expected: a whole number from 10000 to 16777216
  write:    stanza_bytes = 262144",
        ),
        (
            "[limits]\nstanza_bytes = 10000\nstanza_bytes_before_login = 20000\n",
            "1: `stanza_bytes_before_login` (20000) is more than `stanza_bytes` (10000)
  expected: at most `stanza_bytes`
  write:    stanza_bytes_before_login = 10000",
        ),
        (
            "[limits]\nverifiers = -1\n",
            "2: `verifiers` is -1
  expected: a whole number from 0 to 1000000
  write:    verifiers = 1024",
        ),
        (
            "[[domain]]\nself_signed = true\n",
            "1: a [[domain]] without `name`
  expected: a domain name in quotes
  write:    name = \"example.org\"",
        ),
        (
            "[[domain]]\nname = \"a@b\"\n",
            "2: `name` is \"a@b\", which no domain can be called
  expected: a domain name in quotes
  write:    name = \"example.org\"",
        ),
        (
            "[[domain]]\nname = \"a.example\"\n[[domain]]\nname = \"A.Example\"\n",
            "4: the domain a.example is there twice
  expected: each domain once
  write:    nothing here: remove this [[domain]] section",
        ),
        (
            "[[domain]]\nname = \"a.example\"\nkey = \"a.key\"\n",
            "1: the domain a.example has a `key` without its `certificate`
  expected: the certificate chain and its private key
  write:    certificate = \"example.org.pem\"",
        ),
        (
            "[[domain]]\nname = \"a.example\"\ncertificate = \"a.pem\"\n",
            "1: the domain a.example has a `certificate` without its `key`
  expected: the certificate chain and its private key
  write:    key = \"example.org.key\"",
        ),
        (
            "[[domain]]\nname = \"a.example\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n[[domain]]\nname = \"b.example\"\n",
            "5: the domain b.example has no certificate, but others have one
  expected: `certificate` and `key`, or `self_signed = true`: another domain's certificate is never used
  write:    certificate = \"b.example.pem\"
            key = \"b.example.key\"",
        ),
        (
            "[[domain]]\nname = \"a.example\"\nself_signed = true\ncertificate = \"a.pem\"\nkey = \"a.key\"\n",
            "1: the domain a.example has a `certificate` and asks for `self_signed`
  expected: one of the two
  write:    self_signed = false",
        ),
        (
            "[[domain]]\nname = \"a.example\"\nself_signed = false\n",
            "1: the domain a.example has no certificate, but requires TLS
  expected: a certificate, or no TLS
  write:    self_signed = true",
        ),
        (
            "[[domain]]\nname = \"a.example\"\nmechanisms = [\"EXTERNAL\"]\n",
            "1: the domain a.example offers EXTERNAL without `client_roots`
  expected: a path in quotes, relative to this file
  write:    client_roots = \"client-ca.pem\"",
        ),
        (
            "mechanisms = [\"PLAIN\"]\n[[domain]]\nname = \"a.example\"\nclient_roots = \"ca.pem\"\n",
            "2: the domain a.example has `client_roots` but does not offer EXTERNAL
  expected: EXTERNAL among its `mechanisms`, which is what the roots are for
  write:    mechanisms = [\"EXTERNAL\", \"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-1-PLUS\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"PLAIN\"]",
        ),
        (
            "[[domain]]\nname = \"a.example\"\nmechanisms = [\"ANONYMOUS\"]\n",
            "3: `mechanisms` holds \"ANONYMOUS\"
  expected: a key of its own in [[domain]]
  write:    anonymous = true",
        ),
        (
            "mechanisms = []\n",
            "1: `mechanisms` is empty: nobody could log in
  expected: a list of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN and EXTERNAL, the preferred first
  write:    mechanisms = [\"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"PLAIN\"]",
        ),
        (
            "[[domain]]\nname = \"a.example\"\ncrls = [\"a.crl\"]\n",
            "1: the domain a.example has `crls` without `client_roots`
  expected: a path in quotes, relative to this file
  write:    client_roots = \"client-ca.pem\"",
        ),
        (
            "[[listener]]\naddresses = [\"127.0.0.1\"]\n",
            "1: a [[listener]] without `kind`
  expected: \"starttls\", \"direct\" or \"component\"
  write:    kind = \"starttls\"",
        ),
        (
            "[[listener]]\nkind = \"starttls\"\naddresses = [\"localhost:5222\"]\n",
            "3: `addresses` holds \"localhost:5222\"
  expected: a list of IP addresses in quotes, each with or without a port
  write:    addresses = [\"0.0.0.0:5222\", \"[::]:5222\"]",
        ),
        (
            "[[listener]]\nkind = \"starttls\"\naddresses = [\"::1\"]\n[[listener]]\nkind = \"direct\"\naddresses = [\"[::1]:5222\"]\n",
            "6: the address [::1]:5222 is there twice
  expected: each address once
  write:    nothing here: remove it from the list",
        ),
        (
            "[[listener]]\nkind = \"direct\"\n[[domain]]\nname = \"localhost\"\nself_signed = false\ntls_required = false\n",
            "1: a direct TLS listener, but no domain has a certificate
  expected: a certificate for a domain, or no direct listener
  write:    self_signed = true",
        ),
        (
            "[domain]\nname = \"a.example\"\n",
            "1: `domain` is a section
  expected: one [[domain]] section for each domain
  write:    [[domain]]
            name = \"example.org\"",
        ),
        (
            "log_level = debug\n",
            "1: string values must be quoted
  expected: text in quotes
  write:    log_level = \"debug\"",
        ),
        (
            "\nlegacy = true\nlegacy = false\n",
            "3: duplicate key
  expected: each key once
  write:    nothing here: remove the line",
        ),
        (
            "[limits\nconnections = 5\n",
            "1: unclosed table
  expected: `]`
  write:    [limits]",
        ),
    ];
    for (text, expected) in rows {
        let said = parse(text).expect_err(text);
        assert_eq!(said, format!("/etc/stonechat/stonechat.toml:{expected}"), "{text}");
    }
}

#[test]
fn all_faults_come_at_once_in_order_and_bounded() {
    let said = parse("legacy = 1\nfoo = 2\n[limits]\nconnections = \"x\"\n").unwrap_err();
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].contains(":1: ") && lines[1].contains(":2: ") && lines[2].contains(":4: "), "{said}");

    let many: String = (0..100).map(|n| format!("wrong_{n} = 1\n")).collect();
    assert!(parse(&many).unwrap_err().ends_with("\n… and 88 more"));
}

/// A key of any bytes cannot move the operator's cursor, nor fill the screen.
#[test]
fn what_is_repeated_is_escaped_and_cut() {
    let said = parse(&format!("\"\\u001b[2J{}\" = 1\n", "x".repeat(5_000))).unwrap_err();
    assert!(!said.contains('\u{1b}') && said.len() < 500, "{said}");
}

/// What an error proposes is right: each line of each table is accepted in its section.
#[test]
fn every_proposed_line_is_accepted() {
    let limits = LimitTexts::new();
    let sections = [
        ("", TOP),
        ("[[domain]]", IN_DOMAIN),
        ("[[listener]]", IN_LISTENER),
        ("[limits]", &limits.keys()),
        ("[storage]", IN_STORAGE),
        ("[contact]", CONTACTS),
        ("[[component]]", IN_COMPONENT),
    ];
    for (title, keys) in sections {
        for key in keys {
            let others = match (title, key.name) {
                ("[[domain]]", "certificate") => "name = \"a.example\"\nkey = \"a.key\"",
                ("[[domain]]", "key") => "name = \"a.example\"\ncertificate = \"a.pem\"",
                ("[[domain]]", "crls" | "client_server_auth") => "name = \"a.example\"\nclient_roots = \"ca.pem\"",
                ("[[domain]]", "name") => "",
                ("[[domain]]", _) => "name = \"a.example\"",
                ("[[component]]", "name") => "secret = \"s\"",
                ("[[component]]", _) => "name = \"c.example\"",
                ("[[listener]]", "addresses") => "kind = \"starttls\"",
                ("[[listener]]", "socket" | "in_the_clear") => "kind = \"component\"",
                ("[[listener]]", "socket_mode") => "kind = \"component\"\nsocket = \"c.sock\"",
                _ => "",
            };
            let text = format!("{title}\n{others}\n{}\n", key.write);
            if let Err(error) = parse(&text) {
                panic!("{text}\n{error}");
            }
        }
    }
}

/// A number proposed is the default, so that writing it changes nothing.
#[test]
fn the_limits_of_a_file_are_set_and_the_others_stay() {
    let texts = LimitTexts::new();
    let all: String = texts.keys().iter().map(|key| format!("{}\n", key.write)).collect();
    assert_eq!(parse(&format!("[limits]\n{all}")).unwrap().limits, Limits::default());
    let config = parse("[limits]\nconnections = 7\noutbox_bytes_total = 0x200000\n").unwrap();
    assert_eq!(config.limits, Limits { connections: 7, outbox_bytes_total: 0x20_0000, ..Limits::default() });
}

#[test]
fn localhost_alone_is_on_loopback_and_any_other_domain_on_all_addresses() {
    let addresses = |config: &Config| -> Vec<String> {
        config.listeners.iter().flat_map(|listener| listener.addresses.iter().map(ToString::to_string)).collect()
    };
    let loopback = ["127.0.0.1:5222", "[::1]:5222", "127.0.0.1:5223", "[::1]:5223"];
    let everywhere = ["0.0.0.0:5222", "[::]:5222", "0.0.0.0:5223", "[::]:5223"];
    assert_eq!(addresses(&Config::default()), loopback);
    assert_eq!(addresses(&parse("").unwrap()), loopback);
    assert_eq!(addresses(&parse("[[domain]]\nname = \"LOCALHOST\"\n").unwrap()), loopback);
    assert_eq!(addresses(&parse("[[domain]]\nname = \"a.example\"\n").unwrap()), everywhere);
    let both = "[[domain]]\nname = \"localhost\"\n[[domain]]\nname = \"a.example\"\n";
    assert_eq!(addresses(&parse(both).unwrap()), everywhere);
    assert!(parse(both).unwrap().listeners.iter().all(|listener| !listener.all_must_open));
}

#[test]
fn listeners_take_ports_from_their_kind() {
    let config =
        parse("[[listener]]\nkind = \"direct\"\naddresses = [\"::1\", \"[::1]:443\", \"10.0.0.1\"]\n").unwrap();
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!(listener.kind, ListenerKind::Direct);
    assert!(listener.all_must_open);
    let addresses: Vec<String> = listener.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["[::1]:5223", "[::1]:443", "10.0.0.1:5223"]);
}

#[test]
fn a_server_without_tls_has_no_direct_listener() {
    let text = "tls_required = false\n[[domain]]\nname = \"localhost\"\nself_signed = false\n";
    let config = parse(text).unwrap();
    assert!(!config.domains[0].has_tls());
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].kind, ListenerKind::StartTls);
}

#[test]
fn a_domain_without_certificate_is_self_signed_alone_or_when_asked() {
    let two = "[[domain]]\nname = \"a.example\"\n[[domain]]\nname = \"b.example\"\n";
    assert!(parse(two).unwrap().domains.iter().all(|domain| domain.self_signed));
    let beside = format!(
        "{two}self_signed = true\n[[domain]]\nname = \"c.example\"\ncertificate = \"c.pem\"\nkey = \"c.key\"\n"
    );
    let said = parse(&beside).unwrap_err();
    assert!(said.contains("a.example has no certificate") && !said.contains("b.example has no certificate"), "{said}");
}

#[test]
fn mechanisms_follow_roots_and_anonymity() {
    use SaslMechanism::{Anonymous, External, Plain, ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus};
    let mechanisms = |text: &str| parse(text).unwrap().domains[0].mechanisms.clone();
    let usual = [ScramSha256Plus, ScramSha1Plus, ScramSha256, ScramSha1, Plain];
    assert_eq!(mechanisms(""), usual);
    assert_eq!(mechanisms("mechanisms = [\"PLAIN\", \"SCRAM-SHA-256\"]\n"), [Plain, ScramSha256]);
    let domain = "[[domain]]\nname = \"a.example\"\n";
    assert_eq!(mechanisms(&format!("{domain}client_roots = \"ca.pem\"\n"))[0], External);
    assert_eq!(mechanisms(&format!("{domain}anonymous = true\n")).last(), Some(&Anonymous));
    assert_eq!(mechanisms(&format!("mechanisms = [\"PLAIN\"]\n{domain}mechanisms = [\"SCRAM-SHA-1\"]\n")), [ScramSha1]);
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "data_dir = \"data\"\n[[domain]]\nname = \"a.example\"\ncertificate = \"/tls/a.pem\"\nkey = \"tls/a.key\"\nclient_roots = \"ca.pem\"\ncrls = [\"ca.crl\"]\n";
    let config = parse(text).unwrap();
    let folder = Path::new("/etc/stonechat");
    assert_eq!(config.data_dir, folder.join("data"));
    let domain = &config.domains[0];
    assert_eq!(domain.certificate.as_deref(), Some(Path::new("/tls/a.pem")));
    assert_eq!(domain.key, Some(folder.join("tls/a.key")));
    assert_eq!(domain.client_roots, Some(folder.join("ca.pem")));
    assert_eq!(domain.crls, [folder.join("ca.crl")]);
    // The default data folder is the working directory's, wherever the file is.
    assert_eq!(parse("").unwrap().data_dir, Path::new(DATA_DIR_DEFAULT));
}

#[test]
fn the_first_file_that_is_there_is_read() {
    let folder = Folder::new("config-search");
    let (near, far) = (folder.join("near.toml"), folder.join("far.toml"));
    let find = |named| Config::find_in(named, &[&near, &far]).map(|config| config.source);
    assert_eq!(find(None).unwrap(), ConfigSource::Defaults);
    folder.file("far.toml", "legacy = true\n");
    assert_eq!(find(None).unwrap(), ConfigSource::File(far.clone()));
    folder.file("near.toml", "legacy = true\n");
    assert_eq!(find(None).unwrap(), ConfigSource::File(near.clone()));
    assert_eq!(find(Some(&far)).unwrap(), ConfigSource::File(far.clone()));
    // A wrong one near is not passed over for a right one far.
    folder.file("near.toml", "wrong\n");
    assert!(find(None).is_err());
}

#[test]
fn a_file_that_cannot_be_read_is_said_to_be() {
    let folder = Folder::new("config-unreadable");
    let said = |path: &Path| Config::load(path).unwrap_err().to_string();
    let missing = folder.join("missing.toml");
    let expected = format!(
        "{}: No such file or directory (os error 2)\n  Name a file that is there, or leave --config out.",
        missing.display()
    );
    assert_eq!(said(&missing), expected);
    assert!(said(&folder).ends_with("Name a regular file with --config."));
    let big = folder.file("big.toml", &"#".repeat(CONFIG_BYTES_MAX as usize + 1));
    assert!(said(&big).contains("larger than 1 MiB"));
    let latin = folder.join("latin.toml");
    fs::write(&latin, b"# caf\xe9\n").unwrap();
    assert!(said(&latin).contains("not UTF-8"));
}

#[test]
fn components_are_awaited_on_this_machine_unless_the_file_says_otherwise() {
    const ONE: &str = "[[component]]\nname = \"c.example\"\nsecret = \"words\"\n";
    let places = |text: &str| -> (Vec<String>, Vec<(String, u32)>) {
        let config = parse(text).unwrap();
        let of_components = config.listeners.iter().filter(|listener| listener.kind == ListenerKind::Component);
        let addresses = of_components.flat_map(|listener| listener.addresses.iter().map(ToString::to_string));
        let sockets = config.component_sockets.iter().map(|one| (one.path.display().to_string(), one.mode));
        (addresses.collect(), sockets.collect())
    };
    let listener = |lines: &str| format!("[[listener]]\nkind = \"component\"\n{lines}\n");
    let none = (Vec::new(), Vec::new());
    let loopback = vec!["127.0.0.1:5347".to_owned(), "[::1]:5347".to_owned()];
    assert_eq!(places(""), none, "nobody is awaited where there is nobody");
    assert_eq!(places("[[domain]]\nname = \"a.example\"\n"), none);
    assert_eq!(places(ONE), (loopback.clone(), Vec::new()));
    assert_eq!(places(&format!("{ONE}[[domain]]\nname = \"a.example\"\n")), (loopback.clone(), Vec::new()));
    assert_eq!(places(&format!("{ONE}[[listener]]\nkind = \"starttls\"\n")), (loopback.clone(), Vec::new()));
    assert_eq!(places(&format!("{ONE}{}", listener(""))), (loopback, Vec::new()));
    let socket = |mode| vec![("/etc/stonechat/c.sock".to_owned(), mode)];
    assert_eq!(places(&format!("{ONE}{}", listener("socket = \"c.sock\""))), (Vec::new(), socket(0o600)));
    let group = listener("socket = \"c.sock\"\nsocket_mode = \"0660\"\naddresses = [\"127.0.0.1:1\"]");
    assert_eq!(places(&format!("{ONE}{group}")), (vec!["127.0.0.1:1".to_owned()], socket(0o660)));
    let exposed = listener("addresses = [\"192.0.2.1\"]\nin_the_clear = true");
    assert_eq!(places(&format!("{ONE}{exposed}")), (vec!["192.0.2.1:5347".to_owned()], Vec::new()));
}

#[test]
fn what_is_wrong_about_components_is_said() {
    let long = format!("[[listener]]\nkind = \"component\"\nsocket = \"{}\"\n", "s".repeat(94));
    let cases = [
        (
            "[[listener]]\nkind = \"component\"\naddresses = [\"0.0.0.0\"]\n",
            "3: components are awaited on 0.0.0.0:5347, which others can reach, and speak in the clear
  expected: loopback addresses or a `socket`; elsewhere, if nobody listens on the way, `in_the_clear = true`
  write:    addresses = [\"127.0.0.1:5347\"]",
        ),
        (
            "[[listener]]\nkind = \"component\"\nsocket = \"c.sock\"\nsocket_mode = \"0666\"\n",
            "4: `socket_mode` is \"0666\"
  expected: \"0600\" (the owner alone) or \"0660\" (the group, too)
  write:    socket_mode = \"0660\"",
        ),
        (
            "[[listener]]\nkind = \"component\"\nsocket_mode = \"0660\"\n",
            "1: `socket_mode` without `socket`
  expected: both, or neither
  write:    socket = \"components.sock\"",
        ),
        (
            &long,
            "3: the path of `socket` is 2 bytes too long
  expected: a shorter path
  write:    socket = \"/run/stonechat/components.sock\"",
        ),
        (
            "[[listener]]\nkind = \"starttls\"\nsocket = \"c.sock\"\n",
            "1: `socket` in a [[listener]] that is not for components
  expected: it in one that is
  write:    kind = \"component\"",
        ),
        (
            "[[component]]\nname = \"c.example\"\n",
            "1: a [[component]] without `secret` and without `secret_file`
  expected: one of the two
  write:    secret = \"words that nobody guesses\"",
        ),
        (
            "[[component]]\nname = \"c.example\"\nsecret = \"a\"\nsecret_file = \"b\"\n",
            "1: a [[component]] with both `secret` and `secret_file`
  expected: one of the two
  write:    secret_file = \"gateway.secret\"",
        ),
        (
            "[[component]]\nsecret = \"a\"\n",
            "1: a [[component]] without `name`
  expected: a domain name in quotes
  write:    name = \"gateway.example.org\"",
        ),
        (
            "[[domain]]\nname = \"c.example\"\n[[component]]\nname = \"C.example\"\nsecret = \"a\"\n",
            "4: the name c.example is taken by another section
  expected: a domain of its own for each component
  write:    name = \"gateway.example.org\"",
        ),
    ];
    for (text, expected) in cases {
        let said = parse(text).unwrap_err();
        assert_eq!(said, format!("/etc/stonechat/stonechat.toml:{expected}"), "{text}");
    }
}

/// Neither a dump of the configuration nor an error shows a secret.
#[test]
fn secrets_are_not_shown() {
    let config = parse("[[component]]\nname = \"c.example\"\nsecret = \"hunter2\"\n").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
