//! The promises of the storage layer, each on the in-memory and on the real store.
//!
//! Visibility, atomicity, held answers, commit failure, full overlay; then all of them at once, at
//! random, against a model.

mod storage_scratch;

use std::collections::{BTreeMap, VecDeque};
use stonechat::random::Random;
use stonechat::storage::{
    Completion, Engine, FETCHED_BYTES_MAX, Faults, Faulty, FetchId, KeyRange, Miss, Pressure, RETRY_MS_MAX,
    RETRY_MS_MIN, Request, Store, StoreError, StoreFull, Ticket, Woken, serve,
};
use storage_scratch::on_both;

/// A loop around a store, stepped by hand: what is asked of the engine waits until the test lets it happen.
struct Rig {
    store: Store,
    engine: Faulty<Box<dyn Engine>>,
    faults: Faults,
    requests: VecDeque<Request>,
    now_ms: u64,
    woken: Woken,
    /// Answers in order, each with what it waits for.
    held: VecDeque<(Ticket, &'static str)>,
    sent: Vec<&'static str>,
}

impl Rig {
    fn new(engine: Box<dyn Engine>) -> Self {
        Self::bounded(engine, 1 << 20)
    }

    fn bounded(engine: Box<dyn Engine>, overlay_bytes_max: usize) -> Self {
        let faults = Faults::none();
        Self {
            store: Store::new(overlay_bytes_max),
            engine: Faulty::new(engine, faults.clone()),
            faults,
            requests: VecDeque::new(),
            now_ms: 0,
            woken: Woken::default(),
            held: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    fn submit(&mut self) {
        let mut out = Vec::new();
        self.store.submit(self.now_ms, &mut out);
        self.requests.extend(out);
    }

    /// The engine does the oldest request, the loop takes in what became of it.
    fn work(&mut self) {
        let request = self.requests.pop_front().expect("something was asked of the engine");
        let completion = serve(&mut self.engine, request);
        self.complete(completion);
    }

    fn complete(&mut self, completion: Completion) {
        self.store.complete(completion, &mut self.woken);
        while let Some((ticket, answer)) = self.held.front().copied()
            && self.store.is_durable(ticket)
        {
            self.held.pop_front();
            self.sent.push(answer);
        }
    }

    /// End of tick, and everything that comes of it.
    fn settle(&mut self) {
        self.submit();
        while !self.requests.is_empty() {
            self.work();
        }
    }

    fn write(&mut self, rows: &[(&str, Option<&str>)]) -> Ticket {
        self.store.begin();
        for (key, value) in rows {
            match value {
                Some(value) => self.store.put(key.as_bytes(), value.as_bytes()).unwrap(),
                None => self.store.delete(key.as_bytes()).unwrap(),
            }
        }
        self.store.finish()
    }

    /// Runs a read to its end, through as many misses as it takes.
    fn read<T>(&mut self, read: impl Fn(&mut Store) -> Result<T, Miss>) -> (T, Ticket) {
        self.store.begin();
        loop {
            match read(&mut self.store) {
                Ok(answer) => return (answer, self.store.finish()),
                Err(miss) => {
                    let id = self.store.abandon(miss);
                    self.settle();
                    assert!(self.woken.ready.contains(&id), "the fetch was not answered");
                    self.woken.ready.clear();
                    self.store.resume(id);
                }
            }
        }
    }

    fn get(&mut self, key: &str) -> (Option<String>, Ticket) {
        let (value, ticket) = self.read(|store| store.get(key.as_bytes()));
        (value.map(text), ticket)
    }

    fn all(&mut self, limit: u32, reverse: bool) -> (Vec<String>, Ticket) {
        let range = KeyRange { reverse, ..KeyRange::under(b"k", limit) };
        let (rows, ticket) = self.read(|store| store.range(&range));
        (rows.into_iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect(), ticket)
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

// ---- reads ----

#[test]
fn a_miss_drops_the_writes_parks_the_frame_and_the_same_handler_runs_again() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k1", Some("one")), ("k2", Some("two"))]);
        rig.settle();
        let mut runs = 0;
        let mut handler = |store: &mut Store| -> Result<[Option<Vec<u8>>; 2], Miss> {
            runs += 1;
            let first = store.get(b"k1")?;
            store.put(b"k3", format!("run {runs}").as_bytes()).unwrap();
            assert_eq!(store.get(b"k3")?, Some(format!("run {runs}").into_bytes()), "a handler sees its own writes");
            Ok([first, store.get(b"k2")?])
        };
        rig.store.begin();
        let miss = handler(&mut rig.store).unwrap_err();
        let id = rig.store.abandon(miss);
        rig.settle();
        assert_eq!(std::mem::take(&mut rig.woken.ready), [id], "{name}");
        rig.store.resume(id);
        let miss = handler(&mut rig.store).unwrap_err();
        assert_eq!(rig.store.abandon(miss), id, "{name}: the frame keeps its id");
        // Its write of the second run is gone.
        rig.store.begin();
        assert!(rig.store.get(b"k3").is_err(), "{name}");
        rig.settle();
        rig.store.resume(id);
        let answer = handler(&mut rig.store).unwrap();
        assert_eq!(answer, [Some(b"one".to_vec()), Some(b"two".to_vec())], "{name}");
        let ticket = rig.store.finish();
        assert_eq!((rig.store.parked(), rig.store.fetched_bytes()), (0, 0), "{name}");
        assert!(!rig.store.is_durable(ticket), "{name}");
        rig.settle();
        assert_eq!(rig.get("k3").0.as_deref(), Some("run 3"), "{name}");
    });
}

#[test]
fn fetches_of_one_tick_travel_as_one_batch_and_other_frames_go_on() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        let park = |rig: &mut Rig, key: &[u8]| -> FetchId {
            rig.store.begin();
            let miss = rig.store.get(key).unwrap_err();
            rig.store.abandon(miss)
        };
        let ids = [park(&mut rig, b"k1"), park(&mut rig, b"k2"), park(&mut rig, b"k3")];
        rig.submit();
        assert!(matches!(rig.requests.make_contiguous(), [Request::Fetch(wants)] if wants.len() == 3), "{name}");
        // While it is out, others miss too: they go together with the next batch.
        let later = [park(&mut rig, b"k4"), park(&mut rig, b"k5")];
        rig.submit();
        assert_eq!(rig.requests.len(), 1, "{name}");
        // A connection that is gone wakes nobody.
        rig.store.release(ids[1]);
        rig.store.release(later[0]);
        rig.work();
        assert_eq!(rig.woken.ready, [ids[0], ids[2]], "{name}");
        rig.settle();
        assert_eq!(rig.woken.ready, [ids[0], ids[2], later[1]], "{name}");
        for id in [ids[0], ids[2], later[1]] {
            rig.store.release(id);
        }
        assert_eq!((rig.store.parked(), rig.store.is_idle()), (0, true), "{name}");
    });
}

