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
//! Three models walk through every order of steps that the memory model allows, in about a tenth of a second:
//!
//! ```text
//!   RUSTFLAGS="--cfg loom" cargo test -p ringmain-engine --release --lib io::mailbox
//! ```
//!
//! Each fails when what it guards is weakened:
//!
//! | weakened | fails |
//! |---|---|
//! | `written`: release of the store or acquire of the load | `values_arrive_once_and_in_order`, `no_wake_up_is_lost`: a slot is touched from both sides |
//! | `read`: release of the store or acquire of the load | `values_arrive_once_and_in_order`: a slot is filled while it is being emptied |
//! | the fence of `announce` or of `must_wake`: left out, or only acquire and release | `no_wake_up_is_lost`: asleep with mail |
//! | the swap of `must_wake`: left out | `one_caller_is_told_to_wake`: both are |

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
            self.read_seen = self.shared.read.0.load(Ordering::Acquire);
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
            self.shared.written.0.store(self.written, Ordering::Release);
        }
        news
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest value that was published.
    pub fn pop(&mut self) -> Option<T> {
        if self.read == self.written_seen {
            self.written_seen = self.shared.written.0.load(Ordering::Acquire);
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
        self.shared.read.0.store(self.read, Ordering::Release);
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
        fence(Ordering::SeqCst);
    }

    /// The sleeper is awake.
    pub fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Called after a publish: whether the caller must wake the sleeper. Only one caller is told so.
    pub fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
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
    use super::*;

    #[test]
    fn values_arrive_once_and_in_order() {
        loom::model(|| {
            let (mut sender, mut receiver) = mailbox(2);
            let producer = loom::thread::spawn(move || {
                for value in 0..3 {
                    let mut value = value;
                    while let Err(back) = sender.push(value) {
                        value = back;
                        loom::thread::yield_now();
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
                    None => loom::thread::yield_now(),
                }
            }
            producer.join().unwrap();
        });
    }

    #[test]
    fn no_wake_up_is_lost() {
        loom::model(|| {
            let (mut sender, mut receiver) = mailbox(2);
            let parking = Parking::default();
            let woken = Arc::new(AtomicBool::new(false));
            let producer = {
                let (parking, woken) = (parking.clone(), woken.clone());
                loom::thread::spawn(move || {
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
            assert!(
                seen_before_sleep || woken.load(Ordering::Acquire),
                "asleep with mail and nobody to wake it"
            );
        });
    }

    #[test]
    fn one_caller_is_told_to_wake() {
        loom::model(|| {
            let parking = Parking::default();
            parking.announce();
            let other = {
                let parking = parking.clone();
                loom::thread::spawn(move || parking.must_wake())
            };
            let told = [parking.must_wake(), other.join().unwrap()];
            assert!(told[0] != told[1], "told to wake: {told:?}");
        });
    }
}
