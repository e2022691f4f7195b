//! One channel: its methods in the order they came, one at a time.
//!
//! In: methods and content of this channel, and the answers to what it asked. Out: replies in order, questions.
//! Never: begins a method while the one before waits for its answer.
//!
//! ```text
//!   method --> line --> begin --> done (reply) --> next of the line
//!                         |  \--> step: waits for an answer --> done, or the next step
//!                         \-----> step Quiet: waits until all it published is durable
//! ```
//!
//! Methods that look at queues wait for the channel's own publishes: what was published is seen by the `basic.get`
//! behind it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ringmain_engine::types::LogId;

use super::confirms::Confirms;
use super::deliver::Subscription;
use super::error::{AmqpError, Code};
use super::link::{ChannelKey, Link, Purpose};
use super::publish::{Incoming, Publish, Run};
use super::settle::Unacked;
use super::surplus::Surplus;
use super::topology::{Change, DeclareExchange, DeclareQueue, DeleteQueue};
use super::wire::frame::{Frame, Kind};
use super::wire::method::Method;
use super::wire::primitive::ShortStr;
use super::wire::properties::ContentHeader;
use crate::broker::command::{Command, Event, Outcome};
use crate::broker::context::Context;

/// What a peer asked for, as a whole.
#[derive(Debug)]
pub enum Operation {
    Method(Method),
    Publish(Publish),
    /// The connection is closing: as `channel.close`, without a reply.
    Leave,
}

/// Where the operation at the head of the line is.
#[derive(Debug)]
pub enum Step {
    /// Waits until the channel's publishes are durable and its cancellations done, and begins then.
    Quiet(Operation),
    /// Done when its publishes are durable and its cancellations done.
    Reply(Option<Method>),
    CreateQueue(Box<DeclareQueue>),
    CountDeclared {
        queue: String,
        nowait: bool,
    },
    CountToDelete(DeleteQueue),
    CreateExchange(Box<DeclareExchange>),
    Change(Change),
    Subscribe(Subscription),
    Get {
        queue: String,
        log: LogId,
        no_ack: bool,
    },
    Purge {
        queue: String,
        nowait: bool,
    },
    /// Left: nothing more is done here.
    Gone,
}

/// Why a channel fails, and at which method.
#[derive(Debug)]
pub struct Failure {
    pub error: AmqpError,
    pub method: (u16, u16),
}

/// State of one channel.
#[derive(Debug)]
pub struct Channel {
    pub key: ChannelKey,
    /// The broker closed it and waits for the peer's agreement.
    pub closing: bool,
    /// A message that is coming in.
    content: Option<Incoming>,
    line: VecDeque<Operation>,
    line_bytes: usize,
    pub(super) step: Option<Step>,
    /// Numbers of the method that began last.
    method: (u16, u16),
    /// Present in confirm mode.
    pub(super) confirms: Option<Confirms>,
    /// Publishes that were not answered yet, once for each log.
    pub(super) appends: u32,
    /// Cancellations that were not answered yet.
    pub(super) cancels: u32,
    pub(super) unacked: Unacked,
    pub(super) surplus: Surplus,
    pub(super) consumers: BTreeMap<ShortStr, u64>,
    /// Limit of unsettled deliveries for each new consumer; 0: none.
    pub(super) prefetch: u32,
    /// Consumers whose queue is gone, to be named behind the reply to its deletion.
    pub(super) gone: Vec<ShortStr>,
    /// The queue declared last, which an empty name means.
    pub(super) last_queue: String,
}

impl Channel {
    /// A channel that was just opened.
    pub fn new(key: ChannelKey) -> Channel {
        Channel {
            key,
            closing: false,
            content: None,
            line: VecDeque::new(),
            line_bytes: 0,
            step: None,
            method: (0, 0),
            confirms: None,
            appends: 0,
            cancels: 0,
            unacked: Unacked::default(),
            surplus: Surplus::default(),
            consumers: BTreeMap::new(),
            prefetch: 0,
            gone: Vec::new(),
            last_queue: String::new(),
        }
    }

    /// Operations that wait, and the bytes of their messages.
    pub fn waiting(&self) -> (usize, usize) {
        (self.line.len(), self.line_bytes)
    }

