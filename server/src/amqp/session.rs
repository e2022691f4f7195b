//! One connection, from the protocol header to its end.
//!
//! In: bytes, answers, the time. Out: frames and requests, through the [`Context`]. Never: does I/O, or goes on with
//! a connection whose peer broke the rules.
//!
//! ```text
//!   Header -> Start -> Tune -> Open -> Running --connection.close--> Leaving --all given back--> Parting
//!                 any of these --error--> Refused --close-ok, or no patience left--> Over
//!                                         Parting --the peer hangs up, or no patience left--> Over
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::BytesMut;

use super::channel::{Channel, Failure, Operation};
use super::error::{AmqpError, Code};
use super::handshake::{self, ClientCapabilities};
use super::heartbeat::{Due, Heartbeat};
use super::link::{ChannelKey, Link, Purpose, Subscribed};
use super::publish::Run;
use super::settle::Held;
use super::wire::WireError;
use super::wire::frame::{self, ENVELOPE_BYTES, FRAME_BYTES_MIN, Frame, Kind, PROTOCOL_HEADER};
use super::wire::method::Method;
use crate::broker::command::{AppendError, Event, Outcome};
use crate::broker::context::Context;

/// Largest frame taken before a larger one is agreed upon: a `connection.start-ok` with room for long properties.
const FIRST_FRAME_BYTES_MAX: u32 = 16 << 10;
/// Input waits while publishes of so many bytes are not durable yet,
const APPENDING_BYTES_MAX: usize = 32 << 20;
/// or so many operations wait for the one before them,
const WAITING_OPERATIONS_MAX: usize = 10_000;
/// or their messages hold so many bytes,
const WAITING_BYTES_MAX: usize = 32 << 20;
/// or the peer leaves so many bytes unread.
const UNSENT_BYTES_MAX: usize = 32 << 20;

/// What a blocked publisher is told; RabbitMQ's words.
const BLOCKED_REASON: &str = "low on disk";
const PUBLISH_METHOD: (u16, u16) = (60, 40);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Header,
    Start,
    Tune,
    Open,
    Running,
    /// The peer asked to close; what it sent before is still being done.
    Leaving,
    /// The broker closes; only the peer's agreement is waited for.
    Refused,
    /// The peer's close was answered. Some peers still send what they had queued on other channels; a socket
    /// closed under them would lose them the answer.
    Parting,
    Over,
}

/// State of one connection.
#[derive(Debug)]
pub struct Session {
    peer: SocketAddr,
    stage: Stage,
    link: Link,
    channels: BTreeMap<u16, Channel>,
    /// Channels that heard something in this call.
    touched: Vec<u16>,
    channels_max: u16,
    /// Largest frame taken.
    input_frame_bytes_max: u32,
    /// Bytes of a frame that is not whole yet.
    input_left: usize,
    input_hint: usize,
    heartbeat: Heartbeat,
    /// Nothing is read: the next thing said is a publish, and there is no room for it.
    blocked: bool,
    /// The peer wants to hear of that.
    hears_blocked: bool,
    /// Channels opened so far.
    generation: u32,
}

impl Session {
    /// A connection from `peer` that has said nothing yet.
    pub fn new(peer: SocketAddr) -> Session {
        Session {
            peer,
            stage: Stage::Header,
            link: Link::new(FRAME_BYTES_MIN),
            channels: BTreeMap::new(),
            touched: Vec::new(),
            channels_max: 0,
            input_frame_bytes_max: FIRST_FRAME_BYTES_MAX,
            input_left: 0,
            input_hint: 0,
            heartbeat: Heartbeat::default(),
            blocked: false,
            hears_blocked: false,
            generation: 0,
        }
    }

    /// Bytes arrived: whole frames are taken off the front of `input`.
    pub fn on_bytes(&mut self, input: &mut BytesMut, cx: &mut Context<'_>) {
        // Bytes may be offered again; only new ones are a sign of life.
        if input.len() > self.input_left {
            self.heartbeat.heard(cx.now.monotonic_us);
        }
        if self.stage == Stage::Header {
            self.on_protocol_header(input, cx);
        }
        self.unblock(cx);
        while !matches!(self.stage, Stage::Header | Stage::Parting | Stage::Over) {
            if cx.short_of_room && self.stage == Stage::Running && frame::begins_publish(input) {
                self.block();
                break;
            }
            match frame::take_frame(input, self.input_frame_bytes_max) {
                Ok(Some(frame)) => self.on_frame(frame, cx),
                Ok(None) => break,
                Err(error) => {
                    // The frames' boundaries are lost: nothing behind can be understood.
                    input.clear();
                    self.refuse(&AmqpError::from_wire(error), (0, 0), cx);
                    break;
                }
            }
        }
        if matches!(self.stage, Stage::Parting | Stage::Over) {
            input.clear();
        }
        self.input_left = input.len();
        self.input_hint = frame::bytes_needed(input, self.input_frame_bytes_max);
        self.end_call(cx);
    }

