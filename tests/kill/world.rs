//! The clients of the kill test: what they do, what they have been told, what they find.

use crate::client::{Client, attr, tags};
use crate::model::{History, Pair, Said, Side, State};
use crate::rng::Rng;
use crate::server::{Server, account, administer, credentials};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::JoinHandle;
use stonechat::admin::UserRequest;

/// Accounts that write.
const USERS: usize = 3;
/// The account that is online only to look what has waited for it.
const AWAY: &str = "away";
const PASSWORD: &str = "secret";
const PING: &str = "<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>";
/// Names that writes choose from: few, so that they meet.
const NAMES: usize = 4;
/// Changes of accounts in one run.
const ACCOUNT_CHANGES: usize = 6;

/// What came of it all.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) subscriptions: u64,
    pub(crate) accounts: u64,
    pub(crate) messages: u64,
}

/// An account whose rows only it writes.
struct User {
    client: Client,
    history: History,
    /// Requests without an answer: their id, and the write that it acknowledges.
    waiting: BTreeMap<String, u64>,
    /// The last of its messages that has been delivered.
    delivered: u32,
}

/// Two accounts, and what one of them has said without having been told that it is so.
#[derive(Default)]
struct Book {
    now: Pair,
    next: Option<(usize, Pair)>,
}

type Password = Option<String>;