    /// Whether the channel left and everything it held is given back.
    pub fn is_gone(&self) -> bool {
        matches!(self.step, Some(Step::Gone))
    }

    /// A frame of this channel.
    pub fn on_frame(&mut self, frame: Frame, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        match frame.kind {
            Kind::Method => self.on_method(frame.payload, link, cx),
            Kind::Header => self.on_header(frame.payload, link, cx),
            Kind::Body => self.on_body(frame.payload, link, cx),
            Kind::Heartbeat => {
                Err(self
                    .failure(AmqpError::new(Code::UnexpectedFrame, "heartbeat on a channel that is not 0")))
            }
        }
    }

    fn on_method(&mut self, payload: Bytes, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        let method = match Method::decode(payload) {
            Ok(method) => method,
            Err(error) => return Err(self.failure(AmqpError::from_wire(error))),
        };
        if self.content.is_some() {
            let detail = format!("expected content, got method {}", method.name());
            return Err(self.failure(AmqpError::new(Code::UnexpectedFrame, detail)));
        }
        match method {
            Method::BasicPublish { exchange, routing_key, mandatory, immediate } => {
                self.method = (60, 40);
                if immediate {
                    return Err(self.failure(AmqpError::not_implemented("immediate=true")));
                }
                self.content = Some(Incoming::new(exchange, routing_key, mandatory));
                Ok(())
            }
            method => self.enter(Operation::Method(method), link, cx),
        }
    }

    fn on_header(&mut self, payload: Bytes, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(content) = &mut self.content else { return Err(self.content_without_method()) };
        let taken = ContentHeader::decode(payload)
            .map_err(AmqpError::from_wire)
            .and_then(|header| content.header(header, cx.settings.amqp_message_bytes_max));
        taken.map_err(|error| self.failure(error))?;
        self.finish_content(link, cx)
    }

    fn on_body(&mut self, payload: Bytes, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(content) = &mut self.content else { return Err(self.content_without_method()) };
        content.body(payload).map_err(|error| self.failure(error))?;
        self.finish_content(link, cx)
    }

    fn content_without_method(&self) -> Failure {
        self.failure(AmqpError::new(Code::UnexpectedFrame, "expected method frame, got content"))
    }

    fn finish_content(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.content.take_if(|content| content.is_whole()) {
            Some(content) => self.enter(Operation::Publish(content.finish()), link, cx),
            None => Ok(()),
        }
    }

    fn failure(&self, error: AmqpError) -> Failure {
        Failure { error, method: self.method }
    }

    /// Takes an operation in: it begins at once if nothing is before it.
    pub fn enter(
        &mut self,
        operation: Operation,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), Failure> {
        if self.step.is_none() && self.line.is_empty() {
            self.begin(operation, link, cx)?;
            return if self.step.is_some() { self.run(link, cx) } else { Ok(()) };
        }
        self.line_bytes += operation.bytes();
        self.line.push_back(operation);
        Ok(())
    }

