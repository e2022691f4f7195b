//! One behaviour each.

use super::*;
use crate::broker::command::{DeathReason, ReadError, SeekTo, Sought, SubscribeError};
use crate::broker::queue::consumers::HANDED_COUNT_MAX;
use crate::broker::queue::{BadState, DEAD_LETTER_AGENT, state};

fn letters(world: &mut World) -> Vec<(DeathReason, Vec<Offset>)> {
    let letters = std::mem::take(&mut world.out.dead_letters).into_iter();
    letters.map(|(reason, all)| (reason, all.iter().map(|letter| letter.offset).collect())).collect()
}

#[test]
fn consumers_take_turns_within_their_limits() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(2));
    world.subscribe(2, 1, shared(0));
    world.append_many(6);
    let given = deliveries(&world.settle_down());
    let of_first: Vec<Offset> =
        given.iter().filter(|(slot, ..)| *slot == 1).map(|(.., d)| d.offset).collect();
    assert_eq!((of_first, given.len()), (vec![0, 2], 6));
    world.append_many(1);
    assert_eq!(deliveries(&world.settle_down())[0].0, 2);
    assert_eq!(world.queue.counts().unsettled, 7);
}

#[test]
fn higher_priority_is_served_first() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(0));
    world.subscribe(2, 1, Consumer { priority: 5, ..shared(3) });
    world.append_many(4);
    let given = deliveries(&world.settle_down());
    assert_eq!(given.iter().filter(|(slot, ..)| *slot == 2).count(), 3);
    assert_eq!(given.iter().find(|(slot, ..)| *slot == 1).map(|(.., d)| d.offset), Some(3));
}

#[test]
fn only_one_is_active_and_the_next_follows() {
    let mut world = World::new(QueueSettings { single_active_consumer: true, ..QueueSettings::default() });
    world.subscribe(1, 1, shared(1));
    world.subscribe(2, 1, shared(0));
    world.append_many(3);
    assert_eq!(offsets(&world.settle_down()), [0]);
    world.ask(1, 9, Command::Cancel { log: LOG, consumer: 1 });
    let answers = world.settle_down();
    assert!(matches!(answers[0].event, Event::Cancelled));
    assert_eq!(offsets(&answers), [1, 2]);
    world.settle(1, 0, Outcome::Requeue);
    let given = deliveries(&world.settle_down());
    assert_eq!((given[0].0, given[0].2.offset, given[0].2.redelivered), (2, 0, true));
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(0));
    world.subscribe(2, 2, Consumer { exclusive: true, ..shared(0) });
    let answers = world.settle_down();
    let refused = Event::Subscribed(Err(SubscribeError::ExclusiveConsumer));
    assert_eq!(format!("{:?}", answers[1].event), format!("{refused:?}"));
}

#[test]
fn returned_records_keep_their_order() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(3));
    world.append_many(6);
    assert_eq!(offsets(&world.settle_down()), [0, 1, 2]);
    for offset in [2, 0, 1] {
        world.settle(1, offset, Outcome::Requeue);
    }
    assert_eq!(offsets(&world.settle_down()), [0, 1, 2]);
    world.settle(2, 0, Outcome::Accept);
    world.settle(1, 1, Outcome::Accept);
    world.settle(1, 1, Outcome::Accept);
    assert_eq!(offsets(&world.settle_down()), [3]);
    assert_eq!(world.queue.floor(), 0);
}

#[test]
fn handed_over_but_not_sent_is_bounded() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, Consumer { settles: false, ..shared(0) });
    world.append_many(HANDED_COUNT_MAX + 10);
    assert_eq!(offsets(&world.settle_down()).len(), HANDED_COUNT_MAX);
    assert_eq!(world.queue.floor(), HANDED_COUNT_MAX as u64);
    world.ask(1, 0, Command::Sent { log: LOG, consumer: 1, count: 4 });
    assert_eq!(offsets(&world.settle_down()).len(), 4);
}

#[test]
fn gets_are_answered_with_what_is_left() {
    let mut world = World::new(QueueSettings::default());
    world.ask(1, 1, Command::Get { log: LOG, settle: false });
    world.append_many(2);
    world.ask(1, 2, Command::Get { log: LOG, settle: false });
    world.ask(1, 3, Command::Get { log: LOG, settle: true });
    world.ask(1, 4, Command::Get { log: LOG, settle: true });
    assert_eq!(got(&world.settle_down()), [None, Some((0, 1)), Some((1, 0)), None]);
    assert_eq!(world.queue.counts().unsettled, 1);
    world.queue.session_gone(session(1), &mut world.out);
    assert_eq!(world.queue.counts().ready, 1);
}

