//! AMQP 0-9-1 as bytes: frames, methods, field tables, content properties.
//!
//! In: bytes from a peer. Out: values that share them, or the reason why not; and values back to bytes.
//! Never: keeps a state of a connection, or allocates by a length it has not checked.
//!
//! Layouts are those of the AMQP 0-9-1 specification (section 4.2) with RabbitMQ's reading of the field table
//! tags and its extension methods.

pub mod frame;
pub mod method;
pub mod primitive;
pub mod properties;
pub mod table;

#[cfg(test)]
mod tests;

use std::fmt;

/// Why bytes are not AMQP 0-9-1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The connection does not begin with the protocol header of AMQP 0-9-1.
    ProtocolHeader,
    /// The frame is larger than negotiated; both in bytes, envelope included.
    FrameTooLarge { size: u64, limit: u32 },
    /// The byte after the payload is not 0xCE.
    FrameEnd(u8),
    /// No frame has this type.
    FrameType(u8),
    /// No method has these numbers.
    UnknownMethod { class: u16, method: u16 },
    /// A content header of a class that has no content.
    UnexpectedClass(u16),
    /// The payload contradicts itself; the text names the part.
    Syntax(&'static str),
}

impl WireError {
    /// The reply code of the `connection.close` that answers it.
    pub fn reply_code(self) -> u16 {
        match self {
            WireError::ProtocolHeader
            | WireError::FrameTooLarge { .. }
            | WireError::FrameEnd(_)
            | WireError::FrameType(_) => 501,
            WireError::UnknownMethod { .. } => 540,
            WireError::UnexpectedClass(_) => 505,
            WireError::Syntax(_) => 502,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::ProtocolHeader => write!(f, "the protocol header is not that of AMQP 0-9-1"),
            WireError::FrameTooLarge { size, limit } => {
                write!(f, "a frame of {size} bytes is larger than the negotiated {limit}")
            }
            WireError::FrameEnd(found) => write!(f, "the frame ends in {found:#04x} instead of 0xce"),
            WireError::FrameType(found) => write!(f, "unknown frame type {found}"),
            WireError::UnknownMethod { class, method } => write!(f, "unknown method {class}.{method}"),
            WireError::UnexpectedClass(class) => {
                write!(f, "expected content header for class 60, got one for class {class} instead")
            }
            WireError::Syntax(part) => write!(f, "malformed {part}"),
        }
    }
}

impl std::error::Error for WireError {}
