//! The calls themselves.
//!
//! In: an engine, a log, bytes that are lent for the call. Out: what the engine answers. Never: unwinds into C, whose
//! program ends instead: the build aborts on a panic.

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringmain_engine::embed::{Ack, Appended, Config, Engine, EngineError, Log};
use ringmain_engine::types::LogId;

use crate::error::{RingmainCode, code_of, fail, failed, not_opened};

/// An open data directory.
pub struct RingmainEngine(Engine);

/// One log of it.
pub struct RingmainLog(Log);

/// What a log holds: `start <= durable <= end`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RingmainBounds {
    /// First offset that can be read.
    pub start: u64,
    /// Everything below is on the device.
    pub durable: u64,
    /// The offset that the next record gets.
    pub end: u64,
}

/// Called once, on a thread of the engine, which must not be held up: `RINGMAIN_CODE_OK` and the offset that the record
/// got, now durable; or why it was not appended.
pub type RingmainAppended =
    Option<unsafe extern "C" fn(context: *mut c_void, code: RingmainCode, offset: u64)>;

/// Called for each record that was read; `value` is lent until it returns. Another value than 0 ends the read.
pub type RingmainRecord = Option<
    unsafe extern "C" fn(context: *mut c_void, offset: u64, value: *const u8, value_bytes: usize) -> i32,
>;

/// What C hands over to get it back; only passed on.
struct Context(*mut c_void);

// SAFETY: the pointer is never followed here, and the header says on which thread it is given back.
unsafe impl Send for Context {}

impl Context {
    fn pointer(&self) -> *mut c_void {
        self.0
    }
}

fn null() -> RingmainCode {
    fail(RingmainCode::Argument, "a pointer is null")
}

/// Opens `directory` with default settings, making it if it is missing, and recovers what the last run left. The
/// engine is `*engine` until `ringmain_close`. `journal_file_bytes`: bytes of one journal file, of which there are up
/// to four; 0: 64 MiB.
///
/// # Safety
/// `directory` is a string that ends in a zero; `engine` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_open(
    directory: *const c_char,
    journal_file_bytes: u64,
    engine: *mut *mut RingmainEngine,
) -> RingmainCode {
    if directory.is_null() || engine.is_null() {
        return null();
    }
    // SAFETY: not null, and a string by the caller's word.
    let directory = unsafe { CStr::from_ptr(directory) };
    let mut config = Config::default();
    if journal_file_bytes > 0 {
        config.journal_file_bytes = journal_file_bytes;
    }
    match Engine::open(Path::new(OsStr::from_bytes(directory.to_bytes())), config) {
        Ok(opened) => {
            let opened = Box::into_raw(Box::new(RingmainEngine(opened)));
            // SAFETY: not null, and writable by the caller's word.
            unsafe { engine.write(opened) };
            RingmainCode::Ok
        }
        Err(error) => not_opened(&error),
    }
}

/// Finishes everything asked so far and frees the engine; its logs answer `RINGMAIN_CODE_CLOSED` from then on.
///
/// # Safety
/// `engine` came from `ringmain_open` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_close(engine: *mut RingmainEngine) -> RingmainCode {
    if engine.is_null() {
        return null();
    }
    // SAFETY: it was made by `Box::into_raw` and is given back once, by the caller's word.
    let engine = unsafe { Box::from_raw(engine) };
    engine.0.close().map_or_else(|error| failed(&error), |()| RingmainCode::Ok)
}

/// The log with this id, made durably if there is none: `*log` until `ringmain_log_free`.
///
/// # Safety
/// `engine` came from `ringmain_open`; `log` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_log(
    engine: *const RingmainEngine,
    id: u64,
    log: *mut *mut RingmainLog,
) -> RingmainCode {
    // SAFETY: null or live, by the caller's word.
    let Some(engine) = (unsafe { engine.as_ref() }) else { return null() };
    if log.is_null() {
        return null();
    }
    match engine.0.log(LogId(id)).wait() {
        Ok(opened) => {
            let opened = Box::into_raw(Box::new(RingmainLog(opened)));
            // SAFETY: not null, and writable by the caller's word.
            unsafe { log.write(opened) };
            RingmainCode::Ok
        }
        Err(error) => failed(&error),
    }
}

/// Frees the handle; the log stays.
///
/// # Safety
/// `log` is null, or came from `ringmain_log` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_log_free(log: *mut RingmainLog) {
    if !log.is_null() {
        // SAFETY: it was made by `Box::into_raw` and is given back once, by the caller's word.
        drop(unsafe { Box::from_raw(log) });
    }
}

/// The log and the request for one record.
///
/// # Safety
/// As of `ringmain_append`.
unsafe fn request(
    log: *const RingmainLog,
    value: *const u8,
    value_bytes: usize,
) -> Result<Ack<Appended>, RingmainCode> {
    // SAFETY: null or live, by the caller's word.
    let log = unsafe { log.as_ref() }.ok_or_else(null)?;
    if value.is_null() || value_bytes > isize::MAX as usize {
        return Err(null());
    }
    // SAFETY: so many bytes may be read, by the caller's word.
    let value = unsafe { std::slice::from_raw_parts(value, value_bytes) };
    log.0.append_values(&[value]).map_err(|error| failed(&error))
}

