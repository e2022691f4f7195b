//! The codes and the text that a C program gets for an error.
//!
//! In: errors of the engine. Out: one code for each kind, and the words behind it, by thread. Never: frees a text
//! while its thread may read it.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use ringmain_engine::embed::EngineError;
use ringmain_engine::error::OpenError;

/// What a call came to. Everything but `RINGMAIN_CODE_OK` left the log as it was, unless it says otherwise.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingmainCode {
    /// Done; what it asked for is durable if it says so.
    Ok = 0,
    /// A pointer is null, or a length cannot be.
    Argument = 1,
    /// The engine was closed.
    Closed = 2,
    /// There is no such log.
    UnknownLog = 3,
    /// The log does not end where it was expected to.
    WrongOffset = 4,
    /// The bytes are none that can be appended: none at all, or too many.
    Batch = 5,
    /// Below the log's start, or above what is durable.
    OutOfRange = 6,
    /// The bytes on the device are not what was written there.
    Damaged = 7,
    /// There is too little room on the file system.
    NoSpace = 8,
    /// A batch reaches across the offset, or what is there is committed: nothing was truncated.
    NotTruncated = 9,
    /// Another process has the directory open.
    InUse = 10,
    /// The directory cannot be written.
    ReadOnly = 11,
    /// The directory was written by another version, or the configuration cannot be.
    Incompatible = 12,
    /// The device or the kernel failed; whether an append in flight is durable is known at the next open.
    Failed = 13,
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The text of the last error that a call on this thread returned; empty if there was none. Valid until the next
/// call on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn ringmain_error() -> *const c_char {
    LAST.with_borrow(|last| last.as_ptr())
}

/// Keeps the text for [`ringmain_error`].
pub(crate) fn fail(code: RingmainCode, what: &str) -> RingmainCode {
    let text: Vec<u8> = what.bytes().filter(|byte| *byte != 0).collect();
    LAST.with_borrow_mut(|last| *last = CString::new(text).unwrap_or_default());
    code
}

pub(crate) fn code_of(error: &EngineError) -> RingmainCode {
    match error {
        EngineError::Closed => RingmainCode::Closed,
        EngineError::UnknownLog => RingmainCode::UnknownLog,
        EngineError::WrongOffset { .. } | EngineError::Diverged { .. } => RingmainCode::WrongOffset,
        EngineError::Batch(_) => RingmainCode::Batch,
        EngineError::OutOfRange { .. } => RingmainCode::OutOfRange,
        EngineError::Damaged(_) => RingmainCode::Damaged,
        EngineError::NoSpace => RingmainCode::NoSpace,
        EngineError::InsideBatch { .. } | EngineError::Committed { .. } => RingmainCode::NotTruncated,
        _ => RingmainCode::Failed,
    }
}

pub(crate) fn failed(error: &EngineError) -> RingmainCode {
    fail(code_of(error), &error.to_string())
}

pub(crate) fn not_opened(error: &OpenError) -> RingmainCode {
    let code = match error {
        OpenError::InUse(_) => RingmainCode::InUse,
        OpenError::Incompatible { .. } | OpenError::Config { .. } => RingmainCode::Incompatible,
        OpenError::Damaged(_) => RingmainCode::Damaged,
        OpenError::ReadOnly(_) => RingmainCode::ReadOnly,
        OpenError::Io(_) => RingmainCode::Failed,
    };
    fail(code, &error.to_string())
}
