//! Both sides of a subscription in the store, nobody being online.

use super::*;
use crate::im::accounts::{Account, Summary};
use crate::im::blocks::Blocked;
use crate::im::columns::Bounds;
use crate::im::unattended::Unattended;
use crate::jid::Jid;
use crate::random::Random;
use crate::storage::{Memory, offline};

/// A store, and two domains over it.
struct World {
    engine: Memory,
    columns: Unattended,
}

impl World {
    fn new(bounds: Bounds, accounts: &[&str]) -> Self {
        let columns = Unattended::new(["a.example".to_owned(), "b.example".to_owned()], bounds);
        let mut world = Self { engine: Memory::new(), columns };
        for account in accounts {
            let row = Account { summary: Summary::default(), credentials: Vec::new() };
            let jid = jid(account);
            let localpart = jid.localpart().unwrap();
            let made =
                world.run(|columns| Ok(accounts::create(columns.columns.store, jid.domainpart(), localpart, &row)?));
            assert_eq!(made.unwrap(), accounts::Change::Done);
        }
        world
    }

    fn run<T>(&mut self, mut handler: impl FnMut(&mut Subscribing<'_, '_>) -> Result<T, Stop>) -> Result<T, Stop> {
        let columns = &mut self.columns;
        let outcome = offline::run(&mut self.engine, |store| {
            let mut columns = columns.lend(store);
            match handler(&mut Subscribing::new(&mut columns)) {
                Err(Stop::Miss(miss)) => Err(miss),
                Err(stop) => {
                    columns.store.begin();
                    Ok(Err(stop))
                }
                Ok(done) => Ok(Ok(done)),
            }
        });
        outcome.unwrap()
    }

    fn send(&mut self, from: &str, to: &str, ask: Ask) -> Result<(), Stop> {
        let (from, to) = (jid(from), jid(to));
        self.run(|subscribing| subscribing.send(from.as_ref(), to.as_ref(), ask, b"<presence/>"))
    }

    fn receive(&mut self, user: &str, from: &str, ask: Ask, stanza: &[u8]) {
        let (user, from) = (jid(user), jid(from));
        self.run(|subscribing| subscribing.receive(user.as_ref(), from.as_ref(), ask, stanza)).unwrap();
    }

    fn put(&mut self, user: &str, contact: &str, state: State) {
        let user = jid(user);
        self.run(|subscribing| {
            let listed = state != State::NoneIn;
            let mut item = Item { state, listed, ..Item::default() };
            let mut change = Change::of(subscribing.columns.store, user.as_ref(), 1)?;
            change.put(user.as_ref(), contact, None, &mut item);
            if state.is_asked() {
                change.put_request(user.as_ref(), contact, true, b"<presence/>");
            }
            change.write(subscribing.columns.store, user.as_ref())?;
            Ok(())
        })
        .unwrap();
    }

    fn item(&mut self, user: &str, contact: &str) -> Option<Item> {
        let user = jid(user);
        self.run(|subscribing| Ok(roster::get(subscribing.columns.store, user.as_ref(), contact)?)).unwrap()
    }

    fn state(&mut self, user: &str, contact: &str) -> State {
        self.item(user, contact).unwrap_or_default().state
    }

