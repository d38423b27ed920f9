//! Getting in without the password, or as somebody else.

use super::{STREAM, ask, server};
use crate::bare::{Bare, PASSWORD};
use stonechat::ids::ConnId;
use stonechat::sasl::client::{ClientBinding, ScramClient};
use stonechat::sasl::{BindingType, ScramHash, base64};

fn secure(bare: &mut Bare) -> ConnId {
    let id = bare.connect(true);
    bare.secure(id);
    ask(bare, id, STREAM);
    id
}

fn auth(mechanism: &str, message: &[u8]) -> String {
    let data = base64::encode(message);
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{data}</auth>")
}

fn response(message: &[u8]) -> String {
    format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>", base64::encode(message))
}

fn challenge(heard: &str) -> Vec<u8> {
    let data = heard.split_once("<challenge").and_then(|(_, rest)| rest.split_once('>')).map(|(_, rest)| rest);
    let data = data.and_then(|rest| rest.split('<').next()).unwrap_or_else(|| panic!("no challenge: {heard}"));
    base64::decode_strict(data).unwrap().to_vec()
}

fn client(binding: ClientBinding) -> ScramClient {
    ScramClient::new(ScramHash::Sha256, binding, "juliet", PASSWORD, "fyko")
}

/// A whole exchange, and what each side said.
fn log_in(bare: &mut Bare, id: ConnId, mechanism: &str, mut client: ScramClient) -> (Vec<u8>, String) {
    let first = ask(bare, id, &auth(mechanism, &client.first()));
    let answer = client.answer(&challenge(&first)).unwrap();
    let heard = ask(bare, id, &response(&answer));
    bare.advance(10_000);
    (answer, heard + &bare.heard(id))
}

/// RFC 5802 §6: `y` says "you offered no -PLUS". It was offered, so somebody in the middle has taken it away.
#[test]
fn a_scram_downgrade_is_noticed() {
    let mut bare = server();
    let id = secure(&mut bare);
    let heard = ask(&mut bare, id, &auth("SCRAM-SHA-256", &client(ClientBinding::Unoffered).first()));
    bare.advance(10_000);
    let heard = heard + &bare.heard(id);
    assert!(heard.contains("<failure") && !heard.contains("<challenge"), "{heard}");
    // XEP-0474: who has seen another list of mechanisms than was sent, gives up by itself.
    let id = secure(&mut bare);
    let mut seen = client(ClientBinding::Unsupported).expecting(&["SCRAM-SHA-1", "PLAIN"], &[]);
    let first = ask(&mut bare, id, &auth("SCRAM-SHA-256", &seen.first()));
    assert!(seen.answer(&challenge(&first)).is_err());
    // A mechanism that was not offered is not taken, whatever it is.
    for mechanism in ["EXTERNAL", "ANONYMOUS", "DIGEST-MD5", "CRAM-MD5", "X-OAUTH2", "plain", "SCRAM-SHA-512"] {
        let id = secure(&mut bare);
        let heard = ask(&mut bare, id, &auth(mechanism, b"x"));
        assert!(heard.contains("<invalid-mechanism/>"), "{mechanism}: {heard}");
    }
}

/// RFC 5802 §9, RFC 9266: a proof is good for one nonce and one channel.
#[test]
fn nothing_is_replayed() {
    let mut bare = server();
    let id = secure(&mut bare);
    let (answer, heard) = log_in(&mut bare, id, "SCRAM-SHA-256", client(ClientBinding::Unsupported));
    assert!(heard.contains("<success"), "{heard}");
    // The same words on another connection.
    let other = secure(&mut bare);
    ask(&mut bare, other, &auth("SCRAM-SHA-256", &client(ClientBinding::Unsupported).first()));
    let heard = ask(&mut bare, other, &response(&answer));
    bare.advance(10_000);
    assert!((heard + &bare.heard(other)).contains("<not-authorized/>"));
    // A proof for another channel: what a relay in the middle would have.
    let exporter = ClientBinding::Bound(BindingType::TlsExporter, vec![8; 32]);
    let id = secure(&mut bare);
    let (_, heard) = log_in(&mut bare, id, "SCRAM-SHA-256-PLUS", client(exporter));
    assert!(heard.contains("<failure") && !heard.contains("<success"), "{heard}");
    let exporter = ClientBinding::Bound(BindingType::TlsExporter, vec![7; 32]);
    let id = secure(&mut bare);
    let (_, heard) = log_in(&mut bare, id, "SCRAM-SHA-256-PLUS", client(exporter));
    assert!(heard.contains("<success"), "{heard}");
}

/// RFC 5802 §5.1: nonces that are not what the server made of them, for servers that compare by prefix: shortened,
/// lengthened, the client's part alone, with separators.
#[test]
fn nonces_are_compared_whole() {
    let change: [fn(&str) -> String; 6] = [
        |nonce| nonce[..nonce.len() - 1].to_owned(),
        |nonce| format!("{nonce}x"),
        |_| "fyko".to_owned(),
        |_| String::new(),
        |nonce| nonce.to_uppercase(),
        |nonce| format!("{nonce},r=fyko"),
    ];
    let mut bare = server();
    for change in change {
        let id = secure(&mut bare);
        let mut client = client(ClientBinding::Unsupported);
        let first = ask(&mut bare, id, &auth("SCRAM-SHA-256", &client.first()));
        let answer = String::from_utf8(client.answer(&challenge(&first)).unwrap()).unwrap();
        let nonce = answer.split("r=").nth(1).unwrap().split(',').next().unwrap().to_owned();
        let forged = answer.replace(&nonce, &change(&nonce));
        let heard = ask(&mut bare, id, &response(forged.as_bytes()));
        bare.advance(10_000);
        let heard = heard + &bare.heard(id);
        assert!(heard.contains("<failure") && !heard.contains("<success"), "{forged}: {heard}");
    }
    // The server's part is never the same.
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let id = secure(&mut bare);
        let heard = ask(&mut bare, id, &auth("SCRAM-SHA-256", b"n,,n=juliet,r=fyko"));
        assert!(nonces.insert(challenge(&heard)));
        bare.hang_up(id);
    }
}

