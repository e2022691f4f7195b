//! Mail between cores: bounded mailboxes, one for each ordered pair of cores.
//!
//! In: what one core wants another to know. Out: the same, in order. Never: drops a letter, or blocks. What does
//! not fit waits here, and a core that has too much waiting takes input from nobody but operators.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};

use ringmain_engine::io::mailbox::{Parking, Receiver, Sender, mailbox};
use ringmain_engine::io::{Descriptor, Op};

use super::connection::Protocol;
use crate::broker::Notice;
use crate::broker::command::{Answer, Request};
use crate::broker::metrics::Letters;

/// Letters one mailbox holds.
const MAILBOX_LETTERS: usize = 1024;
/// Letters that may wait for room before a core stops taking input.
const WAITING_LETTERS_MAX: usize = 4096;

/// One letter.
#[derive(Debug)]
pub enum Mail {
    Request(Request),
    Answer(Answer),
    Notice(Notice),
    /// A new connection, to be served by the receiver.
    Connection {
        socket: Descriptor,
        peer: SocketAddr,
        protocol: Protocol,
    },
    /// Stop taking input and finish what is in flight.
    Drain,
    /// To the first core: the sender has finished.
    Drained,
    /// Everybody has finished.
    Stop,
}

/// What a core needs to wake the others: their drivers, known once each thread has opened its own.
type Drivers = Arc<[OnceLock<RawFd>]>;

/// One core's mailboxes to and from every other core.
pub struct Post {
    core: u16,
    senders: Vec<Option<Sender<Mail>>>,
    receivers: Vec<Receiver<Mail>>,
    /// The receiver to look into first, so that none waits for ever behind a busy one.
    next: usize,
    waiting: Vec<VecDeque<Mail>>,
    letters: Letters,
    /// By core; one's own is announced, the others' are looked at.
    parkings: Vec<Parking>,
    drivers: Drivers,
}

/// The posts of all cores, connected with each other.
pub fn posts(cores: u16) -> Vec<Post> {
    let parkings: Vec<Parking> = (0..cores).map(|_| Parking::default()).collect();
    let drivers: Drivers = (0..cores).map(|_| OnceLock::new()).collect();
    let mut posts: Vec<Post> = (0..cores)
        .map(|core| Post {
            core,
            senders: (0..cores).map(|_| None).collect(),
            receivers: Vec::new(),
            next: 0,
            waiting: (0..cores).map(|_| VecDeque::new()).collect(),
            letters: Letters::default(),
            parkings: parkings.clone(),
            drivers: drivers.clone(),
        })
        .collect();
    for from in 0..usize::from(cores) {
        for to in (0..usize::from(cores)).filter(|to| *to != from) {
            let (sender, receiver) = mailbox(MAILBOX_LETTERS);
            posts[from].senders[to] = Some(sender);
            posts[to].receivers.push(receiver);
        }
    }
    posts
}

impl Post {
    /// Tells the others how this core is woken.
    pub fn set_driver(&self, descriptor: RawFd) {
        let first = self.drivers[usize::from(self.core)].set(descriptor);
        assert!(first.is_ok(), "a core has one driver");
    }

    /// Puts a letter into the way to another core.
    pub fn send(&mut self, to: u16, mail: Mail) {
        assert!(to != self.core, "a core does not write to itself");
        match &mail {
            Mail::Request(_) => self.letters.requests += 1,
            Mail::Answer(_) => self.letters.answers += 1,
            Mail::Notice(_) => self.letters.notices += 1,
            Mail::Connection { .. } => self.letters.connections += 1,
            Mail::Drain | Mail::Drained | Mail::Stop => {}
        }
        self.waiting[usize::from(to)].push_back(mail);
    }

    /// What was sent so far.
    pub fn letters(&self) -> Letters {
        self.letters
    }

    /// Takes the next letter from any core, from each in turn.
    pub fn receive(&mut self) -> Option<Mail> {
        let count = self.receivers.len();
        for place in 0..count {
            let index = (self.next + place) % count;
            if let Some(mail) = self.receivers[index].pop() {
                self.next = index + 1;
                return Some(mail);
            }
        }
        None
    }

    /// Lets the others see what was sent, and returns the operations that wake those who sleep.
    pub fn deliver(&mut self) -> Vec<Op> {
        let mut wakes = Vec::new();
        for (to, waiting) in self.waiting.iter_mut().enumerate() {
            let Some(sender) = &mut self.senders[to] else { continue };
            while let Some(mail) = waiting.pop_front() {
                if let Err(mail) = sender.push(mail) {
                    waiting.push_front(mail);
                    break;
                }
            }
            if sender.publish()
                && self.parkings[to].must_wake()
                && let Some(ring) = self.drivers[to].get()
            {
                wakes.push(Op::Wake { ring: *ring });
            }
        }
        wakes
    }

    /// Whether letters wait for room.
    pub fn is_waiting(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Whether so many letters wait that no more input should be taken.
    pub fn is_full(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.len() > WAITING_LETTERS_MAX)
    }

    /// Announces sleep; false: there is mail, stay awake.
    pub fn park(&self) -> bool {
        self.parkings[usize::from(self.core)].announce();
        self.receivers.iter().all(Receiver::is_empty)
    }

    /// Awake again.
    pub fn awake(&self) {
        self.parkings[usize::from(self.core)].awake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::command::{Command, SessionId};

    #[test]
    fn letters_are_counted_by_what_they_hold_where_they_are_written() {
        let mut posts = posts(2);
        let (from, to) = (posts[0].core, 1);
        let session = SessionId { core: from, slot: 0, generation: 0 };
        for ticket in 0..3 {
            let command = Command::Status { core: to };
            posts[0].send(to, Mail::Request(Request { from: session, ticket, command }));
        }
        posts[0].send(to, Mail::Notice(Notice::SessionGone(session)));
        posts[0].send(to, Mail::Drain);
        assert_eq!(posts[0].letters(), Letters { requests: 3, notices: 1, ..Letters::default() });
        assert_eq!(posts[1].letters(), Letters::default());
    }

    #[test]
    fn a_core_that_writes_much_does_not_hide_what_another_writes() {
        let mut posts = posts(3);
        for _ in 0..MAILBOX_LETTERS {
            posts[1].send(0, Mail::Drain);
        }
        posts[2].send(0, Mail::Stop);
        assert!(posts[1].deliver().is_empty() && posts[2].deliver().is_empty(), "nobody sleeps");
        let first: Vec<_> = (0..2).filter_map(|_| posts[0].receive()).collect();
        assert!(first.iter().any(|mail| matches!(mail, Mail::Stop)), "{first:?}");
    }
}
