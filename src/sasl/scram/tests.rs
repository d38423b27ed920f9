//! The examples of the documents, octet for octet, through the server and through the client.

use super::*;
use crate::sasl::client::{ClientBinding, ClientError, ScramClient};
use crate::sasl::tests::World;
use crate::sasl::{Credentials, ITERATIONS_MIN, Offer};

/// An account as the examples have it: "user", "pencil", with their salt.
fn world(hash: ScramHash, salt: &str) -> World {
    let salt = base64::decode_strict(salt).expect("base64").to_vec();
    let keys = vec![ScramKeys::derive(hash, b"pencil", salt, ITERATIONS_MIN)];
    let mut world = World::new();
    world.offer = Offer::default();
    world.table.insert("user", Credentials { keys, disabled: false });
    world
}

struct Example {
    hash: ScramHash,
    salt: &'static str,
    client_nonce: &'static str,
    server_nonce: &'static str,
    messages: [&'static str; 4],
}

/// RFC 5802 §5 and RFC 7677 §3.
#[test]
fn examples_without_channel_binding() {
    let examples = [
        Example {
            hash: ScramHash::Sha1,
            salt: "QSXCR+Q6sek8bf92",
            client_nonce: "fyko+d2lbbFgONRv9qkxdawL",
            server_nonce: "3rfcNHYJY1ZVvWVs7j",
            messages: [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        },
        Example {
            hash: ScramHash::Sha256,
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
            client_nonce: "rOprNGfwEbeRWgbNEkqO",
            server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            messages: [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        },
    ];
    for example in examples {
        let [client_first, server_first, client_final, server_final] = example.messages;
        let mechanism = match example.hash {
            ScramHash::Sha1 => Mechanism::ScramSha1,
            ScramHash::Sha256 => Mechanism::ScramSha256,
        };
        let mut world = world(example.hash, example.salt);
        let mut client =
            ScramClient::new(example.hash, ClientBinding::Unsupported, "user", "pencil", example.client_nonce);
        assert_eq!(text(&client.first()), client_first);
        let answer = world.with(|cx| first(mechanism, example.hash, client_first.as_bytes(), example.server_nonce, cx));
        let First::Challenge(pending, challenge) = answer else { panic!("a challenge") };
        assert_eq!(text(&challenge), server_first);
        assert_eq!(text(&client.answer(&challenge).expect("answer")), client_final);
        let SaslStep::Success(authenticated) = pending.finish(client_final.as_bytes()) else { panic!("success") };
        assert_eq!(authenticated.localpart, "user");
        let data = authenticated.data.expect("server-final");
        assert_eq!(text(&data), server_final);
        assert_eq!(client.verify(&data), Ok(()));
        assert_eq!(client.verify(b"v=AAAA"), Err(ClientError::WrongSignature));
    }
}

/// XEP-0474 §6.3: `h=` over mechanisms and binding types, PLUS, and an extension in the last message. The
/// binding data of the example are text, so they are put in by hand.
#[test]
fn example_with_channel_binding_and_downgrade_protection() {
    let client_nonce = "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6";
    let server_nonce = "a09117a6-ac50-4f2f-93f1-93799c2bddf6";
    let client_first = format!("p=tls-exporter,,n=user,r={client_nonce}");
    let mut world = world(ScramHash::Sha1, "QSXCR+Q6sek8bf92");
    world.offer = Offer {
        mechanisms: vec![Mechanism::ScramSha1Plus, Mechanism::ScramSha1],
        bindings: vec![BindingType::TlsServerEndPoint, BindingType::TlsExporter],
    };
    world.bindings.exporter = Some([0; 32]);
    let answer =
        world.with(|cx| first(Mechanism::ScramSha1Plus, ScramHash::Sha1, client_first.as_bytes(), server_nonce, cx));
    let First::Challenge(mut pending, challenge) = answer else { panic!("a challenge") };
    assert_eq!(
        text(&challenge),
        format!("r={client_nonce}{server_nonce},s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=")
    );
    pending.channel = base64::encode("p=tls-exporter,,THIS IS FAKE CB DATA");
    let client_final = format!(
        "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,r={client_nonce}{server_nonce},\
         x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4="
    );
    let SaslStep::Success(authenticated) = pending.finish(client_final.as_bytes()) else { panic!("success") };
    assert_eq!(authenticated.data.as_deref().map(text), Some("v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c="));
}

/// Every octet of the last message is signed or compared.
#[test]
fn no_octet_of_the_proof_may_change() {
    let mut world = world(ScramHash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
    let mut client = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, "user", "pencil", "nonce");
    let (pending, challenge) = begin(&mut world);
    assert_eq!(client.first(), FIRST);
    let right = client.answer(&challenge).expect("answer");
    assert!(matches!(pending.finish(&right), SaslStep::Success(_)));
    for index in 0..right.len() {
        for bit in [0x01, 0x20] {
            let mut wrong = right.clone();
            wrong[index] ^= bit;
            let (pending, _) = begin(&mut world);
            assert!(matches!(pending.finish(&wrong), SaslStep::Failure(_)), "octet {index}");
        }
    }
}

/// The nonce is compared for itself: here the proof is right, over the wrong one.
#[test]
fn the_nonce_must_be_the_whole_of_both_halves() {
    let mut world = world(ScramHash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
    for (nonce, right) in [("noncemore", true), ("nonce", false), ("noncemor", false), ("noncemore1", false)] {
        let (pending, _) = begin(&mut world);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{}{without_proof}", pending.signed);
        let salted = ScramHash::Sha256.salted_password(b"pencil", &pending.keys.salt, ITERATIONS_MIN);
        let client_key = ScramHash::Sha256.hmac(&salted, b"Client Key");
        let signature = ScramHash::Sha256.hmac(&pending.keys.stored_key, signed.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let message = format!("{without_proof},p={}", base64::encode(proof));
        let step = pending.finish(message.as_bytes());
        assert_eq!(matches!(step, SaslStep::Success(_)), right, "{nonce}");
    }
}

/// Even who guessed the made-up keys would not be let in.
#[test]
fn made_up_keys_open_nothing() {
    let mut world = world(ScramHash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
    let mut client = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, "user", "pencil", "nonce");
    let (mut pending, challenge) = begin(&mut world);
    pending.known = false;
    let step = pending.finish(&client.answer(&challenge).expect("answer"));
    assert!(matches!(step, SaslStep::Failure(SaslCondition::NotAuthorized)));
}

const FIRST: &[u8] = b"n,,n=user,r=nonce";

fn begin(world: &mut World) -> (Box<Pending>, Vec<u8>) {
    let answer = world.with(|cx| first(Mechanism::ScramSha256, ScramHash::Sha256, FIRST, "more", cx));
    let First::Challenge(pending, challenge) = answer else { panic!("a challenge") };
    (pending, challenge)
}

/// The salt of nobody: always the same, and like anybody's.
#[test]
fn made_up_keys() {
    let make = |secret: u8, domain, localpart, hash| fake_keys(&[secret; 32], domain, localpart, hash, 10_000);
    let fake = make(1, "a.example", "nobody", ScramHash::Sha1);
    assert_eq!(fake, make(1, "a.example", "nobody", ScramHash::Sha1));
    assert_eq!((fake.salt.len(), fake.iterations), (SALT_BYTES, 10_000));
    assert_eq!((fake.stored_key.len(), fake.server_key.len()), (20, 20));
    let others = [
        make(2, "a.example", "nobody", ScramHash::Sha1),
        make(1, "b.example", "nobody", ScramHash::Sha1),
        make(1, "a.example", "nobody2", ScramHash::Sha1),
        make(1, "a.example", "nobody", ScramHash::Sha256),
        make(1, "a.examplen", "obody", ScramHash::Sha1),
    ];
    for other in others {
        assert_ne!(other.salt, fake.salt);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}
