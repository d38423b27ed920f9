//! What holds for every mechanism, and the two that need no password.

use super::*;
use crate::sasl::client::plain;

#[test]
fn names_are_prepared_and_unescaped() {
    let mut world = World::with_juliet();
    world.add("a,b=c", "pencil", &ScramHash::ALL);
    for (username, localpart) in [("Juliet", "juliet"), ("\u{FF2A}ULIET", "juliet"), ("a,b=c", "a,b=c")] {
        let done = world.scram(Mechanism::ScramSha256, unbound(username, "pencil"));
        assert_eq!(name(done).as_deref(), Ok(localpart), "{username:?} by SCRAM");
        let done = world.one(Mechanism::Plain, &plain("", username, "pencil"));
        assert_eq!(name(done).as_deref(), Ok(localpart), "{username:?} by PLAIN");
    }
    for username in ["juliet@example.com", "ju liet", "\u{265A}"] {
        let refused = Err(SaslCondition::NotAuthorized);
        assert_eq!(name(world.scram(Mechanism::ScramSha256, unbound(username, "pencil"))), refused, "{username:?}");
        assert_eq!(name(world.one(Mechanism::Plain, &plain("", username, "pencil"))), refused, "{username:?}");
    }
}

#[test]
fn nobody_acts_as_anybody_else() {
    let mut world = World::with_juliet();
    world.add("romeo", "pencil", &ScramHash::ALL);
    let rows = [
        ("juliet@example.com", Ok("juliet".to_owned())),
        ("Juliet@EXAMPLE.com.", Ok("juliet".to_owned())),
        ("romeo@example.com", Err(SaslCondition::InvalidAuthzid)),
        ("juliet@example.com/balcony", Err(SaslCondition::InvalidAuthzid)),
        ("juliet@example.net", Err(SaslCondition::InvalidAuthzid)),
        ("juliet", Err(SaslCondition::InvalidAuthzid)),
        ("example.com", Err(SaslCondition::InvalidAuthzid)),
        ("@", Err(SaslCondition::InvalidAuthzid)),
    ];
    for (authzid, expected) in rows {
        let done = world.scram(Mechanism::ScramSha256, unbound("juliet", "pencil").acting_as(authzid));
        assert_eq!(name(done), expected, "{authzid:?} by SCRAM");
        let done = world.one(Mechanism::Plain, &plain(authzid, "juliet", "pencil"));
        assert_eq!(name(done), expected, "{authzid:?} by PLAIN");
    }
}

/// Wrong password, no account, an account without keys for the hash: the same steps, the same end.
#[test]
fn failures_look_alike() {
    let mut world = World::with_juliet();
    world.add("old", "pencil", &[ScramHash::Sha1]);
    for username in ["juliet", "nobody", "old"] {
        let mut client = unbound(username, "wrong");
        let mut exchange = world.start(Mechanism::ScramSha256);
        let mut challenge = |world: &mut World| match world.step(&mut exchange, Some(&client.first())) {
            SaslStep::Challenge(challenge) => String::from_utf8(challenge).expect("text"),
            step => panic!("{username}: {step:?}"),
        };
        let first = challenge(&mut world);
        let attributes = |text: &str| text.split(',').map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(attributes(&first), [2 + 12 + 22, 2 + 24, 6, 2 + 44], "{username}");
        let answer = client.answer(first.as_bytes()).expect("answer");
        let done = end(world.step(&mut exchange, Some(&answer)));
        assert_eq!(name(done), Err(SaslCondition::NotAuthorized), "{username}");

        let salt = |text: &str| text.split(',').nth(1).map(str::to_owned);
        let mut again = world.start(Mechanism::ScramSha256);
        let SaslStep::Challenge(second) = world.step(&mut again, Some(&client.first())) else { panic!() };
        assert_eq!(salt(&String::from_utf8_lossy(&second)), salt(&first), "{username}: the salt of the first time");
    }
    for username in ["juliet", "nobody"] {
        let before = world.jobs;
        let done = world.one(Mechanism::Plain, &plain("", username, "wrong"));
        assert_eq!(name(done), Err(SaslCondition::NotAuthorized), "{username}");
        assert_eq!(world.jobs, before + 1, "{username}: hashed all the same");
    }
}

