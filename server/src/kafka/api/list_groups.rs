//! ListGroups: asks every core for the groups it coordinates, or, where each core is a broker, this one: a client that
//! wants all of them asks every broker.

use crate::broker::command::{Command, Event};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::kafka::wire::{Reader, WireError};

/// The only type of group there is.
const TYPE_CLASSIC: &str = "classic";

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let filter = ListGroupsRequest::decode(body, call.header.version)?;
    let own = call.cx.session.core;
    let cores = if call.cx.settings.nodes.are_cores() { own..own + 1 } else { 0..call.cx.settings.cores };
    let missing = cores.len();
    for core in cores {
        call.ask(Command::ListGroups { core });
    }
    Ok(Handled::Later(Box::new(Listing { filter, missing, groups: Vec::new() })))
}

/// Waits for every core that was asked. `missing` cores have not answered yet.
struct Listing {
    filter: ListGroupsRequest,
    missing: usize,
    groups: Vec<ListedGroup>,
}

impl Pending for Listing {
    fn on_event(&mut self, _index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Groups(groups) = event else { return Some(Reply::Close) };
        for (group_id, protocol_type, state) in groups {
            if accepts(&self.filter.states_filter, state) && accepts(&self.filter.types_filter, TYPE_CLASSIC)
            {
                self.groups.push(ListedGroup {
                    group_id,
                    protocol_type,
                    group_state: state.to_string(),
                    group_type: TYPE_CLASSIC.to_string(),
                });
            }
        }
        self.missing = self.missing.saturating_sub(1);
        if 0 < self.missing {
            return None;
        }
        let error_code = ErrorCode::None.code();
        let groups = std::mem::take(&mut self.groups);
        let mut writer = call.response();
        ListGroupsResponse { throttle_time_ms: 0, error_code, groups }
            .encode(&mut writer, call.header.version);
        Some(Reply::Answer(writer))
    }
}

/// No filter accepts everything.
fn accepts(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
