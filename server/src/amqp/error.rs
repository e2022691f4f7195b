//! What a peer did wrong, as the protocol says it: a reply code, its text, and what it closes.
//!
//! In: the reasons the other files give. Out: the reply code and text of `channel.close` or
//! `connection.close`. Never: is there a second place where a code is chosen to be soft or hard.

use super::wire::WireError;
use crate::broker::catalog::CatalogError;
use crate::broker::command::SubscribeError;

/// A reply code of AMQP 0-9-1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    NoRoute = 312,
    AccessRefused = 403,
    NotFound = 404,
    ResourceLocked = 405,
    PreconditionFailed = 406,
    FrameError = 501,
    SyntaxError = 502,
    CommandInvalid = 503,
    ChannelError = 504,
    UnexpectedFrame = 505,
    ResourceError = 506,
    NotAllowed = 530,
    NotImplemented = 540,
    InternalError = 541,
}

impl Code {
    /// The constant's name, with which every reply text begins.
    pub fn name(self) -> &'static str {
        match self {
            Code::NoRoute => "NO_ROUTE",
            Code::AccessRefused => "ACCESS_REFUSED",
            Code::NotFound => "NOT_FOUND",
            Code::ResourceLocked => "RESOURCE_LOCKED",
            Code::PreconditionFailed => "PRECONDITION_FAILED",
            Code::FrameError => "FRAME_ERROR",
            Code::SyntaxError => "SYNTAX_ERROR",
            Code::CommandInvalid => "COMMAND_INVALID",
            Code::ChannelError => "CHANNEL_ERROR",
            Code::UnexpectedFrame => "UNEXPECTED_FRAME",
            Code::ResourceError => "RESOURCE_ERROR",
            Code::NotAllowed => "NOT_ALLOWED",
            Code::NotImplemented => "NOT_IMPLEMENTED",
            Code::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether the whole connection ends; otherwise only the channel does.
    pub fn is_hard(self) -> bool {
        match self {
            Code::NoRoute
            | Code::AccessRefused
            | Code::NotFound
            | Code::ResourceLocked
            | Code::PreconditionFailed => false,
            Code::FrameError
            | Code::SyntaxError
            | Code::CommandInvalid
            | Code::ChannelError
            | Code::UnexpectedFrame
            | Code::ResourceError
            | Code::NotAllowed
            | Code::NotImplemented
            | Code::InternalError => true,
        }
    }
}

/// Longest reply text: it is a short string on the wire.
const TEXT_BYTES_MAX: usize = 255;

/// Why a channel or a connection is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AmqpError {
    pub code: Code,
    detail: String,
}

impl AmqpError {
    /// An error of this code; `detail` follows the code's name in the reply text.
    pub fn new(code: Code, detail: impl Into<String>) -> AmqpError {
        AmqpError { code, detail: detail.into() }
    }

    /// 404 for a queue.
    pub fn no_queue(name: &str) -> AmqpError {
        AmqpError::new(Code::NotFound, format!("no queue '{name}' in vhost '/'"))
    }

    /// 404 for an exchange.
    pub fn no_exchange(name: &str) -> AmqpError {
        AmqpError::new(Code::NotFound, format!("no exchange '{name}' in vhost '/'"))
    }

    /// 403 with a reason.
    pub fn refused(detail: impl Into<String>) -> AmqpError {
        AmqpError::new(Code::AccessRefused, detail)
    }

    /// 406 with a reason.
    pub fn precondition(detail: impl Into<String>) -> AmqpError {
        AmqpError::new(Code::PreconditionFailed, detail)
    }

    /// 540 with a reason.
    pub fn not_implemented(detail: impl Into<String>) -> AmqpError {
        AmqpError::new(Code::NotImplemented, detail)
    }

    /// 405: the queue belongs to another connection.
    pub fn locked(queue: &str) -> AmqpError {
        let detail = format!(
            "cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be originally \
             declared on another connection or the exclusive property value does not match that of the \
             original declaration."
        );
        AmqpError::new(Code::ResourceLocked, detail)
    }

    /// What the bytes were not. Codes outside the table are 501.
    pub fn from_wire(error: WireError) -> AmqpError {
        let code = match error.reply_code() {
            502 => Code::SyntaxError,
            505 => Code::UnexpectedFrame,
            540 => Code::NotImplemented,
            _ => Code::FrameError,
        };
        AmqpError::new(code, error.to_string())
    }

    /// What the catalog said about `kind` ("queue", "exchange") `name`.
    pub fn from_catalog(error: CatalogError, kind: &str, name: &str) -> AmqpError {
        let precondition = |why: &str| AmqpError::precondition(format!("{kind} '{name}' in vhost '/' {why}"));
        match error {
            CatalogError::Exists => precondition("exists already"),
            CatalogError::NotFound => {
                AmqpError::new(Code::NotFound, format!("no {kind} '{name}' in vhost '/'"))
            }
            CatalogError::InUse => precondition("in use"),
            CatalogError::InvalidName => precondition("has a name that is not allowed"),
            CatalogError::InvalidPartitions => precondition("cannot have so many partitions"),
            CatalogError::InvalidConfig(why) => precondition(&why),
            CatalogError::TooMany => precondition("would be one more than there may be"),
            CatalogError::Storage => {
                AmqpError::new(Code::InternalError, "the catalog's journal could not be written")
            }
        }
    }

    /// What the queue `name` answered.
    pub fn from_queue(error: SubscribeError, name: &str) -> AmqpError {
        match error {
            SubscribeError::UnknownQueue => AmqpError::no_queue(name),
            SubscribeError::ExclusiveConsumer => {
                AmqpError::refused(format!("queue '{name}' in vhost '/' in exclusive use"))
            }
            SubscribeError::Storage => {
                AmqpError::new(Code::InternalError, format!("queue '{name}' could not be read"))
            }
            SubscribeError::Damaged(what) => {
                AmqpError::new(Code::InternalError, format!("queue '{name}' is damaged: {what}"))
            }
        }
    }

    /// The reply text: the code's name, a dash and the reason, cut to what a short string holds.
    pub fn text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.detail);
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_codes_are_the_ones_the_protocol_calls_channel_exceptions() {
        for code in [Code::AccessRefused, Code::NotFound, Code::ResourceLocked, Code::PreconditionFailed] {
            assert!(!code.is_hard(), "{code:?}");
        }
        for code in [Code::NotAllowed, Code::NotImplemented, Code::UnexpectedFrame, Code::InternalError] {
            assert!(code.is_hard(), "{code:?}");
        }
    }

    #[test]
    fn a_text_is_cut_at_a_character_that_fits() {
        let text = AmqpError::no_queue(&"ü".repeat(200)).text();
        assert!(text.len() <= TEXT_BYTES_MAX && text.len() >= TEXT_BYTES_MAX - 1);
        assert!(text.starts_with("NOT_FOUND - no queue 'ü"));
    }
}
