//! A caller that waits for its append does the work itself where the shard is idle: it would only sleep otherwise, and both
//! to wake the shard's thread and to be woken by it can take as long as the device.
//!
//! In: an append. Out: its answer, when it is on the device. Never: gives an answer to anybody else, or calls back; holds the
//! turn while the device works.
//!
//! ```text
//!   turn taken? ──no──> through the channel, as any request
//!      └─yes─> gathered; nothing in flight? ──no──> whoever writes the frame before does the rest
//!                 └─yes─> written by the caller ──> answered; what is left is the thread's
//! ```

use super::ack::Completer;
use super::request::Request;
use super::worker::Mail;
use super::{Appended, EngineError};
use crate::format::batch::CheckedBatch;
use crate::io::disk::Disk;
use crate::types::LogId;

/// Appends, and returns when it is on the device.
pub(super) fn append(mail: &Mail, log: LogId, batch: CheckedBatch) -> Result<Appended, EngineError> {
    let (done, ack) = Completer::new();
    let request = Request::Append { log, batch, expect: None, done };
    let turn = if mail.may_wait { mail.turns.try_take() } else { None };
    let Some(mut turn) = turn else {
        // A request that cannot be sent is dropped, and its completer with it: the ack says that it is closed.
        let _ = mail.send(request);
        return ack.wait();
    };
    let Some(worker) = turn.worker() else { return Err(EngineError::Closed) };
    let led = worker.lead(request);
    let woken = worker.needs_thread();
    match led {
        None => {
            drop(turn);
            if woken {
                mail.wake();
            }
        }
        Some((token, op, number)) => {
            turn.lead();
            if woken {
                mail.wake();
            }
            let completion = Disk::Machine.execute(token, op);
            let mut turn = mail.turns.take();
            let worker = turn.worker();
            let woken = worker.is_some_and(|worker| {
                worker.led(completion, number);
                worker.needs_thread()
            });
            turn.led();
            drop(turn);
            if woken {
                mail.wake();
            }
        }
    }
    ack.wait()
}