#[test]
fn a_fetch_that_fails_wakes_its_frames_to_say_so() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.faults.fail_fetches(1);
        rig.store.begin();
        let miss = rig.store.get(b"k1").unwrap_err();
        let id = rig.store.abandon(miss);
        rig.settle();
        assert_eq!((&rig.woken.failed[..], rig.woken.ready.len(), rig.woken.faults.len()), (&[id][..], 0, 1), "{name}");
        assert_eq!(rig.store.parked(), 0, "{name}");
        assert_eq!(rig.get("k1").0, None, "{name}: the next one works");
    });
}

// ---- visibility ----

#[test]
fn a_write_is_seen_from_finish_on_whatever_the_disk_does() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k1", Some("one"))]);
        assert_eq!(rig.store.get(b"k1"), Ok(Some(b"one".to_vec())), "{name}: filling");
        rig.submit();
        assert_eq!(rig.store.get(b"k1"), Ok(Some(b"one".to_vec())), "{name}: in flight");
        rig.write(&[("k1", None)]);
        assert_eq!(rig.store.get(b"k1"), Ok(None), "{name}: a tombstone hides what is in flight");
        rig.work();
        assert_eq!(rig.store.get(b"k1"), Ok(None), "{name}: and what is on disk");
        assert_eq!(rig.engine.get(b"k1"), Ok(Some(b"one".to_vec())), "{name}");
        rig.settle();
        assert!(rig.store.get(b"k1").is_err(), "{name}: nothing is kept once it is on disk");
        assert_eq!(rig.get("k1").0, None, "{name}");
    });
}