/// XEP-0178 §2, case by case.
#[test]
fn external() {
    use SaslCondition::*;
    const NONE: &[&str] = &[];
    const ONE: &[&str] = &["Juliet@EXAMPLE.com"];
    const SEVERAL: &[&str] = &["juliet@example.com", "romeo@example.com", "juliet@example.net"];
    const OTHER: &[&str] = &["juliet@example.net", "example.com", "juliet@example.com/balcony", "not an address"];
    const TWICE: &[&str] = &["juliet@example.com", "JULIET@example.com", "juliet@example.net"];
    const STRANGER: &[&str] = &["nobody@example.com"];
    let rows: &[(&[&str], &str, Result<&str, SaslCondition>)] = &[
        (NONE, "", Err(NotAuthorized)),
        (NONE, "juliet@example.com", Err(NotAuthorized)),
        (ONE, "", Ok("juliet")),
        (ONE, "juliet@example.com", Ok("juliet")),
        (ONE, "JULIET@example.com", Ok("juliet")),
        (ONE, "romeo@example.com", Err(InvalidAuthzid)),
        (ONE, "juliet@example.net", Err(InvalidAuthzid)),
        (ONE, "juliet@example.com/balcony", Err(InvalidAuthzid)),
        (ONE, "juliet", Err(InvalidAuthzid)),
        (ONE, "\0", Err(MalformedRequest)),
        (SEVERAL, "", Err(InvalidAuthzid)),
        (SEVERAL, "romeo@example.com", Ok("romeo")),
        (SEVERAL, "juliet@example.com", Ok("juliet")),
        (SEVERAL, "juliet@example.net", Err(InvalidAuthzid)),
        (OTHER, "", Err(NotAuthorized)),
        (OTHER, "juliet@example.com", Err(NotAuthorized)),
        (TWICE, "", Ok("juliet")),
        (STRANGER, "", Err(NotAuthorized)),
        (STRANGER, "nobody@example.com", Err(NotAuthorized)),
    ];
    let mut world = World::with_juliet();
    world.add("romeo", "pencil", &[ScramHash::Sha256]);
    for forgetful in [false, true] {
        world.table.forgetful = forgetful;
        for (addresses, authzid, expected) in rows {
            world.addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            let got = name(world.one(Mechanism::External, authzid.as_bytes()));
            assert_eq!(got.as_deref(), expected.as_ref().map(|text| *text), "{addresses:?} {authzid:?}");
        }
    }
    assert_eq!(name(world.one(Mechanism::External, b"\xFF")), Err(MalformedRequest));
}

#[test]
fn anonymous() {
    let mut world = World::new();
    let first = world.one(Mechanism::Anonymous, b"").expect("logged in");
    let second = world.one(Mechanism::Anonymous, "sirhc\u{E5}".as_bytes()).expect("logged in");
    assert!(first.anonymous && second.anonymous);
    assert_ne!(first.localpart, second.localpart);
    assert_eq!(first.localpart.len(), 32);
    assert_eq!(crate::jid::prepare_localpart(&first.localpart).as_deref(), Ok(first.localpart.as_str()));
    assert!(world.one(Mechanism::Anonymous, "\u{E5}".repeat(255).as_bytes()).is_ok());
    let malformed = Err(SaslCondition::MalformedRequest);
    assert_eq!(name(world.one(Mechanism::Anonymous, "\u{E5}".repeat(256).as_bytes())), malformed);
    assert_eq!(name(world.one(Mechanism::Anonymous, b"\xFF")), malformed);
}

/// Absent data are not empty data: they are asked for, except where nothing has to be said.
#[test]
fn who_speaks_first() {
    let mut world = World::with_juliet();
    world.addresses = vec!["juliet@example.com".into()];
    for mechanism in Mechanism::ALL {
        for legacy in [false, true] {
            world.legacy = legacy;
            let at_once = mechanism == Mechanism::Anonymous || (mechanism == Mechanism::External && legacy);
            let mut exchange = world.start(mechanism);
            match world.step(&mut exchange, None) {
                SaslStep::Success(_) => assert!(at_once, "{mechanism}"),
                SaslStep::Challenge(challenge) => assert!(!at_once && challenge.is_empty(), "{mechanism}"),
                step => panic!("{mechanism}: {step:?}"),
            }
        }
    }
    world.legacy = false;
    world.table.forgetful = true;
    let mut exchange = world.start(Mechanism::Plain);
    assert!(matches!(world.step(&mut exchange, None), SaslStep::Challenge(_)));
    assert_eq!(name(end(world.step(&mut exchange, Some(b"\0juliet\0pencil")))), Ok("juliet".into()));
    let mut exchange = world.start(Mechanism::External);
    assert!(matches!(world.step(&mut exchange, None), SaslStep::Challenge(_)));
    assert_eq!(name(end(world.step(&mut exchange, None))), Ok("juliet".into()), "an empty <response/>");
}