    /// The counts of a roster are those of its rows; a row that is not listed is a request and nothing else.
    fn check(&mut self, user: &str) {
        let user = jid(user);
        let user = user.as_ref();
        let (meta, items, requests) = self
            .run(|subscribing| {
                let store = &mut *subscribing.columns.store;
                Ok((roster::meta(store, user)?, roster::list(store, user)?, roster::requests(store, user)?))
            })
            .unwrap();
        let asked: Vec<&str> =
            items.iter().filter(|(_, item)| item.state.is_asked()).map(|(contact, _)| contact.as_str()).collect();
        assert_eq!(asked, requests.iter().map(|(contact, _)| contact.as_str()).collect::<Vec<_>>(), "{user}");
        assert_eq!((meta.items as usize, meta.requests as usize), (items.len(), requests.len()), "{user}");
        assert!(items.iter().all(|(_, item)| item.listed || item.state == State::NoneIn), "{user}: {items:?}");
    }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

const ROMEO: &str = "romeo@a.example";
const JULIET: &str = "juliet@b.example";

/// RFC 6121 A.2 and A.3: what the rows become, whatever the other side is.
#[test]
fn every_cell_is_kept_in_both_directions() {
    for state in State::ALL {
        for ask in Ask::ALL {
            // The contact does not exist: nothing comes back.
            let world = &mut World::new(Bounds::default(), &[ROMEO]);
            world.put(ROMEO, "nobody@b.example", state);
            world.send(ROMEO, "nobody@b.example", ask).unwrap();
            let kept = world.state(ROMEO, "nobody@b.example");
            assert_eq!(kept, subscription::outbound(state, ask).state, "out {ask:?} in {state:?}");
            world.check(ROMEO);

            let world = &mut World::new(Bounds::default(), &[ROMEO]);
            world.put(ROMEO, "nobody@b.example", state);
            world.receive(ROMEO, "nobody@b.example", ask, b"<presence/>");
            let kept = world.state(ROMEO, "nobody@b.example");
            assert_eq!(kept, subscription::inbound(state, ask).state, "in {ask:?} in {state:?}");
            world.check(ROMEO);
        }
    }
}

/// Whatever two local users do to each other, their rosters agree.
#[test]
fn two_rosters_always_mirror_each_other() {
    for seed in 0..20 {
        let world = &mut World::new(Bounds::default(), &[ROMEO, JULIET]);
        let mut random = Random::seeded(seed);
        for turn in 0..60 {
            let (one, other) = if random.next_u64().is_multiple_of(2) { (ROMEO, JULIET) } else { (JULIET, ROMEO) };
            let (user, contact) = (jid(one), jid(other));
            let what = (random.next_u64() % 8) as usize;
            match Ask::ALL.get(what % 6) {
                Some(ask) => world.send(one, other, *ask).unwrap(),
                None if what % 6 == 4 => {
                    world.run(|subscribing| subscribing.set_item(user.as_ref(), contact.as_ref(), "x", &[])).unwrap()
                }
                None => {
                    let is_there = world.item(one, other).is_some_and(|item| item.listed);
                    let removed = world.run(|subscribing| subscribing.remove_item(user.as_ref(), contact.as_ref()));
                    assert_eq!(removed.is_ok(), is_there);
                }
            }
            let (mine, yours) = (world.state(ROMEO, JULIET), world.state(JULIET, ROMEO));
            let mirrored = Subscribed { to: yours.subscribed().from, from: yours.subscribed().to };
            assert_eq!(mine.subscribed(), mirrored, "seed {seed}, turn {turn}: {mine:?} {yours:?}");
            assert_eq!((mine.asks(), mine.is_asked()), (yours.is_asked(), yours.asks()), "seed {seed}, turn {turn}");
            world.check(ROMEO);
            world.check(JULIET);
        }
    }
}

#[test]
fn requests_and_items_are_bounded() {
    let names: Vec<String> = (0..5).map(|number| format!("fan{number}@a.example")).collect();
    let mut accounts: Vec<&str> = names.iter().map(String::as_str).collect();
    accounts.push(JULIET);
    let world = &mut World::new(Bounds { requests_max: 3, roster_items_max: 4, ..Bounds::default() }, &accounts);
    for name in &names {
        world.send(name, JULIET, Ask::Subscribe).unwrap();
        assert_eq!(world.state(name, JULIET), State::NoneOut, "it looks the same for who is dropped");
    }
    let asked = names.iter().filter(|name| world.state(JULIET, name) == State::NoneIn).count();
    assert_eq!(asked, 3);
    // Asked again when there is room, it is heard.
    world.send(JULIET, &names[0], Ask::Unsubscribed).unwrap();
    world.send(&names[4], JULIET, Ask::Subscribe).unwrap();
    assert_eq!(world.state(JULIET, &names[4]), State::NoneIn);
    world.send(JULIET, "x@a.example", Ask::Subscribe).unwrap();
    let refused = world.send(JULIET, "y@a.example", Ask::Subscribe);
    assert!(matches!(refused, Err(Stop::Refuse(refusal)) if refusal.condition == StanzaCondition::ResourceConstraint));
    assert_eq!(world.item(JULIET, "y@a.example"), None);
    world.check(JULIET);
}

#[test]
fn a_long_request_is_kept_without_its_payload() {
    let world = &mut World::new(Bounds::default(), &[JULIET]);
    let stanza = |len: usize| {
        let status = "x".repeat(len);
        format!("<presence from='r@a' to='j@b' type='subscribe'><status>{status}</status></presence>").into_bytes()
    };
    let (short, long) = (stanza(100), stanza(SUBSCRIPTION_REQUEST_BYTES_MAX));
    world.receive(JULIET, "long@a.example", Ask::Subscribe, &long);
    world.receive(JULIET, "short@a.example", Ask::Subscribe, &short);
    // A second one does not replace the first.
    world.receive(JULIET, "short@a.example", Ask::Subscribe, b"<presence/>");
    let juliet = jid(JULIET);
    let kept = world.run(|subscribing| Ok(roster::requests(subscribing.columns.store, juliet.as_ref())?)).unwrap();
    let bare = b"<presence from='long@a.example' to='juliet@b.example' type='subscribe'/>".to_vec();
    assert_eq!(kept, [("long@a.example".to_owned(), bare), ("short@a.example".to_owned(), short)]);
}

#[test]
fn who_is_blocked_is_not_heard() {
    let world = &mut World::new(Bounds::default(), &[ROMEO, JULIET]);
    let juliet = jid(JULIET);
    world
        .run(|subscribing| {
            let blocked: Blocked = [jid(ROMEO)].into_iter().collect();
            Ok(blocks::set(subscribing.columns.store, juliet.as_ref(), &blocked)?)
        })
        .unwrap();
    world.send(ROMEO, JULIET, Ask::Subscribe).unwrap();
    assert_eq!((world.state(ROMEO, JULIET), world.item(JULIET, ROMEO)), (State::NoneOut, None));
}
