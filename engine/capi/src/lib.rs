//! Ringmain's engine for programs in C: the same requests, answered by callback or waited for.
//!
//! In: pointers from C, each checked for null. Out: codes, and the text of the last error of the calling thread.
//! Never: lets a panic or an error of Rust's across, or keeps a pointer that it was lent for a call.
//!
//! `include/ringmain.h` is what cbindgen makes of this file; a test compares them.

mod calls;
mod error;

pub use calls::*;
pub use error::*;
