//! A caller that waits for its append does the work itself where the shard is idle: it would only sleep otherwise, and both
//! to wake the shard's thread and to be woken by it can take as long as the device.
//!
//! In: an append. Out: its answer, when it is on the device. Never: runs the code of anybody else; holds the turn while
//! the device works.
//!
//! ```text
//!   turn taken? ──no──> through the channel, as any request
//!      └─yes─> gathered; nothing in flight? ──no──> the thread writes it behind the frame before
//!                 └─yes─> are others about to come? ──yes──> the last of them writes; the first, if it takes too long
//!                            └─no─> written by the caller ──> all who waited are answered; what is left is the thread's
//! ```

use super::ack::Completer;
use super::desk::Answer;
use super::request::Request;
use super::turns::Turn;
use super::worker::{Lead, Mail, Worker};
use super::{Appended, EngineError};
use crate::format::batch::CheckedBatch;
use crate::io::disk::Disk;
use crate::types::LogId;

/// Appends, and returns when it is on the device.
pub(super) fn append(mail: &Mail, log: LogId, batch: CheckedBatch) -> Result<Appended, EngineError> {
    let (done, ack) = Completer::new();
    let request = Request::Append { log, batch, expect: None, waits: true, done };
    let turn = if mail.may_wait { mail.turns.try_take() } else { None };
    let Some(mut turn) = turn else {
        // A request that cannot be sent is dropped, and its completer with it: the ack says that it is closed.
        let _ = mail.send(request);
        return ack.wait();
    };
    let Some(worker) = turn.worker() else { return Err(EngineError::Closed) };
    match worker.lead(request) {
        Lead::WaitFor(limit) => {
            act(mail, turn, Lead::Wait);
            let ack = match ack.wait_for(limit) {
                Ok(answer) => return answer,
                Err(ack) => ack,
            };
            let mut turn = mail.turns.take();
            if let Some(worker) = turn.worker() {
                let lead = worker.write();
                act(mail, turn, lead);
            }
            ack.wait()
        }
        lead => {
            act(mail, turn, lead);
            ack.wait()
        }
    }
}

/// Ends a turn, and does what it has come to.
fn act(mail: &Mail, mut turn: Turn<'_, Worker>, lead: Lead) {
    let woken = needs_thread(&mut turn);
    let Lead::Write(token, op) = lead else {
        drop(turn);
        return wake(mail, woken);
    };
    turn.lead();
    wake(mail, woken);
    let completion = Disk::Machine.execute(token, op);
    let mut turn = mail.turns.take();
    let answers = turn.worker().map(|worker| worker.led(completion));
    let woken = needs_thread(&mut turn);
    turn.led();
    drop(turn);
    wake(mail, woken);
    answers.into_iter().flatten().for_each(Answer::give);
}

fn needs_thread(turn: &mut Turn<'_, Worker>) -> bool {
    turn.worker().is_some_and(|worker| worker.needs_thread())
}

fn wake(mail: &Mail, woken: bool) {
    if woken {
        mail.wake();
    }
}