pub(crate) struct World {
    server: Server,
    rng: Rng,
    users: Vec<User>,
    pairs: BTreeMap<(usize, usize), Book>,
    /// Accounts of the operator, with their passwords.
    accounts: BTreeMap<String, Password>,
    number: u64,
    counts: Counts,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let server = Server::new();
        let names = (0..USERS).map(name).chain([AWAY.to_owned()]);
        for name in names {
            let added = UserRequest::Add { address: account(&name), credentials: credentials(PASSWORD) };
            assert!(administer(&server.control(), added));
        }
        let user = |at| User {
            client: Client::log_in(server.address, &name(at), PASSWORD).unwrap(),
            history: History::new(),
            waiting: BTreeMap::new(),
            delivered: 0,
        };
        let users = (0..USERS).map(user).collect();
        let pairs = (0..USERS).flat_map(|one| (one + 1..USERS).map(move |other| (one, other)));
        let pairs = pairs.map(|pair| (pair, Book::default())).collect();
        let accounts = BTreeMap::new();
        let mut world =
            Self { server, rng: Rng::new(seed), users, pairs, accounts, number: 0, counts: Counts::default() };
        world.look().unwrap();
        world
    }

    /// Writes for a while, kills the server in the middle of it, starts it again and looks.
    pub(crate) fn run_and_kill(&mut self) -> Result<(), String> {
        let plan = self.plan_accounts();
        let operator = operate(self.server.control(), plan.clone());
        for _ in 0..20 + self.rng.below(120) {
            match self.rng.below(4) {
                0 => self.subscribe(),
                _ => self.write(),
            }
            if self.rng.often(100) {
                // Waits until all that this one has written is on disk: so kills fall into every part of a commit.
                let at = self.rng.below(USERS);
                let frames = self.users[at].client.ask("ping", PING);
                self.hear(at, &frames)?;
            }
            if self.rng.often(300) {
                for at in 0..USERS {
                    let frames = self.users[at].client.take();
                    self.hear(at, &frames)?;
                }
            }
        }
        self.server.kill();
        for at in 0..USERS {
            // What it had said and nobody had read counts too.
            let frames = self.users[at].client.rest();
            self.hear(at, &frames)?;
        }
        let done = operator.join().unwrap();
        self.server.start();
        self.look_at_accounts(&plan, done)?;
        self.log_in();
        self.look()
    }

    /// What came of it all.
    pub(crate) fn finish(mut self) -> Counts {
        self.server.kill();
        self.counts
    }

    fn log_in(&mut self) {
        for (at, user) in self.users.iter_mut().enumerate() {
            user.client = Client::log_in(self.server.address, &name(at), PASSWORD).unwrap();
            user.waiting.clear();
        }
    }

    /// One write of one account.
    fn write(&mut self) {
        let at = self.rng.below(USERS);
        self.number += 1;
        let (number, which) = (self.number, self.rng.below(NAMES));
        let user = &mut self.users[at];
        let last = user.history.last();
        let contact = format!("c{which}@elsewhere.example");
        let has = (last.roster.contains_key(&contact), last.blocked.contains(&contact));
        let message = last.messages + 1;
        let text = format!("t{number}");
        let set = |payload: String| format!("<iq type='set' id='w{number}'>{payload}</iq>");
        let roster =
            |item: String| set(format!("<query xmlns='jabber:iq:roster'><item jid='{contact}' {item}/></query>"));
        let (stanza, write) = match (self.rng.below(7), has) {
            (0, (true, _)) => (
                roster("subscription='remove'".into()),
                user.history.write(|state| drop(state.roster.remove(&contact))),
            ),
            (0 | 1, _) => (
                roster(format!("name='{text}'")),
                user.history.write(|state| drop(state.roster.insert(contact.clone(), text.clone()))),
            ),
            (2, _) => (
                set(format!("<query xmlns='jabber:iq:private'><p{which} xmlns='kill:test'>{text}</p{which}></query>")),
                user.history.write(|state| drop(state.private.insert(format!("p{which}"), text.clone()))),
            ),
            (3, _) => (
                set(format!("<vCard xmlns='vcard-temp'><FN>{text}</FN></vCard>")),
                user.history.write(|state| state.vcard.clone_from(&text)),
            ),
            (4, (_, false)) => (
                set(format!("<block xmlns='urn:xmpp:blocking'><item jid='{contact}'/></block>")),
                user.history.write(|state| _ = state.blocked.insert(contact.clone())),
            ),
            (4, (_, true)) => (
                set(format!("<unblock xmlns='urn:xmpp:blocking'><item jid='{contact}'/></unblock>")),
                user.history.write(|state| _ = state.blocked.remove(&contact)),
            ),
            // No answer of its own: a later one will do.
            _ => {
                self.counts.messages += 1;
                let body = format!("<body>m|{}|{message}|</body>", name(at));
                let stanza = format!("<message to='{AWAY}@localhost' type='chat'>{body}</message>");
                let ping = format!("<iq type='get' id='w{number}'><ping xmlns='urn:xmpp:ping'/></iq>");
                let is_asked = self.rng.often(500);
                (if is_asked { stanza + &ping } else { stanza }, user.history.write(|state| state.messages = message))
            }
        };
        user.waiting.insert(format!("w{number}"), write);
        user.client.send(&stanza);
        self.counts.writes += 1;
    }

    /// One word between two accounts that have nothing open.
    fn subscribe(&mut self) {
        let (one, other) = (self.rng.below(USERS), self.rng.below(USERS));
        let (who, said) = (self.rng.below(2), self.rng.pick(&Said::ALL));
        let Some(book) = self.pairs.get_mut(&(one, other)).filter(|book| book.next.is_none()) else { return };
        let Some(after) = book.now.after(who, said) else { return };
        book.next = Some((who, after));
        let (from, to) = if who == 0 { (one, other) } else { (other, one) };
        let stanza = format!("<presence to='{}@localhost' type='{}'/>", name(to), said.name());
        self.users[from].client.send(&stanza);
    }

    /// What an account is told.
    fn hear(&mut self, at: usize, frames: &[String]) -> Result<(), String> {
        for frame in frames {
            let id = attr(frame, "id").unwrap_or_default();
            match attr(frame, "type") {
                Some("error") => return Err(format!("{} is refused: {frame}", name(at))),
                Some("result") => {
                    if let Some(write) = self.users[at].waiting.remove(id) {
                        self.users[at].history.acknowledge(write);
                    }
                }
                Some("set") => self.hear_push(at, frame),
                _ => {}
            }
        }
        Ok(())
    }

    /// A roster push tells the one who spoke that it is so.
    fn hear_push(&mut self, at: usize, frame: &str) {
        for ((one, other), book) in &mut self.pairs {
            let Some((who, after)) = book.next else { continue };
            let (speaker, listener) = if who == 0 { (*one, *other) } else { (*other, *one) };
            if speaker == at && sides(frame).get(&listener) == Some(&after.side(who)) {
                (book.now, book.next) = (after, None);
                self.counts.subscriptions += 1;
            }
        }
    }

    /// Looks at everything; what is not as it must be is a fault.
    fn look(&mut self) -> Result<(), String> {
        let messages = self.collect()?;
        let mut seen = Vec::new();
        for (at, (user, last)) in self.users.iter_mut().zip(messages).enumerate() {
            let (state, sides, requests) = read(user, last);
            user.history.found(state).map_err(|fault| format!("{}: {fault}", name(at)))?;
            user.delivered = last;
            seen.push((sides, requests));
        }
        self.counts.acknowledged = self.users.iter().map(|user| user.history.told()).sum();
        for ((one, other), book) in &mut self.pairs {
            let side = |of: usize, about: usize| seen[of].0.get(&about).copied().unwrap_or_default();
            let found = [side(*one, *other), side(*other, *one)];
            let pairs = [Some(book.now), book.next.map(|(_, after)| after)];
            let is = |pair: &Pair| [pair.side(0), pair.side(1)] == found;
            let Some(pair) = pairs.into_iter().flatten().find(is) else {
                return Err(format!(
                    "{one} and {other} are {found:?}, acknowledged {:?}, next {:?}",
                    book.now, book.next
                ));
            };
            for (asking, asked, side) in [(*one, *other, found[0]), (*other, *one, found[1])] {
                if side.ask != seen[asked].1.contains(&asking) {
                    return Err(format!("{asking} asks: {}, and {asked} hears {:?}", side.ask, seen[asked].1));
                }
            }
            *book = Book { now: pair, next: None };
        }
        Ok(())
    }

    /// Takes the messages that have waited: each sender's in order and without a gap; the last of each.
    fn collect(&mut self) -> Result<Vec<u32>, String> {
        let mut client = Client::log_in(self.server.address, AWAY, PASSWORD).unwrap();
        let frames = client.ask("ping", &format!("<presence/>{PING}"));
        let mut last: Vec<u32> = self.users.iter().map(|user| user.delivered).collect();
        for body in frames.iter().filter_map(|frame| frame.split_once("<body>m|u")).map(|(_, body)| body) {
            let mut parts = body.split('|').map(|part| part.parse::<u32>().unwrap_or_default());
            let (Some(at), Some(number)) = (parts.next(), parts.next()) else { continue };
            let last = &mut last[at as usize];
            // What came before the kill, and was not forgotten in time, may come again.
            if number > *last + 1 {
                return Err(format!("message {number} of u{at} follows {last}"));
            }
            *last = number.max(*last);
        }
        client.send("</stream:stream>");
        client.rest();
        Ok(last)
    }

    /// Changes for the operator: each name's next step.
    fn plan_accounts(&mut self) -> Vec<(String, Password)> {
        let mut known = self.accounts.clone();
        let mut plan = Vec::new();
        for _ in 0..ACCOUNT_CHANGES {
            let name = format!("guest{}", self.rng.below(NAMES));
            let has_one = known.get(&name).is_some_and(Option::is_some);
            let next = if has_one && self.rng.often(300) { None } else { Some(format!("pw{}", self.rng.below(1_000))) };
            known.insert(name.clone(), next.clone());
            plan.push((name, next));
        }
        plan
    }

    /// The first `done` changes were acknowledged; the one behind them may have come to pass.
    fn look_at_accounts(&mut self, plan: &[(String, Password)], done: usize) -> Result<(), String> {
        for (name, password) in &plan[..done] {
            self.accounts.insert(name.clone(), password.clone());
        }
        self.counts.accounts += done as u64;
        let address = self.server.address;
        let logs_in = |name: &str, password: &Password| {
            password.as_ref().is_some_and(|password| Client::log_in(address, name, password).is_some())
        };
        if let Some((name, next)) = plan.get(done) {
            let before = self.accounts.get(name).cloned().flatten();
            let is_before = logs_in(name, &before);
            let is_next = !is_before && logs_in(name, next);
            let is_gone = !is_before && !is_next && (before.is_none() || next.is_none());
            if !(is_before || is_next || is_gone) {
                return Err(format!("{name} had {before:?}, was to have {next:?}, and has neither"));
            }
            let now = if is_before {
                before
            } else if is_next {
                next.clone()
            } else {
                None
            };
            self.accounts.insert(name.clone(), now);
        }
        if let Some((name, Some(password))) =
            plan[..done].last().filter(|(name, _)| plan.get(done).is_none_or(|(other, _)| other != name))
            && !logs_in(name, &Some(password.clone()))
        {
            return Err(format!("{name} was told to have {password}, and has not"));
        }
        Ok(())
    }
}