/// Asks for one record to be appended. `RINGMAIN_CODE_OK` means asked for: `appended` hears, once, what came of it, with
/// `context`. The bytes are copied before this returns.
///
/// # Safety
/// `log` came from `ringmain_log`; `value_bytes` bytes can be read at `value`; `context` may be used on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_append(
    log: *const RingmainLog,
    value: *const u8,
    value_bytes: usize,
    appended: RingmainAppended,
    context: *mut c_void,
) -> RingmainCode {
    let Some(callback) = appended else { return null() };
    // SAFETY: the same demands.
    let ack = match unsafe { request(log, value, value_bytes) } {
        Ok(ack) => ack,
        Err(code) => return code,
    };
    let context = Context(context);
    ack.on_done(move |answer| {
        let (code, offset) = match answer {
            Ok(appended) => (RingmainCode::Ok, appended.base_offset),
            Err(error) => (code_of(&error), 0),
        };
        // SAFETY: it can be called on any thread, by the caller's word.
        unsafe { callback(context.pointer(), code, offset) };
    });
    RingmainCode::Ok
}

/// Appends one record and waits until it is durable; `offset` gets the one that it got, unless it is null.
///
/// # Safety
/// As of `ringmain_append`; `offset` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_append_wait(
    log: *const RingmainLog,
    value: *const u8,
    value_bytes: usize,
    offset: *mut u64,
) -> RingmainCode {
    // SAFETY: the same demands.
    let ack = match unsafe { request(log, value, value_bytes) } {
        Ok(ack) => ack,
        Err(code) => return code,
    };
    match ack.wait() {
        Ok(appended) => {
            // SAFETY: null or writable, by the caller's word.
            if let Some(offset) = unsafe { offset.as_mut() } {
                *offset = appended.base_offset;
            }
            RingmainCode::Ok
        }
        Err(error) => failed(&error),
    }
}

/// Reads records from offset `from` on, about `bytes_max` bytes of them, and calls `record` with each; `next` gets the
/// offset to go on at, which is `from` if the log ends there.
///
/// # Safety
/// `log` came from `ringmain_log`; `next` may be written; `context` is what `record` wants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_read(
    log: *const RingmainLog,
    from: u64,
    bytes_max: usize,
    record: RingmainRecord,
    context: *mut c_void,
    next: *mut u64,
) -> RingmainCode {
    // SAFETY: null or live, by the caller's word.
    let (Some(log), Some(callback)) = (unsafe { log.as_ref() }, record) else { return null() };
    // SAFETY: null or writable, by the caller's word.
    let Some(next) = (unsafe { next.as_mut() }) else { return null() };
    let read = match log.0.read(from, bytes_max).wait() {
        Ok(read) => read,
        Err(error) => return failed(&error),
    };
    *next = from;
    for (offset, record) in read.records().filter(|(offset, _)| *offset >= from) {
        let value = record.value.unwrap_or_default();
        // SAFETY: it is called on this thread, with bytes that live through the call.
        if unsafe { callback(context, offset, value.as_ptr(), value.len()) } != 0 {
            *next = offset;
            return RingmainCode::Ok;
        }
        *next = offset + 1;
    }
    *next = read.next_offset().map_or(*next, |behind| behind.max(*next));
    RingmainCode::Ok
}

/// What the log holds now.
///
/// # Safety
/// `log` came from `ringmain_log`; `bounds` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_bounds(
    log: *const RingmainLog,
    bounds: *mut RingmainBounds,
) -> RingmainCode {
    // SAFETY: null or live, by the caller's word.
    let Some(log) = (unsafe { log.as_ref() }) else { return null() };
    // SAFETY: null or writable, by the caller's word.
    let Some(bounds) = (unsafe { bounds.as_mut() }) else { return null() };
    match log.0.bounds().wait() {
        Ok(found) => {
            *bounds = RingmainBounds { start: found.start, durable: found.durable, end: found.end };
            RingmainCode::Ok
        }
        Err(error) => failed(&error),
    }
}

/// Drops everything below `before`, durably.
///
/// # Safety
/// `log` came from `ringmain_log`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_trim_before(log: *const RingmainLog, before: u64) -> RingmainCode {
    // SAFETY: null or live, by the caller's word.
    done(unsafe { log.as_ref() }, |log| log.trim_before(before))
}

/// Has the log end at `end`, durably: what it held from there on is gone.
///
/// # Safety
/// `log` came from `ringmain_log`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringmain_truncate_after(log: *const RingmainLog, end: u64) -> RingmainCode {
    // SAFETY: null or live, by the caller's word.
    done(unsafe { log.as_ref() }, |log| log.truncate_after(end))
}

fn done(log: Option<&RingmainLog>, ask: impl FnOnce(&Log) -> Ack<()>) -> RingmainCode {
    let Some(log) = log else { return null() };
    let answer: Result<(), EngineError> = ask(&log.0).wait();
    answer.map_or_else(|error| failed(&error), |()| RingmainCode::Ok)
}