#[test]
fn ranges_merge_disk_and_both_generations_with_their_tombstones_in_both_directions() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k1", Some("disk")), ("k2", Some("disk")), ("k3", Some("disk")), ("k5", Some("disk"))]);
        rig.write(&[("j", Some("below")), ("l", Some("above"))]);
        rig.settle();
        rig.write(&[("k2", Some("flight")), ("k3", None), ("k4", Some("flight"))]);
        rig.submit();
        rig.write(&[("k0", Some("filling")), ("k2", None), ("k5", Some("filling")), ("k3", Some("filling"))]);
        let expected = ["k0=filling", "k1=disk", "k3=filling", "k4=flight", "k5=filling"];
        let down: Vec<&str> = expected.iter().rev().copied().collect();
        // A fetch goes on while the commit is out.
        let commit = rig.requests.pop_front().unwrap();
        for limit in 0..7 {
            let count = expected.len().min(limit as usize);
            assert_eq!(rig.all(limit, false).0, expected[..count], "{name} {limit}");
            assert_eq!(rig.all(limit, true).0, down[..count], "{name} {limit}");
        }
        rig.requests.push_front(commit);
        rig.settle();
        rig.settle();
        assert_eq!(rig.all(100, false).0, expected, "{name}: the same from disk alone");
        assert_eq!(rig.all(100, true).0, down, "{name}");
    });
}

#[test]
fn rows_fetched_before_a_commit_do_not_come_back_to_light_after_it() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k1", Some("old")), ("k2", Some("old"))]);
        rig.settle();
        rig.store.begin();
        let miss = rig.store.range(&KeyRange::under(b"k", 10)).unwrap_err();
        let id = rig.store.abandon(miss);
        rig.submit();
        rig.write(&[("k1", None), ("k2", Some("new")), ("k3", Some("new"))]);
        rig.submit();
        // The fetch is read before the commit, and the generation leaves the overlay before the frame runs.
        rig.work();
        rig.work();
        assert!(rig.requests.is_empty() && rig.store.overlay_bytes() == 0, "{name}");
        rig.store.resume(id);
        let rows = rig.store.range(&KeyRange::under(b"k", 10)).unwrap();
        let rows: Vec<String> = rows.into_iter().map(|(key, value)| text(key) + "=" + &text(value)).collect();
        assert_eq!(rows, ["k2=new", "k3=new"], "{name}");
        assert_eq!(rig.store.finish(), Ticket::NONE, "{name}: all of it is on disk");
    });
}

#[test]
fn a_long_range_is_read_on_where_tombstones_or_bounds_stopped_it() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.store.begin();
        for number in 0..3000 {
            rig.store.put(format!("k{number:04}").as_bytes(), b"").unwrap();
        }
        rig.store.finish();
        rig.settle();
        assert_eq!(rig.all(3000, false).0.len(), 3000, "{name}");
        rig.store.begin();
        for number in 0..40 {
            rig.store.delete(format!("k{number:04}").as_bytes()).unwrap();
            rig.store.delete(format!("k{:04}", 2999 - number).as_bytes()).unwrap();
        }
        rig.store.finish();
        assert_eq!(rig.all(3, false).0, ["k0040=", "k0041=", "k0042="], "{name}");
        assert_eq!(rig.all(3, true).0, ["k2959=", "k2958=", "k2957="], "{name}");
    });
}

