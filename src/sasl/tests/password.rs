//! Logins that hand over a password: hashing, what is remembered, what is filled in.

use super::*;
use crate::sasl::client::plain;

#[test]
fn a_disabled_account_is_said_to_be_so_only_to_its_owner() {
    let mut world = World::with_juliet();
    world.addresses = vec!["juliet@example.com".into()];
    world.account("juliet").disabled = true;
    let mut go = |password: &str| {
        [
            name(world.scram(Mechanism::ScramSha256, unbound("juliet", password))),
            name(world.one(Mechanism::Plain, &plain("", "juliet", password))),
        ]
    };
    assert_eq!(go("wrong"), [Err(SaslCondition::NotAuthorized), Err(SaslCondition::NotAuthorized)]);
    assert_eq!(go("pencil"), [Err(SaslCondition::AccountDisabled), Err(SaslCondition::AccountDisabled)]);
    assert!(world.verifiers.is_empty(), "nothing is remembered of it");
    assert_eq!(name(world.one(Mechanism::External, b"")), Err(SaslCondition::AccountDisabled));

    world.account("juliet").disabled = false;
    assert_eq!(go_plain(&mut world, "pencil"), Ok("juliet".into()));
    world.account("juliet").disabled = true;
    assert_eq!(go_plain(&mut world, "pencil"), Err(SaslCondition::AccountDisabled), "remembered, but disabled since");
}

fn go_plain(world: &mut World, password: &str) -> Result<String, SaslCondition> {
    name(world.one(Mechanism::Plain, &plain("", "juliet", password)))
}

#[test]
fn a_remembered_password_needs_no_hashing_and_a_wrong_one_always_does() {
    let mut world = World::with_juliet();
    let jobs = |world: &mut World, password: &str| {
        let before = world.jobs;
        let ok = go_plain(world, password).is_ok();
        (ok, world.jobs - before)
    };
    assert_eq!(jobs(&mut world, "pencil"), (true, 1));
    assert_eq!(jobs(&mut world, "pencil"), (true, 0));
    assert_eq!(jobs(&mut world, "wrong"), (false, 1));
    assert_eq!(jobs(&mut world, "pencil"), (true, 0));
    world.verifiers.forget("example.com", "juliet");
    assert_eq!(jobs(&mut world, "pencil"), (true, 1));
    world.add("juliet", "eraser", &ScramHash::ALL);
    assert_eq!(jobs(&mut world, "pencil"), (false, 1), "changed, though nobody said so to the cache");
    assert_eq!(jobs(&mut world, "eraser"), (true, 1));
}

/// The old password's login was under way when the password changed: what it leaves behind opens nothing.
#[test]
fn a_login_that_overlaps_a_password_change_leaves_nothing() {
    let mut world = World::new();
    world.add("juliet", "old", &[ScramHash::Sha1]);
    let mut exchange = world.start(Mechanism::Plain);
    let SaslStep::Hash(job) = world.with(|cx| exchange.step(Some(&plain("", "juliet", "old")), cx)) else { panic!() };
    world.add("juliet", "new", &[ScramHash::Sha1]);
    let outcome = job.run();
    let done = end(world.with(|cx| exchange.hashed(&outcome, cx))).expect("right when it was asked");
    assert_eq!(done.fill_in.len(), 1);
    assert!(!world.account("juliet").fill_in(&done.fill_in, &done.proven_by));
    assert_eq!(go_plain(&mut world, "old"), Err(SaslCondition::NotAuthorized));
}

#[test]
fn plain_fills_in_the_missing_set() {
    let mut world = World::new();
    world.add("juliet", "pencil", &[ScramHash::Sha1]);
    assert_eq!(
        name(world.scram(Mechanism::ScramSha256, unbound("juliet", "pencil"))),
        Err(SaslCondition::NotAuthorized)
    );
    let done = world.one(Mechanism::Plain, &plain("", "juliet", "pencil")).expect("logged in");
    assert_eq!(done.fill_in.iter().map(|keys| keys.hash).collect::<Vec<_>>(), [ScramHash::Sha256]);
    assert!(world.account("juliet").fill_in(&done.fill_in, &done.proven_by));
    assert_eq!(name(world.scram(Mechanism::ScramSha256, unbound("juliet", "pencil"))), Ok("juliet".into()));
    let again = world.one(Mechanism::Plain, &plain("", "juliet", "pencil")).expect("logged in");
    assert!(again.fill_in.is_empty());
}