#[test]
fn only_what_was_offered_and_only_once() {
    let mut world = World::with_juliet();
    world.offer.mechanisms = vec![Mechanism::ScramSha256];
    for mechanism in Mechanism::ALL {
        let got = world.one(mechanism, b"").err();
        let expected = match mechanism {
            Mechanism::ScramSha256 => SaslCondition::MalformedRequest,
            _ => SaslCondition::InvalidMechanism,
        };
        assert_eq!(got, Some(expected), "{mechanism}");
    }
    world.offer.mechanisms = Mechanism::ALL.to_vec();
    let mut exchange = world.start(Mechanism::Plain);
    assert!(end(world.step(&mut exchange, Some(b"\0juliet\0pencil"))).is_ok());
    assert_eq!(name(end(world.step(&mut exchange, Some(b"\0juliet\0pencil")))), Err(SaslCondition::MalformedRequest));
    let outcome = HashOutcome { verified: true, derived: vec![] };
    let done = end(world.with(|cx| exchange.hashed(&outcome, cx)));
    assert_eq!(name(done), Err(SaslCondition::MalformedRequest), "an outcome that nobody waits for");
    let long = vec![b'a'; SASL_MESSAGE_BYTES_MAX + 1];
    assert_eq!(name(world.one(Mechanism::Anonymous, &long)), Err(SaslCondition::MalformedRequest));
}

/// While a password is being hashed, more data end the exchange.
#[test]
fn no_step_while_hashing() {
    let mut world = World::with_juliet();
    let mut exchange = world.start(Mechanism::Plain);
    let SaslStep::Hash(job) = world.with(|cx| exchange.step(Some(b"\0juliet\0pencil"), cx)) else { panic!() };
    assert_eq!(name(end(world.step(&mut exchange, Some(b"")))), Err(SaslCondition::MalformedRequest));
    let outcome = job.run();
    assert!(end(world.with(|cx| exchange.hashed(&outcome, cx))).is_err());
}

#[test]
fn names_of_mechanisms_and_bindings() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::parse(mechanism.name()), Some(mechanism));
    }
    for name in ["", "plain", "SCRAM-SHA-512", "DIGEST-MD5"] {
        assert_eq!(Mechanism::parse(name), None);
    }
    assert_eq!(BindingType::parse("tls-exporter"), Some(BindingType::TlsExporter));
    assert_eq!(BindingType::parse("tls-unique"), None);
}

#[test]
fn nothing_secret_is_printed() {
    let mut world = World::with_juliet();
    let mut exchange = world.start(Mechanism::Plain);
    let step = world.with(|cx| exchange.step(Some(b"\0juliet\0pencil"), cx));
    let client = unbound("juliet", "pencil");
    let shown = format!("{exchange:?} {step:?} {client:?} {:?} {:?}", world.bindings, world.verifiers);
    assert!(!shown.contains("pencil") && !shown.contains("231"), "{shown}");
}

/// Pieces of messages in any order, at any time: nothing panics, and nobody gets in.
#[test]
fn garbage_never_logs_in() {
    const PIECES: [&str; 20] = [
        "\0",
        "juliet",
        "pencil",
        "n,,",
        "y,,",
        "p=tls-exporter,,",
        "n=juliet,",
        "r=client-nonce",
        ",",
        "=",
        "a=",
        "c=biws",
        ",p=",
        "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "m=",
        "\u{E5}",
        "=2C",
        "@example.com",
        "i=1",
        "\u{FFFF}",
    ];
    let mut world = World::new();
    world.add("juliet", "not to be guessed", &ScramHash::ALL);
    let mut random = Random::seeded(4422);
    for round in 0..4_000_usize {
        world.table.forgetful = round % 12 < 6;
        let mechanism = Mechanism::ALL[round % 6];
        let mut exchange = world.start(mechanism);
        for _ in 0..3 {
            let mut data = String::new();
            for _ in 0..random.next_u64() % 9 {
                data.push_str(PIECES[(random.next_u64() % 20) as usize]);
            }
            let step = match random.next_u64() % 8 {
                0 => world.with(|cx| exchange.step(None, cx)),
                1 => world.with(|cx| exchange.step(Some(&data.as_bytes()[..data.len() / 2]), cx)),
                2 => world.with(|cx| exchange.hashed(&HashOutcome::default(), cx)),
                _ => world.with(|cx| exchange.step(Some(data.as_bytes()), cx)),
            };
            assert!(!matches!(step, SaslStep::Success(_)), "{mechanism} {data:?}");
        }
    }
}