#[test]
fn rows_for_parked_frames_have_a_bound_and_every_frame_gets_its_own_in_the_end() {
    const ROW_BYTES: usize = 300_000;
    const FRAMES: usize = 12;
    on_both(|name, engine| {
        let mut rig = Rig::bounded(engine, 64 << 20);
        rig.store.begin();
        for number in 0..3 * FRAMES {
            rig.store.put(format!("k{:02}{}", number / 3, number % 3).as_bytes(), &[b'v'; ROW_BYTES]).unwrap();
        }
        rig.store.finish();
        rig.settle();
        // Every frame reads three rows: a whole batch, were there only one frame. They never finish.
        let read =
            |store: &mut Store, frame: usize| store.range(&KeyRange::under(format!("k{frame:02}").as_bytes(), 9));
        let mut parked: BTreeMap<FetchId, usize> = BTreeMap::new();
        for frame in 0..FRAMES {
            rig.store.begin();
            let miss = read(&mut rig.store, frame).unwrap_err();
            parked.insert(rig.store.abandon(miss), frame);
        }
        let (mut ticks, mut highest) = (0, 0);
        while !parked.is_empty() {
            ticks += 1;
            assert!(ticks < 10 * FRAMES, "{name}: {} frames never wake", parked.len());
            rig.settle();
            highest = highest.max(rig.store.fetched_bytes());
            // The loop is slow: it runs one frame a tick.
            let Some(id) = (!rig.woken.ready.is_empty()).then(|| rig.woken.ready.remove(0)) else { continue };
            rig.store.resume(id);
            match read(&mut rig.store, parked[&id]) {
                Ok(rows) => {
                    assert_eq!(rows.len(), 3, "{name}");
                    rig.store.finish();
                    parked.remove(&id);
                }
                Err(miss) => assert_eq!(rig.store.abandon(miss), id, "{name}"),
            }
        }
        assert!(highest > FETCHED_BYTES_MAX, "{name}: the bound was not put to the test");
        assert!(highest < 2 * FETCHED_BYTES_MAX, "{name}: {highest} bytes held");
        assert_eq!((rig.store.fetched_bytes(), rig.store.parked()), (0, 0), "{name}");
    });
}

// ---- atomicity ----

#[test]
fn a_tick_is_never_split_and_ticks_may_be_joined() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k1", Some("a"))]);
        rig.write(&[("k2", Some("a"))]);
        rig.submit();
        assert_eq!(rig.requests.len(), 1, "{name}: two handlers, one tick, one unit");
        // Two more ticks while the first is out: the group commit takes them together.
        rig.write(&[("k1", Some("b"))]);
        rig.submit();
        rig.write(&[("k2", Some("b"))]);
        rig.submit();
        assert_eq!(rig.requests.len(), 1, "{name}: one generation in flight");
        let on_disk = |rig: &mut Rig| (rig.engine.get(b"k1").unwrap(), rig.engine.get(b"k2").unwrap());
        assert_eq!(on_disk(&mut rig), (None, None), "{name}");
        rig.work();
        assert_eq!(on_disk(&mut rig), (Some(b"a".to_vec()), Some(b"a".to_vec())), "{name}");
        rig.submit();
        assert_eq!(rig.requests.len(), 1, "{name}");
        rig.work();
        assert_eq!(on_disk(&mut rig), (Some(b"b".to_vec()), Some(b"b".to_vec())), "{name}");
        assert_eq!(rig.store.counters().commits, 2, "{name}");
    });
}

#[test]
fn a_handler_that_gives_up_writes_nothing() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.store.begin();
        rig.store.put(b"k1", b"half").unwrap();
        assert_eq!(rig.store.discard(), Ticket::NONE, "{name}");
        rig.submit();
        assert!(rig.requests.is_empty(), "{name}");
        assert_eq!(rig.get("k1").0, None, "{name}");
    });
}

// ---- held answers ----

#[test]
fn an_answer_waits_for_the_highest_ticket_written_or_read_from_the_overlay() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k0", Some("disk"))]);
        rig.settle();
        let flight = rig.write(&[("k1", Some("flight"))]);
        rig.submit();
        let commit = rig.requests.pop_front().unwrap();
        let filling = rig.write(&[("k2", Some("filling"))]);
        assert!(Ticket::NONE < flight && flight < filling, "{name}");
        // Each read by the handler of another connection.
        assert_eq!(rig.get("k0"), (Some("disk".to_owned()), Ticket::NONE), "{name}: from disk");
        assert_eq!(rig.get("k9"), (None, Ticket::NONE), "{name}: nowhere");
        assert_eq!(rig.get("k1"), (Some("flight".to_owned()), flight), "{name}");
        assert_eq!(rig.get("k2"), (Some("filling".to_owned()), filling), "{name}");
        assert_eq!(rig.all(2, false).1, flight, "{name}: a range that ends before the newest row");
        assert_eq!(rig.all(9, false).1, filling, "{name}");
        assert_eq!(rig.all(1, true).1, filling, "{name}");
        // A tombstone is an answer too.
        let deleted = rig.write(&[("k0", None)]);
        assert_eq!(rig.get("k0"), (None, deleted), "{name}");
        assert_eq!(rig.all(1, false).1, deleted.max(flight), "{name}");
        // Reading and then writing; reading and then giving up.
        rig.store.begin();
        rig.store.get(b"k1").unwrap();
        rig.store.put(b"k3", b"").unwrap();
        assert_eq!(rig.store.finish(), filling, "{name}");
        rig.store.begin();
        rig.store.get(b"k1").unwrap();
        rig.store.put(b"k3", b"").unwrap();
        assert_eq!(rig.store.discard(), flight, "{name}");
        rig.requests.push_back(commit);
        rig.settle();
        assert_eq!(rig.woken.durable, flight, "{name}");
    });
}