#[test]
fn a_consumer_with_room_comes_before_a_get() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(1));
    world.settle_down();
    world.append_many(2);
    world.ask(2, 7, Command::Get { log: LOG, settle: true });
    let answers = world.settle_down();
    assert_eq!((offsets(&answers), got(&answers)), (vec![0], vec![Some((1, 0))]));
    world.settle(1, 0, Outcome::Accept);
    world.append_many(1);
    world.ask(2, 7, Command::Get { log: LOG, settle: true });
    let answers = world.settle_down();
    assert_eq!((offsets(&answers), got(&answers)), (vec![2], vec![None]));
}

#[test]
fn a_get_is_not_given_what_had_no_time_to_wait() {
    let mut world = World::new(QueueSettings { message_ttl_ms: Some(0), ..QueueSettings::default() });
    world.append_many(1);
    world.ask(2, 7, Command::Get { log: LOG, settle: true });
    assert_eq!(got(&world.settle_down()), [None]);
}

#[test]
fn a_get_is_not_given_what_must_make_room() {
    for dead_letters in [false, true] {
        let settings = QueueSettings { length_max: Some(1), dead_letters, ..QueueSettings::default() };
        let mut world = World::new(settings);
        world.append_many(3);
        world.ask(2, 7, Command::Get { log: LOG, settle: false });
        assert_eq!(got(&world.settle_down()), [Some((2, 0))]);
        world.append_many(1);
        world.settle(2, 2, Outcome::Requeue);
        world.ask(2, 7, Command::Get { log: LOG, settle: false });
        assert_eq!(got(&world.settle_down()), [Some((3, 0))]);
    }
}

#[test]
fn a_declaration_is_a_use() {
    let mut world = World::new(QueueSettings { expires_ms: Some(100), ..QueueSettings::default() });
    world.settle_down();
    world.wait(99);
    world.ask(1, 1, Command::QueueStatus { log: LOG });
    world.settle_down();
    world.wait(99);
    assert!(!world.out.delete_me);
    world.wait(1);
    assert!(world.out.delete_me);
}

#[test]
fn a_purge_leaves_what_is_held() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(1));
    world.append_many(4);
    world.settle_down();
    world.ask(2, 5, Command::Purge { log: LOG });
    assert!(matches!(world.settle_down()[0].event, Event::Purged(Ok(3))));
    assert_eq!((world.queue.counts().ready, world.queue.counts().unsettled), (0, 1));
    world.settle(1, 0, Outcome::Accept);
    world.settle_down();
    assert_eq!(world.log_start, 4);
}

#[test]
fn discards_are_read_again_and_wait_for_the_agent() {
    let mut world = World::new(QueueSettings { dead_letters: true, ..QueueSettings::default() });
    world.subscribe(1, 1, shared(0));
    world.append_many(3);
    world.settle_down();
    world.settle(1, 1, Outcome::Discard);
    world.settle(1, 0, Outcome::Accept);
    world.settle_down();
    assert_eq!(letters(&mut world), [(DeathReason::Rejected, vec![1])]);
    assert_eq!((world.queue.floor(), world.queue.counts().unsettled), (1, 1));
    let settle = Command::Settle { log: LOG, offsets: vec![1..2, 0..1], outcome: Outcome::Accept };
    world.queue.handle(DEAD_LETTER_AGENT, 0, settle, world.now, &mut world.out);
    world.settle_down();
    assert_eq!(world.log_start, 2);
}

#[test]
fn too_many_returns_are_a_discard_even_after_a_restart() {
    let settings = QueueSettings { dead_letters: true, delivery_limit: Some(1), ..QueueSettings::default() };
    let mut world = World::new(settings);
    world.subscribe(1, 1, shared(0));
    world.append_many(1);
    world.settle_down();
    world.settle(1, 0, Outcome::Requeue);
    world.flush();
    world.restart();
    world.subscribe(1, 1, shared(0));
    assert!(deliveries(&world.settle_down())[0].2.redelivered);
    world.settle(1, 0, Outcome::Requeue);
    assert!(offsets(&world.settle_down()).is_empty());
    assert_eq!(letters(&mut world), [(DeathReason::DeliveryLimit, vec![0])]);
}