#[test]
fn plain_messages() {
    let mut world = World::with_juliet();
    world.add("nfc", "p\u{E4}ss w\u{F6}rd", &[ScramHash::Sha256]);
    let rows: &[(&[u8], Result<&str, SaslCondition>)] = &[
        (b"\0juliet\0pencil", Ok("juliet")),
        ("\0nfc\0pa\u{308}ss\u{A0}wo\u{308}rd".as_bytes(), Ok("nfc")),
        (b"\0juliet\0pencil\t", Err(SaslCondition::NotAuthorized)),
        (b"juliet\0pencil", Err(SaslCondition::MalformedRequest)),
        (b"", Err(SaslCondition::MalformedRequest)),
        (b"\0", Err(SaslCondition::MalformedRequest)),
        (b"\0\0", Err(SaslCondition::MalformedRequest)),
        (b"\0\0pencil", Err(SaslCondition::MalformedRequest)),
        (b"\0juliet\0", Err(SaslCondition::MalformedRequest)),
        (b"\0juliet\0pencil\0", Err(SaslCondition::MalformedRequest)),
        (b"\0juliet\0pen\0cil", Err(SaslCondition::MalformedRequest)),
        (b"\0juliet\0\xFF", Err(SaslCondition::MalformedRequest)),
    ];
    for (data, expected) in rows {
        let got = name(world.one(Mechanism::Plain, data));
        assert_eq!(got.as_deref(), expected.as_ref().map(|text| *text), "{data:?}");
    }
    world.legacy = true;
    assert_eq!(name(world.one(Mechanism::Plain, b"juliet\0pencil")), Ok("juliet".into()), "XEP-0034's example");
    assert_eq!(name(world.one(Mechanism::Plain, b"\0juliet\0pencil")), Ok("juliet".into()));
    assert_eq!(name(world.one(Mechanism::Plain, b"juliet")), Err(SaslCondition::MalformedRequest));
}

/// XEP-0078's login runs through the same code.
#[test]
fn passwords_outside_sasl() {
    let mut world = World::with_juliet();
    world.offer = Offer::default();
    world.table.forgetful = true;
    let mut check = |username: &str, password: &str| {
        let (_, missed) = world.with(|cx| check_password(username, password, cx));
        assert!(matches!(missed, SaslStep::Miss));
        let (mut exchange, step) = world.with(|cx| check_password(username, password, cx));
        let before = world.jobs;
        let done = end(world.settle(&mut exchange, step));
        (name(done), world.jobs - before)
    };
    assert_eq!(check("juliet", "wrong"), (Err(SaslCondition::NotAuthorized), 1));
    assert_eq!(check("Juliet", "pencil"), (Ok("juliet".into()), 1));
    assert_eq!(check("juliet", "pencil"), (Ok("juliet".into()), 0));
    assert_eq!(check("nobody", "pencil"), (Err(SaslCondition::NotAuthorized), 1));
    let (_, step) = world.with(|cx| check_password("juliet", "", cx));
    assert_eq!(name(end(step)), Err(SaslCondition::NotAuthorized));
}

/// The made-up keys of a name without an account verify nothing, whatever the hashing thread says.
#[test]
fn an_outcome_without_an_account_logs_nobody_in() {
    let mut world = World::with_juliet();
    let mut exchange = world.start(Mechanism::Plain);
    let step = world.with(|cx| exchange.step(Some(b"\0nobody\0pencil"), cx));
    assert!(matches!(step, SaslStep::Hash(_)));
    let outcome = HashOutcome { verified: true, derived: vec![] };
    let done = end(world.with(|cx| exchange.hashed(&outcome, cx)));
    assert_eq!(name(done), Err(SaslCondition::NotAuthorized));
}
