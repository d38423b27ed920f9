//! SASL on the server's side: any messages, every mechanism; nobody gets in without a proof.

use super::Bytes;
use std::sync::OnceLock;
use stonechat::clock::Now;
use stonechat::random::Random;
use stonechat::sasl::{
    Accounts, BindingData, BindingType, Credentials, Exchange, HashOutcome, ITERATIONS_MIN, Lookup, Mechanism, Offer,
    SaslContext, SaslStep, ScramHash, VerifierCache, base64, derive,
};

pub const SEEDS: &[&[u8]] = &[
    b"\0n,,n=juliet,r=fyko\xFFc=biws,r=fyko,p=AAAA",
    b"\0p=tls-exporter,,n=juliet,r=fyko\xFFc=cD10bHMtZXhwb3J0ZXIsLA==,r=fyko,p=AAAA",
    b"\x04\0juliet\0secret",
    b"\x04juliet@capulet.example\0juliet\0secret",
    b"\x05juliet@capulet.example",
    b"\x06trace@example.org",
    b"\x0Cjuliet\0secret",
];

struct Juliet;

impl Accounts for Juliet {
    fn credentials(&mut self, _domain: &str, localpart: &str) -> Lookup<Credentials> {
        static KEYS: OnceLock<Credentials> = OnceLock::new();
        let keys = || derive("secret", &ScramHash::ALL, ITERATIONS_MIN, &mut Random::seeded(1)).run().derived;
        match localpart {
            "juliet" => Lookup::Found(KEYS.get_or_init(|| Credentials { keys: keys(), disabled: false }).clone()),
            _ => Lookup::Absent,
        }
    }
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let choice = bytes.below(16);
    let mechanism = Mechanism::ALL[choice % Mechanism::ALL.len()];
    let offer = Offer {
        mechanisms: Mechanism::ALL.to_vec(),
        bindings: vec![BindingType::TlsExporter, BindingType::TlsServerEndPoint],
    };
    let bindings = BindingData { exporter: Some([7; 32]), server_end_point: Some(vec![9; 32]) };
    let addresses = if choice % 3 == 0 { Vec::new() } else { vec!["juliet@capulet.example".to_owned()] };
    let mut random = Random::seeded(5);
    let mut verifiers = VerifierCache::new(&mut Random::seeded(2), 4, 60);
    let mut accounts = Juliet;
    let mut cx = SaslContext {
        domain: "capulet.example",
        offer: &offer,
        bindings: &bindings,
        certificate_addresses: &addresses,
        accounts: &mut accounts,
        random: &mut random,
        fake_secret: &[3; 32],
        verifiers: &mut verifiers,
        iterations: ITERATIONS_MIN,
        now: Now { mono_ms: 1, unix_ms: 1_800_000_000_000 },
        legacy_plain: choice >= 8,
    };
    let mut exchange = Exchange::start(mechanism, &cx);
    while !bytes.is_empty() {
        let piece = bytes.piece();
        let message = (piece != b"-").then_some(piece);
        let step = match exchange.step(message, &mut cx) {
            // No password is right here: nobody guesses one.
            SaslStep::Hash(_) => exchange.hashed(&HashOutcome::default(), &mut cx),
            step => step,
        };
        match step {
            SaslStep::Challenge(challenge) => assert!(challenge.len() < 1024),
            SaslStep::Success(login) => {
                let is_proven = match login.mechanism {
                    Mechanism::External => !addresses.is_empty() && login.localpart == "juliet",
                    Mechanism::Anonymous => login.anonymous && login.localpart != "juliet",
                    _ => false,
                };
                assert!(is_proven, "{login:?} without a proof");
                return;
            }
            SaslStep::Failure(_) => return,
            SaslStep::Miss | SaslStep::Hash(_) => panic!("every row is there, and every hash is done"),
        }
    }
    base64_agrees(data);
}

/// What the strict reader takes, the old one takes, and it is written back as it was.
fn base64_agrees(data: &[u8]) {
    if let Some(decoded) = base64::decode_strict(data) {
        assert_eq!(base64::encode(&*decoded).as_bytes(), data);
        assert_eq!(base64::decode_2045(data).as_deref(), Some(&*decoded));
    }
    assert_eq!(base64::decode_strict(base64::encode(data)).as_deref().map(Vec::as_slice), Some(data));
}
