//! Names of queues and exchanges: cleaning, generating, looking up.
//!
//! In: names a peer sent. Out: what they stand for, or why the peer may not use them. Never: changes anything.

use ringmain_engine::types::LogId;

use super::channel::Channel;
use super::error::{AmqpError, Code};
use super::link::owner;
use crate::broker::catalog::{Exchange, Topic};
use crate::broker::context::{Context, Random};

/// Names that begin so are the broker's to give.
pub const RESERVED_PREFIX: &str = "amq.";

/// Where RabbitMQ delivers replies without a queue.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The name without line ends, which are never part of one.
pub fn cleaned(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect()
}

/// A name nobody has: the prefix and 120 random bits.
pub fn generated(prefix: &str, random: &mut Random) -> String {
    let mut name = String::from(prefix);
    for _ in 0..2 {
        let mut bits = random.next_u64();
        for _ in 0..10 {
            name.extend(BASE64URL.get((bits & 63) as usize).map(|letter| char::from(*letter)));
            bits >>= 6;
        }
    }
    name
}

/// The queue or topic of this name, if this connection may use it. 404, or 405 if it is another's.
pub fn queue<'a>(cx: &Context<'a>, name: &str) -> Result<&'a Topic, AmqpError> {
    if name == DIRECT_REPLY_TO {
        return Err(AmqpError::not_implemented("direct reply-to"));
    }
    let topic = cx.catalog.topic(name).ok_or_else(|| AmqpError::no_queue(name))?;
    match owner(topic) {
        Some(owner) if owner != cx.session => Err(AmqpError::locked(name)),
        _ => Ok(topic),
    }
}

/// The exchange of this name. 403 for the default exchange, which nobody may change; 404 if there is none.
pub fn exchange<'a>(cx: &Context<'a>, name: &str) -> Result<&'a Exchange, AmqpError> {
    refuse_default(name)?;
    cx.catalog.exchange(name).ok_or_else(|| AmqpError::no_exchange(name))
}

/// 403 for the default exchange.
pub fn refuse_default(exchange: &str) -> Result<(), AmqpError> {
    match exchange.is_empty() {
        true => Err(AmqpError::refused("operation not permitted on the default exchange")),
        false => Ok(()),
    }
}

/// 403 for names that are the broker's to give; `kind` is "queue" or "exchange".
pub fn refuse_reserved(kind: &str, name: &str) -> Result<(), AmqpError> {
    match name.starts_with(RESERVED_PREFIX) {
        true => Err(AmqpError::refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))),
        false => Ok(()),
    }
}

/// The one log of a queue or stream; 406 for a topic with several.
pub fn only_log(topic: &Topic) -> Result<LogId, AmqpError> {
    match topic.partitions.as_slice() {
        [log] => Ok(*log),
        several => {
            let (name, count) = (&topic.name, several.len());
            Err(AmqpError::precondition(format!(
                "'{name}' in vhost '/' is a topic with {count} partitions; a stream has exactly one"
            )))
        }
    }
}

impl Channel {
    /// The name of a queue; an empty one means the queue this channel declared last.
    pub(super) fn queue_name(&self, name: &str) -> Result<String, AmqpError> {
        match (name.is_empty(), self.last_queue.is_empty()) {
            (false, _) => Ok(cleaned(name)),
            (true, false) => Ok(self.last_queue.clone()),
            (true, true) => Err(AmqpError::new(Code::NotFound, "no previously declared queue")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_text_and_differ() {
        let mut random = Random(1);
        let (first, second) = (generated("amq.gen-", &mut random), generated("amq.gen-", &mut random));
        assert_eq!(first.len(), "amq.gen-".len() + 20);
        assert_ne!(first, second);
        assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)));
        assert_eq!(cleaned("a\r\nb"), "ab");
    }
}