/// Asks for one change after the other until the server is gone; how many were acknowledged.
fn operate(control: std::path::PathBuf, plan: Vec<(String, Password)>) -> JoinHandle<usize> {
    std::thread::spawn(move || plan.iter().take_while(|(name, password)| change(&control, name, password)).count())
}

fn change(control: &Path, name: &str, password: &Password) -> bool {
    let address = account(name);
    let Some(password) = password else { return administer(control, UserRequest::Del { address }) };
    let credentials = credentials(password);
    let add = UserRequest::Add { address: address.clone(), credentials: credentials.clone() };
    // One that is there gets another password.
    match crate::server::answer(control, add) {
        Some(is_new) => is_new || administer(control, UserRequest::Passwd { address, credentials }),
        None => false,
    }
}

fn name(at: usize) -> String {
    format!("u{at}")
}

/// What the items of a frame say of the accounts that write.
fn sides(frame: &str) -> BTreeMap<usize, Side> {
    let side = |item: &&str| {
        let at = attr(item, "jid")?.strip_prefix('u')?.strip_suffix("@localhost")?.parse().ok()?;
        Some((at, Side::of(attr(item, "subscription")?, attr(item, "ask").is_some())))
    };
    tags(frame, "item").iter().filter_map(side).collect()
}

/// All that an account has, as its client reads it; and who asks to see it.
fn read(user: &mut User, messages: u32) -> (State, BTreeMap<usize, Side>, BTreeSet<usize>) {
    let mut ask = |id: &str, payload: &str| {
        user.client.ask(id, &format!("<iq type='get' id='{id}'>{payload}</iq>")).pop().unwrap_or_default()
    };
    let roster = ask("roster", "<query xmlns='jabber:iq:roster'/>");
    let items = tags(&roster, "item").into_iter().filter(|item| item.contains("elsewhere.example"));
    let item = |item: &str| (attr(item, "jid").unwrap().to_owned(), attr(item, "name").unwrap_or_default().to_owned());
    let mut state = State { roster: items.map(item).collect(), messages, ..State::default() };
    for which in 0..NAMES {
        let name = format!("p{which}");
        let answer = ask(&name, &format!("<query xmlns='jabber:iq:private'><{name} xmlns='kill:test'/></query>"));
        if let Some(text) = text_before(&answer, &format!("</{name}>")) {
            state.private.insert(name, text);
        }
    }
    state.vcard = text_before(&ask("vcard", "<vCard xmlns='vcard-temp'/>"), "</FN>").unwrap_or_default();
    let list = ask("blocked", "<blocklist xmlns='urn:xmpp:blocking'/>");
    state.blocked = tags(&list, "item").into_iter().filter_map(|item| attr(item, "jid")).map(str::to_owned).collect();
    let frames = user.client.ask("ping", &format!("<presence/>{PING}"));
    let requests =
        frames.iter().filter(|frame| frame.starts_with("<presence") && attr(frame, "type") == Some("subscribe"));
    let asking = |frame: &String| attr(frame, "from")?.strip_prefix('u')?.strip_suffix("@localhost")?.parse().ok();
    let requests = requests.filter_map(asking).collect();
    (state, sides(&roster), requests)
}

/// The text in front of an end tag.
fn text_before(frame: &str, end: &str) -> Option<String> {
    let (before, _) = frame.split_once(end)?;
    before.rsplit_once('>').map(|(_, text)| text.to_owned())
}
