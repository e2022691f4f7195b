//! A bounded queue from one core to one other core: one producer, one consumer, no lock.
//!
//! In: values of the producer. Out: the same values, in order. Never: drops a value, blocks, or grows.
//!
//! ```text
//!   slots   [ . . v v v . . . ]        read <= written <= read + capacity, both only rise
//!                 ^read   ^written
//! ```
//!
//! The producer alone moves `written`, the consumer alone moves `read`. A slot belongs to the consumer from the
//! release of `written` until the release of `read`, and to the producer otherwise.
//!
//! [`Parking`] is the other half: a consumer that is about to sleep says so and then looks once more; a producer
//! that has published looks whether the consumer sleeps. Each puts a sequentially consistent fence between its
//! store and its load, so at least one of them sees the other, and no wake-up is lost.
//!
//! Models walk through every order of steps that the memory model allows, in about a second:
//!
//! ```text
//!   RUSTFLAGS="--cfg loom" cargo test -p ringmain-engine --lib models
//! ```
//!
//! For each ordering here there is a model that fails when it is left out
//! (`Weakness`); that it does is a test as well.

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
use loom::cell::UnsafeCell;

use crate::weakened::{Weakness, ordering, weakened};

/// The part of loom's cell that is used, over the standard one.
#[cfg(not(loom))]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Keeps two indexes out of one cache line, so that the cores do not fight over it.
#[repr(align(128))]
struct Line<T>(T);

struct Shared<T> {
    slots: Box<[UnsafeCell<Option<T>>]>,
    read: Line<AtomicUsize>,
    written: Line<AtomicUsize>,
}

// SAFETY: a slot is touched by the producer or by the consumer, never both: see the module's drawing.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: the values are Send and nothing else in it is tied to a thread.
unsafe impl<T: Send> Send for Shared<T> {}

/// The producer's end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    written: usize,
    read_seen: usize,
}

/// The consumer's end.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    read: usize,
    written_seen: usize,
}

/// A mailbox for `capacity` values, which must be a power of two.
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two());
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| UnsafeCell::new(None)).collect(),
        read: Line(AtomicUsize::new(0)),
        written: Line(AtomicUsize::new(0)),
    });
    (
        Sender { shared: shared.clone(), written: 0, read_seen: 0 },
        Receiver { shared, read: 0, written_seen: 0 },
    )
}

impl<T> Sender<T> {
    /// Puts `value` into the mailbox, or gives it back when the mailbox is full. The consumer sees it after
    /// [`Sender::publish`].
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let capacity = self.shared.slots.len();
        if self.written - self.read_seen == capacity {
            let acquire = ordering(Ordering::Acquire, Weakness::PushAcquires);
            self.read_seen = self.shared.read.0.load(acquire);
            if self.written - self.read_seen == capacity {
                return Err(value);
            }
        }
        self.shared.slots[self.written & (capacity - 1)].with_mut(|slot| {
            // SAFETY: the slot is free (`written - read < capacity`), so only this producer touches it.
            unsafe { *slot = Some(value) }
        });
        self.written += 1;
        Ok(())
    }

    /// Lets the consumer see everything pushed so far; true if there was anything new.
    pub fn publish(&mut self) -> bool {
        let news = self.shared.written.0.load(Ordering::Relaxed) != self.written;
        if news {
            let release = ordering(Ordering::Release, Weakness::PublishReleases);
            self.shared.written.0.store(self.written, release);
        }
        news
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest value that was published.
    pub fn pop(&mut self) -> Option<T> {
        if self.read == self.written_seen {
            let acquire = ordering(Ordering::Acquire, Weakness::PopAcquires);
            self.written_seen = self.shared.written.0.load(acquire);
            if self.read == self.written_seen {
                return None;
            }
        }
        let index = self.read & (self.shared.slots.len() - 1);
        let value = self.shared.slots[index].with_mut(|slot| {
            // SAFETY: the slot was published (`read < written`), so only this consumer touches it.
            unsafe { (*slot).take() }
        });
        self.read += 1;
        self.shared.read.0.store(self.read, ordering(Ordering::Release, Weakness::PopReleases));
        value
    }

    /// Whether a [`Receiver::pop`] would find nothing.
    pub fn is_empty(&self) -> bool {
        self.read == self.shared.written.0.load(Ordering::Acquire)
    }
}

/// Says whether a core sleeps, so that others wake it only then.
#[derive(Clone)]
pub struct Parking(Arc<AtomicBool>);

impl Default for Parking {
    fn default() -> Parking {
        Parking(Arc::new(AtomicBool::new(false)))
    }
}