#[test]
fn held_answers_leave_in_order_when_their_ticket_is_durable_and_others_flow_past() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        let first = rig.write(&[("k1", Some("a"))]);
        rig.held.push_back((first, "first"));
        rig.submit();
        let second = rig.write(&[("k2", Some("a"))]);
        rig.held.push_back((second, "second"));
        // Its handler read what the second wrote.
        let (_, reader) = rig.get_in_overlay("k2");
        rig.held.push_back((reader, "reader"));
        assert!(rig.store.is_durable(Ticket::NONE), "{name}: what depends on nothing never waits");
        assert!(rig.sent.is_empty(), "{name}");
        rig.work();
        assert_eq!(rig.sent, ["first"], "{name}");
        rig.submit();
        assert_eq!(rig.sent, ["first"], "{name}: submitted is not durable");
        rig.work();
        assert_eq!(rig.sent, ["first", "second", "reader"], "{name}");
    });
}

impl Rig {
    fn get_in_overlay(&mut self, key: &str) -> (Option<Vec<u8>>, Ticket) {
        self.store.begin();
        let value = self.store.get(key.as_bytes()).unwrap();
        (value, self.store.finish())
    }
}

// ---- commit failure ----

#[test]
fn a_failed_commit_keeps_its_generation_and_is_tried_again_with_back_off() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.faults.fill_disk(4);
        let ticket = rig.write(&[("k1", Some("one")), ("k2", Some("two"))]);
        rig.held.push_back((ticket, "answer"));
        rig.settle();
        let mut waited = Vec::new();
        for tries in 1..=4 {
            assert_eq!(rig.woken.faults.len(), tries, "{name}");
            assert!(rig.sent.is_empty() && !rig.store.is_durable(ticket), "{name}: nothing held is sent");
            assert_eq!(rig.get_in_overlay("k1").1, ticket, "{name}: nothing is rolled back in memory");
            // What is written meanwhile waits behind it.
            rig.write(&[(&format!("k3{tries}"), Some("later"))]);
            rig.submit();
            assert!(rig.requests.is_empty(), "{name}: too early");
            let retry_at_ms = rig.store.retry_at_ms().unwrap();
            waited.push(retry_at_ms - rig.now_ms);
            rig.now_ms = retry_at_ms - 1;
            rig.submit();
            assert!(rig.requests.is_empty(), "{name}: too early");
            rig.now_ms = retry_at_ms;
            rig.submit();
            rig.work();
        }
        assert_eq!(waited, [RETRY_MS_MIN, 2 * RETRY_MS_MIN, 4 * RETRY_MS_MIN, 8 * RETRY_MS_MIN], "{name}");
        assert_eq!(rig.sent, ["answer"], "{name}");
        assert_eq!(rig.store.retry_at_ms(), None, "{name}");
        rig.settle();
        assert_eq!(rig.all(10, false).0, ["k1=one", "k2=two", "k31=later", "k32=later", "k33=later", "k34=later"]);
        assert!(rig.store.is_idle(), "{name}");
    });
}

#[test]
fn the_back_off_has_an_end() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.faults.fill_disk(100);
        rig.write(&[("k1", Some("one"))]);
        rig.settle();
        let mut longest = 0;
        for _ in 0..50 {
            rig.submit();
            let retry_at_ms = rig.store.retry_at_ms().unwrap();
            longest = longest.max(retry_at_ms - rig.now_ms);
            rig.now_ms = retry_at_ms;
            rig.settle();
        }
        assert_eq!(longest, RETRY_MS_MAX, "{name}");
        assert_eq!(rig.store.counters().commits_failed, 51, "{name}");
    });
}

