//! One core: a pinned thread with its own ring, its connections, its part of the broker.
//!
//! In: completions and the time. Out: operations. Never: waits for anything but its ring; shares anything but
//! mailboxes.
//!
//! [`run`] is the loop around [`Core::turn`]; [`start`] opens the data directory and makes the cores.

mod connection;
mod connections;
mod drain;
mod listeners;
mod mail;
mod run;
pub mod start;

use std::collections::VecDeque;

use ringmain_engine::io::{Completion, Done, Op, Token};
use ringmain_engine::shard::TOKEN_SPACE as SHARD;
use ringmain_engine::types::Now;

use connections::{Connections, Intake};
use drain::Drain;
use listeners::Listeners;
use mail::{Mail, Post};

use crate::amqp::dead_letters::DeadLetters;
use crate::broker::command::{Answer, Command, Request, SessionId};
use crate::broker::context::{Context, Output, Random};
use crate::broker::{AGENT_SLOT, Broker, Notice, Outcome, core_of};

/// Token spaces of a core's operations; the engine's is [`SHARD`].
const ACCEPT: u16 = 1;
const RECEIVE: u16 = 2;
const SEND: u16 = 3;
const SIGNAL: u16 = 4;
/// Wakes and shutdowns: nothing is done about their completions.
const PLAIN: u16 = 5;

/// Letters taken from other cores in one turn.
const LETTERS_PER_TURN: usize = 1024;

/// One core.
pub struct Core {
    index: u16,
    cores: u16,
    broker: Broker,
    connections: Connections,
    agent: DeadLetters,
    agent_output: Output,
    post: Post,
    listeners: Listeners,
    drain: Drain,
    random: Random,
    requests: VecDeque<Request>,
    answers: VecDeque<Answer>,
    outcome: Outcome,
    /// Sessions that ended; told to every core once what they asked last is on its way.
    gone: Vec<SessionId>,
    wanted: Vec<(Token, Op)>,
}

