//! SCRAM: flags, bindings, headers and lists. The documents' examples are in `scram/tests.rs`.

use super::*;
use crate::sasl::client::ClientError;

fn client(hash: ScramHash, binding: ClientBinding) -> ScramClient {
    ScramClient::new(hash, binding, "juliet", "pencil", "client-nonce")
}

fn exporter() -> ClientBinding {
    ClientBinding::Bound(BindingType::TlsExporter, EXPORTER.to_vec())
}

#[test]
fn scram_of_every_kind_with_and_without_a_fetch() {
    use Mechanism::*;
    let end_point = || ClientBinding::Bound(BindingType::TlsServerEndPoint, END_POINT.to_vec());
    let rows = [
        (ScramSha1, ClientBinding::Unsupported),
        (ScramSha256, ClientBinding::Unsupported),
        (ScramSha1Plus, exporter()),
        (ScramSha256Plus, exporter()),
        (ScramSha256Plus, end_point()),
    ];
    let names: Vec<_> = Mechanism::ALL.map(Mechanism::name).to_vec();
    let mut world = World::with_juliet();
    for forgetful in [false, true] {
        world.table.forgetful = forgetful;
        for (mechanism, binding) in rows.clone() {
            let hash = mechanism.hash().expect("a hash");
            let client = client(hash, binding).expecting(&names, &["tls-server-end-point", "tls-exporter"]);
            let done = world.scram(mechanism, client).expect("logged in");
            assert_eq!(done.localpart, "juliet");
            assert_eq!(done.mechanism, mechanism);
            assert!(!done.anonymous && done.fill_in.is_empty());
        }
    }
}

#[test]
fn flag_mechanism_and_offer_must_fit() {
    use Mechanism::*;
    let refused = Err(SaslCondition::NotAuthorized);
    let mut world = World::with_juliet();
    let mut go = |mechanism, binding| name(world.scram(mechanism, client(ScramHash::Sha256, binding)));
    assert_eq!(go(ScramSha256, ClientBinding::Unoffered), refused, "y, though PLUS was offered");
    assert_eq!(go(ScramSha256, exporter()), refused, "p without PLUS");
    assert_eq!(go(ScramSha256Plus, ClientBinding::Unsupported), refused, "PLUS without p");
    assert_eq!(go(ScramSha256Plus, ClientBinding::Unoffered), refused, "PLUS with y");
    let other = ClientBinding::Bound(BindingType::TlsExporter, vec![1; 32]);
    assert_eq!(go(ScramSha256Plus, other), refused, "another channel");
    let end_point = ClientBinding::Bound(BindingType::TlsServerEndPoint, END_POINT.to_vec());

    world.bindings.server_end_point = None;
    let refusal = name(world.scram(ScramSha256Plus, client(ScramHash::Sha256, end_point)));
    assert_eq!(refusal, refused, "no such data");
    world.offer.bindings = vec![BindingType::TlsServerEndPoint];
    assert_eq!(name(world.scram(ScramSha256Plus, client(ScramHash::Sha256, exporter()))), refused, "not announced");
    let unique = world.one(ScramSha256Plus, b"p=tls-unique,,n=juliet,r=x");
    assert_eq!(name(unique), refused, "a type that we have not");

    world.offer = Offer { mechanisms: vec![ScramSha256], bindings: vec![] };
    let client = client(ScramHash::Sha256, ClientBinding::Unoffered);
    assert_eq!(name(world.scram(ScramSha256, client)), Ok("juliet".into()), "y is right where PLUS was not offered");
}

/// `c=` is compared even where there is no binding: its header must be the one of the first message.
#[test]
fn the_header_is_checked_without_binding_too() {
    let mut world = World::with_juliet();
    let mut answer = |first: &[u8], replaced: (&str, &str)| {
        let mut client = unbound("juliet", "pencil");
        let mut exchange = world.start(Mechanism::ScramSha256);
        let SaslStep::Challenge(challenge) = world.step(&mut exchange, Some(first)) else { panic!("a challenge") };
        let answer = String::from_utf8(client.answer(&challenge).expect("answer")).expect("text");
        name(end(world.step(&mut exchange, Some(answer.replace(replaced.0, replaced.1).as_bytes()))))
    };
    assert_eq!(answer(b"n,,n=juliet,r=client-nonce", ("", "")), Ok("juliet".into()));
    let refused = Err(SaslCondition::NotAuthorized);
    assert_eq!(answer(b"n,,n=juliet,r=client-nonce", ("c=biws", "c=eSws")), refused);
    assert_eq!(answer(b"n,a=juliet@example.com,n=juliet,r=client-nonce", ("", "")), refused);
    assert_eq!(answer(b"n,,n=juliet,r=client-nonce", ("r=client-nonce", "r=Client-nonce")), refused);
}

#[test]
fn a_client_notices_when_the_list_was_changed() {
    let mut world = World::with_juliet();
    let mut client = unbound("juliet", "pencil").expecting(&["SCRAM-SHA-256", "PLAIN"], &[]);
    let mut exchange = world.start(Mechanism::ScramSha256);
    let SaslStep::Challenge(challenge) = world.step(&mut exchange, Some(&client.first())) else { panic!() };
    assert_eq!(client.answer(&challenge), Err(ClientError::Downgraded));
}

#[test]
fn the_hashed_list_names_bindings_only_if_some_were_announced() {
    let mut offer = Offer { mechanisms: vec![Mechanism::ScramSha1Plus, Mechanism::Plain], bindings: vec![] };
    assert_eq!(offer.downgrade_input(), "PLAIN\u{1E}SCRAM-SHA-1-PLUS");
    offer.bindings = vec![BindingType::TlsServerEndPoint, BindingType::TlsExporter];
    assert_eq!(offer.downgrade_input(), "PLAIN\u{1E}SCRAM-SHA-1-PLUS\u{1F}tls-exporter\u{1E}tls-server-end-point");
}
