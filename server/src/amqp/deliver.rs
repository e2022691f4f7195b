//! Consumers and `basic.get`: records on their way to the peer.
//!
//! In: the methods of class basic that take messages, and deliveries from queues. Out: `basic.deliver` and
//! `basic.get-ok` with their content. Never: hands a record out that it could not give back.

use ringmain_engine::types::LogId;

use super::channel::{Channel, Step};
use super::error::{AmqpError, Code};
use super::link::{Link, Purpose, Subscribed};
use super::message::Message;
use super::names;
use super::settle::Held;
use super::stream_offset::start_of;
use super::wire::method::Method;
use super::wire::primitive::ShortStr;
use super::wire::table::Table;
use crate::broker::catalog::Topic;
use crate::broker::command::{Command, Consumer, Delivery, Start, SubscribeError};
use crate::broker::context::Context;

/// A `basic.consume` that waits for its queue.
#[derive(Debug)]
pub struct Subscription {
    ticket: u64,
    tag: ShortStr,
    queue: String,
    nowait: bool,
}

/// `basic.consume` as it came.
struct Consume {
    queue: ShortStr,
    tag: ShortStr,
    no_ack: bool,
    exclusive: bool,
    nowait: bool,
    arguments: Table,
}

impl Channel {
    /// `basic.qos`: for each new consumer, or with `global` for all of the channel together.
    pub(super) fn qos(
        &mut self,
        prefetch_size: u32,
        prefetch_count: u16,
        global: bool,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if prefetch_size != 0 {
            return Err(AmqpError::not_implemented(format!("prefetch_size!=0 ({prefetch_size})")));
        }
        let count = u32::from(prefetch_count);
        match global {
            true => self.limit_all(count, link, cx),
            false => self.prefetch = count,
        }
        self.reply(Some(Method::BasicQosOk {}), link);
        Ok(())
    }

    /// `basic.consume`.
    pub(super) fn consume(
        &mut self,
        method: Method,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Method::BasicConsume { queue, consumer_tag, no_ack, exclusive, nowait, arguments, .. } = method
        else {
            return Ok(());
        };
        let tag = match consumer_tag.is_empty() {
            true => names::generated("amq.ctag-", cx.random).into(),
            // A copy: the consumer outlives the input buffer it came in.
            false => ShortStr::from(&*consumer_tag),
        };
        self.subscribe(Consume { queue, tag, no_ack, exclusive, nowait, arguments }, link, cx)
    }

    fn subscribe(
        &mut self,
        consume: Consume,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Consume { queue, tag, no_ack, exclusive, nowait, arguments } = consume;
        if self.consumers.contains_key(&tag) {
            let detail = format!("attempt to reuse consumer tag '{tag}'");
            return Err(AmqpError::new(Code::NotAllowed, detail));
        }
        let queue = self.queue_name(&queue)?;
        let topic = names::queue(cx, &queue)?;
        let log = names::only_log(topic)?;
        let stream = is_stream(topic);
        if stream {
            check_stream_consumer(&queue, no_ack, exclusive, self.surplus.limit_of(self.prefetch))?;
        }
        let start = if stream { start_of(&arguments, cx.now.wall_ms)? } else { Start::Shared };
        let consumer = Consumer {
            limit: if no_ack { 0 } else { self.surplus.limit_of(self.prefetch) },
            settles: !no_ack,
            exclusive,
            priority: priority(&arguments)?,
            start,
        };
        let (channel, prefetch) = (self.key, self.prefetch);
        let subscribed = Subscribed { channel, tag: tag.clone(), log, settles: !no_ack, stream, prefetch };
        let ticket = link.ask(Purpose::Consumer(subscribed), Command::Subscribe { log, consumer }, cx);
        self.consumers.insert(tag.clone(), ticket);
        self.step = Some(Step::Subscribe(Subscription { ticket, tag, queue, nowait }));
        Ok(())
    }

    pub(super) fn subscribed(
        &mut self,
        subscription: Subscription,
        result: Result<(), SubscribeError>,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        let Subscription { ticket, tag, queue, nowait } = subscription;
        match result {
            Ok(()) => {
                self.reply((!nowait).then_some(Method::BasicConsumeOk { consumer_tag: tag }), link);
                Ok(())
            }
            Err(error) => {
                self.consumers.remove(&tag);
                link.take_purpose(ticket);
                Err(AmqpError::from_queue(error, &queue))
            }
        }
    }

    /// `basic.cancel`: the reply comes behind the last delivery.
    pub(super) fn cancel(
        &mut self,
        tag: ShortStr,
        nowait: bool,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let reply = (!nowait).then(|| Method::BasicCancelOk { consumer_tag: tag.clone() });
        match self.consumers.remove(&tag) {
            // A tag that nobody has is not an error.
            None => self.reply(reply, link),
            Some(ticket) => {
                self.end_consumer(ticket, link, cx);
                self.step = Some(Step::Reply(reply));
            }
        }
        Ok(())
    }

    /// Asks the queue to end the consumer with this ticket, before it hears what goes back to it.
    pub(super) fn end_consumer(&mut self, ticket: u64, link: &mut Link, cx: &mut Context<'_>) {
        let Some(Subscribed { log, .. }) = link.consumer(ticket) else { return };
        let command = Command::Cancel { log: *log, consumer: ticket };
        link.ask_at_once(Purpose::Cancel { consumer: ticket, channel: self.key }, command, cx);
        self.cancels += 1;
    }