impl Core {
    /// A core around its part of the broker.
    pub fn new(broker: Broker, post: Post, listeners: Listeners, connections_max: u32, seed: u64) -> Core {
        let (index, cores) = (broker.agent().core, broker.settings().cores);
        Core {
            index,
            cores,
            broker,
            connections: Connections::new(index, connections_max),
            agent: DeadLetters::new(),
            agent_output: Output::default(),
            post,
            listeners,
            drain: Drain::default(),
            random: Random(seed),
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            outcome: Outcome::default(),
            gone: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// The first operations: accepts, and the wait for a signal.
    pub fn begin(&mut self) {
        self.listen();
    }

    /// One turn: everything that happened, then everything we want.
    pub fn turn(&mut self, now: Now, done: &mut Vec<Completion>, wanted: &mut Vec<(Token, Op)>) {
        self.receive(done, now);
        self.read_mail(now);
        self.expire(now);
        self.work(now);
        self.drain(now);
        self.broker.commit(now);
        self.collect(wanted);
    }

    /// When the next turn must come though nothing else happens; `None`: no need.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let deadlines = [
            self.connections.next_wake_us(),
            self.broker.next_deadline_us(),
            self.broker.next_seal_us(),
            self.agent_output.wake_at_us,
            self.listeners.next_deadline_us(),
            self.drain.deadline_us(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether the thread may end.
    pub fn is_finished(&self) -> bool {
        self.drain.is_finished()
    }

    /// Why this core cannot go on, if so.
    pub fn failure(&mut self) -> Option<String> {
        self.broker.shard().failure().map(str::to_string)
    }

    fn receive(&mut self, done: &mut Vec<Completion>, now: Now) {
        for completion in done.drain(..) {
            let Token { space, index } = completion.token;
            match (space, completion.result) {
                (SHARD, result) => {
                    self.broker.shard().complete(Completion { token: completion.token, result });
                }
                (ACCEPT, result) => self.accepted(index, result.ok(), now),
                (RECEIVE, Ok(Done::Received(buffer))) => self.received(index, buffer, now),
                (RECEIVE | SEND, Err(_)) => self.lost(SessionId::unpack(index), now),
                (SEND, Ok(Done::Sent(count))) => self.sent(SessionId::unpack(index), count, now),
                (SIGNAL, result) => self.signalled(result.ok(), now),
                _ => {}
            }
        }
        self.broker.take_shard_events(now);
        self.broker.note_write(now);
    }

    fn read_mail(&mut self, now: Now) {
        for _ in 0..LETTERS_PER_TURN {
            let Some(mail) = self.post.receive() else { return };
            match mail {
                Mail::Request(request) => self.requests.push_back(request),
                Mail::Answer(answer) => self.answers.push_back(answer),
                Mail::Notice(notice) => self.broker.notice(notice, now),
                Mail::Connection { socket, peer, protocol } => {
                    self.connections.adopt(socket, peer, protocol, self.broker.metrics());
                }
                Mail::Drain => self.begin_drain(now),
                Mail::Drained => self.drain.count_drained(),
                Mail::Stop => self.drain.stop(),
            }
        }
    }

    fn expire(&mut self, now: Now) {
        self.broker.expire(now);
        if self.broker.take_room_news() {
            for id in self.connections.ids() {
                self.with_session(id, now, |connection, cx| connection.time(cx));
            }
        }
        while let Some(id) = self.connections.pop_due(now.monotonic_us) {
            self.with_session(id, now, |connection, cx| connection.time(cx));
        }
        if self.agent_output.wake_at_us.is_some_and(|at| at <= now.monotonic_us) {
            self.agent_output.wake_at_us = None;
            self.with_agent(now, |agent, cx| agent.on_time(cx));
        }
        self.accept_again(now);
    }

    /// Carries requests and answers back and forth until nothing is left to do here.
    fn work(&mut self, now: Now) {
        loop {
            self.route_outcome();
            if let Some(answer) = self.answers.pop_front() {
                self.give(answer, now);
            } else if let Some(request) = self.requests.pop_front() {
                self.ask(request, now);
            } else {
                self.tell_gone(now);
                self.broker.flush(now);
                if !self.route_outcome() {
                    return;
                }
            }
        }
    }

    /// Sends what the broker wants done on its ways; whether there was anything.
    fn route_outcome(&mut self) -> bool {
        let mut outcome = std::mem::take(&mut self.outcome);
        self.broker.collect(&mut outcome);
        let busy = !(outcome.answers.is_empty() && outcome.requests.is_empty() && outcome.notices.is_empty());
        self.answers.extend(outcome.answers.drain(..));
        self.requests.extend(outcome.requests.drain(..));
        for (core, notice) in outcome.notices.drain(..) {
            self.post.send(core, Mail::Notice(notice));
        }
        for line in outcome.log_lines.drain(..) {
            run::log(self.index, &line);
        }
        self.outcome = outcome;
        busy
    }

    /// Tells every core's broker which sessions have ended.
    fn tell_gone(&mut self, now: Now) {
        for id in std::mem::take(&mut self.gone) {
            for core in (0..self.cores).filter(|core| *core != self.index) {
                self.post.send(core, Mail::Notice(Notice::SessionGone(id)));
            }
            self.broker.notice(Notice::SessionGone(id), now);
        }
    }

    fn ask(&mut self, request: Request, now: Now) {
        let core = core_of(&request.command, self.cores);
        if core != self.index {
            return self.post.send(core, Mail::Request(request));
        }
        if matches!(request.command, Command::Status { .. }) {
            let metrics = self.broker.metrics();
            metrics.letters = self.post.letters();
            if self.index == 0 {
                metrics.resident_bytes = start::resident_bytes();
            }
        }
        self.broker.handle(request, now);
    }

    fn give(&mut self, answer: Answer, now: Now) {
        let Answer { to, ticket, event } = answer;
        if to.core != self.index {
            return self.post.send(to.core, Mail::Answer(Answer { to, ticket, event }));
        }
        if to.slot == AGENT_SLOT {
            return self.with_agent(now, |agent, cx| agent.on_event(ticket, event, cx));
        }
        self.with_session(to, now, |connection, cx| connection.event(ticket, event, cx));
    }

    fn with_agent(&mut self, now: Now, call: impl FnOnce(&mut DeadLetters, &mut Context<'_>)) {
        let mut requests = Vec::new();
        let mut cx = Context {
            now,
            session: self.broker.agent(),
            catalog: self.broker.catalog(),
            settings: self.broker.settings(),
            short_of_room: self.broker.is_short_of_room(),
            requests: &mut requests,
            output: &mut self.agent_output,
            random: &mut self.random,
        };
        call(&mut self.agent, &mut cx);
        self.requests.extend(requests);
    }

    /// Everything wanted of the kernel, in one submission.
    fn collect(&mut self, wanted: &mut Vec<(Token, Op)>) {
        let intake = if self.drain.has_begun() {
            Intake::Nothing
        } else if self.broker.shard().is_full() || self.post.is_full() {
            Intake::Operators
        } else {
            Intake::All
        };
        self.connections.collect(intake, &mut self.wanted);
        for op in self.post.deliver() {
            self.wanted.push((Token { space: PLAIN, index: 0 }, op));
        }
        self.broker.shard().collect(wanted);
        wanted.append(&mut self.wanted);
    }
}
