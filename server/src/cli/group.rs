//! `ringmain group`: lists, describes and deletes consumer groups of a running server.
//!
//! In: what is wanted. Out: lines on standard output. Never: joins a group.

use std::io::Write;

use super::client::{Client, ClientError, Kind, LATEST, accepted};
use crate::kafka::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::kafka::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::kafka::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::kafka::wire::offset_fetch::{FetchGroup, FetchedTopic, OffsetFetchRequest, OffsetFetchResponse};

const OFFSET_FETCH: Kind = Kind { key: 9, version: 7 };
const DESCRIBE: Kind = Kind { key: 15, version: 5 };
const LIST: Kind = Kind { key: 16, version: 4 };
const DELETE: Kind = Kind { key: 42, version: 2 };
/// Code of a group that is not there.
const GROUP_ID_NOT_FOUND: i16 = 69;
/// State in which the oldest versions describe a group that is not there.
const DEAD: &str = "Dead";

/// What to do with groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    List,
    Describe { name: String },
    Delete { name: String },
}

/// Does it, at the server at `bootstrap`.
pub fn run(command: GroupCommand, bootstrap: &str, out: &mut impl Write) -> Result<(), ClientError> {
    let mut client = Client::connect(bootstrap)?;
    match command {
        GroupCommand::List => list(client, out),
        GroupCommand::Describe { name } => describe(&mut client, &name, out),
        GroupCommand::Delete { name } => delete(&mut client, name),
    }
}

/// Each broker knows the groups that it coordinates.
fn list(mut client: Client, out: &mut impl Write) -> Result<(), ClientError> {
    let brokers = client.brokers()?;
    let mut groups = Vec::new();
    if brokers.len() < 2 {
        groups = groups_of(&mut client)?;
    } else {
        for address in brokers {
            groups.extend(groups_of(&mut Client::connect(&address)?)?);
        }
    }
    groups.sort_unstable_by(|left, right| left.group_id.cmp(&right.group_id));
    for group in groups {
        writeln!(out, "{} {}", group.group_id, group.group_state).map_err(ClientError::Local)?;
    }
    Ok(())
}

fn groups_of(client: &mut Client) -> Result<Vec<ListedGroup>, ClientError> {
    let request = ListGroupsRequest::default();
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(LIST, encode, ListGroupsResponse::decode)?;
    accepted("groups", response.error_code, None)?;
    Ok(response.groups)
}

fn describe(client: &mut Client, name: &str, out: &mut impl Write) -> Result<(), ClientError> {
    let request = DescribeGroupsRequest { groups: vec![name.to_string()], ..Default::default() };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(DESCRIBE, encode, DescribeGroupsResponse::decode)?;
    let group = response.groups.into_iter().next().ok_or(ClientError::Unexpected("it has no group"))?;
    let code = if group.group_state == DEAD { GROUP_ID_NOT_FOUND } else { group.error_code };
    accepted(name, code, group.error_message)?;
    let mut text = format!("group {name}\nstate {}\n", group.group_state);
    for member in group.members {
        text.push_str(&format!("member {} {} {}\n", member.member_id, member.client_id, member.client_host));
    }
    for topic in committed(client, name)? {
        add_offsets(client, &topic, &mut text)?;
    }
    out.write_all(text.as_bytes()).map_err(ClientError::Local)
}

/// How far the group has read, by topic.
fn committed(client: &mut Client, name: &str) -> Result<Vec<FetchedTopic>, ClientError> {
    let group = FetchGroup { group_id: name.to_string(), member_epoch: -1, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], require_stable: false };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(OFFSET_FETCH, encode, OffsetFetchResponse::decode)?;
    let found = response.groups.into_iter().next().ok_or(ClientError::Unexpected("it has no group"))?;
    accepted(name, found.error_code, None)?;
    Ok(found.topics)
}

/// One line for each partition: what was committed, and how much there is behind it.
fn add_offsets(client: &mut Client, topic: &FetchedTopic, text: &mut String) -> Result<(), ClientError> {
    let indexes: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition).collect();
    let ends = client.offsets(&topic.name, &indexes, LATEST)?;
    for (partition, end) in topic.partitions.iter().zip(ends) {
        let lag = end.saturating_sub(partition.offset);
        text.push_str(&format!(
            "topic {} partition {} committed {} end {end} lag {lag}\n",
            topic.name, partition.partition, partition.offset
        ));
    }
    Ok(())
}

fn delete(client: &mut Client, name: String) -> Result<(), ClientError> {
    let request = DeleteGroupsRequest { groups: vec![name.clone()] };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(DELETE, encode, DeleteGroupsResponse::decode)?;
    let (_, code) = response.results.into_iter().next().ok_or(ClientError::Unexpected("it has no group"))?;
    accepted(&name, code, None)
}