#[test]
fn records_expire_at_the_head_when_nobody_takes_them() {
    let mut world = World::new(QueueSettings {
        dead_letters: true,
        message_ttl_ms: Some(100),
        ..QueueSettings::default()
    });
    let soon = world.now.wall_ms + 40;
    world.append(&["a"], Some(soon));
    world.append(&["b"], Some(soon + 1000));
    world.settle_down();
    assert_eq!(world.out.deadline_us.take(), Some(world.now.monotonic_us + 40_000));
    world.wait(40);
    world.settle_down();
    assert_eq!(letters(&mut world), [(DeathReason::Expired, vec![0])]);
    assert_eq!(world.out.deadline_us.take(), Some(world.now.monotonic_us + 60_000));
    world.wait(60);
    world.subscribe(1, 1, shared(0));
    assert!(offsets(&world.settle_down()).is_empty());
    assert_eq!(letters(&mut world), [(DeathReason::Expired, vec![1])]);
}

#[test]
fn without_time_to_wait_it_goes_to_who_waits_or_nowhere() {
    let mut world = World::new(QueueSettings { message_ttl_ms: Some(0), ..QueueSettings::default() });
    world.append_many(1);
    world.settle_down();
    assert_eq!(world.queue.floor(), 1);
    world.subscribe(1, 1, shared(1));
    world.append_many(2);
    assert_eq!(offsets(&world.settle_down()), [1]);
    assert_eq!(world.queue.counts().ready, 0);
}

#[test]
fn the_oldest_make_room() {
    let mut world = World::new(QueueSettings { length_max: Some(2), ..QueueSettings::default() });
    world.append_many(5);
    world.settle_down();
    assert_eq!((world.queue.floor(), world.queue.counts().ready), (3, 2));
    let settings =
        QueueSettings { length_bytes_max: Some(5), dead_letters: true, ..QueueSettings::default() };
    let mut world = World::new(settings);
    world.append(&["aaaa", "bb", "ccc"], None);
    world.settle_down();
    assert_eq!(letters(&mut world), [(DeathReason::MaxLength, vec![0])]);
    assert_eq!((world.queue.ready_bytes(), world.queue.counts().ready), (5, 2));
}

#[test]
fn a_full_queue_that_refuses_drops_nothing() {
    let settings = QueueSettings { length_max: Some(2), reject_when_full: true, ..QueueSettings::default() };
    let mut world = World::new(settings);
    world.append_many(1);
    world.settle_down();
    assert!(!world.queue.is_full());
    world.append_many(2);
    world.settle_down();
    assert!(world.queue.is_full());
    assert_eq!(world.queue.counts().ready, 3);
}

#[test]
fn streams_are_read_from_anywhere_and_remember_nothing() {
    let mut world = World::new(QueueSettings { stream: true, ..QueueSettings::default() });
    world.append(&["a", "b"], None);
    world.append(&["c", "d"], None);
    let at = |start| Consumer { start, ..shared(2) };
    world.subscribe(1, 1, at(Start::First));
    world.subscribe(2, 1, at(Start::Last));
    world.subscribe(3, 1, at(Start::Next));
    world.subscribe(4, 1, at(Start::Offset(1)));
    world.subscribe(5, 1, at(Start::Time(77)));
    let mut given: Vec<_> = deliveries(&world.settle_down()).iter().map(|(s, _, d)| (*s, d.offset)).collect();
    given.sort_unstable();
    assert_eq!(given, [(1, 0), (1, 1), (2, 2), (2, 3), (4, 1), (4, 2)]);
    let (key, to) = world.out.seek.pop().unwrap();
    assert_eq!(to, SeekTo::Time(77));
    let sought = Sought { offset: Some(3), timestamp_ms: Some(80), leader_epoch: 0 };
    world.queue.on_sought(key, Ok(sought));
    world.settle(1, 0, Outcome::Requeue);
    world.append(&["e"], None);
    let mut given: Vec<_> = deliveries(&world.settle_down()).iter().map(|(s, _, d)| (*s, d.offset)).collect();
    given.sort_unstable();
    assert_eq!(given, [(1, 2), (3, 4), (5, 3), (5, 4)]);
    assert!(world.settlements.is_empty() && world.log_start == 0);
    assert_eq!(world.queue.counts().ready, 5);
}