    /// Goes on with the line until an operation has to wait.
    pub fn run(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        while !self.closing {
            if self.is_quiet() {
                match self.step.take() {
                    Some(Step::Quiet(operation)) => self.perform(operation, link, cx)?,
                    Some(Step::Reply(reply)) => self.reply(reply, link),
                    step => self.step = step,
                }
            }
            if self.step.is_some() {
                return Ok(());
            }
            let Some(operation) = self.line.pop_front() else { return Ok(()) };
            self.line_bytes -= operation.bytes();
            self.begin(operation, link, cx)?;
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        self.appends == 0 && self.cancels == 0
    }

    fn begin(&mut self, operation: Operation, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.method = operation.id();
        if operation.looks_at_queues() && !self.is_quiet() {
            link.flush_commands(cx);
            self.step = Some(Step::Quiet(operation));
            return Ok(());
        }
        self.perform(operation, link, cx)
    }

    fn perform(
        &mut self,
        operation: Operation,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), Failure> {
        let done = match operation {
            Operation::Publish(publish) => self.publish(publish, link, cx),
            Operation::Method(method) => self.dispatch(method, link, cx),
            Operation::Leave => {
                self.confirm(link);
                self.give_back(link, cx);
                self.step = Some(Step::Gone);
                Ok(())
            }
        };
        done.map_err(|error| self.failure(error))
    }

    /// Every method a client may send on a channel, once.
    fn dispatch(&mut self, method: Method, link: &mut Link, cx: &mut Context<'_>) -> Result<(), AmqpError> {
        match method {
            Method::ChannelFlow { active } => self.flow(active, link),
            Method::ChannelClose { .. } => {
                self.confirm(link);
                self.give_back(link, cx);
                self.step = Some(Step::Gone);
                self.reply(Some(Method::ChannelCloseOk {}), link);
                Ok(())
            }
            Method::AccessRequest { .. } => {
                self.reply(Some(Method::AccessRequestOk { ticket: 1 }), link);
                Ok(())
            }
            Method::ExchangeDeclare { .. }
            | Method::ExchangeDelete { .. }
            | Method::ExchangeBind { .. }
            | Method::ExchangeUnbind { .. }
            | Method::QueueDeclare { .. }
            | Method::QueueBind { .. }
            | Method::QueueUnbind { .. }
            | Method::QueuePurge { .. }
            | Method::QueueDelete { .. } => self.topology(method, link, cx),
            Method::BasicQos { prefetch_size, prefetch_count, global } => {
                self.qos(prefetch_size, prefetch_count, global, link, cx)
            }
            Method::BasicConsume { .. } => self.consume(method, link, cx),
            Method::BasicCancel { consumer_tag, nowait } => self.cancel(consumer_tag, nowait, link, cx),
            Method::BasicGet { queue, no_ack } => self.get(&queue, no_ack, link, cx),
            Method::BasicAck { delivery_tag, multiple } => {
                self.settle(delivery_tag, multiple, Outcome::Accept, link)
            }
            Method::BasicReject { delivery_tag, requeue } => {
                self.settle(delivery_tag, false, rejection(requeue), link)
            }
            Method::BasicNack { delivery_tag, multiple, requeue } => {
                self.settle(delivery_tag, multiple, rejection(requeue), link)
            }
            Method::BasicRecover { requeue } => self.recover(requeue, true, link),
            Method::BasicRecoverAsync { requeue } => self.recover(requeue, false, link),
            Method::ConfirmSelect { nowait } => {
                self.confirms.get_or_insert_default();
                self.reply((!nowait).then_some(Method::ConfirmSelectOk {}), link);
                Ok(())
            }
            Method::TxSelect {} | Method::TxCommit {} | Method::TxRollback {} => {
                Err(AmqpError::not_implemented("transactions"))
            }
            Method::ChannelOpen {} => Err(AmqpError::new(Code::ChannelError, "second 'channel.open' seen")),
            other => {
                let detail = format!("{} is not for a client to send here", other.name());
                Err(AmqpError::new(Code::CommandInvalid, detail))
            }
        }
    }

    fn flow(&mut self, active: bool, link: &mut Link) -> Result<(), AmqpError> {
        if !active {
            return Err(AmqpError::not_implemented("active=false"));
        }
        self.reply(Some(Method::ChannelFlowOk { active }), link);
        Ok(())
    }

    /// Writes a reply, if one is wanted.
    pub(super) fn reply(&self, reply: Option<Method>, link: &mut Link) {
        if let Some(method) = reply {
            link.method(self.key.number, &method);
        }
    }

    /// Asks, and waits for the answer at `step`.
    pub(super) fn wait(&mut self, step: Step, command: Command, link: &mut Link, cx: &mut Context<'_>) {
        link.ask(Purpose::Step(self.key), command, cx);
        self.step = Some(step);
    }

    /// The answer to what the step asked.
    pub fn on_answer(&mut self, event: Event, link: &mut Link, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(step) = self.step.take() else { return Ok(()) };
        let done = match (step, event) {
            (Step::CreateQueue(declare), Event::Catalog(result)) => {
                self.queue_created(*declare, result, link, cx)
            }
            (Step::CountDeclared { queue, nowait }, Event::QueueStatus(result)) => {
                self.declared(&queue, nowait, result.unwrap_or_default(), link);
                Ok(())
            }
            (Step::CountToDelete(delete), Event::QueueStatus(result)) => {
                self.delete_counted(delete, result.unwrap_or_default(), link, cx)
            }
            (Step::CreateExchange(declare), Event::Catalog(result)) => {
                self.exchange_created(*declare, result, link, cx)
            }
            (Step::Change(change), Event::Catalog(result)) => self.changed(change, result, link),
            (Step::Get { queue, log, no_ack }, Event::Got(result)) => {
                self.got(&queue, log, no_ack, result, link)
            }
            (Step::Subscribe(subscription), Event::Subscribed(result)) => {
                self.subscribed(subscription, result, link)
            }
            (Step::Purge { queue, nowait }, Event::Purged(result)) => {
                result.map_err(|error| AmqpError::from_queue(error, &queue)).map(|count| {
                    let message_count = u32::try_from(count).unwrap_or(u32::MAX);
                    self.reply((!nowait).then_some(Method::QueuePurgeOk { message_count }), link);
                })
            }
            // Not the answer to this step: the channel goes on waiting.
            (step, _) => {
                self.step = Some(step);
                Ok(())
            }
        };
        done.map_err(|error| self.failure(error))?;
        self.name_gone(link);
        self.run(link, cx)
    }

    /// One queue answered for the publishes of `run`. [`Channel::run`] must follow.
    pub fn on_appended(&mut self, run: &Run, accepted: bool) {
        self.appends = self.appends.saturating_sub(run.count);
        if let Some(confirms) = &mut self.confirms
            && run.first != 0
        {
            confirms.answered(run.first, run.last, accepted);
        }
    }

    /// Writes the confirms that are due.
    pub fn confirm(&mut self, link: &mut Link) {
        let Some(confirms) = &mut self.confirms else { return };
        if self.closing {
            return;
        }
        while let Some(verdict) = confirms.next_verdict() {
            let (delivery_tag, multiple) = (verdict.last, verdict.multiple);
            let method = match verdict.accepted {
                true => Method::BasicAck { delivery_tag, multiple },
                false => Method::BasicNack { delivery_tag, multiple, requeue: false },
            };
            link.method(self.key.number, &method);
        }
    }

    /// A consumer has ended.
    pub fn on_cancelled(
        &mut self,
        consumer: u64,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), Failure> {
        self.return_surplus(consumer, link);
        self.cancels = self.cancels.saturating_sub(1);
        self.run(link, cx)
    }

    /// The broker closed the channel: nothing more is done or said here.
    pub fn fail(&mut self) {
        self.closing = true;
        self.step = None;
    }

    /// Ends every consumer and puts everything unsettled back, in this order.
    pub fn give_back(&mut self, link: &mut Link, cx: &mut Context<'_>) {
        for (_, ticket) in std::mem::take(&mut self.consumers) {
            self.end_consumer(ticket, link, cx);
        }
        self.requeue_all(link);
        self.line.clear();
        self.line_bytes = 0;
        self.gone.clear();
        self.content = None;
    }
}

fn rejection(requeue: bool) -> Outcome {
    if requeue { Outcome::Requeue } else { Outcome::Discard }
}

impl Operation {
    fn bytes(&self) -> usize {
        match self {
            Operation::Publish(publish) => {
                publish.message.body.len() + publish.message.properties.raw().len()
            }
            Operation::Method(_) | Operation::Leave => 0,
        }
    }

    fn id(&self) -> (u16, u16) {
        match self {
            Operation::Method(method) => method.id(),
            Operation::Publish(_) => (60, 40),
            Operation::Leave => (0, 0),
        }
    }

    /// Whether the peer could tell from the outcome that an earlier publish has not arrived.
    fn looks_at_queues(&self) -> bool {
        match self {
            Operation::Method(method) => matches!(
                method,
                Method::ChannelClose { .. }
                    | Method::ExchangeDelete { .. }
                    | Method::QueueDeclare { .. }
                    | Method::QueuePurge { .. }
                    | Method::QueueDelete { .. }
                    | Method::BasicGet { .. }
            ),
            Operation::Publish(_) => false,
            Operation::Leave => true,
        }
    }
}