impl Parking {
    /// The sleeper announces that it will sleep. It must look into its mailboxes once more before it does.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        if !weakened(Weakness::AnnounceFence) {
            fence(Ordering::SeqCst);
        }
    }

    /// The sleeper is awake.
    pub fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Called after a publish: whether the caller must wake the sleeper. Only one caller is told so.
    pub fn must_wake(&self) -> bool {
        if !weakened(Weakness::WakeFence) {
            fence(Ordering::SeqCst);
        }
        self.0.load(Ordering::Relaxed)
            && (weakened(Weakness::WakeOnce) || self.0.swap(false, Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn is_a_bounded_queue_in_order() {
        let (mut sender, mut receiver) = mailbox(4);
        for round in 0..10 {
            for value in 0..4 {
                assert_eq!(sender.push(round * 4 + value), Ok(()));
            }
            assert_eq!(sender.push(99), Err(99));
            assert_eq!(receiver.pop(), None);
            assert!(sender.publish());
            assert!(!sender.publish());
            for value in 0..4 {
                assert_eq!(receiver.pop(), Some(round * 4 + value));
            }
            assert!(receiver.is_empty());
        }
    }

    #[test]
    fn what_is_left_inside_is_dropped_once() {
        let value = std::sync::Arc::new(());
        let (mut sender, receiver) = mailbox(2);
        assert!(sender.push(value.clone()).is_ok());
        sender.publish();
        drop((sender, receiver));
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::thread;

    use super::*;
    use crate::weakened::weaken;

    fn values_in_order() {
        let (mut sender, mut receiver) = mailbox(2);
        let producer = thread::spawn(move || {
            for value in 0..3 {
                let mut value = value;
                while let Err(back) = sender.push(value) {
                    value = back;
                    thread::yield_now();
                }
                sender.publish();
            }
        });
        let mut next = 0;
        while next < 3 {
            match receiver.pop() {
                Some(value) => {
                    assert_eq!(value, next);
                    next += 1;
                }
                None => thread::yield_now(),
            }
        }
        producer.join().unwrap();
    }

    /// A buffer is filled here, read over there, and filled again when it has come back.
    fn buffer_over_and_back() {
        let ((mut out, mut over_there), (mut back, mut returned)) = (mailbox(1), mailbox(1));
        let buffer = Arc::new(UnsafeCell::new(0));
        let other = thread::spawn(move || {
            let buffer: Arc<UnsafeCell<u64>> = loop {
                match over_there.pop() {
                    Some(buffer) => break buffer,
                    None => thread::yield_now(),
                }
            };
            buffer.with(|bytes| {
                // SAFETY: whoever holds the buffer is the only one to touch it; loom checks that.
                assert_eq!(unsafe { *bytes }, 1)
            });
            assert!(back.push(()).is_ok());
            back.publish();
        });
        buffer.with_mut(|bytes| {
            // SAFETY: as above.
            unsafe { *bytes = 1 }
        });
        assert!(out.push(buffer.clone()).is_ok());
        out.publish();
        while returned.pop().is_none() {
            thread::yield_now();
        }
        buffer.with_mut(|bytes| {
            // SAFETY: as above.
            unsafe { *bytes = 2 }
        });
        other.join().unwrap();
    }

    fn asleep_with_mail() {
        let (mut sender, mut receiver) = mailbox(2);
        let parking = Parking::default();
        let woken = Arc::new(AtomicBool::new(false));
        let producer = {
            let (parking, woken) = (parking.clone(), woken.clone());
            thread::spawn(move || {
                assert!(sender.push(7).is_ok());
                sender.publish();
                if parking.must_wake() {
                    woken.store(true, Ordering::Release);
                }
            })
        };
        parking.announce();
        let seen_before_sleep = receiver.pop().is_some();
        producer.join().unwrap();
        assert!(seen_before_sleep || woken.load(Ordering::Acquire), "asleep with mail and nobody to wake it");
    }

    fn one_waker() {
        let parking = Parking::default();
        parking.announce();
        let other = {
            let parking = parking.clone();
            thread::spawn(move || parking.must_wake())
        };
        let told = [parking.must_wake(), other.join().unwrap()];
        assert!(told[0] != told[1], "told to wake: {told:?}");
    }

    #[test]
    fn values_arrive_once_and_in_order() {
        loom::model(values_in_order);
    }

    #[test]
    fn a_buffer_belongs_to_who_holds_it() {
        loom::model(buffer_over_and_back);
    }

    #[test]
    fn no_wake_up_is_lost() {
        loom::model(asleep_with_mail);
    }

    #[test]
    fn one_caller_is_told_to_wake() {
        loom::model(one_waker);
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_publish_that_releases_nothing_is_found() {
        weaken(Weakness::PublishReleases, values_in_order);
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_pop_that_acquires_nothing_is_found() {
        weaken(Weakness::PopAcquires, values_in_order);
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_pop_that_releases_nothing_is_found() {
        weaken(Weakness::PopReleases, values_in_order);
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_push_that_acquires_nothing_is_found() {
        weaken(Weakness::PushAcquires, values_in_order);
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_buffer_touched_too_early_is_found() {
        weaken(Weakness::PublishReleases, buffer_over_and_back);
    }

    #[test]
    #[should_panic(expected = "asleep with mail")]
    fn an_announcement_without_a_fence_is_found() {
        weaken(Weakness::AnnounceFence, asleep_with_mail);
    }

    #[test]
    #[should_panic(expected = "asleep with mail")]
    fn a_wake_up_without_a_fence_is_found() {
        weaken(Weakness::WakeFence, asleep_with_mail);
    }

    #[test]
    #[should_panic(expected = "told to wake")]
    fn a_wake_up_that_is_not_claimed_is_found() {
        weaken(Weakness::WakeOnce, one_waker);
    }
}
