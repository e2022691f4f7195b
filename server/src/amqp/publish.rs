//! `basic.publish`: from method, header and body frames to records of every queue the message goes to.
//!
//! In: frames of one channel, then whole messages. Out: batches, one per log for everything published to it in one
//! call. Never: gives up a message half routed, or reserves memory for a body that has not come.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::types::LogId;

use super::channel::Channel;
use super::error::{AmqpError, Code};
use super::exchange;
use super::link::{ChannelKey, Link};
use super::message::{self, Message};
use super::wire::method::Method;
use super::wire::primitive::{ShortBytes, ShortStr};
use super::wire::properties::{ContentHeader, Properties};
use super::wire::table::Value;
use crate::broker::context::Context;

/// A batch takes no further message that would make it longer than this, so that messages which are small enough for a
/// topic alone are so together.
const BATCH_BYTES: usize = 256 << 10;

/// A message whose frames are still coming.
#[derive(Debug)]
pub struct Incoming {
    exchange: ShortStr,
    routing_key: ShortBytes,
    mandatory: bool,
    header: Option<ContentHeader>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Nothing yet, or all of it in one frame.
    Shared(Bytes),
    Joined(BytesMut),
}

/// A whole message, not routed yet.
#[derive(Debug)]
pub struct Publish {
    pub message: Message,
    pub mandatory: bool,
}

impl Incoming {
    /// After the method.
    pub fn new(exchange: ShortStr, routing_key: ShortBytes, mandatory: bool) -> Incoming {
        Incoming { exchange, routing_key, mandatory, header: None, body: Body::Shared(Bytes::new()) }
    }

    /// The header frame; 406 if it announces more than a message may have.
    pub fn header(&mut self, header: ContentHeader, body_bytes_max: u32) -> Result<(), AmqpError> {
        if self.header.is_some() {
            return Err(unexpected("expected content body, got a second content header"));
        }
        if header.body_size > u64::from(body_bytes_max) {
            let size = header.body_size;
            return Err(AmqpError::precondition(format!(
                "message size {size} is larger than configured max size {body_bytes_max}"
            )));
        }
        self.header = Some(header);
        Ok(())
    }

    /// A body frame.
    pub fn body(&mut self, piece: Bytes) -> Result<(), AmqpError> {
        let Some(header) = &self.header else {
            return Err(unexpected("expected content header, got content body"));
        };
        if (self.body.len() + piece.len()) as u64 > header.body_size {
            return Err(unexpected("content body is longer than its header says"));
        }
        self.body.add(piece);
        Ok(())
    }

    /// Whether every frame has come.
    pub fn is_whole(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.body_size == self.body.len() as u64)
    }

    /// The message. It must be whole.
    pub fn finish(self) -> Publish {
        let properties = self.header.map_or_else(Properties::default, |header| header.properties);
        let body = match self.body {
            Body::Shared(bytes) => bytes,
            Body::Joined(bytes) => bytes.freeze(),
        };
        let message = Message { exchange: self.exchange, routing_key: self.routing_key, properties, body };
        Publish { message, mandatory: self.mandatory }
    }
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Body::Shared(bytes) => bytes.len(),
            Body::Joined(bytes) => bytes.len(),
        }
    }

    fn add(&mut self, piece: Bytes) {
        match self {
            Body::Shared(bytes) if bytes.is_empty() => *bytes = piece,
            Body::Shared(bytes) => {
                let mut joined = BytesMut::with_capacity(bytes.len() + piece.len());
                joined.extend_from_slice(bytes);
                joined.extend_from_slice(&piece);
                *self = Body::Joined(joined);
            }
            Body::Joined(bytes) => bytes.extend_from_slice(&piece),
        }
    }
}

fn unexpected(detail: &str) -> AmqpError {
    AmqpError::new(Code::UnexpectedFrame, detail)
}

impl Channel {
    /// Routes a message and gathers it for every log it goes to.
    pub fn publish(
        &mut self,
        publish: Publish,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let Publish { mut message, mandatory } = publish;
        check(&message, cx)?;
        let topics = exchange::route(
            cx.catalog,
            &message.exchange,
            &message.routing_key,
            message.properties.headers(),
        );
        let logs: Vec<LogId> =
            topics.iter().filter_map(|topic| message::log_for(topic, &message.routing_key)).collect();
        if logs.is_empty() && mandatory {
            self.return_unrouted(&message, link);
        }
        let count = logs.len() as u32;
        message.strip_bcc();
        let sequence = self.confirms.as_mut().map_or(0, |confirms| confirms.publish(count));
        for log in logs {
            link.publishes.push(log, self.key, sequence, &message, cx.now.wall_ms);
            self.appends += 1;
        }
        Ok(())
    }