#[test]
fn a_commit_whose_answer_is_lost_is_written_once_more_and_means_the_same() {
    on_both(|name, engine| {
        let mut rig = Rig::new(engine);
        rig.write(&[("k1", Some("one")), ("k2", Some("two"))]);
        rig.settle();
        rig.faults.lose_answers(1);
        let ticket = rig.write(&[("k1", None), ("k2", Some("new"))]);
        rig.settle();
        assert!(!rig.store.is_durable(ticket), "{name}: its fate is unknown");
        assert_eq!(rig.engine.get(b"k1"), Ok(None), "{name}: though it is on disk");
        assert_eq!(rig.get_in_overlay("k2"), (Some(b"new".to_vec()), ticket), "{name}");
        rig.submit();
        rig.now_ms = rig.store.retry_at_ms().unwrap();
        rig.settle();
        assert!(rig.store.is_durable(ticket), "{name}");
        assert_eq!(rig.all(9, false).0, ["k2=new"], "{name}");
    });
}

// ---- full overlay ----

#[test]
fn a_full_overlay_refuses_writes_and_goes_on_reading() {
    on_both(|name, engine| {
        let mut rig = Rig::bounded(engine, 10_000);
        rig.faults.fill_disk(1);
        let mut levels = Vec::new();
        let mut written = 0;
        loop {
            if levels.last() != Some(&rig.store.pressure()) {
                levels.push(rig.store.pressure());
                let bytes = rig.store.overlay_bytes();
                assert_eq!(rig.store.pressure() == Pressure::High, (5_001..10_000).contains(&bytes), "{name}: {bytes}");
            }
            rig.store.begin();
            if rig.store.put(format!("k{written:03}").as_bytes(), &[b'v'; 100]) == Err(StoreFull) {
                rig.store.discard();
                break;
            }
            rig.store.finish();
            written += 1;
            rig.settle();
        }
        assert_eq!(levels, [Pressure::Calm, Pressure::High], "{name}");
        // To the last byte: now it is full, and deletes are refused too.
        rig.store.begin();
        let rest = 10_000 - rig.store.overlay_bytes() - 64 - 1;
        rig.store.put(b"k", &vec![b'v'; rest]).unwrap();
        rig.store.finish();
        assert_eq!((rig.store.pressure(), rig.store.overlay_bytes()), (Pressure::Full, 10_000), "{name}");
        rig.store.begin();
        assert_eq!(rig.store.delete(b"k"), Err(StoreFull), "{name}");
        assert_eq!(rig.store.get(b"k000").unwrap().unwrap(), [b'v'; 100], "{name}: reads go on");
        rig.store.discard();
        assert_eq!(rig.store.counters().writes_refused, 2, "{name}");
        // The disk has room again.
        rig.submit();
        rig.now_ms = rig.store.retry_at_ms().unwrap();
        rig.settle();
        rig.settle();
        assert_eq!((rig.store.pressure(), rig.store.overlay_bytes()), (Pressure::Calm, 0), "{name}");
        assert_eq!(rig.all(1000, false).0.len(), written + 1, "{name}: nothing refused, nothing lost");
    });
}

// ---- all of it ----

/// The lowest of sixteen keys: frames shall meet.
const KEY: u8 = b'a';

/// One connection's frame: reads a few keys and a range, then writes from what it read.
#[derive(Clone, Debug)]
struct Frame {
    gets: Vec<u8>,
    range: KeyRange,
    puts: Vec<(u8, Option<u8>)>,
}

impl Frame {
    fn draw(random: &mut Random, number: u64) -> Self {
        let mut below = |bound: u64| random.next_u64() % bound;
        let (a, b) = (KEY + below(16) as u8, KEY + below(17) as u8);
        Self {
            gets: (0..below(3)).map(|_| KEY + below(16) as u8).collect(),
            range: KeyRange {
                from: vec![a.min(b)],
                to: vec![a.max(b)],
                limit: below(6) as u32,
                reverse: below(2) == 0,
            },
            puts: (0..below(4)).map(|_| (KEY + below(16) as u8, (below(3) > 0).then_some(number as u8))).collect(),
        }
    }

    #[allow(clippy::type_complexity)] // What it read, for comparison.
    fn run(&self, store: &mut Store) -> Result<(Vec<Option<Vec<u8>>>, Vec<(Vec<u8>, Vec<u8>)>), Miss> {
        let gets = self.gets.iter().map(|key| store.get(&[*key])).collect::<Result<_, _>>()?;
        let rows = store.range(&self.range)?;
        for (key, value) in &self.puts {
            match value {
                Some(value) => store.put(&[*key], &[*value]).unwrap(),
                None => store.delete(&[*key]).unwrap(),
            }
        }
        Ok((gets, rows))
    }
}