    /// The queue of a consumer is gone.
    pub fn on_consumer_gone(&mut self, consumer: &Subscribed, link: &mut Link) {
        let known = self.consumers.remove(&consumer.tag).is_some();
        if known && link.hears_cancel {
            self.gone.push(consumer.tag.clone());
        }
        // A channel that deletes the queue itself hears first that it is deleted.
        if !matches!(self.step, Some(Step::Change(_))) {
            self.name_gone(link);
        }
    }

    /// Tells of consumers whose queues are gone.
    pub(super) fn name_gone(&mut self, link: &mut Link) {
        for consumer_tag in std::mem::take(&mut self.gone) {
            self.reply(Some(Method::BasicCancel { consumer_tag, nowait: true }), link);
        }
    }

    /// Records for a consumer of this channel.
    pub fn on_deliver(&mut self, ticket: u64, deliveries: Vec<Delivery>, link: &mut Link) {
        let Some(subscribed) = link.consumer(ticket).cloned() else { return };
        for delivery in deliveries {
            if subscribed.settles && self.surplus.is_full(self.unacked.consumed()) {
                self.surplus.push(ticket, subscribed.log, delivery);
            } else {
                self.deliver(ticket, &subscribed, delivery, link);
            }
        }
    }

    /// Writes one record to a consumer.
    pub(super) fn deliver(&mut self, ticket: u64, to: &Subscribed, delivery: Delivery, link: &mut Link) {
        let Delivery { offset, redelivered, .. } = delivery;
        let mut message = message_of(&delivery);
        if to.stream {
            message.add_stream_offset(offset);
        }
        let delivery_tag = match to.settles {
            true => self.unacked.hold(Held { log: to.log, offset, consumed: true }),
            false => self.unacked.pass(),
        };
        let method = Method::BasicDeliver {
            consumer_tag: to.tag.clone(),
            delivery_tag,
            redelivered,
            exchange: message.exchange,
            routing_key: message.routing_key,
        };
        link.content(self.key.number, &method, &message.properties, &message.body);
        link.outbox.delivered(to.log, ticket);
    }

    /// `basic.get`.
    pub(super) fn get(
        &mut self,
        queue: &str,
        no_ack: bool,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let queue = self.queue_name(queue)?;
        let topic = names::queue(cx, &queue)?;
        if is_stream(topic) {
            let detail = format!("basic.get not supported by stream queue '{queue}' in vhost '/'");
            return Err(AmqpError::not_implemented(detail));
        }
        let log = names::only_log(topic)?;
        link.ask(Purpose::Get { channel: self.key, log }, Command::Get { log, settle: no_ack }, cx);
        self.step = Some(Step::Get { queue, log, no_ack });
        Ok(())
    }

    pub(super) fn got(
        &mut self,
        queue: &str,
        log: LogId,
        no_ack: bool,
        result: Result<Option<(Delivery, u64)>, SubscribeError>,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        let got = result.map_err(|error| AmqpError::from_queue(error, queue))?;
        let Some((delivery, ready)) = got else {
            self.reply(Some(Method::BasicGetEmpty {}), link);
            return Ok(());
        };
        let Delivery { offset, redelivered, .. } = delivery;
        let message = message_of(&delivery);
        let delivery_tag = match no_ack {
            true => self.unacked.pass(),
            false => self.unacked.hold(Held { log, offset, consumed: false }),
        };
        let method = Method::BasicGetOk {
            delivery_tag,
            redelivered,
            exchange: message.exchange,
            routing_key: message.routing_key,
            message_count: u32::try_from(ready).unwrap_or(u32::MAX),
        };
        link.content(self.key.number, &method, &message.properties, &message.body);
        Ok(())
    }
}

/// The message as consumers get it, but for what only streams add.
fn message_of(delivery: &Delivery) -> Message {
    let mut message = Message::of_record(&delivery.record, delivery.timestamp_ms);
    if delivery.returns > 0 {
        message.add_delivery_count(delivery.returns);
    }
    message
}

/// Whether records of the topic are read by offset only.
pub fn is_stream(topic: &Topic) -> bool {
    topic.queue.as_ref().is_none_or(|queue| queue.stream)
}

fn check_stream_consumer(queue: &str, no_ack: bool, exclusive: bool, prefetch: u32) -> Result<(), AmqpError> {
    if no_ack {
        let detail =
            format!("automatic acknowledgement not supported by stream queue '{queue}' in vhost '/'");
        return Err(AmqpError::not_implemented(detail));
    }
    if exclusive {
        let detail = format!("exclusive consumers not supported by stream queue '{queue}' in vhost '/'");
        return Err(AmqpError::not_implemented(detail));
    }
    if prefetch == 0 {
        return Err(AmqpError::precondition(format!(
            "consumer prefetch count is not set for stream queue '{queue}' in vhost '/'"
        )));
    }
    Ok(())
}

fn priority(arguments: &Table) -> Result<i32, AmqpError> {
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    match value.as_i64().map(i32::try_from) {
        Some(Ok(priority)) => Ok(priority),
        _ => Err(AmqpError::precondition("invalid arg 'x-priority' of consumer: not a whole number")),
    }
}