    fn return_unrouted(&self, message: &Message, link: &mut Link) {
        let method = Method::BasicReturn {
            reply_code: Code::NoRoute as u16,
            reply_text: Code::NoRoute.name().into(),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
        };
        link.content(self.key.number, &method, &message.properties, &message.body);
    }
}

fn check(message: &Message, cx: &Context<'_>) -> Result<(), AmqpError> {
    let Some(exchange) = cx.catalog.exchange(&message.exchange) else {
        return Err(AmqpError::no_exchange(&message.exchange));
    };
    if exchange.internal {
        let name = &exchange.name;
        return Err(AmqpError::refused(format!("cannot publish to internal exchange '{name}' in vhost '/'")));
    }
    let headers = message.properties.headers();
    for name in ["CC", "BCC"] {
        if headers.get(name).is_some_and(|value| !matches!(value, Value::Array(_))) {
            return Err(AmqpError::precondition(format!("invalid header '{name}': not an array")));
        }
    }
    let view = message.properties.view();
    if message::expiration_ms(&view).is_err() {
        let text = view.expiration.unwrap_or_default().escape_ascii();
        return Err(AmqpError::precondition(format!("invalid expiration '{text}'")));
    }
    if let Some(user) = view.user_id
        && user != b"guest"
    {
        let user = user.escape_ascii();
        return Err(AmqpError::precondition(format!(
            "user_id property set to '{user}' but authenticated user was 'guest'"
        )));
    }
    if !message.fits(0) {
        return Err(AmqpError::precondition("message and properties are larger than a record may be"));
    }
    Ok(())
}

/// Publishes of one channel that follow each other in one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub channel: ChannelKey,
    /// Sequence numbers of the first and the last; 0: the channel does not confirm.
    pub first: u64,
    pub last: u64,
    pub count: u32,
}

/// Messages of one call, gathered by log.
#[derive(Debug, Default)]
pub struct Publishes {
    open: BTreeMap<LogId, Packing>,
    /// Batches that are full, in the order in which they became so.
    full: Vec<(LogId, CheckedBatch, Vec<Run>)>,
}

struct Packing {
    builder: BatchBuilder,
    runs: Vec<Run>,
}

impl std::fmt::Debug for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} records for {:?}", self.builder.records_count(), self.runs)
    }
}

impl Publishes {
    /// Adds a message for `log`, which will be answered for once.
    fn push(&mut self, log: LogId, channel: ChannelKey, sequence: u64, message: &Message, now_ms: i64) {
        let room = |packing: &Packing| {
            let length = packing.builder.len();
            message.fits(length) && length + message.body.len() <= BATCH_BYTES
        };
        if self.open.get(&log).is_some_and(|packing| !room(packing)) {
            self.close(log);
        }
        let packing = self
            .open
            .entry(log)
            .or_insert_with(|| Packing { builder: BatchBuilder::new(now_ms), runs: Vec::new() });
        message.push_to(&mut packing.builder, now_ms);
        match packing.runs.last_mut() {
            Some(run) if run.follows(channel, sequence) => {
                run.last = sequence;
                run.count += 1;
            }
            _ => packing.runs.push(Run { channel, first: sequence, last: sequence, count: 1 }),
        }
    }

    /// Whether nothing is gathered.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.full.is_empty()
    }

    fn close(&mut self, log: LogId) {
        if let Some(Packing { builder, runs }) = self.open.remove(&log) {
            self.full.push((log, builder.finish(), runs));
        }
    }

    /// The batches gathered so far; those of one log are in order.
    pub fn take(&mut self) -> Vec<(LogId, CheckedBatch, Vec<Run>)> {
        while let Some((&log, _)) = self.open.first_key_value() {
            self.close(log);
        }
        std::mem::take(&mut self.full)
    }
}

impl Run {
    /// Whether a publish on `channel` with this sequence number comes next.
    fn follows(&self, channel: ChannelKey, sequence: u64) -> bool {
        self.channel == channel
            && (sequence == 0 && self.last == 0 || self.last != 0 && sequence == self.last + 1)
    }
}
