//! Whole logins: a client of its own on one side, a table of accounts that forgets on the other.

mod password;
mod rules;
mod scram;

use super::client::{ClientBinding, ScramClient};
use super::*;
use std::collections::BTreeMap;

/// Accounts of "example.com". Answers `Miss` before every real answer if told to.
#[derive(Default)]
pub(super) struct Table {
    accounts: BTreeMap<String, Credentials>,
    forgetful: bool,
    missed: bool,
}

impl Table {
    pub(super) fn insert(&mut self, localpart: &str, credentials: Credentials) {
        self.accounts.insert(localpart.to_owned(), credentials);
    }
}

impl Accounts for Table {
    fn credentials(&mut self, domain: &str, localpart: &str) -> Lookup<Credentials> {
        assert_eq!(domain, "example.com");
        assert_eq!(
            crate::jid::prepare_localpart(localpart).as_deref(),
            Ok(localpart),
            "asked for what is not prepared"
        );
        self.missed = self.forgetful && !self.missed;
        if self.missed {
            return Lookup::Miss;
        }
        self.accounts.get(localpart).cloned().map_or(Lookup::Absent, Lookup::Found)
    }
}

/// Everything that a [`SaslContext`] borrows.
pub(super) struct World {
    pub(super) table: Table,
    pub(super) offer: Offer,
    pub(super) bindings: BindingData,
    addresses: Vec<String>,
    random: Random,
    verifiers: VerifierCache,
    legacy: bool,
    jobs: u32,
}

const EXPORTER: [u8; 32] = [0xE7; 32];

const END_POINT: [u8; 32] = [0xC3; 32];

impl World {
    pub(super) fn new() -> Self {
        let mut random = Random::seeded(6120);
        let verifiers = VerifierCache::new(&mut random, 16, 60);
        Self {
            table: Table::default(),
            offer: Offer {
                mechanisms: Mechanism::ALL.to_vec(),
                bindings: vec![BindingType::TlsExporter, BindingType::TlsServerEndPoint],
            },
            bindings: BindingData { exporter: Some(EXPORTER), server_end_point: Some(END_POINT.to_vec()) },
            addresses: Vec::new(),
            random,
            verifiers,
            legacy: false,
            jobs: 0,
        }
    }

    /// With "juliet", whose password is "pencil".
    fn with_juliet() -> Self {
        let mut world = Self::new();
        world.add("juliet", "pencil", &ScramHash::ALL);
        world
    }

    fn add(&mut self, localpart: &str, password: &str, hashes: &[ScramHash]) {
        let keys = derive(password, hashes, ITERATIONS_MIN, &mut self.random).run().derived;
        self.table.insert(localpart, Credentials { keys, disabled: false });
    }

    fn account(&mut self, localpart: &str) -> &mut Credentials {
        self.table.accounts.get_mut(localpart).expect("an account")
    }

    pub(super) fn with<R>(&mut self, call: impl FnOnce(&mut SaslContext<'_>) -> R) -> R {
        call(&mut SaslContext {
            domain: "example.com",
            offer: &self.offer,
            bindings: &self.bindings,
            certificate_addresses: &self.addresses,
            accounts: &mut self.table,
            random: &mut self.random,
            fake_secret: &[7; 32],
            verifiers: &mut self.verifiers,
            iterations: ITERATIONS_MIN,
            now: Now::default(),
            legacy_plain: self.legacy,
        })
    }

    fn start(&mut self, mechanism: Mechanism) -> Exchange {
        self.with(|cx| Exchange::start(mechanism, cx))
    }

    /// One step, with a fetch and hashing where they are asked for.
    fn step(&mut self, exchange: &mut Exchange, data: Option<&[u8]>) -> SaslStep {
        let mut step = self.with(|cx| exchange.step(data, cx));
        if matches!(step, SaslStep::Miss) {
            step = self.with(|cx| exchange.step(data, cx));
        }
        self.settle(exchange, step)
    }

    fn settle(&mut self, exchange: &mut Exchange, step: SaslStep) -> SaslStep {
        let SaslStep::Hash(job) = step else { return step };
        self.jobs += 1;
        let outcome = job.run();
        self.with(|cx| exchange.hashed(&outcome, cx))
    }

    /// A mechanism with one message.
    fn one(&mut self, mechanism: Mechanism, data: &[u8]) -> Result<Authenticated, SaslCondition> {
        let mut exchange = self.start(mechanism);
        end(self.step(&mut exchange, Some(data)))
    }

    fn scram(&mut self, mechanism: Mechanism, mut client: ScramClient) -> Result<Authenticated, SaslCondition> {
        let mut exchange = self.start(mechanism);
        let challenge = match self.step(&mut exchange, Some(&client.first())) {
            SaslStep::Challenge(challenge) => challenge,
            step => return end(step),
        };
        let answer = client.answer(&challenge).expect("the client goes on");
        let done = end(self.step(&mut exchange, Some(&answer)))?;
        assert_eq!(client.verify(done.data.as_deref().expect("server-final")), Ok(()));
        Ok(done)
    }
}

fn end(step: SaslStep) -> Result<Authenticated, SaslCondition> {
    match step {
        SaslStep::Success(authenticated) => Ok(authenticated),
        SaslStep::Failure(condition) => Err(condition),
        step => panic!("not an end: {step:?}"),
    }
}

fn name(result: Result<Authenticated, SaslCondition>) -> Result<String, SaslCondition> {
    result.map(|authenticated| authenticated.localpart)
}

fn unbound(username: &str, password: &str) -> ScramClient {
    ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, username, password, "client-nonce")
}
