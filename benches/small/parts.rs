//! Cases of single parts: a SCRAM exchange, addresses, the store.

use crate::meter::Meter;
use crate::scram::{Hash, Keys, Scram};
use crate::sim::credentials;
use std::hint::black_box;
use stonechat::clock::Now;
use stonechat::jid;
use stonechat::random::Random;
use stonechat::sasl::{
    Accounts, BindingData, Credentials, Exchange, Lookup, Mechanism, Offer, SaslContext, SaslStep, ScramHash,
    VerifierCache,
};
use stonechat::storage::{Memory, Store, Woken, pump};

struct Juliet(Credentials);

impl Accounts for Juliet {
    fn credentials(&mut self, _domain: &str, _localpart: &str) -> Lookup<Credentials> {
        Lookup::Found(self.0.clone())
    }
}

/// The server's side of a SCRAM-SHA-256 exchange of somebody whose keys are in memory.
pub(crate) fn scram(ops: u32, meter: &mut Meter) {
    let mut random = Random::seeded(5802);
    let mut verifiers = VerifierCache::new(&mut random, 16, 60);
    let offer = Offer { mechanisms: vec![Mechanism::ScramSha256, Mechanism::ScramSha1], bindings: Vec::new() };
    let (bindings, mut accounts) = (BindingData::default(), Juliet(credentials("secret", &ScramHash::ALL)));
    let mut cx = SaslContext {
        domain: "localhost",
        offer: &offer,
        bindings: &bindings,
        certificate_addresses: &[],
        accounts: &mut accounts,
        random: &mut random,
        fake_secret: &[7; 32],
        verifiers: &mut verifiers,
        iterations: 4096,
        now: Now::default(),
        legacy_plain: false,
    };
    let mut keys = Keys::default();
    for _ in 0..ops {
        let mut client = Scram::new(Hash::Sha256, "juliet");
        let first = client.first();
        let (mut exchange, step) = meter.run(|| {
            let mut exchange = Exchange::start(Mechanism::ScramSha256, &cx);
            let step = exchange.step(Some(first.as_bytes()), &mut cx);
            (exchange, step)
        });
        let SaslStep::Challenge(challenge) = step else { panic!("no challenge: {step:?}") };
        let challenge = std::str::from_utf8(&challenge).expect("text");
        let answer = client.answer(challenge, "secret", &mut keys).expect("an answer");
        let step = meter.run(|| exchange.step(Some(answer.as_bytes()), &mut cx));
        assert!(matches!(step, SaslStep::Success { .. }), "{step:?}");
    }
}

/// An address as nearly all are.
pub(crate) fn jid_ascii(ops: u32, meter: &mut Meter) {
    addresses(ops, meter, "juliet.capulet@chat.example/phone.7f2c");
}

/// An address that PRECIS and IDNA have work with.
pub(crate) fn jid_unicode(ops: u32, meter: &mut Meter) {
    addresses(ops, meter, "Джульетта@bücher.example/Телефон 📱");
}

fn addresses(ops: u32, meter: &mut Meter, input: &str) {
    let mut scratch = String::new();
    let mut run = |ops: u32| {
        for _ in 0..ops {
            let prepared = jid::prepare(black_box(input), &mut scratch).expect("an address");
            assert!(black_box(prepared).resourcepart().is_some());
        }
    };
    run(3);
    meter.run(|| run(ops));
}

/// Sixteen rows written by one handler, committed, and read back by another from the engine, which is in memory.
pub(crate) fn store(ops: u32, meter: &mut Meter) {
    const ROWS: u32 = 16;
    let (mut store, mut engine) = (Store::default(), Memory::new());
    let key = |row: u32| format!("table/localhost/juliet/{row:06}").into_bytes();
    // As many rows beside them as make it a tree.
    let mut woken = Woken::default();
    store.begin();
    (0..1_000).for_each(|row| store.put(&key(row), &[b'v'; 200]).expect("room"));
    store.finish();
    pump(&mut store, &mut engine, 0, &mut woken);
    let mut run = |ops: u32| {
        for op in 0..ops {
            store.begin();
            (0..ROWS).for_each(|row| store.put(&key((op * ROWS + row) % 1_000), &[b'w'; 200]).expect("room"));
            let ticket = store.finish();
            pump(&mut store, &mut engine, 0, &mut woken);
            assert!(store.is_durable(ticket));
            store.begin();
            let keys: Vec<_> = (0..ROWS).map(|row| key((op * ROWS + row) % 1_000)).collect();
            let missed = store.need(&keys).expect_err("they are in the engine only");
            let fetch = store.abandon(missed);
            pump(&mut store, &mut engine, 0, &mut woken);
            assert_eq!(woken.ready.pop(), Some(fetch));
            store.resume(fetch);
            let found = keys.iter().filter(|key| store.get(key).is_ok_and(|row| row.is_some())).count();
            assert_eq!(found, ROWS as usize);
            store.finish();
        }
    };
    run(2);
    meter.run(|| run(ops));
}
