//! Asking a group, and waiting for what it says: what the handlers of all group requests have in common.

use crate::broker::command::{Command, Event};
use crate::broker::groups::{GroupError, GroupReply, GroupRequest};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::Writer;

/// Asks one group one thing; `answer` writes the response from its reply.
pub(super) fn ask_group<F>(
    call: &mut Call<'_, '_>,
    group: String,
    request: GroupRequest,
    answer: F,
) -> Handled
where
    F: FnOnce(GroupReply, &Call<'_, '_>) -> Option<Writer> + Send + 'static,
{
    ask_groups(call, vec![(group, request)], |mut replies, call| answer(replies.pop()?, call))
}

/// Asks groups one thing each; `answer` writes the response once all have replied, in the order of the
/// questions. It returns `None` for a reply of another kind than the question, which ends the connection.
pub(super) fn ask_groups<F>(
    call: &mut Call<'_, '_>,
    questions: Vec<(String, GroupRequest)>,
    answer: F,
) -> Handled
where
    F: FnOnce(Vec<GroupReply>, &Call<'_, '_>) -> Option<Writer> + Send + 'static,
{
    if questions.is_empty() {
        return Handled::Now(reply_of(answer(Vec::new(), call)));
    }
    let replies = questions.iter().map(|_| None).collect();
    let missing = questions.len();
    for (group, request) in questions {
        call.ask(Command::Group { group, request });
    }
    Handled::Later(Box::new(Gathering { replies, missing, answer: Some(answer) }))
}

/// The code of a result: 0 for success.
pub(super) fn code_of<T>(result: &Result<T, GroupError>) -> i16 {
    result.as_ref().err().map_or(ErrorCode::None, ErrorCode::from).code()
}

fn reply_of(writer: Option<Writer>) -> Reply {
    writer.map_or(Reply::Close, Reply::Answer)
}

/// Waits until every group has replied. `missing` is the number of `None` in `replies`.
struct Gathering<F> {
    replies: Vec<Option<GroupReply>>,
    missing: usize,
    answer: Option<F>,
}

impl<F> Pending for Gathering<F>
where
    F: FnOnce(Vec<GroupReply>, &Call<'_, '_>) -> Option<Writer> + Send,
{
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Group(reply) = event else { return Some(Reply::Close) };
        let place = usize::try_from(index).ok().and_then(|index| self.replies.get_mut(index))?;
        if place.replace(reply).is_none() {
            self.missing -= 1;
        }
        if 0 < self.missing {
            return None;
        }
        let replies = std::mem::take(&mut self.replies).into_iter().flatten().collect();
        let answer = self.answer.take()?;
        Some(reply_of(answer(replies, call)))
    }
}
