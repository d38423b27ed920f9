//! Outboxes: order, bounds, and who gives way.

use super::*;
use crate::ids::Table;

fn two() -> (Outboxes, ConnId, ConnId) {
    let mut table: Table<ConnId, ()> = Table::new();
    let (a, b) = (table.insert(()), table.insert(()));
    let mut outboxes =
        Outboxes::new(OutboxLimits { bytes_max: 100, component_bytes_max: 120, total_bytes_max: 150, held_max: 2 });
    outboxes.open(a);
    outboxes.open(b);
    (outboxes, a, b)
}

fn put(outboxes: &mut Outboxes, conn: ConnId, text: &str) {
    outboxes.append(conn, |out| out.extend_from_slice(text.as_bytes()));
}

#[test]
fn bytes_leave_in_order_and_memory_is_given_back() {
    let (mut outboxes, a, _) = two();
    put(&mut outboxes, a, "one");
    put(&mut outboxes, a, "two");
    assert_eq!(outboxes.next_dirty(), Some(a));
    assert_eq!(outboxes.next_dirty(), None);
    assert!(!outboxes.consume(a, 4));
    assert_eq!(outboxes.pending(a), b"wo");
    assert!(outboxes.consume(a, 2));
    assert_eq!(outboxes.total_bytes(), 0);
    assert_eq!(outboxes.rows[a.slot() as usize].bytes.capacity(), 0);
}

#[test]
fn a_missed_run_leaves_nothing_behind() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, "before");
    outboxes.begin();
    put(&mut outboxes, a, "x");
    put(&mut outboxes, b, "y");
    put(&mut outboxes, a, "z");
    outboxes.take_back();
    assert_eq!(outboxes.pending(a), b"before");
    assert_eq!(outboxes.pending(b), b"");
    assert_eq!(outboxes.total_bytes(), 6);
}

#[test]
fn held_answers_wait_in_order_and_others_flow_past() {
    let (mut outboxes, a, _) = two();
    outboxes.begin();
    put(&mut outboxes, a, "1");
    put(&mut outboxes, a, "2");
    outboxes.hold(7, 1000);
    outboxes.begin();
    put(&mut outboxes, a, "chat");
    assert_eq!(outboxes.pending(a), b"chat");
    outboxes.release(6);
    assert_eq!(outboxes.pending(a), b"chat");
    outboxes.release(7);
    assert_eq!(outboxes.pending(a), b"chat12");
    assert_eq!(outboxes.total_bytes(), 6);
    assert_eq!(outboxes.next_deadline_ms(), None);
}

#[test]
fn overdue_answers_are_named_and_too_many_overflow() {
    let (mut outboxes, a, _) = two();
    for ticket in 1..=3 {
        outboxes.begin();
        put(&mut outboxes, a, "x");
        outboxes.hold(ticket, 1000);
    }
    assert_eq!(outboxes.next_deadline_ms(), Some(1000));
    assert_eq!(outboxes.overdue(999), vec![]);
    assert_eq!(outboxes.overdue(1000), vec![a]);
    assert_eq!(outboxes.next_overflown(), Some(a));
}

#[test]
fn a_slow_reader_overflows_alone_and_can_still_be_told() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, &"x".repeat(101));
    put(&mut outboxes, a, "ignored");
    put(&mut outboxes, b, "fine");
    assert_eq!(outboxes.next_overflown(), Some(a));
    assert_eq!(outboxes.next_overflown(), None);
    outboxes.append_last(a, |out| out.extend_from_slice(b"end"));
    put(&mut outboxes, a, "ignored");
    assert!(outboxes.pending(a).ends_with(b"xend"));
}

#[test]
fn the_largest_gives_way_and_ends_behind_a_stanza() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, "first");
    outboxes.consume(a, 2);
    put(&mut outboxes, a, &"x".repeat(70));
    put(&mut outboxes, a, "last");
    put(&mut outboxes, b, &"y".repeat(60));
    assert_eq!(outboxes.next_overflown(), None);
    // All together pass their bound: not who came last, but who holds most.
    put(&mut outboxes, b, &"z".repeat(20));
    assert_eq!((outboxes.next_overflown(), outboxes.next_overflown()), (Some(a), None));
    assert_eq!(outboxes.pending(a), b"rst");
    assert!(!outboxes.is_broken(a));
    assert_eq!(outboxes.pending(b).len(), 80);
    outboxes.append_last(a, |out| out.extend_from_slice(b"end"));
    assert_eq!((outboxes.pending(a), outboxes.audit()), (&b"rstend"[..], Ok(())));
}

#[test]
fn what_ends_within_a_stanza_is_broken() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, &"x".repeat(90));
    outboxes.consume(a, 5);
    put(&mut outboxes, b, &"y".repeat(66));
    assert_eq!(outboxes.next_overflown(), Some(a));
    assert!(outboxes.is_broken(a) && outboxes.pending(a).is_empty());
    assert_eq!(outboxes.audit(), Ok(()));
}

#[test]
fn memory_is_shed_from_the_largest_down() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, &"x".repeat(50));
    put(&mut outboxes, b, &"y".repeat(20));
    assert_eq!(outboxes.shed(1, 1_000), 0);
    assert!(outboxes.shed(1, 0) >= 50);
    assert_eq!((outboxes.next_overflown(), outboxes.next_overflown()), (Some(a), None));
    outboxes.set_room(outboxes.buffer_bytes());
    put(&mut outboxes, b, &"z".repeat(70));
    assert_eq!(outboxes.next_overflown(), Some(b));
    assert_eq!((outboxes.total_bytes(), outboxes.audit()), (0, Ok(())));
}

/// What gave way within a run that is taken back has still given way.
#[test]
fn a_missed_run_does_not_bring_back_what_gave_way() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, &"x".repeat(90));
    outboxes.begin();
    put(&mut outboxes, a, "x");
    put(&mut outboxes, b, &"y".repeat(80));
    outboxes.take_back();
    assert_eq!((outboxes.next_overflown(), outboxes.pending(b)), (Some(a), &b""[..]));
    assert_eq!(outboxes.audit(), Ok(()));
}

#[test]
fn who_does_not_read_is_congested_first() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, &"x".repeat(75));
    assert_eq!(outboxes.standing(a), Standing::Open);
    put(&mut outboxes, a, "x");
    assert_eq!(outboxes.standing(a), Standing::Congested);
    outboxes.consume(a, 30);
    assert!(!outboxes.has_eased(a));
    outboxes.consume(a, 20);
    assert!(outboxes.has_eased(a) && outboxes.has_eased(b));
    put(&mut outboxes, a, &"x".repeat(80));
    assert_eq!(outboxes.standing(a), Standing::Overflown);
}

#[test]
fn a_closed_row_takes_nothing() {
    let (mut outboxes, a, b) = two();
    put(&mut outboxes, a, "x");
    outboxes.close(a);
    put(&mut outboxes, a, "x");
    assert_eq!(outboxes.pending(a), b"");
    assert_eq!(outboxes.next_dirty(), None);
    assert_eq!(outboxes.total_bytes(), 0);
    put(&mut outboxes, b, "y");
    assert_eq!(outboxes.total_bytes(), 1);
}
