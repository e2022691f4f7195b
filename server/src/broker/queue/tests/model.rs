//! Thousands of random histories against a model that is nothing but one state per record.

use std::collections::BTreeSet;

use super::*;
use crate::broker::context::Random;
use crate::broker::queue::ranges::RangeSet;

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Ready,
    Held(u32),
    Settled,
}

struct Model {
    world: World,
    states: Vec<State>,
    delivered: BTreeSet<Offset>,
    /// Delivered, or maybe delivered, before the last start.
    maybe_delivered_below: Offset,
    floor: Offset,
    random: Random,
}

const SESSIONS: u64 = 3;

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = Random(seed);
        let settings = QueueSettings {
            single_active_consumer: random.next_u64().is_multiple_of(8),
            length_bytes_max: random.next_u64().is_multiple_of(2).then_some(u64::MAX),
            ..QueueSettings::default()
        };
        let mut model = Model {
            world: World::new(settings),
            states: Vec::new(),
            delivered: BTreeSet::new(),
            maybe_delivered_below: 0,
            floor: 0,
            random,
        };
        model.subscribe();
        model
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn subscribe(&mut self) {
        for slot in 0..SESSIONS as u32 {
            let limit = self.below(4) as u32 * 2;
            let settles = self.below(5) > 0;
            let priority = self.below(2) as i32;
            let consumer = Consumer { limit, settles, priority, ..shared(limit) };
            let ticket = u64::from(slot) << 1 | u64::from(settles);
            self.world.subscribe(slot, ticket, consumer);
        }
    }

    fn step(&mut self) {
        let slot = self.below(SESSIONS) as u32;
        match self.below(12) {
            0 | 1 => {
                let count = 1 + self.below(4) as usize;
                self.world.append(&vec!["abc"; count], None);
                self.states.resize(self.states.len() + count, State::Ready);
            }
            2..5 => self.settle(slot, Outcome::Accept),
            5 => self.settle(slot, Outcome::Requeue),
            6 => self.settle(slot, Outcome::Discard),
            7 => {
                let settle = self.below(2) == 0;
                self.world.ask(slot, 100 + u64::from(settle), Command::Get { log: LOG, settle });
                self.check_answers();
            }
            8 if self.below(10) == 0 => self.purge(slot),
            9 if self.below(10) == 0 => self.restart(),
            10 => {
                let batches_max = 1 + self.below(3) as usize;
                self.world.answer_read(batches_max);
            }
            _ => {
                self.world.flush();
                self.check_answers();
                self.check_state();
            }
        }
    }

    fn settle(&mut self, slot: u32, outcome: Outcome) {
        let first = self.below(self.states.len() as u64 + 1);
        let end = first + self.below(5);
        for state in self.states.iter_mut().take(end as usize).skip(first as usize) {
            if *state == State::Held(slot) {
                *state = if outcome == Outcome::Requeue { State::Ready } else { State::Settled };
            }
        }
        let offsets = std::iter::once(first..end).collect();
        self.world.ask(slot, 0, Command::Settle { log: LOG, offsets, outcome });
    }

    fn purge(&mut self, slot: u32) {
        let ready = self.states.iter().filter(|state| **state == State::Ready).count() as u64;
        self.world.ask(slot, 0, Command::Purge { log: LOG });
        let answer = self.world.out.answers.pop().unwrap();
        assert!(matches!(answer.event, Event::Purged(Ok(count)) if count == ready));
        for state in self.states.iter_mut().filter(|state| **state == State::Ready) {
            *state = State::Settled;
        }
    }

    /// All that was held is ready again, perhaps marked. Whatever was flushed is known, unless a crash took the
    /// last settlements: then some that were settled come again, and none that was not is gone.
    fn restart(&mut self) {
        self.world.flush();
        self.check_answers();
        if self.below(3) == 0 {
            self.world.settlements = self.world.queue.snapshot();
        }
        let lost = if self.below(3) == 0 { self.below(4) as usize } else { 0 };
        self.world.settlements.truncate(self.world.settlements.len().saturating_sub(lost));
        self.world.restart();
        if lost > 0 {
            self.lose_settlements();
        }
        self.maybe_delivered_below = self.states.len() as u64;
        for state in &mut self.states {
            if matches!(state, State::Held(_)) {
                *state = State::Ready;
            }
        }
        self.check_state();
        self.subscribe();
    }

    fn lose_settlements(&mut self) {
        (self.floor, self.delivered) = (0, BTreeSet::new());
        for (offset, state) in (0..).zip(&mut self.states) {
            let settled = self.world.queue.shared.settled().contains(offset);
            assert!(!settled || *state == State::Settled, "{offset} was not settled");
            *state = if settled { State::Settled } else { State::Ready };
        }
    }

    /// Whatever was given out was ready, lowest first, and marked if it was given out before.
    fn check_answers(&mut self) {
        let answers = std::mem::take(&mut self.world.out.answers);
        let mut given = Vec::new();
        for answer in &answers {
            let slot = answer.to.slot;
            match &answer.event {
                Event::Deliver(deliveries) => {
                    let settles = answer.ticket & 1 == 1;
                    assert!(deliveries.is_sorted_by_key(|delivery| delivery.offset));
                    given.extend(deliveries.iter().map(|delivery| (delivery.clone(), slot, settles)));
                    let count = deliveries.len() as u32;
                    self.world.ask(slot, 0, Command::Sent { log: LOG, consumer: answer.ticket, count });
                }
                Event::Got(Ok(Some((delivery, _)))) => {
                    given.push((delivery.clone(), slot, answer.ticket == 100));
                }
                Event::Got(Ok(None)) | Event::Subscribed(Ok(())) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        given.sort_by_key(|(delivery, ..)| delivery.offset);
        let ready = (0..).zip(&self.states).filter(|(_, state)| **state == State::Ready);
        let lowest: Vec<Offset> = ready.map(|(offset, _)| offset).take(given.len()).collect();
        let offsets: Vec<Offset> = given.iter().map(|(delivery, ..)| delivery.offset).collect();
        assert_eq!(offsets, lowest);
        for (delivery, slot, settles) in given {
            let again = !self.delivered.insert(delivery.offset);
            let maybe = delivery.offset < self.maybe_delivered_below;
            assert!(if again { delivery.redelivered } else { !delivery.redelivered || maybe });
            let state = if settles { State::Held(slot) } else { State::Settled };
            self.states[delivery.offset as usize] = state;
        }
    }

    fn check_state(&mut self) {
        let count =
            |wanted: fn(&State) -> bool| self.states.iter().filter(|state| wanted(state)).count() as u64;
        let counts = self.world.queue.counts();
        let ready = count(|state| *state == State::Ready);
        assert_eq!(counts.ready, ready);
        assert_eq!(counts.unsettled, count(|state| matches!(state, State::Held(_))));
        let floor = self.states.iter().position(|state| *state != State::Settled);
        assert_eq!(self.world.queue.floor(), floor.unwrap_or(self.states.len()) as u64);
        assert!(self.world.queue.floor() >= self.floor, "the floor only rises");
        self.floor = self.world.queue.floor();
        for (offset, state) in (0..).zip(&self.states) {
            assert_eq!(self.world.queue.shared.settled().contains(offset), *state == State::Settled);
        }
    }

    /// Everything that is left reaches somebody; nothing remains.
    fn drain(&mut self) {
        for slot in 0..SESSIONS as u32 {
            let offsets = std::iter::once(0..Offset::MAX).collect();
            self.world.ask(slot, 0, Command::Settle { log: LOG, offsets, outcome: Outcome::Requeue });
        }
        for state in self.states.iter_mut().filter(|state| matches!(state, State::Held(_))) {
            *state = State::Ready;
        }
        for _ in 0..4 * self.states.len() + 100 {
            if self.states.iter().all(|state| *state == State::Settled) && self.world.read.is_none() {
                break;
            }
            self.world.flush();
            self.check_answers();
            self.world.answer_read(2);
            for slot in 0..SESSIONS as u32 {
                let offsets = std::iter::once(0..Offset::MAX).collect();
                self.world.ask(slot, 0, Command::Settle { log: LOG, offsets, outcome: Outcome::Accept });
            }
            for state in self.states.iter_mut().filter(|state| matches!(state, State::Held(_))) {
                *state = State::Settled;
            }
        }
        self.check_state();
        assert!(self.states.iter().all(|state| *state == State::Settled));
        assert_eq!(self.world.queue.ready_bytes(), 0);
    }
}

#[test]
fn random_histories_agree_with_the_model() {
    for seed in 0..1500 {
        let result = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            (0..120).for_each(|_| model.step());
            model.drain();
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_range_set_agrees_with_a_set() {
    let mut random = Random(7);
    for _ in 0..300 {
        let (mut ranges, mut set) = (RangeSet::default(), BTreeSet::new());
        for _ in 0..40 {
            let first = random.next_u64() % 40;
            let range = first..first + random.next_u64() % 8;
            if random.next_u64().is_multiple_of(2) {
                let new = range.clone().filter(|offset| set.insert(*offset)).count();
                assert_eq!(ranges.insert(range), new as u64);
            } else {
                let gone = range.clone().filter(|offset| set.remove(offset)).count();
                assert_eq!(ranges.remove(range), gone as u64);
            }
            assert_eq!(ranges.iter().flatten().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            assert_eq!(ranges.count(), set.len() as u64);
            let neighbours: Vec<_> = ranges.iter().collect();
            assert!(neighbours.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