/// RFC 4616 §2, RFC 5802 §5.1: acting as somebody else needs their permission, and nobody can give it here.
#[test]
fn an_authzid_is_ones_own() {
    let mut bare = server();
    for authzid in [
        "romeo",
        "romeo@localhost",
        "localhost",
        "juliet@elsewhere.example",
        "admin",
        "juliet@localhost/r",
        "@",
        "juliet@localhost\u{0}",
    ] {
        let id = secure(&mut bare);
        ask(&mut bare, id, &auth("PLAIN", format!("{authzid}\0juliet\0{PASSWORD}").as_bytes()));
        while bare.hashing() > 0 {
            bare.hash(true);
        }
        bare.advance(10_000);
        let heard = bare.heard(id);
        assert!(!heard.contains("<success"), "{authzid}: {heard}");
        bare.hang_up(id);
        let id = secure(&mut bare);
        let client = client(ClientBinding::Unsupported).acting_as(authzid);
        let heard = ask(&mut bare, id, &auth("SCRAM-SHA-256", &client.first()));
        assert!(!heard.contains("<success"), "{authzid}: {heard}");
        bare.hang_up(id);
    }
    // Its own address is no other.
    let id = secure(&mut bare);
    ask(&mut bare, id, &auth("PLAIN", format!("juliet@localhost\0juliet\0{PASSWORD}").as_bytes()));
    while bare.hashing() > 0 {
        bare.hash(true);
    }
    bare.advance(10_000);
    assert!(ask(&mut bare, id, STREAM).contains("<bind"), "its own");
}

/// RFC 6120 §6.4.6: who says one thing in the header and another by SASL is not served.
#[test]
fn the_header_and_the_login_must_agree() {
    let mut bare = server();
    let id = bare.connect(true);
    bare.secure(id);
    ask(&mut bare, id, &STREAM.replace("to=", "from='romeo@localhost' to="));
    ask(&mut bare, id, &auth("PLAIN", format!("\0juliet\0{PASSWORD}").as_bytes()));
    while bare.hashing() > 0 {
        bare.hash(true);
    }
    let heard = bare.heard(id);
    assert!(heard.contains("<invalid-from") && !heard.contains("<success"), "{heard}");
}

/// RFC 6120 §13.8.3, RFC 4616 §5: no password in the clear, whatever a client asks for.
#[test]
fn no_password_in_the_clear() {
    let mut bare = Bare::new(
        stonechat::stream::DomainPolicy { tls_required: false, ..crate::bare::policy() },
        crate::bare::settings(),
        1,
    );
    let id = bare.connect(false);
    let features = ask(&mut bare, id, STREAM);
    assert!(!features.contains(">PLAIN<"), "{features}");
    let heard = ask(&mut bare, id, &auth("PLAIN", format!("\0juliet\0{PASSWORD}").as_bytes()));
    assert!(heard.contains("<encryption-required/>"), "{heard}");
    // 2002 neither.
    let id = bare.connect(false);
    ask(&mut bare, id, &STREAM.replace(" version='1.0'", ""));
    let login = format!(
        "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>juliet</username><password>{PASSWORD}</password>\
         <resource>r</resource></query></iq>"
    );
    let heard = ask(&mut bare, id, &login);
    assert!(heard.contains("<policy-violation") && bare.core.sessions() == 0, "{heard}");
}

/// What an attacker learns of who exists (RFC 6120 §13.11): nothing from offers, challenges, failures or their delay.
#[test]
fn nobody_learns_who_exists() {
    let mut bare = server();
    let mut seen = Vec::new();
    for name in ["juliet", "nobody"] {
        let id = bare.connect(true);
        bare.secure(id);
        let header = STREAM.replace("to=", &format!("from='{name}@localhost' to="));
        let features = ask(&mut bare, id, &header);
        let offer = features.split_once("<stream:features>").unwrap().1.to_owned();
        let heard = ask(&mut bare, id, &auth("SCRAM-SHA-256", format!("n,,n={name},r=fyko").as_bytes()));
        let text = String::from_utf8(challenge(&heard)).unwrap();
        let shape: Vec<(char, usize)> =
            text.split(',').map(|field| (field.chars().next().unwrap(), field.len())).collect();
        let failed = ask(&mut bare, id, &response(b"c=biws,r=fyko,p=AAAA"));
        bare.advance(10_000);
        seen.push((offer, shape, failed + &bare.heard(id)));
        // The salt of somebody who does not exist is the same tomorrow.
        let again = bare.connect(true);
        bare.secure(again);
        ask(&mut bare, again, STREAM);
        let heard = ask(&mut bare, again, &auth("SCRAM-SHA-256", format!("n,,n={name},r=fyko").as_bytes()));
        let salt = |text: &str| text.split(",s=").nth(1).map(str::to_owned);
        assert_eq!(salt(&String::from_utf8(challenge(&heard)).unwrap()), salt(&text), "{name}");
    }
    assert_eq!(seen[0], seen[1]);
}