/// What the rows must be, and which ticket last wrote each key.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u8, u8>,
    tickets: BTreeMap<u8, Ticket>,
}

impl Model {
    fn check(&self, frame: &Frame, gets: &[Option<Vec<u8>>], rows: &[(Vec<u8>, Vec<u8>)], what: &str) {
        let expected: Vec<_> = frame.gets.iter().map(|key| self.rows.get(key).map(|value| vec![*value])).collect();
        assert_eq!(gets, expected, "{what}: {frame:?}");
        let within = self.rows.range(frame.range.from[0]..frame.range.to[0].max(frame.range.from[0]));
        let mut expected: Vec<_> = within.map(|(key, value)| (vec![*key], vec![*value])).collect();
        if frame.range.reverse {
            expected.reverse();
        }
        expected.truncate(frame.range.limit as usize);
        assert_eq!(rows, expected, "{what}: {frame:?}");
    }

    /// The ticket that an answer must at least wait for.
    fn depends_on(&self, frame: &Frame, rows: &[(Vec<u8>, Vec<u8>)]) -> Ticket {
        let gets = frame.gets.iter().copied().chain(rows.iter().map(|(key, _)| key[0]));
        // A range that was read to its end also says which keys are not there.
        let is_whole = rows.len() < frame.range.limit as usize;
        let scanned = (frame.range.from[0]..frame.range.to[0]).filter(|_| is_whole);
        gets.chain(scanned).filter_map(|key| self.tickets.get(&key)).max().copied().unwrap_or_default()
    }

    fn apply(&mut self, frame: &Frame, ticket: Ticket) {
        for (key, value) in &frame.puts {
            match value {
                Some(value) => self.rows.insert(*key, *value),
                None => self.rows.remove(key),
            };
            self.tickets.insert(*key, ticket);
        }
    }
}

/// Frames of many connections run, miss, and run again, while the engine works or fails when it likes.
fn simulate(name: &str, engine: Box<dyn Engine>, seed: u64, steps: u64) {
    let mut random = Random::seeded(seed);
    let mut rig = Rig::new(engine);
    let mut model = Model::default();
    let mut parked: BTreeMap<FetchId, Frame> = BTreeMap::new();
    let mut durable_rows = BTreeMap::new();
    for step in 0..steps {
        let what = format!("{name}, seed {seed}, step {step}");
        match random.next_u64() % 12 {
            0..4 => {
                let frame = Frame::draw(&mut random, step);
                rig.store.begin();
                run(&mut rig, &mut model, &mut parked, frame, &what);
            }
            4..8 => rig.submit(),
            8..10 if !rig.requests.is_empty() => rig.work(),
            10 => rig.now_ms += random.next_u64() % 1000,
            11 => match random.next_u64() % 8 {
                0 => rig.faults.fill_disk(2),
                1 => rig.faults.lose_answers(1),
                2 => rig.faults.fail_fetches(1),
                _ => {}
            },
            _ => {}
        }
        for id in std::mem::take(&mut rig.woken.failed) {
            parked.remove(&id).expect("only parked frames fail");
        }
        for id in std::mem::take(&mut rig.woken.ready) {
            let frame = parked.remove(&id).expect("only parked frames wake");
            rig.store.resume(id);
            run(&mut rig, &mut model, &mut parked, frame, &what);
        }
        durable_rows.clone_from(&model.rows);
    }
    // Everything settles, and the database alone says the same as the model.
    for _ in 0..20 {
        rig.now_ms += RETRY_MS_MAX;
        rig.settle();
        for id in std::mem::take(&mut rig.woken.ready) {
            parked.remove(&id);
            rig.store.release(id);
        }
    }
    assert!(rig.store.is_idle(), "{name}, seed {seed}");
    assert_eq!((rig.store.overlay_bytes(), rig.store.fetched_bytes()), (0, 0), "{name}, seed {seed}");
    let rows = rig.engine.range(&KeyRange::new(vec![KEY], vec![KEY + 17], 100)).unwrap().rows;
    let rows: BTreeMap<u8, u8> = rows.into_iter().map(|(k, v)| (k[0], v[0])).collect();
    assert_eq!(rows, durable_rows, "{name}, seed {seed}");
}

