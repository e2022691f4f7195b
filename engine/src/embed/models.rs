//! Every order of steps of an answer on its way, and of a shard that ends while it is asked.
//!
//! In: [`Ack`] and its completer, [`Turns`] and [`Parking`], as they are. Out: a failure in any order in which an answer is lost or a
//! sleeper is not woken, and proof that there is one when an ordering is weakened. Never: the kernel; the channel between
//! handle and shard is the standard library's, and a queue under a lock stands for it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::EngineError;
use super::ack::{Ack, Completer};
use super::turns::Turns;
use crate::io::mailbox::Parking;
use crate::weakened::{Weakness, weaken};

fn answered_later(answer: Option<u32>) -> (Ack<u32>, thread::JoinHandle<()>) {
    let (completer, ack) = Completer::new();
    let shard = thread::spawn(move || match answer {
        Some(answer) => completer.complete(Ok(answer)),
        None => drop(completer),
    });
    (ack, shard)
}

fn waited_for() {
    let (ack, shard) = answered_later(Some(7));
    assert_eq!(ack.wait(), Ok(7));
    shard.join().unwrap();
}

fn dropped() {
    let (ack, shard) = answered_later(None);
    assert_eq!(ack.wait(), Err(EngineError::Closed));
    shard.join().unwrap();
}

fn called_back() {
    let (ack, shard) = answered_later(Some(7));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    ack.on_done(move |answer| {
        assert_eq!(answer, Ok(7));
        counted.fetch_add(1, Ordering::Relaxed);
    });
    shard.join().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "called back once");
}

/// Counts how often a task was woken.
struct Woken(std::sync::atomic::AtomicUsize);

impl Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

fn polled() {
    let (mut ack, shard) = answered_later(Some(7));
    let woken = std::sync::Arc::new(Woken(std::sync::atomic::AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let first = Pin::new(&mut ack).poll(&mut context);
    shard.join().unwrap();
    if first == Poll::Ready(Ok(7)) {
        return;
    }
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::SeqCst), 1, "a task that waits is woken once");
    assert_eq!(Pin::new(&mut ack).poll(&mut context), Poll::Ready(Ok(7)));
}

/// The channel to a shard: `None` once the shard has ended. What is sent then, and what is in it then, is dropped.
type Channel = Mutex<Option<VecDeque<Completer<u32>>>>;

fn send(channel: &Channel, request: Completer<u32>) {
    if let Some(open) = channel.lock().unwrap().as_mut() {
        open.push_back(request);
    }
}

/// A handle asks while the shard ends: it hears so, whether the request was in the channel or not.
fn asked_at_the_end() {
    let channel: Arc<Channel> = Arc::new(Mutex::new(Some(VecDeque::new())));
    let shard = {
        let channel = channel.clone();
        thread::spawn(move || {
            let first = channel.lock().unwrap().as_mut().and_then(VecDeque::pop_front);
            if let Some(done) = first {
                done.complete(Ok(7));
            }
            let rest = channel.lock().unwrap().take();
            drop(rest);
        })
    };
    let (completer, ack) = Completer::new();
    send(&channel, completer);
    let answer = ack.wait();
    assert!(matches!(answer, Ok(7) | Err(EngineError::Closed)), "{answer:?}");
    shard.join().unwrap();
}

/// A handle says that the shard is to end while the shard goes to sleep: it sees that, or is woken.
fn closed_while_it_falls_asleep() {
    let (closing, parking) = (Arc::new(AtomicUsize::new(0)), Parking::default());
    let handle = {
        let (closing, parking) = (closing.clone(), parking.clone());
        thread::spawn(move || {
            closing.store(1, Ordering::Relaxed);
            parking.must_wake()
        })
    };
    parking.announce();
    let seen = closing.load(Ordering::Relaxed) == 1;
    let woken = handle.join().unwrap();
    assert!(seen || woken, "asleep for ever");
}

/// A caller leaves the thread something while that goes to sleep: it sees that, or is woken.
fn left_while_it_falls_asleep() {
    let (turns, parking) = (Arc::new(Turns::new(0)), Parking::default());
    let caller = {
        let (turns, parking) = (turns.clone(), parking.clone());
        thread::spawn(move || {
            // Who has no turn asks through the channel.
            let left = turns.try_take().and_then(|mut turn| turn.worker().map(|left| *left += 1)).is_some();
            left.then(|| parking.must_wake())
        })
    };
    let seen = turns.look(&parking, |left| left.is_some_and(|left| *left > 0));
    if let Some(woken) = caller.join().unwrap() {
        assert!(seen || woken, "asleep with something left to do");
    }
}

/// A caller writes for a worker that is to end: it ends behind the write.
fn ended_while_led() {
    let (turns, writing) = (Arc::new(Turns::new(())), Arc::new(AtomicUsize::new(0)));
    let caller = {
        let (turns, writing) = (turns.clone(), writing.clone());
        thread::spawn(move || {
            let Some(mut turn) = turns.try_take() else { return };
            if turn.worker().is_none() {
                return;
            }
            writing.store(1, Ordering::Relaxed);
            turn.lead();
            // Here the write is under way.
            writing.store(0, Ordering::Relaxed);
            turns.take().led();
        })
    };
    assert!(turns.end().is_some());
    assert_eq!(writing.load(Ordering::Relaxed), 0, "written to behind its end");
    caller.join().unwrap();
}

#[test]
fn what_a_caller_leaves_is_done() {
    loom::model(left_while_it_falls_asleep);
}

#[test]
fn a_worker_ends_when_nobody_writes_for_it() {
    loom::model(ended_while_led);
}

#[test]
#[should_panic(expected = "asleep with something left to do")]
fn a_thread_that_looks_before_it_announces_is_found() {
    weaken(Weakness::LookWhenAnnounced, left_while_it_falls_asleep);
}

#[test]
#[should_panic(expected = "written to behind its end")]
fn a_worker_that_ends_under_a_write_is_found() {
    weaken(Weakness::EndBehindLeader, ended_while_led);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_caller_that_has_written_in_silence_is_found() {
    weaken(Weakness::LeaderTells, ended_while_led);
}

#[test]
fn an_answer_reaches_who_waits() {
    loom::model(waited_for);
}

#[test]
fn a_dropped_completer_answers() {
    loom::model(dropped);
}

#[test]
fn a_callback_is_called_once() {
    loom::model(called_back);
}

#[test]
fn a_task_is_woken() {
    loom::model(polled);
}

#[test]
fn whoever_asks_a_shard_that_ends_is_answered() {
    loom::model(asked_at_the_end);
}

#[test]
fn a_close_wakes_a_shard_that_sleeps() {
    loom::model(closed_while_it_falls_asleep);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_notice_before_the_answer_is_found() {
    weaken(Weakness::AnswerBeforeNotice, waited_for);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_completer_that_is_dropped_in_silence_is_found() {
    weaken(Weakness::AnswerWhenDropped, dropped);
}

#[test]
#[should_panic(expected = "a task that waits is woken once")]
fn a_waker_looked_for_too_early_is_found() {
    weaken(Weakness::WakerTakenBeforeAnswer, polled);
}

#[test]
#[should_panic(expected = "asleep for ever")]
fn a_close_that_looks_too_early_is_found() {
    weaken(Weakness::WakeFence, closed_while_it_falls_asleep);
}

#[test]
#[should_panic(expected = "asleep for ever")]
fn a_shard_that_looks_too_early_is_found() {
    weaken(Weakness::AnnounceFence, closed_while_it_falls_asleep);
}