    /// An answer to something this connection asked.
    pub fn on_event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        if self.link.consumer(ticket).is_some() {
            self.on_consumer_event(ticket, event, cx);
        } else if let Some(purpose) = self.link.take_purpose(ticket) {
            self.on_answer(purpose, event, cx);
        }
        self.end_call(cx);
    }

    /// A time wished for has come.
    pub fn on_time(&mut self, cx: &mut Context<'_>) {
        self.unblock(cx);
        if self.blocked {
            // Its signs of life are not read.
            self.heartbeat.heard(cx.now.monotonic_us);
        }
        match self.heartbeat.due(cx.now.monotonic_us) {
            Due::Nothing => {}
            Due::Send => frame::put_heartbeat(self.link.outbox.tail()),
            Due::Close => self.end(cx),
        }
        self.end_call(cx);
        if let Some(at) = self.heartbeat.next_us() {
            cx.wake_at(at);
        }
    }

    /// All but `left` bytes of the output have left.
    pub fn on_sent(&mut self, left: usize, cx: &mut Context<'_>) {
        self.link.outbox.sent(left, super::link::UNANSWERED, cx);
    }

    /// The connection is gone: everything it held goes back.
    pub fn on_close(&mut self, cx: &mut Context<'_>) {
        self.give_back_all(cx);
        self.stage = Stage::Over;
    }

    /// Whether more bytes may be brought.
    pub fn wants_input(&self) -> bool {
        let waiting = self.channels.values().map(Channel::waiting);
        let (count, bytes) = waiting.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.stage != Stage::Over
            && !self.blocked
            && self.link.appending_bytes < APPENDING_BYTES_MAX
            && count < WAITING_OPERATIONS_MAX
            && bytes < WAITING_BYTES_MAX
            && self.link.outbox.left() < UNSENT_BYTES_MAX
    }

    /// Bytes the frame at the front of the input needs in total; 0: unknown.
    pub fn input_hint(&self) -> usize {
        self.input_hint
    }

    // -- want of room -----------------------------------------------------------------------------------

    /// As RabbitMQ does while its disk alarm is on: whoever publishes is no longer read from, and told so if it wants to
    /// hear it. The publish waits where it is.
    fn block(&mut self) {
        if !self.blocked && self.hears_blocked {
            self.link.method(0, &Method::ConnectionBlocked { reason: BLOCKED_REASON.into() });
        }
        self.blocked = true;
    }

    fn unblock(&mut self, cx: &Context<'_>) {
        if self.blocked && !cx.short_of_room {
            self.blocked = false;
            if self.hears_blocked {
                self.link.method(0, &Method::ConnectionUnblocked {});
            }
        }
    }

    /// A publish met want of room before this connection heard of it. Without confirms nothing else would tell.
    fn refused_for_room(&mut self, runs: &[Run], cx: &mut Context<'_>) {
        if runs.iter().any(|run| run.first == 0) {
            let error = AmqpError::new(Code::ResourceError, "publish refused: low on disk");
            self.refuse(&error, PUBLISH_METHOD, cx);
        }
    }

    // -- the connection's own frames --------------------------------------------------------------------

    fn on_protocol_header(&mut self, input: &mut BytesMut, cx: &mut Context<'_>) {
        match frame::take_protocol_header(input) {
            Ok(false) => {}
            Ok(true) => {
                self.link.method(0, &handshake::start(cx.settings));
                self.stage = Stage::Start;
                self.heartbeat.expect_answer(cx.now.monotonic_us);
            }
            Err(_) => {
                self.link.outbox.tail().extend_from_slice(&PROTOCOL_HEADER);
                self.end(cx);
            }
        }
        if let Some(at) = self.heartbeat.next_us() {
            cx.wake_at(at);
        }
    }

    fn on_frame(&mut self, frame: Frame, cx: &mut Context<'_>) {
        match (frame.channel, frame.kind) {
            (0, Kind::Heartbeat) => {}
            (0, Kind::Method) => self.on_connection_method(frame, cx),
            (0, Kind::Header | Kind::Body) => {
                let error = AmqpError::new(Code::UnexpectedFrame, "content on channel 0");
                self.refuse(&error, (0, 0), cx);
            }
            (number, _) => match self.stage {
                Stage::Running => self.on_channel_frame(number, frame, cx),
                // What is sent after a close is not read.
                Stage::Leaving | Stage::Refused | Stage::Parting => {}
                _ => {
                    let detail = format!("frame on channel {number} before the connection is open");
                    self.refuse(&AmqpError::new(Code::ChannelError, detail), (0, 0), cx);
                }
            },
        }
    }

    fn on_connection_method(&mut self, frame: Frame, cx: &mut Context<'_>) {
        let decoded = Method::decode(frame.payload);
        if self.stage == Stage::Refused {
            match decoded {
                Ok(Method::ConnectionCloseOk {}) => self.end(cx),
                Ok(Method::ConnectionClose { .. }) => self.part(cx),
                _ => {}
            }
            return;
        }
        let (id, done) = match decoded {
            Ok(method) => (method.id(), self.connection_method(method, cx)),
            Err(error) => ((0, 0), Err(AmqpError::from_wire(error))),
        };
        if let Err(error) = done {
            self.refuse(&error, id, cx);
        }
    }

    /// Every method a client may send on channel 0, once.
    fn connection_method(&mut self, method: Method, cx: &mut Context<'_>) -> Result<(), AmqpError> {
        match (self.stage, method) {
            (Stage::Start, Method::ConnectionStartOk { client_properties, mechanism, response, .. }) => {
                let capabilities = ClientCapabilities::of(&client_properties);
                self.log_in(capabilities, &mechanism, &response, cx)
            }
            (Stage::Tune, Method::ConnectionTuneOk { channel_max, frame_max, heartbeat }) => {
                let limits = handshake::agree(cx.settings, channel_max, frame_max, heartbeat)?;
                self.channels_max = limits.channels_max;
                self.link.frame_bytes_max = limits.frame_bytes_max;
                // Some clients take the limit for the payload's alone.
                self.input_frame_bytes_max = limits.frame_bytes_max + ENVELOPE_BYTES as u32;
                self.heartbeat.begin(limits.heartbeat_s, cx.now.monotonic_us);
                self.stage = Stage::Open;
                Ok(())
            }
            (Stage::Open, Method::ConnectionOpen { virtual_host }) => {
                handshake::check_virtual_host(&virtual_host)?;
                self.link.method(0, &Method::ConnectionOpenOk {});
                self.stage = Stage::Running;
                self.heartbeat.answered();
                if let Some(at) = self.heartbeat.next_us() {
                    cx.wake_at(at);
                }
                Ok(())
            }
            (Stage::Running, Method::ConnectionUpdateSecret { .. }) => {
                self.link.method(0, &Method::ConnectionUpdateSecretOk {});
                Ok(())
            }
            (Stage::Running, Method::ConnectionClose { .. }) => {
                self.leave(cx);
                Ok(())
            }
            (Stage::Leaving, _) => Ok(()),
            (_, Method::ConnectionClose { .. }) => {
                self.part(cx);
                Ok(())
            }
            (_, other) => {
                let detail = format!("{} is not expected now", other.name());
                Err(AmqpError::new(Code::CommandInvalid, detail))
            }
        }
    }

    fn log_in(
        &mut self,
        capabilities: ClientCapabilities,
        mechanism: &str,
        response: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        match handshake::authenticate(self.peer, mechanism, response) {
            Ok(()) => {
                self.link.hears_cancel = capabilities.consumer_cancel_notify;
                self.hears_blocked = capabilities.connection_blocked;
                self.link.method(0, &handshake::tune(cx.settings));
                self.stage = Stage::Tune;
                Ok(())
            }
            Err(error) if error.code == Code::AccessRefused && !capabilities.authentication_failure_close => {
                self.end(cx);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    // -- channels ---------------------------------------------------------------------------------------

    fn on_channel_frame(&mut self, number: u16, frame: Frame, cx: &mut Context<'_>) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return self.on_unopened(number, frame, cx);
        };
        if channel.closing {
            return self.on_closing(number, frame);
        }
        if self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
        let done = channel.on_frame(frame, &mut self.link, cx);
        self.after(number, done, cx);
    }

    fn on_unopened(&mut self, number: u16, frame: Frame, cx: &mut Context<'_>) {
        let method = match frame.kind {
            Kind::Method => Method::decode(frame.payload),
            _ => Err(WireError::Syntax("frame: content on a channel that is not open")),
        };
        match method {
            Ok(Method::ChannelOpen {}) if number <= self.channels_max => {
                self.generation = self.generation.wrapping_add(1);
                let key = ChannelKey { number, generation: self.generation };
                self.channels.insert(number, Channel::new(key));
                self.link.method(number, &Method::ChannelOpenOk {});
            }
            Ok(Method::ChannelOpen {}) => {
                let max = self.channels_max;
                let detail = format!("channel {number} is above the negotiated channel_max ({max})");
                self.refuse(&AmqpError::new(Code::NotAllowed, detail), (20, 10), cx);
            }
            // The agreement to a close that crossed the client's own.
            Ok(Method::ChannelCloseOk {}) => {}
            Ok(other) => {
                let error = AmqpError::new(Code::ChannelError, "expected 'channel.open'");
                self.refuse(&error, other.id(), cx);
            }
            Err(_) => {
                let error = AmqpError::new(Code::ChannelError, "expected 'channel.open'");
                self.refuse(&error, (0, 0), cx);
            }
        }
    }

    fn on_closing(&mut self, number: u16, frame: Frame) {
        if frame.kind != Kind::Method {
            return;
        }
        match Method::decode(frame.payload) {
            Ok(Method::ChannelCloseOk {}) => {
                self.channels.remove(&number);
            }
            Ok(Method::ChannelClose { .. }) => self.link.method(number, &Method::ChannelCloseOk {}),
            _ => {}
        }
    }

    /// What follows from how a channel's step ended.
    fn after(&mut self, number: u16, done: Result<(), Failure>, cx: &mut Context<'_>) {
        match done {
            Ok(()) => {}
            Err(_) if self.stage == Stage::Leaving => {
                // The peer has stopped listening: the channel only gives back what it holds.
                if let Some(mut channel) = self.channels.remove(&number) {
                    channel.give_back(&mut self.link, cx);
                }
            }
            Err(Failure { error, method }) if error.code.is_hard() => self.refuse(&error, method, cx),
            Err(Failure { error, method }) => self.close_channel(number, &error, method, cx),
        }
        if self.channels.get(&number).is_some_and(Channel::is_gone) {
            self.channels.remove(&number);
        }
    }

    fn close_channel(&mut self, number: u16, error: &AmqpError, method: (u16, u16), cx: &mut Context<'_>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        // What was decided before the error is said before it.
        channel.confirm(&mut self.link);
        channel.give_back(&mut self.link, cx);
        channel.fail();
        let (class_id, method_id) = method;
        let (reply_code, reply_text) = (error.code as u16, error.text().into());
        self.link.method(number, &Method::ChannelClose { reply_code, reply_text, class_id, method_id });
    }

    fn live(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        self.channels.get_mut(&key.number).filter(|channel| channel.key == key && !channel.closing)
    }

    // -- answers ----------------------------------------------------------------------------------------

    fn on_answer(&mut self, purpose: Purpose, event: Event, cx: &mut Context<'_>) {
        match (purpose, event) {
            (Purpose::Append { runs, bytes }, Event::Appended(result)) => {
                self.link.appending_bytes = self.link.appending_bytes.saturating_sub(bytes);
                // A queue that is gone has nothing to lose any more.
                let accepted = matches!(result, Ok(_) | Err(AppendError::UnknownLog));
                self.on_appended(&runs, accepted, cx);
                if result == Err(AppendError::NoSpace) {
                    self.refused_for_room(&runs, cx);
                }
            }
            (Purpose::Step(key), event) => self.on_step(key, event, cx),
            (Purpose::Get { channel, log }, event) => match event {
                Event::Got(Ok(Some((delivery, _)))) if self.live(channel).is_none() => {
                    let held = Held { log, offset: delivery.offset, consumed: false };
                    self.link.settlements.add(held, Outcome::Requeue);
                }
                event => self.on_step(channel, event, cx),
            },
            (Purpose::Cancel { consumer, channel: key }, _) => {
                self.link.take_purpose(consumer);
                let link = &mut self.link;
                if let Some(channel) = self.channels.get_mut(&key.number).filter(|found| found.key == key) {
                    let done = channel.on_cancelled(consumer, link, cx);
                    self.after(key.number, done, cx);
                }
            }
            (Purpose::Removal | Purpose::Append { .. } | Purpose::Consumer(_), _) => {}
        }
    }

    fn on_step(&mut self, key: ChannelKey, event: Event, cx: &mut Context<'_>) {
        let link = &mut self.link;
        let found = self.channels.get_mut(&key.number);
        if let Some(channel) = found.filter(|channel| channel.key == key && !channel.closing) {
            let done = channel.on_answer(event, link, cx);
            self.touched.push(key.number);
            self.after(key.number, done, cx);
        }
    }

    /// Every channel hears of all its publishes first, so that one confirm covers them.
    fn on_appended(&mut self, runs: &[Run], accepted: bool, cx: &mut Context<'_>) {
        let mut keys: Vec<ChannelKey> = Vec::new();
        for run in runs {
            let found = self.channels.get_mut(&run.channel.number);
            if let Some(channel) = found.filter(|channel| channel.key == run.channel) {
                channel.on_appended(run, accepted);
                if !keys.contains(&run.channel) {
                    keys.push(run.channel);
                }
            }
        }
        for key in keys {
            let Some(channel) = self.channels.get_mut(&key.number) else { continue };
            channel.confirm(&mut self.link);
            let done = channel.run(&mut self.link, cx);
            self.after(key.number, done, cx);
        }
    }

    fn on_consumer_event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        let Some(consumer) = self.link.consumer(ticket).cloned() else { return };
        match event {
            Event::Subscribed(result) => {
                let failed = result.is_err();
                self.on_step(consumer.channel, Event::Subscribed(result), cx);
                if failed {
                    self.link.take_purpose(ticket);
                }
            }
            Event::ConsumerGone => {
                self.link.take_purpose(ticket);
                let link = &mut self.link;
                let found = self.channels.get_mut(&consumer.channel.number);
                if let Some(channel) = found.filter(|found| found.key == consumer.channel) {
                    channel.on_consumer_gone(&consumer, link);
                }
            }
            Event::Deliver(deliveries) => {
                let Subscribed { channel: key, log, settles, .. } = consumer;
                let link = &mut self.link;
                let found = self.channels.get_mut(&key.number);
                if let Some(channel) = found.filter(|found| found.key == key && !found.closing) {
                    channel.on_deliver(ticket, deliveries, link);
                } else if settles {
                    for delivery in deliveries {
                        let held = Held { log, offset: delivery.offset, consumed: false };
                        link.settlements.add(held, Outcome::Requeue);
                    }
                }
            }
            _ => {}
        }
    }

    // -- the end ----------------------------------------------------------------------------------------

    /// The peer closes: what it sent before is done first.
    fn leave(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Leaving;
        self.channels.retain(|_, channel| !channel.closing);
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            let Some(channel) = self.channels.get_mut(&number) else { continue };
            let done = channel.enter(Operation::Leave, &mut self.link, cx);
            self.after(number, done, cx);
        }
    }

    /// The broker closes because of `error`.
    fn refuse(&mut self, error: &AmqpError, method: (u16, u16), cx: &mut Context<'_>) {
        if matches!(self.stage, Stage::Refused | Stage::Parting | Stage::Over) {
            return;
        }
        self.give_back_all(cx);
        let (class_id, method_id) = method;
        let (reply_code, reply_text) = (error.code as u16, error.text().into());
        self.link.method(0, &Method::ConnectionClose { reply_code, reply_text, class_id, method_id });
        self.stage = Stage::Refused;
        self.heartbeat.expect_answer(cx.now.monotonic_us);
        if let Some(at) = self.heartbeat.next_us() {
            cx.wake_at(at);
        }
    }

    fn give_back_all(&mut self, cx: &mut Context<'_>) {
        for (_, mut channel) in std::mem::take(&mut self.channels) {
            channel.confirm(&mut self.link);
            channel.give_back(&mut self.link, cx);
        }
        self.link.remove_exclusive_queues(cx);
        self.link.flush_commands(cx);
    }

    /// Agrees to the peer's close, and leaves it to the peer to hang up.
    fn part(&mut self, cx: &mut Context<'_>) {
        self.give_back_all(cx);
        self.link.method(0, &Method::ConnectionCloseOk {});
        self.stage = Stage::Parting;
        self.heartbeat.part(cx.now.monotonic_us);
        if let Some(at) = self.heartbeat.next_us() {
            cx.wake_at(at);
        }
    }

    /// Nothing more is said.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.give_back_all(cx);
        self.stage = Stage::Over;
        self.link.outbox.flush(cx);
        cx.close();
    }

    /// Sends what this call gathered.
    fn end_call(&mut self, cx: &mut Context<'_>) {
        for number in std::mem::take(&mut self.touched) {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.confirm(&mut self.link);
            }
        }
        if self.stage == Stage::Leaving && self.channels.is_empty() {
            self.link.remove_exclusive_queues(cx);
            if self.link.is_quiet() && self.link.publishes.is_empty() {
                self.part(cx);
            }
        }
        self.link.flush_commands(cx);
        if self.link.outbox.flush(cx) {
            self.heartbeat.sent(cx.now.monotonic_us);
        }
    }
}