#[test]
fn what_the_log_lost_is_settled_and_reading_goes_on() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 1, shared(1));
    world.append_many(4);
    world.settle_down();
    world.settle(1, 0, Outcome::Accept);
    world.settle_down();
    world.settle(1, 1, Outcome::Requeue);
    world.flush();
    world.read.take().unwrap();
    let error = ReadError::OutOfRange { log_start: 3, high_watermark: 4 };
    world.queue.on_read(Err(error), world.now, &mut world.out);
    world.log_start = 3;
    world.queue.flush(world.now, &mut world.out);
    assert_eq!(world.out.trim_before.take(), Some(3));
    world.out.settlements.clear();
    world.read = world.out.read.take().map(|(from, _)| from);
    assert_eq!(offsets(&world.settle_down()), [3]);
}

#[test]
fn a_failed_read_fails_gets_and_is_tried_again_later() {
    let mut world = World::new(QueueSettings::default());
    world.append_many(1);
    world.ask(1, 1, Command::Get { log: LOG, settle: true });
    world.flush();
    world.read.take().unwrap();
    world.queue.on_read(Err(ReadError::Storage), world.now, &mut world.out);
    world.flush();
    assert!(matches!(world.out.answers[0].event, Event::Got(Err(SubscribeError::Storage))));
    assert_eq!(world.read, None);
    let wait_us = world.out.deadline_us.take().unwrap() - world.now.monotonic_us;
    world.wait(wait_us / 1000);
    world.flush();
    assert_eq!(world.read, Some(0));
}

#[test]
fn unused_and_deserted_queues_ask_to_be_deleted() {
    let settings = QueueSettings { expires_ms: Some(50), auto_delete: true, ..QueueSettings::default() };
    let mut world = World::new(settings);
    world.flush();
    assert!(!world.out.delete_me);
    world.subscribe(1, 1, shared(0));
    world.flush();
    world.wait(100);
    assert!(!world.out.delete_me);
    world.ask(1, 2, Command::Cancel { log: LOG, consumer: 1 });
    assert!(std::mem::take(&mut world.out.delete_me));
    world.flush();
    world.wait(50);
    assert!(world.out.delete_me);
}

#[test]
fn deletion_reaches_everybody() {
    let mut world = World::new(QueueSettings::default());
    world.subscribe(1, 7, shared(0));
    world.settle_down();
    world.queue.delete(&mut world.out);
    let answers = world.settle_down();
    assert!(matches!(answers[0].event, Event::ConsumerGone) && answers[0].ticket == 7);
    assert_eq!(world.queue.counts().consumers, 0);
}

#[test]
fn state_from_elsewhere_is_refused_and_a_lost_tail_is_not_settled() {
    assert_eq!(state::decode(&[]), Err(BadState::Length(0)));
    assert_eq!(state::decode(&[9]), Err(BadState::Version(9)));
    assert_eq!(state::decode(&[1, 1]), Err(BadState::Length(2)));
    let mut backwards = vec![1, 1];
    backwards.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(state::decode(&backwards), Err(BadState::Value { kind: 1, a: 9, b: 3 }));
    let mut queue = Queue::new(LOG, QueueSettings::default(), 0, 5);
    backwards[2..10].copy_from_slice(&2u64.to_le_bytes());
    backwards[10..18].copy_from_slice(&9u64.to_le_bytes());
    queue.restore(&backwards).unwrap();
    queue.restored();
    queue.on_durable(8);
    assert_eq!(queue.counts().ready, 5);
}

#[test]
fn records_that_cannot_be_told_apart_do_not_block_the_queue() {
    let mut world = World::new(QueueSettings::default());
    world.append(&["a", "b"], None);
    world.append(&["c"], None);
    let (_, bytes) = &mut world.batches[0];
    let mut broken = bytes.to_vec();
    broken[batch::HEADER_BYTES] = 0x7f;
    *bytes = Bytes::from(broken);
    world.subscribe(1, 1, shared(0));
    assert_eq!(offsets(&world.settle_down()), [2]);
    assert_eq!((world.out.broken_batches, world.queue.floor()), (1, 2));
}

#[test]
fn removed_records_are_passed() {
    let mut world = World::new(QueueSettings::default());
    world.append_many(4);
    world.batches.remove(1);
    world.subscribe(1, 1, shared(0));
    world.settle_down();
    assert_eq!((world.queue.counts().unsettled, world.queue.counts().ready), (3, 0));
    world.settle(1, 0, Outcome::Accept);
    world.settle_down();
    assert_eq!(world.queue.floor(), 2);
}