fn run(rig: &mut Rig, model: &mut Model, parked: &mut BTreeMap<FetchId, Frame>, frame: Frame, what: &str) {
    match frame.run(&mut rig.store) {
        Ok((gets, rows)) => {
            model.check(&frame, &gets, &rows, what);
            let depends_on = model.depends_on(&frame, &rows);
            let ticket = rig.store.finish();
            assert!(ticket >= depends_on || rig.store.is_durable(depends_on), "{what}: {frame:?}");
            model.apply(&frame, ticket);
        }
        Err(miss) => {
            let id = rig.store.abandon(miss);
            assert!(parked.insert(id, frame).is_none(), "{what}");
        }
    }
}

#[test]
fn at_random_every_read_is_what_a_model_says() {
    for seed in 0..40 {
        simulate("memory", Box::new(stonechat::storage::Memory::new()), seed, 2_000);
    }
    for seed in 0..4 {
        let folder = storage_scratch::Folder::new();
        simulate("disk", Box::new(folder.disk()), seed, 1_000);
    }
}

// ---- the thread ----

#[test]
fn the_thread_serves_wakes_and_stops_only_when_all_is_on_disk() {
    on_both(|name, engine| {
        let faults = Faults::none();
        let (wake, woke) = std::sync::mpsc::channel();
        let engine = Box::new(Faulty::new(engine, faults.clone()));
        let wake = std::sync::Arc::new(move || wake.send(()).expect("the test listens"));
        let thread = stonechat::storage::Thread::spawn(engine, wake).unwrap();
        let (mut store, mut woken) = (Store::default(), Woken::default());
        store.begin();
        store.put(b"k1", b"one").unwrap();
        let first = store.finish();
        let mut out = Vec::new();
        store.submit(0, &mut out);
        for request in out.drain(..) {
            thread.send(request).unwrap();
        }
        woke.recv().unwrap();
        store.complete(thread.try_recv().expect("woken for something"), &mut woken);
        assert_eq!(woken.durable, first, "{name}");
        store.begin();
        store.put(b"k2", b"two").unwrap();
        let second = store.finish();
        // The disk is full for a moment, right at the end.
        faults.fill_disk(1);
        thread.stop(&mut store, &mut woken).unwrap();
        assert!(store.is_durable(second) && store.is_idle(), "{name}");
        assert_eq!(woken.faults.len(), 1, "{name}");
    });
}

#[test]
fn a_thread_that_cannot_write_says_so_at_the_end() {
    on_both(|name, engine| {
        let faults = Faults::none();
        faults.fill_disk(1000);
        let engine = Box::new(Faulty::new(engine, faults));
        let thread = stonechat::storage::Thread::spawn(engine, std::sync::Arc::new(|| {})).unwrap();
        let (mut store, mut woken) = (Store::default(), Woken::default());
        store.begin();
        store.put(b"k1", b"one").unwrap();
        let ticket = store.finish();
        let error = thread.stop(&mut store, &mut woken).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{name}: {error:?}");
        assert!(!store.is_durable(ticket), "{name}");
    });
}

#[test]
fn offline_runs_to_its_end_and_leaves_it_on_disk() {
    on_both(|name, mut engine| {
        let mut runs = 0;
        let count = |store: &mut Store| -> Result<u32, Miss> {
            runs += 1;
            let row = store.get(b"k1")?;
            let next = row.map_or(0, |row| u32::from(row[0])) + 1;
            store.get(b"k2")?;
            store.put(b"k1", &[next as u8]).unwrap();
            Ok(next)
        };
        assert_eq!(stonechat::storage::offline::run(&mut *engine, count), Ok(1), "{name}");
        assert_eq!(runs, 3, "{name}: two misses, then through");
        assert_eq!(engine.get(b"k1"), Ok(Some(vec![1])), "{name}");
        let faults = Faults::none();
        faults.fill_disk(1);
        let mut engine = Faulty::new(engine, faults);
        let write = |store: &mut Store| -> Result<(), Miss> {
            store.put(b"k1", b"2").unwrap();
            Ok(())
        };
        assert!(stonechat::storage::offline::run(&mut engine, write).is_err(), "{name}");
        assert_eq!(engine.get(b"k1"), Ok(Some(vec![1])), "{name}");
    });
}
