//! Groups and the engine: state records in, replies out once what they tell is durable.

use ringmain_engine::types::Now;

use super::catalog::group_log;
use super::command::{Event, SessionId};
use super::groups::{GroupError, GroupOutput, GroupReply, GroupRequest, Waiter};
use super::{Broker, Pending};

impl Broker {
    pub(super) fn group(
        &mut self,
        from: SessionId,
        ticket: u64,
        group: &str,
        request: GroupRequest,
        now: Now,
    ) {
        // The last of the journal's room is for what makes room again.
        if let GroupRequest::Commit { offsets, .. } = &request
            && self.shard.is_pressed()
        {
            let refused = offsets.iter().map(|_| Err(GroupError::Storage)).collect();
            return self.answer(from, ticket, Event::Group(GroupReply::Commit(refused)));
        }
        let mut out = GroupOutput::default();
        let waiter = Waiter { session: from, ticket };
        self.groups.handle(group, request, waiter, now, &mut self.random, &mut out);
        self.take_group_output(out);
    }

    pub(super) fn expire_groups(&mut self, now: Now) {
        if self.groups.next_deadline_us().is_some_and(|at| at <= now.monotonic_us) {
            let mut out = GroupOutput::default();
            self.groups.expire(now, &mut out);
            self.take_group_output(out);
        }
    }

    pub(super) fn take_group_output(&mut self, out: GroupOutput) {
        for (waiter, reply) in out.replies {
            self.answer(waiter.session, waiter.ticket, Event::Group(reply));
        }
        for mut write in out.writes {
            let index = write.log_index;
            let record = std::mem::take(&mut write.record);
            self.append_state(group_log(index), &[record], Pending::GroupWrite(write));
            if self.state_logs.wants_snapshot(group_log(index)) {
                let records = self.groups.snapshot(index);
                self.append_snapshot(group_log(index), &records);
            }
        }
    }
}
